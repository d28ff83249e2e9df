"""A store as a tf.data.Dataset for `keras.Model.fit`, with the split, the batches and the augmentation of `train`."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ctmodel.data.augment import Augmentation, augmentation_of, mix
from ctmodel.data.batches import open_volumes
from ctmodel.data.division import divide
from ctmodel.data.order import cut_batches, epoch_batches
from ctmodel.data.pipeline import PREFETCHED, Draw, Step, changed, drawing, steps_of
from ctmodel.data.residency import settle
from ctmodel.devices.backend import tf
from ctmodel.errors import SettingsError
from ctmodel.settings import TrainSettings


def dataset(
    store: str | os.PathLike[str],
    subset: str = "train",
    *,
    residency: str = "auto",
    first_epoch: int = 0,
    **settings: Any,
) -> Any:
    """Return a subset of a store as batches of volumes and labels, for a Keras model of your own.

    The training subset is shuffled and augmented anew each time that the dataset is read to its end, exactly as in
    epoch 0, 1, … of `ctmodel.train` with the same settings. The other subsets come as they are, in the order of the
    store. Every volume is checked against its checksum.

    Parameters
    ----------
    store : path
        Made by `ctprep convert`.
    subset : {"train", "validation", "test"}
        No patient is in two of them.
    residency : {"auto", "stream", "host"}
        Where the training subset is kept, as for `Execution`, but never on a GPU: `keras.Model.fit` takes batches from
        the host.
    first_epoch : int
        The epoch that the first pass is, from 0: to go on with a training of so many epochs.
    **settings
        Fields of `TrainSettings`; those that decide the split, the batches and their augmentation are used, such as
        `batch_size`, `seed` and `augment`.

    Returns
    -------
    tf.data.Dataset of (volumes, labels)
        (n, x, y, z, 1) float32 in [0, 1], and (n, 1) float32 for two classes: 1 for the positive one, or
        (n, classes) for more; between 0 and 1 where `augment="strong"` mixes scans. What a reader raises, such as
        `BadVolume`, tf.data raises as an error of its own that quotes it.

    Raises
    ------
    SettingsError, SplitError
        If a setting is wrong, or the store cannot be divided.
    ctprep.errors.StoreError
        If there is no readable store.

    Examples
    --------
    >>> train = dataset("out.zarr", batch_size=4, augment="off")
    >>> for volumes, labels in train:
    ...     print(volumes.shape, labels.shape)
    (4, 16, 16, 8, 1) (4, 1)
    (3, 16, 16, 8, 1) (3, 1)
    (3, 16, 16, 8, 1) (3, 1)
    """
    known = TrainSettings(**settings)
    if residency == "device":
        raise SettingsError("residency: 'device', but keras.Model.fit takes batches from the host; choose host")
    opened, reader = open_volumes(store)
    rows = divide(opened, known).rows(subset)
    is_training = subset == "train"
    asked = augmentation_of(known.augment, flip=known.flip, nearest=known.interpolation == "nearest")
    augmentation = asked if is_training else Augmentation()
    volumes = settle(reader, rows, residency if is_training else "stream", on_accelerator=False)
    shares = tf.one_hot(opened.labels, len(opened.classes))
    epoch = first_epoch

    def begin() -> tuple[Sequence[np.ndarray], Draw]:
        how = {"seed": known.seed, "epoch": epoch}
        shuffled = epoch_batches(rows, batch_size=known.batch_size, **how) if is_training else None
        return shuffled or cut_batches(rows, known.batch_size), drawing(volumes, augmentation, **how)

    def end_epoch() -> np.int64:
        nonlocal epoch
        epoch += 1
        return np.int64(epoch)

    @tf.autograph.experimental.do_not_convert
    def delivered(index: Any, batch: Any) -> Any:
        """Count an epoch with its last batch, and not with the first: a pass may be left early, or begun to look."""
        tf.cond(
            index == n_batches - 1, lambda: tf.numpy_function(end_epoch, [], tf.int64), lambda: tf.zeros((), tf.int64)
        )
        return batch

    @tf.autograph.experimental.do_not_convert
    def prepare(step: Step) -> tuple[Any, Any]:
        labels = tf.gather(shares, step.rows)
        labels = mix(labels, step.mixing) if step.mixing else labels
        inputs = changed(step.items, step.draws, step.mixing, nearest=augmentation.nearest)
        return inputs, labels[:, 1:] if len(opened.classes) == 2 else labels

    n_batches = len(cut_batches(rows, known.batch_size))
    batches = steps_of(volumes, begin, []).map(prepare).prefetch(PREFETCHED)
    return batches.enumerate().map(delivered).apply(tf.data.experimental.assert_cardinality(n_batches))
