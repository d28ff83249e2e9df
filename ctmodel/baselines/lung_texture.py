"""How uneven the lungs are once their smooth trend is taken away: opacities, at four scales.

The attenuation of a healthy lung varies smoothly with gravity and with the depth below the chest wall. Robust
regression takes that trend away; what is left is smoothed at each scale and described by its distribution.
"""

import numpy as np
from scipy import ndimage

from ctprep.volume.grid import Triple
from ctprep.volume.lungs import Lungs

SCALES_MM = (6.0, 10.0, 15.0, 24.0)
"""Standard deviations of the Gaussians."""
PERCENTS = (5.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.8)
OPACITY_HU = (40.0, 60.0)
"""Above the trend."""
RIM_PERCENT = 95.0
PERIPHERY_MM = 22.0
SOFT_TISSUE_HU = 0.0
"""Large vessels and solid lung are above, and left out: the trend cannot be seen in them."""
MIN_VOXELS = 100

N_OF_LUNGS, N_OF_A_SCALE = 7, len(PERCENTS) + 3 + len(OPACITY_HU)
N_FEATURES = N_OF_LUNGS + len(SCALES_MM) * N_OF_A_SCALE

FITS = 3
OUTLIER, OUTLIER_WEIGHT = 1.5, 0.3 * 0.3
"""Voxels so many median deviations above the trend count for so much in the next fit."""

_CROSS = ndimage.generate_binary_structure(3, 1)


def describe(hu: np.ndarray, lungs: Lungs, *, spacing_mm: Triple | tuple[float, ...]) -> np.ndarray:
    """Return what the lungs are like without their trend.

    Parameters
    ----------
    hu : (x, y, z) array
        Attenuation in HU.
    lungs : Lungs
        Of the same volume.
    spacing_mm : three floats
        Between voxel centres along each axis.

    Returns
    -------
    (55,) float64 array
        Median and standard deviation in HU, volume in ml, spread about the trend and its three slopes; then for each
        scale seven percentiles, standard deviation, skewness, periphery above centre, and the shares above
        `OPACITY_HU`. NaN where no lungs were found, or next to none.
    """
    nothing = np.full(N_FEATURES, np.nan)
    if lungs.failure:
        return nothing
    spacing = np.asarray(spacing_mm, dtype=float)
    (box,) = ndimage.find_objects(lungs.mask.view(np.uint8))
    box = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in box)
    mask, hu = lungs.mask[box], hu[box].astype(np.float32)
    inside = ndimage.binary_erosion(mask) & (hu < SOFT_TISSUE_HU)
    if np.count_nonzero(inside) < MIN_VOXELS:
        return nothing
    values = ndimage.median_filter(hu, footprint=_CROSS)[inside].astype(float)
    depth_mm = ndimage.distance_transform_edt(mask, sampling=spacing)[inside]
    residual, trend, spread = _without_trend(values, np.argwhere(inside) * spacing, depth_mm)
    volume_ml = len(values) * spacing.prod() / 1000
    numbers = [np.median(values), values.std(), volume_ml, spread, *trend[1:4]]
    is_near = depth_mm < PERIPHERY_MM
    for smooth in _smoothed(residual, inside, spacing):
        numbers += _described(smooth, is_near)
    return np.array(numbers)


def _without_trend(
    values: np.ndarray, place_mm: np.ndarray, depth_mm: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return what is left of (n,) values, the coefficients of the trend, and the median deviation from it.

    The trend is quadratic in place and bends at the chest wall. Voxels far above it count for less in the next fit.
    """
    x, y, z = ((place_mm - place_mm.mean(axis=0)) / 50).T
    depth = depth_mm / 10
    terms = [np.ones_like(x), x, y, z, x * x, y * y, z * z, x * y, y * z, np.minimum(depth, 3), np.exp(-depth)]
    design = np.stack(terms, axis=1)
    weights = np.ones(len(values))
    for _ in range(FITS):
        weighted = (design * weights[:, None]).T
        trend = np.linalg.lstsq(weighted @ design, weighted @ values, rcond=None)[0]
        residual = values - design @ trend
        spread = float(np.median(np.abs(residual))) + 1e-3
        weights = np.where(residual > OUTLIER * spread, OUTLIER_WEIGHT, 1.0)
    return residual, trend, spread


def _smoothed(residual: np.ndarray, inside: np.ndarray, spacing: np.ndarray) -> list[np.ndarray]:
    """Return the residual of the voxels inside at each scale, a mean over their neighbours inside."""
    field, weight = np.zeros(inside.shape, np.float32), inside.astype(np.float32)
    field[inside] = residual
    smoothed = []
    for scale_mm in SCALES_MM:
        sigma = scale_mm / spacing
        total, share = (
            ndimage.gaussian_filter(volume, sigma, truncate=3, mode="constant")[inside] for volume in (field, weight)
        )
        smoothed.append(total / np.maximum(share, 0.2))
    return smoothed


def _described(values: np.ndarray, is_near: np.ndarray) -> list[float]:
    deviation = float(values.std())
    centred = values - values.mean()
    skewness = float((centred**3).mean()) / deviation**3 if deviation > 0 else 0.0
    rim = 0.0
    if is_near.any() and not is_near.all():
        rim = float(np.percentile(values[is_near], RIM_PERCENT) - np.percentile(values[~is_near], RIM_PERCENT))
    shares = [float(np.mean(values > above)) for above in OPACITY_HU]
    return [*np.percentile(values, PERCENTS).tolist(), deviation, skewness, rim, *shares]
