"""Store and order become batches of volumes, read ahead with TensorStore while others are worked on.

No volume leaves here that the store does not hold for its row: a missing chunk reads as its fill value and one that
changed places decodes, and both are errors.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore

from ctmodel.errors import BadVolume, StoreChanged
from ctprep.store import Store, is_missing, open_store

AHEAD = 4  # batches under way beside the one in hand; bounds the memory, and hides the disk


@dataclass(frozen=True)
class Batch:
    """Some rows of a store.

    Attributes
    ----------
    rows : (n,) int array
    volumes : (n, x, y, z) array
        In the store's dtype, nothing missing.
    """

    rows: np.ndarray
    volumes: np.ndarray


def open_volumes(path: str | os.PathLike[str]) -> tuple[Store, "VolumeReader"]:
    """Open a store, and what reads its volumes for as long as it stays the same store.

    Parameters
    ----------
    path : path
        The store's folder.

    Returns
    -------
    store : ctprep.store.Store
    reader : VolumeReader

    Raises
    ------
    ctprep.errors.StoreError
        If there is no readable store.
    BadVolume
        If its volumes cannot be opened.
    """
    identity = _identity(Path(path))  # before anything is read, so that no exchange goes unnoticed
    store = open_store(path)
    return store, VolumeReader(store, identity)


class VolumeReader:
    """Reads the volumes of one store; made by `open_volumes`."""

    def __init__(self, store: Store, identity: tuple[int, ...] | None) -> None:
        self._store, self._path, self._scans = store, store.path, store.scans
        self._identity = identity
        self._array = _opened(store.path)

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels of a volume along x, y and z."""
        return tuple(self._array.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """The stored dtype."""
        return self._array.dtype.numpy_dtype

    def read(self, batches: Iterable[np.ndarray], *, ahead: int = AHEAD) -> Iterator[Batch]:
        """Yield batches in order, while the next ones are being read.

        Parameters
        ----------
        batches : iterable of (n,) int arrays
            Rows of each batch.
        ahead : int
            Batches to read ahead of the one that is yielded.

        Yields
        ------
        Batch

        Raises
        ------
        BadVolume
            If a volume is missing or damaged.
        StoreChanged
            If the store is not the one that was opened.
        """
        under_way: deque[tuple[np.ndarray, list]] = deque()
        for rows in batches:
            under_way.append((rows, [self._array[int(row)].read() for row in rows]))
            if len(under_way) > ahead:
                yield self._finished(*under_way.popleft())
        while under_way:
            yield self._finished(*under_way.popleft())

    def check(self, rows: np.ndarray) -> None:
        """Raise `BadVolume` for the first row whose volume is missing or another's; damage is found on reading.

        Four bytes a scan are read, so that a training need not find out in its last epoch.
        """
        for row in rows.tolist():
            if not self._store.holds_chunk_of(row):
                raise self._bad(row, "is missing, or is not the one that was written")

    def _finished(self, rows: np.ndarray, reads: list) -> Batch:
        try:
            volumes = np.stack([self._whole(int(row), read) for row, read in zip(rows, reads, strict=True)])
        finally:
            self._check_unchanged()  # said first: a store that was replaced explains any damage
        return Batch(rows, volumes)

    def _whole(self, row: int, read: Any) -> np.ndarray:
        try:
            volume = read.result()
        except (ValueError, OSError) as error:
            raise self._bad(row, f"is damaged ({_first_line(error)})") from error
        if is_missing(volume):
            raise self._bad(row, "is missing")
        if not self._store.holds_chunk_of(row):
            raise self._bad(row, "is not the one that was written")
        return volume

    def _bad(self, row: int, what: str) -> BadVolume:
        return BadVolume(
            f"{self._path}: the volume of scan {self._scans[row]!r} (row {row}) {what}; run ctprep convert again, "
            "which rebuilds it"
        )

    def _check_unchanged(self) -> None:
        if _identity(self._path) != self._identity:
            raise StoreChanged(
                f"{self._path}: was replaced or edited while it was read; let no conversion write to it "
                "meanwhile, and start again"
            )


def _identity(path: Path) -> tuple[int, ...] | None:
    """Return what tells a store from any other that takes its place, None where there is none."""
    try:
        found = (path / "zarr.json").stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns


def _opened(path: Path) -> Any:
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str((path / "volume").absolute())}}
    try:
        return tensorstore.open(spec, open=True, read=True).result()
    except (ValueError, OSError) as error:
        raise BadVolume(
            f"{path}: its volumes cannot be opened ({_first_line(error)}); run ctprep convert with --rebuild"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0].split(" [source locations", 1)[0]
