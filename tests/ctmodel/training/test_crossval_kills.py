"""The short version of tests/torture/crossval_kills.py."""

import pytest

from tests.torture.crossval_kills import new_crossvals
from tests.torture.training_kills import naive_kills, random_kills


@pytest.fixture(scope="module")
def crossvals(tmp_path_factory):
    crossvals = new_crossvals(tmp_path_factory.mktemp("crossvals"))
    yield crossvals
    crossvals.close()


def test_killed_cross_validations_end_with_the_same_bytes(crossvals):
    figures = random_kills(crossvals, kills=2)
    assert figures.states == 2
    assert not figures.problems, figures


def test_a_naive_resumption_is_found(crossvals):
    problems = naive_kills(crossvals, "forgets the step").problems
    assert {"other rows", "another fold-2/model.weights.h5"} <= set(problems)
