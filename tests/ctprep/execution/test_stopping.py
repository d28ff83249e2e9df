"""A signal waits for the end of what must not be left half done, and is not lost."""

import signal
import subprocess
import sys
import threading
from itertools import count
from pathlib import Path

import pytest

from ctprep.execution.stopping import SIGNALS, uninterrupted


def test_a_signal_strikes_after_the_block(interrupting):
    done = []
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        signal.raise_signal(interrupting)
        done.append("all")
    assert done == ["all"]
    assert signal.getsignal(interrupting) is signal.default_int_handler


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


@pytest.mark.parametrize("step", range(2 * len(SIGNALS)))
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_at_any_step_is_not_lost_and_the_handlers_are_as_good_as_before(number, step, monkeypatch):
    steps = count()

    def install(*arguments):
        before = set_handler(*arguments)
        if next(steps) == step:
            signal.raise_signal(number)
        return before

    set_handler = signal.signal
    before = [set_handler(each, signal.default_int_handler) for each in SIGNALS]
    try:
        with pytest.raises(KeyboardInterrupt):
            monkeypatch.setattr(signal, "signal", install)
            with uninterrupted():
                pass
        monkeypatch.undo()
        for each in SIGNALS:
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(each)
    finally:
        for each, handler in zip(SIGNALS, before):
            set_handler(each, handler)


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


BEGIN = """
import os, signal, sys, time
from ctprep.execution.stopping import ending_on_signals
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell ignores in the background
"""
LOST = """
class Thing:
    def __del__(self):
        os.kill(os.getpid(), signal.{signal})

with ending_on_signals() as arrived:
    try:
        Thing()
        time.sleep(20)
    except KeyboardInterrupt:
        print(arrived == [signal.{signal}] * 2)
"""
OVER = """
with ending_on_signals():
    pass
os.kill(os.getpid(), signal.{signal})
print("goes on")
"""
IGNORED = """
signal.signal(signal.{signal}, signal.SIG_IGN)
with ending_on_signals():
    os.kill(os.getpid(), signal.{signal})
os.kill(os.getpid(), signal.{signal})
print("goes on")
"""


def ran(code, number):
    """Return the exit status of a script, what it said and its errors."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + code.format(signal=number.name)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.strip(), done.stderr


@pytest.mark.parametrize("number", SIGNALS)
def test_what_python_forgets_in_a_callback_strikes_once_more(number):
    assert ran(LOST, number) == (0, "True", "")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_after_the_end_is_the_end_without_a_word(number):
    assert ran(OVER, number) == (-number, "", "")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_is_ignored_stays_ignored(number):
    assert ran(IGNORED, number) == (0, "goes on", "")
