"""Isolated processes that threads share: each call has one to itself."""

import threading
from collections.abc import Callable
from typing import Any

from ctprep.execution.cores import thread_limits
from ctprep.execution.isolation import IsolatedProcess, NotBegun, ProcessDied, cannot_start

MAX_STARTS = 3
"""Processes that die one after another before they begin a call, when something else is wrong."""


class ProcessPool:
    """As many isolated processes as there are calls at once, which are used again.

    Parameters
    ----------
    count : int
        How many there will be, of which each has its share of the cores for the threads of its linear algebra.
    """

    def __init__(self, count: int) -> None:
        self._environment = thread_limits(count)
        self._lock = threading.Lock()
        self._idle: list[IsolatedProcess] = []
        self._busy: set[IsolatedProcess] = set()
        self._is_closed = False

    def __enter__(self) -> "ProcessPool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Return `function(*args)`, computed in a process that does nothing else meanwhile.

        Parameters
        ----------
        function : callable
            Importable; what it raises is raised here.
        *args : object
            Picklable.

        Raises
        ------
        ProcessDied
            If the process died during the call, or the pool is closed.
        SchedulerError
            If no process lives long enough to begin it.
        """
        for _ in range(MAX_STARTS):
            process = self._take()
            try:
                succeeded, result = process.ask(function, *args)
            except NotBegun:
                self._drop(process)
                continue
            except BaseException:  # also of a signal: the answer would be taken for that of the next call
                self._drop(process)
                raise
            self._give_back(process)
            if succeeded:
                return result
            raise result
        raise cannot_start(f"{MAX_STARTS} died before they had run one")

    def close(self) -> None:
        """Kill the processes, whatever they do; calls in other threads raise."""
        with self._lock:
            self._is_closed = True
            for process in (*self._idle, *self._busy):
                process.kill()

    def _take(self) -> IsolatedProcess:
        with self._lock:
            if self._is_closed:
                raise ProcessDied
            while self._idle:
                process = self._idle.pop()
                if process.is_alive:
                    break
            else:
                process = IsolatedProcess(self._environment)
            self._busy.add(process)
            return process

    def _give_back(self, process: IsolatedProcess) -> None:
        with self._lock:
            self._busy.discard(process)
            self._idle.append(process)

    def _drop(self, process: IsolatedProcess) -> None:
        process.kill()
        with self._lock:
            self._busy.discard(process)
