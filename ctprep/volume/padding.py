"""Which voxels lie outside the scanner's field of view, and hold a filling value instead of a measurement.

Scanners and converters fill what they did not measure, such as the corners around a circular field of view, with a
value far below air, or with NaN.
"""

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

PADDING_BELOW_HU = -1500.0
"""Values below are padding: fillings begin at -2000 HU, and noise seldom takes air, -1000 HU, down by 500."""

MAX_FILLINGS = 3
MIN_FILLED = 0.5
"""Fillings are constants: the commonest `MAX_FILLINGS` values are at least this share of them; noise is the rest."""


@dataclass(frozen=True)
class PaddingLimit:
    """Where padding begins in the values that a file stores, so that no slope and no intercept need be applied.

    Parameters
    ----------
    bound : float
        What `PADDING_BELOW_HU` is stored as.
    is_falling : bool
        Whether HU fall where stored values rise, so that padding lies above the bound.

    Examples
    --------
    >>> limit = PaddingLimit.of(slope=1.0, inter=-1024.0)
    >>> limit.mask(np.array([-2000, -477, -476, 24], np.int16)).tolist()
    [True, True, False, False]
    """

    bound: float
    is_falling: bool = False

    @classmethod
    def of(cls, *, slope: float, inter: float) -> Self:
        """Return the limit of a file: HU is `stored * slope + inter`."""
        return cls((PADDING_BELOW_HU - inter) / slope, is_falling=slope < 0)

    def mask(self, stored: np.ndarray) -> np.ndarray:
        """Return which stored values are padding, as bool; NaN and infinities are not."""
        bound = self._bound_in(stored.dtype)
        beyond = stored > bound if self.is_falling else stored < bound
        return beyond & np.isfinite(stored) if stored.dtype.kind == "f" else beyond

    def count(self, stored: np.ndarray) -> int:
        """Count the padding among stored values; quick where there is none."""
        bound = self._bound_in(stored.dtype)
        if (stored.max() <= bound) if self.is_falling else (stored.min() >= bound):
            return 0
        return int(np.count_nonzero(self.mask(stored)))

    def _bound_in(self, dtype: np.dtype) -> Any:
        """Return the bound as a number that is compared with a dtype without converting the array."""
        if dtype.kind == "f":
            return dtype.type(self.bound)
        return math.floor(self.bound) if self.is_falling else math.ceil(self.bound)


class NanCounter:
    """Counts the NaN outside the field of view and those within, while the rows of a volume pass once.

    A field of view has no dents, whatever its axes: a circle, a box, either of them tilted. So a NaN lies outside of
    it if the edge of its slice is reached along its row or its column through NaN alone, and a slice of NaN alone
    does if only such slices lie between it and one end of the volume. A hole, and rows or slices that are lost in
    between, lie within. The mask of one slice is held at most.

    Parameters
    ----------
    rows : int
        Of a slice.

    Examples
    --------
    >>> slices = np.zeros((2, 4, 4))
    >>> slices[:, 0, :2] = slices[1, 2, 2] = np.nan
    >>> counter = NanCounter(rows=4)
    >>> counter.add(slices)
    >>> counter.outside, counter.within
    (4, 1)
    """

    def __init__(self, rows: int) -> None:
        self.within = 0
        self._outside = 0
        self._rows = rows
        self._part: list[np.ndarray] = []  # masks of the rows of a slice that has not passed wholly
        self._part_rows = 0
        self._lost = 0  # NaN of slices of NaN alone since the last other slice
        self._begun = False

    @property
    def outside(self) -> int:
        """The NaN outside the field of view, once every row has passed."""
        return self._outside + self._lost

    def add(self, stored: np.ndarray, *, has_nan: bool = True) -> None:
        """Take the next (slices, rows, first) part of a volume; `has_nan` is False where it is known to have none."""
        if not has_nan and not self._part_rows and stored.shape[1] == self._rows:
            self._pass_finite()
            return
        for slice_part in stored:
            self._part.append(np.isnan(slice_part) if has_nan else np.zeros(slice_part.shape, bool))
            self._part_rows += len(slice_part)
            if self._part_rows == self._rows:
                nan = np.concatenate(self._part) if len(self._part) > 1 else self._part[0]
                self._part, self._part_rows = [], 0
                self._add_slice(nan)

    def _add_slice(self, nan: np.ndarray) -> None:
        total = int(np.count_nonzero(nan))
        if total == nan.size:
            if self._begun:
                self._lost += total
            else:
                self._outside += total
            return
        self._pass_finite()
        if total:
            outside = int(np.count_nonzero(reached_from_edge(nan)))
            self._outside += outside
            self.within += total - outside

    def _pass_finite(self) -> None:
        """Take those before for lost that lie between two slices of measurements."""
        self.within += self._lost
        self._lost, self._begun = 0, True


def reached_from_edge(mask: np.ndarray) -> np.ndarray:
    """Return which True of a 2-D mask reach its edge along their row or column through True alone.

    A row or column of True alone counts only where it lies at the edge, or only such lie between it and the edge.

    Examples
    --------
    >>> band = np.array([[0, 1, 1], [1, 1, 1], [0, 0, 0], [0, 1, 0]], bool)
    >>> reached_from_edge(band).astype(int).tolist()
    [[0, 1, 1], [0, 1, 1], [0, 0, 0], [0, 1, 0]]
    """
    reached = np.zeros(mask.shape, bool)
    for lines in (0, 1):  # rows, then columns
        along = 1 - lines
        whole = np.asarray(mask.all(axis=along))
        counts = ~whole | _from_ends(whole, axis=0)
        reached |= _from_ends(mask, axis=along) & np.expand_dims(counts, along)
    return reached


def _from_ends(mask: np.ndarray, *, axis: int) -> np.ndarray:
    """Return the True that only True separate from one end of their line."""
    backwards = np.flip(np.logical_and.accumulate(np.flip(mask, axis), axis=axis), axis)
    return np.logical_and.accumulate(mask, axis=axis) | backwards


def is_filling(values: np.ndarray) -> bool:
    """Tell whether values are those of a filling: a few constants, but for a minority at their borders.

    Examples
    --------
    >>> is_filling(np.array([-32768.0, -32768.0, -20000.0])), is_filling(np.arange(-20000.0, -10000.0))
    (True, False)
    """
    counts = np.sort(np.unique_counts(values).counts)[-MAX_FILLINGS:]
    return bool(counts.sum() >= MIN_FILLED * values.size)
