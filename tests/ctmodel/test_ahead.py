"""The first item is made before it is asked for, and the rest as they always were."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctmodel.ahead import started


@given(st.lists(st.integers(), max_size=4))
def test_all_items_come_in_order(items):
    assert list(started(iter(items))) == items


def test_the_first_item_alone_is_made_before_it_is_asked_for():
    made, is_first = [], threading.Event()

    def items():
        for item in range(3):
            made.append(item)
            is_first.set()
            yield item

    waiting = started(items())
    assert is_first.wait(10)
    assert made == [0]
    assert list(waiting) == [0, 1, 2]


def test_an_error_waits_until_the_item_is_asked_for():
    def failing():
        raise KeyError("row")
        yield

    items = started(failing())
    with pytest.raises(KeyError, match="row"):
        next(items)
