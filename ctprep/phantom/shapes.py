"""Solid shapes as distances in millimetres: negative inside, 0 on the surface, positive outside."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray
Box: TypeAlias = tuple[slice, slice, slice]
Point: TypeAlias = tuple[float, float, float]

EVERYWHERE: Box = (slice(None), slice(None), slice(None))


@dataclass(frozen=True)
class Field:
    """Where the voxels are in the patient: x to the patient's right, y to the front, z to the head, in mm.

    `x` and `y` are (nx, ny, 1), `z` is (1, 1, nz), so that what depends on two of them costs little. The origin lies
    in the middle of the chest at the level of the carina, where the windpipe divides.
    """

    x: Array
    y: Array
    z: Array
    voxel_mm: Point

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along x, y and z."""
        return (*self.x.shape[:2], self.z.shape[2])

    def within(self, box: Box) -> Field:
        """Return the part of the field in a box of voxels."""
        return Field(self.x[box[:2]], self.y[box[:2]], self.z[:, :, box[2]], self.voxel_mm)

    def box(self, low: Point, high: Point) -> Box:
        """Return the smallest box of voxels that holds all positions between two corners, and a voxel more."""
        step_x, step_y, step_z = self.voxel_mm
        inside = (self.x >= low[0] - step_x) & (self.x <= high[0] + step_x)
        inside &= (self.y >= low[1] - step_y) & (self.y <= high[1] + step_y)
        along_z = (self.z >= low[2] - step_z) & (self.z <= high[2] + step_z)
        return _span(inside, 0), _span(inside, 1), _span(along_z, 2)

    @cached_property
    def edge_mm(self) -> float:
        """Width over which a surface fades: one voxel in the axial plane."""
        return float(self.voxel_mm[0])


def _span(inside: Array, axis: int) -> slice:
    places = np.nonzero(inside)[axis]
    return slice(int(places.min()), int(places.max()) + 1) if len(places) else slice(0, 0)


@dataclass(frozen=True)
class Layer:
    """Something to paint over what lies below it.

    `distance` and `hu` fit the voxels of `box`. Lung keeps `carve_mm` away from the surface; None leaves lung alone.
    """

    box: Box
    distance: Array
    hu: float | Array
    carve_mm: float | None = None


def coverage(distance: Array, edge_mm: float) -> Array:
    """Return the share of each voxel that a shape fills, from 0 to 1.

    Examples
    --------
    >>> coverage(np.array([-9.0, 0.0, 9.0]), 3.0).tolist()
    [1.0, 0.5, 0.0]
    """
    return np.clip(0.5 - distance / edge_mm, 0.0, 1.0)


def compose(field: Field, layers: Iterable[Layer], *, background_hu: float | Array) -> tuple[Array, Array]:
    """Paint layers in their order.

    Returns
    -------
    hu : (x, y, z) float32 array
        The painted volume, in HU.
    room : (x, y, z) float32 array
        What the layers leave for the lung, 0 to 1.
    """
    hu = np.array(np.broadcast_to(background_hu, field.shape), np.float32)
    room = np.ones(field.shape, np.float32)
    for layer in layers:
        cover = coverage(layer.distance, field.edge_mm)
        hu[layer.box] += cover * (layer.hu - hu[layer.box])
        if layer.carve_mm is not None:
            room[layer.box] *= 1.0 - coverage(layer.distance - layer.carve_mm, field.edge_mm)
    return hu, room


def ellipsoid(field: Field, centre: Point, radii: Point, *, hu: float, carve_mm: float | None = None) -> Layer:
    """Return an ellipsoid along the body's axes; `radii` in mm."""
    margin = carve_mm or 0.0
    (x, y, z), (across, along, up) = centre, (radius + margin for radius in radii)
    box = field.box((x - across, y - along, z - up), (x + across, y + along, z + up))
    part = field.within(box)
    return Layer(box, ellipsoid_distance((part.x, part.y, part.z), centre, radii), hu, carve_mm)


def ellipsoid_distance(position: tuple[Array, Array, Array], centre: Point, radii: Point) -> Array:
    """Return the distance from an ellipsoid's surface, exact on the surface and in its sign."""
    offsets = [p - c for p, c in zip(position, centre)]
    rho_squared = sum((offset / radius) ** 2 for offset, radius in zip(offsets, radii))
    rho = np.sqrt(np.maximum(rho_squared, 1e-6))
    steepness = np.sqrt(sum((offset / radius**2) ** 2 for offset, radius in zip(offsets, radii)) + 1e-9)
    return (rho - 1.0) * rho / steepness


@dataclass(frozen=True)
class Tube:
    """A straight tube with round ends, between two points of the body, in mm."""

    start: Point
    end: Point
    radius: float
    end_radius: float | None = None


def tube(field: Field, shape: Tube, *, hu: float, carve_mm: float | None = None, swell_mm: float = 0.0) -> Layer:
    """Return a tube as a layer; `swell_mm` thickens it, as a wall does."""
    reach = max(shape.radius, shape.end_radius or 0.0) + swell_mm + (carve_mm or 0.0)
    (x0, x1), (y0, y1), (z0, z1) = (sorted(pair) for pair in zip(shape.start, shape.end))
    box = field.box((x0 - reach, y0 - reach, z0 - reach), (x1 + reach, y1 + reach, z1 + reach))
    part = field.within(box)
    return Layer(box, tube_distance((part.x, part.y, part.z), shape) - swell_mm, hu, carve_mm)


def tube_distance(position: tuple[Array, Array, Array], shape: Tube) -> Array:
    """Return the distance from a tube's surface."""
    axis = [end - start for start, end in zip(shape.start, shape.end)]
    offsets = [p - start for p, start in zip(position, shape.start)]
    length_squared = sum(a * a for a in axis) or 1.0
    along = np.clip(sum(o * a for o, a in zip(offsets, axis)) / length_squared, 0.0, 1.0)
    off_axis = np.sqrt(sum((o - along * a) ** 2 for o, a in zip(offsets, axis)))
    end_radius = shape.radius if shape.end_radius is None else shape.end_radius
    return off_axis - (shape.radius + along * (end_radius - shape.radius))
