"""Memory for batches: aligned so that nothing is copied on the way to TensorFlow, and kept when it is freed."""

import ctypes
from functools import cache

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
