"""The short version of tests/torture/histories.py."""

import pytest
from hypothesis import Phase

from tests.torture.histories import run_histories, trusting


def test_any_history_gives_the_store_of_a_conversion_from_nothing():
    assert run_histories(examples=8, steps=20) > 50


def test_a_conversion_that_trusts_what_is_there_is_found():
    """The null control."""
    with trusting(), pytest.raises((AssertionError, ExceptionGroup)):
        run_histories(examples=8, steps=20, phases=[Phase.generate])
