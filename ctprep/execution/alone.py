"""A task in a process of its own, so that nothing else dies of it and nothing else is blamed for it."""

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from ctprep.errors import SchedulerError

Task = TypeVar("Task")
Result = TypeVar("Result")

STARTED = b"+"
"""The first byte of an answer: from here on, what happens is the task's doing."""


class ProcessDied(Exception):
    """The task's process ended without an answer."""


def run_alone(function: Callable[[Task], Result], task: Task) -> Result:
    """Return `function(task)`, computed in a fresh process that ends with this one.

    A pool of `multiprocessing` cannot do that here: the workers of a cluster are daemons, which may have no children.

    Parameters
    ----------
    function : callable
        Importable; what it raises is raised here.
    task : object
        Picklable.

    Raises
    ------
    ProcessDied
        If the process ended during the task.
    SchedulerError
        If it did not get that far.
    """
    with _started() as process:
        try:
            answer = _ask(process, pickle.dumps((function, task)))
        finally:
            process.kill()
    if not answer:
        raise _not_started("its last words are on stderr, or in the worker's log")
    return _understood(answer[len(STARTED) :])


def _started() -> subprocess.Popen:
    code = f"import sys; sys.path[:] = {sys.path!r}; from ctprep.execution.alone import serve; serve()"
    try:
        return subprocess.Popen(  # noqa: S603 - this interpreter
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            process_group=0,  # Ctrl-C is for the process that waits
        )
    except OSError as error:
        raise _not_started(str(error)) from None


def _not_started(why: str) -> SchedulerError:
    return SchedulerError(
        f"workers: {sys.executable} could not start a process for a scan that may have killed one ({why}); "
        "what is finished is kept, run it again"
    )


def _ask(process: subprocess.Popen, question: bytes) -> bytes:
    with suppress(BrokenPipeError):
        process.stdin.write(question)  # type: ignore[union-attr]
    return process.stdout.read()  # type: ignore[union-attr]


def _understood(answer: bytes) -> Any:
    try:
        succeeded, result = pickle.loads(answer)  # noqa: S301 - written by `serve`
    except (EOFError, pickle.UnpicklingError):
        raise ProcessDied from None
    if not succeeded:
        raise result
    return result


def serve() -> None:
    """Answer the one question on stdin, as the process that `run_alone` starts."""
    with suppress(BrokenPipeError), os.fdopen(os.dup(1), "wb") as answers:  # or nobody waits any more
        os.dup2(2, 1)  # what a task prints is no answer
        function, task = pickle.load(sys.stdin.buffer)  # noqa: S301 - written by `run_alone`
        threading.Thread(target=_end_with_parent, daemon=True).start()
        answers.write(STARTED)
        answers.flush()
        try:
            outcome = True, function(task)
        except Exception as error:  # noqa: BLE001 - raised again by `run_alone`
            outcome = False, error
        answers.write(pickle.dumps(outcome))


def _end_with_parent() -> None:
    os.read(0, 1)  # nothing more is ever written: this returns when the other end is closed
    os._exit(1)
