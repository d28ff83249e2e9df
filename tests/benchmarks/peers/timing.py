"""The CPU time of ways to prepare scans, in whichever interpreter runs them: knows NumPy and no package of the project.

A contender's script hands its ways to `report`. Its command line is a folder for the volumes, then the scans; it prints
one line of JSON with the versions of its packages, then one for each scan and way.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import numpy as np

FEWEST_RUNS, MAX_RUNS = 3, 9
ENOUGH_SECONDS = 3.0
"""A fast way is run until it took so long in all, a slow one as seldom as allowed."""

MILLISECONDS = 1e3

Result = TypeVar("Result")


def report(
    ways: Mapping[str, Callable[[Path], Result]],
    *,
    packages: Iterable[str],
    volume_of: Callable[[Result], np.ndarray] | None = None,
) -> None:
    """Time every way on every scan of the command line; keep the volumes.

    Parameters
    ----------
    ways : mapping of str to function
        What is timed, by the name it has in the table; each takes a scan's path.
    packages : iterable of str
        Distributions whose versions belong to the numbers.
    volume_of : function, optional
        Takes the (x, y, z) volume in [0, 1], axes RAS+, from what a way returned; it is not timed. Without it there is
        no volume to compare.
    """
    folder, *scans = map(Path, sys.argv[1:])
    _say(versions={name: version(name) for name in packages})
    for number, scan in enumerate(scans):
        for name, prepare in ways.items():
            result = prepare(scan)  # the warm-up
            volume = None
            if volume_of is not None:
                volume = str(folder / f"{number} {name}.npy")
                np.save(volume, volume_of(result))
            _say(scan=str(scan), way=name, ms=_median_cpu_ms(prepare, scan), volume=volume)


def _median_cpu_ms(prepare: Callable[[Path], object], scan: Path) -> float:
    spent: list[float] = []
    while len(spent) < FEWEST_RUNS or (len(spent) < MAX_RUNS and sum(spent) < ENOUGH_SECONDS):
        start = time.process_time()
        prepare(scan)
        spent.append(time.process_time() - start)
    return statistics.median(spent) * MILLISECONDS


def _say(**line: object) -> None:
    print(json.dumps(line), flush=True)
