"""What is made before it is asked for is what would have been made then, and not more of it than was said."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctmodel.devices.prefetch import mapped, started


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


@given(st.lists(st.integers(), max_size=8), st.integers(1, 4))
def test_what_is_made_comes_in_the_order_of_the_items(items, ahead):
    assert list(mapped(str, items, ahead=ahead)) == [str(item) for item in items]


def test_no_more_items_are_taken_than_may_be_under_way():
    taken = []

    def items():
        for item in range(20):
            taken.append(item)
            yield item

    for place, made in enumerate(mapped(str, items(), ahead=3)):
        assert made == str(place)
        assert len(taken) == min(place + 4, 20)


def test_items_are_made_at_the_same_time():
    both = threading.Barrier(2, timeout=10)

    def meet(item):
        both.wait()
        return item

    assert list(mapped(meet, range(2), ahead=2)) == [0, 1]


def test_an_error_comes_in_its_turn_and_ends_it():
    def inverse(item):
        return 6 // item

    inverses = mapped(inverse, [3, 2, 0, 1], ahead=2)
    assert [next(inverses), next(inverses)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(inverses)
    assert list(inverses) == []
