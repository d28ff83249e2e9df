"""Which column of a table says what: the scan, its label, its patient, its session, its subset.

Usual names are taken and said; where two columns could be meant, an error asks.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ctprep.errors import CatalogError
from ctprep.scans.subsets import subset_of
from ctprep.scans.tables.cells import Table, column_key, has_value, listed
from ctprep.scans.tables.label_column import flag_columns, missing_labels

DEFAULT_LABEL_COLUMN = "label"

NO_COLUMN = "none"
"""What a user gives for a column that is not to be taken from the table."""

_SCAN = re.compile("scan(id|name|file|path)|(file|image|nifti|volume)(id|name|path|file)?|path|stud(y|yid)|series(id)?")
_PATIENTS = ("patient", "patientid", "participant", "participantid", "subject", "subjectid", "case", "caseid")
_PATIENT_WORDS = ("patient", "participant", "subject", "person", "individual", "case")
_PATIENT_KEYS = ("pid", "pat", "patno", "patnr", "mrn", "ptid", "hn", "personid", "id")
_OF_A_PATIENT = re.compile(
    "age|sex|gender|weight|height|size|bmi|birth|date|time|group|status|position|count|number of|n_|type|history|site"
)
_SESSIONS = ("sessionid", "session", "ses")
_RUNS = ("runid", "run")


@dataclass(frozen=True)
class Asked:
    """The columns that the user named; None where nothing was said, `none` for no column.

    `pattern` is the regular expression that names the patients instead of a column.
    """

    scan: str | None = None
    label: str | None = None
    patient: str | None = None
    split: str | None = None
    pattern: str | None = None


@dataclass(frozen=True)
class Columns:
    """The columns that are taken from a table; None where there is none.

    Parameters
    ----------
    scan : str, optional
        The ids of scans.
    subject : str, optional
        The subjects, where a row speaks of all scans of one.
    session, run : str, optional
        Which of a subject's scans a row speaks of.
    label : str, optional
    flags : tuple of str
        One column for each label, with 1 where a scan has it.
    patient : str, optional
    split : str, optional
    notes : tuple of str
        What was inferred.
    """

    scan: str | None = None
    subject: str | None = None
    session: str | None = None
    run: str | None = None
    label: str | None = None
    flags: tuple[str, ...] = ()
    patient: str | None = None
    split: str | None = None
    notes: tuple[str, ...] = field(default=(), repr=False)

    @property
    def has_labels(self) -> bool:
        """Whether the table names the labels; else the folders do."""
        return self.label is not None or bool(self.flags)

    @property
    def used(self) -> set[str | None]:
        """The columns that do not travel as columns of the user's own."""
        return {self.scan, self.subject, self.label, self.patient, self.split}


def choose_columns(
    table: Table, asked: Asked, *, members: Iterable[str] | None = None, folders_are_classes: bool = False
) -> Columns:
    """Decide which column of a table says what.

    Parameters
    ----------
    table : Table
    asked : Asked
        What the user named.
    members : iterable of str, optional
        The labels that the user's classes name: columns of 1 and 0, if the table has no column of labels.
    folders_are_classes : bool
        Whether the folders could name the classes where the table does not.

    Raises
    ------
    CatalogError
        If a column is missing, or two could be meant; it names those that there are.
    """
    notes: list[str] = []
    scan, subject = _key_columns(table, asked, notes)
    keys = {scan, subject}
    session, run = (next(iter(_named(table, names, keys)), None) for names in (_SESSIONS, _RUNS))
    split = _split_column(table, asked, keys, notes)
    label = _asked(table, asked.label, "label") or next(iter(_named(table, (DEFAULT_LABEL_COLUMN,), keys)), None)
    if asked.label == NO_COLUMN:
        label = None
    taken = keys | {split, label}
    patient = _patient_column(table, asked, taken, is_by_subject=subject is not None, notes=notes)
    left = [column for column in table.header if column not in taken | {patient, session, run}]
    flags: tuple[str, ...] = ()
    if label is None and asked.label is None:
        flags = flag_columns(left, members)
        if not flags:
            notes += missing_labels(table, left, folders_are_classes=folders_are_classes)
        else:
            notes.append(
                f"labels: {table.name} has one column for each ({', '.join(flags)}), with 1 where a scan has it"
            )
    if subject is not None and patient is None and asked.patient != NO_COLUMN:
        patient = subject
    if patient is not None and asked.pattern is not None:
        notes.append(f"patients: --patient-pattern names them, not the column {patient} of {table.name}")
    elif patient is not None and asked.patient is None and patient.casefold() != "patient":
        notes.append(f"patients: the column {patient} of {table.name} names them; --patient-column takes another")
    return Columns(scan, subject, session, run, label, flags, patient, split, tuple(notes))


def scan_column(table: Table, asked: Asked) -> str | None:
    """Return the column with the ids of scans; None where a row speaks of a subject.

    Raises
    ------
    CatalogError
        As `choose_columns`.
    """
    return _key_columns(table, asked, [])[0]


def _named(table: Table, names: Iterable[str], without: Iterable[str | None] = ()) -> list[str]:
    """Return the columns that have one of some names, in the order of the names."""
    excluded = set(without)
    by_key = {column_key(column): column for column in table.header if column not in excluded}
    return [by_key[name] for name in names if name in by_key]


def _asked(table: Table, column: str | None, what: str) -> str | None:
    """Return the column that the user named."""
    if column is None or column == NO_COLUMN:
        return None
    if column in table.header:
        return column
    if len(alike := [one for one in table.header if column_key(one) == column_key(column)]) == 1:
        return alike[0]
    raise CatalogError(
        f"{table.name}: has no column {column!r}, only {', '.join(table.header)}; name one of them with --{what}-column"
    )


def _key_columns(table: Table, asked: Asked, notes: list[str]) -> tuple[str | None, str | None]:
    """Return the column of scan ids, or else that of subjects."""
    if (scan := _asked(table, asked.scan, "scan") or next(iter(_named(table, ("scan",))), None)) is not None:
        return scan, None
    usual = [column for column in table.header if _SCAN.fullmatch(column_key(column))]
    participant = next(iter(_named(table, ("participantid",))), None)
    if participant and (table.name.startswith(("participants.", "*_sessions")) or not usual):
        return None, participant
    if len(usual) > 1:
        raise CatalogError(
            f"{table.name}: {' and '.join(usual)} could both be the column of the scans; name one with --scan-column"
        )
    if usual:
        notes.append(f"scans: the column {usual[0]} of {table.name} names them; --scan-column takes another")
        return usual[0], None
    patients = _named(table, _PATIENTS)
    if len(patients) == 1 and asked.patient in (None, patients[0]):
        notes.append(
            f"scans: {table.name} has one row for each {patients[0]}, which speaks of every scan whose folder or name "
            "begins with it; --scan-column names the scans themselves"
        )
        return None, patients[0]
    raise CatalogError(
        f"{table.name}: has the columns {', '.join(table.header)}; one of them must be named scan, or be named with "
        "--scan-column"
    )


def _patient_column(
    table: Table, asked: Asked, taken: set[str | None], *, is_by_subject: bool, notes: list[str]
) -> str | None:
    if asked.patient == NO_COLUMN:
        return None
    chosen = _asked(table, asked.patient, "patient")
    usual = _named(table, _PATIENTS, taken)
    if chosen is None and is_by_subject:
        chosen = next(iter(_named(table, ("patient",), taken)), None)
    elif chosen is None and usual:
        if asked.pattern is None:
            _refuse_two(table, usual)
        chosen = usual[0]
    others = [one for one in table.header if one not in taken and one != chosen and _looks_like_patient(one)]
    others = [one for one in others if chosen is None or not _divide_alike(table.column(chosen), table.column(one))]
    if others and asked.pattern is None:
        notes.append(
            f"patients: {listed(others)} of {table.name} {'look' if len(others) > 1 else 'looks'} like a patient and "
            f"{'are' if len(others) > 1 else 'is'} not taken; --patient-column takes one"
        )
    return chosen


def _refuse_two(table: Table, usual: Sequence[str]) -> None:
    first, *others = usual
    different = [other for other in others if not _divide_alike(table.column(first), table.column(other))]
    if different:
        raise CatalogError(
            f"{table.name}: {' and '.join([first, *different])} could each be the patient, and they divide the scans "
            "differently; name one with --patient-column"
        )


def _divide_alike(one: Sequence[str], other: Sequence[str]) -> bool:
    return len(set(zip(one, other, strict=True))) == len(set(one)) == len(set(other))


def _looks_like_patient(column: str) -> bool:
    key = column_key(column)
    named = any(word in key for word in _PATIENT_WORDS) or key in _PATIENT_KEYS
    return named and not _OF_A_PATIENT.search(column.casefold())


def _split_column(table: Table, asked: Asked, taken: set[str | None], notes: list[str]) -> str | None:
    if asked.split == NO_COLUMN:
        return None
    if (chosen := _asked(table, asked.split, "split")) is not None:
        return chosen
    if usual := _named(table, ("split",), taken):
        notes.append(f"split: the column {usual[0]} of {table.name} is kept; --split-column none leaves it out")
        return usual[0]
    notes += [
        f"split: the column {column} of {table.name} looks like one and is not taken; --split-column {column} keeps it"
        for column in table.header
        if column not in taken and _is_split(table.column(column))
    ]
    return None


def _is_split(cells: Sequence[str]) -> bool:
    values = set(filter(has_value, cells))
    return 2 <= len(values) <= 6 and len(subsets := {subset_of(value) for value in values}) > 1 and None not in subsets
