"""How sure a score is: 95 % intervals that hold for few scans, perfect scores and several scans per patient.

Scans of one patient resemble each other, so that they count for less than scans of as many patients. By how
much is the design effect: the variance with patients as units over the variance with scans as units.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import brentq
from scipy.special import stdtrit

Z = 1.959963984540054  # the normal quantile of a two-sided 95 %
HAIR = 1e-9
# Patients with the largest value that a mean is given besides those found. Without them 20 scans of a network that is
# rarely and surely wrong have an interval that misses; with a whole one the others are too wide: STATISTICS.md.
UNSEEN = 0.5
N_ANGLES = 361  # an even number of steps to each quarter, so that each limit by itself is among them

Interval = tuple[float, float]


def wilson_interval(share: float, n: float) -> Interval:
    """Return the score interval of a share (Wilson 1927).

    Parameters
    ----------
    share : float
        Found share, 0 to 1.
    n : float
        Out of how many independent trials; a fraction where scans are worth less than one trial each.

    Returns
    -------
    low, high : float

    Examples
    --------
    >>> [round(bound, 3) for bound in wilson_interval(0.9, 10)]
    [0.596, 0.982]
    """
    low, high = (float(wilson_limit(share, n, z)) for z in (-Z, Z))
    # rounding must not put the share itself outside, as it can at 0 and 1
    return max(0.0, min(share, low)), min(1.0, max(share, high))


def wilson_limit(share: float, n: float, z: float | np.ndarray) -> np.ndarray:
    """Return the share that lies `z` standard errors of its own above one found; below it where `z` is negative."""
    z = np.asarray(z, dtype=float)
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    return np.clip(centre + z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)), 0, 1)


def share_interval(hits: np.ndarray, patients: np.ndarray) -> Interval:
    """Return the interval of a share of scans, some of which may be of the same patient.

    Parameters
    ----------
    hits : (n,) bool array
        Which scans count; one at least.
    patients : (n,) array of str
        Whose scan it is.

    Returns
    -------
    low, high : float
        Wilson's interval for as many independent scans as these are worth.
    """
    patient = np.unique(patients, return_inverse=True)[1]
    return wilson_interval(float(np.mean(hits)), effective_number(np.asarray(hits, dtype=float), patient))


def mean_interval(values: np.ndarray, patients: np.ndarray, *, largest: float) -> Interval:
    """Return the interval of a mean of scans, some of which may be of the same patient.

    Parameters
    ----------
    values : (n,) float array
        One of each scan, 0 to `largest`; one at least.
    patients : (n,) array of str
        Whose scan it is.
    largest : float
        The largest value that a scan can have, above 0.

    Returns
    -------
    low, high : float
        Wilson's interval of the mean as a share of `largest`, for as many trials as have the variance of the mean
        between patients. To that variance half a patient more is added whose value is the largest, as few scans may
        lack the rare large value that decides the mean. The trials are never fewer than if all values were 0 or
        `largest`, which have the largest variance that there is (Bhatia and Davis 2000); nor more where all values
        are equal.

    Examples
    --------
    >>> [round(bound, 3) for bound in mean_interval(np.zeros(20), np.arange(20), largest=1.0)]
    [0.0, 0.161]
    """
    patient = np.unique(patients, return_inverse=True)[1]
    share, n_patients = float(np.mean(values)) / largest, int(patient.max()) + 1
    n = effective_number(values, patient)
    if n_patients > 1 and np.ptp(values) > 0:
        variance = patient_variance((values / largest - share) / len(values), patient)
        n = max(n, share * (1 - share) / (variance + UNSEEN * (1 - share) ** 2 / n_patients**2))
    low, high = wilson_interval(share, n)
    return low * largest, high * largest


def effective_number(values: np.ndarray, patient: np.ndarray) -> float:
    """Return how many independent scans give an interval of the mean as wide as these.

    That is the number with the same variance of the mean, times the square of Student's quantile for the scans over
    that for the patients, from which the variance is known (Korn and Graubard 1998, Survey Methodology 24:193).

    Parameters
    ----------
    values : (n,) float array
    patient : (n,) int array
        The number of each scan's patient, from 0 without gaps.
    """
    n, n_patients = len(values), int(patient.max()) + 1
    if n_patients == n:
        return n
    if n_patients < 2 or np.all(values == values[0]):  # no spread to learn from: a patient counts once
        return n_patients
    sums = np.bincount(patient, weights=values - values.mean())
    variance = n_patients / (n_patients - 1) * np.sum(sums**2) / n**2
    if variance <= 0:
        return float(n)
    quantiles = stdtrit(n - 1, 0.975) / stdtrit(n_patients - 1, 0.975)
    return min(float(n), max(1.0, float(values.var() / variance * quantiles**2)))


def propagated_interval(
    function: Callable[[np.ndarray, np.ndarray], np.ndarray], one: tuple[float, float], other: tuple[float, float]
) -> Interval:
    """Return the interval of a function of two independent shares.

    Both shares move at once, by z standard errors together: one by z cos(angle), the other by z sin(angle). The
    interval is what the function takes over all angles (Newcombe 2011, Communications in Statistics 40:3154). A
    monotone function of the function has the same function of the interval.

    Parameters
    ----------
    function : callable
        Of two arrays of shares; may be infinite. Where it is NaN it is left out.
    one, other : (share, n)
        Each share, and out of how many independent trials.

    Returns
    -------
    low, high : float

    Examples
    --------
    How many times as often as 48 of 80 are 56 of 70:

    >>> low, high = propagated_interval(lambda one, other: one / other, (56 / 70, 70), (48 / 80, 80))
    >>> round(low, 2), round(high, 2)
    (1.08, 1.67)
    """
    angles = np.linspace(0, 2 * np.pi, N_ANGLES)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = function(wilson_limit(*one, Z * np.cos(angles)), wilson_limit(*other, Z * np.sin(angles)))
    return float(np.nanmin(found)), float(np.nanmax(found))


def interval_of_mean_share(shares: Sequence[float], numbers: Sequence[float]) -> Interval:
    """Return the interval of the mean of independent shares (Zou and Donner 2008, Statistics in Medicine 27:1693).

    Parameters
    ----------
    shares, numbers : sequences of as many floats
        Each share, and out of how many independent trials.

    Examples
    --------
    >>> low, high = interval_of_mean_share([0.9, 0.7], [50, 50])
    >>> round(low, 3), round(high, 3)
    (0.711, 0.861)
    """
    low, high = np.transpose([wilson_interval(share, n) for share, n in zip(shares, numbers, strict=True)])
    mean, k = np.mean(shares), len(shares)
    return float(mean - np.linalg.norm(shares - low) / k), float(mean + np.linalg.norm(high - shares) / k)


def interval_of_difference(one: tuple[float, float, float], other: tuple[float, float, float]) -> Interval:
    """Return the interval of the difference of two independent scores (Zou and Donner 2008, as above).

    Parameters
    ----------
    one, other : (value, low, high)
        Each score with its interval, which need not be symmetrical.

    Examples
    --------
    >>> low, high = interval_of_difference((0.8, 0.7, 0.9), (0.5, 0.4, 0.6))
    >>> round(low, 3), round(high, 3)
    (0.159, 0.441)
    """
    difference = one[0] - other[0]
    return (
        float(difference - np.hypot(one[0] - one[1], other[2] - other[0])),
        float(difference + np.hypot(one[2] - one[0], other[0] - other[1])),
    )


def influence_interval(
    value: float, influence: np.ndarray, patients: np.ndarray, *, lowest: float = 0.0, highest: float = 1.0
) -> Interval:
    """Return the interval of a bounded score from what each scan adds to it.

    Parameters
    ----------
    value : float
        The score.
    influence : (n,) float array
        First-order change of the score when a scan is added, over n; the sum is 0.
    patients : (n,) array of str
        Whose scan it is.
    lowest, highest : float
        The bounds of the score.

    Returns
    -------
    low, high : float
        Wilson's interval of the score as a share of its range, for as many trials as give the variance of the
        influences summed by patient (the infinitesimal jackknife); for the patients where that variance is 0.
    """
    share = (value - lowest) / (highest - lowest)
    low, high = wilson_interval(share, number_of_variance(share, patient_variance(influence, patients), patients))
    return lowest + (highest - lowest) * low, lowest + (highest - lowest) * high


def patient_variance(influence: np.ndarray, patients: np.ndarray) -> float:
    """Return the variance of a score from its influences, summed by patient; NaN for one patient."""
    sums = np.bincount(np.unique(patients, return_inverse=True)[1], weights=influence)
    return float(len(sums) / (len(sums) - 1) * np.sum((sums - sums.mean()) ** 2)) if len(sums) > 1 else np.nan


def number_of_variance(share: float, variance: float, patients: np.ndarray) -> float:
    """Return how many trials give a share this variance; the number of patients where it says nothing."""
    largest = share * (1 - share)
    # rounding leaves a hair of variance where there is none
    return max(1.0, largest / variance) if largest > HAIR and variance > HAIR * largest else len(np.unique(patients))


def auroc_interval(positive: np.ndarray, scores: np.ndarray, patients: np.ndarray) -> Interval:
    """Return the score interval of an AUROC.

    Parameters
    ----------
    positive : (n,) bool array
        Which scans are positive; one at least is, and one is not.
    scores : (n,) float array
        Higher means more likely positive.
    patients : (n,) array of str
        Whose scan it is.

    Returns
    -------
    low, high : float
        Newcombe's interval (2006, method 5), which unlike a bootstrap has a width when the AUROC is 1; its
        variance is multiplied by the design effect of Obuchowski (1997) where a patient has several scans.
    """
    patient = np.unique(patients, return_inverse=True)[1]
    value, effect = _auroc_and_design_effect(positive, scores, patient)
    n_positive, n_negative = np.sum(positive), np.sum(~positive)
    if np.isnan(effect):  # no spread to learn from: a patient counts once
        n_positive, n_negative = (len(np.unique(patient[group])) for group in (positive, ~positive))
        effect = 1.0
    extra = (n_positive + n_negative) / 2 - 1

    def excess(theta: float) -> float:
        spread = 1 + extra * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return (value - theta) ** 2 - Z**2 * effect * theta * (1 - theta) * spread / (n_positive * n_negative)

    # 0 and 1 are roots themselves where they are the value found: the search begins a hair inside
    low = brentq(excess, 0, min(value, 1 - HAIR)) if value > 0 else 0.0
    high = brentq(excess, max(value, HAIR), 1) if value < 1 else 1.0
    return float(low), float(high)


def _auroc_and_design_effect(positive: np.ndarray, scores: np.ndarray, patient: np.ndarray) -> tuple[float, float]:
    """Return the AUROC and its design effect, NaN where the scans show no spread."""
    of_positive, of_negative = placements(scores[positive], scores[~positive])
    value = float(of_positive.mean())
    if patient.max() + 1 == len(patient):
        return value, 1.0
    scans = np.arange(len(patient))
    by_scan, by_patient = (
        placement_variance(of_positive - value, of_negative - value, units[positive], units[~positive])
        for units in (scans, patient)
    )
    return value, max(1.0, by_patient / by_scan) if by_scan > 0 and np.isfinite(by_patient) else np.nan


def placements(positives: np.ndarray, negatives: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of negatives below each positive, and of positives above each negative."""

    def share_below(values: np.ndarray, others: np.ndarray) -> np.ndarray:
        ordered = np.sort(others)
        below, not_above = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
        return (below + not_above) / 2 / len(others)

    return share_below(positives, negatives), 1 - share_below(negatives, positives)


def placement_variance(
    of_positive: np.ndarray, of_negative: np.ndarray, positive_unit: np.ndarray, negative_unit: np.ndarray
) -> float:
    """Return Obuchowski's variance from centred placements and the unit, patient or scan, of each."""
    n_units = int(max(positive_unit.max(), negative_unit.max())) + 1
    of_positive_unit = np.bincount(positive_unit, weights=of_positive, minlength=n_units) / len(of_positive)
    of_negative_unit = np.bincount(negative_unit, weights=of_negative, minlength=n_units) / len(of_negative)
    with_positive, with_negative = len(np.unique(positive_unit)), len(np.unique(negative_unit))
    if min(with_positive, with_negative) < 2:
        return np.nan
    return float(
        with_positive / (with_positive - 1) * np.sum(of_positive_unit**2)
        + with_negative / (with_negative - 1) * np.sum(of_negative_unit**2)
        + 2 * n_units / (n_units - 1) * np.sum(of_positive_unit * of_negative_unit)
    )
