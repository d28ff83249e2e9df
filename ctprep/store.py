"""A store, opened for reading.

Everything is checked when it is opened or read: a damaged table or a missing volume is an error that says where, never
a volume of air.
"""

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
import zarr.errors

from ctprep.chunk import chunk_path, read_chunk, stated_checksum
from ctprep.errors import RecipeError, ScanNotFound, StoreError, StoreNotFound
from ctprep.files import read_json
from ctprep.intensity import unit_from_stored
from ctprep.recipe import Recipe
from ctprep.records import RECORD, Records
from ctprep.scan import Rejection
from ctprep.seal import is_sealed, is_table_file
from ctprep.store_format import (
    ATTRIBUTES,
    AXES,
    FORMAT,
    META_PREFIX,
    file_names,
    tree_digest,
)

MOST_SCANS = 100_000_000
"""Rows beyond which the metadata, not the cohort, is what is large."""

READ_ERRORS = (OSError, ValueError, KeyError, TypeError, RuntimeError, zarr.errors.BaseZarrError)
"""What zarr-python and its codecs raise on damaged metadata or chunks."""


@dataclass(frozen=True, eq=False)
class Store:
    """A store of prepared scans; every sequence is in row order.

    Parameters
    ----------
    path : Path
        The folder.
    recipe : Recipe
        How the volumes were made.
    classes : tuple of str
        Of two, the second is the positive one.
    rejected : tuple of Rejection
        Scans that were left out.
    scans : tuple of str
        Ids, sorted.
    labels : (scan,) int16 array
        Index into `classes`; -1 where none is known.
    patients : tuple of str
        Whose scan it is.
    records : Records
        What is known of each scan beside its volume.
    checksums : (scan,) uint32 array
        CRC-32C of each volume's chunk.
    meta : mapping of str to (scan,) array
        Further columns of the label table.
    """

    path: Path
    recipe: Recipe
    classes: tuple[str, ...]
    rejected: tuple[Rejection, ...]
    scans: tuple[str, ...]
    labels: np.ndarray
    patients: tuple[str, ...]
    records: Records
    checksums: np.ndarray
    meta: Mapping[str, np.ndarray]
    _volumes: zarr.Array = field(repr=False)

    def __len__(self) -> int:
        return len(self.scans)

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {scan: row for row, scan in enumerate(self.scans)}

    def row(self, scan: str) -> int:
        """Return the row of a scan.

        Raises
        ------
        ScanNotFound
            If the store holds no such scan.
        """
        if scan in self._row_of:
            return self._row_of[scan]
        rejected = {rejection.scan: rejection for rejection in self.rejected}
        if scan in rejected:
            raise ScanNotFound(f"{scan}: was rejected ({rejected[scan].code}): {rejected[scan].reason}")
        raise ScanNotFound(f"{scan}: no such scan in {self.path.name}, which holds {_examples(self.scans)}")

    def volume(self, row: int) -> np.ndarray:
        """Return one volume as it is stored.

        Parameters
        ----------
        row : int
            0 to `len(store) - 1`.

        Returns
        -------
        (x, y, z) array of the recipe's dtype

        Raises
        ------
        StoreError
            If the volume is missing or damaged.
        """
        self._check_row(row)
        try:
            volume = np.asarray(self._volumes[row])
        except READ_ERRORS as error:
            raise StoreError(self._damage(row, f"is damaged ({_first_line(error)})")) from None
        if is_missing(volume):
            raise StoreError(self._damage(row, "is missing"))
        if not self.holds_chunk_of(row):
            raise StoreError(self._damage(row, "is not the one that was written"))
        return volume

    def read_into(self, row: int, out: np.ndarray) -> None:
        """Put one volume into an array: `volume` without zarr-python, for several threads at once.

        The chunk is read once. Its bytes have the checksum that was written down for this row, or it is an error, so
        that it is neither missing nor damaged nor another's.

        Parameters
        ----------
        row : int
            0 to `len(store) - 1`.
        out : (x, y, z) array of the recipe's dtype, contiguous

        Raises
        ------
        StoreError
            If the volume is missing or damaged.
        """
        self._check_row(row)
        try:
            read_chunk(self._chunk(row), int(self.checksums[row]), out)
        except FileNotFoundError:
            raise StoreError(self._damage(row, "is missing")) from None
        except OSError as error:
            raise StoreError(self._damage(row, f"cannot be read ({error.strerror})")) from None
        except ValueError as error:
            raise StoreError(self._damage(row, str(error))) from None

    def holds_chunk_of(self, row: int) -> bool:
        """Tell whether the chunk that is there states the checksum of the one that was written for this row.

        Four bytes are read. Whether the rest of the chunk has that checksum is for the codec to say, when it is read.
        """
        try:
            return stated_checksum(self._chunk(row)) == int(self.checksums[row])
        except OSError:
            return False

    def _chunk(self, row: int) -> str:
        return f"{self.path}/{chunk_path(row)}"

    def _check_row(self, row: int) -> None:
        if not 0 <= row < len(self):
            raise StoreError(f"{self.path.name}: has no row {row}, only 0 to {len(self) - 1}")

    def _damage(self, row: int, what: str) -> str:
        return f"{self.path.name}: the volume of {self.scans[row]} (row {row}) {what}; convert again to rebuild it"

    def unit(self, volume: np.ndarray) -> np.ndarray:
        """Return stored values as float32 in [0, 1]."""
        return unit_from_stored(volume)

    def foreign_files(self) -> list[str]:
        """Return the files under the store that no conversion wrote, sorted."""
        chunks = {chunk_path(row) for row in range(len(self))}
        return sorted(name for name in file_names(self.path) if not is_table_file(name) and name not in chunks)

    def digest(self) -> str:
        """Return the SHA-256 of the whole tree: equal stores have equal digests."""
        return tree_digest(self.path)


def is_missing(volume: np.ndarray) -> bool:
    """Tell whether a stored volume is the fill value, which no converted scan contains.

    Examples
    --------
    >>> is_missing(np.full((2, 2, 2), np.nan, np.float16)), is_missing(np.zeros((2, 2, 2), np.uint8))
    (True, False)
    """
    first = volume.flat[0]
    return bool(np.isnan(first)) if volume.dtype.kind == "f" else bool(first == np.iinfo(volume.dtype).max)


def is_ctprep_store(path: Path) -> bool:
    """Tell whether a folder is a store, whole or damaged, that ctprep wrote."""
    try:
        return ATTRIBUTES in read_json(path / "zarr.json")["attributes"]
    except (KeyError, TypeError):
        return False


def open_store(path: str | os.PathLike[str]) -> Store:
    """Open a store: read and check all of it but its volumes.

    Where a conversion replaces it meanwhile, it is opened again: all that is returned is of one store.

    Parameters
    ----------
    path : path
        The folder that `ctprep convert` wrote.

    Raises
    ------
    StoreNotFound
        If there is nothing at `path`.
    StoreError
        If what is there is not a store, is damaged, or is of another format.
    """
    path = Path(path)
    while True:
        before = _identity(path)
        try:
            store = _open(path)
        except StoreError:
            if _identity(path) == before:
                raise
        else:
            if _identity(path) == before:
                return store


def _identity(path: Path) -> tuple[int, ...] | None:
    """Return what a folder has in common with no other that takes its place."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_ctime_ns


def _open(path: Path) -> Store:
    if not path.exists():
        raise StoreNotFound(f"{path}: no store is here; make one with: ctprep convert RAW {path}")
    try:
        group = zarr.open_group(path, mode="r", zarr_format=3, use_consolidated=False)
        saved: Any = dict(group.attrs)[ATTRIBUTES]
        store = _read(path, group, saved) if saved["format"] == FORMAT else None
        if store is not None and not is_sealed(path):
            raise StoreError("its metadata or a table is not as it was written")
    except (StoreError, RecipeError) as error:
        raise StoreError(f"{path}: {error}") from None
    except READ_ERRORS as error:
        raise StoreError(f"{path}: is not a readable ctprep store ({_first_line(error)})") from None
    if store is None:
        raise StoreError(f"{path}: has format {saved['format']}, this ctprep reads {FORMAT}; install a fitting one")
    return store


def _read(path: Path, group: zarr.Group, saved: dict[str, Any]) -> Store:
    recipe = Recipe.from_dict(saved["recipe"])
    volumes = _array(group, "volume")
    n_scans = volumes.shape[0]
    if n_scans > MOST_SCANS or volumes.shape[1:] != recipe.shape or volumes.dtype != recipe.dtype:
        raise StoreError(f"its volumes are {volumes.shape} {volumes.dtype}, its recipe says {recipe.shape}")
    tables = {name: _table(group, name, n_scans) for name in AXES if name not in ("volume", "quantile")}
    meta = {name: _table(group, name, n_scans) for name in _array_names(group) if name.startswith(META_PREFIX)}
    return Store(
        path=path,
        recipe=recipe,
        classes=tuple(map(str, saved["classes"])),
        rejected=tuple(Rejection(**rejection) for rejection in saved["rejected"]),
        scans=tuple(map(str, tables["scan"])),
        labels=tables["label"],
        patients=tuple(map(str, tables["patient"])),
        records=Records.from_columns(n_scans, {name: tables[name] for name in RECORD.names or ()}),
        checksums=tables["volume_crc32c"],
        meta={name.removeprefix(META_PREFIX): values for name, values in meta.items()},
        _volumes=volumes,
    )


def _array_names(group: zarr.Group) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", zarr.errors.ZarrUserWarning)  # of files that are not the store's
        return sorted(group.array_keys())


def _array(group: zarr.Group, name: str) -> zarr.Array:
    array = group[name]
    if not isinstance(array, zarr.Array) or (getattr(array.metadata, "dimension_names", None) or (None,))[0] != "scan":
        raise StoreError(f"its array {name} is not one row a scan")
    return array


def _table(group: zarr.Group, name: str, n_scans: int) -> np.ndarray:
    array = _array(group, name)
    if array.shape[0] != n_scans:
        raise StoreError(f"its array {name} has {array.shape[0]} rows, volume has {n_scans}")
    if array.nchunks_initialized != array.nchunks:
        raise StoreError(f"its array {name} is missing")
    return np.asarray(array[...])


def _examples(scans: tuple[str, ...]) -> str:
    shown = ", ".join(scans[:3])
    return f"{shown} and {len(scans) - 3} more" if len(scans) > 3 else shown


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
