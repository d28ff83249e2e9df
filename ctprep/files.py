"""Files that are written whole or not at all, and read without trusting what lies in their place."""

import errno
import hashlib
import json
import os
import stat
from io import FileIO
from pathlib import Path
from typing import Any

MOST_JSON_BYTES = 1 << 30

UNFINISHED = ".writing"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under its final name only when all of it is written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}{UNFINISHED}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def is_unfinished(path: Path) -> bool:
    """Tell whether a file is what a killed `write_whole` left."""
    return path.name.startswith(".") and path.name.endswith(UNFINISHED)


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
        return json.loads(read_regular(path, MOST_JSON_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
