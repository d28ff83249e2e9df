"""The folder that a cross-validation leaves: a run for each fold, and beside them what is known of all together.

It is a run itself, which has folds in place of weights: its split learns from every labelled scan, and its scores are
those of all scans, each scored by the network that has not learnt from it.
"""

import os
from collections.abc import Sequence

import numpy as np

from ctmodel.run.files import read_json, write_json
from ctmodel.run.records import CrossvalRecord, NetworkRecord, SplitRow, StoreRecord
from ctmodel.run.run_folder import BEGUN, CROSSVAL, DIGESTS, FOLDS, Run
from ctmodel.scoring.folds import FoldScores
from ctmodel.scoring.scores import Predictions
from ctmodel.settings import TrainSettings


class CrossvalRun(Run):
    """The files of one cross-validation, beside those of its folds.

    Parameters
    ----------
    path : Path
        The folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self._begun = (CROSSVAL, *BEGUN)

    def begin_folds(
        self,
        record: CrossvalRecord,
        settings: TrainSettings,
        store: StoreRecord,
        network: NetworkRecord,
        split: Sequence[SplitRow],
    ) -> None:
        """Make the folder, and write what is known before the first fold; raises what `begin` does."""
        with self._written():
            self._make()
            write_json(self.path / CROSSVAL, record.to_dict())
        self.begin(settings, store, network, split)

    def write_fold_predictions(
        self, folds: Sequence[Predictions], *, names: Sequence[str], called: Sequence[np.ndarray]
    ) -> None:
        """Write one row for each scan of each fold, called by the network that has not learnt from it.

        Parameters
        ----------
        folds : sequence of Predictions
            For the test subset of each.
        names : sequence of str
            Of each fold.
        called : sequence of (n,) int arrays
            The class called for each scan of a fold.
        """
        together = Predictions(
            tuple(scan for fold in folds for scan in fold.scans),
            tuple(patient for fold in folds for patient in fold.patients),
            np.concatenate([fold.labels for fold in folds]),
            np.concatenate([fold.probabilities for fold in folds]),
        )
        of_fold = [name for name, fold in zip(names, folds, strict=True) for _ in fold.scans]
        calls = np.concatenate(called).tolist()
        self.write_predictions(together, subsets=of_fold, called=calls, classes=self.store().classes, column="fold")

    def write_fold_scores(self, scores: FoldScores) -> None:
        """Write the scores of each fold, and their means."""
        write_json(self.path / FOLDS, scores.to_dict())

    def fold_scores(self) -> FoldScores:
        """Return what `write_fold_scores` wrote."""
        with self._reading(FOLDS) as path:
            return FoldScores.from_dict(read_json(path))

    def _sealed(self) -> Sequence[str]:
        return (CROSSVAL, *BEGUN, FOLDS, *(f"{fold.path.name}/{DIGESTS}" for fold in self.folds()))
