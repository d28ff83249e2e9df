"""Worker processes that do not outlive the process that started them."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor


def worker_processes(count: int) -> ProcessPoolExecutor:
    """Return a pool of freshly started processes, which end when their parent does, however it ends.

    Fresh, because a fork would copy the locks that the parent's threads hold. Ctrl-C reaches all processes of a
    terminal; these leave it to their parent, or it would look as if a task had killed them.
    """
    return ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), initializer=_obey_parent)


def _obey_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_wait_and_exit, args=(parent.sentinel,), daemon=True).start()


def _wait_and_exit(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)
