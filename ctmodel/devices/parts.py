"""Which part of a batch each replica takes: contiguous, and cut by pure arithmetic."""

from typing import Any

import numpy as np


def replica_part(batch: np.ndarray, replica: int, replicas: int) -> np.ndarray:
    """Return the contiguous part of a batch that is one replica's; their sizes differ by one at most.

    Parameters
    ----------
    batch : (n,) array
    replica, replicas : int
        Which part, from 0, and of how many.

    Returns
    -------
    (m,) array
        Empty where there are more replicas than rows.

    Examples
    --------
    >>> [replica_part(np.arange(5), replica, 3).tolist() for replica in range(3)]
    [[0], [1, 2], [3, 4]]
    """
    first, last = part_bounds(len(batch), part=replica, parts=replicas)
    return batch[first:last]


def part_bounds(n: Any, *, part: Any, parts: int) -> tuple[Any, Any]:
    """Return where a part of a batch begins and ends; the sizes of parts differ by one at most.

    Parameters
    ----------
    n : int, or scalar tensor
        Scans in the batch.
    part : int, or scalar tensor
        From 0.
    parts : int

    Returns
    -------
    first, last : int, or scalar tensor
        The part is `batch[first:last]`.

    Examples
    --------
    >>> [part_bounds(7, part=part, parts=4) for part in range(4)]
    [(0, 1), (1, 3), (3, 5), (5, 7)]
    """
    return n * part // parts, n * (part + 1) // parts
