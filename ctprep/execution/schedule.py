"""How many independent tasks are run: a plain loop, Dask's threads or processes, or a Dask cluster.

Every scheduler gives the results of the plain loop, in an order of its own; none holds more than a few tasks for each
worker. Processes and clusters outlive a task that kills its process: see `ctprep.execution.attempts`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from ctprep.errors import SchedulerError
from ctprep.execution.attempts import Marks, Suspect, attempt, attempt_alone
from ctprep.execution.cluster import connected, results_of
from ctprep.execution.cores import available_cores
from ctprep.execution.pool import WorkerProcesses

Task = TypeVar("Task")
Result = TypeVar("Result")
Call = Callable[[], Result]

LOCAL_SCHEDULERS = ("threads", "processes", "synchronous")
AUTO = "auto"
CLUSTER_PREFIXES = ("tcp://", "tls://", "ucx://", "ws://", "wss://")

TASKS_PER_WORKER = 128
"""Tasks handed to Dask at once: a longer block waits less often for its last task, a shorter one uses less memory.

Where scans are as unlike as chest CTs are, 16 workers wait for 4 % of the time with 32 and for 1 % with 128, as
tests/benchmarks/scheduling.py computes; their tasks take 18 MB.
"""

FRUITLESS_POOLS = 3
"""Pools of processes that break one after another, before a single task is over, when something else is wrong."""

MOST_WORKERS = 1024

HANDING_OVER_SECONDS = 2e-3
"""What a task must take for several workers to be faster than a plain loop: two threads need 1.4 times as long as the
loop for scans of 1 ms, which hold Python's lock all the time, and two processes 1.2 times as long."""

PROCESSES_PAY_AFTER = 4.0
"""Seconds of one core's work from which processes are faster than threads: two processes convert 2.0 times as many
scans of 512 x 512 x 48 as one, two threads 1.8 times, and fewer the smaller a scan is; but processes start 0.4 s later
(tests/benchmarks/scaling.py)."""


def run_all(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    on_result: Callable[[Result], None],
    *,
    when_lost: Callable[[Task], Result],
    attempts: Path,
    name: Callable[[Task], str],
    scheduler: str,
    workers: int | None = None,
) -> None:
    """Call `on_result(function(task))` for every task, as soon as each result is known, in any order.

    A process that dies costs no task its result: whatever it was running is tried again after all others, by itself, in
    a process of its own.

    Parameters
    ----------
    function : callable
        Importable, so that processes can find it, and not from the script that is running, which they do not import.
    tasks : iterable
        Small and picklable.
    on_result : callable
        Called in the calling thread; what it raises ends the run.
    when_lost : callable
        Gives the result of a task that killed its process twice, the second time alone; importable.
    attempts : Path
        A folder for `Marks`, seen by all workers, which is emptied first; `threads` and `synchronous` leave it alone.
    name : callable
        Gives a task's file name in that folder, which no other task has.
    scheduler : str
        `threads`, `processes`, `synchronous` (a plain loop) or the address of a Dask cluster.
    workers : int, optional
        Threads or processes; one for each core this process may use where it is not given. A cluster has its own.

    Raises
    ------
    SchedulerError
        If there is no such scheduler, it goes away, or its processes die before they run anything.
    """
    check_scheduler(scheduler, workers)
    if scheduler == AUTO:
        raise SchedulerError(f"scheduler: {AUTO} is for who knows how long the tasks take; see `fastest_scheduler`")
    workers = workers or available_cores()
    if scheduler == "synchronous":
        for task in tasks:
            on_result(function(task))
    elif scheduler == "threads":
        _run_in_threads((partial(function, task) for task in tasks), on_result, workers)
    else:
        marks = Marks(attempts, name)
        marks.clear()
        trial = _Trial(function, when_lost, marks, on_result)
        if scheduler == "processes":
            _try_in_processes(trial, tasks, workers)
        else:
            _try_on_cluster(trial, tasks, scheduler)


def run_in_threads(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    on_result: Callable[[Result], None],
    *,
    workers: int | None = None,
) -> None:
    """Do what `run_all` does, in threads of this process, or in a plain loop where one thread or one task is all.

    Parameters are those of `run_all`.
    """
    workers = workers or available_cores()
    if workers == 1 or len(tasks) <= 1:
        for task in tasks:
            on_result(function(task))
    else:
        _run_in_threads((partial(function, task) for task in tasks), on_result, workers)


def check_scheduler(scheduler: str, workers: int | None) -> None:
    """Raise `SchedulerError` where there is no such scheduler or number of workers."""
    if scheduler not in (AUTO, *LOCAL_SCHEDULERS) and not scheduler.startswith(CLUSTER_PREFIXES):
        raise SchedulerError(
            f"scheduler: {scheduler!r} is unknown; choose {', '.join((AUTO, *LOCAL_SCHEDULERS))} or the address of a "
            "running Dask cluster, as in tcp://127.0.0.1:8786"
        )
    if workers is not None and not 1 <= workers <= MOST_WORKERS:
        raise SchedulerError(f"workers: {workers} is not from 1 to {MOST_WORKERS}")


def fastest_scheduler(n_tasks: int, core_seconds: float, workers: int | None = None) -> str:
    """Return the local scheduler that ends first.

    Parameters
    ----------
    n_tasks : int
    core_seconds : float
        What one core would need for all of them.
    workers : int, optional
        As for `run_all`.

    Examples
    --------
    >>> [fastest_scheduler(tasks, seconds, workers=2) for tasks, seconds in ((10, 0.5), (1000, 60.0), (100_000, 100.0))]
    ['threads', 'processes', 'synchronous']
    """
    if core_seconds < n_tasks * HANDING_OVER_SECONDS or (workers or available_cores()) == 1:
        return "synchronous"
    return "processes" if core_seconds > PROCESSES_PAY_AFTER else "threads"


@dataclass(frozen=True)
class _Trial:
    """How tasks are tried among others, and those that are suspect then, alone."""

    function: Callable[[Any], Any]
    when_lost: Callable[[Any], Any]
    marks: Marks
    on_result: Callable[[Any], None]
    suspects: list[Any] = field(default_factory=list)

    def among_others(self, tasks: Iterable[Any]) -> Iterator[Call]:
        return (partial(attempt, self.function, task, self.marks.of(task)) for task in tasks)

    def alone(self) -> Iterator[Call]:
        call = partial(attempt_alone, self.function, when_lost=self.when_lost)
        return (partial(call, task, self.marks.of(task)) for task in self.suspects)

    def keep(self, result: Any) -> None:
        if isinstance(result, Suspect):
            self.suspects.append(result.task)
        else:
            self.on_result(result)


def _try_on_cluster(trial: _Trial, tasks: Iterable[Task], address: str) -> None:
    with connected(address) as client:
        for result in results_of(client, trial.among_others(tasks)):
            trial.keep(result)
        for result in results_of(client, trial.alone(), at_once=1):
            trial.keep(result)


def _try_in_processes(trial: _Trial, tasks: Iterable[Task], workers: int) -> None:
    _run_in_processes(trial.among_others(tasks), trial.keep, workers)
    for call in trial.alone():
        trial.keep(call())


def _run_in_processes(calls: Iterable[Call], on_result: Callable[[Result], None], workers: int) -> None:
    pool = WorkerProcesses(workers)
    fruitless = 0
    try:
        for block in _blocks(calls, workers):
            while unfinished := _run_block(block, on_result, pool, scheduler="processes", chunksize=1):
                fruitless = fruitless + 1 if len(unfinished) == len(block) else 0
                if fruitless == FRUITLESS_POOLS:
                    raise SchedulerError(
                        f"workers: {workers} processes died {fruitless} times before one had run a scan, "
                        "of lack of memory perhaps; ask for fewer and run it again, what is finished is kept"
                    )
                block = unfinished
                pool.shutdown(wait=True)  # now all of its processes are gone, and leave no more marks
                pool = WorkerProcesses(workers)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _run_in_threads(calls: Iterable[Call], on_result: Callable[[Result], None], workers: int) -> None:
    pool = ThreadPoolExecutor(workers)
    try:
        for block in _blocks(calls, workers):
            _run_block(block, on_result, pool, scheduler="threads")
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _blocks(calls: Iterable[Call], workers: int) -> Iterator[list[Call]]:
    remaining = iter(calls)
    while block := list(islice(remaining, TASKS_PER_WORKER * workers)):
        yield block


def _run_block(
    calls: list[Call], on_result: Callable[[Result], None], pool: Executor, **dask_options: str | int
) -> list[Call]:
    """Run calls through Dask; return those that were not over when a process of the pool died."""
    import dask  # 0.1 s, and nothing that only reads a store or a header needs it
    from dask.callbacks import Callback

    graph = [dask.delayed(call, pure=False)() for call in calls]
    unfinished = {node.key: call for node, call in zip(graph, calls)}

    def posttask(key: str, result: Result, *_: object) -> None:
        del unfinished[key]
        on_result(result)

    with suppress(BrokenProcessPool), Callback(posttask=posttask):
        dask.compute(*graph, pool=pool, optimize_graph=False, **dask_options)  # there is nothing to cull, at n² cost
    return list(unfinished.values())
