"""Ctrl-C and SIGTERM: a command ends at once, or between two steps of work that has something to save.

Whatever is on the disk survives SIGKILL, so that nothing needs protection from a signal.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class _Stop:
    """Whether this process works in steps, and was asked to stop between two of them."""

    in_steps: bool = False
    is_asked: bool = False


_stop = _Stop()


@contextlib.contextmanager
def ending_on_signals(last_words: Callable[[], object]) -> Iterator[None]:
    """Let SIGINT and SIGTERM end the process; for the program that owns it, in its main thread.

    The first signal during work `in_steps` is kept for `stop_if_asked`. Any other ends the process at once with exit
    code 1, without unwinding: a library that is interrupted in its midst may say or do anything. After the block a
    signal ends the process without a word. A signal that is ignored, as SIGINT is after nohup, stays so.

    Parameters
    ----------
    last_words : callable
        Called before the process ends at once.
    """

    def end(_number: int, _frame: FrameType | None) -> None:
        if _stop.in_steps and not _stop.is_asked:
            _stop.is_asked = True
            return
        last_words()
        os._exit(1)

    ours = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    for number in ours:
        signal.signal(number, end)
    try:
        yield
    finally:
        _stop.is_asked = False
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def in_steps() -> Iterator[None]:
    """Say that the block works in steps and calls `stop_if_asked` after each; not to be nested.

    Without `ending_on_signals` it changes nothing: Ctrl-C raises KeyboardInterrupt anywhere, as Python does.

    Raises
    ------
    KeyboardInterrupt
        At the end of the block, if a signal came after its last step.
    """
    _stop.in_steps = True
    try:
        yield
        stop_if_asked()
    finally:
        _stop.in_steps = False


def stop_if_asked() -> None:
    """Raise KeyboardInterrupt if a signal has asked for the end; no step must be under way."""
    if _stop.is_asked:
        raise KeyboardInterrupt
