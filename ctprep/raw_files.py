"""Which files below a raw folder are scans, judged by their names alone."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NoReturn

from ctprep.errors import CatalogError
from ctprep.scan import Rejection

SUFFIX = re.compile(r"\.(nii|hdr)(\.gz)?$", re.IGNORECASE)
SUFFIXES = ".nii, .nii.gz, .hdr with .img"


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

    Hidden files, hidden folders and Zarr stores are passed over. Links to folders are not followed.

    Raises
    ------
    CatalogError
        If a folder cannot be listed, or there is no scan.
    """
    found: dict[str, str] = {}
    unusable: dict[str, Rejection] = {}
    others: Counter[str] = Counter()
    root = raw.resolve()
    for path in _visible(raw):
        if not (SUFFIX.search(path.name) or path.is_dir()):
            others[path.suffix.lower() or path.name] += 1
            continue
        scan = scan_id(PurePosixPath(path.relative_to(raw).as_posix()))
        if rejection := _judge_name(scan, path, root) or _judge_twin(scan, path, found, unusable):
            unusable[rejection.scan] = rejection
            found.pop(scan, None)
        else:
            found[scan] = str(path)
    if not found:
        raise CatalogError(f"{raw}: {_why_none(unusable, others)}")
    return RawFiles(found, tuple(unusable.values()))


def scan_id(path: PurePosixPath) -> str:
    """Return the id of a file from its path under the raw folder.

    Examples
    --------
    >>> scan_id(PurePosixPath("CT-0/study_0001.nii.gz"))
    'CT-0/study_0001'
    """
    return str(path.with_name(SUFFIX.sub("", path.name) or path.name))


def _visible(raw: Path) -> Iterator[Path]:
    """Yield files, and folders that are links or are named like a scan, which are not entered."""
    for parent, folders, names in os.walk(raw, onerror=_refuse):
        odd = {name for name in folders if SUFFIX.search(name) or Path(parent, name).is_symlink()}
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not name.endswith(".zarr"))
        for name in sorted(names + [name for name in folders if name in odd]):
            if not name.startswith("."):
                yield Path(parent, name)
        folders[:] = [name for name in folders if name not in odd]


def _refuse(error: OSError) -> NoReturn:
    raise CatalogError(
        f"{error.filename}: cannot be listed ({error.strerror}); its scans would be missing without a word"
    )


def _judge_name(scan: str, path: Path, root: Path) -> Rejection | None:
    if not scan.isprintable():
        shown = ascii(scan)[1:-1]
        return _unreadable(shown, f"{shown}: its name holds characters that cannot be shown; rename it")
    if not path.is_symlink():
        return None
    try:
        inside = path.resolve(strict=True).is_relative_to(root)
    except (OSError, RuntimeError):  # a loop is a RuntimeError before Python 3.13
        return _unreadable(scan, f"{path.name}: is a link to nothing; mend it or leave it out")
    if not inside:
        return _unreadable(scan, f"{path.name}: is a link out of the raw folder; copy there what it leads to")
    if path.is_dir():
        return _unreadable(scan, f"{path.name}: is a link to another folder of the raw folder; leave it out")
    return None


def _judge_twin(scan: str, path: Path, found: Mapping[str, str], unusable: Mapping[str, Rejection]) -> Rejection | None:
    if scan in unusable:
        return unusable[scan]
    if scan not in found:
        return None
    names = f"{Path(found[scan]).name} and {path.name}"
    return Rejection(scan, "duplicate", f"{scan}: two files have this id ({names}); rename or remove one of them")


def _unreadable(scan: str, reason: str) -> Rejection:
    return Rejection(scan, "unreadable", reason)


def _why_none(unusable: Mapping[str, Rejection], others: Counter[str]) -> str:
    if unusable:
        return f"none of its {len(unusable)} scans can be used: {next(iter(unusable.values())).reason}"
    there = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(3))
    return f"holds no scans ({SUFFIXES}); there is: {there or 'nothing'}"
