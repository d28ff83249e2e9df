"""Batches become what a network takes: float32 in [0, 1] with a channel axis, made in the background.

Volumes cross in the stored dtype and are scaled and changed on the accelerator. They come in blocks of several batches:
one crossing from Python to tf.data costs as much as reading several volumes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from ctmodel.data import augment
from ctmodel.data.augment import Augmentation
from ctmodel.data.batches import Batch, VolumeReader
from ctmodel.data.residency import OnDevice, OnHost, Volumes
from ctmodel.devices.backend import accelerator, tf
from ctmodel.devices.prefetch import mapped

UINT8_STEPS = 254  # 1.0 in a store of bytes
PREFETCHED = 2  # batches ready on the device's side
BLOCK_BYTES = 32 << 20  # of volumes in a block that is read
HELD_BLOCK_BYTES = 64 << 20  # in one that is copied from memory, which is quicker: the crossing weighs more
BLOCKS_AHEAD = 2  # under way beside the one in hand
BLOCK_BATCHES = 64  # in a block of small volumes

Draw = Callable[[np.ndarray], tuple[Any, Any]]


class Step(NamedTuple):
    """What crosses for one step.

    Attributes
    ----------
    rows : (n,) int64 tensor
    items : (n, x, y, z) or (n,) tensor
        Volumes in the stored dtype, or their places on the accelerator that holds them. What was made in the background
        is (n, x, y, z, 1), the inputs of a network.
    draws : Draws or ()
        How each scan is changed; empty where none is.
    mixing : Mixing or ()
        How they are then mixed, and their labels with them; empty where they are not.
    """

    rows: Any
    items: Any
    draws: Any
    mixing: Any


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


class Feed:
    """What a training is fed: volumes from where they are, changed as an augmentation says.

    To an accelerator as little as possible crosses for each step, and the rest is compiled into the step. Without one,
    inputs are made in the background, while the step before is under way.

    Parameters
    ----------
    volumes : VolumeReader, OnHost or OnDevice
        A store, or what `residency.settle` made of it.
    augmentation : Augmentation
        How far a scan may be changed. Scans of one batch are mixed.
    device : str, optional
        The accelerator.  [default: that of this machine, if it has one]

    Attributes
    ----------
    signature : Step
        The shapes and types of what crosses for one step.
    """

    def __init__(self, volumes: Volumes, augmentation: Augmentation, *, device: str | None = None) -> None:
        self._volumes, self._augmentation, self._device = volumes, augmentation, device or accelerator()
        self.signature = self._crossing([], [], seed=0, epoch=0).element_spec

    def epoch(self, batches: Sequence[np.ndarray], *, seed: int, epoch: int) -> Iterator[tuple[np.ndarray, Step]]:
        """Yield what crosses for each step of an epoch: the same scans and changes wherever the volumes are.

        Parameters
        ----------
        batches : sequence of (n,) int arrays
            The rows of each step, as `order.epoch_batches` gives them; of several machines, each asks for its shard.
        seed, epoch : int
            Decide the augmentation.

        Yields
        ------
        rows : (n,) int64 array
        step : Step

        Raises
        ------
        BadVolume, StoreChanged
            As the reader finds.
        """
        raised: list[Exception] = []
        crossing = self._crossing(batches, raised, seed=seed, epoch=epoch)
        to_device = tf.data.experimental.prefetch_to_device(self._device, PREFETCHED) if self._device else None
        crossing = crossing.apply(to_device) if to_device else crossing.prefetch(PREFETCHED)
        yield from zip(batches, _reraising(crossing, raised), strict=True)

    def inputs(self, step: Step) -> Any:
        """Return a network's (n, x, y, z, 1) float32 inputs from what crossed; to be compiled."""
        return self._made(step) if self._device else step.items

    def _crossing(self, batches: Sequence[np.ndarray], raised: list[Exception], *, seed: int, epoch: int) -> Any:
        draw = drawing(self._volumes, self._augmentation, seed=seed, epoch=epoch)
        steps = steps_of(self._volumes, lambda: (batches, draw), raised)
        return steps if self._device else steps.map(self._in_background)

    @tf.autograph.experimental.do_not_convert  # parsing the source would cost half of the time to the first batch
    def _in_background(self, step: Step) -> Step:
        return Step(step.rows, self._made(step), (), step.mixing)

    def _made(self, step: Step) -> Any:
        stored = self._volumes.gather(step.items) if isinstance(self._volumes, OnDevice) else step.items
        return changed(stored, step.draws, step.mixing, nearest=self._augmentation.nearest)


def training_epoch(
    volumes: Volumes, batches: Sequence[np.ndarray], *, seed: int, epoch: int, augmentation: Augmentation
) -> Iterator[tuple[np.ndarray, Any]]:
    """Yield the inputs of a network for each step of an epoch, as `Feed` makes them.

    Parameters are those of `Feed` and `Feed.epoch`.

    Yields
    ------
    rows : (n,) int64 array
    volumes : (n, x, y, z, 1) float32 tensor
        Mixed, where that is asked for, as `augment.draw_mixing` says of the same rows, seed and epoch.
    """
    feed = Feed(volumes, augmentation)
    for rows, step in feed.epoch(batches, seed=seed, epoch=epoch):
        yield rows, feed.inputs(step)


def training_dataset(
    volumes: Volumes, batches: Sequence[np.ndarray], *, seed: int, epoch: int, augmentation: Augmentation
) -> Any:
    """Return an epoch as the tf.data.Dataset of its steps, as they cross to an accelerator.

    Parameters are those of `Feed` and `Feed.epoch`.

    Returns
    -------
    tf.data.Dataset of Step
        What the reader raises, tf.data raises as an error of its own that quotes it.
    """
    draw = drawing(volumes, augmentation, seed=seed, epoch=epoch)
    return steps_of(volumes, lambda: (batches, draw), []).prefetch(PREFETCHED)


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
    raised: list[Exception] = []
    signature = (tf.TensorSpec((None,), tf.int64), tf.TensorSpec((None, *reader.shape), reader.dtype))
    dataset = _generated(lambda: ((batch.rows, batch.volumes) for batch in batches), raised, signature)
    dataset = dataset.map(_with_input).prefetch(PREFETCHED)
    for rows, volumes in _reraising(dataset, raised):
        yield rows.numpy(), volumes


@tf.autograph.experimental.do_not_convert
def _with_input(rows: Any, volumes: Any) -> tuple[Any, Any]:
    return rows, to_input(volumes)


def blocks_of(batches: Iterable[np.ndarray], *, row_bytes: int, block_bytes: int) -> Iterator[np.ndarray]:
    """Yield batches in blocks: those of one size that follow each other, as many as are worth one crossing.

    Parameters
    ----------
    batches : iterable of (n,) int arrays
    row_bytes, block_bytes : int
        What a row weighs in memory, and a block may weigh.

    Yields
    ------
    (k, n) int array

    Examples
    --------
    >>> batches = [np.array([3, 4]), np.array([5, 0]), np.array([1])]
    >>> [block.tolist() for block in blocks_of(batches, row_bytes=100, block_bytes=10_000)]
    [[[3, 4], [5, 0]], [[1]]]
    """
    for size, group in groupby(batches, len):
        alike = list(group)
        fitting = block_bytes // max(size * row_bytes, 1)
        most = min(max(fitting, 1), BLOCK_BATCHES)
        yield from (np.stack(alike[first : first + most]) for first in range(0, len(alike), most))


def drawing(volumes: Volumes, augmentation: Augmentation, *, seed: int, epoch: int) -> Draw:
    """Return what draws the changes of a batch of rows and its mixing; () in place of each that is not asked for."""

    def draw(rows: np.ndarray) -> tuple[Any, Any]:
        draws = augment.draw(augmentation, rows, shape=volumes.shape, seed=seed, epoch=epoch)
        mixing = augment.draw_mixing(augmentation, rows, seed=seed, epoch=epoch) if augmentation.mixup else ()
        return draws, mixing

    return (lambda _rows: ((), ())) if augmentation.changes_nothing else draw


def steps_of(volumes: Volumes, begin: Callable[[], tuple[Sequence[np.ndarray], Draw]], raised: list[Exception]) -> Any:
    """Return the dataset of what crosses.

    Parameters
    ----------
    volumes : VolumeReader, OnHost or OnDevice
    begin : callable
        Returns the rows of each step and what draws their changes; called whenever the dataset is begun.
    raised : list
        Takes what the reader raises, as it was.

    Returns
    -------
    tf.data.Dataset of Step
    """
    block_bytes = HELD_BLOCK_BYTES if isinstance(volumes, OnHost) else BLOCK_BYTES
    row_bytes = int(np.prod(volumes.shape)) * volumes.dtype.itemsize

    def generate() -> Iterator[Step]:
        batches, draw = begin()
        blocks = list(blocks_of(batches, row_bytes=row_bytes, block_bytes=block_bytes))
        for block, items in zip(blocks, _items(volumes, blocks), strict=True):
            yield Step(block, items, *tf.nest.map_structure(lambda *one: np.stack(one), *map(draw, block)))

    signature = _signature(volumes, begin()[1](np.zeros(1, np.int64)))
    return _generated(generate, raised, signature).flat_map(tf.data.Dataset.from_tensor_slices)  # slices, not copies


def _generated(source: Callable[[], Iterable], raised: list[Exception], signature: Any) -> Any:
    """Return the dataset of what a generator function yields; what that raises is added to a list, as it was."""
    options = tf.data.Options()
    # There is nothing to tune or to rewrite, and each epoch would wait for it, at its begin and longer at its end.
    options.autotune.enabled = options.experimental_optimization.apply_default_optimizations = False
    dataset = tf.data.Dataset.from_generator(_recording(source, raised), output_signature=signature)
    return dataset.with_options(options)


def _items(volumes: Volumes, blocks: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the items of blocks of (k, n) rows, with as many axes before their own."""
    if isinstance(volumes, OnDevice):
        yield from map(volumes.places, blocks)
    elif isinstance(volumes, OnHost):
        yield from mapped(volumes.taken, blocks, ahead=BLOCKS_AHEAD)
    else:
        read = volumes.read((block.ravel() for block in blocks), ahead=BLOCKS_AHEAD)
        for block, batch in zip(blocks, read, strict=True):
            yield batch.volumes.reshape(*block.shape, *volumes.shape)


def _signature(volumes: Volumes, draws: tuple[Any, Any]) -> Step:
    """Return the types of a block of (k, n) rows, given what is drawn for one batch."""
    item = ((), np.int64) if isinstance(volumes, OnDevice) else (volumes.shape, volumes.dtype)
    return Step(
        tf.TensorSpec((None, None), tf.int64),
        tf.TensorSpec((None, None, *item[0]), item[1]),
        *tf.nest.map_structure(lambda one: tf.TensorSpec((None, None, *one.shape[1:]), one.dtype), draws),
    )


def changed(volumes: Any, draws: Any, mixing: Any, *, nearest: bool) -> Any:
    inputs = to_input(volumes)
    changed = augment.apply(inputs, draws, nearest=nearest) if draws else inputs
    return augment.mix(changed, mixing) if mixing else changed


def _recording(source: Callable[[], Iterable], raised: list[Exception]) -> Callable[[], Iterator]:
    """Return a generator function that keeps what the source raises.

    tf.data turns every Python exception into one of its own, and its type and message into text.
    """

    def recording() -> Iterator:
        try:
            yield from source()
        except Exception as error:
            raised.append(error)
            raise

    return recording


def _reraising(elements: Iterable, raised: list[Exception]) -> Iterator:
    """Yield a dataset's elements; what its generator raised is raised as it was."""
    try:
        yield from elements
    except tf.errors.OpError:
        if raised:
            raise raised[0] from None
        raise
