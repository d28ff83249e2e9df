"""Conversions killed at random instants, and before every step by which they change the file system.

After each kill the target is absent, the old store or the new one, byte for byte; after the same command once more it
is the store that is made from nothing, and nothing else is left. The null control writes straight into the target.
"""

import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np

from ctprep.conversion.scan_task import convert_scan
from tests.torture.cohort import (
    HISTORIES,
    Figures,
    History,
    Write,
    convert,
    convert_slowly,
    make_history,
    write_by_naive_pool,
    write_naively,
)
from tests.torture.report import Row
from tests.torture.steps import FORK, count_steps, in_child, kill_at

MAX_IN_A_ROW = 3
RANDOMLY_KILLED = ("first", "edited", "rebuilt", "edited, cannot exchange")


def random_kills(
    folder: Path, kills: int, *, seed: int = 0, names: Sequence[str] = RANDOMLY_KILLED, write: Write = convert
) -> Figures:
    """Kill conversions, and up to two conversions that resume them, at random instants."""
    rng, figures = np.random.default_rng(seed), Figures()
    histories = [make_history(folder, name, write=write) for name in names]
    seconds = {history.name: _seconds(history) for history in histories}
    while figures.states < kills:
        history = histories[rng.integers(len(histories))]
        scheduler = str(rng.choice(["synchronous", "threads"]))
        history.restore()
        for _ in range(rng.integers(1, MAX_IN_A_ROW + 1)):
            after = rng.uniform(0, seconds[history.name])
            figures.states += _kill(history, scheduler, after)
            figures.note(f"{history.name}, {scheduler}, after {after:.4f} s", history.judge(killed=True))
        figures.note(f"{history.name}, {scheduler}, resumed", history.judge_resumed())
    return figures


def _seconds(history: History) -> float:
    history.restore()
    started = time.monotonic()
    in_child(history.run)
    return time.monotonic() - started


def _kill(history: History, scheduler: str, after: float) -> bool:
    """Kill a conversion some seconds after its start; say whether it was still running."""
    child = FORK.Process(target=history.run, kwargs={"scheduler": scheduler})
    child.start()
    child.join(after)
    child.kill()
    child.join()
    return child.exitcode == -signal.SIGKILL


def worker_kills(folder: Path, kills: int, *, seed: int = 0, write: Write = convert) -> Figures:
    """Kill one of two worker processes of a conversion at a random instant: the conversion finishes all the same."""
    rng, figures = np.random.default_rng(seed), Figures()
    history = make_history(folder, "first", write=write)
    run = {"scheduler": "processes", "workers": 2}
    module = import_module("ctprep.conversion.convert")
    module.convert_scan = convert_slowly  # type: ignore[attr-defined]
    try:
        history.restore()
        started = time.monotonic()
        in_child(partial(history.run, **run))
        seconds = time.monotonic() - started
        while figures.states < kills:
            history.restore()
            driver = FORK.Process(target=history.run, kwargs=run)
            driver.start()
            driver.join(rng.uniform(0.1, seconds))
            figures.states += _kill_a_worker(driver.pid or 0, rng)
            driver.join()
            figures.note("first, processes", history.judge_finished())
    finally:
        module.convert_scan = convert_scan  # type: ignore[attr-defined]
    return figures


def _kill_a_worker(driver: int, rng: np.random.Generator) -> bool:
    try:
        os.kill(int(rng.choice(_workers_of(driver))), signal.SIGKILL)
    except (OSError, ValueError):  # there is none any more, or none yet
        return False
    return True


def _workers_of(driver: int) -> list[int]:
    """Return the processes that a driver has started, by whichever of its threads, to run scans."""
    children = [path.read_text() for path in Path(f"/proc/{driver}/task").glob("*/children")]
    pids = [int(pid) for pid in " ".join(children).split()]
    return [pid for pid in pids if re.search(rb"spawn_main|isolation", Path(f"/proc/{pid}/cmdline").read_bytes())]


def step_kills(
    folder: Path,
    *,
    every: int = 1,
    seed: int = 0,
    names: Sequence[str] = tuple(HISTORIES),
    write: Write = convert,
) -> Figures:
    """Kill a conversion before each N-th step, and its resumption before a random one: all states that can be left."""
    rng, figures = np.random.default_rng(seed), Figures()
    for name in names:
        history = make_history(folder, name, write=write)
        history.restore()
        for number in range(0, count_steps(history.run), every):
            history.restore()
            _kill_at(history, number, figures, f"{name}, step {number}")
            steps = count_steps(history.run)
            figures.note(f"{name}, step {number}, resumed", history.judge_finished())

            second = int(rng.integers(steps))
            history.restore()
            in_child(partial(history.run_watched, kill_at(number)))
            _kill_at(history, second, figures, f"{name}, steps {number} and {second}")
            figures.note(f"{name}, steps {number} and {second}, resumed", history.judge_resumed())
    return figures


def _kill_at(history: History, number: int, figures: Figures, where: str) -> None:
    in_child(partial(history.run_watched, kill_at(number)))
    figures.states += 1
    figures.note(where, history.judge(killed=True))


def long_version(empty_folder: Callable[[], Path], seed: int) -> Iterator[Row]:
    """Kill 1,000 conversions at random instants, 60 workers, and conversions before each of their steps."""
    naive = {"names": ["first"], "write": write_naively}
    figures = random_kills(empty_folder(), 1000, seed=seed)
    control = random_kills(empty_folder(), 50, seed=seed, **naive)  # type: ignore[arg-type]
    yield figures.row("a conversion killed at a random instant, then resumed", control)
    figures = worker_kills(empty_folder(), 60, seed=seed)
    control = worker_kills(empty_folder(), 10, seed=seed, write=write_by_naive_pool)
    yield figures.row("a worker process killed at a random instant", control)
    figures = step_kills(empty_folder(), seed=seed)
    control = step_kills(empty_folder(), seed=seed, **naive)  # type: ignore[arg-type]
    yield figures.row("a conversion killed before each of its steps, and once more on resuming", control)
