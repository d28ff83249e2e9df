"""Scores equal scikit-learn's, for any weights; where they are undefined they are NaN."""

import tracemalloc

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


@st.composite
def scored_finely(draw):
    """As `scored`, with any float32 or float64 scores, also neighbours without a float between them."""
    positive = np.array([True, False, *draw(st.lists(st.booleans(), max_size=10))])
    start, dtype = draw(st.floats(0, 0.9)), draw(st.sampled_from([np.float32, np.float64]))
    neighbours = [start, np.nextafter(start, 1), np.nextafter(np.float32(start), np.float32(1))]
    chances = st.sampled_from(neighbours) | st.floats(0, 1)
    return positive, np.array(draw(st.lists(chances, min_size=len(positive), max_size=len(positive))), dtype=dtype)


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


def best_threshold_by_trying_each(positive, scores):
    distinct = np.unique(scores)
    middles = np.concatenate([[distinct[0]], (distinct[:-1] + distinct[1:]) / 2])
    called = scores >= middles[:, None]
    youden = called[:, positive].mean(axis=1) - called[:, ~positive].mean(axis=1)
    best = np.flatnonzero(youden >= youden.max() - 1e-12)
    return float(middles[best[np.argmin(np.abs(middles[best] - 0.5))]])


@given(scored() | scored_finely())
def test_the_best_threshold_is_the_one_found_by_trying_each(case):
    assert metrics.best_threshold(*case) == best_threshold_by_trying_each(*case)


def test_the_best_of_20000_thresholds_needs_little_memory():
    generator = np.random.default_rng(3)
    positive, scores = generator.random(20_000) < 0.3, generator.random(20_000)
    tracemalloc.start()
    metrics.best_threshold(positive, scores)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * scores.nbytes  # a table of every threshold by every scan has 2,500 times as many bytes
