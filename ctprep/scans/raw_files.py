"""Which files below a raw folder are scans, judged by their names; of a header the other files are looked up."""

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ctprep.errors import BadScan, CatalogError
from ctprep.scans.readers.formats import SUFFIX, SUFFIXES, source_files
from ctprep.scans.scan import Rejection

NamedFile = tuple[str, Path]
"""A scan's id, and its file."""


@dataclass(frozen=True)
class RawFiles:
    """The files that may be scans.

    Parameters
    ----------
    found : mapping of str to str
        Paths by scan id.
    unusable : tuple of Rejection
        Files whose names alone make them unusable, and folders that are links.
    """

    found: Mapping[str, str]
    unusable: tuple[Rejection, ...]


def list_raw_files(raw: Path) -> RawFiles:
    """List the scan files below a folder.

    Hidden files, hidden folders and Zarr stores are passed over. Links to folders are not followed. Names that differ
    by case are two names; names that differ by how Unicode composes their letters look alike, so neither is taken.

    Raises
    ------
    CatalogError
        If a folder cannot be listed, or there is no scan.
    """
    found: dict[str, str] = {}
    unusable: list[Rejection] = []
    try:
        alike, others = _by_look(raw)
        for named in alike.values():
            if rejections := _judge(named, raw):
                unusable += rejections
            else:
                found.update((scan, str(path)) for scan, path in named)
    except OSError as error:
        raise CatalogError(
            f"{shown(str(error.filename))}: cannot be listed ({error.strerror}); "
            "make it readable, or take it out of the raw folder"
        ) from None
    if not found:
        raise CatalogError(f"{shown(str(raw))}: {_why_none(unusable, others)}")
    return RawFiles(found, tuple(unusable))


def scan_id(path: PurePosixPath) -> str:
    """Return the id of a file from its path under the raw folder.

    Examples
    --------
    >>> scan_id(PurePosixPath("CT-0/study_0001.nii.gz"))
    'CT-0/study_0001'
    """
    return str(path.with_name(SUFFIX.sub("", path.name) or path.name))


def shown(text: str) -> str:
    """Return a name as one line that is safe in a terminal.

    Examples
    --------
    >>> shown("CT-0/étude_1")
    'CT-0/étude_1'
    >>> print(shown("CT-0/new\\nline"))
    CT-0/new\\nline
    """
    return text if text.isprintable() else ascii(text)[1:-1]


def _by_look(raw: Path) -> tuple[Mapping[str, Sequence[NamedFile]], Counter[str]]:
    """Return files whose names are those of scans by the look of their ids, and the suffixes of all others."""
    alike: defaultdict[str, list[NamedFile]] = defaultdict(list)
    others: Counter[str] = Counter()
    for path in sorted(_visible(raw), key=str):
        if SUFFIX.search(path.name) or path.is_dir():
            scan = scan_id(PurePosixPath(path.relative_to(raw)))
            alike[unicodedata.normalize("NFC", shown(scan))].append((scan, path))
        else:
            others[shown(path.suffix.lower() or path.name)] += 1
    return alike, others


def _visible(raw: Path) -> Iterator[Path]:
    """Yield files, and folders that are links or are named like a scan, which are not entered."""
    folders = [raw]
    while folders:  # no recursion: folders may be nested deeper than calls
        below = []
        with os.scandir(folders.pop()) as listed:
            for entry in listed:
                if entry.name.startswith(".") or entry.name.endswith(".zarr"):
                    continue
                if entry.is_dir(follow_symlinks=False) and not SUFFIX.search(entry.name):
                    below.append(Path(entry))
                else:
                    yield Path(entry)
        _refuse_folders_alike(below)
        folders += below


def _refuse_folders_alike(folders: Sequence[Path]) -> None:
    """Raise where two folders cannot be told apart, for they may be two classes."""
    by_look: dict[str, str] = {}
    for folder in folders:
        other = by_look.setdefault(unicodedata.normalize("NFC", folder.name), folder.name)
        if other != folder.name:
            both = " and ".join(map(ascii, sorted((folder.name, other))))
            raise CatalogError(
                f"{shown(str(folder.parent))}: holds two folders of one look ({both}); rename one of them"
            )


def _judge(named: Sequence[NamedFile], raw: Path) -> list[Rejection]:
    """Return why none of some files of one look can be used; nothing where it can."""
    ids = sorted({scan for scan, _ in named})
    if len(named) == 1:
        reason = _why_unusable(*named[0], raw)
        return [Rejection(shown(ids[0]), "unreadable", reason)] if reason else []
    if len(ids) == 1:
        why = f"two files have this id ({' and '.join(shown(path.name) for _, path in named)})"
    else:
        why = f"looks like another ({' and '.join(map(ascii, ids))})"
    looks = sorted(set(map(shown, ids)))
    return [Rejection(scan, "duplicate", f"{scan}: {why}; rename or remove one of them") for scan in looks]


def _why_unusable(scan: str, path: Path, raw: Path) -> str | None:
    if not scan.isprintable():
        return f"{shown(scan)}: its name holds characters that cannot be shown; rename it"
    if why := why_not_followed(path, raw):
        return why
    try:
        files = source_files(path)
    except BadScan:
        return None  # what is missing is said when it is read
    return next((why for file in files if (why := why_not_followed(file, raw))), None)


def why_not_followed(path: Path, raw: Path) -> str | None:
    """Return why a file is not read because of where it leads to, or None where it is no link, or one within `raw`."""
    if not path.is_symlink():
        return None
    try:
        inside = path.resolve(strict=True).is_relative_to(raw.resolve())
    except (OSError, RuntimeError):  # a loop is a RuntimeError before Python 3.13
        return f"{path.name}: is a link to nothing; mend it or leave it out"
    if not inside:
        return f"{path.name}: is a link out of the raw folder; copy there what it leads to"
    if path.is_dir():
        return f"{path.name}: is a link to another folder of the raw folder; leave it out"
    return None


def _why_none(unusable: Sequence[Rejection], others: Counter[str]) -> str:
    if unusable:
        return f"none of its {len(unusable)} scans can be used: {unusable[0].reason}"
    there = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(3))
    return f"holds no scans ({SUFFIXES}); there is: {there or 'nothing'}"
