"""What the long version of a harness comes to: some rows of a table."""

import itertools
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One row.

    Parameters
    ----------
    what : str
        What was done to the program.
    tried : str
        How often, and what came of it.
    wrong : int
        How often something happened that should not.
    examples : sequence of str
        Some of that.
    control : str
        What the same harness finds in the naive way, or in another program; empty where it has no such.
    control_found : int, optional
        How often that is wrong there; where it never is, the harness proves nothing, which is wrong itself.
    seconds : float
        How long it took.
    """

    what: str
    tried: str
    wrong: int
    examples: Sequence[str] = ()
    control: str = ""
    control_found: int | None = None
    seconds: float = 0.0


RULE = "|---|---|---|---|---|---|"
"""The line above the first row."""

Harness = Callable[[Callable[[], Path], int], Iterable[Row]]
"""Takes what makes an empty folder, and a seed."""


def run(harness: Harness, seed: int) -> Iterator[Row]:
    """Yield the rows of a harness; its folders are removed at the end."""
    with tempfile.TemporaryDirectory() as temporary:
        numbers = itertools.count()

        def empty_folder() -> Path:
            folder = Path(temporary, str(next(numbers)))
            folder.mkdir()
            return folder

        started = time.monotonic()
        for row in harness(empty_folder, seed):
            yield replace(_with_control(row), seconds=time.monotonic() - started)
            started = time.monotonic()


def _with_control(row: Row) -> Row:
    """Return a row in which a null control that finds nothing is wrong."""
    if row.control_found != 0:
        return row
    return replace(row, wrong=row.wrong + 1, examples=[*row.examples, "the null control finds nothing"])


def as_line(row: Row) -> str:
    """Return a row for a terminal, with the examples below it."""
    line = f"{row.what}: {row.tried}; {row.wrong} wrong; naive: {row.control or 'none'} ({row.seconds:.0f} s)"
    return "\n".join([line, *(f"  wrong: {example}" for example in row.examples)])


def updated(page: str, harness: str, rows: Iterable[Row], *, order: Sequence[str]) -> str:
    """Return a page whose last lines are a table, with the rows of one harness in the place of its older ones."""
    kept = [line for line in page.splitlines() if not line.startswith(f"| {harness} |")]
    kept += [
        f"| {harness} | {row.what} | {row.tried} | {row.wrong} | {row.control or 'none'} | {row.seconds:.0f} |"
        for row in rows
    ]
    first = kept.index(RULE) + 1
    kept[first:] = sorted(kept[first:], key=lambda line: order.index(line.split(" ")[1]))
    return "\n".join(kept) + "\n"
