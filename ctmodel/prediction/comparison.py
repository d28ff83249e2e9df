"""What a comparison of runs came to, and how it is shown."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ctmodel.scoring.comparison import Difference
from ctprep.text import html_table

SHOWN_OF_BASELINES = ("auroc", "macro_auroc", "log_loss")
WIDTH = 20  # of the name of a score

Pairs = dict[tuple[str, str], tuple[Difference, ...]]
"""Of two names, every score of the first less that of the second."""


@dataclass(frozen=True)
class Comparison:
    """How runs differ on the scans that all of them tested.

    Attributes
    ----------
    runs : tuple of str
        Their folders, as they were given.
    classes : tuple of str
        Of two, the second is the positive one.
    n, patients : int
        Scans that every run tested, and their patients.
    more : tuple of int
        Scans that each run tested and another did not.
    between : dict of (run, first run) to tuple of Difference
        Every run's scores less those of the first; `p_adjusted` is for as many comparisons as there are.
    baselines : dict of (run, name of a baseline) to tuple of Difference
        Every run's scores less those of the baselines that were trained on the same scans.
    notes : tuple of str

    Examples
    --------
    >>> from ctmodel import TrainSettings, compare_runs, train
    >>> shorter = train("out.zarr", "shorter", TrainSettings(epochs=1))
    >>> comparison = compare_runs("run", "shorter")
    >>> comparison.n, list(comparison.between)
    (4, [('shorter', 'run')])
    """

    runs: tuple[str, ...]
    classes: tuple[str, ...]
    n: int
    patients: int
    more: tuple[int, ...]
    between: Pairs
    baselines: Pairs
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain dictionaries and lists, ready for JSON."""
        runs = [{"run": run, "scans_more": more} for run, more in zip(self.runs, self.more, strict=True)]
        return {
            "runs": runs,
            "classes": list(self.classes),
            "n": self.n,
            "patients": self.patients,
            "between": _listed(self.between),
            "baselines": _listed(self.baselines),
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        """Return what `ctmodel compare` prints: a table of each pair, the baselines, and the notes."""
        return [
            self._header(),
            *(f"  run {number}: {run}{_and_more(more)}" for number, run, more in self._numbered()),
            *self._lines_between(),
            *self._lines_of_baselines(),
            *(f"  note: {note}" for note in self.notes),
        ]

    def _header(self) -> str:
        return f"{self.n} scans of {self.patients} patients that every run tested, differences with 95 % intervals"

    def _numbered(self) -> Iterator[tuple[int, str, int]]:
        return zip(range(1, len(self.runs) + 1), self.runs, self.more, strict=True)

    def _lines_between(self) -> Iterator[str]:
        for (run, first), found in self.between.items():
            yield f"run {self.runs.index(run) + 1} - run {self.runs.index(first) + 1}{_adjusted(self.between)}"
            yield from (f"  {_title(one):<{WIDTH}}{_in_columns(one)}" for one in found)

    def _lines_of_baselines(self) -> Iterator[str]:
        if not self.baselines:
            return
        yield f"run - baseline that learnt from the same scans{_adjusted(self.baselines)}"
        width = max(len(name) for _, name in self.baselines) + 2
        for (run, name), found in self.baselines.items():
            shown = [one for one in found if one.score in SHOWN_OF_BASELINES]
            yield from (
                f"  run {self.runs.index(run) + 1} - {name:<{width}}{_title(one):<13}{_in_columns(one)}"
                for one in shown
            )

    def _repr_html_(self) -> str:
        """Return a table for a notebook."""
        rows = [
            (f"{one} - {other}", _title(found), f"{found.one:.3f}", f"{found.other:.3f}", *_cells(found))
            for (one, other), of_pair in {**self.between, **self.baselines}.items()
            for found in of_pair
            if (one, other) in self.between or found.score in SHOWN_OF_BASELINES
        ]
        header = ("", "score", "one", "other", "difference", "95 % interval", "p")
        return html_table(self._header(), header, rows, self.notes)


def _adjusted(pairs: Pairs) -> str:
    return f"; p is adjusted for {len(pairs)} comparisons" if len(pairs) > 1 else ""


def _listed(pairs: Pairs) -> list[dict[str, Any]]:
    return [{"one": one, "other": other, "scores": list(map(asdict, found))} for (one, other), found in pairs.items()]


def _and_more(more: int) -> str:
    return f"  (tested {more} scans more)" if more else ""


def _title(found: Difference) -> str:
    return found.score.replace("_", " ")


def _in_columns(found: Difference) -> str:
    difference, interval, p = _cells(found)
    return f"{found.one:.3f} - {found.other:.3f} = {difference}  {interval}  p {p}"


def _cells(found: Difference) -> tuple[str, str, str]:
    p = "< 0.001" if found.p_adjusted < 0.001 else f"= {found.p_adjusted:.3f}"
    return f"{found.value:+.3f}", f"{found.low:+.3f} to {found.high:+.3f}", p
