"""Which row of a table speaks of which scan."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from ctprep.errors import CatalogError
from ctprep.scans.tables.cells import Table, value_of
from ctprep.scans.tables.columns import Columns

_SUFFIX = re.compile(r"\.(nii|hdr|img|mhd|mha|nrrd|dcm)(\.gz)?$", re.ASCII | re.IGNORECASE)
_SUBJECT = re.compile(r"(?:^|/)(sub-[A-Za-z0-9]+)(?=[_/]|$)")


@dataclass(frozen=True)
class Matches:
    """Rows and scans that belong together.

    Parameters
    ----------
    row_of : mapping of str to int
        Index of the row that speaks of a scan, by the scan's id.
    missing : mapping of str to int
        Rows that speak of no scan, by what they name.
    notes : tuple of str
    """

    row_of: Mapping[str, int]
    missing: Mapping[str, int]
    notes: tuple[str, ...] = ()


def match_rows(table: Table, columns: Columns, scans: Collection[str], *, folder: str) -> Matches:
    """Find the rows of scans: by their ids, or by the subjects in whose folders they lie.

    Parameters
    ----------
    table : Table
    columns : Columns
    scans : collection of str
        The ids.
    folder : str
        The name of the raw folder, with which a path in the table may begin.

    Raises
    ------
    CatalogError
        If a row could mean two scans, two rows mean one, or none of the rows means any.
    """
    if columns.subject is not None:
        found = _by_subject(table, columns, scans)
    else:
        found = _by_id(table.name, table.column(str(columns.scan)), scans, folder)
    if not found.row_of:
        named, there = next(iter(found.missing), "nothing"), next(iter(sorted(scans)), "nothing")
        if columns.subject is not None:
            there = PurePosixPath(there).parts[0]
        raise CatalogError(
            f"{table.name}: none of its {len(found.missing)} scans is in the raw folder; it names them like "
            f"{named!r}, they are named like {there!r}{_other_column(table, scans, folder)}"
        )
    return found


def _other_column(table: Table, scans: Collection[str], folder: str) -> str:
    """Return how to name the column that does hold the ids of scans, if one does."""
    for column in table.header:
        try:
            count = len(_by_id(table.name, table.column(column), scans, folder).row_of)
        except CatalogError:  # a column with a value twice
            continue
        if count:
            return f"; the column {column} names {count} of them: --scan-column {column}"
    return ""


def subject_of(scan: str) -> str | None:
    """Return the BIDS subject of a scan, as its folder or its file names it.

    Examples
    --------
    >>> subject_of("sub-01/ses-1/ct/sub-01_ses-1_ct"), subject_of("sub-02_ct"), subject_of("ill/subject")
    ('sub-01', 'sub-02', None)
    """
    match = _SUBJECT.search(scan)
    return match[1] if match else None


def _by_id(table: str, cells: Sequence[str], scans: Collection[str], folder: str) -> Matches:
    known = {_composed(scan): scan for scan in scans}
    by_end: defaultdict[str, list[str]] = defaultdict(list)
    for look, scan in known.items():
        for end in _ends(look):
            by_end[end].append(scan)
    plain = [_SUFFIX.sub("", _composed(cell).replace("\\", "/").removeprefix("./")) for cell in cells]
    exact = [next((known[one] for one in _spellings(named, folder) if one in known), None) for named in plain]
    longer = [scan or _ending_with(named, by_end, table) for scan, named in zip(exact, plain, strict=True)]
    meant, notes = longer, []
    if bare := sum(scan is not None for scan in longer) - sum(scan is not None for scan in exact):
        notes.append(f"scans: {bare} rows of {table} name a file without all of its folders")
    if not any(longer):
        meant, prefix = _below_another_folder(plain, known, table)
        notes += [f"scans: the paths of {table} begin with {prefix}, which stands for the raw folder"] * bool(prefix)
    row_of: dict[str, int] = {}
    missing: dict[str, int] = {}
    for row, (known_as, named) in enumerate(zip(meant, plain, strict=True)):
        rows = missing if known_as is None else row_of
        _refuse_second(table, known_as or named, row, rows, cells)
        rows[known_as or named] = row
    return Matches(row_of, missing, tuple(notes))


def _composed(text: str) -> str:
    """Return a name as it looks, however its accents are written."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _spellings(plain: str, folder: str) -> Iterator[str]:
    """Yield the ids that a cell may mean: as it is, and without the raw folder's name."""
    yield plain
    _, found, below = f"/{plain}".partition(f"/{folder}/")
    if found:
        yield below


def _ends(path: str) -> Iterator[str]:
    """Yield what follows each folder of a path, the longest first."""
    while "/" in path:
        path = path.partition("/")[2]
        yield path


def _ending_with(plain: str, by_end: Mapping[str, Sequence[str]], table: str) -> str | None:
    """Return the one scan whose path ends as a cell says."""
    alike = by_end.get(plain, ())
    if len(alike) > 1:
        raise CatalogError(
            f"{table}: names {plain}, and {len(alike)} scans have that name ({' and '.join(sorted(alike)[:3])}); "
            "write their paths below the raw folder"
        )
    return alike[0] if alike else None


def _below_another_folder(
    cells: Sequence[str], scans: Mapping[str, str], table: str
) -> tuple[list[str | None], str | None]:
    """Return the scans with whose ids the cells end, and the path that precedes them all."""
    meant, prefixes = [], set()
    for plain in cells:
        scan = next((end for end in _ends(plain) if end in scans), None)
        meant.append(scans[scan] if scan else None)
        prefixes |= {plain.removesuffix(f"/{scan}") or "/"} if scan else set()
    if len(prefixes) > 1:
        raise CatalogError(
            f"{table}: its paths begin in {len(prefixes)} ways outside the raw folder, such as "
            f"{' and '.join(sorted(prefixes)[:2])}; write them below the raw folder"
        )
    return meant, next(iter(prefixes), None)


def _refuse_second(table: str, scan: str, row: int, rows: Mapping[str, int], cells: Sequence[str]) -> None:
    if scan in rows:
        spelled = {cells[rows[scan]], cells[row]} - {scan}
        how = f" (as {' and '.join(sorted(spelled))})" if spelled else ""
        raise CatalogError(f"{table}: names {scan} twice{how}; leave one row")


def _by_subject(table: Table, columns: Columns, scans: Collection[str]) -> Matches:
    """Match rows of subjects, or of their sessions and runs, to all scans that lie in the subject's folder."""
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(table.column(str(columns.subject))):
        rows[_SUFFIX.sub("", _composed(name))].append(row)
    _refuse_rows_alike(table, columns, rows)
    row_of: dict[str, int] = {}
    for of_subject in rows.values():
        of_subject.sort(key=lambda row: len(_when(table.records[row], columns)))  # what is said of a session comes last
    for scan in scans:
        subject = next((name for name in _subject_names(scan) if name in rows), None)
        for row in () if subject is None else rows[subject]:
            if _is_of(scan, table.records[row], columns):
                row_of[scan] = row
    used = set(row_of.values())
    missing = {
        "/".join([name, *_when(table.records[row], columns)]): row
        for name, those in rows.items()
        for row in those
        if row not in used
    }
    return Matches(row_of, missing)


def _subject_names(scan: str) -> Iterator[str]:
    """Yield what a table may call the subject of a scan, the likeliest first."""
    *folders, name = PurePosixPath(_composed(scan)).parts
    if (subject := subject_of(scan)) is not None:
        yield subject
        yield subject.removeprefix("sub-")
    yield from folders
    yield name
    for end in reversed([match.start() for match in re.finditer(r"[_\-. ]", name)]):
        yield name[:end]


def _refuse_rows_alike(table: Table, columns: Columns, rows: Mapping[str, Sequence[int]]) -> None:
    for subject, of_subject in rows.items():
        when = ["/".join(_when(table.records[row], columns)) for row in of_subject]
        if len(set(when)) < len(when):
            twice = next(one for one in when if when.count(one) > 1)
            way = (
                "leave one row for each session and run"
                if columns.session or columns.run
                else "leave one row, or add a column session_id"
            )
            raise CatalogError(f"{table.name}: names {'/'.join(filter(None, [subject, twice]))} twice; {way}")


def _when(record: Mapping[str, str], columns: Columns) -> list[str]:
    return [said for column in (columns.session, columns.run) if (said := value_of(record, column))]


def _is_of(scan: str, record: Mapping[str, str], columns: Columns) -> bool:
    """Return whether a subject's row speaks of a scan, by its session and its run."""
    for column, entity in ((columns.session, "ses"), (columns.run, "run")):
        if said := value_of(record, column):
            wanted = _plain(said.removeprefix(f"{entity}-"))
            found = re.findall(rf"(?:^|[/_]){entity}-([A-Za-z0-9]+)", scan) or PurePosixPath(scan).parts[:-1]
            if wanted not in map(_plain, found):
                return False
    return True


def _plain(text: str) -> str:
    """Return a session's name without leading zeros and capitals."""
    return (text.lstrip("0") or "0" if text.isdigit() else text).casefold()
