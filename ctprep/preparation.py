"""One scan and one recipe become one volume and its record."""

import math
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ctprep.errors import BadScan, Constant, NonFinite, NotHounsfield, Unreadable
from ctprep.scans.readers.coverage import judge_coverage
from ctprep.scans.readers.formats import ScanReader, open_reader
from ctprep.scans.readers.header import ScanHeader
from ctprep.scans.scan import ScanRecord, nested_tuple
from ctprep.volume.frame import Framed, frame_of
from ctprep.volume.intensity import (
    StoredWindow,
    count_nonfinite,
    hounsfield,
    hu_quantiles,
    sample_step,
    sorted_finite,
    stored_from_unit,
)
from ctprep.volume.padding import PADDING_BELOW_HU, NanCounter, PaddingLimit
from ctprep.volume.recipe import Recipe
from ctprep.volume.units import AIR_HU, Offset, missing_offset, why_not_hu, without_padding

MAX_NONFINITE = 0.01
"""Share of NaN and infinite voxels within the field of view above which a scan is rejected."""

MAX_FLOAT32 = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class PreparedScan:
    """A volume and its record.

    Parameters
    ----------
    volume : (x, y, z) array of the recipe's dtype
        Canonical axes; 0 is the lower end of the window.
    record : ScanRecord
    lung : (x, y, z) uint8 array, optional
        Share of lung in each voxel of the volume, 255 where all of it is; by a recipe that stores it.
    """

    volume: np.ndarray
    record: ScanRecord
    lung: np.ndarray | None = None


def prepare(
    path: str | os.PathLike[str], recipe: Recipe, *, accept: Collection[str] = (), orientation: str = ""
) -> PreparedScan:
    """Read, judge, resample and scale one scan, in one pass over its bytes.

    Parameters
    ----------
    path : path
        A file of one of the formats in `ctprep.scans.readers.formats`.
    recipe : Recipe
    accept : collection of str
        Codes of `errors.ACCEPTABLE_CODES` that do not reject this scan; the record says which were needed.
    orientation : str
        Three letters such as LPS: which way the axes run, should the file not say it.

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
        with open_reader(path, orientation=orientation) as reader:
            return _prepare_stream(reader, recipe, _Judge(accept))
    except MemoryError:
        raise Unreadable(f"{Path(path).name}: does not fit into memory; use fewer workers or crop it") from None


def _prepare_stream(reader: ScanReader, recipe: Recipe, judge: "_Judge") -> PreparedScan:
    header = reader.header
    judge(judge_coverage, header.grid, reader.path)
    window = StoredWindow.of(recipe.window, slope=header.slope, inter=header.inter)
    frame = frame_of(header.grid, header.dtype, recipe, window)
    survey = _Survey(header)
    padding_is_in_window = recipe.window[0] < PADDING_BELOW_HU  # else it is clipped to air
    for stored in reader.slabs():
        survey.add(stored)
        frame.add(stored, padding=survey.padding_limit.mask(stored) if padding_is_in_window else None)
    survey.judge(reader.path.name, judge, require_hu=recipe.require_hu)
    framed = frame.result()
    unit = np.clip(framed.above_air / np.float32(window.width), 0, 1)
    record = ScanRecord(
        affine=nested_tuple(header.grid.canonical().sampled(framed.sampling).affine.tolist()),
        source_affine=nested_tuple(header.grid.affine.tolist()),
        source_shape=header.grid.shape,
        source_sha256=reader.sha256,
        hu_quantile=tuple(survey.quantiles.tolist()),
        nonfinite=survey.nonfinite,
        padding=survey.padding,
        accepted=" ".join(sorted(judge.accepted)),
        stated_orientation=header.stated_orientation,
        **_seen_of_lungs(framed),
    )
    return PreparedScan(np.ascontiguousarray(stored_from_unit(unit, recipe.dtype)), record, framed.lung_share)


class _Judge:
    """Lets pass what is accepted of one scan, and keeps what that was."""

    def __init__(self, accept: Collection[str]) -> None:
        self._accept = accept
        self.accepted: set[str] = set()

    def __call__(self, check: Callable[..., None], *args: Any) -> None:
        """Run a check that raises a `BadScan`; one whose code is accepted is none."""
        try:
            check(*args)
        except BadScan as error:
            if not (error.acceptable and error.code in self._accept):
                raise
            self.accepted.add(error.code)


def _seen_of_lungs(framed: Framed) -> dict[str, Any]:
    """Return the fields of a record that say what was seen of the lungs, where they were looked for."""
    found: dict[str, Any] = {}
    if framed.lungs:
        found["lung_ml"] = tuple(np.array([framed.lungs.right_ml, framed.lungs.left_ml], np.float32).tolist())
    if framed.box:
        found["crop_box"] = (framed.box.lower, framed.box.upper)
    return found


class _Survey:
    """What is learnt of a scan's HU while its slabs pass: NaN, infinities, padding, and a regular sample of all."""

    def __init__(self, header: ScanHeader) -> None:
        self.padding_limit = PaddingLimit.of(slope=header.slope, inter=header.inter)
        self._header = header
        self._fillings = 0
        self._infinite = 0
        self._nan = NanCounter(rows=header.grid.shape[1])
        self._rows = 0
        self._rows_per_slice = header.grid.shape[1]
        self._step = sample_step(header.grid.shape)
        self._parts: list[np.ndarray] = []

    @property
    def nonfinite(self) -> int:
        """NaN within the field of view, and infinities."""
        return self._infinite + self._nan.within

    @property
    def padding(self) -> int:
        """Voxels outside the field of view."""
        return self._fillings + self._nan.outside

    def add(self, stored: np.ndarray) -> None:
        """Take the next (slices, rows, first) slab of stored values."""
        nonfinite = count_nonfinite(stored)
        nan = int(np.count_nonzero(np.isnan(stored))) if nonfinite else 0
        self._infinite += nonfinite - nan
        self._nan.add(stored, has_nan=nan > 0)
        self._fillings += self.padding_limit.count(stored)
        start_slice, start_row = divmod(self._rows, self._rows_per_slice)
        self._rows += stored.shape[0] * stored.shape[1]
        part = stored[-start_slice % self._step :: self._step, -start_row % self._step :: self._step, :: self._step]
        if part.size:
            self._parts.append(part.flatten())  # a copy: the slab is valid for now only

    @cached_property
    def _sample(self) -> np.ndarray:
        """Ascending HU of the sampled voxels that are finite, with the padding."""
        slope, inter = self._header.slope, self._header.inter
        ascending = sorted_finite(np.concatenate(self._parts))[:: 1 if slope > 0 else -1]
        return hounsfield(ascending, slope=slope, inter=inter)  # infinite where it overflows

    @property
    def quantiles(self) -> np.ndarray:
        return hu_quantiles(without_padding(self._sample))

    def judge(self, name: str, judge: _Judge, *, require_hu: bool) -> None:
        """Raise the `BadScan` that says why the values cannot be trusted, if they cannot."""
        judge(self._judge_finite, name)
        self._judge_values(name)
        if require_hu:
            judge(self._judge_hu, name)

    def _judge_finite(self, name: str) -> None:
        voxels = math.prod(self._header.grid.shape)
        if self.nonfinite > MAX_NONFINITE * voxels or not self._sample.size:
            raise NonFinite(
                f"{name}: {self.nonfinite + self._nan.outside:,} of its {voxels:,} voxels are NaN or infinite, "
                f"{self._nan.outside:,} of them around its field of view; of the others at most {MAX_NONFINITE:.0%} "
                "can be taken for air; convert it anew from its source",
                acceptable=self._sample.size > 0,
            )

    def _judge_values(self, name: str) -> None:
        sample = self._sample
        lowest, highest = float(sample[0]), float(sample[-1])
        if not (math.isfinite(lowest) and math.isfinite(highest)):
            raise NotHounsfield(f"{name}: its slope makes infinite numbers of its values; repair its header")
        if max(-lowest, highest) > MAX_FLOAT32:
            raise NotHounsfield(f"{name}: its values reach from {lowest:g} to {highest:g}; repair its header")
        measured = without_padding(sample)
        for values, which in ((sample, "looked at"), (measured, "that is no padding")):
            if values.size and values[0] == values[-1]:
                raise Constant(f"{name}: every voxel {which} is {values[0]:g}; convert it anew from its source")

    def _judge_hu(self, name: str) -> None:
        if not (problem := why_not_hu(self._sample)):
            return
        offset = missing_offset(self._sample)
        if offset is None:
            way_out = "repair its slope and intercept"
            if self._header.dtype.itemsize == 1:
                way_out = "it has 8 bits a voxel, as a picture has; convert it anew from its source"
        else:
            problem = f"{problem}; {_shown(offset)}"
            way_out = self._header.way_to_subtract(offset.hu)
        raise NotHounsfield(f"{name}: its values cannot be HU ({problem}); {way_out}", acceptable=True)


def _shown(offset: Offset) -> str:
    """Say what was added to the HU of a scan, or subtracted, and how that shows."""
    shift = f"{abs(offset.hu):g}"
    if offset.air is None:
        return f"they fit a chest that is {shift} {'higher' if offset.hu > 0 else 'lower'} than in HU"
    cause = f"the file's intercept is missing {shift}" if offset.hu > 0 else f"{shift} was subtracted once too often"
    return f"air lies at {offset.air:.0f}, expected near {AIR_HU:g}: {cause}"
