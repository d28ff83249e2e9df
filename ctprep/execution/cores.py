"""The cores that this process may use, and how several processes share them."""

import contextlib
import math
import os
from collections.abc import Callable
from pathlib import Path

CONTROL_GROUPS = Path("/sys/fs/cgroup")
OWN_GROUP = Path("/proc/self/cgroup")

THREAD_LIMITS = ("OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""The variables that OpenBLAS, MKL, BLIS and OpenMP, and Apple's BLAS, read once, when they are loaded."""


def available_cores() -> int:
    """Count the cores this process may use, which can be fewer than the machine has.

    Its affinity counts, and the CPU quota of its control group, as containers and batch systems set it; of a quota of
    two and a half cores three are used.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _quota())))


def _quota() -> float:
    """Return the cores' worth of time that this process and its control group may take; infinite without a limit."""
    try:
        lines = OWN_GROUP.read_text().splitlines()
    except OSError:  # not Linux
        return math.inf
    quota = math.inf
    for line in lines:
        controllers, _, group = line.partition(":")[2].partition(":")
        if not controllers:
            quota = min(quota, _lowest(CONTROL_GROUPS, group, _quota_of_version_2))
        elif "cpu" in controllers.split(","):
            quota = min(quota, _lowest(CONTROL_GROUPS / "cpu", group, _quota_of_version_1))
    return quota


def _lowest(root: Path, group: str, quota_of: Callable[[Path], float]) -> float:
    """Return the lowest quota of a group and of those that it is in; a container sees its own as the root."""
    inner = root / group.strip("/")
    return min(quota_of(folder) for folder in (inner, *inner.parents) if folder.is_relative_to(root))


def _quota_of_version_2(folder: Path) -> float:
    with contextlib.suppress(OSError, ValueError):
        share, period = (folder / "cpu.max").read_text().split()
        return int(share) / int(period)  # "max 100000" is no number, and no limit
    return math.inf


def _quota_of_version_1(folder: Path) -> float:
    with contextlib.suppress(OSError, ValueError):
        share, period = (int((folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        return share / period if share > 0 else math.inf
    return math.inf


def thread_limits(processes: int) -> dict[str, str]:
    """Return the variables that give each of several processes the threads of its share of the cores.

    Each would otherwise start as many for its linear algebra as there are cores, which then wait for each other. What
    the user has set stays.

    Parameters
    ----------
    processes : int
        How many there will be.
    """
    share = str(max(1, available_cores() // processes))
    return {name: share for name in THREAD_LIMITS if name not in os.environ}
