"""Texture of the lungs as numbers: fixed arithmetic on whole volumes, without weights and without gradients.

It finds the lungs, takes the smooth trend of their attenuation away (gravity, the chest wall), and describes what is
left at several scales. Volumes are in [0, 1] over the window -1000 to 400 HU; (n, x, y, z) tensors throughout.
"""

import functools
from typing import Any

import numpy as np

from ctmodel.devices.backend import keras, tf

WINDOW = (-1000.0, 400.0)
"""The HU of 0 and 1, which the numbers below are of."""
# In voxels of a chest of 64 x 64 x 32, which are some 6 x 6 x 10 mm. In volumes cropped to the lungs voxels are
# smaller, and so is what is looked at.
THICKNESS = 1.67  # of a slice
AIR = 0.43  # -400 HU, below which voxels are air or lung
SOFT_TISSUE = 0.737  # 32 HU; the boundary of the lungs is half way from their own mean
BOUNDARY = (0.357, 0.5)  # -500 to -300 HU, within which it is
RIM = 0.643  # -100 HU, below which voxels beside other gas are partly gas
TISSUE = 0.71  # 0 HU, above which voxels are vessels, walls or consolidations
GAS = 0.4  # of the lungs' mean, below which air is in the bowel or the windpipe
WIDE = 5  # windpipe and bronchi are narrower
CONCAVE = 6  # how far air outside reaches into hollows of the body's outline
REACH = 12  # from the wide part of a lung to its tips
UNITS_PER_STEP = 50 / 1400  # of 50 HU: half the contrast of faint ground glass
SCALES = ((1.0, 0.6), (1.7, 1.0), (2.5, 1.5), (4.0, 2.4))  # standard deviations within and across slices
QUANTILES = (0.05, 0.5, 0.75, 0.9, 0.95, 0.99, 0.998)
EXCESSES = (0.5, 0.8, 1.2, 1.8)  # steps of 50 HU
STEEPNESS = 6.0  # of these thresholds, which are soft
MAX_EXCESS = 20.0  # steps of 50 HU
MAX_LUNG = 0.5  # of the voxels; beyond it the quantiles leave the rest out
STRIDE = 2  # of the voxels within slices, every so many are counted
REWEIGHTINGS = 3
LIGHT_WEIGHT = 0.09  # of voxels denser than the trend, which findings are
OUTLIER = 1.2  # mean distances from the trend
MAX_DEPTH, MAX_SLICES = 5, 3  # below the pleura: 30 mm
PERIPHERY = 3.7  # 22 mm
AXES = (1, 2, 3)
SPACE = [1, 2, 3]
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
    inside = eroded(lungs) * _where(volumes < TISSUE)
    depth = depth_of(lungs)
    excess, trend = excess_of(volumes, depth, inside)
    counted, core = _strided(inside), _strided(eroded(inside))
    rim = counted * _where(_strided(depth) < PERIPHERY)
    numbers = [trend]
    for scale in SCALES:
        smooth = blurred(excess, scale) / tf.maximum(blurred(inside, scale), 0.2)
        steep, smooth = _strided(steepness_of(smooth)), _strided(smooth)
        above = [tf.sigmoid(STEEPNESS * (smooth - least)) for least in EXCESSES]
        numbers += [distribution_of(smooth, counted), distribution_of(steep, core)]
        numbers += [tf.stack([_mean(share, counted) for share in above], 1)]
        numbers += [(_mean(above[1], rim) - _mean(above[1], counted))[:, None]]
    return tf.concat(numbers, 1)


def lungs_of(volumes: Any) -> Any:
    """Return the lungs as 0 and 1: air that the body encloses in its slice, out to the boundary of the lungs.

    Windpipe, bronchi outside the lungs and gas in the bowel are left out with their walls, in which voxels are as dense
    as opacities are.
    """
    air = _where(volumes < AIR)
    outside = air * (1 - _between_ends(1 - air, 1) * _between_ends(1 - air, 2))
    for _ in range(CONCAVE):
        outside = air * _grown_in_slice(outside)
    enclosed = air - outside
    core = _without_narrow(enclosed, volumes)
    gas_rim = dilated(enclosed - core) * (1 - core) * _where(volumes < RIM)
    boundary = tf.clip_by_value((_mean(volumes, core) + SOFT_TISSUE) / 2, *BOUNDARY)
    lighter = (1 - gas_rim) * _where(volumes < _over_space(boundary))
    lungs = core
    for _ in range(2):
        lungs = tf.maximum(lungs, dilated(lungs) * lighter)
    return (1 - gas_rim) * tf.maximum(lungs, eroded(dilated(lungs)))


def _without_narrow(enclosed: Any, volumes: Any) -> Any:
    """Return what of the enclosed air is as wide as a lung and denser than gas, and what hangs together with it.

    It is followed within slices and downwards, where the lungs taper off, but not upwards into the windpipe.
    """
    wide = 1 - _boxed(1 - enclosed, WIDE)
    found = wide * _where(blurred(volumes, (1.0, 0.01)) > _over_space(GAS * _mean(volumes, wide)))
    for step in range(REACH):
        grown = _boxed(found, 3) if step % 2 else _grown_in_slice(found)
        found = enclosed * tf.maximum(grown, _shifts(found, 3, 1)[2])
    return found


def _between_ends(mask: Any, axis: int) -> Any:
    """Return the voxels from the first to the last one of a mask along an axis."""
    place = _places(mask.shape)[axis - 1]
    first = tf.reduce_min(tf.where(mask > 0, place, np.inf), axis, keepdims=True)
    last = tf.reduce_max(tf.where(mask > 0, place, -np.inf), axis, keepdims=True)
    return _where((place >= first) & (place <= last))


def excess_of(volumes: Any, depth: Any, inside: Any) -> tuple[Any, Any]:
    """Return by how much the lungs exceed the smooth trend of their attenuation, in steps of 50 HU.

    The trend is quadratic in place and bends near the pleura, fitted by least squares that count dense voxels less each
    time.

    Returns
    -------
    (n, x, y, z) tensor
        0 outside `inside`.
    (n, 15) tensor
        The trend's coefficients, the mean distance from it, the logarithm of the volume, and the mean and the standard
        deviation of the attenuation.
    """
    values = medians(volumes) / UNITS_PER_STEP
    x, y, z = (
        (place - _over_space(_mean(place, inside))) * step / 8
        for place, step in zip(_places(volumes.shape), (1, 1, THICKNESS))
    )
    inner, shallow = depth / THICKNESS, tf.exp(-depth / THICKNESS)
    # Ordered by how many axes they spread over, so that their sum is of the whole volume late.
    terms = [tf.ones_like(x), x, x * x, y, y * y, x * y, z, z * z, y * z, inner, shallow]
    trend, distance = _fitted(terms, values, inside)
    smooth = sum(_over_space(factor) * term for factor, term in zip(tf.unstack(trend, axis=1), terms))
    mean = _mean(values, inside)
    spread = tf.sqrt(_mean((values - _over_space(mean)) ** 2, inside))
    summary = tf.stack([distance, tf.math.log(_sum(inside) + 1), mean, spread], 1)
    excess = tf.clip_by_value((values - smooth) * inside, -MAX_EXCESS, MAX_EXCESS)
    return excess, tf.concat([trend, summary], 1)


def _fitted(terms: list[Any], values: Any, inside: Any) -> tuple[Any, Any]:
    """Return the (n, terms) factors of robust least squares within a mask, and the (n,) mean distance."""
    none = tf.zeros_like(_strided(values))
    design = tf.stack([_flat(none + _strided(term)) for term in terms], -1)
    values, weights = _flat(_strided(values))[..., None], _flat(_strided(inside))[..., None]
    counted = weights / (tf.reduce_sum(weights, 1, keepdims=True) + 1)
    weights = counted
    for _ in range(REWEIGHTINGS):
        weighted = design * weights
        normal = tf.matmul(weighted, design, transpose_a=True) + 1e-4 * tf.eye(len(terms))
        factors = tf.linalg.solve(normal, tf.matmul(weighted, values, transpose_a=True))
        left = values - tf.matmul(design, factors)
        distance = tf.reduce_sum(tf.abs(left) * counted, 1, keepdims=True)
        weights = counted * tf.where(left > OUTLIER * distance, LIGHT_WEIGHT, 1.0)
    return factors[..., 0], distance[:, 0, 0]


def depth_of(lungs: Any) -> Any:
    """Return how far the nearest voxel that is not lung is, in voxels within a slice, `MAX_DEPTH` at most.

    Squared distances along the axes are added one after the other (Felzenszwalb and Huttenlocher 2012).
    """
    far = float(MAX_DEPTH**2)
    squared = lungs * far
    for axis, most, step in zip(AXES, (MAX_DEPTH, MAX_DEPTH, MAX_SLICES), (1.0, 1.0, THICKNESS)):
        shifted = _shifts(squared, axis, most, constant_values=far)
        away = (step * np.arange(-most, most + 1)) ** 2
        squared = functools.reduce(tf.minimum, (one + float(more) for one, more in zip(shifted, away)))
    return tf.sqrt(squared)


def distribution_of(field: Any, mask: Any) -> Any:
    """Return quantiles, standard deviation, skewness and kurtosis of a field within a mask, (n, quantiles + 3)."""
    ascending = _sorted_within(field, mask)
    last = tf.minimum(_sum(mask), ascending.shape[1]) - 1
    places = tf.maximum(tf.cast(tf.round(last[:, None] * np.array(QUANTILES, np.float32)), tf.int32), 0)
    mean = _mean(field, mask)
    deviation = (field - _over_space(mean)) * mask
    spread = tf.sqrt(_mean(deviation**2, mask)) + SMALL
    moments = [_mean(deviation**power, mask) / spread**power for power in (3, 4)]
    return tf.concat([tf.gather(ascending, places, batch_dims=1), tf.stack([spread, *moments], 1)], 1)


def _sorted_within(field: Any, mask: Any) -> Any:
    """Return the values within a mask in ascending order, (n, most); what is missing is 0 where there are none."""
    flat = _flat(tf.where(mask > 0, -field, -np.inf))
    ascending = -tf.math.top_k(flat, int(flat.shape[1] * MAX_LUNG)).values
    return tf.where(tf.math.is_finite(ascending), ascending, 0.0)


def steepness_of(field: Any) -> Any:
    """Return the length of a field's gradient, between the neighbours of each voxel; slices are twice as far apart."""
    steps = [tf.roll(field, -1, axis) - tf.roll(field, 1, axis) for axis in AXES]
    return tf.sqrt(steps[0] ** 2 + steps[1] ** 2 + (steps[2] / 2) ** 2 + 1e-6)


def blurred(field: Any, scale: tuple[float, float]) -> Any:
    """Return a field smoothed by Gaussians of a standard deviation in voxels within and across slices; 0 beyond it."""
    n_x, n_y, n_z = field.shape[1:]
    field = tf.reshape(tf.reshape(field, (-1, n_z)) @ _gaussian(n_z, scale[1]), (-1, n_x, n_y, n_z))
    field = tf.matmul(_gaussian(n_y, scale[0])[None, None], field)
    field = tf.matmul(_gaussian(n_x, scale[0])[None], tf.reshape(field, (-1, n_x, n_y * n_z)))
    return tf.reshape(field, (-1, n_x, n_y, n_z))


def _gaussian(n: int, width: float) -> np.ndarray:
    """Return the (n, n) matrix that smooths a line of n voxels."""
    distance = np.arange(n)[:, None] - np.arange(n)
    whole = np.exp(-0.5 * (np.arange(-4 * n, 4 * n + 1) / width) ** 2).sum()
    return (np.exp(-0.5 * (distance / width) ** 2) / whole).astype(np.float32)


def dilated(mask: Any) -> Any:
    """Return a mask grown by its neighbours along the axes."""
    below, _, above = _shifts(mask, 3, 1)
    return tf.maximum(_grown_in_slice(mask), tf.maximum(below, above))


def eroded(mask: Any) -> Any:
    """Return a mask without the voxels at its surface; beyond the volume it goes on."""
    return 1 - dilated(1 - mask)


def _grown_in_slice(mask: Any) -> Any:
    return tf.maximum(_pooled(mask, 3, 1), _pooled(mask, 1, 3))


def _boxed(mask: Any, width: int) -> Any:
    """Return a mask grown by a square of odd width within slices."""
    return _pooled(_pooled(mask, width, 1), 1, width)


def _pooled(mask: Any, width_x: int, width_y: int) -> Any:
    """Return the largest value around each voxel; slices are the channels of a picture, which is fast on CPUs."""
    return tf.nn.max_pool2d(mask, (width_x, width_y), 1, "SAME")


def medians(field: Any) -> Any:
    """Return the median of each voxel and its six neighbours."""
    cross = [field]
    for axis in AXES:
        before, _, after = _shifts(field, axis, 1, mode="SYMMETRIC")
        cross += [before, after]
    for first in range(4):  # what is left of four passes of a bubble sort
        for place in range(len(cross) - 1 - first):
            low, high = cross[place], cross[place + 1]
            cross[place], cross[place + 1] = tf.minimum(low, high), tf.maximum(low, high)
    return cross[3]


def _shifts(field: Any, axis: int, most: int, **padding: Any) -> list[Any]:
    """Return what lies so many voxels before each one along an axis, and so on to as many behind it."""
    padded = tf.pad(field, [[most * int(a == axis)] * 2 for a in range(4)], **padding)
    n, before = field.shape[axis], (slice(None),) * axis
    return [padded[(*before, slice(first, first + n))] for first in range(2 * most + 1)]


def _strided(field: Any) -> Any:
    return field[:, ::STRIDE, ::STRIDE]


def _flat(field: Any) -> Any:
    return tf.reshape(field, (-1, int(np.prod(field.shape[1:]))))


def _places(shape: tuple[int, ...]) -> list[np.ndarray]:
    """Return the index along each axis, in a shape that spreads over (n, x, y, z)."""
    return [np.arange(n, dtype=np.float32).reshape(np.roll((1, -1, 1, 1), axis)) for axis, n in enumerate(shape[1:])]


def _where(condition: Any) -> Any:
    return tf.cast(condition, tf.float32)


def _sum(field: Any) -> Any:
    return tf.reduce_sum(field, SPACE)


def _mean(field: Any, mask: Any) -> Any:
    return _sum(field * mask) / (_sum(mask) + SMALL)


def _over_space(value: Any) -> Any:
    return value[:, None, None, None]


N_NUMBERS = 11 + 4 + len(SCALES) * (2 * (len(QUANTILES) + 3) + len(EXCESSES) + 1)
"""How many numbers describe a volume."""
