"""The first item of an iterator is made in the background, while its taker does something else."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")

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
