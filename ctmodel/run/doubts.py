"""What a reader of a run must know of how it was trained, before believing its scores."""

from collections.abc import Sequence
from dataclasses import replace
from math import hypot

from ctmodel.run.history import Epoch, best_epoch
from ctmodel.run.run_folder import Run
from ctmodel.scoring.scores import Predictions, Score, Scores, Threshold, score

COMPARED = {"auroc": "AUROC", "macro_auroc": "macro AUROC", "log_loss": "log loss"}
"""The scores by which two subsets are compared, as they are called in a sentence."""


def score_own(
    run: Run, *, validation: Predictions, test: Predictions, classes: Sequence[str], threshold: Threshold
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

    Raises
    ------
    ScoreError
        If there are test scans of one class only.
    """
    of_test = score(test, classes=classes, subset="test", threshold=threshold)
    of_validation = score(validation, classes=classes, subset="validation", threshold=threshold)
    doubts = doubts_about(run.history(), epochs=run.settings().epochs, validation=of_validation, test=of_test)
    baselines = run.baselines()
    worse = baselines.notes_about(of_test) if baselines else []
    return replace(of_test, notes=(*worse, *doubts, *of_test.notes))


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

    It is made of the intervals of both (Zou and Donner 2008, Statistics in Medicine 27:1693), which need not be
    symmetrical.

    Examples
    --------
    >>> surely = Score(0.95, 0.90, 0.98, n=200, patients=200)
    >>> differ_beyond_chance(surely, Score(0.80, 0.72, 0.86, n=200, patients=200))
    True
    >>> differ_beyond_chance(surely, Score(0.80, 0.50, 0.95, n=20, patients=20))
    False
    """
    higher, lower = sorted((one, other), key=lambda score: score.value, reverse=True)
    return higher.value - lower.value > hypot(higher.value - higher.low, lower.high - lower.value)
