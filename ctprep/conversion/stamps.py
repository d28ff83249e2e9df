"""What is remembered of the source files, so that an unchanged one need not be read again.

It is kept beside the store, not in it, and may be deleted at any time: contents decide.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ctprep.errors import BadScan
from ctprep.files import read_regular, sha256_of_file, write_whole
from ctprep.scans.readers.byte_source import sha256_of_files, translated_errors
from ctprep.scans.readers.formats import source_files

MAX_BYTES = 1 << 30
"""Of what is remembered: some millions of scans."""

SECOND = 10**9  # ns; what some file systems count in, and FAT in two

_STAMP = re.compile(r"-?\d{1,20}( -?\d{1,20}){3}(( -?\d{1,20}){4})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Stamp:
    """What the file system says of a scan's files: if it is the same, the contents are taken to be the same.

    Parameters
    ----------
    text : str
        Size in bytes, times of modification and of change in ns, inode: of its file, or of two.
    """

    text: str

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(map(int, self.text.split()[::4]))

    def name_for(self, scan: str) -> str:
        """Return a file name that no other scan, and no other state of this scan, has."""
        return hashlib.sha256(f"{scan}\0{self.text}".encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Remembered:
    """A file as it was when it was converted."""

    stamp: Stamp
    sha256: str

    def excludes(self, stamp: Stamp, sha256: str) -> bool:
        """Tell whether a file of this stamp cannot have that digest, because what has it is of another size."""
        return self.sha256 == sha256 and self.stamp.size != stamp.size


def stamp_of(path: Path) -> Stamp:
    """Return the stamp of a scan's files.

    Raises
    ------
    BadScan
        If they are not there.
    """
    with translated_errors(path):
        stats = [file.stat() for file in source_files(path)]
    return Stamp(" ".join(f"{stat.st_size} {stat.st_mtime_ns} {_changed_ns(stat)} {stat.st_ino}" for stat in stats))


def _changed_ns(found: os.stat_result) -> int:
    """Return when a file was changed; where another change could have the same time, the very moment, never again."""
    now, latest = time.time_ns(), max(found.st_mtime_ns, found.st_ctime_ns)
    counts_seconds = found.st_mtime_ns % SECOND == 0 == found.st_ctime_ns % SECOND
    return now if counts_seconds and now < latest + 2 * SECOND else found.st_ctime_ns


def sha256_of(path: Path) -> str | None:
    """Return the digest of a scan's files, the same as its reader's; None where they cannot be read."""
    try:
        with translated_errors(path):
            return sha256_of_files([sha256_of_file(file) for file in source_files(path)])
    except BadScan:
        return None


def load_remembered(path: Path) -> dict[str, Remembered]:
    """Return what is remembered by scan id; nothing where the file is missing or damaged."""
    remembered = {}
    try:
        for line in read_regular(path, MAX_BYTES).decode().splitlines():
            scan, stamp, sha256 = json.loads(line)
            remembered[str(scan)] = Remembered(Stamp(_STAMP.fullmatch(stamp)[0]), str(sha256))  # type: ignore[index]
    except (OSError, ValueError, TypeError, RecursionError):
        return {}
    return remembered


def save_remembered(path: Path, remembered: Iterable[tuple[str, Remembered]]) -> None:
    """Write what is to be remembered of each scan, one line each, whole or not at all."""
    lines = (json.dumps([scan, entry.stamp.text, entry.sha256]) for scan, entry in remembered)
    write_whole(path, "\n".join(lines).encode())
