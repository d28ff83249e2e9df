"""One digest over the metadata and the tables of a store, kept in its root metadata: no bit of them changes unseen.

The chunks of the volumes are not under it: they have checksums of their own, which are in a table.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from ctprep.files import MAX_JSON_BYTES, read_regular, sha256_of_file

ROOT = "zarr.json"

UNSEALED = "0" * 64
"""What stands in the root metadata's place for the seal while the seal is taken."""

_SEALED = re.compile(r"zarr\.json|[^/]+/zarr\.json|[^/]+/c(/0)+")
"""Metadata, and arrays of one chunk; whatever else lies in the folder is not the store's."""

_IN_PLACE = re.compile(rb'(?<="seal": ")[0-9a-f]{64}(?=")')


def is_table_file(name: str) -> bool:
    """Tell whether a path under a store is that of metadata or of a table."""
    return _SEALED.fullmatch(name) is not None


def seal_of(digests: Mapping[str, str]) -> str:
    """Return the seal of sealed files, given their SHA-256 by path under the store; the root's is taken unsealed."""
    lines = (f"{name}\0{digests[name]}\n" for name in sorted(digests))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def seal(files: dict[str, bytes]) -> None:
    """Put the seal into the root metadata, which holds `UNSEALED`, or a former seal, in its place."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items() if is_table_file(name)}
    digests[ROOT] = _digest_unsealed(files[ROOT])
    files[ROOT] = _IN_PLACE.sub(seal_of(digests).encode(), files[ROOT])


def is_sealed(folder: Path) -> bool:
    """Tell whether the files of a store are those that were sealed; nothing in them is trusted.

    Raises
    ------
    OSError
        If one cannot be read, or is no regular file.
    """
    root = read_regular(folder / ROOT, MAX_JSON_BYTES)
    digests = {name: sha256_of_file(folder / name) for name in _names(folder) if is_table_file(name)}
    digests[ROOT] = _digest_unsealed(root)
    return _IN_PLACE.findall(root) == [seal_of(digests).encode()]


def _digest_unsealed(root: bytes) -> str:
    return hashlib.sha256(_IN_PLACE.sub(UNSEALED.encode(), root)).hexdigest()


def _names(folder: Path) -> list[str]:
    """Return the files of tables, and whatever lies in the place of one."""
    tables = [path for path in folder.iterdir() if path.is_dir()]
    inside = [path for table in tables for path in (table / ROOT, *table.glob("c/**/0"))]
    return [path.relative_to(folder).as_posix() for path in inside if path.exists() and not path.is_dir()]
