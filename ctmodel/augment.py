"""Small random changes of training scans, that depend on nothing but (seed, epoch, row).

The random parameters are drawn in NumPy; their application to a batch is TensorFlow's.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ctmodel.backend import tf
from ctmodel.order import row_keys


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How far a training scan may be changed.

    Attributes
    ----------
    flip : bool
        Mirror x in every other scan.
    shift : float
        Largest displacement along each axis, as a share of it.
    intensity : float
        Largest change of brightness and of contrast, as a share of the window.
    """

    flip: bool = False
    shift: float = 0.0
    intensity: float = 0.0

    @property
    def changes_nothing(self) -> bool:
        """Whether every scan stays as it is."""
        return not (self.flip or self.shift or self.intensity)


class Draws(NamedTuple):
    """What happens to each scan of a batch.

    Attributes
    ----------
    flip : (n,) bool array
        Whether x is mirrored.
    shift : (n, 3) int32 array
        Displacement along x, y and z in voxels.
    gain, offset : (n,) float32 array
        The intensity is multiplied by one, and the other added.
    """

    flip: np.ndarray
    shift: np.ndarray
    gain: np.ndarray
    offset: np.ndarray


def draw(augmentation: Augmentation, rows: np.ndarray, *, shape: tuple[int, ...], seed: int, epoch: int) -> Draws:
    """Draw the changes of a batch.

    Parameters
    ----------
    augmentation : Augmentation
        How far they may go.
    rows : (n,) int array
        Rows of the store.
    shape : (x, y, z) ints
        Voxels of a volume.
    seed, epoch : int
        Which training, and which pass of it.

    Returns
    -------
    Draws
    """
    uniform = np.stack([_uniform(rows, seed=seed, epoch=epoch, stream=1 + i) for i in range(6)], axis=1)
    signed = 2 * uniform - 1
    return Draws(
        flip=augmentation.flip & (uniform[:, 0] < 0.5),
        shift=np.rint(signed[:, 1:4] * augmentation.shift * np.array(shape)).astype(np.int32),
        gain=(1 + augmentation.intensity * signed[:, 4]).astype(np.float32),
        offset=(augmentation.intensity * signed[:, 5]).astype(np.float32),
    )


def _uniform(rows: np.ndarray, *, seed: int, epoch: int, stream: int) -> np.ndarray:
    """Return a number in [0, 1) for each row."""
    return (row_keys(rows, seed=seed, epoch=epoch, stream=stream) >> np.uint64(11)) * 2.0**-53


def apply(volumes: Any, draws: Draws) -> Any:
    """Change a batch as drawn.

    Parameters
    ----------
    volumes : (n, x, y, z, 1) float32 tensor
        Intensities in [0, 1].
    draws : Draws
        As `draw` gave them, as arrays or tensors.

    Returns
    -------
    (n, x, y, z, 1) float32 tensor
        In [0, 1]; what a shift brings in from outside repeats the border.
    """
    volumes = tf.where(_per_scan(draws.flip), tf.reverse(volumes, axis=[1]), volumes)
    for axis in range(3):
        volumes = _shifted(volumes, draws.shift[:, axis], axis=1 + axis)
    return tf.clip_by_value(volumes * _per_scan(draws.gain) + _per_scan(draws.offset), 0.0, 1.0)


def _per_scan(values: Any) -> Any:
    return tf.reshape(values, (-1, 1, 1, 1, 1))


def _shifted(volumes: Any, by: Any, *, axis: int) -> Any:
    size = tf.shape(volumes)[axis]
    source = tf.clip_by_value(tf.range(size)[None, :] - by[:, None], 0, size - 1)
    order = [0, axis, *(other for other in range(1, 5) if other != axis)]
    moved = tf.gather(tf.transpose(volumes, order), source, batch_dims=1)
    return tf.transpose(moved, np.argsort(order))
