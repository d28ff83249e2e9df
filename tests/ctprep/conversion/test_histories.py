"""The short version of tests/torture/histories.py."""

import pytest
from hypothesis import Phase

from tests.torture import histories
from tests.torture.histories import run_histories, trusting


def test_any_history_gives_the_store_of_a_conversion_from_nothing():
    assert run_histories(examples=8, steps=20) > 50


def test_a_conversion_that_trusts_what_is_there_is_found():
    """The null control."""
    with trusting(), pytest.raises((AssertionError, ExceptionGroup)):
        run_histories(examples=8, steps=20, phases=[Phase.generate])


def test_a_history_that_goes_wrong_is_counted(monkeypatch):
    def going_wrong(**_how):
        histories.steps_taken += 3
        raise AssertionError("another digest")

    monkeypatch.setattr(histories, "run_histories", going_wrong)
    (row,) = histories.long_version(None, 0)
    assert (row.tried.partition(",")[0], row.wrong, row.control_found) == ("3 steps", 1, 1)
    assert "another digest" in row.examples[0]
