"""What a store is on disk: one Zarr v3 group of prepared scans.

The names, axes, dtypes and attributes here are the contract with every other program. Row `i` of every array belongs
to the same scan; rows are sorted by scan id.
"""

import hashlib
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
import zarr.errors
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from ctprep.files import sha256_of_file
from ctprep.scans.scan import NO_VALUE, Rejection, Scan
from ctprep.store.chunk import BLOSC, LUNG, chunked_arrays, is_chunk
from ctprep.store.records import RECORD, Records, columns_of
from ctprep.store.seal import UNSEALED, is_table_file, seal
from ctprep.volume.grid import Triple
from ctprep.volume.intensity import HU_QUANTILES, LUNG_STEPS, UINT8_STEPS
from ctprep.volume.recipe import Recipe

FORMAT = 1
ATTRIBUTES = "ctprep"
META_PREFIX = "meta_"
MISSING_UINT8 = UINT8_STEPS + 1

AXES = {
    "volume": ("scan", "x", "y", "z"),
    "scan": ("scan",),
    "label": ("scan",),
    "patient": ("scan",),
    "affine": ("scan", "row", "column"),
    "source_affine": ("scan", "row", "column"),
    "source_shape": ("scan", "source_axis"),
    "source_sha256": ("scan",),
    "hu_quantile": ("scan", "quantile"),
    "nonfinite": ("scan",),
    "volume_crc32c": ("scan",),
    "lung": ("scan", "x", "y", "z"),
    "lung_crc32c": ("scan",),
    "lung_ml": ("scan", "side"),
    "crop_box": ("scan", "bound", "axis"),
    "quantile": ("quantile",),
}
"""Dimension names of every array."""

OPTIONAL = ("lung", "lung_crc32c", "lung_ml", "crop_box")
"""Arrays that only the stores of some recipes have."""

SPLIT = "split"
"""The array of the subsets, in stores whose sources came divided; one row a scan, as text."""

PADDING = "padding"
"""The array of voxels outside the field of view, in stores that hold such a voxel, or one that is not finite."""

OPTIONAL_RECORD = (PADDING, "accepted", "stated_orientation")
"""Fields of a record that are arrays only in stores of which a scan has them; stores of 0.1 have none of them."""

MAX_DIGITS = 15
"""Characters that float64 always keeps; what is longer is an accession number, not a measurement."""

_NUMBER = re.compile(r"[-+]?(0|[1-9]\d*)(\.\d*)?([eE][-+]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class StoreContents:
    """All that a store says beside its volumes.

    Parameters
    ----------
    recipe : Recipe
    classes : tuple of str
        Of two, the second is the positive one.
    scans : tuple of Scan
        In row order.
    records : Records
        In row order.
    checksums : (scan,) uint32 array
        `chunk_checksum` of each volume's chunk, in row order: what ties a chunk to its row.
    rejected : tuple of Rejection
    lung_checksums : (scan,) uint32 array, optional
        The same of the chunks of `lung`, in stores that have them.
    """

    recipe: Recipe
    classes: tuple[str, ...]
    scans: tuple[Scan, ...]
    records: Records
    checksums: np.ndarray
    rejected: tuple[Rejection, ...]
    lung_checksums: np.ndarray | None = None


def write_tables(folder: Path, contents: StoreContents) -> None:
    """Write everything of a store but the chunks of its scans into a new folder.

    Parameters
    ----------
    folder : Path
        Created, unless it holds the chunks already.
    contents : StoreContents
    """
    files: dict[str, Buffer] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", zarr.errors.ZarrUserWarning)  # consolidated metadata is a convention only
        memory = MemoryStore(files)  # zarr's own files need hard links, which not every disk has
        group = zarr.create_group(memory, zarr_format=3, attributes={ATTRIBUTES: _root_attributes(contents)})
        for name, dtype in chunked_arrays(contents.recipe).items():
            _create_chunked(group, name, len(contents.scans), contents.recipe.shape, np.dtype(dtype))
        for name, values in _tables(contents):
            _write_table(group, name, values, contents.classes)
        zarr.consolidate_metadata(memory, zarr_format=3)
    contents_of = {name: content.to_bytes() for name, content in files.items()}
    seal(contents_of)
    for name, content in contents_of.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def _root_attributes(contents: StoreContents) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "recipe": contents.recipe.to_dict(),
        "recipe_digest": contents.recipe.digest,
        "classes": list(contents.classes),
        "rejected": [asdict(rejection) for rejection in contents.rejected],
        "seal": UNSEALED,
    }


def _create_chunked(group: zarr.Group, name: str, n_scans: int, shape: Triple, dtype: np.dtype) -> None:
    is_lung = name == LUNG
    attributes: dict[str, Any] = {"long_name": "share of lung" if is_lung else "attenuation through the window"}
    attributes["units"] = "1"
    if is_lung:
        attributes["scale_factor"] = 1 / LUNG_STEPS
    elif dtype == np.uint8:
        attributes |= {"scale_factor": 1 / UINT8_STEPS, "_FillValue": MISSING_UINT8}
    missing: Any = MISSING_UINT8 if dtype == np.uint8 else np.nan
    group.create_array(
        name,
        shape=(n_scans, *shape),
        chunks=(1, *shape),
        dtype=dtype,
        fill_value=0 if is_lung else missing,
        compressors=_compressors(dtype),
        dimension_names=AXES[name],
        chunk_key_encoding={"name": "default", "separator": "."},  # one folder for all volumes, not three for each
        attributes=attributes,
    )


def _compressors(dtype: np.dtype) -> list[BloscCodec | Crc32cCodec]:
    return [BloscCodec(**BLOSC, shuffle="bitshuffle", typesize=dtype.itemsize), Crc32cCodec()]


def _tables(contents: StoreContents) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the arrays beside the volumes one by one, so that one at a time is in memory."""
    scans = contents.scans
    yield "scan", _strings(scan.id for scan in scans)
    yield "label", np.array([scan.label for scan in scans], np.int16)
    yield "patient", _strings(scan.patient for scan in scans)
    if any(scan.split for scan in scans):
        yield SPLIT, _strings(scan.split for scan in scans)
    for name in record_arrays(contents.records, contents.recipe):
        is_text = RECORD[name].kind == "S"
        yield name, _strings(contents.records.text(name)) if is_text else contents.records.column(name)
    yield "volume_crc32c", contents.checksums
    if contents.lung_checksums is not None:
        yield "lung_crc32c", contents.lung_checksums
    yield "quantile", np.array(HU_QUANTILES, np.float64)
    for column in sorted({column for scan in scans for column, _ in scan.meta}):
        yield f"{META_PREFIX}{column}", _column([dict(scan.meta).get(column, "") for scan in scans])


def record_arrays(records: Records, recipe: Recipe) -> list[str]:
    """Return which fields of the records are arrays of their store."""
    needed = {name for name in OPTIONAL_RECORD if records.column(name).any()}
    if records.column("nonfinite").any():
        needed.add(PADDING)  # which tells these voxels from those that an older ctprep did not tell apart
    return [name for name in columns_of(recipe) if name not in OPTIONAL_RECORD or name in needed]


def _strings(values: Iterable[str]) -> np.ndarray:
    return np.array(list(values), dtype=object)


def _column(texts: list[str]) -> np.ndarray:
    """Return a column as numbers (NaN where empty) if every entry is one, else as text: 007, and a 17-digit code."""
    known = [text for text in texts if text not in NO_VALUE]
    if known and all(_NUMBER.fullmatch(text) and len(text) <= MAX_DIGITS for text in known):
        return np.array([np.nan if text in NO_VALUE else float(text) for text in texts], np.float64)
    return _strings(texts)


def _write_table(group: zarr.Group, name: str, values: np.ndarray, classes: Sequence[str]) -> None:
    is_text = values.dtype.kind == "O"
    array = group.create_array(
        name,
        shape=values.shape,
        chunks=values.shape,
        dtype=str if is_text else values.dtype,
        fill_value=_MISSING[values.dtype.kind],
        compressors=[Crc32cCodec()] if is_text else _compressors(values.dtype),
        dimension_names=AXES.get(name, ("scan",)),
        attributes=_table_attributes(name, classes),
        config={"write_empty_chunks": True},  # a chunk that is not there must mean that it was lost
    )
    array[...] = values


_MISSING = {"O": "", "i": -1, "u": 0, "f": np.nan}


def _table_attributes(name: str, classes: Sequence[str]) -> dict[str, Any]:
    if name == "label" and classes:
        return {"flag_values": list(range(len(classes))), "flag_meanings": " ".join(map(_one_word, classes))}
    units = {"hu_quantile": "HU", "affine": "mm", "source_affine": "mm", "lung_ml": "mL", "crop_box": "1"}
    return {"units": units[name]} if name in units else {}


def _one_word(name: str) -> str:
    return "_".join(name.split())


def files_of_others(folder: Path) -> list[str]:
    """Return the paths of files under a folder that are no store's by their names, hidden ones left out, sorted."""
    return sorted(
        name
        for name in file_names(folder)
        if not (is_table_file(name) or is_chunk(name) or any(part.startswith(".") for part in name.split("/")))
    )


def tree_digest(folder: Path) -> str:
    """Return one SHA-256 of every file's relative path and bytes under a folder, in hexadecimal.

    What is no regular file, a link to a folder or a pipe, counts with its path alone.

    Raises
    ------
    OSError
        If a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in sorted(file_names(folder)):
        content = sha256_of_file(folder / path) if (folder / path).is_file() else ""
        digest.update(f"{path}\0{content}\n".encode())
    return digest.hexdigest()


def file_names(folder: Path) -> Iterator[str]:
    """Yield the path of every file under a folder, relative to it; a link to a folder is one, and is not entered."""
    for parent, folders, names in os.walk(folder):
        links = [path for path in (Path(parent, name) for name in folders) if path.is_symlink()]
        for path in (*(Path(parent, name) for name in names), *links):
            yield path.relative_to(folder).as_posix()
