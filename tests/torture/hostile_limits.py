"""How long and how much memory something hostile may take, measured in this process."""

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

MAX_SECONDS = 2.0


class Hanging(BaseException):
    """Something took longer than it may; no `except Exception` holds it up."""


@contextlib.contextmanager
def no_hang(seconds: float = MAX_SECONDS) -> Iterator[None]:
    """Raise `Hanging` where the block takes longer; in the main thread only."""

    def give_up(_signal: int, _frame: FrameType | None) -> None:
        raise Hanging

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Peak:
    """The most memory that this process has held since it was last asked to forget."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM to what is held now
        self._before = _status_mb("VmRSS")

    def grown_mb(self) -> float:
        """MB above what was held at the beginning."""
        return self.total_mb() - self._before

    @staticmethod
    def total_mb() -> float:
        """MB of the whole process, with every library it has loaded."""
        return _status_mb("VmHWM")


class Stopwatch:
    """The longest of many turns, in seconds."""

    def __init__(self) -> None:
        self.longest = 0.0

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Time one turn."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.longest = max(self.longest, time.perf_counter() - start)


def _status_mb(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024
