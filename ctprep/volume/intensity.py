"""What the numbers of a CT mean: Hounsfield units, the window, and the stored value.

Air is the lower end of the window. Non-finite values become air.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np

from ctprep.volume.grid import Triple

HU_QUANTILES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
"""The quantiles kept of every scan before the window."""

SAMPLE_VOXELS = 65_536
"""About how many voxels of a scan are looked at for its quantiles; sorting them costs 1 ms."""

UINT8_STEPS = 254
"""Stored steps of a uint8 volume from 0 to 1; 255 means missing."""

LUNG_STEPS = 255
"""Stored steps of the share of lung from 0 to 1; none is ever missing."""


def hounsfield(raw: np.ndarray, *, slope: float, inter: float) -> np.ndarray:
    """Apply a file's slope and intercept.

    Parameters
    ----------
    raw : array of any integer or float dtype
        Values as the file holds them, in any byte order.
    slope, inter : float
        HU is `raw * slope + inter`.

    Returns
    -------
    array of raw's shape
        HU; `raw` itself where there is nothing to do, else float32 (float64 for raw dtypes that float32 cannot hold).

    Examples
    --------
    >>> hounsfield(np.array([0, 1024], np.int16), slope=1.0, inter=-1024.0).tolist()
    [-1024.0, 0.0]
    """
    if slope == 1 and inter == 0:
        return raw
    exact = np.result_type(raw.dtype.newbyteorder("="), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        return raw.astype(exact) * exact.type(slope) + exact.type(inter)


def count_nonfinite(hu: np.ndarray) -> int:
    """Count the voxels that are NaN or infinite."""
    return hu.size - int(np.count_nonzero(np.isfinite(hu))) if hu.dtype.kind == "f" else 0


@dataclass(frozen=True)
class StoredWindow:
    """A window in the values that a file stores, so that no slope and no intercept need be applied to its voxels.

    Parameters
    ----------
    lower, upper : float
        What the window's bounds are stored as.
    is_falling : bool
        Whether HU fall where stored values rise, so that `upper` is air.

    Examples
    --------
    >>> window = StoredWindow.of((-1000.0, 400.0), slope=1.0, inter=-1024.0)
    >>> window.lower, window.upper, window.width
    (24.0, 1424.0, 1400.0)
    >>> window.above_air(np.array([0.0, 724.0, 4095.0, np.inf])).tolist()
    [0.0, 700.0, 1400.0, 0.0]
    """

    lower: float
    upper: float
    is_falling: bool = False

    @classmethod
    def of(cls, window: tuple[float, float], *, slope: float, inter: float) -> Self:
        """Return the window of a file: HU is `stored * slope + inter`."""
        lower, upper = ((hu - inter) / slope for hu in window)
        return cls(lower, upper) if slope > 0 else cls(upper, lower, is_falling=True)

    @property
    def width(self) -> float:
        """The stored values from its lower to its upper end."""
        return self.upper - self.lower

    def above_air(self, stored: np.ndarray, *, overwrite: bool = False) -> np.ndarray:
        """Clip to the window and measure from air.

        Parameters
        ----------
        stored : array
            As the file holds them, in any byte order.
        overwrite : bool
            Allow the values of `stored` to be destroyed, which is quicker.

        Returns
        -------
        array of the same shape, float32
            0 where HU are at or below the window, and for NaN and infinities; `width` where they are at or above it.
        """
        return self.whole_above_air(stored, overwrite=overwrite).astype(np.float32, copy=False)

    def whole_above_air(self, stored: np.ndarray, *, overwrite: bool = False) -> np.ndarray:
        """Return the same as `above_air`, as integers where they hold it, which are fewer bytes."""
        if stored.dtype.kind == "f":
            finite = np.isfinite(stored)
            air = self.upper if self.is_falling else self.lower
            return self._measured(stored if finite.all() else np.where(finite, stored, air))
        low, high, _ = _integer_bounds(stored.dtype, self.lower, self.upper)
        clipped = np.clip(stored, low, high, out=stored if overwrite else None)
        if not self.is_whole_in(stored.dtype):
            return self._measured(clipped.astype(np.float64))
        clipped -= low  # among integers, which are half as many bytes as what they become
        return clipped

    def is_whole_in(self, dtype: np.dtype) -> bool:
        """Tell whether `whole_above_air` gives integers for what a dtype stores."""
        return dtype.kind in "iu" and not self.is_falling and _integer_bounds(dtype, self.lower, self.upper)[2]

    def _measured(self, stored: np.ndarray) -> np.ndarray:
        clipped = np.clip(stored, self.lower, self.upper)
        measured = self.upper - clipped if self.is_falling else clipped - self.lower
        return measured.astype(np.float32, copy=False)


@lru_cache
def _integer_bounds(dtype: np.dtype, lower: float, upper: float) -> tuple[np.integer, np.integer, bool]:
    """Return the bounds rounded outwards to what a dtype can hold, and whether they and their difference are exact."""
    info = np.iinfo(dtype)
    low = min(max(math.floor(lower), info.min), info.max)
    high = max(min(math.ceil(upper), info.max), info.min)
    return dtype.type(low), dtype.type(high), (low, high) == (lower, upper) and high - low <= info.max


def stored_from_unit(unit: np.ndarray, dtype: str) -> np.ndarray:
    """Round values in [0, 1] to the stored dtype.

    Examples
    --------
    >>> stored_from_unit(np.array([0.0, 0.5, 1.0], np.float32), "uint8").tolist()
    [0, 127, 254]
    """
    if dtype == "uint8":
        return np.rint(unit * np.float32(UINT8_STEPS)).astype(np.uint8)
    return unit.astype(dtype)


def unit_from_stored(stored: np.ndarray) -> np.ndarray:
    """Return stored values as float32 in [0, 1].

    Examples
    --------
    >>> unit_from_stored(np.array([0, 127, 254], np.uint8)).tolist()
    [0.0, 0.5, 1.0]
    """
    if stored.dtype == np.uint8:
        return stored / np.float32(UINT8_STEPS)
    return stored.astype(np.float32)


def hu_from_unit(unit: np.ndarray, *, lower: float, upper: float) -> np.ndarray:
    """Return HU, within the window, from values in [0, 1].

    Examples
    --------
    >>> hu_from_unit(np.array([0.0, 0.5, 1.0]), lower=-1000, upper=400).tolist()
    [-1000.0, -300.0, 400.0]
    """
    return (unit * np.float32(upper - lower) + np.float32(lower)).astype(np.float32)


def sample_step(shape: Triple) -> int:
    """Return the step along each axis that leaves about `SAMPLE_VOXELS` of a volume.

    Examples
    --------
    >>> sample_step((512, 512, 48))
    6
    """
    voxels = shape[0] * shape[1] * shape[2]
    return max(1, round((voxels / SAMPLE_VOXELS) ** (1 / 3)))


def sorted_finite(sample: np.ndarray) -> np.ndarray:
    """Return the finite values of a sample, ascending; sorting in the sample's own dtype is what makes this quick."""
    return np.sort(sample[np.isfinite(sample)] if sample.dtype.kind == "f" else sample)


def hu_quantiles(ascending: np.ndarray) -> np.ndarray:
    """Return the `HU_QUANTILES`, linearly interpolated, as float32; NaN where there is no value.

    Parameters
    ----------
    ascending : 1-D array
        Finite HU, sorted.

    Examples
    --------
    >>> hu_quantiles(np.arange(101)).tolist()
    [0.0, 1.0, 5.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 100.0]
    """
    if not ascending.size:
        return np.full(len(HU_QUANTILES), np.nan, np.float32)
    position = np.array(HU_QUANTILES) * (ascending.size - 1)
    below = np.floor(position).astype(np.int64)
    beyond = position - below
    lower, upper = ascending[below], ascending[np.minimum(below + 1, ascending.size - 1)]
    return (lower * (1 - beyond) + upper * beyond).astype(np.float32)
