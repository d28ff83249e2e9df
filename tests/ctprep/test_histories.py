"""The short version of tests/torture/histories.py."""

from tests.torture.histories import run_histories


def test_any_history_gives_the_store_of_a_conversion_from_nothing():
    assert run_histories(examples=8, steps=20) > 50
