"""Which scans there are: files below a folder, their classes, their patients and their subsets.

A class is the first folder below the raw folder, or the label of a table. Nothing is opened but tables. What is
inferred is said in the catalog's notes; what is ambiguous is an error.
"""

import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ctprep.errors import CatalogError
from ctprep.scans.choices import choose_per_scan
from ctprep.scans.classes import Classes, check_number, class_of_labels, notes_on_classes
from ctprep.scans.folders import Folders, labels_of_folders, split_of_folders
from ctprep.scans.label_table import LabelRow, LabelTable, read_labels
from ctprep.scans.masks import masks_among
from ctprep.scans.patients import name_patients, notes_on_patients
from ctprep.scans.raw_files import RawFiles, list_raw_files, why_not_followed
from ctprep.scans.readers.mistaken import advice_on
from ctprep.scans.scan import UNLABELLED, Rejection, Scan
from ctprep.scans.subsets import check_patients, notes_on_split
from ctprep.scans.tables.cells import Table, listed, read_bids_tables, read_table
from ctprep.scans.tables.columns import DEFAULT_LABEL_COLUMN, NO_COLUMN, Asked, scan_column
from ctprep.scans.tables.values import check_labels

BIDS_TABLE = "participants.tsv"


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
    has_named_classes : bool
        Whether the user named the classes; else every folder or label is one.
    notes : tuple of str
        What was inferred of classes, patients and subsets, and what was left out, one line each.

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
    has_named_classes: bool = False
    notes: tuple[str, ...] = ()


def find_scans(
    raw: str | os.PathLike[str],
    *,
    labels: str | os.PathLike[str] | None = None,
    scan_column: str | None = None,
    label_column: str | None = None,
    patient_column: str | None = None,
    split_column: str | None = None,
    classes: Classes | None = None,
    patient_pattern: str | None = None,
    split_folders: bool = False,
    exclude: Sequence[str] = (),
    include_masks: bool = False,
    follow_links: bool = False,
    accept: Mapping[str, str | Sequence[str]] | None = None,
    orientation: str | Mapping[str, str] | None = None,
) -> Catalog:
    """List the scans below a folder with their classes, patients and subsets.

    Parameters
    ----------
    raw : path
        Its first-level folders name the classes, unless a table does.
    labels : path, optional
        CSV or TSV with one row a scan (column `scan`) or one row a patient (`participant_id`, `patient_id`), the
        label, and any more. A `participants.tsv` in `raw` is used without being asked for, with the tables of its
        sessions and scans.
    scan_column, label_column, patient_column, split_column : str, optional
        The table's columns with the scan, its label, its patient, and its subset; `none` for no column. Without
        them usual names are taken, and said; where two could be meant, an error asks.
    classes : mapping of str to sequence of str, optional
        Class -> its folders (at any depth) or labels, in the order of the label's numbers; or columns that hold 1 and
        0. Without it every folder or label is a class, sorted. With it, scans of other labels are left out.
    patient_pattern : str, optional
        Regular expression searched in the id; its first group, or all of it, is the patient.
    split_folders : bool
        Take folders such as train, val and test as the split, which is kept, and not as classes.
    exclude : sequence of str
        Patterns of files and folders to pass over, such as `*_mask*` or `extra/old`.
    include_masks : bool
        Take files that look like masks by their names, too.
    follow_links : bool
        Follow links to folders, and links that lead out of `raw`.
    accept : mapping of str to str or sequence of str, optional
        Scan id -> codes of rejections, of `errors.ACCEPTABLE_CODES`, that do not reject this scan.
    orientation : str or mapping of str to str, optional
        Which way the axes of scans run whose files do not say it, as in LPS: of all, or by scan id; "" stands for
        those that are not named.

    Returns
    -------
    Catalog

    Raises
    ------
    CatalogError
        If there are no scans, the table or mapping does not fit them, or what is meant cannot be told.

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
    if patient_pattern is not None and patient_column not in (None, NO_COLUMN):
        raise CatalogError("patient pattern: a column names the patients, too; give --patient-column or the pattern")
    exclude = (exclude,) if isinstance(exclude, str) else tuple(exclude)
    asked = Asked(scan_column, label_column, patient_column, split_column, patient_pattern)
    class_of = None if classes is None else {member: name for name in classes for member in classes[name]}
    members = None if class_of is None else tuple(class_of)
    table = _table_for(raw, labels, asked, follow_links=follow_links)
    files = list_raw_files(raw, exclude=exclude, follow_links=follow_links)
    files, masks = (files, ()) if include_masks else _without_masks(files, table, asked, members or ())
    said = LabelTable()
    if table is not None:
        unusable = [rejection.scan for rejection in files.unusable]
        folder = raw.resolve().name
        said = read_labels(
            table, asked, found=files.found, unusable=unusable, folder=folder, members=members, exclude=exclude
        )
    split = split_of_folders(files.found, raw, is_affirmed=split_folders, other=said.has_split)
    folders = Folders()
    if not said.has_labels:
        folders = labels_of_folders(files.found, raw, class_of=class_of, without_split=split_folders)
    scans, on_names = name_patients(
        [_scan(scan, path, said, split) for scan, path in files.found.items()],
        pattern=patient_pattern,
        source=said.name,
    )
    label_of = {scan: row.label for scan, row in said.rows.items()} if said.has_labels else folders.labels
    notes = [
        *_notes_on_files(files, masks),
        *_notes_on_table(table, raw, is_given=labels is not None),
        *said.notes,
        *split.notes,
        *folders.notes,
        *on_names,
    ]
    scans = choose_per_scan(
        scans, accept=accept or {}, orientation=orientation or {}, known=files.unusable, where=str(raw)
    )
    return _catalog(raw, scans, label_of, classes, [*files.unusable, *said.missing], said, notes)


def _table_for(raw: Path, labels: str | os.PathLike[str] | None, asked: Asked, *, follow_links: bool) -> Table | None:
    has_bids_table = (raw / BIDS_TABLE).is_file()
    if labels is not None and not (has_bids_table and os.path.realpath(labels) == os.path.realpath(raw / BIDS_TABLE)):
        return read_table(Path(labels))
    if has_bids_table:
        if why := why_not_followed(raw / BIDS_TABLE, raw, follow_links=follow_links):
            raise CatalogError(why)
        return read_bids_tables(raw / BIDS_TABLE, asked.label or DEFAULT_LABEL_COLUMN)
    for what in ("scan", "label", "patient", "split"):
        if (column := getattr(asked, what)) is not None and column != NO_COLUMN:
            raise CatalogError(f"{what} column: {column!r} needs a table, and none is given; add --labels TABLE")
    return None


def _without_masks(
    files: RawFiles, table: Table | None, asked: Asked, members: Collection[str]
) -> tuple[RawFiles, Sequence[str]]:
    """Leave out files that look like masks, but for those that the table or the classes name."""
    column = None if table is None else scan_column(table, asked)
    named = [] if table is None or column is None else table.column(column)
    masks = masks_among(files.found, named, members)
    if masks and len(masks) == len(files.found):
        raise CatalogError(
            f"{len(masks)} files, all that there are, look like masks by their names, such as {masks[0]}; if they are "
            "scans, add --include-masks"
        )
    left = set(masks)
    return replace(files, found={scan: path for scan, path in files.found.items() if scan not in left}), masks


def _notes_on_files(files: RawFiles, masks: Sequence[str]) -> list[str]:
    notes = []
    if masks:
        notes.append(
            f"left out: {len(masks)} that look like masks or derivatives by their names ({listed(masks, 3)}); "
            "--include-masks takes them"
        )
    for pattern, count in files.excluded.items():
        notes.append(
            f"left out: {count} by --exclude {pattern}" if count else f"no file or folder fits --exclude {pattern}"
        )
    return notes + advice_on(files.others)


def _notes_on_table(table: Table | None, raw: Path, *, is_given: bool) -> list[str]:
    notes = []
    if table is not None and not is_given:
        notes.append(f"labels: {BIDS_TABLE} in {raw.name} is the table; --labels takes another")
    if table is not None and table.comments:
        notes.append(f"labels: {table.comments} lines of {table.name} that begin with # are passed over")
    others = [path.name for path in sorted(raw.glob("*.[ct]sv")) if path.name != BIDS_TABLE]
    if not is_given and others:
        notes.append(
            f"labels: {listed(others, 3)} in {raw.name} is not read; --labels {raw / others[0]} takes it as the table"
        )
    return notes


def _scan(scan: str, path: str, said: LabelTable, split: Folders) -> Scan:
    row = said.rows.get(scan, LabelRow())
    return Scan(scan, path, UNLABELLED, row.patient, row.meta, row.split or split.splits.get(scan, ""))


def _catalog(
    raw: Path,
    found: Sequence[Scan],
    label_of: Mapping[str, str],
    classes: Classes | None,
    rejected: Sequence[Rejection],
    table: LabelTable,
    notes: Sequence[str],
) -> Catalog:
    labels = {label for scan in found if (label := label_of.get(scan.id))}
    class_of_label = class_of_labels(classes, labels, where=str(raw))
    check_labels(labels, class_of_label if classes else None, source=table.name if table.has_labels else str(raw))
    names = tuple(classes) if classes else tuple(sorted(set(class_of_label.values())))
    check_number(names)
    number = {label: names.index(name) for label, name in class_of_label.items()} | {"": UNLABELLED}
    left_out = Counter(label for scan in found if (label := label_of.get(scan.id, "")) not in number)
    scans = [
        replace(scan, label=number[label], patient=scan.patient or scan.id)
        for scan in sorted(found, key=lambda scan: scan.id)
        if (label := label_of.get(scan.id, "")) in number
    ]
    if not scans:
        raise CatalogError(f"{raw}: no scan belongs to a class; the labels are {', '.join(sorted(left_out))}")
    check_patients(scans)
    unused = sorted(set(class_of_label) - labels)
    in_store = {scan.id for scan in scans}
    without_patient = sum(not scan.patient and scan.id in in_store for scan in found)
    said = [
        *notes,
        *notes_on_classes(names, scans, table=table.name if table.has_labels else None, are_named=classes is not None),
        *(f"left out: {left_out[label]} scans of {label}, which belongs to no class" for label in sorted(left_out)),
        *(f"no scan is labelled {label}" for label in unused),
        *notes_on_patients(scans, without_patient),
        *notes_on_split(scans),
    ]
    return Catalog(
        raw=raw,
        classes=names,
        scans=tuple(scans),
        rejected=tuple(sorted(rejected)),
        left_out=left_out,
        unused=tuple(unused),
        without_patient=without_patient,
        has_named_classes=classes is not None,
        notes=tuple(said),
    )
