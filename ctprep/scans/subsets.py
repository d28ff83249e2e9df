"""Which subset, train, validation or test, the user's data say that a scan belongs to."""

import re
from collections.abc import Iterable, Sequence

from ctprep.errors import CatalogError
from ctprep.scans.scan import Scan

SUBSETS = ("train", "validation", "test")

_WORDS = {
    "train": "train",
    "training": "train",
    "tr": "train",
    "trn": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "validate": "validation",
    "dev": "validation",
    "tuning": "validation",
    "test": "test",
    "testing": "test",
    "tst": "test",
    "ts": "test",
    "holdout": "test",
}

_FILLING = re.compile("sets?|data|images?|imgs?|scans?|cts?|volumes|subset|split|cohort")

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")


def subset_of(name: str) -> str | None:
    """Return the subset that a folder's name or a table's cell means, or None.

    Examples
    --------
    >>> subset_of("Training"), subset_of("val_set"), subset_of("imagesTs"), subset_of("2_test"), subset_of("normal")
    ('train', 'validation', 'test', 'test', None)
    """
    if (whole := _WORDS.get(re.sub(r"[\W_]", "", name.casefold()))) is not None:
        return whole
    words = [word.casefold() for word in _WORD.findall(name)]
    found = {_WORDS[word] for word in words if word in _WORDS}
    others = [word for word in words if word not in _WORDS and not _FILLING.fullmatch(word)]
    return found.pop() if len(found) == 1 and not others else None


def subsets_of_column(cells: Iterable[str], *, column: str, table: str) -> dict[str, str]:
    """Return the subset of each value of a split column.

    Raises
    ------
    CatalogError
        If a value means none of the three.
    """
    meant = {cell: subset_of(cell) for cell in sorted(set(cells))}
    if unknown := [cell for cell, subset in meant.items() if subset is None]:
        raise CatalogError(
            f"{table}: its split column {column!r} holds {', '.join(map(repr, unknown[:4]))}, expected train, "
            "validation and test; rename them, or leave the column alone with --split-column none"
        )
    return {cell: subset for cell, subset in meant.items() if subset is not None}


def check_patients(scans: Iterable[Scan]) -> None:
    """Refuse a split that divides a patient.

    Raises
    ------
    CatalogError
        Naming the patients.
    """
    subsets: dict[str, set[str]] = {}
    for scan in scans:
        if scan.split:
            subsets.setdefault(scan.patient, set()).add(scan.split)
    if divided := [patient for patient, found in sorted(subsets.items()) if len(found) > 1]:
        named = "; ".join(f"{patient} in {' and '.join(_in_order(subsets[patient]))}" for patient in divided[:3])
        more = f" and {len(divided) - 3} more" if len(divided) > 3 else ""
        raise CatalogError(
            f"split: has {len(divided)} patients in two subsets ({named}{more}), so its scores would be too high; "
            "correct it, or leave it out (--split-column none, or without --split-folders)"
        )


def counted(splits: Iterable[str]) -> str:
    """Return how many scans each subset has, as in `8 train, 2 test`.

    Examples
    --------
    >>> counted(["test", "train", "", "train"])
    '2 train, 1 test'
    """
    count: dict[str, int] = {}
    for split in splits:
        count[split] = count.get(split, 0) + 1
    return ", ".join(f"{count[subset]} {subset}" for subset in SUBSETS if subset in count)


def notes_on_split(scans: Sequence[Scan]) -> list[str]:
    """Say how many scans are in each subset, and in none."""
    without = sum(not scan.split for scan in scans)
    if without == len(scans):
        return []
    notes = [f"split: {counted(scan.split for scan in scans)}; a training uses it"]
    if without:
        notes.append(f"split: {without} scans are in no subset")
    return notes


def _in_order(found: Iterable[str]) -> list[str]:
    return sorted(found, key=SUBSETS.index)
