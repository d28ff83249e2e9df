"""How voxels of one grid become voxels of another: separable, antialiased, slab by slab.

Each axis has a matrix of weights from a triangle kernel that is widened by the shrink factor, which Pillow, JAX and
TensorFlow call antialiased linear. Arithmetic is float32 in a fixed order that does not depend on the slabs.
"""

import numpy as np
import scipy.sparse

from ctprep.grid import AxisOrder, Sampling, Triple


def axis_weights(n_source: int, n_target: int, *, scale: float, offset: float) -> scipy.sparse.csr_matrix:
    """Return the weight of every source voxel in every target voxel along one axis.

    Parameters
    ----------
    n_source, n_target : int
        Voxels along the axis.
    scale, offset : float
        Target centre `i` is at source coordinate `scale * i + offset`.

    Returns
    -------
    (n_target, n_source) sparse float32 matrix
        A row sums to 1; taps outside the source are dropped and the row renormalized. The row of a target centre
        outside the source's field of view is empty, which stands for air.

    Examples
    --------
    >>> print(axis_weights(4, 2, scale=2.0, offset=0.5).toarray() * 7)
    [[3. 3. 1. 0.]
     [0. 1. 3. 3.]]
    """
    centre = scale * np.arange(n_target) + offset
    reach = max(scale, 1.0)
    first = np.floor(centre - reach).astype(np.int64) + 1
    tap = first[:, None] + np.arange(int(np.ceil(2 * reach)))
    weight = np.maximum(0.0, 1.0 - np.abs(tap - centre[:, None]) / reach)
    inside = (centre >= -0.5) & (centre <= n_source - 0.5)
    weight[(tap < 0) | (tap >= n_source) | ~inside[:, None]] = 0
    total = weight.sum(axis=1, keepdims=True)
    weight = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0).astype(np.float32)
    row, column = np.nonzero(weight)
    return scipy.sparse.csr_matrix((weight[row, column], (row, tap[row, column])), shape=(n_target, n_source))


def file_axis_weights(
    file_shape: Triple, order: AxisOrder, sampling: Sampling
) -> tuple[scipy.sparse.csr_matrix, scipy.sparse.csr_matrix, scipy.sparse.csr_matrix]:
    """Return the weights along each axis of the file for a sampling that speaks of canonical axes.

    The weights of a flipped axis have their columns reversed, so that the small result needs no flip and the large
    source is never rearranged.
    """
    weights = [scipy.sparse.csr_matrix((0, 0))] * 3
    for world, (axis, flip) in enumerate(zip(order.source, order.flipped, strict=True)):
        along = axis_weights(
            file_shape[axis], sampling.shape[world], scale=sampling.scale[world], offset=sampling.offset[world]
        )
        weights[axis] = along[:, ::-1] if flip else along
    return weights[0], weights[1], weights[2]


class SlabResampler:
    """Resamples a volume that arrives as slabs of slices, keeping only the result in memory.

    Parameters
    ----------
    weights : three sparse (n_target, n_source) float32 matrices
        Along the first, second and third axis of the file; slices are consecutive along the third.

    Examples
    --------
    >>> third = [axis_weights(6, 3, scale=2.0, offset=0.5)] * 3
    >>> resampler = SlabResampler(third)
    >>> for _ in range(3):
    ...     resampler.add(np.ones((2, 6, 6), np.float32))
    >>> resampler.result().shape, float(resampler.result().mean())
    ((3, 3, 3), 1.0)
    """

    def __init__(self, weights: tuple[scipy.sparse.csr_matrix, ...]) -> None:
        self._first, self._second, third = weights
        self._third = third.tocsc()
        self._sum = np.zeros((third.shape[0], self._first.shape[0], self._second.shape[0]), np.float32)
        self._next_slice = 0

    def add(self, slab: np.ndarray) -> None:
        """Take the next slices.

        Parameters
        ----------
        slab : (third, second, first) float32 array
            Consecutive slices in the order of the file's bytes; 0 is air.
        """
        for plane in slab:
            # One slice at a time, so that the order of additions is the same whatever the size of a slab.
            reduced = self._first @ np.ascontiguousarray((self._second @ plane).T)
            begin, end = self._third.indptr[self._next_slice : self._next_slice + 2]
            for target, weight in zip(self._third.indices[begin:end], self._third.data[begin:end], strict=True):
                self._sum[target] += weight * reduced
            self._next_slice += 1

    def result(self) -> np.ndarray:
        """Return the resampled (first, second, third) float32 volume, in the file's axes."""
        return self._sum.transpose(1, 2, 0)
