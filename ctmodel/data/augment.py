"""Random changes of training scans, that depend on nothing but (seed, epoch, row).

What happens to each scan is drawn in NumPy; it is applied to a whole batch at once by TensorFlow.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ctmodel.data.affine import resampled, source_from_target, taken
from ctmodel.data.order import row_keys
from ctmodel.devices.backend import tf


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How far a training scan may be changed.

    Attributes
    ----------
    flip : bool
        Mirror x in every other scan.
    rotation, tilt : float
        Largest angle about z, and about x and y, in degrees.
    scale : float
        Largest growth, as a share; scans shrink by as much.
    shift : float
        Largest displacement along each axis, as a share of it, in whole voxels.
    intensity : float
        Largest change of brightness and of contrast, as a share of the window.
    noise : float
        Largest standard deviation of noise, as a share of the window.
    cutout : float
        Longest side of a box that becomes air, as a share of each axis.
    mixup : float
        Largest share of another scan of the batch, up to 0.5; see `mix`.
    nearest : bool
        Take each voxel of a turned or scaled scan from the nearest one of the scan, and not from between several: that
        would blur it, as those that are predicted later are not.
    """

    flip: bool = False
    rotation: float = 0.0
    tilt: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    intensity: float = 0.0
    noise: float = 0.0
    cutout: float = 0.0
    mixup: float = 0.0
    nearest: bool = False

    @property
    def changes_nothing(self) -> bool:
        """Whether every scan stays as it is."""
        return self == Augmentation(nearest=self.nearest)


PRESETS = {
    "off": Augmentation(),
    # how patients lie and how scanners are set; HU stay what they are
    "light": Augmentation(rotation=5, tilt=2, scale=0.05, shift=0.06),
    "strong": Augmentation(
        rotation=15, tilt=5, scale=0.15, shift=0.1, intensity=0.1, noise=0.03, cutout=0.4, mixup=0.4
    ),
}


def augmentation_of(strength: str, *, flip: bool = False, nearest: bool = False) -> Augmentation:
    """Return the augmentation that a training setting names.

    Parameters
    ----------
    strength : {"off", "light", "strong"}
    flip : bool
        Mirror left and right as well.
    nearest : bool
        Take voxels as they are, instead of interpolating.

    Returns
    -------
    Augmentation

    Examples
    --------
    >>> augmentation_of("light").shift
    0.06
    """
    return replace(PRESETS[strength], flip=flip, nearest=nearest)


class Draws(NamedTuple):
    """What happens to each scan of a batch.

    Attributes
    ----------
    source_from_target : (n, 3, 4) float32 array
        Where in the scan a voxel of the result lies, in voxels: mirrored, turned, scaled and shifted.
    gain, offset : (n,) float32 array
        The intensity is multiplied by one, and the other added.
    noise : (n,) float32 array
        Standard deviation of what is added to each voxel.
    key : (n,) int32 array
        Decides the noise of each voxel.
    hole : (n, 3, 2) int32 array
        First voxel along each axis of a box that becomes air, and the first one behind it.
    """

    source_from_target: np.ndarray
    gain: np.ndarray
    offset: np.ndarray
    noise: np.ndarray
    key: np.ndarray
    hole: np.ndarray


class Mixing(NamedTuple):
    """How each scan of a batch is mixed with its neighbour.

    Attributes
    ----------
    share : (n,) float32 array
        How much of the scan itself is in what `mix` makes of it.
    toward : (n,) int32 array
        How many places further the scan stands that is mixed in: 1, -1, or 0 for the last of an odd batch.
    """

    share: np.ndarray
    toward: np.ndarray


NUMBERS = {"flip": 1, "angle": 3, "size": 1, "step": 3, "tone": 2, "noise": 2, "hole": 6, "share": 1}
"""How many random numbers each change takes of a row, in the order in which they are drawn."""


def draw(augmentation: Augmentation, rows: np.ndarray, *, shape: tuple[int, ...], seed: int, epoch: int) -> Draws:
    """Draw the changes of each scan of a batch, which depend on its own row alone.

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
    unit = _numbers(rows, seed=seed, epoch=epoch)
    signed = {name: 2 * values - 1 for name, values in unit.items()}
    source = source_from_target(
        shape,
        mirrored=augmentation.flip & (unit["flip"][:, 0] < 0.5),
        degrees=signed["angle"] * (augmentation.tilt, augmentation.tilt, augmentation.rotation),
        size=(1 + augmentation.scale) ** signed["size"][:, 0],
        step=np.rint(signed["step"] * augmentation.shift * shape),
    )
    return Draws(
        source_from_target=source.astype(np.float32),
        gain=(1 + augmentation.intensity * signed["tone"][:, 0]).astype(np.float32),
        offset=(augmentation.intensity * signed["tone"][:, 1]).astype(np.float32),
        noise=(augmentation.noise * unit["noise"][:, 0]).astype(np.float32),
        key=(unit["noise"][:, 1] * 2.0**31).astype(np.int32),
        hole=_hole(np.array(shape), sides=augmentation.cutout * unit["hole"][:, :3], place=unit["hole"][:, 3:]),
    )


def draw_mixing(augmentation: Augmentation, rows: np.ndarray, *, seed: int, epoch: int) -> Mixing:
    """Draw how the scans of a batch are mixed; parameters are those of `draw`.

    Returns
    -------
    Mixing
    """
    share = 1 - augmentation.mixup * _numbers(rows, seed=seed, epoch=epoch)["share"][:, 0]
    return Mixing(share.astype(np.float32), _to_the_neighbour(len(rows)))


def _numbers(rows: np.ndarray, *, seed: int, epoch: int) -> dict[str, np.ndarray]:
    """Return (n, count) numbers in [0, 1) for each change."""
    counts = list(NUMBERS.values())
    streams = np.arange(1, 1 + sum(counts))  # 0 is the order of the epoch
    keys = row_keys(np.repeat(rows, len(streams)), seed=seed, epoch=epoch, stream=np.tile(streams, len(rows)))
    unit = (keys.reshape(-1, len(streams)) >> np.uint64(11)) * 2.0**-53
    return dict(zip(NUMBERS, np.split(unit, np.cumsum(counts)[:-1], axis=1), strict=True))


def _hole(shape: np.ndarray, *, sides: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return (n, 3, 2) bounds of boxes that lie within the volume."""
    sides = np.rint(sides * shape)
    first = np.floor(place * (shape - sides + 1))
    return np.stack([first, first + sides], axis=2).astype(np.int32)


def _to_the_neighbour(n: int) -> np.ndarray:
    toward = np.where(np.arange(n) % 2, -1, 1)
    toward[n - n % 2 :] = 0
    return toward.astype(np.int32)


@tf.function(jit_compile=True, autograph=False)  # a seventh of the time (make bench-augment)
def apply(volumes: Any, draws: Draws, *, nearest: bool = False) -> Any:
    """Change each scan of a batch as drawn.

    Parameters
    ----------
    volumes : (n, x, y, z, 1) float32 tensor
        Intensities in [0, 1].
    draws : Draws
        As `draw` gave them, as arrays or tensors.
    nearest : bool
        As of the `Augmentation` that they were drawn for.

    Returns
    -------
    (n, x, y, z, 1) float32 tensor
        In [0, 1]; what comes in from outside is air, which is 0.
    """
    moved = (taken if nearest else resampled)(volumes[..., 0], draws.source_from_target)
    toned = moved * _per_scan(draws.gain) + _per_scan(draws.offset)
    seen = tf.clip_by_value(_with_noise(toned, draws), 0.0, 1.0)
    return tf.where(_is_in_hole(draws.hole, seen.shape[1:]), 0.0, seen)[..., None]


def _per_scan(values: Any) -> Any:
    return tf.reshape(values, (-1, 1, 1, 1))


def _with_noise(volumes: Any, draws: Draws) -> Any:
    """Add noise, where a scan of the batch asks for any."""
    return tf.cond(
        tf.reduce_any(draws.noise > 0),
        lambda: volumes + _per_scan(draws.noise) * _normal(draws.key, volumes.shape[1:]),
        lambda: volumes,
    )


def _normal(key: Any, shape: tuple[int, ...]) -> Any:
    """Return (n, x, y, z) normal numbers, a function of the scan's key and the voxel."""
    voxel = tf.reshape(tf.range(np.prod(shape), dtype=tf.int32), (1, *shape))
    bits = _scrambled(_scrambled(tf.bitcast(voxel, tf.uint32)) + tf.bitcast(_per_scan(key), tf.uint32))
    high, low = tf.bitwise.right_shift(bits, 16), tf.bitwise.bitwise_and(bits, 0xFFFF)
    radius = tf.sqrt(-2 * tf.math.log((tf.cast(high, tf.float32) + 1) / 2**16))  # Box and Muller 1958
    return radius * tf.cos(tf.cast(low, tf.float32) * (2 * np.pi / 2**16))


def _scrambled(bits: Any) -> Any:
    """Mix 32 bits (the finalizer "lowbias32", C. Wellons 2018)."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1)):
        bits = tf.bitwise.bitwise_xor(bits, tf.bitwise.right_shift(bits, shift)) * factor
    return bits


def _is_in_hole(hole: Any, shape: tuple[int, ...]) -> Any:
    """Return (n, x, y, z) flags."""
    inside = True
    for axis, size in enumerate(shape):
        places = tf.reshape(tf.range(size), np.roll((-1, 1, 1), axis))
        inside &= (places >= _per_scan(hole[:, axis, 0])) & (places < _per_scan(hole[:, axis, 1]))
    return inside


def mix(values: Any, mixing: Mixing) -> Any:
    """Add to each scan of a batch some of its neighbour in the batch (Zhang and others 2018).

    Neighbours are chance acquaintances, since the order of an epoch is a shuffle. They are two by two, so the result is
    the same whether a batch is mixed as a whole or after it was cut into parts of an even length. The labels are to be
    mixed alike.

    Parameters
    ----------
    values : (n, ...) float32 tensor
        Volumes, or labels as (n, classes) shares.
    mixing : Mixing
        Of the same scans.

    Returns
    -------
    (n, ...) float32 tensor

    Examples
    --------
    >>> mixing = draw_mixing(Augmentation(mixup=0.5), np.arange(2), seed=0, epoch=0)
    >>> mix(np.eye(2, dtype=np.float32), mixing).numpy().round(2)
    array([[0.63, 0.37],
           [0.19, 0.81]], dtype=float32)
    """
    values = tf.convert_to_tensor(values)
    others = tf.gather(values, tf.range(tf.shape(values)[0]) + mixing.toward)
    share = tf.reshape(mixing.share, (-1, *[1] * (len(values.shape) - 1)))
    return values * share + others * (1 - share)
