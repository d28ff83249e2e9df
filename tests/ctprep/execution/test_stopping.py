"""The first signal waits for the end of a step where there are steps; any other ends the process at once."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ctprep.execution.stopping import SIGNALS, in_steps, stop_if_asked

BEGIN = """
import os, signal, sys, time
from ctprep.execution.stopping import ending_on_signals, in_steps, stop_if_asked
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell ignores in the background
def kill():
    os.kill(os.getpid(), signal.{signal})
def last_words():
    print("last words", flush=True)
"""
AT_ONCE = """
with ending_on_signals(last_words):
    try:
        kill()
    finally:
        print("unwound")
"""
BETWEEN_STEPS = """
with ending_on_signals(last_words):
    try:
        with in_steps():
            for step in "ab":
                kill()
                print(step, flush=True)
                stop_if_asked()
    except KeyboardInterrupt:
        print("stopped")
"""
TWICE = BETWEEN_STEPS.replace("kill()", "kill(); kill()")
AFTER_THE_LAST_STEP = BETWEEN_STEPS.replace("stop_if_asked()", "pass").replace('"ab"', '"a"')
AFTER_THE_STEPS = """
with ending_on_signals(last_words):
    with in_steps():
        pass
    kill()
"""
OVER = """
with ending_on_signals(last_words):
    pass
kill()
print("goes on")
"""
IGNORED = """
signal.signal(signal.{signal}, signal.SIG_IGN)
with ending_on_signals(last_words):
    kill()
kill()
print("goes on")
"""


def ran(code: str, number: signal.Signals) -> tuple[int, str, str]:
    """Return the exit status of a script, what it said and its errors."""
    done = subprocess.run(
        [sys.executable, "-c", (BEGIN + code).replace("{signal}", number.name)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.replace("\n", " ").strip(), done.stderr


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        pytest.param(AT_ONCE, 1, "last words", id="at once"),
        pytest.param(BETWEEN_STEPS, 0, "a stopped", id="between steps"),
        pytest.param(TWICE, 1, "last words", id="twice"),
        pytest.param(AFTER_THE_LAST_STEP, 0, "a stopped", id="after the last step"),
        pytest.param(AFTER_THE_STEPS, 1, "last words", id="after the steps"),
        pytest.param(IGNORED, 0, "goes on", id="ignored"),
    ],
)
def test_a_signal_ends_a_process(code, status, said, number):
    assert ran(code, number) == (status, said, "")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_after_the_end_is_the_end_without_a_word(number):
    assert ran(OVER, number) == (-number, "", "")


def test_without_a_program_that_asks_for_it_ctrl_c_raises_in_the_midst_of_a_step():
    done = []
    with pytest.raises(KeyboardInterrupt), in_steps():
        os.kill(os.getpid(), signal.SIGINT)
        done.append("the step")
        stop_if_asked()
    assert done == []
