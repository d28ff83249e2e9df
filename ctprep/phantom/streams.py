"""Independent random streams, each a function of the seed, a purpose and an index."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """What a stream is for; no two purposes share a draw. The numbers are part of every scan: never renumber."""

    SCHEDULE = 0
    ANATOMY = 1
    VESSELS = 2
    LESION_SITES = 3
    SEVERITY = 4
    SCANNER = 5
    POSE = 6
    MIMICS = 7
    TEXTURE = 8
    NOISE = 9
    LUNG_DENSITY = 10
    LESION_PATTERN = 11


def partners(index: int) -> int:
    """Return the number of the pair that a scan, or a patient, belongs to.

    Of two partners one is ill. As in a matched case-control study they share what moves the lung's histogram most and
    is no finding: its density and the mimics. A cohort of a hundred scans would else, by chance, often hold more of it
    in one class.

    Examples
    --------
    >>> [partners(index) for index in range(4)]
    [0, 0, 1, 1]
    """
    return index // 2


def generator(seed: int, stream: Stream, index: int) -> np.random.Generator:
    """Return the generator of one stream.

    Parameters
    ----------
    seed : int
        Seed of the cohort.
    stream : Stream
        What is drawn; draws of one purpose never move those of another.
    index : int
        Of the scan, the patient or the block.

    Examples
    --------
    >>> first, again = (generator(7, Stream.POSE, 3).random() for _ in range(2))
    >>> first == again
    True
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(int(stream), index))))
