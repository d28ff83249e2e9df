"""What a report tells of a finished run, read once and checked: its files alone are asked, not its store."""

import os
from dataclasses import dataclass

import numpy as np

from ctmodel.baselines.chance import scores_by_chance
from ctmodel.baselines.results import Baselines
from ctmodel.errors import RunDamaged
from ctmodel.run.crossval_folder import CrossvalRun
from ctmodel.run.history import Epoch
from ctmodel.run.predictions import read_predictions
from ctmodel.run.records import CrossvalRecord, NetworkRecord, SplitRow, StoreRecord
from ctmodel.run.run_folder import Run
from ctmodel.scoring import metrics
from ctmodel.scoring.folds import FoldScores
from ctmodel.scoring.scores import SUBSETS, Predictions, Scores
from ctmodel.settings import TrainSettings


@dataclass(frozen=True)
class RunContent:
    """The files of a finished run, of a single training or of a cross-validation.

    Attributes
    ----------
    settings : TrainSettings
    store : StoreRecord
    network : NetworkRecord
    split : list of SplitRow
    history : list of Epoch
        None of a cross-validation.
    scores : Scores
        Of the test subset, which is every labelled scan in a cross-validation.
    baselines : Baselines or None
    test : Predictions
        Of the test subset, which the scores are of.
    called : (n,) int array
        The class that each of its scans is called.
    division : CrossvalRecord or None
        How a cross-validation divided the scans.
    folds : FoldScores or None
        Of a cross-validation.
    """

    settings: TrainSettings
    store: StoreRecord
    network: NetworkRecord
    split: list[SplitRow]
    history: list[Epoch]
    scores: Scores
    baselines: Baselines | None
    test: Predictions
    called: np.ndarray
    division: CrossvalRecord | None = None
    folds: FoldScores | None = None

    def by_chance(self) -> dict[str, float]:
        """Return what each score is for a network that gives every scan the share of each class."""
        return scores_by_chance([sum(row) for row in self.scores.confusion])


def read_content(path: str | os.PathLike[str]) -> RunContent:
    """Read a finished run.

    Raises
    ------
    RunMissing
        If it is not a run, or not finished.
    RunDamaged
        If a file of it has changed, cannot be read, or contradicts another.
    """
    run = Run(path)
    run.check_is_finished()
    scores = run.scores()
    if division := run.crossval():
        answers, folds, history = read_predictions(run.path).tested(), CrossvalRun(path).fold_scores(), []
        test, called = answers.predictions, answers.called
    else:
        test, folds, history = run.predictions(subset="test"), None, run.history()
        called = metrics.predicted_classes(test.probabilities, threshold=scores.threshold.value)
    _check_suits(run, test, called, scores)
    return RunContent(
        settings=run.settings(),
        store=run.store(),
        network=run.network(),
        split=run.split(),
        history=history,
        scores=scores,
        baselines=run.baselines(),
        test=test,
        called=called,
        division=division,
        folds=folds,
    )


def _check_suits(run: Run, test: Predictions, called: np.ndarray, scores: Scores) -> None:
    wrong = ""
    if not np.allclose(test.probabilities.sum(axis=1), 1, atol=1e-3):
        wrong = "has probabilities that do not sum to 1"
    elif _confusion(test.labels, called, n=len(scores.classes)) != scores.confusion:
        wrong = "gives another table of true and predicted classes than scores.json"
    if wrong:
        raise RunDamaged(f"{run.path / 'predictions.csv'}: {wrong}; restore it or train again")


def _confusion(labels: np.ndarray, called: np.ndarray, *, n: int) -> tuple[tuple[int, ...], ...]:
    return tuple(map(tuple, np.bincount(n * labels + called, minlength=n * n).reshape(n, n).tolist()))


def scored_scans(scores: Scores) -> str:
    """Return what was scored, as a title or a caption says it."""
    which = f"{scores.subset} subset" if scores.subset in SUBSETS else scores.subset
    return f"{which}, n = {scores.n:,} scans of {scores.patients:,} patients"
