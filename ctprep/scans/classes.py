"""Which classes the labels make, and what is said of them."""

import re
from collections.abc import Mapping, Sequence

from ctprep.errors import CatalogError
from ctprep.scans.scan import UNLABELLED, Scan
from ctprep.scans.tables.values import MANY_CLASSES, same_numbers

MAX_CLASSES = 32_767
"""What an int16 label can tell apart."""

_NEGATIVE = {
    "normal", "healthy", "control", "controls", "negative", "neg", "no", "non", "not", "none", "without", "benign",
    "false", "ok", "well",
}  # fmt: skip
"""Words in the names of classes without the finding."""

Classes = Mapping[str, Sequence[str]]
"""Class name -> the folders, or labels of a table, that belong to it; of two, the second is the positive one."""


def class_of_labels(classes: Classes | None, labels: set[str], *, where: str) -> dict[str, str]:
    """Return the class of each label; each label is one where the user named none.

    Raises
    ------
    CatalogError
        If a label belongs to two classes, or a class to no scan.
    """
    if classes is None:
        return {label: label for label in labels}
    mapping: dict[str, str] = {}
    spelled = same_numbers([*sorted(labels), *(member for members in classes.values() for member in members)])
    for name, members in classes.items():
        for label in members:
            if mapping.setdefault(spelled[label], name) != name:
                raise CatalogError(f"classes: {label} belongs to {mapping[spelled[label]]} and to {name}; name it once")
        if not labels.intersection(spelled[member] for member in members):
            there, known = ", ".join(members), ", ".join(sorted(labels)) or "none"
            raise CatalogError(
                f"classes: no scan in {where} is labelled {there}, so {name} is empty; there is: {known}"
            )
    return mapping


def check_number(names: Sequence[str]) -> None:
    """Refuse more classes than a store can tell apart."""
    if len(names) > MAX_CLASSES:
        raise CatalogError(
            f"classes: there are {len(names):,}, at most {MAX_CLASSES:,} can be; are they labels at all?"
        )


def notes_on_classes(names: Sequence[str], scans: Sequence[Scan], *, table: str | None, are_named: bool) -> list[str]:
    """Say what looks wrong about the classes, and which is the positive one where nobody did.

    Parameters
    ----------
    names : sequence of str
        Of the classes.
    scans : sequence of Scan
    table : str, optional
        The name of the table with the labels, if there is one.
    are_named : bool
        Whether the user named the classes.
    """
    if not names:
        why = f"{table} has none for them" if table else "neither a table nor a folder names one"
        return [f"classes: no scan has a label, because {why}; no network can be trained on them"]
    notes = []
    if unlabelled := sum(scan.label == UNLABELLED for scan in scans):
        notes.append(f"classes: {unlabelled} of {len(scans)} scans have no label")
    if len(names) > MANY_CLASSES or (len(names) > 2 and len(scans) <= 2 * len(names)):
        notes.append(
            f"classes: there are {len(names)} for {len(scans)} scans; if they are none, name the classes: --classes"
        )
    if len(names) == 1:
        notes.append(f"classes: all labelled scans are {names[0]}; a training needs two classes or more")
    if len(names) == 2 and not are_named:
        notes.append(_note_on_positive(*names))
    return notes


def _note_on_positive(first: str, second: str) -> str:
    if is_negative(second) and not is_negative(first):
        return (
            f"{second} is the positive class, because it is the last in order, but its name says the opposite; name "
            f"both, the negative one first: --classes {second}={second} --classes {first}={first}"
        )
    return f"{second} is the positive class; if it is not, name both with --classes"


def is_negative(name: str) -> bool:
    """Tell whether a class is called what people call scans without the finding.

    Examples
    --------
    >>> [is_negative(name) for name in ("Normal", "healthy_control", "non-covid", "abnormal", "CT-1")]
    [True, True, True, False, False]
    """
    words = re.findall(r"[^\W\d_]+", name.casefold())
    return not _NEGATIVE.isdisjoint(words)
