"""Worker processes end when they should, whatever state they are in."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.popen_spawn_posix import Popen
from pathlib import Path

import pytest

from ctprep.execution.pool import WorkerProcesses

ORPHANS = """
import os, sys, time
from ctprep.execution.pool import WorkerProcesses
if __name__ == "__main__":
    pool = WorkerProcesses(2)
    print(*{future.result() for future in [pool.submit(os.getpid) for _ in range(20)]}, flush=True)
    os.kill(os.getpid(), 9)
"""


def test_worker_processes_do_not_outlive_their_parent(tmp_path):
    (tmp_path / "parent.py").write_text(ORPHANS)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    parent = subprocess.run(
        [sys.executable, tmp_path / "parent.py"], env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    workers = [Path("/proc") / pid for pid in parent.stdout.split()]
    assert workers
    deadline = time.monotonic() + 20
    while any(worker.exists() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(worker.exists() for worker in workers)


def never_leave() -> int:
    """Keep this process from ending, as one is kept that waits for the lock of another that was killed."""
    threading.Thread(target=time.sleep, args=(3600,)).start()
    return os.getpid()


def test_a_worker_that_cannot_leave_keeps_nobody_waiting():
    pool = WorkerProcesses(2)
    workers = {future.result() for future in [pool.submit(never_leave) for _ in range(4)]}
    pool.shutdown()
    assert not any(Path("/proc", str(worker)).exists() for worker in workers)


def test_an_interruption_waits_for_a_pool_that_is_being_made(interrupting, monkeypatch):
    make, made = ProcessPoolExecutor.__init__, []

    def interrupted(*args, **kwargs):
        signal.raise_signal(interrupting)
        make(*args, **kwargs)
        made.append("whole")

    monkeypatch.setattr(ProcessPoolExecutor, "__init__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        WorkerProcesses(1)
    assert made == ["whole"]


def test_an_interruption_waits_for_a_process_that_is_being_started(interrupting, monkeypatch):
    launch, started = Popen._launch, []

    def interrupted(popen, process):
        signal.raise_signal(interrupting)
        launch(popen, process)
        started.append(popen)

    monkeypatch.setattr(Popen, "_launch", interrupted)
    pool = WorkerProcesses(1)
    with pytest.raises(KeyboardInterrupt):
        pool.submit(os.getpid)
    pool.shutdown()
    (popen,) = started
    assert popen.returncode is not None  # it is known, so that it was waited for


def test_an_interruption_waits_for_processes_that_are_told_to_leave(interrupting, monkeypatch):
    wait = threading.Thread.join

    def interrupted(thread, timeout=None):
        signal.raise_signal(interrupting)
        wait(thread, timeout)

    with WorkerProcesses(1) as pool:
        pool.submit(os.getpid)
        (worker,) = pool._processes.values()
        monkeypatch.setattr(threading.Thread, "join", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pool.shutdown()
        monkeypatch.undo()
        assert worker.exitcode == 0  # it was still importing, and has found the queues that it was given


def test_ctrl_c_does_not_end_a_worker_that_is_still_importing(monkeypatch):
    launch = Popen._launch

    def struck(popen, process):
        launch(popen, process)
        os.kill(popen.pid, signal.SIGINT)

    monkeypatch.setattr(Popen, "_launch", struck)
    with WorkerProcesses(1) as pool:
        assert pool.submit(abs, -3).result() == 3
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
