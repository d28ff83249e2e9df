"""Batches become what a network takes: float32 in [0, 1] with a channel axis, made in the background."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from ctmodel import augment
from ctmodel.augment import Augmentation, Draws
from ctmodel.backend import tf
from ctmodel.batches import Batch, VolumeReader
from ctmodel.order import cut_batches, epoch_order

UINT8_STEPS = 254  # 1.0 in a store of bytes
PREFETCHED = 2  # batches ready on the device's side


def to_input(volumes: Any) -> Any:
    """Map stored volumes to a network's input.

    Parameters
    ----------
    volumes : (n, x, y, z) array or tensor
        float16 or float32 in [0, 1], or uint8 in 0..254.

    Returns
    -------
    (n, x, y, z, 1) float32 tensor
        In [0, 1].
    """
    volumes = tf.convert_to_tensor(volumes)
    unit = tf.cast(volumes, tf.float32)[..., None]
    return unit / UINT8_STEPS if volumes.dtype == tf.uint8 else unit


def training_epoch(
    reader: VolumeReader,
    rows: np.ndarray,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    augmentation: Augmentation,
) -> Iterator[tuple[np.ndarray, Any]]:
    """Yield an epoch of training, shuffled and augmented.

    Parameters
    ----------
    reader : VolumeReader
        The store.
    rows : (n,) int array
        The rows to train on.
    batch_size : int
        The largest batch.
    seed, epoch : int
        Decide order and augmentation.
    augmentation : Augmentation
        How far a scan may be changed.

    Yields
    ------
    rows : (m,) int64 array
    volumes : (m, x, y, z, 1) float32 tensor

    Raises
    ------
    BadVolume, StoreChanged
        As the reader finds.
    """
    order = rows[epoch_order(len(rows), seed=seed, epoch=epoch)]
    batches = reader.read(cut_batches(order, batch_size))
    if augmentation.changes_nothing:
        return plain_batches(reader, batches)

    def with_draws() -> Iterator[tuple]:
        for batch in batches:
            draws = augment.draw(augmentation, batch.rows, shape=reader.shape, seed=seed, epoch=epoch)
            yield batch.rows, batch.volumes, *draws

    signature = (*_signature(reader), *_draws_signature())
    return _in_background(
        with_draws,
        signature,
        lambda rows, volumes, *draws: (rows, augment.apply(to_input(volumes), Draws(*draws))),
    )


def plain_batches(reader: VolumeReader, batches: Iterable[Batch]) -> Iterator[tuple[np.ndarray, Any]]:
    """Yield batches as they are stored, ready for a network.

    Parameters
    ----------
    reader : VolumeReader
        Where they come from.
    batches : iterable of Batch

    Yields
    ------
    rows : (m,) int64 array
    volumes : (m, x, y, z, 1) float32 tensor
    """

    def as_tuples() -> Iterator[tuple]:
        for batch in batches:
            yield batch.rows, batch.volumes

    return _in_background(as_tuples, _signature(reader), lambda rows, volumes: (rows, to_input(volumes)))


def _signature(reader: VolumeReader) -> tuple:
    return tf.TensorSpec((None,), tf.int64), tf.TensorSpec((None, *reader.shape), reader.dtype)


def _draws_signature() -> Draws:
    """Return what `augment.draw` gives, whatever its fields are."""
    of_none = augment.draw(Augmentation(), np.arange(0), shape=(1, 1, 1), seed=0, epoch=0)
    return Draws(*(tf.TensorSpec((None, *field.shape[1:]), field.dtype) for field in of_none))


def _in_background(source: Callable[[], Iterator[tuple]], signature: tuple, transform: Callable) -> Iterator:
    """Run a generator and a TensorFlow function in the background, and re-raise what the generator raises.

    tf.data turns every Python exception into one of its own, and its type and message into text.
    """
    raised: list[Exception] = []

    def recording() -> Iterator[tuple]:
        try:
            yield from source()
        except Exception as error:
            raised.append(error)
            raise

    dataset = tf.data.Dataset.from_generator(recording, output_signature=signature)
    dataset = dataset.map(transform).prefetch(PREFETCHED)
    try:
        for rows, volumes in dataset:
            yield rows.numpy(), volumes
    except tf.errors.OpError:
        if raised:
            raise raised[0] from None
        raise
