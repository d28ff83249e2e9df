"""What scheduling costs: the time for each scan, and how long workers wait at the end of a block.

Usage: python tests/benchmarks/scheduling.py

The wait is computed, not measured: each worker takes the next scan of its
block when it is free, and no scan of the next block before this one is over.
"""

import heapq
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ctprep import Recipe
from ctprep.conversion.scan_task import ScanTask, lost_scan
from ctprep.execution.schedule import TASKS_PER_WORKER, run_all

SCANS = 4096
WORKERS = 2
SECONDS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "alike, +-10 %": lambda random, count: random.normal(1, 0.1, count),
    "as chest CTs, of 30 to 600 slices": lambda random, count: random.lognormal(0, 0.6, count),
    "one in 50 takes ten times as long": lambda random, count: np.where(random.random(count) < 0.02, 10.0, 1.0),
}


def main() -> None:
    tasks = make_tasks(SCANS)
    for scheduler in ("threads", "processes"):
        few, many = (seconds_of(tasks[:count], scheduler) for count in (SCANS // 16, SCANS))
        print(f"{scheduler:<10}{(many - few) / (SCANS - SCANS // 16) * 1e3:>8.2f} ms a scan")
    print(f"\nwaiting at the ends of blocks of so many scans a worker (it is {TASKS_PER_WORKER}):")
    for name, draw in SECONDS.items():
        for workers in (2, 16, 64):
            print(f"{name:<36}{workers:>3} workers  {waits(draw, workers)}")


def make_tasks(count: int) -> list[ScanTask]:
    names = [f"{number:032}" for number in range(count)]
    return [ScanTask(name, Path(name), Recipe(), Path(f"{name}.chunk")) for name in names]


def seconds_of(tasks: list[ScanTask], scheduler: str) -> float:
    begin = time.perf_counter()
    run_all(lost_scan, tasks, lambda _: None, when_lost=lost_scan, scheduler=scheduler, workers=WORKERS)
    return time.perf_counter() - begin


def waits(draw: Callable[[np.random.Generator, int], np.ndarray], workers: int) -> str:
    seconds = draw(np.random.default_rng(0), max(16384, 512 * workers)).clip(0.1)
    ideal = finished(seconds, workers, len(seconds))
    share = {size: 1 - ideal / finished(seconds, workers, size * workers) for size in (8, 32, 128, 512)}
    return "".join(f"{size:>6}: {part:>5.1%}" for size, part in share.items())


def finished(seconds: np.ndarray, workers: int, block: int) -> float:
    """Return when the last scan is over."""
    now = 0.0
    for first in range(0, len(seconds), block):
        free = [now] * workers
        for taken in seconds[first : first + block]:
            heapq.heapreplace(free, free[0] + taken)
        now = max(free)
    return now


if __name__ == "__main__":
    main()
