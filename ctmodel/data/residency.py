"""Where a training's volumes are while it runs: in the store, in host memory, or on the accelerator."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ctmodel.data.batches import Batch, VolumeReader
from ctmodel.devices.backend import accelerator, free_accelerator_bytes, tf
from ctmodel.devices.memory import Pool, available_bytes
from ctmodel.errors import SettingsError
from ctmodel.settings import RESIDENCIES
from ctprep.store.store import Store

SHARE = 0.5  # of the free memory that volumes may take; the rest is for the training


class InMemory:
    """Volumes that are all in memory.

    Parameters
    ----------
    held : Batch
        All there are, each row once.

    Attributes
    ----------
    shape : (x, y, z) ints
        Voxels of a volume.
    dtype : dtype
        The stored dtype.
    """

    def __init__(self, held: Batch) -> None:
        self.shape, self.dtype = held.volumes.shape[1:], held.volumes.dtype
        self._place_of = np.full(held.rows.max(initial=-1) + 2, -1)  # the last stands for all rows beyond
        self._place_of[held.rows] = np.arange(len(held.rows))

    def places(self, rows: np.ndarray) -> np.ndarray:
        """Return where the volumes of some rows are, in the shape of their array.

        Raises
        ------
        LookupError
            If one of them is not in memory.
        """
        places = self._place_of[np.minimum(rows, len(self._place_of) - 1)]
        if np.any(places < 0):
            raise LookupError(f"row {rows[places < 0][0]} is not in memory, which holds the training subset only")
        return places


class OnHost(InMemory):
    """Volumes in host memory, from which batches are copied."""

    def __init__(self, held: Batch) -> None:
        super().__init__(held)
        self._volumes, self._pool = held.volumes, Pool()

    def taken(self, rows: np.ndarray) -> np.ndarray:
        """Return copies of the volumes of some rows, (..., x, y, z) for (...) rows; raises what `places` does."""
        volumes = self._pool.empty((*rows.shape, *self.shape), self.dtype)
        return np.take(self._volumes, self.places(rows), axis=0, out=volumes, mode="clip")  # else it copies twice


class OnDevice(InMemory):
    """Volumes on the accelerator, or on the processor where there is none, which gathers batches itself."""

    def __init__(self, held: Batch) -> None:
        super().__init__(held)
        self._tensor = _on_accelerator(held.volumes)

    def gather(self, places: Any) -> Any:
        """Return the (n, x, y, z) volumes at some places, in the stored dtype, without leaving the device."""
        return tf.cast(tf.gather(self._tensor, places), self.dtype)


Volumes = VolumeReader | OnHost | OnDevice


class HeldReader(VolumeReader):
    """Reads volumes of a store that were all read before, for several trainings one after the other.

    Parameters
    ----------
    store : Store
    held : Batch
        All that will be asked for, each row once.
    residency : {"host", "device"}
        Where trainings take them from.
    """

    def __init__(self, store: Store, held: Batch, *, residency: str) -> None:
        super().__init__(store)
        self._on_host = OnHost(held)
        self.volumes = OnDevice(held) if residency == "device" else self._on_host

    def read(self, batches: Iterable[np.ndarray], *, ahead: int = 0) -> Iterator[Batch]:  # noqa: ARG002 - no disk
        """Yield batches in order; raises `StoreChanged` as the store's own reader does, but reads nothing of it."""
        for rows in batches:
            volumes = self._on_host.taken(rows)
            self._check_unchanged()
            yield Batch(rows, volumes)


def hold(store: Store, reader: VolumeReader, rows: np.ndarray, residency: str = "auto") -> VolumeReader:
    """Read the volumes of some rows once, if they fit in memory; for what trains on several subsets of them.

    Parameters
    ----------
    store : Store
    reader : VolumeReader
        Of this store.
    rows : (n,) int array
    residency : {"auto", "stream", "host", "device"}
        As in `settle`.

    Returns
    -------
    VolumeReader
        The one that was given, where volumes are streamed; else one that has them in memory.
    """
    residency = _fitting(reader, rows, residency)
    if residency == "stream":
        return reader
    (held,) = reader.read([rows])
    return HeldReader(store, held, residency=residency)


def settle(reader: VolumeReader, rows: np.ndarray, residency: str = "auto", *, on_accelerator: bool = True) -> Volumes:
    """Put the volumes of a training subset where they are to be while it runs.

    Parameters
    ----------
    reader : VolumeReader
    rows : (n,) int array
        The training subset.
    residency : {"auto", "stream", "host", "device"}
        Read from the store in each epoch; held in host memory; held on the accelerator (host memory, where there is
        none); or where it fits, see `fitting_residency`. What `hold` has read stays where it is.
    on_accelerator : bool
        Whether "auto" may mean the accelerator.

    Returns
    -------
    VolumeReader, OnHost or OnDevice
        What `pipeline.training_epoch` takes.

    Raises
    ------
    SettingsError
        If there is no such residency.
    BadVolume, StoreChanged
        As the reader finds, if all are read at once.
    """
    if isinstance(reader, HeldReader):
        return reader.volumes
    residency = _fitting(reader, rows, residency, on_accelerator=on_accelerator)
    if residency == "stream":
        return reader
    (held,) = reader.read([rows])
    return OnDevice(held) if residency == "device" else OnHost(held)


def _fitting(reader: VolumeReader, rows: np.ndarray, residency: str, *, on_accelerator: bool = True) -> str:
    """Return where to put some rows, given what was asked for."""
    if residency not in RESIDENCIES:
        raise SettingsError(f"residency: {residency!r}, expected one of {', '.join(RESIDENCIES)}")
    if residency != "auto":
        return residency
    return fitting_residency(
        len(rows) * int(np.prod(reader.shape)) * reader.dtype.itemsize,
        accelerator_bytes=free_accelerator_bytes() if on_accelerator else 0,
        host_bytes=available_bytes(),
    )


def fitting_residency(n_bytes: int, *, accelerator_bytes: int, host_bytes: int) -> str:
    """Return where volumes fit: on the accelerator, else in host memory, taking half of what is free at most.

    Examples
    --------
    >>> fitting_residency(3, accelerator_bytes=0, host_bytes=6)
    'host'
    """
    if n_bytes <= SHARE * accelerator_bytes:
        return "device"
    return "host" if n_bytes <= SHARE * host_bytes else "stream"


def _on_accelerator(volumes: np.ndarray) -> Any:
    """Return an array as a tensor; bytes as float16, since TensorFlow gathers no bytes on a GPU."""
    with tf.device("/CPU:0"):
        tensor = tf.experimental.dlpack.from_dlpack(volumes.__dlpack__())  # shares the memory
        tensor = tf.cast(tensor, tf.float16) if tensor.dtype == tf.uint8 else tensor
    with tf.device(accelerator() or "/CPU:0"):
        return tf.identity(tensor)
