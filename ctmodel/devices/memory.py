"""Memory for batches, which is used again: fresh pages, which the kernel must clear, cost as much as reading does."""

import ctypes
import math
import mmap
import re
import threading
import weakref
from contextlib import suppress
from pathlib import Path, PurePosixPath

import numpy as np

KEPT = 8
MAX_KEPT = 128 << 20
"""How many pieces of memory a pool keeps, and of how many bytes: what is read at once, not a whole store."""

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h
_MIB = 1 << 20

_NO_LIMIT = 1 << 62
_ACCOUNTS = {
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
"""Where a control group says its limit and what it takes, and in memory.stat what it could drop: versions 2 and 1."""


class Pool:
    """Arrays whose memory is used again once nobody looks at them any more; TensorFlow takes them over as they are."""

    def __init__(self) -> None:
        self._free: list[mmap.mmap] = []
        self._lock = threading.Lock()

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Return an array of any content, aligned as TensorFlow needs it to do without a copy.

        Examples
        --------
        >>> Pool().empty((3, 5), np.dtype(np.float16)).shape
        (3, 5)
        """
        size = math.prod(shape)
        memory = self._taken(size * dtype.itemsize)
        array = np.frombuffer(memory, dtype, size)
        # Every view, and every tensor on one, keeps this array alive: it is the base of them all.
        weakref.finalize(array, _give_back, self._free, memory).atexit = False
        return array.reshape(shape)

    def _taken(self, n_bytes: int) -> mmap.mmap:
        with self._lock:
            for index, memory in enumerate(self._free):
                if len(memory) >= n_bytes:
                    return self._free.pop(index)
            del self._free[:1]  # too small, as all are: a larger one takes its place
        return mmap.mmap(-1, max(n_bytes, 1))


def _give_back(free: list[mmap.mmap], memory: mmap.mmap) -> None:
    # Without the lock: a finalizer may run in the very thread that holds it, and an append is atomic.
    if len(free) < KEPT and len(memory) <= MAX_KEPT:
        free.append(memory)


def keep_freed_memory() -> bool:
    """Let this process keep what it frees for what it needs next; tell whether the C library could be told so.

    For the program that owns the process, as the command line does; no library may decide it.
    glibc gives blocks of some size back to the system at once, and inflating a volume needs 768 KiB for a moment.
    TensorFlow lowers the threshold of trimming again when it first runs a generator; the padding holds nevertheless.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False  # another C library
    wanted = {_M_MMAP_THRESHOLD: 32 * _MIB, _M_TRIM_THRESHOLD: 256 * _MIB, _M_TOP_PAD: 256 * _MIB}
    return all(mallopt(name, value) for name, value in wanted.items())


def available_bytes() -> int:
    """Return how much memory this process may still take without swapping; 0 where the system does not say."""
    with suppress(OSError):
        found = re.search(r"^MemAvailable:\s+(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
        return min(int(found[1]) * 1024 if found else 0, _left_in_groups())
    return 0


def _left_in_groups(own: Path = Path("/proc/self/cgroup"), folder: Path = Path("/sys/fs/cgroup")) -> int:
    """Return what the limits of a container or a job leave: of this process's control groups and those above them."""
    left = [_NO_LIMIT]
    with suppress(OSError):  # a kernel without control groups
        for line in own.read_text().splitlines():
            _, controller, name = line.split(":", 2)
            if controller in _ACCOUNTS:
                group = PurePosixPath(name.lstrip("/"))
                at_and_above = (folder / controller / each for each in (group, *group.parents))
                left += [_left_in_group(each, *_ACCOUNTS[controller]) for each in at_and_above]
    return min(left)


def _left_in_group(group: Path, limit: str, usage: str, droppable: str) -> int:
    """Return what a group's limit leaves, files that it could drop not counted as taken."""
    with suppress(OSError, ValueError, TypeError):  # the root has no limit, others have "max"
        most, taken = int((group / limit).read_text()), int((group / usage).read_text())
        dropped = re.search(rf"^{droppable} (\d+)$", (group / "memory.stat").read_text(), re.MULTILINE)
        return most - taken + (int(dropped[1]) if dropped else 0)
    return _NO_LIMIT
