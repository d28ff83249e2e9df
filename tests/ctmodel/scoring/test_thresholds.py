"""A rule chooses the threshold that it promises, on any scores; what is no rule is refused in one line."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctmodel.errors import SettingsError
from ctmodel.scoring.thresholds import find_threshold
from ctmodel.settings import ThresholdRule, parse_threshold


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


def rates(positive, scores, threshold):
    called = scores >= threshold
    return np.mean(called[positive]), np.mean(~called[~positive])


def every_pair_of_rates(positive, scores):
    return [rates(positive, scores, threshold) for threshold in [*scores, 2.0]]


cases = given(scored() | scored_finely(), st.sampled_from([0.2, 0.5, 0.9, 1.0]))
any_scores = given(scored() | scored_finely())


@any_scores
def test_no_threshold_beats_youdens(case):
    found = rates(*case, find_threshold(parse_threshold("youden"), *case))
    assert sum(found) == pytest.approx(max(map(sum, every_pair_of_rates(*case))))


@cases
def test_a_sensitivity_is_reached_with_the_highest_specificity(case, least):
    sensitivity, specificity = rates(*case, find_threshold(parse_threshold(f"sensitivity={least}"), *case))
    assert sensitivity >= least
    assert specificity == max(other for one, other in every_pair_of_rates(*case) if one >= least)


@cases
def test_a_specificity_is_reached_with_the_highest_sensitivity(case, least):
    sensitivity, specificity = rates(*case, find_threshold(parse_threshold(f"specificity={least}"), *case))
    assert specificity >= least
    assert sensitivity == max(one for one, other in every_pair_of_rates(*case) if other >= least)


@any_scores
def test_no_threshold_costs_less_than_the_cheapest(case):
    positive, _scores = case

    def cost(found):
        return 5 * np.sum(positive) * (1 - found[0]) + 2 * np.sum(~positive) * (1 - found[1])

    cheapest = rates(*case, find_threshold(parse_threshold("cost=5:2"), *case))
    assert cost(cheapest) == pytest.approx(min(map(cost, every_pair_of_rates(*case))), abs=1e-9)


def test_of_thresholds_as_good_the_one_nearest_to_a_half_is_chosen():
    positive, scores = np.array([False, False, True]), np.array([0.125, 0.25, 0.75])
    assert find_threshold(parse_threshold("youden"), positive, scores) == 0.5


def test_a_specificity_of_1_is_reached_also_over_a_sure_negative():
    positive, scores = np.array([True, False]), np.array([0.5, 1.0])
    threshold = find_threshold(parse_threshold("specificity=1"), positive, scores)
    assert rates(positive, scores, threshold) == (0, 1)


def test_a_number_is_taken_as_it_is():
    assert find_threshold(parse_threshold(" 0.3 "), np.array([True]), np.array([0.9])) == 0.3


def test_a_cost_is_a_ratio():
    assert parse_threshold("cost=10:4") == ThresholdRule("cost", 2.5)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "best",
        "1.5",
        "-0.1",
        "nan",
        "youden=1",
        "sensitivity",
        "sensitivity=0",
        "specificity=90",
        "sensitivity=nan",
        "cost",
        "cost=5",
        "cost=5:0",
        "cost=-5:1",
        "cost=5:1:1",
        "cost=inf:1",
        "cost=nan:1",
        "0.5=1",
    ],
)
def test_what_is_no_rule_is_refused_in_one_line(text):
    with pytest.raises(SettingsError, match=r"expected half, a probability such as 0\.3, youden") as error:
        parse_threshold(text)
    assert "\n" not in str(error.value)


def test_the_best_of_20000_thresholds_needs_little_memory():
    generator = np.random.default_rng(3)
    positive, scores = generator.random(20_000) < 0.3, generator.random(20_000)
    tracemalloc.start()
    find_threshold(parse_threshold("youden"), positive, scores)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * scores.nbytes  # a table of every threshold by every scan has 2,500 times as many bytes
