"""Where the stored voxels of one scan lie, and the volume that lies there.

A frame takes the voxels of a scan once, in the order of its file. What decides the place may be its header alone
(`WholeFrame`), or what is seen in its voxels (`LungsFrame`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ctprep.volume.grid import Box, Sampling, Triple, VoxelGrid, crop_or_pad, stretch
from ctprep.volume.intensity import LUNG_STEPS, StoredWindow, hu_from_unit
from ctprep.volume.kept import KeptVoxels, Weights
from ctprep.volume.lungs import Lungs, find_lungs
from ctprep.volume.recipe import Recipe
from ctprep.volume.resample import SlabResampler, axis_weights, file_axis_weights

MARGIN_MM = 10.0
"""Between the lungs and each side of the box around them: pleura, some of the chest wall, and what was not found of
dense lung there."""

BOX_MM, MASK_MM = 8.0, 5.0
"""Voxels in which the lungs are looked for: the first for the box, which is right to half a voxel and takes 5 ms; the
second for the share of lung, some 20 ms. The box is the same whether the share of lung is stored or not."""


@dataclass(frozen=True, eq=False)
class Framed:
    """What a frame makes of a scan.

    Parameters
    ----------
    above_air : (x, y, z) float32 array
        The resampled volume in canonical axes, as `StoredWindow.above_air` measures it.
    sampling : Sampling
        Where its voxels lie in the canonical grid of the scan.
    lungs : Lungs, optional
        What was found; None where nobody looked.
    box : Box, optional
        What was cropped, in voxels of the canonical grid; None where that is the whole scan.
    lung_share : (x, y, z) uint8 array, optional
        Share of lung in each voxel of the volume, see `share_of_lung`.
    """

    above_air: np.ndarray
    sampling: Sampling
    lungs: Lungs | None = None
    box: Box | None = None
    lung_share: np.ndarray | None = None


class Frame(Protocol):
    """Takes the voxels of one scan, once."""

    def add(self, stored: np.ndarray, *, padding: np.ndarray | None = None) -> None:
        """Take the next (slices, rows, first) voxels as the file holds them, which are destroyed; padding as air."""
        ...

    def result(self) -> Framed:
        """Return what became of them, once all were taken."""
        ...


def frame_of(grid: VoxelGrid, dtype: np.dtype, recipe: Recipe, window: StoredWindow) -> Frame:
    """Return the frame of a scan.

    Parameters
    ----------
    grid : VoxelGrid
        Of the file, in its own axes.
    dtype : dtype
        Of the file.
    recipe : Recipe
    window : StoredWindow
        The recipe's, in the values of the file.
    """
    if recipe.crop == "lungs":
        return LungsFrame(grid, dtype, recipe, window)
    return WholeFrame(grid, recipe, window)


def sampling_of(grid: VoxelGrid, recipe: Recipe, box: Box | None = None) -> Sampling:
    """Return where the stored voxels of a recipe lie in a canonical grid, or in a box of it."""
    box = box or Box((0, 0, 0), grid.shape)
    if recipe.spacing_mm is None:
        return box.within(stretch(box.shape, recipe.shape))
    return box.within(crop_or_pad(VoxelGrid(box.shape, grid.affine), recipe.shape, spacing_mm=recipe.spacing_mm))


class WholeFrame:
    """Stretches the whole field of view, or crops and pads around its centre."""

    def __init__(self, grid: VoxelGrid, recipe: Recipe, window: StoredWindow) -> None:
        self._canonical, self._order = grid.canonical(), grid.axis_order
        self._recipe, self._window = recipe, window
        self._sampling = sampling_of(self._canonical, recipe)
        self._resampler = SlabResampler(file_axis_weights(grid.shape, self._order, self._sampling))
        self._look: SlabResampler | None = None
        if recipe.lung:
            self._coarse = coarse(self._canonical, MASK_MM)
            to_coarse = stretch(self._canonical.shape, self._coarse.shape)
            self._look = SlabResampler(file_axis_weights(grid.shape, self._order, to_coarse))

    def add(self, stored: np.ndarray, *, padding: np.ndarray | None = None) -> None:
        """Take the next voxels."""
        above_air = self._window.above_air(stored, overwrite=True)
        if padding is not None:
            above_air[padding] = 0
        self._resampler.add(above_air)
        if self._look:
            self._look.add(above_air)

    def result(self) -> Framed:
        """Return the resampled volume."""
        above_air = self._order.transpose(self._resampler.result())
        if self._look is None:
            return Framed(above_air, self._sampling)
        looked_at = self._order.transpose(self._look.result())
        lungs = _found(looked_at, self._coarse, self._window, self._recipe)
        share = share_of_lung(lungs.mask, self._canonical.shape, self._sampling)
        return Framed(above_air, self._sampling, lungs, lung_share=share)


class LungsFrame:
    """Crops to a box around both lungs; takes the whole scan where they are not found.

    The field of view is then that box: it is stretched, or voxels of a fixed size are put around its centre.
    """

    def __init__(self, grid: VoxelGrid, dtype: np.dtype, recipe: Recipe, window: StoredWindow) -> None:
        self._grid, self._canonical, self._order = grid, grid.canonical(), grid.axis_order
        self._recipe, self._window = recipe, window
        n_stored = [0, 0, 0]
        for world, axis in enumerate(self._order.source):
            n_stored[axis] = recipe.shape[world]
        self._kept = KeptVoxels(grid.shape, _triple(n_stored), window, dtype)

    def add(self, stored: np.ndarray, *, padding: np.ndarray | None = None) -> None:
        """Take the next voxels."""
        self._kept.add(stored, padding=padding)

    def result(self) -> Framed:
        """Return the volume that is left of the scan."""
        lungs = self._look(self._kept.glance, BOX_MM)
        box = box_around(lungs.mask, self._canonical) if lungs.has_both else None
        sampling = sampling_of(self._canonical, self._recipe, box)
        above_air = self._order.transpose(self._kept.resampled(self._weights(sampling)))
        if not self._recipe.lung:
            return Framed(above_air, sampling, lungs, box)
        lungs = self._look(self._kept.resampled, MASK_MM)
        share = share_of_lung(lungs.mask, self._canonical.shape, sampling)
        return Framed(above_air, sampling, lungs, box, share)

    def _look(self, resample: Callable[[Weights], np.ndarray], mm: float) -> Lungs:
        looked_at = coarse(self._canonical, mm)
        above_air = resample(self._weights(stretch(self._canonical.shape, looked_at.shape)))
        return _found(self._order.transpose(above_air), looked_at, self._window, self._recipe)

    def _weights(self, sampling: Sampling) -> Weights:
        return file_axis_weights(self._grid.shape, self._order, sampling)


def _found(above_air: np.ndarray, grid: VoxelGrid, window: StoredWindow, recipe: Recipe) -> Lungs:
    """Find the lungs in a coarse volume."""
    lower, upper = recipe.window
    unit = np.clip(above_air / np.float32(window.width), 0, 1)
    return find_lungs(hu_from_unit(unit, lower=lower, upper=upper), spacing_mm=grid.spacing_mm)


def share_of_lung(mask: np.ndarray, shape: Triple, sampling: Sampling) -> np.ndarray:
    """Return the share of lung in each target voxel of a sampling, in `LUNG_STEPS`.

    Parameters
    ----------
    mask : (x, y, z) bool array
        Over the field of view of the source, in voxels of any size.
    shape : tuple of int
        Voxels of the source.
    sampling : Sampling
        Of the source.

    Returns
    -------
    (x, y, z) uint8 array
        0 outside the source.

    Examples
    --------
    >>> mask = np.zeros((4, 1, 1), bool)
    >>> mask[2:] = True
    >>> share_of_lung(mask, (8, 1, 1), stretch((8, 1, 1), (4, 1, 1))).ravel().tolist()
    [0, 0, 255, 255]
    """
    per_voxel = [n / n_mask for n, n_mask in zip(shape, mask.shape, strict=True)]
    x, y, z = (
        axis_weights(n_mask, n_target, scale=scale / step, offset=(offset + 0.5) / step - 0.5)
        for n_mask, n_target, scale, offset, step in zip(
            mask.shape, sampling.shape, sampling.scale, sampling.offset, per_voxel, strict=True
        )
    )
    resampler = SlabResampler((x, y, z))
    resampler.add(np.ascontiguousarray(mask.transpose(2, 1, 0), dtype=np.float32))
    return np.ascontiguousarray(np.rint(np.clip(resampler.result(), 0, 1) * np.float32(LUNG_STEPS)).astype(np.uint8))


def coarse(grid: VoxelGrid, mm: float) -> VoxelGrid:
    """Return a grid over the same field of view with voxels of about `mm`; an axis of larger ones keeps them.

    Examples
    --------
    >>> coarse(VoxelGrid((512, 512, 40), np.diag([0.5, 0.5, 12.0, 1.0])), 8.0).shape
    (32, 32, 40)
    """
    x, y, z = (max(1, round(n * min(1, step / mm))) for n, step in zip(grid.shape, grid.spacing_mm, strict=True))
    return grid.resized((x, y, z))


def box_around(mask: np.ndarray, grid: VoxelGrid, *, margin_mm: float = MARGIN_MM) -> Box:
    """Return the box around what a mask holds, with a margin, in whole voxels of a grid, and within it.

    Parameters
    ----------
    mask : (x, y, z) bool array
        Over the field of view of the grid, in voxels of any size; not empty.
    grid : VoxelGrid
    margin_mm : float

    Examples
    --------
    >>> mask = np.zeros((4, 4, 4), bool)
    >>> mask[1, 2, 3] = True
    >>> box_around(mask, VoxelGrid((8, 8, 8), np.eye(4)), margin_mm=1)
    Box(lower=(1, 3, 5), upper=(5, 7, 8))
    """
    lower, upper = [], []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        (inside,) = np.nonzero(mask.any(axis=others))
        per_voxel, margin = grid.shape[axis] / mask.shape[axis], margin_mm / grid.spacing_mm[axis]
        lower.append(max(0, int(np.floor(inside[0] * per_voxel - margin))))
        upper.append(min(grid.shape[axis], int(np.ceil((inside[-1] + 1) * per_voxel + margin))))
    return Box(_triple(lower), _triple(upper))


def _triple(values: list[int]) -> Triple:
    x, y, z = values
    return x, y, z
