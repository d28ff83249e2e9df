"""Whether one network is better than another on the same scans, or only luckier.

Both are scored on each scan, so that what makes a scan hard for both takes no part. The scans of a patient stay
together throughout.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtr, stdtrit

from ctmodel.errors import ScoreError
from ctmodel.scoring import metrics
from ctmodel.scoring.influence import macro_auroc_influence, sum_of_squares, two_group_variance, welch_freedom
from ctmodel.scoring.intervals import HAIR, patient_variance
from ctmodel.scoring.scores import Predictions, Threshold

N_RESAMPLES = 2000
BLOCK = 4_000_000  # weights of scans that are held at once, 16 MB

Statistic = Callable[[np.ndarray], np.ndarray]
"""From the weights of scans, (resamples, n), to the score of each resample."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What one network said of some scans, and the class it called for each.

    Attributes
    ----------
    predictions : Predictions
    called : (n,) int array
        Index into the classes.
    """

    predictions: Predictions
    called: np.ndarray

    @classmethod
    def at(cls, predictions: Predictions, threshold: Threshold) -> "Answers":
        """Call each scan from a threshold; of more than two classes the likeliest."""
        return cls(predictions, metrics.predicted_classes(predictions.probabilities, threshold=threshold.value))

    def taken(self, rows: np.ndarray) -> "Answers":
        """Return the answers at some places, in that order."""
        return Answers(self.predictions.taken(rows), self.called[rows])


@dataclass(frozen=True)
class Difference:
    """One score of two networks on the same scans.

    Attributes
    ----------
    score : str
    one, other : float
        The score of each network.
    value : float
        That of the first minus that of the other.
    low, high : float
        Its 95 % interval.
    p : float
        How often chance alone makes networks that are equally good differ as much.
    p_adjusted : float
        The same among all the comparisons that were made together (Holm 1979).
    """

    score: str
    one: float
    other: float
    value: float
    low: float
    high: float
    p: float
    p_adjusted: float

    def __str__(self) -> str:
        return (
            f"{self.one:.3f} - {self.other:.3f} = {self.value:+.3f} "
            f"(95 % interval {self.low:+.3f} to {self.high:+.3f}, p = {self.p_adjusted:.3f})"
        )


def compare(one: Answers, other: Answers, *, n_resamples: int = N_RESAMPLES, seed: int = 0) -> tuple[Difference, ...]:
    """Compare two networks on the same scans.

    Parameters
    ----------
    one, other : Answers
        To the same scans, in any order.
    n_resamples : int
        Resamples of patients.
    seed : int
        Of the resamples.

    Returns
    -------
    tuple of Difference
        auroc (macro_auroc of more classes), average_precision, accuracy, balanced_accuracy, sensitivity and
        specificity (of two classes), brier, log_loss; `p_adjusted` is not adjusted. The AUROC is compared as DeLong
        and others did (1988, Biometrics 44:837), and with several scans of a patient as Obuchowski (1997, Biometrics
        53:567); the others by a bootstrap of patients, within those with and without a positive (a rarest class).

    Raises
    ------
    ScoreError
        If the scans, their patients, classes or labels are not the same, or there are scans of one class only.
    """
    other = _in_order_of(one, other)
    labels, patients = one.predictions.labels, np.unique(one.predictions.patients, return_inverse=True)[1]
    if len(np.unique(labels)) < 2:
        raise ScoreError("comparison: scans of one class only, expected two classes or more; compare on more scans")
    _check_patients(labels, patients)
    chances = one.predictions.probabilities, other.predictions.probabilities
    statistics = [_statistics(labels, network.predictions.probabilities, network.called) for network in (one, other)]
    weights = resample_patients(labels, patients, n_resamples=n_resamples, seed=seed)
    every_class = len(np.unique(labels)) == chances[0].shape[1]
    areas = [_compare_areas(labels, *chances, patients)] if every_class else []
    return (*areas, *_compare_by_bootstrap(statistics[0], statistics[1], weights, labels, patients))


def _check_patients(labels: np.ndarray, patients: np.ndarray) -> None:
    for label in np.unique(labels):
        if len(np.unique(patients[labels == label])) < 2:
            raise ScoreError("comparison: one patient only of a class, expected two or more; compare on more scans")


def compare_all(networks: dict[str, Answers], *, seed: int = 0) -> dict[tuple[str, str], tuple[Difference, ...]]:
    """Compare every network with the first one, and adjust the p values of each score for their number.

    Parameters
    ----------
    networks : dict of str to Answers
        Two or more, to the same scans.
    seed : int

    Returns
    -------
    dict of (name, first name) to tuple of Difference
        As `compare` returns, the first network being the other one.
    """
    first, *others = networks
    return adjust({(name, first): compare(networks[name], networks[first], seed=seed) for name in others})


def adjust(found: dict[tuple[str, str], tuple[Difference, ...]]) -> dict[tuple[str, str], tuple[Difference, ...]]:
    """Adjust the p values of each score for the number of comparisons that were made together."""
    adjusted = [holm([one.p for one in of_score]) for of_score in zip(*found.values(), strict=True)]
    return {
        names: tuple(replace(one, p_adjusted=p[place]) for one, p in zip(differences, adjusted, strict=True))
        for place, (names, differences) in enumerate(found.items())
    }


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted for their number: one below 0.05 among them all is chance 1 time of 20 at most.

    Parameters
    ----------
    p_values : sequence of float

    Returns
    -------
    list of float
        In the same order (Holm 1979, Scandinavian Journal of Statistics 6:65).

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values)
    steps = np.asarray(p_values)[order] * (len(p_values) - np.arange(len(p_values)))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps))
    return [float(p) for p in adjusted]


def _in_order_of(one: Answers, other: Answers) -> Answers:
    """Return the answers of another network in the order of the first one's scans."""
    ours, theirs = one.predictions, other.predictions
    place = {scan: row for row, scan in enumerate(theirs.scans)}
    missing = sorted(set(ours.scans) ^ set(theirs.scans))
    if missing:
        raise ScoreError(
            f"comparison: {len(missing)} scans are scored by one network only ({missing[0]}, ...), expected the same "
            "scans; compare networks of the same split"
        )
    found = other.taken(np.array([place[scan] for scan in ours.scans], dtype=int))
    theirs = found.predictions
    if not np.array_equal(theirs.labels, ours.labels) or theirs.patients != ours.patients:
        raise ScoreError("comparison: the labels or patients differ, expected the same; compare networks of one store")
    if theirs.probabilities.shape != ours.probabilities.shape:
        raise ScoreError("comparison: the numbers of classes differ, expected the same; compare networks of one store")
    return found


def _compare_areas(labels: np.ndarray, one: np.ndarray, other: np.ndarray, patients: np.ndarray) -> Difference:
    """Compare the AUROC of two networks, the mean over classes where there are more than two."""
    areas = [metrics.macro_auroc(labels, probabilities) for probabilities in (one, other)]
    influence = macro_auroc_influence(labels, one) - macro_auroc_influence(labels, other)
    if one.shape[1] > 2:
        variance, freedom = patient_variance(influence, patients), patients.max()
        return _difference("macro_auroc", areas[0], areas[1], variance, float(freedom))
    positive = labels == 1
    variance = two_group_variance(influence, positive, patients)
    parts = [sum_of_squares(influence[group], patients[group]) for group in (positive, ~positive)]
    return _difference("auroc", areas[0], areas[1], variance, welch_freedom(parts))


def _difference(name: str, one: float, other: float, variance: float, freedom: float) -> Difference:
    value, error = one - other, float(np.sqrt(variance))
    half = float(stdtrit(freedom, 0.975)) * error
    p = float(2 * stdtr(freedom, -abs(value) / error)) if error > 0 else float(value == 0)
    return Difference(name, one, other, value, value - half, value + half, p, p)


def _statistics(labels: np.ndarray, probabilities: np.ndarray, called: np.ndarray) -> dict[str, Statistic]:
    """Return the scores of a network as functions of how much each scan counts."""
    hits, every = called == labels, np.ones(len(labels), dtype=bool)
    classes = np.unique(labels)
    recalls = [_weighted_mean(hits, labels == label) for label in classes]
    found = {
        "accuracy": _weighted_mean(hits, every),
        "balanced_accuracy": lambda weights: np.mean([recall(weights) for recall in recalls], axis=0),
    }
    if probabilities.shape[1] == 2:
        found = {"average_precision": _weighted_precision(labels == 1, probabilities[:, 1])} | found
        found |= {"sensitivity": recalls[1], "specificity": recalls[0]}
    return found | {
        "brier": _weighted_mean(metrics.brier_scores(labels, probabilities), every),
        "log_loss": _weighted_mean(metrics.log_losses(labels, probabilities), every),
    }


def _weighted_mean(values: np.ndarray, rows: np.ndarray) -> Statistic:
    chosen = values[rows].astype(float)
    return lambda weights: weights[:, rows] @ chosen / weights[:, rows].sum(axis=1)


def _weighted_precision(positive: np.ndarray, scores: np.ndarray) -> Statistic:
    """Return the average precision as a function of weights."""
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # of scans with equal scores
    is_positive = positive[order]

    def precision(weights: np.ndarray) -> np.ndarray:
        ordered = weights[:, order]
        found = np.cumsum(ordered * is_positive, axis=1)[:, last]
        called = np.cumsum(ordered, axis=1)[:, last]
        new = np.diff(found, axis=1, prepend=0)
        return np.sum(new * found / np.maximum(called, HAIR), axis=1) / found[:, -1]

    return precision


def resample_patients(labels: np.ndarray, patients: np.ndarray, *, n_resamples: int, seed: int) -> np.ndarray:
    """Draw patients with replacement, within those of each class.

    Parameters
    ----------
    labels : (n,) int array
    patients : (n,) int array
        The number of each scan's patient, from 0. The class of a patient is the largest of its scans.
    n_resamples : int
    seed : int

    Returns
    -------
    (n_resamples, patients) float32 array
        How much each patient counts. One patient fewer is drawn than there are, and counts for a little more, so that
        the variance over resamples is that of the score for few patients too (Rao and Wu 1988, Journal of the
        American Statistical Association 83:231).
    """
    random = np.random.default_rng(seed)
    class_of = _classes_of_patients(labels, patients)
    weights = np.zeros((n_resamples, len(class_of)), dtype=np.float32)
    for label in np.unique(class_of):
        own = np.flatnonzero(class_of == label)
        n_drawn = max(1, len(own) - 1)
        drawn = random.integers(len(own), size=(n_resamples, n_drawn)) + len(own) * np.arange(n_resamples)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=n_resamples * len(own)).reshape(n_resamples, len(own))
        weights[:, own] = counts * (len(own) / n_drawn)
    return weights


def _classes_of_patients(labels: np.ndarray, patients: np.ndarray) -> np.ndarray:
    found = np.zeros(patients.max() + 1, dtype=int)
    np.maximum.at(found, patients, labels)
    return found


def _compare_by_bootstrap(
    one: dict[str, Statistic],
    other: dict[str, Statistic],
    weights: np.ndarray,
    labels: np.ndarray,
    patients: np.ndarray,
) -> list[Difference]:
    classes = _classes_of_patients(labels, patients)
    each, equal = 1 - np.eye(len(classes), dtype=np.float32), np.ones((1, len(classes)), dtype=np.float32)

    def resampled(statistic: Statistic, weights: np.ndarray) -> np.ndarray:
        blocks = np.array_split(weights, max(1, len(weights) * len(labels) // BLOCK))
        return np.concatenate([statistic(block[:, patients]) for block in blocks])

    found = []
    for name in one:
        values, without, drawn = (
            [resampled(network[name], chosen) for network in (one, other)] for chosen in (equal, each, weights)
        )
        parts = [_jackknife((without[0] - without[1])[classes == label]) for label in np.unique(classes)]
        variance = float(np.var(drawn[0] - drawn[1]))
        found.append(_difference(name, float(values[0][0]), float(values[1][0]), variance, welch_freedom(parts)))
    return found


def _jackknife(without: np.ndarray) -> tuple[float, int]:
    """Return the variance that the patients of a class add, from the score without each, and their number."""
    n = len(without)
    return float(np.var(without) * (n - 1)), n
