"""Volumes that are mirrored, turned, scaled and shifted, each by an affine of its own.

Angles and sizes are meant in a box with equal sides, which is nearly what a scan of a whole chest is (350 x 350 x 300
mm), however many voxels it has along each axis.
"""

from typing import Any

import numpy as np

from ctmodel.devices.backend import tf


def source_from_target(
    shape: tuple[int, ...], *, mirrored: np.ndarray, degrees: np.ndarray, size: np.ndarray, step: np.ndarray
) -> np.ndarray:
    """Return where the voxels of a volume lie in the one that it was made of, about its middle.

    Parameters
    ----------
    shape : (x, y, z) ints
        Voxels of either.
    mirrored : (n,) bool array
        Whether x is mirrored, before all else.
    degrees : (n, 3) array
        Right-handed angles about x, then y, then z.
    size : (n,) array
        Factor of growth.
    step : (n, 3) array
        Displacement along each axis, in voxels, after all else.

    Returns
    -------
    (n, 3, 4) float64 array
        From voxel centres to voxel centres; exact where nothing is asked but mirrors and whole steps.
    """
    voxels = np.array(shape)
    turns = [_turn(np.deg2rad(degrees[:, axis]), axis=axis) for axis in range(3)]
    turned = turns[2] @ turns[1] @ turns[0]
    linear = np.swapaxes(turned, 1, 2) / size[:, None, None] * (voxels[:, None] / voxels)
    linear[:, 0] *= np.where(mirrored, -1, 1)[:, None]
    middle = (voxels - 1) / 2
    return np.concatenate([linear, middle[:, None] - linear @ (middle + step)[..., None]], axis=2)


def _turn(angles: np.ndarray, *, axis: int) -> np.ndarray:
    """Return (n, 3, 3) right-handed rotations about an axis, from angles in radians."""
    turns = np.tile(np.eye(3), (len(angles), 1, 1))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    turns[:, first, first] = turns[:, second, second] = np.cos(angles)
    turns[:, second, first] = np.sin(angles)
    turns[:, first, second] = -np.sin(angles)
    return turns


def resampled(volumes: Any, source_from_target: Any) -> Any:
    """Return what volumes hold where affines say, linear between voxels, in one pass.

    Parameters
    ----------
    volumes : (n, x, y, z) float32 tensor
    source_from_target : (n, 3, 4) float32 tensor

    Returns
    -------
    (n, x, y, z) float32 tensor
        0, which is air, outside the source.
    """
    shape = volumes.shape[1:]
    padded = tf.pad(volumes, [[0, 0], [1, 1], [1, 1], [1, 1]])  # air around, so that no neighbour is missing
    flat = tf.reshape(padded, (-1, np.prod(padded.shape[1:])))
    (x, dx), (y, dy), (z, dz) = (
        _cell(source, size) for source, size in zip(_sources(source_from_target, shape), shape, strict=True)
    )
    columns, voxels = shape[1] + 2, shape[2] + 2

    def along_z(x: Any, y: Any) -> Any:
        first = (x * columns + y) * voxels + z
        return _between(tf.gather(flat, first, batch_dims=1), tf.gather(flat, first + 1, batch_dims=1), dz)

    def along_y(x: Any) -> Any:
        return _between(along_z(x, y), along_z(x, y + 1), dy)

    return _between(along_y(x), along_y(x + 1), dx)


def taken(volumes: Any, source_from_target: Any) -> Any:
    """Return what the nearest voxels of volumes hold where affines say; parameters and result are those of `resampled`.

    Voxels keep their values, and so a scan its noise and its histogram.
    """
    shape = volumes.shape[1:]
    padded = tf.pad(volumes, [[0, 0], [1, 1], [1, 1], [1, 1]])
    x, y, z = (
        tf.cast(tf.round(tf.clip_by_value(source, -1.0, float(size))), tf.int32) + 1
        for source, size in zip(_sources(source_from_target, shape), shape, strict=True)
    )
    places = (x * (shape[1] + 2) + y) * (shape[2] + 2) + z
    return tf.gather(tf.reshape(padded, (-1, np.prod(padded.shape[1:]))), places, batch_dims=1)


def _sources(source_from_target: Any, shape: tuple[int, ...]) -> list[Any]:
    """Return for each axis the (n, x, y, z) source coordinates of all voxels."""
    x, y, z = (
        tf.reshape(tf.range(size, dtype=tf.float32), np.roll((-1, 1, 1), axis)) for axis, size in enumerate(shape)
    )
    rows = tf.reshape(source_from_target, (-1, 3, 4, 1, 1, 1))
    return [rows[:, a, 0] * x + (rows[:, a, 1] * y + (rows[:, a, 2] * z + rows[:, a, 3])) for a in range(3)]


def _cell(source: Any, size: int) -> tuple[Any, Any]:
    """Return the padded voxel at or before a coordinate, and how far behind it that is; all air is alike."""
    source = tf.clip_by_value(source, -1.0, float(size))
    before = tf.minimum(tf.floor(source), size - 1.0)
    return tf.cast(before, tf.int32) + 1, source - before


def _between(first: Any, second: Any, share: Any) -> Any:
    return first + (second - first) * share
