"""The user's table of labels: CSV or TSV, one row a scan or one row a BIDS subject."""

import csv
import io
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ctprep.errors import CatalogError
from ctprep.scans.readers.formats import SUFFIX
from ctprep.scans.scan import NO_VALUE

BIDS_TABLE = "participants.tsv"
DEFAULT_LABEL_COLUMN = "label"
ID_COLUMNS = ("scan", "participant_id")
LARGEST_TABLE = 256 << 20
"""Bytes; a million rows of 200 characters stay below it."""
LONGEST_COLUMN = 250
"""Bytes of a column's name: a folder of the store is named after it, `meta_` and 250 more."""


@dataclass(frozen=True)
class LabelRow:
    """What a table says of one scan, or of every scan of one subject.

    Parameters
    ----------
    label : str or None
        Empty where the table leaves it open, None where the table has no labels.
    patient : str
        Empty where the table does not say.
    meta : tuple of (column, value)
        The further columns.
    """

    label: str | None
    patient: str
    meta: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class LabelTable:
    """A table's rows by scan id or subject folder.

    Parameters
    ----------
    name : str
        The file's name, for messages.
    has_labels : bool
        Whether it has the label column; without it the folders name the classes.
    by_subject : bool
        Whether the rows are BIDS subjects, whose folders hold the scans.
    rows : mapping of str to LabelRow
    """

    name: str
    has_labels: bool
    by_subject: bool
    rows: Mapping[str, LabelRow]


def read_label_table(path: Path, *, label_column: str = DEFAULT_LABEL_COLUMN) -> LabelTable:
    """Read a table of labels.

    Parameters
    ----------
    path : Path
        UTF-8; tabs, commas or semicolons separate the columns.
    label_column : str
        The column that holds the label.

    Raises
    ------
    CatalogError
        If the file cannot be read, lacks a column that it must have, or names a scan twice.
    """
    header, records = _read_cells(path)
    id_column = next((column for column in ID_COLUMNS if column in header), None)
    if id_column is None:
        raise CatalogError(f"{path.name}: has the columns {', '.join(header)}; one of them must be named scan")
    if label_column != DEFAULT_LABEL_COLUMN and label_column not in header:
        raise CatalogError(f"{path.name}: has no column {label_column!r}, only {', '.join(header)}")
    if label_column not in header and id_column == "participant_id":
        raise CatalogError(
            f"{path.name}: has no column 'label', only {', '.join(header)}; name the one to use with --label-column"
        )
    rows: dict[str, LabelRow] = {}
    for record in records:
        scan = _as_id(record[id_column])
        if scan in rows:
            raise CatalogError(f"{path.name}: names {scan} twice; leave one row")
        rows[scan] = _row(record, id_column, label_column)
    return LabelTable(path.name, label_column in header, id_column == "participant_id", rows)


def _read_cells(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    try:
        if path.stat().st_size > LARGEST_TABLE:
            raise CatalogError(f"{path.name}: is larger than {LARGEST_TABLE >> 20} MiB; that is not a table of scans")
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise CatalogError(f"{path.name}: is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise CatalogError(f"{path}: cannot be read ({error.strerror}); give the table's path") from None
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
        lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise CatalogError(f"{path.name}: is not a table ({error})") from None
    if not lines:
        raise CatalogError(f"{path.name}: is empty; it must begin with a row of column names")
    header = _without_capitals(lines[0][1])
    _check_rows(path, header, lines[1:])
    return list(filter(None, header)), [_record(header, row) for _, row in lines[1:]]


def _without_capitals(header: list[str]) -> list[str]:
    """Accept Scan, LABEL and Patient; the case of other columns is theirs."""
    ours = (*ID_COLUMNS, DEFAULT_LABEL_COLUMN, "patient")
    return [column.lower() if column.lower() in ours else column for column in header]


def _record(header: list[str], row: list[str]) -> dict[str, str]:
    """Return a row by column, without the nameless columns that spreadsheets leave at the right."""
    return {column: cell for column, cell in zip(header, row, strict=True) if column}


def _delimiter(text: str) -> str:
    header = next(filter(str.strip, text.splitlines()), "")
    return max("\t,;", key=header.count)


def _check_rows(path: Path, header: list[str], lines: list[tuple[int, list[str]]]) -> None:
    names = [_column_name(column) for column in header if column]
    if len({name.casefold() for name in names}) < len(names):  # some disks ignore case
        raise CatalogError(f"{path.name}: names a column twice ({', '.join(filter(None, header))}); rename one")
    if (longest := max(len(name.encode()) for name in names)) > LONGEST_COLUMN:
        raise CatalogError(
            f"{path.name}: names a column in {longest} bytes, at most {LONGEST_COLUMN} can be; give it a shorter name"
        )
    for number, row in lines:
        if len(row) != len(header):
            raise CatalogError(f"{path.name}: line {number} has {len(row)} cells, the header has {len(header)}")


def _as_id(cell: str) -> str:
    """Accept an id with or without the suffix of the file, and a path with backslashes."""
    return SUFFIX.sub("", cell.replace("\\", "/").removeprefix("./"))


def _row(record: Mapping[str, str], id_column: str, label_column: str) -> LabelRow:
    used = {id_column, label_column, "patient"}
    label, patient = record.get(label_column), record.get("patient", "")
    if patient in NO_VALUE:
        patient = record[id_column] if id_column == "participant_id" else ""
    meta = tuple((_column_name(column), value) for column, value in record.items() if column not in used)
    return LabelRow("" if label in NO_VALUE else label, patient, meta)


def _column_name(column: str) -> str:
    """Return a name that is safe as a folder: letters, digits, `_` and `-`.

    Examples
    --------
    >>> _column_name("age (years)")
    'age_years'
    """
    return unicodedata.normalize("NFKC", re.sub(r"[^\w-]+", "_", column)).strip("_") or "unnamed"
