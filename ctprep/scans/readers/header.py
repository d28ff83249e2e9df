"""What a reader says of a scan before its voxels pass, and how far any header is trusted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ctprep.errors import BadGeometry, NotThreeD, Oversize, UnsupportedDtype
from ctprep.volume.grid import Triple, VoxelGrid

MAX_VOXEL_BYTES = 16 << 30
"""Bytes of voxels a header may declare: 1024 x 1024 x 4096 float32."""

MAX_SIDE = 8192
"""Voxels along one axis; a slice of 64-bit voxels is then 512 MiB at most."""

MAX_EXTENSION = 64 << 20
"""Bytes between the header and the voxels."""

SPACING_RANGE_MM = (0.01, 100.0)
"""Outside of it the header's unit is not mm, or its numbers are noise."""

MIN_CELL_VOLUME = 1e-3
"""Volume of the cell of unit voxel axes; 1 where they are perpendicular, 0 where they lie in one plane."""


@dataclass(frozen=True)
class ScanHeader:
    """What a header says that matters for reading the voxels, whatever the format.

    Parameters
    ----------
    grid : VoxelGrid
        Shape and affine in the axes of the file; the first axis runs fastest.
    dtype : numpy.dtype
        Of the stored values, with the file's byte order.
    slope, inter : float
        HU is `stored * slope + inter`.
    stated_orientation : str
        What the user stated, where the file does not say which way its axes run and that was taken.
    """

    grid: VoxelGrid
    dtype: np.dtype
    slope: float
    inter: float
    stated_orientation: str = field(default="", kw_only=True)

    @property
    def conflict(self) -> str:
        """How two statements of the header on its axes differ, where they do; the sform of a NIfTI is taken."""
        return ""

    def way_to_subtract(self, hu: float) -> str:
        """Say how a user of this format makes all HU of the file lower."""
        return f"{'subtract' if hu > 0 else 'add'} {abs(hu):g} {'from' if hu > 0 else 'to'} its values"

    @property
    def slice_bytes(self) -> int:
        """Bytes of one slice: one step along the file's third axis."""
        return self.grid.shape[0] * self.grid.shape[1] * self.dtype.itemsize

    @property
    def voxel_bytes(self) -> int:
        """Bytes of all voxels."""
        return self.slice_bytes * self.grid.shape[2]


def judge_dtype(dtype: np.dtype, path: Path) -> None:
    """Raise `UnsupportedDtype` where a voxel is not one real number of at most 64 bits."""
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        names = f" with fields {', '.join(dtype.names)}" if dtype.names else ""
        raise UnsupportedDtype(
            f"{path.name}: voxels are {dtype.name}{names}, a CT has one real number a voxel; leave it out"
        )


def judge_shape(shape: Sequence[int], dtype: np.dtype, path: Path) -> Triple:
    """Return the three sides of a volume, whose further axes have one voxel each.

    Raises
    ------
    BadGeometry, NotThreeD, Oversize
    """
    shape = tuple(shape)
    if any(side < 1 for side in shape):
        raise BadGeometry(f"{path.name}: has the shape {shape}, every side must be positive; repair its header")
    if len(shape) < 3 or any(side != 1 for side in shape[3:]):
        raise NotThreeD(f"{path.name}: has the shape {shape}, expected one volume of three axes; split it")
    if math.prod(shape) * dtype.itemsize > MAX_VOXEL_BYTES or max(shape) > MAX_SIDE:
        raise Oversize(
            f"{path.name}: declares {shape} voxels of {dtype.itemsize} bytes, the limits are {MAX_SIDE} a side "
            f"and {MAX_VOXEL_BYTES >> 30} GiB; repair its header or crop it"
        )
    return shape[0], shape[1], shape[2]


def judge_affine(affine: np.ndarray, path: Path) -> None:
    """Raise `BadGeometry` where an affine is not finite, not in mm, or singular."""
    if not np.isfinite(affine).all():
        raise BadGeometry(f"{path.name}: its affine is not finite; repair its header")
    with np.errstate(over="ignore"):
        spacing = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    if not ((spacing >= SPACING_RANGE_MM[0]) & (spacing <= SPACING_RANGE_MM[1])).all():
        shown = " x ".join(f"{mm:g}" for mm in spacing)
        raise BadGeometry(
            f"{path.name}: its voxels measure {shown} mm, expected {SPACING_RANGE_MM[0]:g} to "
            f"{SPACING_RANGE_MM[1]:g}; repair the affine or its unit"
        )
    volume = abs(np.linalg.det(affine[:3, :3] / spacing))
    if volume < MIN_CELL_VOLUME:
        raise BadGeometry(f"{path.name}: its affine is singular (its axes span {volume:.1g}); repair its header")
