"""Worker processes that do not outlive the process that started them, nor keep it waiting."""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing.connection import Connection
from types import ModuleType
from typing import Any, TypeVar

from ctprep.execution.cores import threads_shared_among
from ctprep.execution.stopping import uninterrupted

Result = TypeVar("Result")

SECONDS_TO_LEAVE = 1.0
"""How long a worker may take to end once its pool is shut down."""


class WorkerProcesses(ProcessPoolExecutor):
    """A pool of freshly started processes, which end when their parent does, however it ends.

    Fresh, because a fork would copy the locks that the parent's threads hold. Ctrl-C reaches all processes of a
    terminal; these leave it to their parent, or it would look as if a task had killed them.

    A process that is killed may have held the lock under which results are sent, and then the others wait for it for
    ever when they want to say goodbye. So `shutdown` gives them a moment, whatever they are doing.

    Parameters
    ----------
    count : int
        How many processes, of which each has its share of the cores for the threads of its linear algebra.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        context = multiprocessing.get_context("spawn")
        with uninterrupted():  # or a semaphore may be left, of which nobody knows
            until_closed, self._open = context.Pipe(duplex=False)
            super().__init__(count, context, initializer=_obey_parent, initargs=(until_closed,))

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        """Hand over a task, and start a process for it where there are few; that is done whole or not at all.

        A process whose start is interrupted is known to nobody: it outlives its parent for as long as its imports
        take, and ends with a traceback.
        """
        with uninterrupted(), _ctrl_c_blocked(), _main_left_out(), threads_shared_among(self._count):
            return super().submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes: at once where nothing is left to do, and within `SECONDS_TO_LEAVE` in any case.

        That too is done whole or not at all: Python counts a thread as ended when it is interrupted while it waits for
        it, and so would tear down the queues under a process that is still importing, which ends with a traceback.
        """
        with uninterrupted():
            self._open.close()
            super().shutdown(wait, cancel_futures=cancel_futures)


@contextlib.contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    """Block SIGINT in this thread, where it strikes afterwards, and in what is started meanwhile, for good.

    A new process inherits the block, and so is safe before its first line.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _main_left_out() -> Iterator[None]:
    """Keep a new process from importing the script that is running.

    A script without `if __name__ == "__main__"` would run in it once more, and nothing of it is needed there.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _obey_parent(until_closed: Connection) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_leave_in_time, args=(parent.sentinel, until_closed), daemon=True).start()


def _leave_in_time(parent: int, until_closed: Connection) -> None:
    if parent not in multiprocessing.connection.wait([parent, until_closed]):
        multiprocessing.connection.wait([parent], SECONDS_TO_LEAVE)
    os._exit(1)
