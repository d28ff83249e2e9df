"""How long work says how far it is, without knowing who listens."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

Progress = Callable[[int, str], AbstractContextManager[Callable[[int], object]]]
"""Given a number of scans, and what is done with them, a context whose value is called with 1 after each of them."""


def silent(_total: int, _doing: str) -> AbstractContextManager[Callable[[int], object]]:
    """Listen to nothing."""
    return nullcontext(lambda _count: None)
