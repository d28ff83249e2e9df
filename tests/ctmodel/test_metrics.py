"""Scores equal scikit-learn's, for any weights; where they are undefined they are NaN."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from ctmodel import metrics


@st.composite
def scored(draw):
    """Which scans are positive, of both kinds at least one, and scores with ties."""
    positive = np.array([True, False, *draw(st.lists(st.booleans(), max_size=30))])
    scores = draw(st.lists(st.integers(0, 8), min_size=len(positive), max_size=len(positive)))
    return positive, np.array(scores) / 8


@given(scored())
def test_auroc_is_that_of_scikit_learn(case):
    assert metrics.auroc(*case) == pytest.approx(oracle.roc_auc_score(*case))


@given(scored())
def test_average_precision_is_that_of_scikit_learn(case):
    assert metrics.average_precision(*case) == pytest.approx(oracle.average_precision_score(*case))


def random_predictions(n_classes, n=200):
    generator = np.random.default_rng(5)
    return generator.integers(0, n_classes, n), generator.dirichlet(np.ones(n_classes), n)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_log_loss_is_that_of_scikit_learn(n_classes):
    labels, probabilities = random_predictions(n_classes)
    assert metrics.log_losses(labels, probabilities).mean() == pytest.approx(oracle.log_loss(labels, probabilities))


def test_a_sure_error_costs_much_but_not_everything():
    losses = metrics.log_losses(np.array([1]), np.array([[1.0, 0.0]]))
    assert losses[0] == pytest.approx(-np.log(1e-7))


def test_brier_score_is_that_of_scikit_learn():
    labels, probabilities = random_predictions(2)
    expected = oracle.brier_score_loss(labels, probabilities[:, 1])
    assert metrics.brier_scores(labels, probabilities).mean() == pytest.approx(expected)


def test_brier_score_of_more_classes_sums_over_them():
    scores = metrics.brier_scores(np.array([0, 2]), np.array([[1.0, 0, 0], [1.0, 0, 0]]))
    assert scores.tolist() == [0, 2]


def test_macro_auroc_is_that_of_scikit_learn():
    labels, probabilities = random_predictions(3)
    expected = oracle.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    assert metrics.macro_auroc(labels, probabilities) == pytest.approx(expected)


def test_without_positives_both_areas_are_nan():
    case = np.array([False, False]), np.array([0.1, 0.2])
    assert np.isnan(metrics.auroc(*case))
    assert np.isnan(metrics.average_precision(*case))


def test_two_classes_have_one_auroc():
    labels, probabilities = random_predictions(2)
    assert metrics.macro_auroc(labels, probabilities) == pytest.approx(metrics.auroc(labels == 1, probabilities[:, 1]))


def test_two_classes_are_called_at_the_threshold_and_more_by_the_largest():
    assert metrics.predicted_classes(np.array([[0.7, 0.3], [0.69, 0.31]]), threshold=0.31).tolist() == [0, 1]
    assert metrics.predicted_classes(np.array([[0.2, 0.5, 0.3]]), threshold=0.1).tolist() == [1]


@given(scored())
def test_no_threshold_beats_the_best_one(case):
    positive, scores = case

    def youden(threshold):
        return np.mean(scores[positive] >= threshold) - np.mean(scores[~positive] >= threshold)

    best = metrics.best_threshold(positive, scores)
    assert youden(best) == pytest.approx(max(youden(threshold) for threshold in [*scores, 2.0]) if best else 0)
