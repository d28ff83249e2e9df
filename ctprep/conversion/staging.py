"""Where a store is built: a hidden folder beside it, one writer at a time, one step from old to new.

Nothing here knows what a store contains. The folder `.NAME.ctprep` beside the target NAME holds

- `lock`: held, through the operating system, by the one conversion that runs;
- `work/KEY/`: finished volumes and their records, by what they were made from, until they are in a store;
- `next/`: the tree being assembled; `ready/`: the same, complete and synced; `old/`: what it replaced;
- `sources.jsonl`: see `ctprep.conversion.stamps`.

It may be deleted whenever no conversion runs. What a crash left of these goes; whatever else is in it stays.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ctprep.errors import StoreLocked, TargetError
from ctprep.files import as_target_error, remove_unfinished

MAX_LETTERS = 100
"""Of what the lock's holder says of itself."""

AT_FDCWD = -100
RENAME_EXCHANGE = 2  # linux/fs.h


class Staging:
    """The hidden folder beside a target, and the steps that lead from it to the target.

    Parameters
    ----------
    target : Path
        Where the store will be.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.folder = target.absolute().with_name(f".{target.absolute().name}.ctprep")
        self.sources = self.folder / "sources.jsonl"
        self.next = self.folder / "next"
        self._ready = self.folder / "ready"
        self._old = self.folder / "old"
        self._found: int | None = None  # an open descriptor, so that nothing else gets its inode

    def work(self, key: str) -> Path:
        """Return the folder of finished volumes made under one key."""
        return self.folder / "work" / key

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock, create the folder, and finish what a crashed conversion left half done.

        What is the target's place then is what `commit` may replace, and nothing else.

        Raises
        ------
        StoreLocked
            If another conversion holds it.
        TargetError
            If the folder cannot be written, or is a link.
        """
        with as_target_error(self.target):
            self.folder.mkdir(exist_ok=True)
            if self.folder.is_symlink():
                raise TargetError(f"{self.folder}: is a link, and may be somebody else's folder; remove the link")
            lock = open(self.folder / "lock", "a+", opener=_without_following)  # noqa: SIM115 - closed below
        with lock:  # which releases it
            with as_target_error(self.target):
                self._lock(lock)
                self._recover()
            with _held(self.target) as self._found:
                yield

    def _lock(self, lock: IO[str]) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read(MAX_LETTERS) or "another conversion"
            raise StoreLocked(f"{self.target}: {holder} is writing it; wait for it to end") from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {os.uname().nodename}")
        lock.flush()

    def _recover(self) -> None:
        # Only between the two renames are both there; `ready` alone may be a replaced store, half deleted.
        if self._old.exists() and self._ready.exists() and not self.target.exists():
            self._ready.rename(self.target)
        for leftover in (self.next, self._ready, self._old):
            shutil.rmtree(leftover, ignore_errors=True)
        remove_unfinished(self.folder)

    def commit(self) -> None:
        """Put the assembled tree in the target's place, durably and in one step.

        Raises
        ------
        TargetError
            If that fails, or something else is in the target's place than when the conversion began: that stays.
        """
        with as_target_error(self.target):
            sync_file_system(self.folder)
            self.next.rename(self._ready)
            if self._found is None:
                self._ready.rename(self.target)  # which replaces nothing but an empty folder
            else:
                self._replace()
            sync_file_system(self.folder)
            for replaced in (self._ready, self._old, self.folder / "work"):
                shutil.rmtree(replaced, ignore_errors=True)

    def _replace(self) -> None:
        self._check_is_what_was_found(self.target)
        try:
            exchange(self._ready, self.target)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
                raise
            # This file system cannot exchange; between the next two lines only `_recover` knows the store.
            self.target.rename(self._old)
            try:
                self._check_is_what_was_found(self._old)
                self._ready.rename(self.target)
            except OSError:
                self._old.rename(self.target)
                raise
        else:
            self._undo_unless_found()

    def _undo_unless_found(self) -> None:
        """Exchange again where what came back is something that appeared in the very moment."""
        try:
            self._check_is_what_was_found(self._ready)
        except TargetError:
            exchange(self._ready, self.target)
            raise

    def _check_is_what_was_found(self, path: Path) -> None:
        if self._found is None or not os.path.samestat(path.lstat(), os.fstat(self._found)):
            raise TargetError(
                f"{self.target}: another took its place during the conversion, and is left alone; run it again"
            )


@contextlib.contextmanager
def _held(path: Path) -> Iterator[int | None]:
    """Hold a descriptor of a folder, by which it is known wherever it is moved; None where there is nothing."""
    if not path.exists():
        yield None
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _without_following(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)


def link_or_copy(source: Path, target: Path) -> None:
    """Make a file appear at another place, without copying it where the file system can; a link's end is copied."""
    if not source.is_symlink():
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS):
                raise
        else:
            return
    shutil.copyfile(source, target)


def exchange(first: Path, second: Path) -> None:
    """Swap two folders in one step (Linux's renameat2).

    Raises
    ------
    OSError
        ENOSYS where the system has no such call, EINVAL where the file system has not.
    """
    renameat2 = getattr(_libc(), "renameat2", None)
    if renameat2 is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if renameat2(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def sync_file_system(folder: Path) -> None:
    """Wait until everything written to a folder's file system is on the disk: one call, not one a file."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        syncfs = getattr(_libc(), "syncfs", None)
        if syncfs is None:
            os.sync()
        elif syncfs(descriptor):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        os.close(descriptor)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
