"""Small files that appear whole or not at all: strict JSON, and CSV."""

import contextlib
import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import file_digest
from pathlib import Path
from typing import Any, NoReturn

from ctmodel.errors import RunDamaged, RunMissing
from ctprep.files import whole_file as unsynced_file

FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
"""What a text begins with that a spreadsheet would calculate, or take its first letter away (OWASP, CSV injection)."""


@contextlib.contextmanager
def whole_file(path: Path, *, former: Path | None = None) -> Iterator[Path]:
    """Give a path to write to, and put what was written in the place of `path` once it is on the disk.

    Parameters
    ----------
    path : Path
        Where the file is to be; left as it is if the block raises.
    former : Path, optional
        Where the file goes that has been at `path`; without it, it is replaced.

    Yields
    ------
    Path
        In the same folder, ending alike, and no other process's.
    """
    with unsynced_file(path) as partial:
        yield partial
        with partial.open("rb+") as written:
            os.fsync(written.fileno())
        if former:
            with contextlib.suppress(FileNotFoundError):  # this is the first
                path.replace(former)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal digits."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a dictionary as strict JSON; a NaN raises ValueError."""
    with whole_file(path) as partial:
        partial.write_bytes(json_bytes(content))


def json_bytes(content: dict[str, Any]) -> bytes:
    """Return the bytes that `write_json` writes."""
    return (json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode()


def read_json(path: Path) -> dict[str, Any]:
    """Read the dictionary in a file of strict JSON.

    Raises
    ------
    RunMissing
        If there is no such file.
    RunDamaged
        If it holds anything else.
    """
    try:
        content = json.loads(_text(path), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RunDamaged(f"{path}: is not strict JSON ({error}); train again") from None
    if not isinstance(content, dict):
        raise RunDamaged(f"{path}: holds a {type(content).__name__}, expected an object; train again")
    return content


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table with a header; floats keep every digit, and no text is a formula: such a one begins with '."""
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([_harmless(value) for value in row] for row in rows)


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def read_csv(path: Path, header: Sequence[str], *, renamed: Mapping[str, str] | None = None) -> list[list[str]]:
    """Read the rows that `write_csv` wrote, which have the expected header.

    `renamed` maps the names that columns had in older versions to today's.

    Raises
    ------
    RunMissing
        If there is no such file.
    RunDamaged
        If it has another header, or a row of another length.
    """
    try:
        rows = list(csv.reader(io.StringIO(_text(path), newline="")))  # a name may hold what Python calls a line's end
    except csv.Error as error:
        raise RunDamaged(f"{path}: is not a table ({error}); train again") from None
    named = [(renamed or {}).get(name, name) for name in rows[0]] if rows else []
    if named != list(header) or any(len(row) != len(header) for row in rows):
        raise RunDamaged(f"{path}: is not a table with the columns {', '.join(header)}; train again")
    return [[value.removeprefix("'") for value in row] for row in rows[1:]]


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except (FileNotFoundError, NotADirectoryError):
        raise RunMissing(f"{path}: is not there, expected in every run; train again") from None
    except OSError as error:
        raise RunDamaged(f"{path}: cannot be read ({error.strerror}); restore it or train again") from None
    except UnicodeDecodeError as error:
        raise RunDamaged(f"{path}: is not text ({error.reason}); train again") from None
