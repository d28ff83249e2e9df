"""Files that are written whole or not at all, and read without trusting what lies in their place."""

import contextlib
import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any

from ctprep.errors import CTPrepError, TargetError

MAX_JSON_BYTES = 1 << 30

UNFINISHED = ".writing-"

APPEARED = "move away what appeared in its place, and run it again"


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a path to write to, and put what was written in the place of `path`; if the block raises, nothing is left.

    Yields
    ------
    Path
        In the same folder, ending alike, and no other process's.
    """
    temporary = path.with_name(f"{UNFINISHED}{os.getpid()}-{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under its final name only when all of it is written."""
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes left of `whole_file`; no other process may be writing in the folder."""
    for leftover in list(folder.glob(f"{UNFINISHED}*")):
        leftover.unlink()


def open_regular(path: str | Path) -> FileIO:
    """Open a regular file for reading, without a buffer; never waits for a pipe or a device.

    Raises
    ------
    OSError
        If it cannot be opened, or is no regular file.
    """
    file = FileIO(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    return file


def read_regular(path: str | Path, most: int) -> bytes:
    """Return what is in a regular file.

    Raises
    ------
    OSError
        As `open_regular`, or if there are more than `most` bytes.
    """
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > most:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
        return file.read()


def sha256_of_file(path: str | Path) -> str:
    """Return the SHA-256 of what is in a regular file, however large; raises what `open_regular` does."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path) -> Any:
    """Return the content of a JSON file, or None where it is missing or damaged."""
    try:
        return json.loads(read_regular(path, MAX_JSON_BYTES))
    except (OSError, ValueError, RecursionError):
        return None


@contextlib.contextmanager
def as_target_error(target: Path) -> Iterator[None]:
    """Turn an OSError of writing into the `TargetError` that says which way out there is."""
    try:
        yield
    except OSError as error:
        if isinstance(error, CTPrepError):
            raise
        ways_out = {
            errno.ENOSPC: "free some space and run it again, it resumes",
            errno.EDQUOT: "free some space and run it again, it resumes",
            errno.ENOENT: "create its parent folder first",
            errno.ENOLCK: "choose a target on a file system that has locks",
            errno.EEXIST: APPEARED,
            errno.ENOTEMPTY: APPEARED,
            errno.ENOTDIR: APPEARED,
        }
        way_out = ways_out.get(error.errno or 0, "choose a target that can be written")
        raise TargetError(f"{target}: cannot be written ({error.strerror or error}); {way_out}") from None
