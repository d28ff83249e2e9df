"""A run's network and baselines, trained again on permuted labels: how good their scores are by luck."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ctmodel.baselines.null import NullScores, judge, permuted_labels
from ctmodel.baselines.score import Features, describe_rows, score_each
from ctmodel.data.batches import VolumeReader, open_volumes
from ctmodel.data.split import UNLABELLED, Split, merge_patients
from ctmodel.errors import RunMismatch
from ctmodel.prediction.evaluate import Evaluation
from ctmodel.run.run_folder import Run
from ctmodel.scoring.scores import Score
from ctmodel.settings import Execution
from ctmodel.training.train import ignore, new_task, train_task
from ctprep.store.store import Store

NETWORK = "network"
PERMUTATIONS = 200


def permutation_test(
    evaluation: Evaluation,
    n: int = PERMUTATIONS,
    *,
    network: bool = False,
    seed: int = 0,
    say: Callable[[str], object] = ignore,
) -> NullScores:
    """Train a run's baselines, and its network on request, on labels that are permuted among patients.

    Parameters
    ----------
    evaluation : Evaluation
        Of a run on its own test subset.
    n : int
        Permutations, one or more; p is 1 / (n + 1) at least.
    network : bool
        Train the network as well, with the run's settings: this takes n times as long as its training.
    seed : int
        Of the permutations.
    say : callable
        Called with a line of text where there is something to tell.

    Returns
    -------
    NullScores
        The labels of the training and validation subsets are permuted, those of the test subset are not. Without the
        baseline that knows nothing of a scan.

    Raises
    ------
    RunMismatch
        If the evaluation is of another store, or of a cross-validation.
    ScoreError
        If the patients are too few to permute.

    Examples
    --------
    >>> from ctmodel import evaluate
    >>> found = permutation_test(evaluate("run"), 19)
    >>> sorted(found.scores), found.scores["metadata"]["log_loss"].p
    (['lung histogram', 'metadata'], 0.05)
    """
    folder = Run(evaluation.run)
    if evaluation.scores.subset != "test" or folder.crossval():
        raise RunMismatch(
            f"{evaluation.run}: its labels cannot be permuted for {evaluation.scores.subset} scans, expected the test "
            "subset of one training; leave out the store, or name a fold of the cross-validation"
        )
    store, reader = open_volumes(evaluation.store)
    subset_of = {row.scan: row.subset for row in folder.split()}
    split = Split(tuple(subset_of.get(scan, UNLABELLED) for scan in store.scans))
    features = describe_rows(store, reader, np.flatnonzero(np.array(split.subsets) != UNLABELLED))
    patients = merge_patients(store.patients, store.checksums.tolist())
    own, drawn = _scores_of_baselines(store, split, features, folder), []
    if network:
        own = {NETWORK: evaluation.scores.all_scores()} | own
    for place, labels in enumerate(permuted_labels(store.labels, patients, split.subsets, n=n, seed=seed)):
        relabelled, begun = replace(store, labels=labels), time.monotonic()
        scores = _scores_of_baselines(relabelled, split, features, folder)
        if network:
            scores |= {NETWORK: _scores_of_network(relabelled, reader, split, features, folder)}
            seconds = time.monotonic() - begun
            if place == 0 and n > 1:
                say(
                    f"a training on permuted labels took {seconds:.0f} s: {_duration(seconds * (n - 1))} for the others"
                )
        drawn.append(scores)
    named = [name for name in own if all(name in scores for scores in drawn)]
    return NullScores(n, {name: judge(own[name], [scores[name] for scores in drawn]) for name in named})


def _scores_of_baselines(store: Store, split: Split, features: Features, run: Run) -> dict[str, dict[str, Score]]:
    scored = score_each(store, split, features, threshold=run.settings().threshold)
    return {one.name: one.test.all_scores() for one in scored if one.test and one.n_features}


def _scores_of_network(
    store: Store, reader: VolumeReader, split: Split, features: Features, run: Run
) -> dict[str, Score]:
    """Train the network in a folder that is removed, and return its scores of the test subset."""
    how: dict[str, Any] = {"execution": Execution(strategy="none"), "progress": ignore, "say": ignore}
    with tempfile.TemporaryDirectory(prefix="ctmodel-permuted-") as home:
        folder = Run(Path(home) / "run")
        task = new_task(store, reader, split, folder, run.settings(), describe=lambda: features, **how)
        return train_task(task, resume=False, network=run.network()).scores.all_scores()


def _duration(seconds: float) -> str:
    return f"about {seconds / 3600:.1f} h" if seconds > 5400 else f"about {max(1, round(seconds / 60))} min"
