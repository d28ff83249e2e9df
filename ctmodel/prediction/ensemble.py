"""Several networks become one: their probabilities are averaged."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from ctmodel.data.batches import VolumeReader


class Member(Protocol):
    """What computes class probabilities."""

    def of_rows(self, reader: VolumeReader, rows: np.ndarray) -> np.ndarray:
        """Return the (n, classes) float64 probabilities of some rows of a store."""

    def of_volumes(self, volumes: np.ndarray) -> np.ndarray:
        """Return the (n, classes) float64 probabilities of (n, x, y, z) volumes of a stored dtype."""


class Ensemble:
    """Computes class probabilities as the mean of those of several networks.

    Parameters
    ----------
    members : sequence of Member
        One at least, of the same classes.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = tuple(members)

    def of_rows(self, reader: VolumeReader, rows: np.ndarray) -> np.ndarray:
        """Return the (n, classes) float64 probabilities of some rows of a store; raises what its members do."""
        return self._mean(lambda member: member.of_rows(reader, rows))

    def of_volumes(self, volumes: np.ndarray) -> np.ndarray:
        """Return the (n, classes) float64 probabilities of (n, x, y, z) volumes; raises what its members do."""
        return self._mean(lambda member: member.of_volumes(volumes))

    def _mean(self, probabilities_of: Callable[[Member], np.ndarray]) -> np.ndarray:
        return np.mean([probabilities_of(member) for member in self.members], axis=0)
