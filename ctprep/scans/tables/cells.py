"""What is written in a table of labels: the cells of a CSV or TSV file, by row and column."""

import csv
import io
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ctprep.errors import CatalogError
from ctprep.scans.scan import NO_VALUE

MAX_TABLE_BYTES = 256 << 20
"""A million rows of 200 characters stay below it."""

MAX_COLUMN_BYTES = 250
"""Of a column's name: a folder of the store is named after it, `meta_` and 250 more."""

_SEPARATOR_LINE = re.compile(r"\s*sep\s*=\s*(.)\s*", re.IGNORECASE)
"""The first line by which Excel is told what separates the cells."""

_WORKBOOKS = {b"PK\x03\x04": "a workbook (.xlsx, .ods)", b"\xd0\xcf\x11\xe0": "a workbook (.xls)"}
_OTHERS = {
    b"PAR1": "a Parquet file; write it as CSV",
    b"\x1f\x8b": "compressed; unpack it first: gunzip",
    b"version https://git-lfs": "a Git LFS pointer without its content; get it with: git lfs pull",
    b"<": "a web page or XML, not a table; download it again, or write it as CSV",
    b"{": "JSON, not a table; write it as CSV",
}


@dataclass(frozen=True)
class Table:
    """The cells of a table.

    Parameters
    ----------
    name : str
        The file's name, for messages.
    header : tuple of str
        The columns that have a name.
    records : tuple of dict
        The rows, by column.
    comments : int
        Lines that begin with `#` and were passed over.
    """

    name: str
    header: tuple[str, ...]
    records: tuple[dict[str, str], ...]
    comments: int = 0

    def column(self, name: str) -> list[str]:
        """Return the cells of a column."""
        return [record[name] for record in self.records]


def read_table(path: Path) -> Table:
    """Read a CSV or TSV file.

    Parameters
    ----------
    path : Path
        UTF-8, or UTF-16 with a byte order mark; tabs, commas or semicolons separate the columns, or what Excel's
        line `sep=` says. Lines that begin with `#` are passed over.

    Raises
    ------
    CatalogError
        If the file cannot be read, or its rows do not fit its header.
    """
    lines, n_comments, separator = _without_comments(_read_lines(path))
    try:
        reader = csv.reader(lines, delimiter=separator or _delimiter(lines), strict=True)
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise CatalogError(f"{path.name}: is not a table ({error})") from None
    if not rows:
        raise CatalogError(f"{path.name}: is empty; it must begin with a row of column names")
    header = rows[0][1]
    _check_rows(path, header, rows[1:])
    records = tuple(_record(header, row) for _, row in rows[1:])
    return Table(path.name, tuple(filter(None, header)), records, n_comments)


def has_value(cell: str) -> bool:
    """Return whether a cell says anything.

    Examples
    --------
    >>> [has_value(cell) for cell in ("0", "", "n/a", "NULL")]
    [True, False, False, False]
    """
    return cell not in NO_VALUE and cell.casefold() not in ("null", "<na>", "#n/a")


def value_of(record: Mapping[str, str], column: str | None) -> str:
    """Return what a row says in a column; empty where it says nothing."""
    cell = record.get(column, "") if column is not None else ""
    return cell if has_value(cell) else ""


def column_name(column: str) -> str:
    """Return a name that is safe as a folder: letters, digits, `_` and `-`.

    Examples
    --------
    >>> column_name("age (years)")
    'age_years'
    """
    return unicodedata.normalize("NFKC", re.sub(r"[^\w-]+", "_", column)).strip("_") or "unnamed"


def _read_lines(path: Path) -> list[str]:
    try:
        if path.stat().st_size > MAX_TABLE_BYTES:
            raise CatalogError(f"{path.name}: is larger than {MAX_TABLE_BYTES >> 20} MiB; that is not a table of scans")
        content = path.read_bytes()
        for start, what in _WORKBOOKS.items():
            if content.startswith(start):
                raise CatalogError(
                    f"{path.name}: is {what}, expected CSV; save its sheet as CSV UTF-8 (File, Save As), and give that"
                )
        for start, what in _OTHERS.items():
            if content.lstrip().startswith(start):
                raise CatalogError(f"{path.name}: is {what}")
        if b"\0" in content[:1024] and not content.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise CatalogError(f"{path.name}: is not UTF-8 text; save it as UTF-8")
        is_utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        return io.TextIOWrapper(io.BytesIO(content), "utf-16" if is_utf16 else "utf-8-sig").readlines()
    except UnicodeError:
        raise CatalogError(f"{path.name}: is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise CatalogError(f"{path}: cannot be read ({error.strerror}); give the table's path") from None


def _without_comments(lines: Sequence[str]) -> tuple[list[str], int, str | None]:
    """Blank comments, and Excel's first line, so that the numbers of the lines stay; return what separates cells."""
    separator = _SEPARATOR_LINE.fullmatch(lines[0].rstrip()) if lines else None
    kept, n_comments, is_quoted = [], 0, False
    for number, line in enumerate(lines):
        is_comment = line.lstrip().startswith("#") and not is_quoted
        n_comments += is_comment
        is_quoted ^= line.count('"') % 2 == 1 and not is_comment
        kept.append("\n" if is_comment or (separator and number == 0) else line)
    return kept, n_comments, separator[1] if separator else None


def _delimiter(lines: Sequence[str]) -> str:
    header = next(filter(str.strip, lines), "")
    return max("\t,;", key=header.count)


def _check_rows(path: Path, header: Sequence[str], rows: Sequence[tuple[int, list[str]]]) -> None:
    names = [column_name(column) for column in header if column]
    if len({name.casefold() for name in names}) < len(names):  # some disks ignore case
        raise CatalogError(f"{path.name}: names a column twice ({', '.join(filter(None, header))}); rename one")
    if (longest := max(len(name.encode()) for name in names)) > MAX_COLUMN_BYTES:
        raise CatalogError(
            f"{path.name}: names a column in {longest} bytes, at most {MAX_COLUMN_BYTES} can be; give it a shorter name"
        )
    for number, row in rows:
        if len(row) != len(header):
            raise CatalogError(f"{path.name}: line {number} has {len(row)} cells, the header has {len(header)}")


def _record(header: Sequence[str], row: Sequence[str]) -> dict[str, str]:
    """Return a row by column, without the nameless columns that spreadsheets leave at the right."""
    return {column: cell for column, cell in zip(header, row, strict=True) if column}


def read_bids_tables(table: Path, needed: str) -> Table:
    """Read a `participants.tsv`, and the tables of its sessions and scans where these have a column that is needed.

    Parameters
    ----------
    table : Path
        In the folder of the data set.
    needed : str
        The column with the label; of two tables that have it, that of the smaller unit says it.

    Returns
    -------
    Table
        One row a participant, a session (with the column `session_id`) or a scan (with the column `scan`).
    """
    participants = read_table(table)
    by_participant = {_entity(record.get("participant_id", ""), "sub"): record for record in participants.records}
    raw = table.parent
    for pattern, unit in (("sub-*/**/*_scans.tsv", "scans"), ("sub-*/*_sessions.tsv", "sessions")):
        tables = [(path, read_table(path)) for path in sorted(raw.glob(pattern))]
        tables = [(path, found) for path, found in tables if column_key(needed) in map(column_key, found.header)]
        if tables:
            records = [_joined(path, raw, record, by_participant) for path, found in tables for record in found.records]
            header = tuple(dict.fromkeys(column for record in records for column in record))
            whole = tuple({column: record.get(column, "") for column in header} for record in records)
            return Table(f"*_{unit}.tsv", header, whole)
    return participants


def _joined(path: Path, raw: Path, record: dict[str, str], by_participant: dict[str, dict[str, str]]) -> dict[str, str]:
    """Return a row of a session or a scan with the columns of its participant."""
    subject = path.relative_to(raw).parts[0]
    joined = by_participant.get(subject, {}) | record | {"participant_id": subject}
    if path.name.endswith("_scans.tsv"):
        joined["scan"] = (path.parent / joined.pop("filename", "")).relative_to(raw).as_posix()
    return joined


def _entity(text: str, name: str) -> str:
    return text if text.startswith(f"{name}-") else f"{name}-{text}"


def column_key(column: str) -> str:
    """Return what is compared of a column's name.

    Examples
    --------
    >>> column_key("Patient_ID"), column_key("patient id")
    ('patientid', 'patientid')
    """
    return re.sub(r"[\W_]+", "", column.casefold())


def listed(names: Sequence[str], most: int = 6) -> str:
    """Return the first of some names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
