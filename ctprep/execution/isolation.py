"""A process that runs one call at a time, so that a call that kills its process is known, and kills nothing else."""

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from typing import Any

from ctprep.errors import SchedulerError

IDLE_SECONDS = 60.0
"""How long a process waits for its next call: those of a Dask worker must not outlive a conversion for long."""

BEGUN = "begun"
"""What a process says before it runs a call: if it dies after that, it is the call's doing."""


class ProcessDied(Exception):
    """The process of a call ended before the call did."""


class NotBegun(Exception):
    """The process ended before it began the call."""


class IsolatedProcess:
    """A fresh process, which ends when this one does, however it ends.

    Fresh, because a fork would copy the locks that this process's threads hold. It is in a process group of its own:
    the Ctrl-C of a terminal is for the process that waits.

    Parameters
    ----------
    environment : mapping
        Variables beside those of this process.

    Raises
    ------
    SchedulerError
        If it cannot be started.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        code = f"import sys; sys.path[:] = {sys.path!r}; from ctprep.execution.isolation import serve; serve()"
        self._connection, theirs = Pipe()
        try:
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603 - this interpreter
                    [sys.executable, "-u", "-c", code],
                    stdin=theirs.fileno(),
                    env=os.environ | environment,
                    process_group=0,
                )
        except OSError as error:
            self._connection.close()
            raise cannot_start(str(error)) from None

    def ask(self, function: Callable[..., Any], *args: Any) -> tuple[bool, Any]:
        """Run `function(*args)` there; return whether it succeeded, and what it returned or raised.

        Parameters
        ----------
        function : callable
            Importable.
        *args : object
            Picklable.

        Raises
        ------
        NotBegun, ProcessDied
            If the process died before or during the call.
        """
        try:
            self._connection.send((function, args))
            self._connection.recv()
        except (EOFError, ConnectionError):
            raise NotBegun from None
        try:
            return self._connection.recv()
        except (EOFError, ConnectionError):
            raise ProcessDied from None

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End the process, whatever it does; `ask` in another thread raises."""
        self._process.kill()
        self._process.wait()


def cannot_start(why: str) -> SchedulerError:
    """Return the error of a machine on which no process can be started."""
    return SchedulerError(
        f"workers: {sys.executable} could not start a process that runs scans ({why}); what is finished is kept: "
        "run it again, with fewer workers if memory is short"
    )


def serve() -> None:
    """Run the calls that come on stdin, in the process that `IsolatedProcess` starts, until there are no more."""
    parent = Connection(os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # or what a call starts would keep the connection open
    calls: queue.SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...]]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(parent, calls), daemon=True).start()
    with suppress(queue.Empty, ConnectionError):
        while True:
            function, args = calls.get(timeout=IDLE_SECONDS)
            parent.send(BEGUN)
            _answer(parent, function, args)
    os._exit(0)  # without tidying up, which takes seconds on a busy machine


def _receive(parent: Connection, calls: queue.SimpleQueue) -> None:
    """Hand over one call after the other; end the process, whatever it does, as soon as its parent is gone."""
    while True:
        try:
            calls.put(parent.recv())
        except (EOFError, ConnectionError):
            os._exit(1)
        except Exception as error:  # noqa: BLE001 - of unpickling; raised where the call is made
            calls.put((_raise, (error,)))


def _raise(error: Exception) -> None:
    raise error


def _answer(parent: Connection, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    try:
        outcome = True, function(*args)
    except Exception as error:  # noqa: BLE001 - raised where the call is made
        outcome = False, error
    try:
        parent.send(outcome)
    except ConnectionError:
        raise
    except Exception as error:  # noqa: BLE001 - of pickling
        parent.send((False, TypeError(f"{outcome[1]!r} cannot be sent from its process ({error})")))
