"""What labels, and names of patients, mean: which spellings are one, and which cannot be told."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from ctprep.errors import CatalogError

MANY_CLASSES = 20
"""More classes than a table of labels usually has: patients, ages or volumes have more."""

_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?|[-+]?\.\d+", re.ASCII)
_DECIMAL_COMMA = re.compile(r"^([-+]?\d+),0{1,2}$", re.ASCII)
"""A whole number as spreadsheets of many countries write it; of more zeros the comma may stand for thousands."""

MAX_DIGITS = 15
"""Characters that float64 always keeps; what is longer is a code, not a number."""

_YES = {"1", "true", "yes"}
_NO = {"0", "false", "no", ""}


def same_numbers(values: Iterable[str]) -> dict[str, str]:
    """Return one spelling for each value: numbers that are equal have the same one, all other values their own.

    A number that is written in one way only keeps it.

    Examples
    --------
    >>> same_numbers(["0", "0.0", "1.0", "CT-0"])
    {'0': '0', '0.0': '0', '1.0': '1.0', 'CT-0': 'CT-0'}
    >>> same_numbers(["1", "1,0", "1,000"])
    {'1': '1', '1,0': '1', '1,000': '1,000'}
    """
    spellings: dict[str, str] = {}
    by_number: defaultdict[float, list[str]] = defaultdict(list)
    for value in dict.fromkeys(values):
        spellings[value] = value
        text = _DECIMAL_COMMA.sub(r"\1", value)
        if len(value) <= MAX_DIGITS and _NUMBER.fullmatch(text):
            by_number[float(text)].append(value)
    for number, alike in by_number.items():
        if len(alike) > 1:
            spellings |= dict.fromkeys(alike, f"{number:.15g}")
    return spellings


def look_alike(values: Iterable[str]) -> list[list[str]]:
    """Return the groups of values that differ in case, blanks or dashes only.

    Examples
    --------
    >>> look_alike(["Normal", "ill", "normal", "-1", "1", "CT-1", "CT1"])
    [['CT-1', 'CT1'], ['Normal', 'normal']]
    """
    by_look: defaultdict[str, list[str]] = defaultdict(list)
    for value in sorted(set(values)):
        look = re.sub(r"\s+|(?<=\w)[-_]+(?=\w)", "", value) if re.search(r"[^\W\d_]", value) else value
        by_look[look.casefold()].append(value)
    return [alike for alike in by_look.values() if len(alike) > 1]


def check_labels(labels: Iterable[str], class_of_label: Mapping[str, str] | None, *, source: str) -> None:
    """Refuse labels that may mean the same.

    Raises
    ------
    CatalogError
        If some differ in case, blanks or dashes only, and no mapping joins them into one class.
    """
    groups = [alike for alike in look_alike(labels) if not _are_joined(alike, class_of_label)]
    if groups:
        shown = "; ".join(", ".join(map(repr, alike)) for alike in groups[:4])
        way = " ".join(f"--classes '{alike[-1]}={','.join(alike)}'" for alike in groups[:4])
        raise CatalogError(
            f"{source}: has labels that differ in case, blanks or dashes only ({shown}); write them alike, or join "
            f"them: {way}"
        )


def _are_joined(alike: Sequence[str], class_of_label: Mapping[str, str] | None) -> bool:
    """Return whether the user's classes take all of some labels, or none."""
    if class_of_label is None:
        return False
    is_named = [label in class_of_label for label in alike]
    return all(is_named) or not any(is_named)


def check_patient_names(patients: Iterable[str], *, source: str) -> None:
    """Refuse names of patients that may be one patient's."""
    if alike := look_alike(patients):
        raise CatalogError(
            f"{source}: names patients that differ in case, blanks or dashes only ({', '.join(map(repr, alike[0]))}); "
            "write each patient in one way, or use another column: --patient-column"
        )


def is_flag_column(cells: Sequence[str]) -> bool:
    """Return whether a column holds yes and no alone, as 1 and 0."""
    values = {_flag(cell) for cell in cells}
    return None not in values and True in values


def chosen_flag(record: Mapping[str, str], columns: Iterable[str], *, table: str, scan: str) -> list[str]:
    """Return the columns, of those that hold yes and no, that say yes of a scan.

    Raises
    ------
    CatalogError
        If a cell says neither.
    """
    said = {column: _flag(record[column]) for column in columns}
    for column, value in said.items():
        if value is None:
            raise CatalogError(
                f"{table}: column {column!r} holds {record[column]!r} for {scan}, expected 1 or 0, because --classes "
                "names it; correct it, or name the column of the labels with --label-column"
            )
    return [column for column, value in said.items() if value]


def _flag(cell: str) -> bool | None:
    text = cell.casefold()
    if _NUMBER.fullmatch(text):
        text = f"{float(text):g}"
    return True if text in _YES else False if text in _NO else None
