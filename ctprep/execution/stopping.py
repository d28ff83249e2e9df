"""What Ctrl-C and `kill` do: end a process soon, but not in the middle of what must not be left half done."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
A_MOMENT = 0.01  # seconds


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Put off the Python handlers of SIGINT and SIGTERM until the block has ended.

    A handler that raises would otherwise do so anywhere in it: after a step has changed the weights, say, and before
    it is counted. Handlers run in the main thread alone, and so there is nothing to put off elsewhere.

    Examples
    --------
    >>> with uninterrupted():
    ...     done = "all of it"
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: handler for number in SIGNALS if callable(handler := signal.getsignal(number))}
    arrived: list[int] = []
    ended = False

    def put_off(number: int, frame: FrameType | None) -> None:
        if ended:  # another handler raised before this one was taken back
            handlers[signal.Signals(number)](number, frame)
        else:
            arrived.append(number)

    try:
        for number in handlers:
            signal.signal(number, put_off)
        yield
    finally:
        ended = True
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if arrived:  # not where the block raised: what it left half done must not be taken for what an interruption left
        signal.raise_signal(arrived[0])


@contextlib.contextmanager
def ending_on_signals() -> Iterator[list[int]]:
    """Run all that a process is for; SIGINT and SIGTERM raise KeyboardInterrupt in it, and are not lost.

    Python prints and forgets what is raised in a callback of its own, as there is one for each module that is imported;
    here it is raised once more, a moment later. When the block has ended, nothing is left to be tidied up, and a signal
    ends the process at once and without a word.

    To be used in the main thread. A signal that is ignored, as SIGINT is after nohup, stays so.

    Yields
    ------
    list of int
        The signals that have arrived. An error after the first is of it, if nothing explains it better: a library may
        turn what is raised in its midst into an error of its own.
    """
    arrived: list[int] = []

    def strike(number: int, _frame: FrameType | None) -> None:
        arrived.append(number)
        raise KeyboardInterrupt

    def strike_again(unraisable: "sys.UnraisableHookArgs") -> None:
        if unraisable.exc_type is KeyboardInterrupt:
            threading.Timer(A_MOMENT, os.kill, (os.getpid(), arrived[-1])).start()
        else:
            report(unraisable)

    ours = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    report, sys.unraisablehook = sys.unraisablehook, strike_again
    for number in ours:
        signal.signal(number, strike)
    try:
        yield arrived
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
        sys.unraisablehook = report
