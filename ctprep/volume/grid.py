"""Where the voxels of a volume lie in the world.

An affine maps voxel centres to RAS+ world coordinates in mm: x towards the patient's Right, y Anterior, z Superior.
A matrix is named result_from_input, so that products read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Triple = tuple[int, int, int]

AXIS_LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))
"""Names of the directions in which world x, y and z decrease and increase."""


@dataclass(frozen=True)
class AxisOrder:
    """Which file axis, in which direction, is each canonical axis.

    Parameters
    ----------
    source : tuple of int
        `source[a]` is the file axis closest to world axis `a`.
    flipped : tuple of bool
        `flipped[a]` where that file axis runs against world axis `a`.
    """

    source: Triple
    flipped: tuple[bool, bool, bool]

    def transpose(self, array: np.ndarray) -> np.ndarray:
        """Return a view of an array in file axes with its axes in canonical order; directions stay."""
        return array.transpose(self.source)

    def apply(self, array: np.ndarray) -> np.ndarray:
        """Return a view of an array in file axes in canonical order and directions."""
        return self.transpose(array)[tuple(slice(None, None, -1 if flip else 1) for flip in self.flipped)]


@dataclass(frozen=True)
class Sampling:
    """Where target voxels lie in a source: centre `i` of an axis is at source coordinate `scale * i + offset`."""

    shape: Triple
    scale: tuple[float, float, float]
    offset: tuple[float, float, float]

    @property
    def source_from_target(self) -> np.ndarray:
        """The same as a (4, 4) matrix on homogeneous voxel coordinates."""
        matrix = np.diag([*self.scale, 1.0])
        matrix[:3, 3] = self.offset
        return matrix


@dataclass(frozen=True, eq=False)
class VoxelGrid:
    """A shape and an affine: all there is to know about the place of a volume.

    Parameters
    ----------
    shape : tuple of int
        Voxels along each axis.
    affine : (4, 4) array
        Voxel centre -> world RAS+ in mm.

    Examples
    --------
    >>> grid = VoxelGrid((512, 512, 40), np.diag([-0.7, 0.7, 8.0, 1.0]))
    >>> grid.orientation, grid.spacing_mm
    ('LAS', (0.7, 0.7, 8.0))
    >>> grid.canonical().orientation
    'RAS'
    """

    shape: Triple
    affine: np.ndarray

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        affine.flags.writeable = False
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", tuple(map(int, self.shape)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VoxelGrid) and self.shape == other.shape and np.array_equal(self.affine, other.affine)

    def __hash__(self) -> int:
        return hash((self.shape, (self.affine + 0.0).tobytes()))  # -0.0 is 0.0

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres along each axis, in mm."""
        x, y, z = np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0)).tolist()
        return x, y, z

    @property
    def axis_order(self) -> AxisOrder:
        """The permutation and flips that bring the axes closest to RAS+."""
        return closest_axes(self.affine)

    @property
    def orientation(self) -> str:
        """Three letters, such as LPS: the directions in which the axes run."""
        order = self.axis_order
        letters = {
            axis: AXIS_LETTERS[world][not flip]
            for world, (axis, flip) in enumerate(zip(order.source, order.flipped, strict=True))
        }
        return "".join(letters[axis] for axis in range(3))

    def canonical(self) -> "VoxelGrid":
        """Return the same voxels with axes permuted and flipped to the closest RAS+."""
        order = self.axis_order
        file_from_canonical = np.zeros((4, 4))
        file_from_canonical[3, 3] = 1
        for world, (axis, flip) in enumerate(zip(order.source, order.flipped, strict=True)):
            file_from_canonical[axis, world] = -1 if flip else 1
            file_from_canonical[axis, 3] = self.shape[axis] - 1 if flip else 0
        return VoxelGrid(self._permuted_shape(order), self.affine @ file_from_canonical)

    def _permuted_shape(self, order: AxisOrder) -> Triple:
        x, y, z = (self.shape[axis] for axis in order.source)
        return x, y, z

    def sampled(self, sampling: Sampling) -> "VoxelGrid":
        """Return the grid of the target voxels of a sampling of this grid."""
        return VoxelGrid(sampling.shape, self.affine @ sampling.source_from_target)

    def resized(self, shape: Triple) -> "VoxelGrid":
        """Return a grid of another shape over the same field of view.

        Examples
        --------
        >>> grid = VoxelGrid((4, 4, 4), np.eye(4)).resized((2, 2, 2))
        >>> grid.affine[:3, 3].tolist()  # voxel edges stay, so centres move by half a voxel
        [0.5, 0.5, 0.5]
        """
        return self.sampled(stretch(self.shape, shape))

    def cropped(self, shape: Triple, *, spacing_mm: Sequence[float]) -> "VoxelGrid":
        """Return a grid of fixed spacing around the same centre, cropping or padding the field of view."""
        return self.sampled(crop_or_pad(self, shape, spacing_mm=spacing_mm))


def affine_of_orientation(letters: str, spacing_mm: Sequence[float], shape: Triple) -> np.ndarray:
    """Return the affine of a volume whose axes run as three letters say, with its centre at the origin.

    Examples
    --------
    >>> affine_of_orientation("LPS", (0.5, 0.5, 2.0), (3, 3, 5)).tolist()[0]
    [-0.5, 0.0, 0.0, 0.5]
    """
    directions = np.zeros((3, 3))
    for axis, letter in enumerate(letters):
        world = next(world for world, names in enumerate(AXIS_LETTERS) if letter in names)
        directions[world, axis] = 1 if letter == AXIS_LETTERS[world][1] else -1
    affine = np.eye(4)
    affine[:3, :3] = directions * spacing_mm
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def is_orientation(letters: str) -> bool:
    """Tell whether three letters name a direction for each axis of the world.

    Examples
    --------
    >>> is_orientation("LPS"), is_orientation("LRS"), is_orientation("lps")
    (True, False, False)
    """
    return len(letters) == 3 and all(sum(letter in names for letter in letters) == 1 for names in AXIS_LETTERS)


def stretch(source_shape: Triple, shape: Triple) -> Sampling:
    """Sample the whole field of view: target centre i is at (i + 0.5) * n_source / n_target - 0.5.

    Examples
    --------
    >>> stretch((512, 512, 32), (64, 64, 32)).offset
    (3.5, 3.5, 0.0)
    """
    x, y, z = (source / target for source, target in zip(source_shape, shape, strict=True))
    return Sampling(shape, (x, y, z), (0.5 * x - 0.5, 0.5 * y - 0.5, 0.5 * z - 0.5))


def crop_or_pad(grid: VoxelGrid, shape: Triple, *, spacing_mm: Sequence[float]) -> Sampling:
    """Sample with voxels of `spacing_mm`, the centre of the target on the centre of the source.

    Examples
    --------
    >>> crop_or_pad(VoxelGrid((10, 10, 10), np.eye(4)), (4, 4, 4), spacing_mm=(1, 1, 1)).offset
    (3.0, 3.0, 3.0)
    """
    x, y, z = (mm / source_mm for mm, source_mm in zip(spacing_mm, grid.spacing_mm, strict=True))
    a, b, c = (
        (n_source - 1) / 2 - scale * (n_target - 1) / 2
        for n_source, n_target, scale in zip(grid.shape, shape, (x, y, z), strict=True)
    )
    return Sampling(shape, (x, y, z), (a, b, c))


@dataclass(frozen=True)
class Box:
    """Some voxels of a grid: those from edge `lower` to edge `upper`, which count from 0, along each axis."""

    lower: Triple
    upper: Triple

    @property
    def shape(self) -> Triple:
        """Voxels along each axis."""
        x, y, z = (upper - lower for lower, upper in zip(self.lower, self.upper, strict=True))
        return x, y, z

    def within(self, sampling: Sampling) -> Sampling:
        """Return a sampling of the box's voxels as one of the whole grid.

        Examples
        --------
        >>> Box((10, 0, 0), (14, 4, 4)).within(stretch((4, 4, 4), (2, 2, 2))).offset
        (10.5, 0.5, 0.5)
        """
        x, y, z = (offset + lower for offset, lower in zip(sampling.offset, self.lower, strict=True))
        return Sampling(sampling.shape, sampling.scale, (x, y, z))


def closest_axes(affine: np.ndarray) -> AxisOrder:
    """Find the file axis closest to each world axis.

    The rotation closest to the affine in the least-squares sense (its polar factor) is matched greedily, the most
    aligned file axis first, as `nibabel.orientations.io_orientation` does.

    Parameters
    ----------
    affine : (4, 4) array
        Voxel centre -> world; its upper left 3 x 3 block is invertible.

    Returns
    -------
    AxisOrder

    Examples
    --------
    >>> closest_axes(np.diag([-1.0, -1.0, 5.0, 1.0]))
    AxisOrder(source=(0, 1, 2), flipped=(True, True, False))
    """
    directions = affine[:3, :3] / np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    left, _, right = np.linalg.svd(directions)
    rotation = left @ right
    free = np.abs(rotation)
    source, flipped = [0, 0, 0], [False, False, False]
    for axis in np.argsort(-free.max(axis=0), kind="stable"):
        world = int(np.argmax(free[:, axis]))
        source[world], flipped[world] = int(axis), bool(rotation[world, axis] < 0)
        free[world, :] = -1  # taken
    return AxisOrder((source[0], source[1], source[2]), (flipped[0], flipped[1], flipped[2]))
