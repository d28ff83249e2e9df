"""The slow, obvious way to prepare a scan: nibabel, the whole volume at once, float64, dense weights.

It shares no code with the package, so that both being wrong in the same way takes two mistakes.
"""

from pathlib import Path

import nibabel
import numpy as np

from ctprep.volume.recipe import Recipe


def reference_volume(path: Path, recipe: Recipe) -> np.ndarray:
    """Return the (x, y, z) float64 volume in [0, 1] that a scan gives under a recipe, before it is rounded."""
    return reference_volume_of(nibabel.load(path), recipe)


def reference_volume_of(image: nibabel.spatialimages.SpatialImage, recipe: Recipe) -> np.ndarray:
    """Return the same from an image in memory."""
    canonical = nibabel.as_closest_canonical(image)
    lower, upper = recipe.window
    hu = canonical.get_fdata(dtype=np.float64)
    volume = np.clip(np.where(np.isfinite(hu), hu, lower), lower, upper) - lower
    for axis, n_target in enumerate(recipe.shape):
        n_source = volume.shape[axis]
        if recipe.spacing_mm is None:
            scale = n_source / n_target
        else:
            scale = recipe.spacing_mm[axis] / np.linalg.norm(canonical.affine[:3, axis])
        centre = (np.arange(n_target) - (n_target - 1) / 2) * scale + (n_source - 1) / 2
        weights = dense_weights(centre, n_source, max(scale, 1))
        volume = np.moveaxis(np.tensordot(weights, volume, (1, axis)), 0, axis)
    return volume / (upper - lower)


def dense_weights(centre: np.ndarray, n_source: int, reach: float) -> np.ndarray:
    """Return the triangle kernel around each target centre; the row of a centre outside the source is air."""
    weights = np.maximum(0, 1 - np.abs(np.arange(n_source) - centre[:, None]) / reach)
    weights[(centre < -0.5) | (centre > n_source - 0.5)] = 0
    total = weights.sum(axis=1, keepdims=True)
    return np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
