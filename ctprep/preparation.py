"""One scan and one recipe become one volume and its record."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ctprep.errors import Constant, NonFinite, NotHounsfield, Unreadable
from ctprep.scans.readers.formats import ScanReader, open_reader
from ctprep.scans.readers.header import ScanHeader
from ctprep.scans.scan import ScanRecord, nested_tuple
from ctprep.volume.grid import Sampling, VoxelGrid, crop_or_pad, stretch
from ctprep.volume.intensity import (
    StoredWindow,
    count_nonfinite,
    hounsfield,
    hu_quantiles,
    sample_step,
    sorted_finite,
    stored_from_unit,
    why_not_hu,
)
from ctprep.volume.recipe import Recipe
from ctprep.volume.resample import SlabResampler, file_axis_weights

MAX_NONFINITE = 0.01
"""Share of NaN and infinite voxels above which a scan is rejected."""


@dataclass(frozen=True, eq=False)
class PreparedScan:
    """A volume and its record.

    Parameters
    ----------
    volume : (x, y, z) array of the recipe's dtype
        Canonical axes; 0 is the lower end of the window.
    record : ScanRecord
    """

    volume: np.ndarray
    record: ScanRecord


def prepare(path: str | os.PathLike[str], recipe: Recipe) -> PreparedScan:
    """Read, judge, resample and scale one scan, in one pass over its bytes.

    Parameters
    ----------
    path : path
        A file of one of the formats in `ctprep.scans.readers.formats`.
    recipe : Recipe

    Returns
    -------
    PreparedScan
        The same volume, bit for bit, that a store of this recipe holds for this file.

    Raises
    ------
    BadScan
        One child per reason, see `ctprep.errors`.
    RecipeError
        If the recipe is one of another version of the arithmetic.

    Examples
    --------
    >>> prepared = prepare("raw/CT-0/p00_0.nii.gz", Recipe(shape=(16, 16, 8)))
    >>> prepared.volume.shape, prepared.record.source_shape
    ((16, 16, 8), (20, 20, 10))
    """
    recipe.check_arithmetic()
    try:
        with open_reader(path) as reader:
            return _prepare_stream(reader, recipe)
    except MemoryError:
        raise Unreadable(f"{Path(path).name}: does not fit into memory; use fewer workers or crop it") from None


def _prepare_stream(reader: ScanReader, recipe: Recipe) -> PreparedScan:
    grid = reader.header.grid
    order, canonical = grid.axis_order, grid.canonical()
    sampling = sampling_of(canonical, recipe)
    resampler = SlabResampler(file_axis_weights(grid.shape, order, sampling))
    survey = _Survey(reader.header)
    window = StoredWindow.of(recipe.window, slope=reader.header.slope, inter=reader.header.inter)
    for stored in reader.slabs():
        survey.add(stored)
        resampler.add(window.above_air(stored, overwrite=True))
    survey.judge(reader.path.name, require_hu=recipe.require_hu)
    unit = np.clip(order.transpose(resampler.result()) / np.float32(window.width), 0, 1)
    record = ScanRecord(
        affine=nested_tuple(canonical.sampled(sampling).affine.tolist()),
        source_affine=nested_tuple(grid.affine.tolist()),
        source_shape=grid.shape,
        source_sha256=reader.sha256,
        hu_quantile=tuple(survey.quantiles.tolist()),
        nonfinite=survey.nonfinite,
    )
    return PreparedScan(np.ascontiguousarray(stored_from_unit(unit, recipe.dtype)), record)


def sampling_of(grid: VoxelGrid, recipe: Recipe) -> Sampling:
    """Return where the stored voxels of a recipe lie in a canonical grid."""
    if recipe.spacing_mm is None:
        return stretch(grid.shape, recipe.shape)
    return crop_or_pad(grid, recipe.shape, spacing_mm=recipe.spacing_mm)


class _Survey:
    """What is learnt of a scan's HU while its slabs pass: non-finite voxels, and a regular sample of the others."""

    def __init__(self, header: ScanHeader) -> None:
        self.nonfinite = 0
        self._voxels = 0
        self._rows = 0
        self._rows_per_slice = header.grid.shape[1]
        self._step = sample_step(header.grid.shape)
        self._slope, self._inter = header.slope, header.inter
        self._parts: list[np.ndarray] = []

    def add(self, stored: np.ndarray) -> None:
        """Take the next (slices, rows, first) slab of stored values."""
        self.nonfinite += count_nonfinite(stored)
        self._voxels += stored.size
        start_slice, start_row = divmod(self._rows, self._rows_per_slice)
        self._rows += stored.shape[0] * stored.shape[1]
        part = stored[-start_slice % self._step :: self._step, -start_row % self._step :: self._step, :: self._step]
        if part.size:
            self._parts.append(part.flatten())  # a copy: the slab is valid for now only

    @cached_property
    def _sample(self) -> np.ndarray:
        ascending = sorted_finite(np.concatenate(self._parts))[:: 1 if self._slope > 0 else -1]
        return hounsfield(ascending, slope=self._slope, inter=self._inter)  # infinite where it overflows

    @property
    def quantiles(self) -> np.ndarray:
        return hu_quantiles(self._sample)

    def judge(self, name: str, *, require_hu: bool) -> None:
        """Raise the `BadScan` that says why the values cannot be trusted, if they cannot."""
        sample = self._sample
        if self.nonfinite > MAX_NONFINITE * self._voxels or not sample.size:
            raise NonFinite(
                f"{name}: {self.nonfinite:,} of its {self._voxels:,} voxels are NaN or infinite, "
                f"at most {MAX_NONFINITE:.0%} can be taken for air; convert it anew from its source"
            )
        if not np.isfinite(sample[[0, -1]]).all():
            raise NotHounsfield(f"{name}: its slope makes infinite numbers of its values; repair its header")
        if sample[0] == sample[-1]:
            raise Constant(f"{name}: every voxel looked at is {sample[0]:g}; convert it anew from its source")
        if require_hu and (problem := why_not_hu(sample)):
            raise NotHounsfield(
                f"{name}: its values cannot be HU ({problem}); repair its slope and intercept, or accept it "
                "with --accept-non-hu"
            )
