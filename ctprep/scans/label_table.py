"""What a table of labels says of each scan: label, patient, subset, and columns of the user's own."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from ctprep.errors import CatalogError
from ctprep.scans.raw_files import Excluded
from ctprep.scans.scan import Rejection
from ctprep.scans.subsets import subsets_of_column
from ctprep.scans.tables.cells import Table, column_name, value_of
from ctprep.scans.tables.columns import Asked, Columns, choose_columns
from ctprep.scans.tables.matching import Matches, match_rows, subject_of
from ctprep.scans.tables.values import chosen_flag, same_numbers

Members = Sequence[str] | None
"""The labels or folders that the user's classes name."""


@dataclass(frozen=True)
class LabelRow:
    """What a table says of one scan; empty where it says nothing."""

    label: str = ""
    patient: str = ""
    split: str = ""
    meta: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class LabelTable:
    """What a table says of all scans.

    Parameters
    ----------
    name : str
        The file's name, for messages.
    has_labels : bool
        Whether it names the labels; else the folders do.
    has_split : bool
        Whether it names the subsets.
    rows : mapping of str to LabelRow
        By scan id.
    missing : tuple of Rejection
        Scans that it names and that are not there.
    notes : tuple of str
        What was inferred.
    """

    name: str = "the folders"
    has_labels: bool = False
    has_split: bool = False
    rows: Mapping[str, LabelRow] = field(default_factory=dict)
    missing: tuple[Rejection, ...] = ()
    notes: tuple[str, ...] = ()


def read_labels(
    table: Table,
    asked: Asked,
    *,
    found: Collection[str],
    unusable: Collection[str],
    folder: str,
    members: Members = None,
    exclude: Sequence[str] = (),
) -> LabelTable:
    """Find out what a table says of each scan.

    Parameters
    ----------
    table : Table
    asked : Asked
        The columns that the user named.
    found, unusable : collections of str
        Ids of the scans that are there, and of those that cannot be used.
    folder : str
        The name of the raw folder.
    members : sequence of str, optional
        The labels that the user's classes name.
    exclude : sequence of str
        Patterns of scans that are left out.

    Raises
    ------
    CatalogError
        If the table does not fit the scans, or what it says is ambiguous.
    """
    first_folders = {PurePosixPath(scan).parts[0] for scan in found if "/" in scan}
    are_classes = len(first_folders) > 1 and not all(map(subject_of, first_folders))
    if members is not None:
        are_classes |= not {part for scan in found for part in PurePosixPath(scan).parts[:-1]}.isdisjoint(members)
    columns = choose_columns(table, asked, members=members, folders_are_classes=are_classes)
    matches = match_rows(table, columns, dict.fromkeys([*found, *unusable]), folder=folder)
    labels = [_label(record, columns, table.name) for record in table.records]
    label_of = same_numbers([*labels, *(members or ())])
    patients = [value_of(record, columns.patient) for record in table.records]
    patient_of = same_numbers(patients)
    splits = [value_of(record, columns.split) for record in table.records]
    subset_of = subsets_of_column(filter(None, splits), column=str(columns.split), table=table.name)
    own = [(column, column_name(column)) for column in table.header if column not in columns.used]
    rows = {
        scan: LabelRow(
            label_of[labels[row]],
            patient_of[patients[row]],
            subset_of.get(splits[row], ""),
            tuple((name, table.records[row][column]) for column, name in own),
        )
        for scan, row in matches.row_of.items()
    }
    wanted = None if members is None else {label_of[member] for member in members}
    missing = {scan: label_of[labels[row]] for scan, row in matches.missing.items()}
    notes = [
        *columns.notes,
        *matches.notes,
        *_notes_on_numbers("labels", label_of),
        *_notes_on_numbers("patients", patient_of),
        *_notes_on_rows(table, columns, matches, found),
    ]
    return LabelTable(
        table.name,
        columns.has_labels,
        columns.split is not None,
        rows,
        tuple(_reject(missing, wanted, exclude, table.name)),
        tuple(notes),
    )


def _label(record: Mapping[str, str], columns: Columns, table: str) -> str:
    if not columns.flags:
        return value_of(record, columns.label)
    scan = record[str(columns.scan or columns.subject)]
    chosen = chosen_flag(record, columns.flags, table=table, scan=scan)
    if len(chosen) > 1:
        raise CatalogError(f"{table}: {' and '.join(chosen)} are both 1 for {scan}, expected one label; correct it")
    return chosen[0] if chosen else ""


def _reject(missing: Mapping[str, str], wanted: set[str] | None, exclude: Sequence[str], table: str) -> list[Rejection]:
    """Reject the scans of a table whose files are not there, but for labels that nobody wants, and what is excluded."""
    excluded = Excluded(exclude)
    return [
        Rejection(scan, "unreadable", f"{scan}: is in {table}, but no such file is in the raw folder; copy it there")
        for scan, label in missing.items()
        if (wanted is None or not label or label in wanted) and not excluded.holds_scan(scan)
    ]


def _notes_on_numbers(what: str, spelled: Mapping[str, str]) -> list[str]:
    joined = sorted(written for written, one in spelled.items() if written != one)
    return [f"{what}: numbers that are equal are one, as {joined[0]} and {spelled[joined[0]]}"] if joined else []


def _notes_on_rows(table: Table, columns: Columns, matches: Matches, found: Collection[str]) -> list[str]:
    without = sorted(scan for scan in found if scan not in matches.row_of)
    if not without:
        return []
    said = "they have no label" if columns.has_labels else "nothing more is known of them"
    return [f"scans: {len(without)} of {len(found)} are in no row of {table.name}, such as {without[0]}: {said}"]
