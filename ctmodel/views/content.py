"""What a report tells of a finished run, read once and checked: its files alone are asked, not its store."""

import os
from dataclasses import dataclass

import numpy as np

from ctmodel.baselines.chance import scores_by_chance
from ctmodel.baselines.results import Baselines
from ctmodel.errors import RunDamaged
from ctmodel.run.history import Epoch
from ctmodel.run.records import NetworkRecord, SplitRow, StoreRecord
from ctmodel.run.run_folder import Run
from ctmodel.scoring import metrics
from ctmodel.scoring.scores import Predictions, Scores
from ctmodel.settings import TrainSettings


@dataclass(frozen=True)
class RunContent:
    """The files of a finished run.

    Attributes
    ----------
    settings : TrainSettings
    store : StoreRecord
    network : NetworkRecord
    split : list of SplitRow
    history : list of Epoch
    scores : Scores
        Of the test subset.
    baselines : Baselines or None
    test : Predictions
        Of the test subset, which the scores are of.
    """

    settings: TrainSettings
    store: StoreRecord
    network: NetworkRecord
    split: list[SplitRow]
    history: list[Epoch]
    scores: Scores
    baselines: Baselines | None
    test: Predictions

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
    test = run.predictions(subset="test")
    _check_suits(run, test, scores)
    return RunContent(
        run.settings(), run.store(), run.network(), run.split(), run.history(), scores, run.baselines(), test
    )


def _check_suits(run: Run, test: Predictions, scores: Scores) -> None:
    wrong = ""
    if not np.allclose(test.probabilities.sum(axis=1), 1, atol=1e-3):
        wrong = "has probabilities that do not sum to 1"
    elif _confusion(test, scores) != scores.confusion:
        wrong = "gives another table of true and predicted classes than scores.json"
    if wrong:
        raise RunDamaged(f"{run.path / 'predictions.csv'}: {wrong}; restore it or train again")


def _confusion(predictions: Predictions, scores: Scores) -> tuple[tuple[int, ...], ...]:
    called = metrics.predicted_classes(predictions.probabilities, threshold=scores.threshold.value)
    n = len(scores.classes)
    return tuple(map(tuple, np.bincount(n * predictions.labels + called, minlength=n * n).reshape(n, n).tolist()))


def scored_scans(scores: Scores) -> str:
    """Return what was scored, as a title or a caption says it."""
    return f"{scores.subset} subset, n = {scores.n:,} scans of {scores.patients:,} patients"
