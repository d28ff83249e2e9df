"""What cross-validation tells: of every scan once, or as a mean over folds.

Every scan is scored by a network that has not learnt from its patient. All scores of a fold are of one network, and
the networks of two folds have learnt from many of the same scans, so that folds count for less than their number.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from ctmodel.errors import ScoreError
from ctmodel.scoring import metrics
from ctmodel.scoring.influence import auroc_influence, two_group_interval
from ctmodel.scoring.intervals import Interval
from ctmodel.scoring.scores import Predictions, Score, Scores


def pool(folds: Sequence[Predictions]) -> Predictions:
    """Return the predictions of all folds as one set.

    Parameters
    ----------
    folds : sequence of Predictions
        One at least; with repeats a scan is in several.

    Returns
    -------
    Predictions
        Each scan once, in the order of their names; the probabilities of several networks are averaged. The
        intervals of its scores hold for patients drawn anew, not for networks trained anew.

    Raises
    ------
    ScoreError
        If a scan has another label or patient in another fold.
    """
    scans = np.array([scan for fold in folds for scan in fold.scans])
    patients = np.array([patient for fold in folds for patient in fold.patients])
    labels = np.concatenate([fold.labels for fold in folds])
    probabilities = np.concatenate([fold.probabilities for fold in folds])
    names, first, place, n = np.unique(scans, return_index=True, return_inverse=True, return_counts=True)
    different = (labels != labels[first][place]) | (patients != patients[first][place])
    if different.any():
        raise ScoreError(
            f"{scans[np.argmax(different)]}: label or patient differs between folds, expected the same; pool folds of "
            "one store"
        )
    sums = np.zeros((len(names), probabilities.shape[1]))
    np.add.at(sums, place, probabilities)
    return Predictions(tuple(map(str, names)), tuple(map(str, patients[first])), labels[first], sums / n[:, None])


def fold_auroc(
    positive: np.ndarray, scores: np.ndarray, patients: np.ndarray, folds: np.ndarray
) -> tuple[float, Interval]:
    """Return the mean over folds of the AUROC, which compares scans that the same network scored.

    Parameters
    ----------
    positive : (n,) bool array
    scores : (n,) float array
    patients : (n,) array of str
    folds : (n,) int array
        The fold that each scan was scored in.

    Returns
    -------
    value : float
    interval : (low, high)
        From the influences within folds (LeDell, Petersen and van der Laan 2015, Electronic Journal of Statistics
        9:1583), summed by patient: for patients drawn anew, not for networks trained anew.

    Raises
    ------
    ScoreError
        If a fold lacks positives or negatives.
    """
    names = np.unique(folds)
    influence, areas = np.zeros(len(positive)), []
    for fold in names:
        own = folds == fold
        if len(np.unique(positive[own])) < 2:
            raise ScoreError(f"fold {fold}: scans of one class only, expected both; use fewer folds")
        areas.append(metrics.auroc(positive[own], scores[own]))
        influence[own] = auroc_influence(positive[own], scores[own]) / len(names)
    value = float(np.mean(areas))
    return value, two_group_interval(value, influence, positive, patients)


def mean_of_folds(values: Sequence[float], *, test_share: float) -> tuple[float, Interval]:
    """Return the mean of a score over folds, with an interval that knows that they share training scans.

    Parameters
    ----------
    values : sequence of float
        Of each fold of each repeat; two at least.
    test_share : float
        Scans tested over scans trained on, in a fold: 1/4 for five folds.

    Returns
    -------
    value : float
    interval : (low, high)
        Student's, with the corrected resampled variance (Nadeau and Bengio 2003, Machine Learning 52:239): that
        between folds times 1/folds + `test_share`. It holds for networks trained anew too, and is not cut to the
        score's range.

    Examples
    --------
    >>> value, (low, high) = mean_of_folds([0.8, 0.9, 0.85, 0.95, 0.75], test_share=1 / 4)
    >>> round(value, 3), round(low, 3), round(high, 3)
    (0.85, 0.703, 0.997)
    """
    if len(values) < 2:
        raise ScoreError(f"cross-validation: {len(values)} folds, expected two or more; train more folds")
    mean, n = float(np.mean(values)), len(values)
    variance = float(np.var(values, ddof=1)) * (1 / n + test_share)
    half = float(stdtrit(n - 1, 0.975) * np.sqrt(variance))
    return mean, (mean - half, mean + half)


def average_scores(folds: Sequence[Scores], *, test_share: float) -> dict[str, Score]:
    """Return each score that is finite in every fold as its mean over folds.

    Parameters
    ----------
    folds : sequence of Scores
        Of each fold of each repeat, of about equal sizes; two at least.
    test_share : float
        As in `mean_of_folds`.

    Returns
    -------
    dict of str to Score
        With the interval of `mean_of_folds`; its numbers of scans and patients are the sums over folds.
    """
    every = [fold.all_scores() for fold in folds]
    found = {}
    for name in every[0]:
        scores = [fold[name] for fold in every if name in fold and np.isfinite(fold[name].value)]
        if len(scores) == len(folds):
            value, interval = mean_of_folds([one.value for one in scores], test_share=test_share)
            n, patients = (sum(getattr(one, field) for one in scores) for field in ("n", "patients"))
            found[name] = Score(value, *interval, n=n, patients=patients)
    return found
