"""Store and order become batches of volumes, read ahead by threads while others are worked on.

No volume leaves here that was not proven to be its row's: a missing chunk, a damaged one, and one that changed places
are errors.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from ctmodel.data.division import divide
from ctmodel.data.order import cut_batches, epoch_batches
from ctmodel.devices.memory import Pool
from ctmodel.errors import BadVolume, StoreChanged
from ctmodel.settings import TrainSettings
from ctprep.errors import StoreError
from ctprep.execution.cores import available_cores
from ctprep.store.store import Store, open_store

AHEAD = 4  # batches under way beside the one in hand; bounds the memory, and hides the disk

THREADS = min(max(4, available_cores()), 32)
"""More than two cores can use, for the sake of slow disks; beyond 32 they wait for Python's lock."""

ROWS_AT_ONCE = 8
"""Volumes that a thread reads before it says so, which takes CPU time."""


DEFAULTS = TrainSettings()


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
    store : ctprep.store.store.Store
    reader : VolumeReader

    Raises
    ------
    ctprep.errors.StoreError
        If there is no readable store.
    """
    store = open_store(path)
    return store, VolumeReader(store)


def batches(
    store: str | os.PathLike[str],
    subset: str = "train",
    *,
    batch_size: int = DEFAULTS.batch_size,
    seed: int = DEFAULTS.seed,
    epoch: int = 0,
    **settings: Any,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield a subset of a store as NumPy batches, for PyTorch, JAX or anything else; without TensorFlow.

    The training subset comes in the order of that epoch of `ctmodel.train`, the others in the order of the store; no
    volume is augmented. Every volume is checked against its checksum, and read by threads while others are worked on.

    Parameters
    ----------
    store : path
        Made by `ctprep convert`.
    subset : {"train", "validation", "test"}
        No patient is in two of them.
    batch_size : int
        The largest batch.
    seed : int
        Of the split and the order.
    epoch : int
        Which pass, from 0.
    **settings
        Other fields of `TrainSettings` that decide the split: `validation`, `test`, `folds`, `fold`, `use_split`.

    Yields
    ------
    volumes : (n, x, y, z) float32 array
        In [0, 1].
    labels : (n,) int64 array
        Index into the classes of the store.

    Raises
    ------
    SettingsError, SplitError
        If a setting is wrong, or the store cannot be divided.
    BadVolume, StoreChanged
        If a volume is missing or damaged, or the store is replaced meanwhile.
    ctprep.errors.StoreError
        If there is no readable store.

    Examples
    --------
    >>> [(volumes.shape[0], labels.tolist()) for volumes, labels in batches("out.zarr", "test", batch_size=3)]
    [(2, [0, 0]), (2, [1, 1])]
    """
    known = TrainSettings(batch_size=batch_size, seed=seed, **settings)
    opened, reader = open_volumes(store)
    rows = divide(opened, known).rows(subset)
    if subset == "train":
        in_order = epoch_batches(rows, batch_size=batch_size, seed=seed, epoch=epoch)
    else:
        in_order = cut_batches(rows, batch_size)
    return ((opened.unit(batch.volumes), opened.labels[batch.rows].astype(np.int64)) for batch in reader.read(in_order))


class VolumeReader:
    """Reads the volumes of one store by threads; made by `open_volumes`.

    Attributes
    ----------
    shape : (x, y, z) ints
        Voxels of a volume.
    dtype : dtype
        The stored dtype.
    """

    def __init__(self, store: Store) -> None:
        self.shape, self.dtype = tuple(store.recipe.shape), np.dtype(store.recipe.dtype)
        self._store = store
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="volumes")
        self._pool = Pool()

    def check(self, rows: np.ndarray) -> None:
        """Raise `BadVolume` for the first row whose volume is missing or another's; damage is found on reading.

        Four bytes a scan are read, so that a training need not find out in its last epoch.
        """
        for row in rows.tolist():
            if not self._store.holds_chunk_of(row):
                raise BadVolume(
                    f"{self._store.path}: the volume of {self._store.scans[row]} (row {row}) is missing, or is not the "
                    "one that was written; convert again to rebuild it"
                )

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
        under_way: deque[tuple[Batch, list[Future]]] = deque()
        try:
            for rows in batches:
                under_way.append(self._begun(rows))
                if len(under_way) > ahead:
                    yield self._finished(*under_way.popleft())
            while under_way:
                yield self._finished(*under_way.popleft())
        finally:
            _cancel(part for _, parts in under_way for part in parts)

    def _begun(self, rows: np.ndarray) -> tuple[Batch, list[Future]]:
        volumes = self._pool.empty((len(rows), *self.shape), self.dtype)
        parts = [slice(first, first + ROWS_AT_ONCE) for first in range(0, len(rows), ROWS_AT_ONCE)]
        return Batch(rows, volumes), [self._threads.submit(self._fill, rows[part], volumes[part]) for part in parts]

    def _finished(self, batch: Batch, parts: list[Future]) -> Batch:
        try:
            for part in parts:
                part.result()
        finally:
            _cancel(parts)
            self._check_unchanged()  # said first: a store that was replaced explains any damage
        return batch

    def _fill(self, rows: np.ndarray, volumes: np.ndarray) -> None:
        try:
            for row, volume in zip(rows.tolist(), volumes, strict=True):
                self._store.read_into(row, volume)
        except StoreError as error:
            raise BadVolume(str(error)) from error

    def _check_unchanged(self) -> None:
        if not self._store.is_still_there():
            raise StoreChanged(
                f"{self._store.path}: was replaced or edited while it was read; let no conversion write to it "
                "meanwhile, and start again"
            )


def _cancel(parts: Iterable[Future]) -> None:
    for part in parts:
        part.cancel()
