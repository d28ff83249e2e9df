"""Eight processes that convert into one target at once, and others that read it all the while.

One works; the others are told within a second. The target goes from one recipe to another and back, and whoever opens
it sees the whole of one or of the other. The null control writes straight into the target, without a lock.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from ctprep.errors import StoreError, StoreLocked, StoreNotFound
from ctprep.store.store import Store, open_store
from tests.torture.cohort import (
    NAME,
    OTHER_RECIPE,
    RECIPE,
    SCANS,
    Figures,
    Write,
    add_scan,
    convert,
    write_naively,
)
from tests.torture.report import Row
from tests.torture.steps import FORK, in_child

WRITERS = 8
READERS = 2
MAX_SECONDS = 1.0
"""Until the others are told, in the long version."""

MAX_SECONDS_TO_WAIT = 20.0
ONE, OTHER, INCOMPLETE, NOTHING, FAILED = "the one", "the other", "an incomplete one", "nothing", "failed"
Read = Callable[[Path], str]


def contention(
    folder: Path,
    rounds: int,
    opens: int = 0,
    *,
    write: Write = convert,
    read: Read | None = None,
    most_seconds: float = math.inf,
) -> tuple[Figures, Counter[str]]:
    """Let writers meet at least so many times, while readers open the store at least so many times.

    Returns
    -------
    Figures
        Of the writers' rounds.
    Counter of str
        What the readers saw.
    """
    raw, out, figures = folder / "raw", folder / NAME, Figures()
    for number in range(SCANS):
        add_scan(raw, number)
    seen = read or partial(look, states=_states(raw, folder))
    in_child(partial(write, raw, out))
    stop, opened = FORK.Event(), FORK.Value("i", 0)
    readers = [_Reader(seen, out, stop, opened) for _ in range(READERS)]
    while figures.states < rounds or opened.value < opens:
        figures.states += 1
        recipe = (OTHER_RECIPE, RECIPE)[figures.states % 2]
        meeting = _meet(partial(write, raw, out, recipe=recipe, rebuild=True), most_seconds)
        figures.note(f"round {figures.states}", meeting)
    stop.set()
    return figures, sum((reader.result() for reader in readers), Counter())


def _meet(write: Write, most_seconds: float) -> list[str]:
    """Let writers begin at once; the one that works goes on when the others have been told."""
    together, told, results = FORK.Barrier(WRITERS), FORK.Semaphore(0), FORK.SimpleQueue()
    writers = [FORK.Process(target=_write, args=(write, most_seconds, together, told, results)) for _ in range(WRITERS)]
    for writer in writers:
        writer.start()
    outcomes = [results.get() for _ in writers]
    for writer in writers:
        writer.join()
    working = sum(outcome == "worked" for outcome in outcomes)
    problems = [outcome for outcome in outcomes if outcome not in ("worked", "was told")]
    return problems + ([] if working == 1 else ["not one worked, but none or several"])


def _write(write: Write, most_seconds: float, together: Any, told: Any, results: Any) -> None:
    @contextmanager
    def wait_for_the_others(_total: int, doing: str) -> Iterator[Callable[[int], object]]:
        for _ in range(WRITERS - 1 if doing == "converting" else 0):
            told.acquire(timeout=MAX_SECONDS_TO_WAIT)
        yield lambda _count: None

    together.wait()
    started = time.monotonic()
    try:
        write(progress=wait_for_the_others)
        results.put("worked")
    except StoreLocked:
        is_soon = time.monotonic() - started < most_seconds
        results.put("was told" if is_soon else "was told late")
    except Exception as error:  # noqa: BLE001 - to be counted
        results.put(f"ended in {type(error).__name__}")
    finally:
        told.release()


class _Reader:
    """A process that opens the store again and again, and counts what it sees."""

    def __init__(self, read: Read, out: Path, stop: Any, opened: Any) -> None:
        self._receiver, sender = FORK.Pipe(duplex=False)
        self._process = FORK.Process(target=self._look, args=(read, out, stop, opened, sender))
        self._process.start()

    @staticmethod
    def _look(read: Read, out: Path, stop: Any, opened: Any, sender: Any) -> None:
        seen: Counter[str] = Counter()
        while not stop.is_set():
            seen[read(out)] += 1
            with opened.get_lock():
                opened.value += 1
        sender.send(seen)

    def result(self) -> Counter[str]:
        seen = self._receiver.recv()
        self._process.join()
        return seen


def _states(raw: Path, folder: Path) -> dict[tuple, str]:
    """Return the two stores that there may be."""
    states = {}
    for name, recipe in {ONE: RECIPE, OTHER: OTHER_RECIPE}.items():
        fresh = folder / f"{recipe.digest}.zarr"
        convert(raw, fresh, recipe=recipe)
        states[contents(open_store(fresh))] = name
    return states


def contents(store: Store) -> tuple:
    """Return all that was read of a store when it was opened."""
    tables = (store.records.table, store.checksums, store.labels)
    return store.recipe, store.classes, store.scans, store.patients, *(table.tobytes() for table in tables)


def look(out: Path, *, states: dict[tuple, str]) -> str:
    try:
        return states.get(contents(open_store(out)), INCOMPLETE)
    except StoreNotFound:
        return NOTHING
    except StoreError:
        return FAILED


def look_naively(out: Path) -> str:
    """See what zarr-python sees, of which missing volumes are NaN."""
    try:
        volumes = np.asarray(zarr.open_group(out, mode="r")["volume"][...])  # type: ignore[index]
    except Exception:  # noqa: BLE001 - any error will do
        return FAILED
    return INCOMPLETE if np.isnan(volumes).any() else ONE


def long_version(empty_folder: Callable[[], Path], _seed: int) -> Iterator[Row]:
    """Let writers meet 50 times, while the store is opened 10,000 times."""
    figures, seen = contention(empty_folder(), 50, 10_000, most_seconds=MAX_SECONDS)
    control, seen_naively = contention(empty_folder(), 10, write=write_naively, read=look_naively)
    yield figures.row("eight processes converting into one target at once", control)
    wrong, found = (each.total() - each[ONE] - each[OTHER] for each in (seen, seen_naively))
    opened = "the store opened all the while, under two recipes in turn"
    yield Row(opened, _counts(seen), wrong, control=_counts(seen_naively), control_found=found)


def _counts(seen: Mapping[str, int]) -> str:
    return f"{sum(seen.values()):,} opens: " + ", ".join(f"{count:,} {what}" for what, count in sorted(seen.items()))
