"""Which tasks were being tried when their process died.

A task leaves a mark while it is tried and takes it away when it is over, however it ends. A mark that is there already
is of an attempt that nobody survived: that makes the task suspect, not guilty, for whatever shares a process dies with
it. What is suspect is tried again in a process of its own, whose death is proof.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ctprep.execution.alone import ProcessDied, run_alone

Task = TypeVar("Task")
Result = TypeVar("Result")

MOST_ATTEMPTS = 5
"""Attempts in the course of which a worker died, after which a task is lost though nothing proves that it is guilty.

A task that kills no more than its own process is lost after the second; only where the worker that waits for that
process dies too does the question stay open. Where one of four workers is killed every 3 s, that happens to one attempt
of 1 s in twelve, and to four in a row of one suspect in twenty thousand.
"""


@dataclass(frozen=True)
class Suspect:
    """What `attempt` returns of a task that an earlier attempt did not survive.

    Parameters
    ----------
    task : object
        As it was given.
    """

    task: Any


@dataclass(frozen=True)
class Marks:
    """Where attempts leave their marks.

    Parameters
    ----------
    folder : Path
        On a file system that all workers see.
    name : callable
        Gives a task's file name, which no other task has.
    """

    folder: Path
    name: Callable[[Any], str]

    def of(self, task: Any) -> Path:
        """Return where the mark of a task is."""
        return self.folder / self.name(task)

    def clear(self) -> None:
        """Forget earlier runs: whoever killed one as a whole said nothing of its tasks."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)


def attempt(function: Callable[[Task], Result], task: Task, mark: Path) -> Result | Suspect:
    """Return `function(task)`, or `Suspect` where an earlier attempt was not survived.

    Parameters
    ----------
    function : callable
    task : object
    mark : Path
        Of this task; exists while the function runs.

    Raises
    ------
    OSError
        If the mark cannot be left.
    """
    if not _leave(mark):
        return Suspect(task)
    try:
        return function(task)
    finally:
        mark.unlink(missing_ok=True)


def attempt_alone(
    function: Callable[[Task], Result], task: Task, mark: Path, *, when_lost: Callable[[Task], Result]
) -> Result:
    """Return `function(task)` from a process of its own, or `when_lost(task)` where that process died.

    Parameters
    ----------
    function : callable
        Importable.
    task : object
        Suspect, and picklable.
    mark : Path
        Of this task; beside it, each attempt leaves its number.
    when_lost : callable
        Gives the result of a task that kills.

    Raises
    ------
    OSError
        If a mark cannot be left.
    SchedulerError
        If no process can be started.
    """
    numbered = (mark.with_name(f"{mark.name}.{number}") for number in range(2, MOST_ATTEMPTS + 1))
    own = next((path for path in numbered if _leave(path)), None)
    if own is None:
        return when_lost(task)
    try:
        return run_alone(function, task)
    except ProcessDied:
        return when_lost(task)
    finally:
        own.unlink(missing_ok=True)


def _leave(mark: Path) -> bool:
    """Create an empty file; say whether it was not there."""
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))  # one step, over a network too
    except FileExistsError:
        return False
    return True
