"""Probabilities that mean what they say are found so, and others are mended."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from ctmodel.scoring import metrics
from ctmodel.scoring.calibration import (
    calibration_error,
    debiased_calibration_error,
    decompose_brier,
    fit_temperature,
    recalibrate,
    reliability_curve,
    with_temperature,
)


def cohort(*, n=2000, classes=2, sharpness=1.0, seed=0):
    """Labels drawn from calibrated probabilities, and these made too sure by a factor."""
    generator = np.random.default_rng(seed)
    right = generator.dirichlet(np.ones(classes), n)
    labels = (right.cumsum(axis=1) < generator.random((n, 1))).sum(axis=1)
    return labels, with_temperature(right, 1 / sharpness), np.arange(n)


@pytest.mark.parametrize("classes", [2, 4])
def test_the_temperature_is_the_factor_by_which_a_network_is_too_sure(classes):
    found = fit_temperature(*cohort(classes=classes, sharpness=3.0))
    assert found.value == pytest.approx(3, rel=0.1)
    assert found.low < 3 < found.high
    assert found.helps
    assert "the log loss falls from" in str(found)


@pytest.mark.parametrize("classes", [2, 4])
def test_no_temperature_has_less_log_loss(classes):
    labels, probabilities, patients = cohort(n=200, classes=classes, sharpness=2.0)

    def loss(logarithm):
        scaled = with_temperature(probabilities, float(np.exp(logarithm[0])))
        return metrics.log_losses(labels, scaled).mean()

    found = fit_temperature(labels, probabilities, patients)
    assert found.value == pytest.approx(np.exp(minimize(loss, [0.0]).x[0]), rel=1e-3)
    assert found.log_loss_after == pytest.approx(loss([np.log(found.value)]))
    assert found.log_loss_before == pytest.approx(loss([0.0]))


def test_where_scaling_does_not_help_it_says_so():
    found = fit_temperature(*cohort(n=300))
    assert not found.helps
    assert "does not help" in str(found)


def test_a_network_that_knows_nothing_has_the_largest_temperature():
    generator = np.random.default_rng(1)
    chances = generator.random(100)
    found = fit_temperature((chances < 0.5).astype(int), np.stack([1 - chances, chances], axis=1), np.arange(100))
    assert found.value == 100


@given(st.floats(0.1, 10))
def test_a_temperature_leaves_the_likeliest_class(temperature):
    probabilities = cohort(n=20, classes=3)[1]
    scaled = with_temperature(probabilities, temperature)
    assert scaled.sum(axis=1) == pytest.approx(1)
    assert np.array_equal(scaled.argmax(axis=1), probabilities.argmax(axis=1))


def two_classes(**how):
    labels, probabilities, patients = cohort(**how)
    return labels == 1, probabilities[:, 1], patients


def test_the_slope_is_that_of_a_logistic_regression():
    positive, chances, patients = two_classes(n=300, sharpness=2.0)
    regression = LogisticRegression(C=1e10, tol=1e-8).fit(logit(chances)[:, None], positive)
    assert recalibrate(positive, chances, patients).slope[0] == pytest.approx(regression.coef_[0, 0], rel=1e-3)


def test_calibrated_probabilities_have_slope_1_and_intercept_0_within_their_intervals():
    found = recalibrate(*two_classes())
    assert found.slope[1] < 1 < found.slope[2]
    assert found.intercept[1] < 0 < found.intercept[2]


def test_positives_more_frequent_than_said_have_an_intercept_above_0():
    positive, chances, patients = two_classes()
    found = recalibrate(positive, expit(logit(chances) - 1), patients)
    assert found.intercept[0] == pytest.approx(1, abs=0.2)
    assert found.intercept[1] > 0


def test_copies_of_a_scan_do_not_make_a_slope_surer():
    once = recalibrate(*two_classes(n=200)).slope
    copies = recalibrate(*(np.repeat(one, 3) for one in two_classes(n=200))).slope
    assert copies == pytest.approx(once, abs=0.1)


@pytest.mark.parametrize("chances", [np.full(10, 0.4), np.repeat([0.1, 0.9], 5)])
def test_without_an_overlap_or_a_spread_there_is_no_slope(chances):
    assert recalibrate(np.arange(10) >= 5, chances, np.arange(10)) is None


def test_a_calibrated_curve_lies_in_its_bands():
    found = reliability_curve(*two_classes())
    assert found.n.tolist() == [200] * 10
    assert np.mean((found.low <= found.probability) & (found.probability <= found.high)) >= 0.9
    assert np.mean((found.expected_low <= found.observed) & (found.observed <= found.expected_high)) >= 0.8


def test_a_network_that_is_too_sure_leaves_its_bands():
    found = reliability_curve(*two_classes(sharpness=4.0))
    assert np.mean((found.expected_low <= found.observed) & (found.observed <= found.expected_high)) < 0.5


def test_equal_probabilities_stay_in_one_bin():
    found = reliability_curve(np.arange(100) % 2 == 0, np.repeat([0.2, 0.5, 0.6], [70, 20, 10]), np.arange(100))
    assert found.n.tolist() == [70, 20, 10]


def test_the_error_of_calibrated_probabilities_is_debiased_towards_0():
    cases = [two_classes(n=100, seed=seed)[:2] for seed in range(100)]
    plain = np.mean([calibration_error(*case) for case in cases])
    debiased = np.mean([debiased_calibration_error(*case) for case in cases])
    assert plain > 0.07
    assert debiased < 0.05


def test_a_real_error_is_kept():
    positive, chances = np.arange(2000) % 10 < 3, np.full(2000, 0.5)
    assert debiased_calibration_error(positive, chances) == pytest.approx(0.2, abs=1e-3)


@given(st.integers(0, 1000))
def test_the_parts_of_a_brier_score_add_up(seed):
    positive, chances, _ = two_classes(n=100, seed=seed)
    parts = decompose_brier(positive, chances)
    assert parts.reliability - parts.resolution + parts.uncertainty + parts.within == pytest.approx(
        np.mean((chances - positive) ** 2)
    )


def test_few_probabilities_leave_nothing_within_their_bins():
    generator = np.random.default_rng(2)
    chances = generator.choice([0.125, 0.5, 0.75], 300)
    parts = decompose_brier(generator.random(300) < chances, chances)
    assert parts.within == pytest.approx(0, abs=1e-12)
    assert parts.reliability < 0.01 < parts.resolution
