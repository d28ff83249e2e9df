"""Intervals hold the truth as often as they say, also for few scans, perfect scores and repeated patients."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from ctmodel.scoring import metrics
from ctmodel.scoring.intervals import (
    auroc_interval,
    influence_interval,
    interval_of_mean_share,
    mean_interval,
    propagated_interval,
    share_interval,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [  # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_intervals_are_those_of_the_published_table(hits, n, low, high):
    assert wilson_interval(hits / n, n) == pytest.approx((low, high), abs=5e-5)


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_with_one_scan_each_a_share_has_wilsons_interval(hits):
    patients = np.array([f"p{scan}" for scan in range(len(hits))])
    assert share_interval(np.array(hits), patients) == wilson_interval(float(np.mean(hits)), len(hits))


@given(st.lists(st.booleans(), min_size=1, max_size=20), st.integers(2, 4))
def test_copies_of_a_scan_do_not_make_a_share_surer(hits, copies):
    patients = np.array([f"p{scan}" for scan in range(len(hits))])
    low, high = share_interval(np.array(hits), patients)
    low_of_copies, high_of_copies = share_interval(np.repeat(hits, copies), np.repeat(patients, copies))
    assert low_of_copies <= low + 1e-9 or high_of_copies >= high - 1e-9
    assert high_of_copies - low_of_copies >= (high - low) * 0.99


@given(st.lists(st.booleans(), min_size=4, max_size=30), st.integers(0, 2**32 - 1))
def test_an_auroc_lies_in_its_interval_within_0_and_1(positive, seed):
    positive = np.array([True, False, *positive])
    scores = np.random.default_rng(seed).random(len(positive))
    patients = np.arange(len(positive)).astype(str)
    low, high = auroc_interval(positive, scores, patients)
    value = metrics.auroc(positive, scores)
    assert 0 <= low <= value <= high <= 1
    assert high - low > 0.01


def test_a_perfect_auroc_of_few_scans_is_not_sure():
    positive = np.arange(20) >= 10
    low, high = auroc_interval(positive, np.arange(20.0), np.arange(20).astype(str))
    assert high == 1
    assert 0.75 < low < 0.9


def test_reversed_scores_mirror_the_interval():
    generator = np.random.default_rng(2)
    positive, scores, patients = np.arange(30) % 3 == 0, generator.random(30), np.arange(30).astype(str)
    low, high = auroc_interval(positive, scores, patients)
    assert auroc_interval(positive, -scores, patients) == pytest.approx((1 - high, 1 - low))


def test_copies_of_a_scan_do_not_make_an_auroc_surer():
    generator = np.random.default_rng(4)
    positive, patients = np.arange(40) % 2 == 0, np.arange(40).astype(str)
    scores = generator.random(40) + 0.4 * positive
    low, high = auroc_interval(positive, scores, patients)
    low_of_copies, high_of_copies = auroc_interval(np.repeat(positive, 4), np.repeat(scores, 4), np.repeat(patients, 4))
    naive = auroc_interval(np.repeat(positive, 4), np.repeat(scores, 4), np.arange(160).astype(str))
    assert high_of_copies - low_of_copies == pytest.approx(high - low, rel=0.06)
    assert naive[1] - naive[0] < 0.6 * (high - low)


@pytest.mark.parametrize("scans_each", [1, 3])
def test_the_interval_of_an_auroc_holds_the_truth_19_times_of_20(scans_each):
    generator = np.random.default_rng(0)
    truth, n_patients, trials = 0.85, 40, 400
    distance = norm.ppf(truth) * np.sqrt(2)
    positive = np.repeat(np.arange(n_patients) % 2 == 0, scans_each)
    patients = np.repeat(np.arange(n_patients), scans_each)
    covered = 0
    for _ in range(trials):
        own, shared = generator.normal(size=len(patients)), generator.normal(size=n_patients)[patients]
        scores = np.sqrt(0.3) * own + np.sqrt(0.7) * shared + distance * positive
        low, high = auroc_interval(positive, scores, patients.astype(str))
        covered += low <= truth <= high
    assert 0.92 <= covered / trials <= 0.99


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_a_mean_is_at_least_as_sure_as_if_its_values_were_extremes(values):
    low, high = mean_interval(np.array(values), np.arange(len(values)), largest=1)
    low_of_share, high_of_share = wilson_interval(float(np.mean(values)), len(values))
    assert low_of_share - 1e-9 <= low
    assert high <= high_of_share + 1e-9


@given(st.lists(st.floats(0, 1), min_size=2, max_size=40), st.floats(0.1, 20))
def test_the_interval_of_a_mean_has_its_unit(values, largest):
    low, high = mean_interval(np.array(values), np.arange(len(values)), largest=1)
    scaled = mean_interval(np.array(values) * largest, np.arange(len(values)), largest=largest)
    assert scaled == pytest.approx((low * largest, high * largest), rel=1e-6, abs=1e-6)


def test_one_value_in_three_is_not_sure():
    low, high = mean_interval(np.array([0.1, 0.1, 0.101]), np.arange(3), largest=1)
    assert high - low > 0.1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(1, 4))
def test_a_mean_lies_in_an_interval_that_has_a_width(values, scans_each):
    low, high = mean_interval(np.array(values), np.arange(len(values)) // scans_each, largest=1)
    assert -1e-12 <= low <= np.mean(values) + 1e-12
    assert np.mean(values) - 1e-12 <= high <= 1
    assert high - low > 0.02


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_a_mean_of_equal_values_is_as_sure_as_its_patients_are_many(value):
    values, patients = np.full(12, value), np.arange(12) // 3
    assert mean_interval(values, patients, largest=1) == wilson_interval(float(values.mean()), 4)


def test_scans_that_differ_within_patients_only_count_in_full():
    hits, patients = np.tile([False, True], 20), np.repeat(np.arange(20), 2)
    assert share_interval(hits, patients) == wilson_interval(0.5, 40)


def test_copies_of_a_scan_do_not_make_a_mean_surer():
    values, patients = np.random.default_rng(1).random(50), np.arange(50)
    low, high = mean_interval(values, patients, largest=1)
    low_of_copies, high_of_copies = mean_interval(np.repeat(values, 3), np.repeat(patients, 3), largest=1)
    assert high_of_copies - low_of_copies == pytest.approx(high - low, rel=0.02)


def test_the_interval_of_a_difference_of_shares_is_that_of_the_published_table():
    # Newcombe 1998, Statistics in Medicine 17:873, table II, method 10: 56/70 - 48/80
    low, high = interval_of_mean_share([56 / 70, 1 - 48 / 80], [70, 80])
    assert (2 * low - 1, 2 * high - 1) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_the_interval_of_a_function_of_one_share_is_the_function_of_its_interval():
    low, high = propagated_interval(lambda one, _: one / (1 - one), (0.7, 40), (0.5, 30))
    assert (low, high) == pytest.approx(tuple(np.divide(*(w, 1 - w)) for w in map(np.array, wilson_interval(0.7, 40))))


def test_a_quotient_may_be_infinite_above():
    assert propagated_interval(lambda one, other: one / (1 - other), (0.7, 40), (1.0, 30))[1] == np.inf


def test_the_interval_of_influences_is_that_of_a_share_where_they_are_a_shares():
    hits = np.arange(50) < 35
    interval = influence_interval(0.7, (hits - 0.7) / 50, np.arange(50))
    assert interval == pytest.approx(wilson_interval(0.7, 49))
