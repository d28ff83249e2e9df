"""Every step by which this process changes the file system, so that something can happen before it.

What is on the disk after one step is what is there before the next, so before is enough. A write is two steps, each of
half the content: in between, it is torn.
"""

import builtins
import io
import itertools
import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any

from ctprep.conversion import staging

AtStep = Callable[[], None]

CALLS = ("mkdir", "rename", "replace", "link", "symlink", "unlink", "remove", "rmdir", "truncate", "ftruncate")
MAX_SENT = 64
"""Bytes that one call copies from file to file; the system may copy fewer than it is asked to, too."""

FORK = multiprocessing.get_context("fork")
MAX_SECONDS = 60


def watch(at_step: AtStep) -> None:
    """Call `at_step` before every step that this process takes from now on."""
    for name in CALLS:
        setattr(os, name, _after(at_step, getattr(os, name)))
    for name in ("exchange", "sync_file_system"):  # they call the C library
        setattr(staging, name, _after(at_step, getattr(staging, name)))
    open_file, open_descriptor, write, sendfile = io.open, os.open, os.write, os.sendfile

    def watched_open(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if not set(mode) & set("wax+"):
            return open_file(file, mode, *args, **kwargs)
        at_step()
        return WatchedFile(open_file(file, mode, *args, **kwargs), at_step)

    def watched_descriptor(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if flags & os.O_CREAT:
            at_step()
        return open_descriptor(path, flags, *args, **kwargs)

    def watched_write(descriptor: int, content: bytes) -> int:
        return sum(write(descriptor, half) for half in _halves(content, at_step))

    def watched_sendfile(out: int, source: int, offset: int, count: int) -> int:
        at_step()
        return sendfile(out, source, offset, min(count, MAX_SENT))

    builtins.open = io.open = watched_open  # type: ignore[assignment]
    os.open, os.write, os.sendfile = watched_descriptor, watched_write, watched_sendfile  # type: ignore[assignment]


def _after(at_step: AtStep, call: Callable[..., Any]) -> Callable[..., Any]:
    def watched(*args: Any, **kwargs: Any) -> Any:
        at_step()
        return call(*args, **kwargs)

    return watched


def _halves(content: Any, at_step: AtStep) -> Any:
    middle = len(content) // 2
    for half in (content[:middle], content[middle:]):
        at_step()
        yield half


class WatchedFile:
    """A file open for writing."""

    def __init__(self, file: Any, at_step: AtStep) -> None:
        self._file, self._at_step = file, at_step

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "WatchedFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, content: Any) -> int:
        for half in _halves(content, self._at_step):
            self._file.write(half)
            self._file.flush()
        return len(content)

    def truncate(self, *args: int) -> int:
        self._at_step()
        return self._file.truncate(*args)


def kill_at(number: int) -> AtStep:
    """Return what kills this process before its step of this number, from 0."""
    steps = itertools.count()

    def at_step() -> None:
        if next(steps) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return at_step


def count_steps(run: Callable[[], object]) -> int:
    """Return how many steps a function takes in a process of its own."""

    def counting() -> int:
        steps = itertools.count()
        watch(lambda: next(steps))
        run()
        return next(steps)

    return in_child(counting)


def in_child(function: Callable[[], Any]) -> Any:
    """Return what a function returns in a fork of this process; None if it was killed.

    Raises
    ------
    TimeoutError
        If it does not end.
    """
    reader, writer = FORK.Pipe(duplex=False)
    child = FORK.Process(target=lambda: writer.send(function()))
    child.start()
    writer.close()
    try:
        if not reader.poll(MAX_SECONDS):
            child.kill()
            raise TimeoutError(f"{function} did not end in {MAX_SECONDS} s")
        return reader.recv()
    except EOFError:
        return None
    finally:
        child.join()
        reader.close()
