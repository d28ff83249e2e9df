"""The short version of tests/torture/histories.py."""

import pytest
from hypothesis import Phase

from ctprep.observe import Stock
from ctprep.plan import FinishedVolume
from tests.torture.histories import run_histories


def test_any_history_gives_the_store_of_a_conversion_from_nothing():
    assert run_histories(examples=8, steps=20) > 50


def test_a_conversion_that_trusts_what_is_there_is_found(monkeypatch):
    """The null control."""
    monkeypatch.setattr(Stock, "stored", lambda _stock, row, why: FinishedVolume(why, row))
    with pytest.raises((AssertionError, ExceptionGroup)):
        run_histories(examples=8, steps=20, phases=[Phase.generate])
