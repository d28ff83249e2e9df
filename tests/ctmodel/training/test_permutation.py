"""A network and its baselines are trained again on permuted labels, and their scores judged among the results."""

from dataclasses import replace

import numpy as np
import pytest

from ctmodel.errors import RunMismatch
from ctmodel.prediction.evaluate import evaluate
from ctmodel.training.permutation import permutation_test


@pytest.fixture(scope="module")
def evaluation(finished):
    return evaluate(finished.run)


def test_baselines_have_the_scores_of_the_run_and_are_judged(evaluation):
    found = permutation_test(evaluation, 39)
    scored = {one.name: one.test for one in evaluation.baselines.baselines if one.test and one.n_features}
    assert found.n == 39
    assert set(found.scores) == set(scored)
    for name, scores in found.scores.items():
        assert scores["auroc"].value == pytest.approx(scored[name].scores["auroc"].value)
        assert scores["log_loss"].value == pytest.approx(scored[name].scores["log_loss"].value)
    # here half of all labels that tell nothing give an AUROC of 1 too, but none a loss as low
    assert found.scores["lung histogram"]["log_loss"].p <= 2 / 40
    assert 0.2 < found.scores["lung histogram"]["auroc"].mean < 0.8


def test_a_permutation_test_can_be_repeated(evaluation):
    assert permutation_test(evaluation, 5) == permutation_test(evaluation, 5)
    assert permutation_test(evaluation, 5) != permutation_test(evaluation, 5, seed=1)


def test_the_network_is_trained_too_and_leaves_the_run_as_it_is(evaluation):
    before = {path.name: path.stat().st_mtime_ns for path in evaluation.run.iterdir()}
    said = []
    found = permutation_test(evaluation, 2, network=True, say=said.append)
    assert found.scores["network"]["auroc"].value == evaluation.scores.scores["auroc"].value
    assert found.scores["network"]["auroc"].p in [1 / 3, 2 / 3, 1]
    assert np.isfinite(found.scores["network"]["log_loss"].mean)
    assert "for the others" in said[0]
    assert {path.name: path.stat().st_mtime_ns for path in evaluation.run.iterdir()} == before


def test_another_store_has_no_labels_to_permute(evaluation):
    unseen = replace(evaluation, scores=replace(evaluation.scores, subset="unseen"))
    with pytest.raises(RunMismatch, match="cannot be permuted for unseen scans"):
        permutation_test(unseen, 2)
