"""Whether a scan reaches over a chest, judged by its header."""

import math
from pathlib import Path

from ctprep.errors import Coverage
from ctprep.volume.grid import VoxelGrid

MIN_SLICES = 8
"""Along the body. Even the sparsest protocol for lungs, one thin slice every 20 mm, gives a dozen."""

MIN_EXTENT_MM = 30.0
"""Along the body: less than the chest of any newborn. What is above may still be a slab of a chest, and gets a note."""

USUAL_EXTENT_MM = (150.0, 500.0)
"""Along the body, of scans of a chest: below it is a slab or a child, above it a chest with the abdomen or more."""

MIN_USUAL_WIDTH_MM = 250.0
"""Across the body: scans of heads are narrower, and of children."""

SHORT, LONG, NARROW = "short", "long", "narrow"
UNUSUAL = {
    SHORT: f"reach over less than {USUAL_EXTENT_MM[0]:g} mm from feet to head, as a slab or a part of a chest does",
    LONG: f"reach over more than {USUAL_EXTENT_MM[1]:g} mm from feet to head, as more than a chest does",
    NARROW: f"are less than {MIN_USUAL_WIDTH_MM:g} mm wide, as a head or a part of a chest is",
}
"""What is unusual for a chest, and how a note says it."""


def judge_coverage(grid: VoxelGrid, path: Path) -> None:
    """Raise `Coverage` where a volume is too short along the body to show a chest.

    Parameters
    ----------
    grid : VoxelGrid
        In the axes of the file.
    path : Path
        Names the scan in the message.
    """
    slices, extent_mm = slices_and_extent(grid)
    if slices < MIN_SLICES or extent_mm < MIN_EXTENT_MM:
        raise Coverage(
            f"{path.name}: reaches over {extent_mm:.3g} mm from feet to head in {slices} slice{'s' * (slices > 1)}, a "
            f"chest needs at least {MIN_EXTENT_MM:g} mm and {MIN_SLICES} slices; take the whole scan",
            acceptable=True,
        )


def slices_and_extent(grid: VoxelGrid) -> tuple[int, float]:
    """Return the number of voxels along the body, and how far they reach, in mm.

    Examples
    --------
    >>> import numpy as np
    >>> slices_and_extent(VoxelGrid((512, 512, 40), np.diag([-0.7, 0.7, 8.0, 1.0])))
    (40, 320.0)
    """
    return _sides(grid)[2]


def _sides(grid: VoxelGrid) -> list[tuple[int, float]]:
    """Return the voxels along x, y and z of the canonical grid, and how far they reach, in mm."""
    columns = grid.affine[:3, :3].T.tolist()
    worlds = [max(range(3), key=[abs(mm) for mm in column].__getitem__) for column in columns]
    if sorted(worlds) != [0, 1, 2]:  # two axes are closest to one of the world, which takes longer to settle
        canonical = grid.canonical()
        return [(side, side * mm) for side, mm in zip(canonical.shape, canonical.spacing_mm, strict=True)]
    sides = [(side, side * math.hypot(*column)) for side, column in zip(grid.shape, columns, strict=True)]
    return [sides[worlds.index(world)] for world in range(3)]


def unusual_coverage(grid: VoxelGrid) -> list[tuple[str, float]]:
    """Return what is `UNUSUAL` for a chest, with the size in mm that is.

    Examples
    --------
    >>> import numpy as np
    >>> unusual_coverage(VoxelGrid((512, 512, 16), np.diag([-0.7, 0.7, 2.5, 1.0])))
    [('short', 40.0)]
    """
    (_, across), (_, front_to_back), (_, extent) = _sides(grid)
    width = max(across, front_to_back)
    shortest, longest = USUAL_EXTENT_MM
    judged = (
        (SHORT, extent, extent < shortest),
        (LONG, extent, extent > longest),
        (NARROW, width, width < MIN_USUAL_WIDTH_MM),
    )
    return [(kind, mm) for kind, mm, is_unusual in judged if is_unusual]
