"""Memory that TensorFlow takes over as it is, and that the process keeps."""

import resource
import subprocess
import sys

import numpy as np
import pytest

from ctmodel.backend import tf
from ctmodel.memory import KEPT, LARGEST_KEPT, Pool

CHURN = """
import resource, sys
import numpy as np
from ctmodel.memory import keep_freed_memory
if sys.argv[1] == "kept" and not keep_freed_memory():
    sys.exit("cannot")
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    [np.ones(20 << 20, np.uint8) for _ in range(4)]
before = faults()
for _ in range(10):
    [np.ones(20 << 20, np.uint8) for _ in range(4)]
print(faults() - before)
"""


FLOAT32 = np.dtype(np.float32)


def address(array):
    return array.ctypes.data


@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8"])
@pytest.mark.parametrize("shape", [(3, 5, 7), (1,), (0, 4), ()])
def test_an_array_may_be_written(shape, dtype):
    array = Pool().empty(shape, np.dtype(dtype))
    assert (array.shape, array.dtype, array.flags.c_contiguous) == (shape, dtype, True)
    array[...] = 1
    assert np.all(array == 1)


def test_tensorflow_takes_an_array_over_without_a_copy():
    array = Pool().empty((4, 64), FLOAT32)
    array[...] = 0
    spec = tf.TensorSpec((None, 64), tf.float32)
    for tensor in tf.data.Dataset.from_generator(lambda: [array], output_signature=spec):
        array[...] = 1
        assert tensor.numpy().sum() == array.size


def test_memory_is_used_again_when_nobody_looks_at_it_any_more():
    pool = Pool()
    first = pool.empty((100,), FLOAT32)
    view, place = first[3:5].reshape(2, 1), address(first)
    del first
    other = pool.empty((100,), FLOAT32)
    assert address(other) != place  # the view is still there
    del view
    assert address(pool.empty((50,), FLOAT32)) == place  # and fits what is smaller


def test_memory_is_not_used_again_while_a_tensor_is_on_it():
    pool = Pool()

    def generate():
        for value in range(20):
            array = pool.empty((64, 64), FLOAT32)
            array[...] = value
            yield array

    dataset = tf.data.Dataset.from_generator(generate, output_signature=tf.TensorSpec((64, 64), tf.float32))
    kept = list(dataset.prefetch(2))
    assert [float(tensor[0, 0]) for tensor in kept] == list(range(20))


def test_a_pool_keeps_no_more_than_is_under_way():
    pool = Pool()
    many = [pool.empty((1000,), FLOAT32) for _ in range(3 * KEPT)]
    del many
    assert len(pool._free) == KEPT
    large = pool.empty((LARGEST_KEPT // 4 + 1,), FLOAT32)
    del large
    assert len(pool._free) == KEPT - 1


def test_freed_memory_is_used_again():
    def faults(way):
        done = subprocess.run([sys.executable, "-c", CHURN, way], capture_output=True, text=True, check=False)
        return None if "cannot" in done.stderr else int(done.stdout)

    kept = faults("kept")
    if kept is None:
        pytest.skip("the C library keeps its own counsel")
    pages_of_one = (20 << 20) // resource.getpagesize()
    assert kept < pages_of_one
    assert faults("as usual") > 2 * pages_of_one  # the null control
