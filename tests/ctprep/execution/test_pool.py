"""Isolated processes end when they should, whatever state they are in, and answer only what they were asked."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ctprep.execution import isolation
from ctprep.execution.isolation import ProcessDied
from ctprep.execution.pool import ProcessPool
from tests.processes import session_ends

ORPHANS = """
import os, time
from concurrent.futures import ThreadPoolExecutor
from ctprep.execution.pool import ProcessPool
pool = ProcessPool(2)
with ThreadPoolExecutor(2) as threads:
    threads.submit(pool.call, time.sleep, 600)
    print(pool.call(os.getpid), flush=True)
    os.kill(os.getpid(), 9)
"""


def test_processes_do_not_outlive_their_parent_busy_or_idle():
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", ORPHANS]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, start_new_session=True) as parent:
        assert int(parent.stdout.readline()) not in (0, parent.pid)
    assert session_ends(parent.pid)


def test_ctrl_c_is_not_for_the_processes():
    with ProcessPool(1) as pool:
        assert pool.call(os.getpgrp) != os.getpgrp()


def test_a_process_is_used_again():
    with ProcessPool(1) as pool:
        assert pool.call(os.getpid) == pool.call(os.getpid) != os.getpid()


def kill_self():
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_call_that_kills_its_process_takes_no_other_along():
    with ProcessPool(2) as pool, ThreadPoolExecutor(2) as threads:
        slow = threads.submit(pool.call, time.sleep, 1)
        for _ in range(2):
            with pytest.raises(ProcessDied):
                pool.call(kill_self)
        assert slow.result() is None
        assert pool.call(abs, -3) == 3


def test_a_process_that_dies_between_two_calls_is_replaced():
    with ProcessPool(1) as pool:
        first = pool.call(os.getpid)
        os.kill(first, signal.SIGKILL)
        assert pool.call(os.getpid) not in (first, os.getpid())


def test_an_idle_process_ends_and_is_replaced():
    with ProcessPool(1) as pool:
        first = pool.call(leave_soon)
        while Path(f"/proc/{first}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)
        assert pool.call(os.getpid) != first


def leave_soon():
    isolation.IDLE_SECONDS = 0.01
    return os.getpid()


def never_leave() -> int:
    """Keep this process from ending by itself."""
    threading.Thread(target=time.sleep, args=(3600,)).start()
    return os.getpid()


def test_a_pool_is_closed_whatever_its_processes_do():
    with ProcessPool(2) as pool, ThreadPoolExecutor(1) as threads:
        stubborn = pool.call(never_leave)
        busy = threads.submit(pool.call, time.sleep, 3600)
        while not pool._busy:
            time.sleep(0.01)
        pool.close()
        with pytest.raises(ProcessDied):
            busy.result()
        with pytest.raises(ProcessDied):
            pool.call(abs, -3)
    assert not Path("/proc", str(stubborn)).exists()


def fail():
    raise OSError(28, "No space left on device")


def make_function():
    return lambda: None


def interrupt():
    os.kill(os.getppid(), signal.SIGINT)
    time.sleep(0.5)
    return "late"


def test_what_a_call_raises_is_raised_and_the_process_goes_on():
    with ProcessPool(1) as pool:
        process = pool.call(os.getpid)
        with pytest.raises(OSError, match="No space left"):
            pool.call(fail)
        with pytest.raises(TypeError, match="cannot be sent from its process"):
            pool.call(make_function)
        with pytest.raises(ModuleNotFoundError):
            pool.call(Nowhere())
        assert pool.call(os.getpid) == process


class Nowhere:
    """What can be sent and not be understood."""

    def __reduce__(self):
        return __import__, ("nowhere_to_be_found",)


def test_an_interrupted_call_is_not_answered_in_place_of_the_next():
    with ProcessPool(1) as pool:
        with pytest.raises(KeyboardInterrupt):
            pool.call(interrupt)
        assert pool.call(abs, -3) == 3


def test_what_a_call_starts_does_not_keep_its_process_alive():
    with ProcessPool(1) as pool:
        child = pool.call(start_and_die_later)
        with pytest.raises(ProcessDied):
            pool.call(kill_self)
        os.kill(child, signal.SIGKILL)


def start_and_die_later():
    return subprocess.Popen(["sleep", "3600"]).pid
