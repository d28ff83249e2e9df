"""Smooth random patterns that belong to the body, not to the voxels it is seen in."""

from __future__ import annotations

import numpy as np

from ctprep.phantom.shapes import Array, Field

EXTENT_MM = 560.0  # edge of the cube, around the origin, that a pattern covers; larger than any scanned body


def smooth_noise(rng: np.random.Generator, field: Field, *, length_mm: float) -> Array:
    """Return a smooth pattern with mean 0 and standard deviation near 1.

    The pattern is fixed to the body: another grid over the same field samples the same pattern. It is separable in
    its sampling, hence cheap, and ignores the small turn of the patient on the table.

    Parameters
    ----------
    rng : numpy.random.Generator
        Advanced by the same amount whatever the field.
    field : Field
        Where to sample.
    length_mm : float
        Distance over which the pattern changes.

    Returns
    -------
    (x, y, z) float32 array
    """
    knots = int(np.ceil(EXTENT_MM / length_mm))
    lattice = rng.standard_normal((knots, knots, knots), np.float32)
    axes = (field.x.mean(axis=(1, 2)), field.y.mean(axis=(0, 2)), field.z[0, 0])
    along_x, along_y, along_z = (_weights(axis, knots, length_mm) for axis in axes)
    rows = np.tensordot(along_x, lattice, axes=1)
    return np.asarray(along_y @ rows @ along_z.T)


def _weights(positions: Array, knots: int, length_mm: float) -> Array:
    """Return the (position, knot) weights of a Gaussian basis, each row with a sum of squares of 1."""
    at = (np.arange(knots, dtype=np.float32) - (knots - 1) / 2) * length_mm
    weights = np.exp(-(((positions[:, None] - at) / (0.85 * length_mm)) ** 2))
    norm = np.sqrt((weights**2).sum(axis=1, keepdims=True)) + 1e-6
    return np.asarray(weights / norm, dtype=np.float32)
