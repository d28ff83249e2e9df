"""The scores of each value of a column, such as each scanner, beside those of all other scans."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ctmodel.errors import ScoreError
from ctmodel.scoring.intervals import interval_of_difference
from ctmodel.scoring.scores import Predictions, Score, Threshold, score, scores_of_one_class

MAX_VALUES = 20
"""Groups of a column of text; with more, few have the scans that a score needs."""
MAX_NUMBERS = 6
"""Groups of a column of numbers, such as 0 and 1; of more the quarters are taken."""
FEW_OF_A_CLASS = 10
NO_VALUE = "(no value)"

SHOWN = ("auroc", "macro_auroc", "sensitivity", "specificity", "recall")
"""The first words of the scores that people are shown; programs get those of the table."""


@dataclass(frozen=True)
class Gap:
    """The score of a group minus that of all other scans, with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Group:
    """The scans that have one value.

    Attributes
    ----------
    value : str
    n, patients : int
        Scans and patients.
    of_class : dict of str to int
        Scans of each class.
    scores : dict of str to Score
        As in `Scores`; where there is one class only, its sensitivity, specificity or recall.
    differences : dict of str to Gap
        To all other scans, of the scores that both have.
    notes : tuple of str
        What a reader must know before believing the numbers.
    """

    value: str
    n: int
    patients: int
    of_class: dict[str, int]
    scores: dict[str, Score]
    differences: dict[str, Gap]
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return a header, a line for each score that people are shown, and the notes."""
        shown = {name: one for name, one in self.scores.items() if name.startswith(SHOWN)}
        width = max(map(len, shown), default=0) + 2
        counts = ", ".join(f"{n} {name}" for name, n in self.of_class.items())
        return [
            f"  {self.value}: {self.n} scans of {self.patients} patients, {counts}",
            *(
                f"    {name.replace('_', ' '):<{width}}{one.value:.3f}  {one.low:.3f} to {one.high:.3f}"
                + (_beside(self.differences[name]) if name in self.differences else "")
                for name, one in shown.items()
            ),
            *(f"    note: {note}" for note in self.notes),
        ]


def _beside(gap: Gap) -> str:
    return f"  difference {gap.value:+.3f}  {gap.low:+.3f} to {gap.high:+.3f}"


@dataclass(frozen=True)
class Groups:
    """The groups of a column.

    Attributes
    ----------
    column : str
    groups : tuple of Group
        Sorted by value.
    notes : tuple of str
    """

    column: str
    groups: tuple[Group, ...]
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return what `ctmodel evaluate --by` shows."""
        header = f"by {self.column}, with 95 % intervals; difference to all other scans"
        return [header, *(line for group in self.groups for line in group.lines()), *self._note_lines()]

    def _note_lines(self) -> list[str]:
        return [f"  note: {note}" for note in self.notes]

    def to_dict(self) -> dict[str, Any]:
        """Return plain dictionaries and lists, ready for JSON."""
        return asdict(self)


def score_groups(
    predictions: Predictions,
    values: np.ndarray,
    *,
    column: str,
    classes: Sequence[str],
    threshold: Threshold,
) -> Groups:
    """Score the scans of each value of a column, and compare them with all others.

    Parameters
    ----------
    predictions : Predictions
    values : (n,) array of float or str
        Of each scan; NaN or empty where there is none. A number with many values is cut into quarters of the scans.
    column : str
    classes : sequence of str
    threshold : Threshold

    Returns
    -------
    Groups
        The intervals of differences are those of independent groups (Zou and Donner 2008, Statistics in Medicine
        27:1693), if anything too wide where a patient has scans in several.

    Raises
    ------
    ScoreError
        If the column is text with too many values.
    """
    names, place = groups_of(values, column=column)
    parts = [(predictions.taken(np.flatnonzero(place == own)), place != own) for own in range(len(names))]
    groups = tuple(
        _group(name, part, predictions.taken(np.flatnonzero(others)), classes, threshold)
        for name, (part, others) in zip(names, parts, strict=True)
    )
    whose = [set(part.patients) for part, _ in parts]
    return Groups(column, groups, tuple(_notes(groups, n_shared=sum(map(len, whose)) - len(set().union(*whose)))))


def groups_of(values: np.ndarray, *, column: str) -> tuple[list[str], np.ndarray]:
    """Return the names of the groups that values fall into, sorted, and the (n,) place of each scan among them.

    Raises
    ------
    ScoreError
        If the column is text with too many values.

    Examples
    --------
    >>> groups_of(np.array(["B", "A", "", "B"]), column="scanner")
    (['A', 'B', '(no value)'], array([1, 0, 2, 1]))
    >>> groups_of(np.arange(40.0, 80.0), column="age")[0]
    ['40 to 49', '50 to 59', '60 to 69', '70 to 79']
    """
    is_number = values.dtype.kind in "fiu"
    known = ~np.isnan(values) if is_number else values != ""
    distinct, own = np.unique(values[known], return_inverse=True)
    if is_number and len(distinct) > MAX_NUMBERS:
        names, own = _quarters(values[known])
    elif len(distinct) > MAX_VALUES:
        raise ScoreError(
            f"by: {column} has {len(distinct)} values in {len(values)} scans, such as {distinct[0]} and {distinct[1]}, "
            f"expected at most {MAX_VALUES}, or numbers; name a column that groups scans"
        )
    else:
        names = [f"{value:g}" if is_number else str(value) for value in distinct]
    place = np.full(len(values), len(names))
    place[known] = own
    return names + [NO_VALUE] * (not known.all()), place


def _quarters(values: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Cut numbers at their quartiles; equal ones stay together, so that there may be fewer groups than four."""
    own = np.searchsorted(np.unique(np.quantile(values, [0.25, 0.5, 0.75])), values)
    numbers, place = np.unique(own, return_inverse=True)
    members = [values[own == number] for number in numbers]
    return [f"{one.min():g} to {one.max():g}" for one in members], place


def _group(value: str, own: Predictions, others: Predictions, classes: Sequence[str], threshold: Threshold) -> Group:
    scores, rest = (_scores(part, classes, threshold) for part in (own, others))
    counts = np.bincount(own.labels, minlength=len(classes)).tolist()
    gaps = {
        name: Gap(one.value - rest[name].value, *interval_of_difference(one.bounds, rest[name].bounds))
        for name, one in scores.items()
        if name in rest
    }
    return Group(
        value=value,
        n=len(own.scans),
        patients=len(set(own.patients)),
        of_class=dict(zip(classes, counts, strict=True)),
        scores=scores,
        differences=gaps,
        notes=tuple(_notes_on_classes(own, classes)),
    )


def _scores(predictions: Predictions, classes: Sequence[str], threshold: Threshold) -> dict[str, Score]:
    n_present = len(np.unique(predictions.labels))
    if n_present < 2:
        return scores_of_one_class(predictions, classes=classes, threshold=threshold) if n_present else {}
    return score(predictions, classes=classes, subset="group", threshold=threshold).scores


def _notes_on_classes(predictions: Predictions, classes: Sequence[str]) -> list[str]:
    notes, patients = [], np.array(predictions.patients)
    for label, name in enumerate(classes):
        n = len(np.unique(patients[predictions.labels == label]))
        if not n:
            notes.append(f"No scan is {name}: what needs both classes is not scored.")
        elif n < FEW_OF_A_CLASS:
            notes.append(f"Only {n} patients are {name}: the intervals that rest on them are wide.")
    return notes


def _notes(groups: Sequence[Group], *, n_shared: int) -> list[str]:
    if len(groups) == 1:
        return ["All scans have the same value: there is nothing to compare with."]
    gaps = [gap for group in groups for name, gap in group.differences.items() if name.startswith(SHOWN)]
    notes = []
    if n_differing := sum(not gap.low <= 0 <= gap.high for gap in gaps):
        notes.append(
            f"The intervals of {n_differing} of {len(gaps)} differences leave out 0; by chance alone one in 20 does."
        )
    if n_shared:
        notes.append("Some patients have scans in several groups: the intervals of differences are rather too wide.")
    return notes
