"""What cross-validation tells: of every scan once, or as a mean over folds.

Every scan is scored by a network that has not learnt from its patient. All scores of a fold are of one network, and
the networks of two folds have learnt from many of the same scans, so that folds count for less than their number.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy.special import stdtrit

from ctmodel.errors import ScoreError
from ctmodel.scoring import metrics
from ctmodel.scoring.influence import auroc_influence, two_group_interval
from ctmodel.scoring.intervals import Interval
from ctmodel.scoring.scores import Predictions, Score, Scores, Threshold, score
from ctprep.text import html_table

CROSS_VALIDATED = "cross-validated"
"""What is scored, of the scans of all folds together."""

OF_THESE_NETWORKS = (
    "The 95 % intervals are for other patients but these networks: in simulations with 40 to 1,000 patients they held "
    "the AUROC of networks trained anew 84 to 97 times of 100."
)
"""What is noted of pooled scores: make bench-statistics."""

FOLD_HEADER = ("fold", "scans", "patients", "AUROC", "log loss", "best epoch")


@dataclass(frozen=True)
class Fold:
    """One fold of a cross-validation.

    Attributes
    ----------
    name : str
        Of its run folder.
    left_out : str
        The value of a column that it tests on; empty where the folds are drawn.
    epochs, best_epoch : int
        Of its training.
    learnt : int
        Scans of its training and validation subsets.
    scores : Scores
        Of its test subset.
    """

    name: str
    left_out: str
    epochs: int
    best_epoch: int
    learnt: int
    scores: Scores

    def cells(self) -> list[str]:
        """Return its row of the table of folds."""
        found = self.scores.scores
        area = found.get("auroc") or found.get("macro_auroc")
        shown = [
            f"{one.value:.3f}  {one.low:.3f} to {one.high:.3f}" if one else "" for one in (area, found["log_loss"])
        ]
        name = f"{self.name} ({self.left_out})" if self.left_out else self.name
        return [name, str(self.scores.n), str(self.scores.patients), *shown, f"{self.best_epoch} of {self.epochs}"]


@dataclass(frozen=True)
class FoldScores:
    """The scores of each fold of a cross-validation, and their means.

    Attributes
    ----------
    folds : tuple of Fold
        Of each repeat, in order.
    mean : dict of str to Score
        Over folds, as `average_scores` has it.
    within : Score or None
        The AUROC within folds, as `fold_auroc` has it; None of more than two classes.
    """

    folds: tuple[Fold, ...]
    mean: dict[str, Score]
    within: Score | None = None

    def lines(self) -> list[str]:
        """Return a table of the means, and one with a line for each fold."""
        means = [
            (name.replace("_", " "), one) for name, one in self.mean.items() if name in self.folds[0].scores.scores
        ]
        width = max(len(name) for name, _ in means) + 2
        return [
            f"means over {len(self.folds)} folds, with 95 % intervals that hold for other networks too",
            *(f"  {name:<{width}}{_interval(one)}" for name, one in means),
            *self._within_lines(),
            "folds, each tested on patients that its network has not learnt from",
            *_table([list(FOLD_HEADER), *(fold.cells() for fold in self.folds)]),
        ]

    def _within_lines(self) -> Iterator[str]:
        if self.within:
            yield f"mean AUROC, with an interval for other patients, but these networks: {_interval(self.within)}"

    def _repr_html_(self) -> str:
        """Return a table for a notebook."""
        return html_table("folds, with 95 % intervals", FOLD_HEADER, (fold.cells() for fold in self.folds))

    def to_dict(self) -> dict[str, Any]:
        """Return plain dictionaries and lists, ready for JSON."""
        return {
            "folds": [vars(fold) | {"scores": fold.scores.to_dict()} for fold in self.folds],
            "mean_of_folds": {name: asdict(one) for name, one in self.mean.items()},
            "auroc_within_folds": asdict(self.within) if self.within else None,
        }

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "FoldScores":
        """Return the scores that `to_dict` described."""
        within = saved["auroc_within_folds"]
        return cls(
            tuple(Fold(**fold | {"scores": Scores.from_dict(fold["scores"])}) for fold in saved["folds"]),
            {name: Score(**one) for name, one in saved["mean_of_folds"].items()},
            Score(**within) if within else None,
        )


def _interval(one: Score) -> str:
    if one.low == one.high:
        return f"{one.value:.3f}  the same in every fold, so that they give no interval"
    return f"{one.value:.3f}  {one.low:.3f} to {one.high:.3f}"


def _table(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) + 2 for column in zip(*rows, strict=True)]
    return [
        "  " + "".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def score_folds(folds: Sequence[Fold], predictions: Sequence[Predictions]) -> FoldScores:
    """Return what folds tell beside their pooled scores.

    Parameters
    ----------
    folds : sequence of Fold
        Two at least.
    predictions : sequence of Predictions
        For the test subset of each.
    """
    test_share = sum(fold.scores.n for fold in folds) / sum(fold.learnt for fold in folds)
    mean = average_scores([fold.scores for fold in folds], test_share=test_share)
    if len(folds[0].scores.classes) > 2:
        return FoldScores(tuple(folds), mean)
    patients = np.concatenate([np.array(fold.patients) for fold in predictions])
    numbers = np.repeat(np.arange(len(folds)), [len(fold.scans) for fold in predictions])
    positive = np.concatenate([fold.labels for fold in predictions]) == 1
    chances = np.concatenate([fold.probabilities[:, 1] for fold in predictions])
    value, (low, high) = fold_auroc(positive, chances, patients, numbers)
    n_scans = len({scan for fold in predictions for scan in fold.scans})
    within = Score(value, low, high, n=n_scans, patients=len(set(patients.tolist())))
    return FoldScores(tuple(folds), mean, within)


def score_pooled(
    folds: Sequence[Predictions],
    thresholds: Sequence[Threshold],
    *,
    classes: Sequence[str],
    notes: Sequence[str] = (),
    prevalence: float | None = None,
    ordered: bool = False,
) -> Scores:
    """Score the scans of all folds as one set, each called at the thresholds of the networks that it was scored by.

    Parameters
    ----------
    folds : sequence of Predictions
        As in `pool`.
    thresholds : sequence of Threshold
        Of each of them.
    classes, notes, prevalence, ordered
        As in `score`.

    Returns
    -------
    Scores
        Its threshold is the mean of all. A note says what its intervals do not cover.
    """
    pooled = pool(folds)
    called = called_of_pooled(folds, thresholds)
    mean = float(np.mean([threshold.value for threshold in thresholds]))
    return score(
        pooled,
        classes=classes,
        subset=CROSS_VALIDATED,
        threshold=replace(thresholds[0], value=mean),
        notes=(*notes, OF_THESE_NETWORKS),
        prevalence=prevalence,
        ordered=ordered,
        called=called,
    )


def called_of_pooled(folds: Sequence[Predictions], thresholds: Sequence[Threshold]) -> np.ndarray:
    """Return the class called for each scan of `pool`, at the mean threshold of the networks that it was scored by."""
    pooled = pool(folds)
    if pooled.probabilities.shape[1] > 2:
        return metrics.predicted_classes(pooled.probabilities, threshold=0.5)
    limits = [
        replace(fold, probabilities=np.full((len(fold.scans), 1), threshold.value))
        for fold, threshold in zip(folds, thresholds, strict=True)
    ]
    return (pooled.probabilities[:, 1] >= pool(limits).probabilities[:, 0]).astype(np.int64)


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
