"""What must not be left half done when somebody presses Ctrl-C."""

import contextlib
import signal
import threading
from collections.abc import Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM)


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
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    ours = [number for number, handler in handlers.items() if callable(handler)]
    arrived: list[int] = []
    for number in ours:
        signal.signal(number, lambda number, _frame: arrived.append(number))
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, handlers[number])
    if arrived:  # not where the block raised: what it left half done must not be taken for what an interruption left
        signal.raise_signal(arrived[0])
