"""How much each scan moves a score: the basis of intervals where no closed form is known.

The influence of a scan is the first-order change of the score when that scan gets more weight, divided by the number of
scans. Influences of the scans of a patient add up; their squares over patients are the variance of the score (the
infinitesimal jackknife, Efron 1982). Influences of two networks on the same scans subtract, which makes paired tests.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from ctmodel.scoring import metrics
from ctmodel.scoring.intervals import (
    Interval,
    Z,
    number_of_variance,
    placement_variance,
    placements,
    wilson_interval,
)


def auroc_influence(positive: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the influence of each scan on the AUROC, from its placement (DeLong and others 1988, Biometrics 44:837).

    Parameters
    ----------
    positive : (n,) bool array
        One at least is, and one is not.
    scores : (n,) float array

    Returns
    -------
    (n,) float array
        Its sum over positives is 0, and over negatives.
    """
    of_positive, of_negative = placements(scores[positive], scores[~positive])
    return _by_scan(positive, of_positive - of_positive.mean(), of_negative - of_negative.mean())


def _by_scan(positive: np.ndarray, of_positive: np.ndarray, of_negative: np.ndarray) -> np.ndarray:
    influence = np.empty(len(positive))
    influence[positive], influence[~positive] = of_positive / len(of_positive), of_negative / len(of_negative)
    return influence


def macro_auroc_influence(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the influence of each scan on the mean AUROC of every class against all others.

    Parameters
    ----------
    labels : (n,) int array
        Every class is present.
    probabilities : (n, classes) float array
    """
    return np.mean([auroc_influence(labels == label, own) for label, own in enumerate(probabilities.T)], axis=0)


def two_group_variance(influence: np.ndarray, positive: np.ndarray, patients: np.ndarray) -> float:
    """Return the variance of a score that compares positives with negatives (Obuchowski 1997, Biometrics 53:567).

    Parameters
    ----------
    influence : (n,) float array
        Sums to 0 over positives, and over negatives.
    positive : (n,) bool array
    patients : (n,) array of str
        Whose scan it is.

    Returns
    -------
    float
        With one scan of each patient DeLong's; NaN for fewer than two patients with positives, or with negatives.
    """
    unit = np.unique(patients, return_inverse=True)[1]
    return placement_variance(
        influence[positive] * np.sum(positive),
        influence[~positive] * np.sum(~positive),
        unit[positive],
        unit[~positive],
    )


def average_precision_interval(positive: np.ndarray, scores: np.ndarray, patients: np.ndarray) -> Interval:
    """Return the interval of the average precision.

    Parameters
    ----------
    positive : (n,) bool array
        One at least is, and one is not.
    scores : (n,) float array
    patients : (n,) array of str
        Whose scan it is.

    Returns
    -------
    low, high : float
        Wilson's interval for as many positives as give its variance, to which the share of positives adds as in
        patients taken as they come. Where that is 0, as where the score is 1, for the patients with a positive.
    """
    value = metrics.average_precision(positive, scores)
    p, q, place = _shares_above(positive, scores)
    share = float(positive.mean())
    slope = float(np.mean((p * q / (p + q) ** 2)[place[positive]])) / (share * (1 - share))
    of_share = slope**2 * share * (1 - share) / len(np.unique(patients))
    influence = _average_precision_influence(positive, scores)
    return two_group_interval(value, influence, positive, patients, more_variance=of_share)


def _shares_above(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the shares of scans that are positives and negatives at or above each score, and each scan's place."""
    place = np.unique(-scores, return_inverse=True)[1]
    n = place.max() + 1
    p, q = (np.cumsum(np.bincount(place[group], minlength=n)) / len(positive) for group in (positive, ~positive))
    return p, q, place


def _average_precision_influence(positive: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the influence on the average precision, which is the mean over positives of the precision p/(p + q).

    Here p is the share of all scans that are positives at or above a positive's score, and q that of negatives.
    """
    p, q, place = _shares_above(positive, scores)
    share = np.bincount(place[positive], minlength=len(p)) / np.sum(positive)

    def below(slope: np.ndarray) -> np.ndarray:
        """Return the mean of a slope over positives, of those at or below each scan's score."""
        return np.cumsum((slope * share)[::-1])[::-1][place]

    own_share = positive.mean()
    of_positive = (p / (p + q))[place] + own_share * below(q / (p + q) ** 2)
    of_negative = -(1 - own_share) * below(p / (p + q) ** 2)
    return _by_scan(
        positive,
        of_positive[positive] - of_positive[positive].mean(),
        of_negative[~positive] - of_negative[~positive].mean(),
    )


def partial_auroc_interval(
    positive: np.ndarray, scores: np.ndarray, patients: np.ndarray, *, max_fpr: float
) -> Interval:
    """Return the interval of the standardized partial AUROC.

    Parameters
    ----------
    positive, scores, patients
        As in `average_precision_interval`.
    max_fpr : float
        As in `metrics.partial_auroc`.

    Returns
    -------
    low, high : float
        Of the mean sensitivity at false positive rates up to `max_fpr`: Wilson's interval for as many positives as
        give its variance, which Zhang and others (2002, Academic Radiology 9:1) made of placements. It is too narrow
        where `max_fpr` of the negatives are but one or two.
    """
    lowest = metrics.standardized_area(0, max_fpr)
    mean = (metrics.partial_auroc(positive, scores, max_fpr=max_fpr) - lowest) / (1 - lowest)
    influence = _partial_auroc_influence(positive, scores, max_fpr)
    low, high = two_group_interval(mean, influence, positive, patients, share_of_negatives=max_fpr)
    return lowest + (1 - lowest) * low, lowest + (1 - lowest) * high


def two_group_interval(
    value: float,
    influence: np.ndarray,
    positive: np.ndarray,
    patients: np.ndarray,
    *,
    share_of_negatives: float = 1.0,
    more_variance: float = 0.0,
) -> Interval:
    """Return Wilson's interval of a score from 0 to 1, with Student's quantile in place of the normal one."""
    variance = two_group_variance(influence, positive, patients) + more_variance
    n = number_of_variance(value, variance, patients[positive])
    parts = [sum_of_squares(influence[group], patients[group]) for group in (positive, ~positive)]
    freedom = welch_freedom([parts[0], (parts[1][0], parts[1][1] * share_of_negatives)])
    return wilson_interval(value, n * (Z / float(stdtrit(freedom, 0.975))) ** 2)


def sum_of_squares(influence: np.ndarray, patients: np.ndarray) -> tuple[float, int]:
    """Return the variance that some patients add, and their number."""
    sums = np.bincount(np.unique(patients, return_inverse=True)[1], weights=influence)
    return float(np.sum(sums**2)), len(sums)


def welch_freedom(parts: Sequence[tuple[float, float]]) -> float:
    """Return the degrees of freedom of a sum of variances, each of a number of patients (Welch 1947)."""
    total = sum(variance for variance, _ in parts)
    spread = sum(variance**2 / max(1.0, n - 1) for variance, n in parts)
    return total**2 / spread if spread > 0 else np.inf


def _partial_auroc_influence(positive: np.ndarray, scores: np.ndarray, max_fpr: float) -> np.ndarray:
    """Return the influence on the mean sensitivity at false positive rates up to one."""
    of_positive, of_negative = placements(scores[positive], scores[~positive])
    # a positive is found from its false positive rate on; a negative counts once it is among the false positives
    found = np.maximum(0, max_fpr - (1 - of_positive)) / max_fpr
    sensitivity = np.quantile(of_negative, max_fpr, method="inverted_cdf")
    lost = np.minimum(of_negative - sensitivity, 0) / max_fpr
    return _by_scan(positive, found - found.mean(), lost - lost.mean())


def kappa_influence(labels: np.ndarray, called: np.ndarray) -> np.ndarray:
    """Return the influence of each scan on the quadratic weighted kappa (Fleiss, Cohen and Everitt 1969).

    Parameters
    ----------
    labels, called : (n,) int array
        Not all of one class.
    """
    off = (labels - called) ** 2.0
    # of a scan with any other: its class with their calls, and its call with their classes
    with_others = (labels - called.mean()) ** 2 + called.var() + (called - labels.mean()) ** 2 + labels.var()
    by_chance = with_others.mean() / 2
    return (off.mean() * (with_others - 2 * by_chance) / by_chance - (off - off.mean())) / by_chance / len(labels)


def macro_f1_influence(labels: np.ndarray, called: np.ndarray, n_classes: int) -> np.ndarray:
    """Return the influence of each scan on the mean F1 score of every class against all others.

    Parameters
    ----------
    labels, called : (n,) int array
        Every class is present or called.
    n_classes : int
    """
    classes = np.arange(n_classes)[:, None]
    own, calls = labels == classes, called == classes
    hits, sizes = 2.0 * (own & calls), 1.0 * own + calls
    f1 = hits.sum(axis=1) / sizes.sum(axis=1)
    return np.mean((hits - f1[:, None] * sizes) / sizes.sum(axis=1)[:, None], axis=0)
