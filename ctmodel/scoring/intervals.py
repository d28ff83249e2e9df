"""How sure a score is: 95 % intervals that hold for few scans, perfect scores and several scans per patient.

Scans of one patient resemble each other, so that they count for less than scans of as many patients. By how
much is the design effect: the variance with patients as units over the variance with scans as units.
"""

import numpy as np
from scipy.optimize import brentq

Z = 1.959963984540054  # the normal quantile of a two-sided 95 %
HAIR = 1e-9

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
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    # rounding must not put the share itself outside, as it can at 0 and 1
    return max(0.0, min(share, float(centre - half))), min(1.0, max(share, float(centre + half)))


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
    return wilson_interval(float(np.mean(hits)), _effective_number(np.asarray(hits, dtype=float), patient))


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
        Wilson's interval of the mean as a share of `largest`, for as many independent scans as these are worth.
        No values of that mean have a larger variance than those that are all 0 or `largest` (Bhatia and Davis
        2000), so that the interval is if anything too wide, and has a width also where all values are equal.

    Examples
    --------
    >>> [round(bound, 3) for bound in mean_interval(np.zeros(20), np.arange(20), largest=1.0)]
    [0.0, 0.161]
    """
    patient = np.unique(patients, return_inverse=True)[1]
    low, high = wilson_interval(float(np.mean(values)) / largest, _effective_number(values, patient))
    return low * largest, high * largest


def _effective_number(values: np.ndarray, patient: np.ndarray) -> float:
    """Return how many independent scans give the same variance of the mean as these."""
    n, n_patients = len(values), int(patient.max()) + 1
    if n_patients == n:
        return n
    if n_patients < 2 or np.all(values == values[0]):  # no spread to learn from: a patient counts once
        return n_patients
    sums = np.bincount(patient, weights=values - values.mean())
    variance = n_patients / (n_patients - 1) * np.sum(sums**2) / n**2
    return min(float(n), max(1.0, float(values.var()) / variance)) if variance > 0 else float(n)


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
    of_positive, of_negative = _placements(scores[positive], scores[~positive])
    value = float(of_positive.mean())
    if patient.max() + 1 == len(patient):
        return value, 1.0
    scans = np.arange(len(patient))
    by_scan, by_patient = (
        _auroc_variance(of_positive - value, of_negative - value, units[positive], units[~positive])
        for units in (scans, patient)
    )
    return value, max(1.0, by_patient / by_scan) if by_scan > 0 and np.isfinite(by_patient) else np.nan


def _placements(positives: np.ndarray, negatives: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of negatives below each positive, and of positives above each negative."""

    def share_below(values: np.ndarray, others: np.ndarray) -> np.ndarray:
        ordered = np.sort(others)
        below, not_above = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
        return (below + not_above) / 2 / len(others)

    return share_below(positives, negatives), 1 - share_below(negatives, positives)


def _auroc_variance(
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
