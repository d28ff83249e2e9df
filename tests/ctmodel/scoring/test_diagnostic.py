"""Scores of a two by two table are scikit-learn's, with intervals that stay sensible at the edges."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from ctmodel.errors import ScoreError
from ctmodel.scoring.diagnostic import diagnostic_estimates

counts = st.integers(1, 30)


def table_of(tp, fn, tn, fp):
    positive = np.repeat([True, False], [tp + fn, tn + fp])
    called = np.repeat([True, False, False, True], [tp, fn, tn, fp])
    return positive, called, np.arange(len(positive))


@given(counts, counts, counts, counts)
def test_scores_are_those_of_scikit_learn(tp, fn, tn, fp):
    positive, called, patients = table_of(tp, fn, tn, fp)
    found = {name: one.value for name, one in diagnostic_estimates(positive, called, patients).items()}
    positive_ratio, negative_ratio = oracle.class_likelihood_ratios(positive, called)
    assert found == pytest.approx(
        {
            "balanced_accuracy": oracle.balanced_accuracy_score(positive, called),
            "ppv": oracle.precision_score(positive, called),
            "npv": oracle.precision_score(~positive, ~called),
            "f1": oracle.f1_score(positive, called),
            "mcc": oracle.matthews_corrcoef(positive, called),
            "lr_positive": positive_ratio,
            "lr_negative": negative_ratio,
        }
    )


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
def test_every_score_lies_in_an_interval_that_has_a_width(tp, fn, tn, fp):
    if tp + fn and tn + fp:
        for name, one in diagnostic_estimates(*table_of(tp, fn, tn, fp), prevalence=0.1).items():
            assert one.low <= one.value <= one.high, name
            assert one.high - one.low > 0.01 or one.value == np.inf, name


def test_without_a_positive_call_what_needs_one_is_left_out():
    assert set(diagnostic_estimates(*table_of(0, 5, 5, 0))) == {"balanced_accuracy", "npv", "f1", "lr_negative"}


def test_without_a_false_alarm_the_positive_likelihood_ratio_is_infinite_with_a_finite_lower_bound():
    found = diagnostic_estimates(*table_of(8, 2, 10, 0))["lr_positive"]
    assert found.value == found.high == np.inf
    assert 2 < found.low < 4


def test_predictive_values_at_the_prevalence_found_are_those_found():
    table = table_of(30, 10, 50, 10)
    found = diagnostic_estimates(*table, prevalence=0.4)
    assert found["ppv_at_prevalence"].value == pytest.approx(found["ppv"].value) == pytest.approx(0.75)
    assert found["npv_at_prevalence"].value == pytest.approx(found["npv"].value)
    assert found["npv_at_prevalence"].low > found["npv"].low  # as the prevalence is known


def test_a_positive_call_of_a_rare_illness_is_mostly_wrong():
    # sensitivity and specificity 0.9, one in a hundred ill: 0.009 / (0.009 + 0.099)
    found = diagnostic_estimates(*table_of(90, 10, 90, 10), prevalence=0.01)
    assert found["ppv_at_prevalence"].value == pytest.approx(1 / 12)


def test_the_interval_of_a_likelihood_ratio_is_near_the_published_one():
    # Simel, Samsa and Matchar 1991, Journal of Clinical Epidemiology 44:763: the log method gives 3.5 to 15.0
    # for 60/90 over 7/75 by exp(log(ratio) +- 1.96 sqrt(30/60/90 + 68/7/75))
    found = diagnostic_estimates(*table_of(60, 30, 68, 7))["lr_positive"]
    error = np.sqrt(30 / 60 / 90 + 68 / 7 / 75)
    by_logarithm = found.value * np.exp([-1.96 * error, 1.96 * error])
    assert (found.low, found.high) == pytest.approx(tuple(by_logarithm), rel=0.1)


def test_copies_of_a_scan_do_not_make_a_score_surer():
    positive, called, patients = table_of(20, 5, 20, 5)
    once = diagnostic_estimates(positive, called, patients)
    copies = diagnostic_estimates(*(np.repeat(one, 3) for one in (positive, called, patients)))
    for name, one in once.items():
        assert copies[name].high - copies[name].low > 0.98 * (one.high - one.low), name


@pytest.mark.parametrize("prevalence", [0, 1, -0.1, 5, np.nan])
def test_a_prevalence_lies_between_0_and_1(prevalence):
    with pytest.raises(ScoreError, match=r"prevalence: .*, expected more than 0 and less than 1"):
        diagnostic_estimates(*table_of(1, 1, 1, 1), prevalence=prevalence)
