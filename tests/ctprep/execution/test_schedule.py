"""Schedulers whose processes die: every task has its result, and only what kills twice is lost."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from ctprep.errors import SchedulerError
from ctprep.execution.pool import ProcessPool
from ctprep.execution.schedule import run_all
from tests.clusters import SECONDS_FOR_A_WORKER, workers_on_this_machine
from tests.processes import processes_in, session_ends

OUTLIVING = ("processes", "cluster")
"""The schedulers that outlive their processes."""

ALLOWED_FAILURES = 3
"""Dead workers for which Dask blames a task before it gives it up."""


@dataclass(frozen=True)
class Task:
    """A task, whom its attempts kill one after another, and a folder where it writes each attempt down."""

    name: str
    folder: Path
    kills: tuple[str, ...] = ()

    @property
    def attempts(self):
        return len(list(self.folder.glob(f"{self.name}-*")))


def run(task):
    """Kill what the task kills in this attempt, or return."""
    number = task.attempts
    (task.folder / f"{task.name}-{number}").touch()
    if number < len(task.kills):
        kill(task.kills[number])
    return task.name, "done"


def kill(whom):
    """Kill this process; before, where it is asked for, the worker of the cluster that waits for it."""
    if whom == "worker":
        os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def lose(task):
    return task.name, "lost"


@pytest.fixture
def scheduler(request):
    """Give a scheduler for `run_all` by the word that a test is parametrized with."""
    return request.getfixturevalue("cluster") if request.param == "cluster" else request.param


@pytest.fixture
def make_tasks(tmp_path):
    """Return a function that makes tasks by name, of which some kill."""
    (tmp_path / "attempts-made").mkdir(exist_ok=True)

    def make(count, **kills):
        harmless = [Task(f"task{number:02}", tmp_path / "attempts-made") for number in range(count)]
        deadly = [Task(name, tmp_path / "attempts-made", kills) for name, kills in kills.items()]
        return [*harmless[: count // 2], *deadly, *harmless[count // 2 :]]

    return make


def results(tasks, scheduler, function=run, on_result=lambda _: None, workers=2):
    """Run tasks; return the result of each, of which there must be one."""
    found = []

    def keep(result):
        found.append(result)
        on_result(result)

    run_all(function, tasks, keep, when_lost=lose, scheduler=scheduler, workers=workers)
    assert Counter(name for name, _ in found) == Counter(task.name for task in tasks)
    return dict(found)


@pytest.mark.parametrize("scheduler", OUTLIVING, indirect=True)
def test_only_tasks_that_kill_twice_are_lost_and_after_two_attempts(make_tasks, scheduler):
    tasks = make_tasks(40, killer=("self",) * 9, other_killer=("self",) * 9, hit_once=("self",))
    found = results(tasks, scheduler)
    assert {name for name, result in found.items() if result == "lost"} == {"killer", "other_killer"}
    assert {task.attempts for task in tasks if task.kills} == {2}
    assert {task.attempts for task in tasks if not task.kills} == {1}


def test_tasks_that_wait_for_a_worker_do_not_die_with_it(make_tasks):
    """On a cluster that hands out all tasks at once, each dead worker is blamed on all of its tasks."""
    kills = {f"hit{number}": ("worker",) for number in range(ALLOWED_FAILURES + 2)}
    tasks = make_tasks(0, **kills) + make_tasks(8)
    with workers_on_this_machine(1, worker_saturation="inf") as eager:
        assert set(results(tasks, eager.scheduler_address).values()) == {"done"}


def test_tasks_that_wait_for_a_worker_do_die_with_it_without_our_help(make_tasks):
    """The null control; the first death is one too many here, so that it needs no second worker."""
    from distributed import Client, KilledWorker

    tasks = make_tasks(0, hit=("self",)) + make_tasks(8)
    with (
        workers_on_this_machine(1, worker_saturation="inf", allowed_failures=0) as eager,
        Client(eager.scheduler_address, set_as_default=False) as client,
    ):
        last = client.map(run, tasks)[-1]
        with pytest.raises(KilledWorker):
            last.result(timeout=SECONDS_FOR_A_WORKER)


def test_a_suspect_is_not_blamed_for_a_worker_that_died_beside_it(make_tasks, cluster):
    tasks = make_tasks(4, unlucky=("self", "worker", "worker"))
    assert set(results(tasks, cluster).values()) == {"done"}


def test_a_task_that_always_takes_the_worker_along_is_lost_in_the_end(make_tasks, cluster):
    tasks = make_tasks(4, killer=("self", *("worker",) * 9))
    found = results(tasks, cluster)
    assert [name for name, result in found.items() if result == "lost"] == ["killer"]
    assert [task.attempts for task in tasks if task.kills] == [5]


def test_a_cluster_without_workers_is_waited_for(make_tasks, local_cluster):
    finished = []

    def kill_all_workers(result):
        finished.append(result)
        if len(finished) == 3:
            for nanny in local_cluster.workers.values():
                os.kill(nanny.pid, signal.SIGKILL)

    tasks = make_tasks(30)
    found = results(tasks, local_cluster.scheduler_address, sleep, on_result=kill_all_workers)
    assert set(found.values()) == {"done"}


def fail(task):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("scheduler", ["synchronous", "threads", *OUTLIVING], indirect=True)
def test_what_a_task_raises_ends_the_run(make_tasks, scheduler):
    with pytest.raises(OSError, match="No space left"):
        results(make_tasks(4), scheduler, fail)


def fail_alone(task):
    """Raise an error in the second attempt."""
    if task.attempts == 1:
        fail(task)
    return run(task)


@pytest.mark.parametrize("scheduler", OUTLIVING, indirect=True)
def test_what_a_suspect_raises_ends_the_run_too(make_tasks, scheduler):
    with pytest.raises(OSError, match="No space left"):
        results(make_tasks(0, suspect=("self",)), scheduler, fail_alone)


def print_much(task):
    print("x" * 100_000)
    return run(task)


@pytest.mark.parametrize("scheduler", OUTLIVING, indirect=True)
def test_what_a_suspect_prints_is_no_result(make_tasks, scheduler):
    assert results(make_tasks(0, suspect=("self",)), scheduler, print_much) == {"suspect": "done"}


@pytest.mark.parametrize("executable", ["/nowhere/python", "/bin/false"])
def test_a_process_that_cannot_be_started_is_not_the_tasks_fault(make_tasks, monkeypatch, executable):
    monkeypatch.setattr(sys, "executable", executable)
    with ProcessPool(1) as pool, pytest.raises(SchedulerError, match="could not start a process"):
        pool.call(run, *make_tasks(1))


class Poison(Task):
    """A task that kills whatever process it arrives in."""

    def __reduce__(self):
        return die_elsewhere, (os.getpid(),)


def die_elsewhere(home):
    if os.getpid() != home:
        os._exit(1)
    return Poison("poison", Path())


def die():
    os._exit(1)


def test_processes_that_die_before_they_run_anything_end_the_run(tmp_path):
    with pytest.raises(SchedulerError, match="3 died before they had run one"):
        results([Poison("poison", tmp_path)], "processes")


def test_a_task_that_kills_a_worker_of_a_cluster_on_arrival_is_lost(tmp_path, cluster):
    assert results([Poison("poison", tmp_path)], cluster) == {"poison": "lost"}


def test_a_cluster_whose_workers_die_whatever_they_do_ends_the_run(tmp_path, cluster, monkeypatch):
    monkeypatch.setattr("ctprep.execution.cluster._nothing", die)
    with pytest.raises(SchedulerError, match="die before they run a scan"):
        results([Poison("poison", tmp_path)], cluster)


def test_a_cluster_that_may_not_wait_for_workers_ends_the_run(make_tasks):
    with (
        workers_on_this_machine(0, no_workers_timeout="100ms") as empty,
        pytest.raises(SchedulerError, match="had none for longer"),
    ):
        results(make_tasks(4), empty.scheduler_address)


def test_auto_is_no_scheduler_of_tasks(make_tasks):
    """It is chosen by who knows the tasks, and is no address."""
    with pytest.raises(SchedulerError, match="auto is for who knows how long the tasks take"):
        results(make_tasks(1), "auto")


CLUSTER = """
import sys
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""


def test_a_cluster_that_goes_away_is_said_with_a_way_on(make_tasks, tmp_path):
    (tmp_path / "cluster.py").write_text(CLUSTER)
    script = [sys.executable, tmp_path / "cluster.py"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as cluster:
        address = cluster.stdout.readline().strip()
        with pytest.raises(SchedulerError, match="went away; what is finished is kept"):
            results(make_tasks(100), address, sleep, on_result=lambda _: cluster.kill())


def sleep(task):
    (task.folder / f"{task.name}-{os.getpid()}").touch()
    time.sleep(0.2)
    return task.name, "done"


INTERRUPTED = """
import sys
from pathlib import Path
import test_schedule as test
from ctprep.execution.schedule import run_all
if __name__ == "__main__":
    tasks = [test.Task(f"task{number}", Path(sys.argv[2])) for number in range(200)]
    run_all(getattr(test, sys.argv[3]), tasks, lambda _: print("one", flush=True), when_lost=test.lose,
            scheduler=sys.argv[1], workers=2)
"""


@pytest.mark.parametrize("scheduler", ["synchronous", "threads", *OUTLIVING], indirect=True)
def test_an_interruption_ends_the_run_and_leaves_no_process(tmp_path, scheduler):
    """As Ctrl-C does: the signal goes to every process of the group."""
    with interruptible(tmp_path, scheduler, "sleep") as process:
        process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
    assert process.returncode == -signal.SIGINT
    assert session_ends(process.pid)


def interruptible(tmp_path, scheduler, function):
    """Start a program that runs 200 tasks, in a session of its own."""
    (tmp_path / "interrupted.py").write_text(INTERRUPTED)
    (tmp_path / "made").mkdir()
    return subprocess.Popen(
        [sys.executable, tmp_path / "interrupted.py", scheduler, tmp_path / "made", function],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def sleep_alone(task):
    """Kill one process; sleep in the next, whose number is left."""
    if task.name == "task0":
        if not task.attempts:
            (task.folder / "task0-first").touch()
            kill("self")
        (task.folder / "alone").write_text(str(os.getpid()))
        time.sleep(600)
    return task.name, "done"


def number_of_suspect(process, tmp_path):
    """Wait for the process that `sleep_alone` sleeps in."""
    left = tmp_path / "made" / "alone"
    while not (left.exists() and left.read_text()):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    return int(left.read_text())


def test_an_interruption_ends_the_process_of_a_suspect(tmp_path):
    with interruptible(tmp_path, "processes", "sleep_alone") as process:
        assert number_of_suspect(process, tmp_path) in processes_in(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=60)
    assert session_ends(process.pid)


def test_the_process_of_a_suspect_ends_with_the_one_that_waits(tmp_path):
    with interruptible(tmp_path, "processes", "sleep_alone") as process:
        assert number_of_suspect(process, tmp_path) in processes_in(process.pid)
        process.kill()
        process.communicate(timeout=60)
    assert session_ends(process.pid)
