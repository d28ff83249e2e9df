"""The points of a ROC curve and of a precision-recall curve, each with a band that knows whose the scans are.

A band is pointwise: at each place it is Wilson's interval of the share found there, for as many scans as have the
variance that the share has over bootstrap resamples of patients. Unlike the range of the resamples it has a width where
a curve is perfect. `tests/ctmodel/views/test_curves.py` measures how often it holds the truth.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ctmodel.scoring.comparison import resample_patients
from ctmodel.scoring.intervals import HAIR, wilson_interval

N_RESAMPLES = 1000
N_PLACES = 101


@dataclass(frozen=True)
class Curve:
    """A curve in the unit square.

    Attributes
    ----------
    x, y : (points,) float array
        False positive rate and sensitivity, or recall and precision.
    places : (places,) float array
        Where the band was computed, along x.
    low, high : (places,) float array
        The 95 % band of y.
    """

    x: np.ndarray
    y: np.ndarray
    places: np.ndarray
    low: np.ndarray
    high: np.ndarray


def roc_curve(positive: np.ndarray, scores: np.ndarray, patients: np.ndarray, *, seed: int = 0) -> Curve:
    """Return sensitivity over false positive rate, from the highest threshold down.

    Parameters
    ----------
    positive : (n,) bool array
        One at least is, and one is not.
    scores : (n,) float array
        Higher means more likely positive.
    patients : (n,) array of str
        Whose scan it is.
    seed : int
        Of the resamples.

    Returns
    -------
    Curve
        One point for each distinct score, after (0, 0).

    Examples
    --------
    >>> curve = roc_curve(np.array([False, True, True]), np.array([0.3, 0.2, 0.9]), np.array(["a", "b", "c"]))
    >>> curve.x.tolist(), curve.y.tolist()
    ([0.0, 0.0, 1.0, 1.0], [0.0, 0.5, 0.5, 1.0])
    """
    ordered = _Ordered.of(positive, scores)
    places = np.linspace(0, 1, N_PLACES)

    def sensitivity(weights: np.ndarray) -> np.ndarray:
        found, alarms = ordered.counts(weights)
        return np.interp(places, alarms / alarms[-1], found / found[-1])

    found, alarms = ordered.counts(np.ones(len(positive)))
    values, variance = _resampled(sensitivity, positive, patients, seed)
    n_positive, n_negative = (len(np.unique(np.asarray(patients)[chosen])) for chosen in (positive, ~positive))
    at_most, without_spread = np.full(N_PLACES, positive.sum()), np.full(N_PLACES, n_positive)
    low, high = _band(values, variance, at_most, without_spread)
    # resamples tell next to nothing of the rate of one negative in all, and of lower ones
    low = np.where(places < 1 / n_negative + HAIR, 0.0, low)
    return Curve(alarms / alarms[-1], found / found[-1], places, low, high)


def precision_recall_curve(positive: np.ndarray, scores: np.ndarray, patients: np.ndarray, *, seed: int = 0) -> Curve:
    """Return precision over recall, from the highest threshold down.

    Parameters
    ----------
    positive, scores, patients, seed
        As in `roc_curve`.

    Returns
    -------
    Curve
        One point for each distinct score that finds a positive. Between two points the precision is that of the
        right one, as in the average precision.

    Examples
    --------
    >>> curve = precision_recall_curve(np.array([True, False, True]), np.array([0.9, 0.5, 0.2]), np.array(list("abc")))
    >>> curve.x.tolist(), curve.y.round(2).tolist()
    ([0.5, 1.0], [1.0, 0.67])
    """
    ordered = _Ordered.of(positive, scores)
    places = np.linspace(0, 1, N_PLACES)

    def points(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        found, alarms = ordered.counts(weights)
        called = found + alarms
        return found / found[-1], found / np.maximum(called, HAIR), called

    def precision(weights: np.ndarray) -> np.ndarray:
        recall, of_called, _ = points(weights)
        return of_called[_place_of(recall, places)]

    recall, of_called, called = points(np.ones(len(positive)))
    values, variance = _resampled(precision, positive, patients, seed)
    n_called = called[_place_of(recall, places)]
    is_new = np.diff(recall, prepend=0) > 0
    share = len(np.unique(patients)) / len(positive)
    band = _band(values, variance, n_called, np.maximum(1, n_called * share))
    return Curve(recall[is_new], of_called[is_new], places, *band)


def _place_of(recall: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the first threshold that finds a positive, and as many as each place asks for."""
    return np.searchsorted(recall, np.maximum(places, 2 * HAIR) - HAIR)


@dataclass(frozen=True)
class _Ordered:
    """Scans in the order of their scores, the highest first, with those of equal scores together."""

    order: np.ndarray
    is_positive: np.ndarray
    last: np.ndarray

    @classmethod
    def of(cls, positive: np.ndarray, scores: np.ndarray) -> "_Ordered":
        order = np.argsort(-scores, kind="stable")
        return cls(order, positive[order], np.flatnonzero(np.append(np.diff(scores[order]) != 0, True)))

    def counts(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the weight of positives and of negatives called at each threshold, the first of which calls none."""
        ordered = weights[self.order].astype(float)
        return tuple(  # type: ignore[return-value]
            np.concatenate([[0.0], np.cumsum(ordered * chosen)[self.last]])
            for chosen in (self.is_positive, ~self.is_positive)
        )


def _resampled(
    statistic: Callable[[np.ndarray], np.ndarray], positive: np.ndarray, patients: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return a statistic of all scans, and its variance over resamples of patients."""
    patient = np.unique(patients, return_inverse=True)[1]
    drawn = resample_patients(positive.astype(int), patient, n_resamples=N_RESAMPLES, seed=seed)
    values = [statistic(weights[patient]) for weights in drawn if _has_both(weights[patient], positive)]
    return statistic(np.ones(len(positive))), np.var(values, axis=0)


def _has_both(weights: np.ndarray, positive: np.ndarray) -> bool:
    return bool(weights[positive].sum() > 0 and weights[~positive].sum() > 0)


def _band(
    values: np.ndarray, variance: np.ndarray, at_most: np.ndarray, without_spread: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return Wilson's interval of each share, for as many trials as give its variance."""
    largest = values * (1 - values)
    is_known = (largest > HAIR) & (variance > HAIR)
    n = np.where(is_known, np.clip(largest / np.where(is_known, variance, 1), 1, at_most), without_spread)
    low, high = zip(*map(wilson_interval, values.tolist(), n.tolist()), strict=True)
    return np.array(low), np.array(high)
