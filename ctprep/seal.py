"""One digest over the metadata and the tables of a store, kept in its root metadata: no bit of them changes unseen.

The chunks of the volumes are not under it: they have checksums of their own, which are in a table.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

ROOT = "zarr.json"

UNSEALED = "0" * 64
"""What stands in the root metadata's place for the seal while the seal is taken."""

_SEALED = re.compile(r"zarr\.json|[^/]+/zarr\.json|[^/]+/c(/0)+")
"""Metadata, and arrays of one chunk; whatever else lies in the folder is not the store's."""

_IN_PLACE = re.compile(rb'(?<="seal": ")[0-9a-f]{64}(?=")')


def is_table_file(name: str) -> bool:
    """Tell whether a path under a store is that of metadata or of a table."""
    return _SEALED.fullmatch(name) is not None


def seal_of(files: Mapping[str, bytes]) -> str:
    """Return the SHA-256 over the sealed files, by path under the store, as if the root were unsealed."""
    digest = hashlib.sha256()
    for name in sorted(filter(is_table_file, files)):
        content = _IN_PLACE.sub(UNSEALED.encode(), files[name]) if name == ROOT else files[name]
        digest.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return digest.hexdigest()


def seal(files: dict[str, bytes]) -> None:
    """Put the seal into the root metadata, which holds `UNSEALED` in its place."""
    files[ROOT] = _IN_PLACE.sub(seal_of(files).encode(), files[ROOT])


def is_sealed(folder: Path) -> bool:
    """Tell whether the files of a store are those that were sealed."""
    files = {name: (folder / name).read_bytes() for name in _names(folder) if is_table_file(name)}
    stated = _IN_PLACE.findall(files.get(ROOT, b""))
    return stated == [seal_of(files).encode()]


def _names(folder: Path) -> list[str]:
    tables = [path for path in folder.iterdir() if path.is_dir()]
    inside = [path for table in tables for path in (table / ROOT, *table.glob("c/**/0")) if path.is_file()]
    return [path.relative_to(folder).as_posix() for path in (folder / ROOT, *inside)]
