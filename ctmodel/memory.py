"""Memory for batches: aligned so that nothing is copied on the way to TensorFlow, and kept when it is freed."""

import ctypes
import re
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np

TENSOR_ALIGNMENT = 64
"""Bytes at whose multiples an array must begin for TensorFlow to use it where it lies."""

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h
_MIB = 1 << 20


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an array of any content that TensorFlow takes over without a copy.

    Examples
    --------
    >>> aligned_empty((3, 5), np.dtype(np.float16)).shape
    (3, 5)
    """
    n_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    memory = np.empty(n_bytes + TENSOR_ALIGNMENT, np.uint8)
    first = -memory.ctypes.data % TENSOR_ALIGNMENT
    return memory[first : first + n_bytes].view(dtype).reshape(shape)


@cache
def keep_freed_memory() -> bool:
    """Let this process keep what it frees for what it needs next; tell whether the C library could be told so.

    glibc gives blocks of some size back to the system at once. Inflating a volume needs 768 KiB for a moment: fresh
    pages for it, which the kernel must clear, were a third of the time (tests/benchmarks/streaming.py).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False  # another C library
    wanted = {_M_MMAP_THRESHOLD: 32 * _MIB, _M_TRIM_THRESHOLD: 256 * _MIB, _M_TOP_PAD: 64 * _MIB}
    return all(mallopt(name, value) for name, value in wanted.items())


def available_bytes() -> int:
    """Return how much memory this process may still take without swapping; 0 where the system does not say."""
    with suppress(OSError):
        found = re.search(r"^MemAvailable:\s+(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
        return min(int(found[1]) * 1024 if found else 0, _left_in_container())
    return 0


def _left_in_container(folder: Path = Path("/sys/fs/cgroup")) -> int:
    """Return what a container's limit leaves, files that it could drop not counted as taken."""
    with suppress(OSError, ValueError, TypeError):
        most = int((folder / "memory.max").read_text())
        taken = int((folder / "memory.current").read_text())
        dropped = re.search(r"^inactive_file (\d+)$", (folder / "memory.stat").read_text(), re.MULTILINE)
        return most - taken + (int(dropped[1]) if dropped else 0)
    return 1 << 62  # there is no limit
