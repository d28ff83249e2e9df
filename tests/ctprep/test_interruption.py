"""A signal waits for the end of what must not be left half done, and is not lost."""

import signal
import threading

import pytest

from ctprep.interruption import SIGNALS, uninterrupted


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_strikes_after_the_block(number):
    before, done = signal.signal(number, signal.default_int_handler), []
    try:
        with pytest.raises(KeyboardInterrupt), uninterrupted():
            signal.raise_signal(number)
            done.append("all")
        assert done == ["all"]
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)


def test_what_the_block_raises_goes_through_and_the_handlers_return():
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(KeyError), uninterrupted():
        raise KeyError
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_what_the_block_raises_is_not_hidden_by_a_signal():
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with pytest.raises(KeyError), uninterrupted():
            signal.raise_signal(signal.SIGTERM)
            raise KeyError
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_a_signal_that_kills_or_is_ignored_stays_as_it_is(handler):
    before = signal.signal(signal.SIGTERM, handler)
    try:
        with uninterrupted():
            assert signal.getsignal(signal.SIGTERM) is handler
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_threads_other_than_the_main_one_need_nothing():
    done = []

    def work():
        with uninterrupted():
            done.append("all")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == ["all"]
