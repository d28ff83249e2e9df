"""Which row comes when: a shuffle that is arithmetic on (seed, epoch), so that any epoch can be begun anew.

The arithmetic is splitmix64's (Steele, Lea and Flood 2014), not that of NumPy's generators, whose numbers may
change from version to version.
"""

import numpy as np

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def row_keys(rows: np.ndarray, *, seed: int, epoch: int, stream: int | np.ndarray = 0) -> np.ndarray:
    """Return one random-looking number for each row, a function of nothing but the arguments.

    Parameters
    ----------
    rows : (n,) int array
        Rows of a store, not negative.
    seed, epoch : int
        Which training and which pass of it, not negative.
    stream : int or (n,) int array
        Tells apart the uses that one row has for numbers.

    Returns
    -------
    (n,) uint64 array
    """
    keys = np.zeros(len(rows), dtype=np.uint64)
    for part in (seed, epoch, stream, rows):
        keys = _scrambled(keys + np.asarray(part).astype(np.uint64))
    return keys


def _scrambled(keys: np.ndarray) -> np.ndarray:
    keys = keys + _STEP
    keys = (keys ^ (keys >> np.uint64(30))) * _FIRST
    keys = (keys ^ (keys >> np.uint64(27))) * _SECOND
    return keys ^ (keys >> np.uint64(31))


def epoch_order(n_rows: int, *, seed: int, epoch: int) -> np.ndarray:
    """Return the order in which an epoch visits the rows: each exactly once.

    Parameters
    ----------
    n_rows : int
        How many there are.
    seed, epoch : int
        Which training and which pass of it, from 0.

    Returns
    -------
    (n_rows,) int64 array
        A permutation of 0 to n_rows - 1.

    Examples
    --------
    >>> epoch_order(6, seed=7, epoch=0).tolist()
    [1, 0, 4, 2, 3, 5]
    """
    keys = row_keys(np.arange(n_rows), seed=seed, epoch=epoch)
    return np.argsort(keys, kind="stable")


def cut_batches(order: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Cut an order into batches whose sizes differ by one at most, so that no epoch ends on a tiny batch.

    Parameters
    ----------
    order : (n,) int array
        Rows in the order of their visit.
    batch_size : int
        The largest batch.

    Returns
    -------
    list of (m,) int arrays

    Examples
    --------
    >>> [batch.tolist() for batch in cut_batches(np.arange(5), 4)]
    [[0, 1, 2], [3, 4]]
    """
    n_batches = -(-len(order) // batch_size)
    return np.array_split(order, n_batches) if n_batches else []


def epoch_batches(rows: np.ndarray, *, batch_size: int, seed: int, epoch: int, first_step: int = 0) -> list[np.ndarray]:
    """Return the rows of each step of an epoch, from any step on.

    Step `s` trains on the same rows wherever the epoch is begun, and however many replicas share it (`replica_part`).

    Parameters
    ----------
    rows : (n,) int array
        The rows to train on.
    batch_size : int
        The largest batch of all replicas together.
    seed, epoch : int
        Which training and which pass of it, from 0.
    first_step : int
        Steps of the epoch that are over.

    Returns
    -------
    list of (m,) int arrays

    Examples
    --------
    >>> rows = np.array([10, 11, 12, 13, 14, 15, 16])
    >>> [batch.tolist() for batch in epoch_batches(rows, batch_size=4, seed=7, epoch=0)]
    [[11, 16, 10, 14], [12, 13, 15]]
    >>> [batch.tolist() for batch in epoch_batches(rows, batch_size=4, seed=7, epoch=0, first_step=1)]
    [[12, 13, 15]]
    """
    order = rows[epoch_order(len(rows), seed=seed, epoch=epoch)]
    return cut_batches(order, batch_size)[first_step:]
