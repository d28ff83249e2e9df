"""A store, opened for reading.

Everything is checked when it is opened or read: a damaged table or a missing volume is an error that says where, never
a volume of air.
"""

import os
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
import zarr.errors

from ctprep.errors import RecipeError, ScanNotFound, StoreError, StoreNotFound
from ctprep.files import read_json
from ctprep.scans.scan import UNLABELLED, Rejection
from ctprep.store.chunk import LUNG, LUNG_DTYPE, VOLUME, chunk_path, chunked_arrays, read_chunk, stated_checksum
from ctprep.store.format import (
    ATTRIBUTES,
    AXES,
    FORMAT,
    META_PREFIX,
    OPTIONAL,
    OPTIONAL_RECORD,
    SPLIT,
    file_names,
    tree_digest,
)
from ctprep.store.records import RECORD, Records, columns_of
from ctprep.store.seal import ROOT, is_sealed, is_table_file
from ctprep.text import html_table, printable
from ctprep.volume.grid import VoxelGrid
from ctprep.volume.intensity import LUNG_STEPS, unit_from_stored
from ctprep.volume.recipe import Recipe

MAX_SCANS = 100_000_000
"""Rows beyond which the metadata, not the cohort, is what is large."""

MAX_CLASSES_SHOWN = 8
"""Classes that one line names."""

READ_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    RuntimeError,
    MemoryError,
    zarr.errors.BaseZarrError,
)
"""What zarr-python and its codecs raise on metadata or tables that no conversion wrote."""

REBUILD = "make it anew from its sources with: ctprep convert --rebuild"

Identity = tuple[int, ...]


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
    lung_checksums : (scan,) uint32 array, optional
        CRC-32C of each chunk of `lung`, in a store that has them.
    splits : tuple of str
        The subset that the user's data put each scan into: train, validation, test, or empty; none in a store whose
        sources did not come divided.
    identity : tuple of int
        What tells this store from any other that takes its place, see `is_still_there`.

    Examples
    --------
    >>> store = open_store("out.zarr")
    >>> len(store), store.classes, store.recipe.shape
    (17, ('normal', 'abnormal'), (16, 16, 8))
    >>> store.scans[:2], store.labels[:2].tolist(), store.patients[:2]
    (('CT-0/p00_0', 'CT-0/p02_0'), [0, 0], ('p00', 'p02'))
    >>> store.records[0].source_shape
    (20, 20, 10)
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
    identity: Identity = field(repr=False)
    splits: tuple[str, ...] = ()
    lung_checksums: np.ndarray | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.scans)

    def __str__(self) -> str:
        patients = len(set(self.patients))
        return f"{self.path.name}: {len(self)} scans of {patients} patients ({_listed(self._contents())})"

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.recipe.shape))
        contents = f"{len(self)} scans of {shape} {self.recipe.dtype}, {_listed(self._contents())}"
        return f"Store({str(self.path)!r}: {printable(contents)})"

    def _repr_html_(self) -> str:
        """Return a table for a notebook: the scans of each class."""
        return html_table(repr(self), ("class", "scans"), self._contents())

    def _contents(self) -> list[tuple[str, int]]:
        """Return each class and its number of scans, and that of the unlabelled scans where there are any."""
        counts = Counter(self.labels.tolist())
        classes = [(name, counts[index]) for index, name in enumerate(self.classes)]
        return classes + [("unlabelled", counts[UNLABELLED])] * (counts[UNLABELLED] > 0)

    @property
    def names_patients(self) -> bool:
        """Whether somebody said whose the scans are; else each scan counts as a patient of its own."""
        return any(patient != scan for scan, patient in zip(self.scans, self.patients, strict=True))

    @property
    def not_cropped(self) -> tuple[str, ...]:
        """The scans that the recipe would crop to their lungs, and that are stored whole."""
        if self.recipe.crop == "none":
            return ()
        rows = np.flatnonzero((self.records.column("crop_box") < 0).any(axis=(1, 2)))
        return tuple(self.scans[row] for row in rows)

    @property
    def without_lungs(self) -> tuple[str, ...]:
        """The scans whose lungs the recipe would store, and in which none were found."""
        if not self.recipe.lung:
            return ()
        rows = np.flatnonzero(self.records.column("lung_ml").sum(axis=1) == 0)
        return tuple(self.scans[row] for row in rows)

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {scan: row for row, scan in enumerate(self.scans)}

    def row(self, scan: str) -> int:
        """Return the row of a scan.

        Raises
        ------
        ScanNotFound
            If the store holds no such scan.

        Examples
        --------
        >>> open_store("out.zarr").row("CT-1/p01_0")
        8
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

        Examples
        --------
        >>> volume = open_store("out.zarr").volume(0)
        >>> volume.shape, str(volume.dtype)
        ((16, 16, 8), 'float16')
        """
        volume = np.empty(self.recipe.shape, self.recipe.dtype)
        self.read_into(row, volume)
        return volume

    def lung(self, row: int) -> np.ndarray:
        """Return the share of lung in each voxel of one volume, from 0 to 1.

        Parameters
        ----------
        row : int
            0 to `len(store) - 1`.

        Returns
        -------
        (x, y, z) float32 array
            0 everywhere where no lungs were found.

        Raises
        ------
        StoreError
            If the store holds none, or its chunk is missing or damaged.
        """
        self._check_row(row)
        if not self.recipe.lung:
            raise StoreError(f"{self.path.name}: holds no lungs; make a store that does with: ctprep convert --lung")
        stored = np.empty(self.recipe.shape, LUNG_DTYPE)
        if problem := self.read_or_say(row, stored, LUNG):
            raise StoreError(f"{self.path.name}: the lung of {self.scans[row]} (row {row}) {problem}")
        return stored / np.float32(LUNG_STEPS)

    def _check_row(self, row: int) -> None:
        if not 0 <= row < len(self):
            raise StoreError(f"{self.path.name}: has no row {row}, only 0 to {len(self) - 1}")

    def read_into(self, row: int, out: np.ndarray) -> None:
        """Put one volume into an array; several threads may do so at once.

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

        Examples
        --------
        >>> store = open_store("out.zarr")
        >>> batch = np.empty((2, *store.recipe.shape), store.recipe.dtype)
        >>> for place, row in enumerate([5, 3]):
        ...     store.read_into(row, batch[place])
        >>> bool((batch[1] == store.volume(3)).all())
        True
        """
        self._check_row(row)
        if problem := self.read_or_say(row, out):
            raise StoreError(f"{self.path.name}: the volume of {self.scans[row]} (row {row}) {problem}")

    def checksums_of(self, array: str) -> np.ndarray:
        """Return the CRC-32C of each scan's chunk of an array."""
        checksums = self.checksums if array == VOLUME else self.lung_checksums
        if checksums is None:
            raise StoreError(f"{self.path.name}: has no array {array}")
        return checksums

    def read_or_say(self, row: int, out: np.ndarray, array: str = VOLUME) -> str | None:
        """Put one volume into an array, or return what is wrong with it, and how to mend it."""
        try:
            read_chunk(self._chunk(row, array), int(self.checksums_of(array)[row]), out)
        except FileNotFoundError:
            problem = "is missing"
        except OSError as error:
            problem = f"cannot be read ({error.strerror})"
        except ValueError as error:
            problem = str(error)
        else:
            return None
        return f"{problem}; convert again to rebuild it"

    def holds_chunk_of(self, row: int) -> bool:
        """Tell whether the chunk that is there states the checksum of the one that was written for this row.

        Four bytes are read. Whether the rest of the chunk has that checksum is for the codec to say, when it is read.
        """
        try:
            return stated_checksum(self._chunk(row)) == int(self.checksums[row])
        except OSError:
            return False

    def _chunk(self, row: int, array: str = VOLUME) -> str:
        return f"{self.path}/{chunk_path(row, array)}"

    def unit(self, volume: np.ndarray) -> np.ndarray:
        """Return stored values as float32 in [0, 1].

        Examples
        --------
        >>> store = open_store("out.zarr")
        >>> lower, upper = store.recipe.window
        >>> hu = store.unit(store.volume(0)) * (upper - lower) + lower
        >>> bool(hu.min() >= -1000), bool(hu.max() <= 400)
        (True, True)
        """
        return unit_from_stored(volume)

    def spacing_mm(self, row: int) -> tuple[float, float, float]:
        """Return the distance between the stored voxels of a row along each axis, in mm.

        Examples
        --------
        >>> open_store("out.zarr").spacing_mm(0)
        (25.0, 25.0, 37.5)
        """
        return VoxelGrid(self.recipe.shape, np.array(self.records[row].affine)).spacing_mm

    def foreign_files(self) -> list[str]:
        """Return the files under the store that no conversion wrote, sorted."""
        chunks = {chunk_path(row, array) for array in chunked_arrays(self.recipe) for row in range(len(self))}
        return sorted(name for name in file_names(self.path) if not is_table_file(name) and name not in chunks)

    def digest(self) -> str:
        """Return the SHA-256 of the whole tree: equal stores have equal digests.

        Examples
        --------
        >>> open_store("out.zarr").digest()[:8]
        'a4d1cc2c'

        Raises
        ------
        StoreError
            If a file cannot be read, or another store took this one's place.
        """
        try:
            digest = tree_digest(self.path)
        except OSError as error:
            self.check_still_there()
            raise StoreError(f"{self.path}: cannot be read ({error.strerror}: {error.filename})") from None
        self.check_still_there()
        return digest

    def is_still_there(self) -> bool:
        """Tell whether this store, and no other, is at its path."""
        return _identity(self.path) == self.identity

    def check_still_there(self) -> None:
        """Raise `StoreError` where another store took this one's place: what was read may be of both."""
        if not self.is_still_there():
            raise StoreError(f"{self.path}: was replaced while it was read; try again when no conversion writes it")


def is_ctprep_store(path: Path) -> bool:
    """Tell whether a folder is a store, whole or damaged, that ctprep wrote."""
    return _attributes(path) is not None


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

    Examples
    --------
    >>> open_store("out.zarr").classes
    ('normal', 'abnormal')
    >>> open_store("none.zarr")
    Traceback (most recent call last):
        ...
    ctprep.errors.StoreNotFound: none.zarr: no store is here; make one with: ctprep convert RAW none.zarr
    """
    path = Path(path)
    while True:
        before = _identity(path)
        try:
            store = _open(path, before)
        except StoreError:
            if _identity(path) == before:
                raise
        else:
            if _identity(path) == before:
                return store


def _identity(path: Path) -> Identity | None:
    """Return what tells a store from any other that takes its place: its root metadata; None where there is none."""
    try:
        found = (path / ROOT).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns


def _open(path: Path, identity: Identity | None) -> Store:
    if not path.exists():
        raise StoreNotFound(f"{path}: no store is here; make one with: ctprep convert RAW {path}")
    saved = _attributes(path)
    if identity is None or saved is None:
        raise StoreError(f"{path}: is not a readable ctprep store; make one with: ctprep convert RAW OUT.zarr")
    if saved.get("format") != FORMAT:
        raise StoreError(f"{path}: has format {saved.get('format')}, this ctprep reads {FORMAT}; install a fitting one")
    try:
        for name, axes in AXES.items():
            if name not in ("volume", *OPTIONAL) and not path.joinpath(name, "c", *["0"] * len(axes)).exists():
                raise StoreError(f"its array {name} is missing")
        if not is_sealed(path):  # before zarr-python looks at what may ask for anything
            raise StoreError("its metadata or a table is not as it was written")
        group = zarr.open_group(path, mode="r", zarr_format=3, use_consolidated=False)
        return _read(path, group, saved, identity)
    except (StoreError, RecipeError) as error:
        raise StoreError(f"{path}: {error}; {REBUILD}") from None
    except READ_ERRORS as error:
        raise StoreError(f"{path}: is not a readable ctprep store ({_first_line(error)}); {REBUILD}") from None


def _attributes(path: Path) -> dict[str, Any] | None:
    """Return what ctprep says of a store in its root metadata, or None where that is not a store's."""
    try:
        saved = read_json(path / ROOT)["attributes"][ATTRIBUTES]
    except (KeyError, TypeError):
        return None
    return saved if isinstance(saved, dict) else None


def _read(path: Path, group: zarr.Group, saved: dict[str, Any], identity: Identity) -> Store:
    recipe = Recipe.from_dict(saved["recipe"])
    n_scans = _array(group, VOLUME).shape[0]
    for name, dtype in chunked_arrays(recipe).items():
        array = _array(group, name)
        if n_scans > MAX_SCANS or array.shape != (n_scans, *recipe.shape) or array.dtype != dtype:
            raise StoreError(f"its {name}s are {array.shape} {array.dtype}, its recipe says {recipe.shape}")
    wanted = set(AXES) - {VOLUME, "quantile", *OPTIONAL} | {*columns_of(recipe), *["lung_crc32c"] * recipe.lung}
    tables = {name: _table(group, name, n_scans) for name in AXES if name in wanted}
    names = _array_names(group)
    tables |= {name: _table(group, name, n_scans) for name in OPTIONAL_RECORD if name in names}
    meta = {name: _table(group, name, n_scans) for name in names if name.startswith(META_PREFIX)}
    return Store(
        path=path,
        recipe=recipe,
        classes=tuple(map(str, saved["classes"])),
        rejected=tuple(Rejection(**rejection) for rejection in saved["rejected"]),
        scans=tuple(map(str, tables["scan"])),
        labels=tables["label"],
        patients=tuple(map(str, tables["patient"])),
        records=Records.from_columns(n_scans, {name: tables[name] for name in columns_of(recipe) if name in tables}),
        checksums=tables["volume_crc32c"],
        meta={name.removeprefix(META_PREFIX): values for name, values in meta.items()},
        identity=identity,
        lung_checksums=tables.get("lung_crc32c"),
        splits=tuple(map(str, _table(group, SPLIT, n_scans))) if SPLIT in names else (),
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
    shape = (n_scans, *(RECORD[name].shape if name in (RECORD.names or ()) else ()))
    if array.shape != shape or array.chunks != shape:
        raise StoreError(f"its array {name} has the shape {array.shape}, expected {shape} in one chunk")
    if array.nchunks_initialized != array.nchunks:
        raise StoreError(f"its array {name} is missing")
    return np.asarray(array[...])


def _listed(contents: list[tuple[str, int]]) -> str:
    shown = [f"{n} {name}" for name, n in contents[:MAX_CLASSES_SHOWN]]
    return ", ".join(shown + [f"{len(contents) - len(shown)} more classes"] * (len(contents) > len(shown)))


def _examples(scans: tuple[str, ...]) -> str:
    shown = ", ".join(scans[:3])
    return f"{shown} and {len(scans) - 3} more" if len(scans) > 3 else shown


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
