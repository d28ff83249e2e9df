"""What a reader of a run must know of how it was trained, before believing its scores."""

from collections.abc import Sequence
from dataclasses import replace

from ctmodel.baselines.results import Baselines
from ctmodel.run.history import Epoch, best_epoch
from ctmodel.run.records import CrossvalRecord
from ctmodel.run.run_folder import Run
from ctmodel.scoring.folds import Fold, FoldScores, score_folds, score_pooled
from ctmodel.scoring.intervals import interval_of_difference
from ctmodel.scoring.scores import Predictions, Score, Scores, Threshold, score

COMPARED = {"auroc": "AUROC", "macro_auroc": "macro AUROC", "log_loss": "log loss"}
"""The scores by which two subsets are compared, as they are called in a sentence."""


def score_own(
    run: Run,
    *,
    validation: Predictions,
    test: Predictions,
    classes: Sequence[str],
    threshold: Threshold,
    prevalence: float | None = None,
    ordered: bool = False,
) -> Scores:
    """Return the scores of a run's own test subset, with what its training lets one doubt.

    Parameters
    ----------
    run : Run
        Whose training is over; its baselines, if it has any, are compared with.
    validation, test : Predictions
        For these two subsets.
    classes : sequence of str
    threshold : Threshold
    prevalence, ordered
        As in `score`.

    Raises
    ------
    ScoreError
        If there are test scans of one class only.
    """
    of_test = score(test, classes=classes, subset="test", threshold=threshold, prevalence=prevalence, ordered=ordered)
    of_validation = score(validation, classes=classes, subset="validation", threshold=threshold)
    doubts = doubts_about(run.history(), epochs=run.settings().epochs, validation=of_validation, test=of_test)
    baselines = run.baselines()
    worse = baselines.notes_about(of_test) if baselines else []
    return replace(of_test, notes=(*worse, *doubts, *of_test.notes))


def score_own_folds(
    run: Run,
    record: CrossvalRecord,
    predictions: Sequence[Predictions],
    *,
    baselines: Baselines | None,
    thresholds: Sequence[Threshold] | None = None,
    prevalence: float | None = None,
    ordered: bool = False,
) -> tuple[Scores, FoldScores]:
    """Return the scores of a cross-validation, with what its trainings let one doubt: pooled, and of each fold.

    Parameters
    ----------
    run : Run
        Of the cross-validation, the trainings of whose folds are over.
    record : CrossvalRecord
        Its folds.
    predictions : sequence of Predictions
        For the test subset of each fold.
    baselines : Baselines or None
        Of the same folds.
    thresholds : sequence of Threshold, optional
        Of each fold; those of their trainings where they are not given.
    prevalence, ordered
        As in `score`.

    Raises
    ------
    ScoreError
        If a fold has test scans of one class only.
    """
    runs = run.folds()
    classes, thresholds = run.store().classes, thresholds or [fold.scores().threshold for fold in runs]
    folds = []
    for fold, threshold, value, of_test in zip(runs, thresholds, record.left_out, predictions, strict=True):
        history, scores = fold.history(), score(of_test, classes=classes, subset="test", threshold=threshold)
        learnt = sum(row.subset in ("train", "validation") for row in fold.split())
        folds.append(Fold(fold.path.name, value, len(history), best_epoch(history).epoch, learnt, scores))
    pooled = score_pooled(
        predictions,
        thresholds,
        classes=classes,
        notes=_doubts_about_folds(run, record, folds),
        prevalence=prevalence,
        ordered=ordered,
    )
    worse = baselines.notes_about(pooled) if baselines else []
    return replace(pooled, notes=(*worse, *pooled.notes)), score_folds(folds, predictions)


def _doubts_about_folds(run: Run, record: CrossvalRecord, folds: Sequence[Fold]) -> list[str]:
    notes = []
    n_last = sum(fold.best_epoch == run.settings().epochs for fold in folds)
    if n_last:
        notes.append(
            f"The best epoch was the last one allowed in {n_last} of {len(folds)} folds: the networks may still have "
            "been improving; train with more epochs."
        )
    values = {fold.scores.threshold.value for fold in folds}
    if len(values) > 1:
        notes.append(f"Each fold has its own threshold, from {min(values):.2f} to {max(values):.2f}.")
    repeats = record.settings.repeats
    if repeats > 1:
        notes.append(
            f"The probability of each scan is the mean of {repeats} networks, one of each repeat; one network alone "
            "may score lower: see the means over folds."
        )
    return notes


def doubts_about(history: Sequence[Epoch], *, epochs: int, validation: Scores, test: Scores) -> list[str]:
    """Say what in a training speaks against its scores.

    Parameters
    ----------
    history : sequence of Epoch
        All of them.
    epochs : int
        The most there might have been.
    validation, test : Scores
        Of the subset that chose the epoch, and of the subset that did not.

    Returns
    -------
    list of str
        Whole sentences; none where there is nothing to doubt.
    """
    notes = []
    if best_epoch(history).epoch == epochs:
        notes.append(
            f"The best epoch was the last one allowed, {epochs}: the network may still have been improving; "
            "train with more epochs."
        )
    for name in [name for name in COMPARED if name in test.scores and name in validation.scores]:
        ours, theirs = test.scores[name], validation.scores[name]
        if differ_beyond_chance(ours, theirs):
            notes.append(
                f"The {COMPARED[name]} is {theirs.value:.2f} on the validation subset and {ours.value:.2f} here, "
                "further apart than chance explains: compare the scans of both before you believe either."
            )
    return notes


def differ_beyond_chance(one: Score, other: Score) -> bool:
    """Return whether the 95 % interval of the difference of two independent scores leaves out 0.

    Examples
    --------
    >>> surely = Score(0.95, 0.90, 0.98, n=200, patients=200)
    >>> differ_beyond_chance(surely, Score(0.80, 0.72, 0.86, n=200, patients=200))
    True
    >>> differ_beyond_chance(surely, Score(0.80, 0.50, 0.95, n=20, patients=20))
    False
    """
    low, high = interval_of_difference(one.bounds, other.bounds)
    return not low <= 0 <= high
