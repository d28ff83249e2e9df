"""Scores equal scikit-learn's, for any weights; where they are undefined they are NaN."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from ctmodel.scoring import metrics


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


@given(scored(), st.sampled_from([0.05, 0.1, 0.3, 1.0]))
def test_partial_auroc_is_that_of_scikit_learn(case, max_fpr):
    expected = oracle.roc_auc_score(*case, max_fpr=max_fpr)
    assert metrics.partial_auroc(*case, max_fpr=max_fpr) == pytest.approx(expected)


def random_calls(n_classes=4, n=200):
    generator = np.random.default_rng(6)
    labels = generator.integers(0, n_classes, n)
    return labels, np.clip(labels + generator.integers(-1, 3, n), 0, n_classes - 1)


def test_macro_f1_is_that_of_scikit_learn():
    assert metrics.macro_f1(*random_calls(), 4) == pytest.approx(oracle.f1_score(*random_calls(), average="macro"))


def test_macro_f1_without_a_class_is_nan():
    assert np.isnan(metrics.macro_f1(np.array([0, 1]), np.array([1, 0]), 3))


def test_quadratic_kappa_is_that_of_scikit_learn():
    expected = oracle.cohen_kappa_score(*random_calls(), weights="quadratic")
    assert metrics.quadratic_kappa(*random_calls()) == pytest.approx(expected)


def test_class_distance_is_the_mean_absolute_error_of_scikit_learn():
    expected = oracle.mean_absolute_error(*random_calls())
    assert metrics.class_distances(*random_calls()).mean() == pytest.approx(expected)
