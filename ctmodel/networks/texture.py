"""Texture of the lungs as numbers: fixed arithmetic on whole volumes, without weights and without gradients.

It finds the lungs, takes the smooth trend of their attenuation away (gravity, the chest wall), and describes what is
left at several scales. Volumes are in [0, 1] over the window -1000 to 400 HU; (n, x, y, z) tensors throughout.
"""

from typing import Any

import numpy as np

from ctmodel.devices.backend import keras, tf

WINDOW = (-1000.0, 400.0)
"""The HU of 0 and 1, which the numbers below are of."""
AIR = 0.39  # -450 HU, below which voxels are air or lung
TISSUE = 0.71  # 0 HU, above which voxels are vessels, walls or consolidations
STEPS_PER_UNIT = 1400 / 50  # of 50 HU: half the contrast of faint ground glass
CLOSING, OPENING = 3, 1  # voxels: vessels and opacities that the lungs are closed over, and gaps that are no lung
CONCAVE = 6  # voxels: how far air outside reaches into hollows of the body's outline
# Standard deviations in voxels within and across slices: those of a volume of 64 x 64 x 32 are half as thick as high.
# In volumes cropped to the lungs voxels are smaller, and so is what is looked at.
SCALES = ((0.55, 0.3), (1.1, 0.6), (1.8, 1.0), (2.9, 1.6))
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.998)
EXCESSES = (0.5, 0.8, 1.2, 1.8)  # steps of 50 HU
LARGEST = 20.0  # steps of 50 HU
MAX_LUNG = 0.5  # of the voxels; beyond it the quantiles leave the rest out
REWEIGHTINGS = 3
LIGHT_WEIGHT = 0.3  # of voxels denser than the trend, which findings are
DEEPEST, PERIPHERY = 6, 4  # voxels below the pleura: some 33 and 22 mm
AXES = (1, 2, 3)
SPACE = [1, 2, 3]
STEEPNESS = 4.0  # of the soft thresholds
SMALL = 1e-3


class LungTexture(keras.layers.Layer):
    """Describes each volume by the texture of its lungs; learns nothing, and computes in float32 at any precision."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(dtype="float32", trainable=False, **kwargs)

    def call(self, inputs: Any) -> Any:
        """Return (n, numbers) float32 from (n, x, y, z, 1) volumes."""
        return tf.stop_gradient(texture_of(inputs[..., 0]))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, int]:
        return (input_shape[0], N_NUMBERS)


def texture_of(volumes: Any) -> Any:
    """Return the numbers that describe the lungs of each volume.

    Parameters
    ----------
    volumes : (n, x, y, z) float32 tensor
        In [0, 1] over the window -1000 to 400 HU.

    Returns
    -------
    (n, N_NUMBERS) float32 tensor
        Finite, also where no lung is found.
    """
    lungs = lungs_of(volumes)
    inside = eroded(lungs, 1) * _where(volumes < TISSUE)
    depth = depth_of(lungs)
    core, rim = eroded(inside, 1), inside * _where(depth < PERIPHERY)
    excess, trend = excess_of(volumes, depth, inside)
    numbers = [trend, tf.math.log(_sum(inside) + 1)[:, None] / 3]
    for scale in SCALES:
        smooth = blurred(excess, scale) / tf.maximum(blurred(inside, scale), 0.2)
        above = [tf.sigmoid(STEEPNESS * (smooth - least)) for least in EXCESSES]
        numbers += [distribution_of(smooth, inside), distribution_of(steepness_of(smooth), core)]
        numbers += [tf.stack([_mean(share, inside) for share in above], 1)]
        numbers += [(_mean(above[1], rim) - _mean(above[1], inside))[:, None]]
    return tf.concat(numbers, 1)


def lungs_of(volumes: Any) -> Any:
    """Return the lungs as 0 and 1: air that the body encloses in its slice, closed over vessels and opacities."""
    air = _where(volumes < AIR)
    body = 1 - air
    enclosed = 1.0
    for axis in (1, 2):
        for reverse in (False, True):
            enclosed *= _where(tf.cumsum(body, axis, reverse=reverse) > 0)
    outside = air * (1 - enclosed)
    for _ in range(CONCAVE):
        outside = air * dilated(outside, 1, axes=(1, 2))
    inner = air * (1 - outside)
    inner *= dilated(eroded(inner, OPENING), OPENING)
    return eroded(dilated(inner, CLOSING), CLOSING)


def excess_of(volumes: Any, depth: Any, inside: Any) -> tuple[Any, Any]:
    """Return by how much the lungs exceed the smooth trend of their attenuation, in steps of 50 HU.

    The trend is quadratic in place and in closeness to the pleura, fitted by least squares that count dense voxels
    less each time.

    Returns
    -------
    (n, x, y, z) tensor
        0 outside `inside`.
    (n, terms + 1) tensor
        The trend's coefficients and the mean distance from it.
    """
    values = medians(volumes) * STEPS_PER_UNIT
    x, y, z = (_standardized(place, inside) for place in _places(volumes))
    shallow = tf.exp(-depth / 2)
    terms = tf.stack([tf.ones_like(x), x, y, z, x * x, y * y, z * z, x * y, y * z, depth, shallow], -1)
    weights = inside
    for _ in range(REWEIGHTINGS):
        weighted = terms * weights[..., None] ** 2 / (_sum(inside)[:, None, None, None, None] + 1)
        normal = tf.einsum("nxyzi,nxyzj->nij", weighted, terms) + 1e-4 * tf.eye(terms.shape[-1])
        trend = tf.linalg.solve(normal, tf.einsum("nxyzi,nxyz->ni", weighted, values)[..., None])[..., 0]
        excess = (values - tf.einsum("nxyzi,ni->nxyz", terms, trend)) * inside
        spread = _mean(tf.abs(excess), inside)
        weights = inside * tf.where(excess > _over_space(spread), LIGHT_WEIGHT, 1.0)
    return tf.clip_by_value(excess, -LARGEST, LARGEST), tf.concat([trend, spread[:, None]], 1)


def depth_of(lungs: Any) -> Any:
    """Return how many voxels lie between each voxel and the pleura in its slice, `DEEPEST` at most."""
    depth, left = lungs, lungs
    for _ in range(DEEPEST - 1):
        left = eroded(left, 1, axes=(1, 2))
        depth += left
    return depth


def distribution_of(field: Any, mask: Any) -> Any:
    """Return quantiles, standard deviation, skewness and kurtosis of a field within a mask, (n, quantiles + 3)."""
    count, n_voxels = _sum(mask), int(np.prod(field.shape[1:]))
    ascending = _sorted_within(field, mask, most=int(n_voxels * MAX_LUNG))
    last = tf.minimum(count, ascending.shape[1]) - 1
    places = tf.maximum(tf.cast(tf.round(last[:, None] * np.array(QUANTILES, np.float32)), tf.int32), 0)
    mean = _mean(field, mask)
    deviation = (field - _over_space(mean)) * mask
    spread = tf.sqrt(_mean(deviation**2, mask)) + SMALL
    moments = [_mean(deviation**power, mask) / spread**power for power in (3, 4)]
    return tf.concat([tf.gather(ascending, places, batch_dims=1), tf.stack([spread, *moments], 1)], 1)


def _sorted_within(field: Any, mask: Any, *, most: int) -> Any:
    """Return the values within a mask in ascending order, (n, most); what is missing is 0 where there are none."""
    flat = tf.reshape(tf.where(mask > 0, -field, -np.inf), (-1, int(np.prod(field.shape[1:]))))
    ascending = -tf.math.top_k(flat, most).values
    return tf.where(tf.math.is_finite(ascending), ascending, 0.0)


def steepness_of(field: Any) -> Any:
    """Return the length of a field's gradient, between the neighbours of each voxel; slices are twice as far apart."""
    steps = [tf.roll(field, -1, axis) - tf.roll(field, 1, axis) for axis in AXES]
    return tf.sqrt(steps[0] ** 2 + steps[1] ** 2 + (steps[2] / 2) ** 2 + 1e-6)


def blurred(field: Any, scale: tuple[float, float]) -> Any:
    """Return a field smoothed by Gaussians of a standard deviation in voxels within and across slices; 0 beyond it."""
    for axis, equation, width in zip(
        AXES, ("nxyz,xi->niyz", "nxyz,yi->nxiz", "nxyz,zi->nxyi"), (*scale[:1] * 2, scale[1])
    ):
        field = tf.einsum(equation, field, _gaussian(field.shape[axis], width))
    return field


def _gaussian(n: int, width: float) -> np.ndarray:
    """Return the (n, n) matrix that smooths a line of n voxels."""
    distance = np.arange(n)[:, None] - np.arange(n)
    whole = np.exp(-0.5 * (np.arange(-4 * n, 4 * n + 1) / width) ** 2).sum()
    return (np.exp(-0.5 * (distance / width) ** 2) / whole).astype(np.float32)


def dilated(mask: Any, times: int, *, axes: tuple[int, ...] = AXES) -> Any:
    """Return a mask grown by its neighbours along the axes, some times."""
    for _ in range(times):
        mask = tf.reduce_max(tf.stack([mask, *(moved for axis in axes for moved in _neighbours(mask, axis))]), 0)
    return mask


def eroded(mask: Any, times: int, *, axes: tuple[int, ...] = AXES) -> Any:
    """Return a mask without the voxels at its surface, some times; beyond the volume it goes on."""
    return 1 - dilated(1 - mask, times, axes=axes)


def medians(field: Any) -> Any:
    """Return the median of each voxel and its six neighbours."""
    cross = [field, *(moved for axis in AXES for moved in _neighbours(field, axis, mode="SYMMETRIC"))]
    for first in range(4):  # what is left of four passes of a bubble sort
        for place in range(len(cross) - 1 - first):
            low, high = cross[place], cross[place + 1]
            cross[place], cross[place + 1] = tf.minimum(low, high), tf.maximum(low, high)
    return cross[3]


def _neighbours(field: Any, axis: int, *, mode: str = "CONSTANT") -> tuple[Any, Any]:
    """Return the voxels before and after each one along an axis."""
    padded = tf.pad(field, [[int(a == axis)] * 2 for a in range(4)], mode)
    n = field.shape[axis]
    return tf.gather(padded, range(n), axis=axis), tf.gather(padded, range(2, n + 2), axis=axis)


def _places(volumes: Any) -> list[Any]:
    """Return the index along each axis of every voxel, in the shape of the volumes."""
    grids = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in volumes.shape[1:]), indexing="ij")
    return [tf.zeros_like(volumes) + grid for grid in grids]


def _standardized(field: Any, mask: Any) -> Any:
    centred = field - _over_space(_mean(field, mask))
    return centred / _over_space(tf.sqrt(_mean(centred**2, mask)) + SMALL)


def _where(condition: Any) -> Any:
    return tf.cast(condition, tf.float32)


def _sum(field: Any) -> Any:
    return tf.reduce_sum(field, SPACE)


def _mean(field: Any, mask: Any) -> Any:
    return _sum(field * mask) / (_sum(mask) + SMALL)


def _over_space(value: Any) -> Any:
    return value[:, None, None, None]


N_NUMBERS = 11 + 1 + 1 + len(SCALES) * (2 * (len(QUANTILES) + 3) + len(EXCESSES) + 1)
"""How many numbers describe a volume."""
