"""The branching vessels of the lungs, as clouds of small volumes that any grid can collect."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from ctprep.phantom.chest import lung_points
from ctprep.phantom.patient import Patient
from ctprep.phantom.shapes import Array, Point
from ctprep.phantom.streams import Stream, generator

LEAVES = (512, 256)  # twigs of the arteries and of the veins in each lung; powers of two
TWIG_RADIUS_MM = 0.95
MURRAY = 1 / 3  # exponent: the cube of a vessel's radius is the sum of the cubes of its branches' (Murray, 1926)
ADVANCE = 0.42  # share of the way from a fork to the middle of what it feeds
GRAIN_MM3 = 5.0  # volume of one point of the cloud; a voxel of the default grid holds about fourteen
HILA: tuple[tuple[Point, Point], ...] = (
    ((42.0, -6.0, -16.0), (30.0, -14.0, -34.0)),  # right artery, right veins
    ((-46.0, -14.0, -4.0), (-34.0, -18.0, -38.0)),
)


class Cloud(NamedTuple):
    """Points in the body, (n, 3) in mm, each standing for a volume, (n,) in mm3."""

    points: Array
    volume_mm3: Array


class Segments(NamedTuple):
    """Straight pieces of vessel: ends (n, 3) in mm, radius (n,) in mm."""

    start: Array
    end: Array
    radius: Array


def lung_vessels(seed: int, patient: Patient) -> Cloud:
    """Return the vessels of a patient's lungs; they are the same whatever grid they are seen in."""
    rng = generator(seed, Stream.VESSELS, patient.index)
    trees = []
    for side, roots in zip((1.0, -1.0), HILA):
        for root, leaves in zip(roots, LEAVES):
            trees.append(grow_tree(np.array(root), lung_points(rng, patient, side=side)[:leaves]))
    return _cloud(rng, Segments(*(np.concatenate(parts) for parts in zip(*trees))))


def grow_tree(root: Array, targets: Array) -> Segments:
    """Grow a tree that reaches every target, halving what it feeds at each fork.

    Parameters
    ----------
    root : (3,) array
        Where the tree enters, in mm.
    targets : (n, 3) array
        Where its twigs end, in mm; n is a power of two.

    Examples
    --------
    >>> tree = grow_tree(np.zeros(3), np.array([[9.0, 1.0, 0.0], [9.0, -1.0, 0.0]]))
    >>> len(tree.radius), bool(tree.radius[0] > tree.radius[1])
    (3, True)
    """
    groups, forks = targets[None], root[None]
    levels = []
    while True:
        fed = groups.shape[1]
        middle = groups.mean(axis=1)
        ends = middle if fed == 1 else forks + ADVANCE * (middle - forks)
        levels.append(Segments(forks, ends, np.full(len(ends), TWIG_RADIUS_MM * fed**MURRAY)))
        if fed == 1:
            return Segments(*(np.concatenate(parts) for parts in zip(*levels)))
        groups, forks = _halve(groups), np.repeat(ends, 2, axis=0)


def _halve(groups: Array) -> Array:
    """Split each of (g, n, 3) groups across its longest side into two, (2g, n/2, 3)."""
    longest = np.ptp(groups, axis=1).argmax(axis=1)
    key = np.take_along_axis(groups, longest[:, None, None], axis=2)[:, :, 0]
    ordered = np.take_along_axis(groups, key.argsort(axis=1, kind="stable")[:, :, None], axis=1)
    return np.asarray(ordered.reshape(-1, groups.shape[1] // 2, 3))


def _cloud(rng: np.random.Generator, pieces: Segments) -> Cloud:
    """Fill vessels with points, evenly along them and over their cross-section."""
    axis = pieces.end - pieces.start
    length = np.linalg.norm(axis, axis=1)
    volume = np.pi * pieces.radius**2 * length
    count = np.ceil(np.maximum(volume / GRAIN_MM3, length / 1.5)).astype(int)
    which = np.repeat(np.arange(len(count)), count)
    along = rng.random((len(which), 1))
    points = pieces.start[which] + along * axis[which] + _in_ball(rng, len(which)) * pieces.radius[which, None]
    return Cloud(points, (volume / np.maximum(count, 1))[which])


def _in_ball(rng: np.random.Generator, count: int) -> Array:
    direction = rng.standard_normal((count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True) + 1e-9
    return np.asarray(direction * rng.random((count, 1)) ** 0.5)


def collect(cloud: Cloud, voxel_from_body: Array, shape: tuple[int, int, int], *, voxel_mm3: float) -> Array:
    """Return the share of each voxel that a cloud fills.

    Each point is shared among the eight voxels around it, so that volume is kept; points outside the outermost centres
    are dropped.

    Parameters
    ----------
    cloud : Cloud
        What to collect.
    voxel_from_body : (4, 4) array
        From mm in the body to voxel indices.
    shape : (int, int, int)
        Of the grid.
    voxel_mm3 : float
        Volume of one voxel, in mm3 of the body.

    Returns
    -------
    (x, y, z) float32 array
        From 0 to 1.
    """
    at = cloud.points @ voxel_from_body[:3, :3].T + voxel_from_body[:3, 3]
    low = np.floor(at)
    upper = at - low
    low = low.astype(np.int64)
    inside = ((low >= 0) & (low < np.array(shape) - 1)).all(axis=1)
    low, upper, volume = low[inside], upper[inside], cloud.volume_mm3[inside]
    places, parts = [], []
    for corner in np.ndindex(2, 2, 2):
        places.append(np.ravel_multi_index(tuple((low + corner).T), shape))
        parts.append(np.where(corner, upper, 1.0 - upper).prod(axis=1) * volume)
    filled = np.bincount(np.concatenate(places), np.concatenate(parts), minlength=prod(shape))
    return np.minimum(filled / voxel_mm3, 1.0).astype(np.float32).reshape(shape)
