"""Which scans there are: files below a folder, their classes and their patients.

A class is the first folder below the raw folder, or the label of a table. Nothing is opened but the table.
"""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from ctprep.errors import CatalogError
from ctprep.scans.label_table import BIDS_TABLE, DEFAULT_LABEL_COLUMN, LabelRow, LabelTable, read_label_table
from ctprep.scans.raw_files import RawFiles, list_raw_files, why_not_followed
from ctprep.scans.scan import UNLABELLED, Rejection, Scan

MOST_CLASSES = 32_767
"""What an int16 label can tell apart."""

Classes = Mapping[str, Sequence[str]]
"""Class name -> the folders, or labels of a table, that belong to it; of two, the second is the positive one."""


@dataclass(frozen=True)
class Catalog:
    """The scans of a folder.

    Parameters
    ----------
    raw : Path
        The folder.
    classes : tuple of str
        Names; a scan's `label` is an index into them.
    scans : tuple of Scan
        Sorted by id.
    rejected : tuple of Rejection
        Scans that are named but cannot be read: they are missing, or a link leads out of the folder.
    left_out : mapping of str to int
        Labels that belong to no class, and how many scans have them.
    unused : tuple of str
        Labels that belong to a class, but to no scan.
    without_patient : int
        Scans whose patient nothing names; each counts as a patient of its own.
    named_classes : bool
        Whether the user named the classes, and so chose which is the positive one.

    Examples
    --------
    >>> catalog = find_scans("raw")
    >>> catalog.scans[0].id, catalog.scans[0].label, catalog.without_patient
    ('CT-0/p00_0', 0, 17)
    """

    raw: Path
    classes: tuple[str, ...]
    scans: tuple[Scan, ...]
    rejected: tuple[Rejection, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    without_patient: int = 0
    named_classes: bool = False

    @property
    def notes(self) -> tuple[str, ...]:
        """What was inferred or left out, which the user may want otherwise: one line each."""
        notes = [
            f"{n} scans of {label} are left out: it belongs to no class" for label, n in sorted(self.left_out.items())
        ]
        notes += [f"no scan is labelled {label}" for label in self.unused]
        if self.without_patient:
            notes.append(
                f"no table or pattern names the patients of {self.without_patient} scans: each counts as a patient of "
                "its own"
            )
        if len(self.classes) == 2 and not self.named_classes:
            notes.append(
                f"{self.classes[1]} is the positive class; if it is not, name both classes, the negative one first"
            )
        return tuple(notes)


def find_scans(
    raw: str | os.PathLike[str],
    *,
    labels: str | os.PathLike[str] | None = None,
    label_column: str = DEFAULT_LABEL_COLUMN,
    classes: Classes | None = None,
    patient_pattern: str | None = None,
) -> Catalog:
    """List the scans below a folder with their classes and patients.

    Parameters
    ----------
    raw : path
        Its first-level folders name the classes, unless a table does.
    labels : path, optional
        CSV or TSV with a column `scan` (or `participant_id`, for BIDS), and optionally `patient`, the label, and
        any more. A `participants.tsv` in `raw` is used without being asked for.
    label_column : str
        The table's column that holds the label.
    classes : mapping of str to sequence of str, optional
        Class -> its folders or labels, in the order of the label's numbers. Without it every folder or label is a
        class, sorted. With it, scans of other labels are left out.
    patient_pattern : str, optional
        Regular expression searched in the id; its first group, or all of it, is the patient.

    Returns
    -------
    Catalog

    Raises
    ------
    CatalogError
        If there are no scans, or the table or mapping does not fit them.

    Examples
    --------
    The folders name the classes:

    >>> find_scans("raw").classes
    ('CT-0', 'CT-1', 'other')

    A table names labels and patients; `classes` maps labels to classes, the negative one first:

    >>> catalog = find_scans("raw", labels="raw/labels.csv", classes={"normal": ["CT-0"], "abnormal": ["CT-1"]})
    >>> catalog.classes, len(catalog.scans), catalog.scans[0].patient
    (('normal', 'abnormal'), 17, 'p00')
    """
    raw = Path(raw)
    if not raw.is_dir():
        raise CatalogError(f"{raw}: is not a folder; give the folder that holds the scans")
    table = _table_for(raw, labels, label_column)
    files = list_raw_files(raw)
    named = [_with_patient(scan, patient_pattern) for scan in _scans_with_labels(files.found, table)]
    mapping = _class_of_label(classes, {label for _, label in named if label}, raw)
    missing = _missing_files(files, table, None if classes is None else set(mapping))
    return _catalog(raw, named, mapping, classes, [*files.unusable, *missing])


LabelledScan = tuple[Scan, str]
"""A scan, without a patient where nothing names one, and the name of its label; empty where none is known."""


def _catalog(
    raw: Path,
    named: Sequence[LabelledScan],
    class_of_label: Mapping[str, str],
    classes: Classes | None,
    rejected: Sequence[Rejection],
) -> Catalog:
    names = tuple(classes) if classes else tuple(sorted(set(class_of_label.values())))
    _check_number(names)
    scans, left_out = [], Counter[str]()
    unused = set(class_of_label) - {label for _, label in named}
    for scan, label in named:
        if not label:
            scans.append(replace(scan, label=UNLABELLED))
        elif label in class_of_label:
            scans.append(replace(scan, label=names.index(class_of_label[label])))
        else:
            left_out[label] += 1
    if not scans:
        raise CatalogError(f"{raw}: no scan belongs to a class; the labels are {', '.join(sorted(left_out))}")
    in_order = sorted(scans, key=lambda scan: scan.id)
    return Catalog(
        raw,
        names,
        tuple(scan if scan.patient else replace(scan, patient=scan.id) for scan in in_order),
        tuple(sorted(rejected)),
        left_out,
        tuple(sorted(unused)),
        sum(not scan.patient for scan in in_order),
        named_classes=classes is not None,
    )


def _table_for(raw: Path, labels: str | os.PathLike[str] | None, label_column: str) -> LabelTable | None:
    if labels is not None:
        return read_label_table(Path(labels), label_column=label_column)
    if (raw / BIDS_TABLE).is_file():
        if why := why_not_followed(raw / BIDS_TABLE, raw):
            raise CatalogError(why)
        return read_label_table(raw / BIDS_TABLE, label_column=label_column)
    if label_column != DEFAULT_LABEL_COLUMN:
        raise CatalogError(f"label column: {label_column!r} needs a table, and none is given; add --labels TABLE")
    return None


def _scans_with_labels(found: Mapping[str, str], table: LabelTable | None) -> list[LabelledScan]:
    named = []
    for scan, path in found.items():
        row = _row_for(scan, table)
        label = row.label if row and row.label is not None else None
        if label is None:
            label = "" if table and table.has_labels else _folder_of(scan)
        patient, meta = (row.patient, row.meta) if row else ("", ())
        named.append((Scan(scan, path, UNLABELLED, patient, meta), label))
    return named


def _folder_of(scan: str) -> str:
    parts = PurePosixPath(scan).parts
    return parts[0] if len(parts) > 1 else ""


def _row_for(scan: str, table: LabelTable | None) -> LabelRow | None:
    """Find the table's row of a scan: its own, or that of the BIDS subject in whose folder it lies."""
    if table is None:
        return None
    return table.rows.get(PurePosixPath(scan).parts[0] if table.by_subject else scan)


def _missing_files(files: RawFiles, table: LabelTable | None, wanted: set[str] | None) -> list[Rejection]:
    """Reject the rows of a table whose files are not there, but for labels that nobody wants."""
    if table is None:
        return []
    there = [*files.found, *(rejection.scan for rejection in files.unusable)]
    known = {PurePosixPath(scan).parts[0] for scan in there} if table.by_subject else set(there)
    if not known.intersection(table.rows):
        raise CatalogError(
            f"{table.name}: none of its {len(table.rows)} scans is in the raw folder; it names them like "
            f"{next(iter(table.rows), 'nothing')!r}, they are named like {next(iter(sorted(known)))!r}"
        )
    return [
        Rejection(
            scan, "unreadable", f"{scan}: is in {table.name}, but no such file is in the raw folder; copy it there"
        )
        for scan, row in table.rows.items()
        if scan not in known and (wanted is None or not row.label or row.label in wanted)
    ]


def _with_patient(named: LabelledScan, pattern: str | None) -> LabelledScan:
    if pattern is None:
        return named
    scan, label = named
    try:
        match = re.search(pattern, scan.id)
    except re.error as error:
        raise CatalogError(f"patient pattern: {pattern!r} is not a regular expression ({error})") from None
    if not match:
        raise CatalogError(f"patient pattern: {pattern!r} is not found in {scan.id}; it must name every patient")
    return replace(scan, patient=match[1] if match.re.groups else match[0]), label


def _class_of_label(classes: Classes | None, labels: set[str], raw: Path) -> dict[str, str]:
    if classes is None:
        return {label: label for label in labels}
    mapping: dict[str, str] = {}
    for name, members in classes.items():
        for label in members:
            if label in mapping:
                raise CatalogError(f"classes: {label} belongs to {mapping[label]} and to {name}; name it once")
            mapping[label] = name
        if not labels.intersection(members):
            asked, known = ", ".join(members), ", ".join(sorted(labels)) or "none"
            raise CatalogError(f"classes: no scan in {raw} is labelled {asked}, so {name} is empty; there is: {known}")
    return mapping


def _check_number(names: Sequence[str]) -> None:
    if len(names) > MOST_CLASSES:
        raise CatalogError(
            f"classes: there are {len(names):,}, at most {MOST_CLASSES:,} can be; are they labels at all?"
        )
