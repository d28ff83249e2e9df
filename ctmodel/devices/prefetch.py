"""What is needed next is made in the background, while its taker does something else."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")

_NONE = object()


def started(items: Iterator[Item]) -> Iterator[Item]:
    """Begin to make the first item at once, in a thread of its own; what it raises is raised when it is asked for.

    Parameters
    ----------
    items : iterator
        Left to the iterator that is returned.

    Returns
    -------
    iterator
        Over the same items.

    Examples
    --------
    >>> list(started(iter("abc")))
    ['a', 'b', 'c']
    """
    thread = ThreadPoolExecutor(1)
    first = thread.submit(next, items, _NONE)
    thread.shutdown(wait=False)

    def all_items() -> Iterator[Item]:
        item = first.result()
        if item is not _NONE:
            yield item  # type: ignore[misc]
            yield from items

    return all_items()


def mapped(make: Callable[[Item], Made], items: Iterable[Item], *, ahead: int) -> Iterator[Made]:
    """Yield what a function makes of each item, in their order, while threads make the next ones.

    Parameters
    ----------
    make : callable
        Of one item; what it raises is raised when it is asked for.
    items : iterable
    ahead : int
        How many are under way beside the one in hand, in as many threads.

    Yields
    ------
    object

    Examples
    --------
    >>> list(mapped(str.upper, "abc", ahead=2))
    ['A', 'B', 'C']
    """
    threads = ThreadPoolExecutor(ahead)
    under_way: deque[Future[Made]] = deque()
    try:
        for item in items:
            under_way.append(threads.submit(make, item))
            if len(under_way) > ahead:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
