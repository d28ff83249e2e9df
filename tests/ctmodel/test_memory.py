"""Memory that TensorFlow takes over as it is, and that the process keeps."""

import resource
import subprocess
import sys

import numpy as np
import pytest

from ctmodel.backend import tf
from ctmodel.memory import TENSOR_ALIGNMENT, aligned_empty

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


@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8"])
@pytest.mark.parametrize("shape", [(3, 5, 7), (1,), (0, 4)])
def test_an_array_is_aligned_and_may_be_written(shape, dtype):
    for _ in range(20):
        array = aligned_empty(shape, np.dtype(dtype))
        assert (array.shape, array.dtype) == (shape, dtype)
        assert array.ctypes.data % TENSOR_ALIGNMENT == 0 or not array.size
        array[...] = 1
        assert array.flags.c_contiguous


def test_tensorflow_takes_an_array_over_without_a_copy():
    array = aligned_empty((4, 64), np.dtype(np.float32))
    array[...] = 0
    spec = tf.TensorSpec((None, 64), tf.float32)
    for tensor in tf.data.Dataset.from_generator(lambda: [array], output_signature=spec):
        array[...] = 1
        assert tensor.numpy().sum() == array.size


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
