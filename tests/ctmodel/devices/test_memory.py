"""Memory that TensorFlow takes over as it is, and that the process keeps."""

import resource
import subprocess
import sys

import numpy as np
import pytest

from ctmodel.devices.backend import tf
from ctmodel.devices.memory import _NO_LIMIT, KEPT, MAX_KEPT, Pool, _left_in_groups

CHURN = """
import resource, sys
import numpy as np
from ctmodel.devices.memory import keep_freed_memory
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
    large = pool.empty((MAX_KEPT // 4 + 1,), FLOAT32)
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


UNLIMITED = (1 << 63) - 4096  # as version 1 says it
LIMITS = [
    pytest.param("0::/", {}, _NO_LIMIT, id="none"),
    pytest.param("0::/job", {"job": ("max", 5, 0)}, _NO_LIMIT, id="none said"),
    pytest.param("0::/", {"": (90, 50, 20)}, 60, id="container"),
    pytest.param("0::/slurm/job/step", {"slurm/job": (90, 50, 20), "slurm/job/step": ("max", 50, 20)}, 60, id="above"),
    pytest.param("0::/slurm/job", {"slurm": (900, 60, 0), "slurm/job": (90, 50, 20)}, 60, id="own is less"),
    pytest.param("0::/job", {"job": (900, 0, 0), "other": (90, 50, 20)}, 900, id="another's"),
    pytest.param("4:memory:/job\n0::/", {"memory/job": (90, 50, 20), "memory": (UNLIMITED, 0, 0)}, 60, id="version 1"),
    pytest.param("4:memory:/docker/7\n0::/", {"memory": (90, 50, 20)}, 60, id="version 1, mounted as the root"),
]


@pytest.mark.parametrize(("own", "groups", "left"), LIMITS)
def test_the_memory_limits_of_a_container_or_a_job_are_seen(tmp_path, own, groups, left):
    (tmp_path / "own").write_text(f"12:cpu:/elsewhere\n{own}\n")
    for name, (most, taken, dropped) in groups.items():
        group = tmp_path / name
        group.mkdir(parents=True, exist_ok=True)
        first = name.startswith("memory")
        (group / ("memory.limit_in_bytes" if first else "memory.max")).write_text(f"{most}\n")
        (group / ("memory.usage_in_bytes" if first else "memory.current")).write_text(f"{taken}\n")
        (group / "memory.stat").write_text(f"anon 7\n{'total_' * first}inactive_file {dropped}\n")
    assert _left_in_groups(tmp_path / "own", tmp_path) == left


def test_a_kernel_without_control_groups_sets_no_limit(tmp_path):
    assert _left_in_groups(tmp_path / "own", tmp_path) == _NO_LIMIT
