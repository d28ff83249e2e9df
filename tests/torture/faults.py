"""Conversions whose file system fails at each step in turn: full, or broken; once, or from then on.

Each ends in one line that names the target and a way out, or as if nothing had happened where the step did not matter;
the target is the old store or the new one; the same command once more gives the store that is made from nothing. The
null control writes straight into the target.
"""

import errno
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from ctprep.errors import CTPrepError
from tests.torture.cohort import HISTORIES, NAME, Figures, History, Write, convert, make_history, write_naively
from tests.torture.report import Row
from tests.torture.steps import AtStep, count_steps, in_child

FAULTS = (errno.ENOSPC, errno.EIO)
DONE = "done"


def step_faults(
    folder: Path, *, every: int = 1, names: Sequence[str] = tuple(HISTORIES), write: Write = convert
) -> Figures:
    """Let each N-th step of a conversion fail in every way."""
    figures = Figures()
    for name in names:
        history = make_history(folder, name, write=write)
        history.restore()
        steps = range(0, count_steps(history.run), every)
        for step, number, lasting in itertools.product(steps, FAULTS, (False, True)):
            history.restore()
            said = in_child(partial(_say, history, fail_at(step, number, lasting=lasting)))
            figures.states += 1
            where = f"{name}, {errno.errorcode[number]} {'from' if lasting else 'at'} step {step}"
            figures.note(where, [*_judge_words(said), *history.judge(killed=lasting)])
            figures.note(f"{where}, again", history.judge_resumed())
    return figures


def fail_at(step: int, number: int, *, lasting: bool) -> AtStep:
    """Return what raises an OSError at a step, counted from 0, and at all that follow it."""
    steps = itertools.count()

    def at_step() -> None:
        now = next(steps)
        if now == step or (lasting and now > step):
            raise OSError(number, os.strerror(number))

    return at_step


def _say(history: History, at_step: AtStep) -> str:
    """Convert; return what a person is told."""
    try:
        history.run_watched(at_step)
    except CTPrepError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - a traceback, for a person
        return f"Traceback: {type(error).__name__}"
    return DONE


def _judge_words(said: str) -> list[str]:
    if said == DONE:
        return []
    if said.startswith("Traceback"):
        return ["ended in a traceback"]
    subject, _, way_out = said.partition("; ")
    return [] if NAME in subject and way_out and "\n" not in said else ["told without the target or a way out"]


def long_version(empty_folder: Callable[[], Path], _seed: int) -> Iterator[Row]:
    """Let every step of every history fail in every way."""
    control = step_faults(empty_folder(), names=["first"], write=write_naively)
    figures = step_faults(empty_folder())
    yield figures.row("each step failing with ENOSPC or EIO, once or from then on, then resumed", control)
