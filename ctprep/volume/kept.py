"""The voxels of one scan, kept until it is known where those that are stored lie.

A file is read once, because inflating it is most of a conversion, but where the lungs are is known only at its end. So
the voxels are kept, as small integers where that is possible, and resampled afterwards: the result is the one of a pass
that knows the place before. Memory has a bound: in a scan of more than `MAX_KEPT` voxels neighbours are added up first,
and the weight of a sum is the mean of the weights of its voxels, which is as close as sums can come.

The numbers below belong to the arithmetic of a recipe that crops.
"""

import math
from collections.abc import Sequence

import numpy as np
import scipy.sparse

from ctprep.volume.grid import Triple
from ctprep.volume.intensity import StoredWindow
from ctprep.volume.resample import SlabResampler

MAX_KEPT = 32 << 20
"""Voxels that are kept one by one: 64 MB, or 128 MB where a file stores floats."""

MIN_KEPT_PER_STORED = 3
"""Along each axis of a scan; a crop to half of it leaves one and a half."""

SAMPLES = 3
"""Along each axis, of those voxels that a glance looks at, for each that it returns: enough against noise."""

SLAB_VOXELS = 512 << 10
"""Voxels that are resampled together, see `ctprep.scans.readers.slabs`."""

Weights = tuple[scipy.sparse.csr_matrix, scipy.sparse.csr_matrix, scipy.sparse.csr_matrix]


class KeptVoxels:
    """The voxels of a scan, measured from air through a window; neighbours are added up where they are too many.

    Parameters
    ----------
    shape : tuple of int
        Of the file, in its own axes: first, second, third.
    n_stored : tuple of int
        Voxels along each of these axes that are wanted in the end.
    window : StoredWindow
    dtype : dtype
        Of the file.

    Examples
    --------
    >>> kept = KeptVoxels((4, 4, 2), (2, 2, 1), StoredWindow(0.0, 100.0), np.dtype(np.int16))
    >>> kept.add(np.full((2, 4, 4), 50, np.int16))
    >>> weights = tuple(scipy.sparse.csr_matrix(np.full((1, n), 1 / n, np.float32)) for n in (4, 4, 2))
    >>> kept.resampled(weights).tolist()
    [[[50.0]]]
    """

    def __init__(self, shape: Triple, n_stored: Triple, window: StoredWindow, dtype: np.dtype) -> None:
        self._shape = shape
        self._window = window
        self.steps = steps_to_keep(shape, n_stored)
        largest = window.width * math.prod(self.steps)
        is_small = window.is_whole_in(dtype) and largest <= np.iinfo(np.uint16).max
        self._sums = np.zeros(_n_sums(shape, self.steps)[::-1], np.uint16 if is_small else np.float32)
        self._rows_taken = 0

    def add(self, stored: np.ndarray, *, padding: np.ndarray | None = None) -> None:
        """Take the next voxels.

        Parameters
        ----------
        stored : (slices, rows, first) array
            Consecutive slices, or consecutive rows of one slice, as the file holds them; destroyed.
        padding : bool array, optional
            Which of them are taken for air.
        """
        above_air = self._window.whole_above_air(stored, overwrite=True)
        if padding is not None:
            above_air[padding] = 0
        n_slices, n_rows, n_first = above_air.shape
        if self.steps == (1, 1, 1):
            rows = self._sums.reshape(-1, n_first)
            rows[self._rows_taken : self._rows_taken + n_slices * n_rows] = above_air.reshape(-1, n_first)
        else:
            start_slice, start_row = divmod(self._rows_taken, self._shape[1])
            for index, part in enumerate(above_air.astype(self._sums.dtype, copy=False), start_slice):
                self._add_rows(self._sums[index // self.steps[2]], start_row, part)
        self._rows_taken += n_slices * n_rows

    def _add_rows(self, plane: np.ndarray, start_row: int, part: np.ndarray) -> None:
        """Add consecutive rows of a slice to the sums that they belong to."""
        across, down, _ = self.steps
        for place in range(min(down, len(part))):
            rows = part[place::down]  # of one sum each, as every `down`-th is
            first_sum = (start_row + place) // down
            for column in range(across):
                columns = rows[:, column::across]
                plane[first_sum : first_sum + len(rows), : columns.shape[1]] += columns

    def resampled(self, weights: Weights) -> np.ndarray:
        """Resample what was kept.

        Parameters
        ----------
        weights : three sparse (n_target, n_source) float32 matrices
            Along the first, second and third axis of the file, as `file_axis_weights` gives them.

        Returns
        -------
        (first, second, third) float32 array
            Above air.
        """
        of_sums = [_of_sums(along, step) for along, step in zip(weights, self.steps, strict=True)]
        spans = [_span(along) for along in of_sums]
        first, second, third = (along[:, span] for along, span in zip(of_sums, spans, strict=True))
        return _resampled(self._sums[spans[2], spans[1], spans[0]], (first, second, third))

    def glance(self, weights: Weights) -> np.ndarray:
        """Resample to a coarse grid as `resampled` does, but look at few of the voxels."""
        strided, looked_at = [], []
        for along, step in zip(weights, self.steps, strict=True):
            n_sums = -(-along.shape[1] // step)
            stride = max(1, n_sums // (SAMPLES * along.shape[0]))
            looked_at.append(slice(stride // 2, None, stride))
            sizes = _sizes(along.shape[1], step)[looked_at[-1]]
            strided.append(_renormalized(_of_sums(along, step)[:, looked_at[-1]], sizes))
        first, second, third = strided
        return _resampled(self._sums[looked_at[2], looked_at[1], looked_at[0]], (first, second, third))


def steps_to_keep(shape: Triple, n_stored: Triple) -> Triple:
    """Return how many neighbours along each axis are added up, so that not too many sums are kept.

    Examples
    --------
    >>> steps_to_keep((512, 512, 48), (64, 64, 32)), steps_to_keep((512, 512, 300), (64, 64, 32))
    ((1, 1, 1), (1, 2, 2))
    """
    steps = [1, 1, 1]
    while math.prod(n_sums := _n_sums(shape, steps)) > MAX_KEPT:
        coarser = [-(-n // (step + 1)) for n, step in zip(shape, steps, strict=True)]
        least = [max(1, MIN_KEPT_PER_STORED * n) for n in n_stored]
        fine = [axis for axis in range(3) if steps[axis] < shape[axis] and coarser[axis] >= least[axis]]
        if not fine:
            break
        steps[max(fine, key=lambda axis: (n_sums[axis] / n_stored[axis], axis))] += 1  # slices are quickest to add
    return steps[0], steps[1], steps[2]


def _n_sums(shape: Sequence[int], steps: Sequence[int]) -> Triple:
    x, y, z = (-(-n // step) for n, step in zip(shape, steps, strict=True))
    return x, y, z


def _of_sums(weights: scipy.sparse.csr_matrix, step: int) -> scipy.sparse.csr_matrix:
    """Return the weights of sums of `step` neighbours: the mean of the neighbours' own."""
    if step == 1:
        return weights
    sizes = _sizes(weights.shape[1], step)
    voxel = np.arange(weights.shape[1])
    share = (1 / sizes[voxel // step]).astype(np.float32)
    return (weights @ scipy.sparse.csr_matrix((share, (voxel, voxel // step)))).tocsr()


def _sizes(n_voxels: int, step: int) -> np.ndarray:
    """Return how many voxels each sum is of: the last may be of fewer."""
    return np.diff(np.append(np.arange(0, n_voxels, step), n_voxels))


def _span(weights: scipy.sparse.csr_matrix) -> slice:
    """Return the columns that have weights; one where none has, for there is no volume without voxels."""
    used = np.flatnonzero(np.diff(weights.tocsc().indptr))
    return slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0, 1)


def _renormalized(weights: scipy.sparse.csr_matrix, sizes: np.ndarray) -> scipy.sparse.csr_matrix:
    """Return weights of sums by which each target is a mean of the voxels in them."""
    total = weights @ sizes
    return scipy.sparse.diags((1 / total).astype(np.float32)) @ weights


def _resampled(voxels: np.ndarray, weights: Weights) -> np.ndarray:
    resampler = SlabResampler(weights)
    n_slices = max(1, SLAB_VOXELS // (voxels.shape[1] * voxels.shape[2]))
    for start in range(0, len(voxels), n_slices):
        resampler.add(np.ascontiguousarray(voxels[start : start + n_slices], dtype=np.float32))
    return resampler.result()
