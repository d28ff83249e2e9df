"""How many independent tasks are run: a plain loop, Dask's threads, with processes or without, or a Dask cluster.

Every scheduler gives the results of the plain loop, in an order of its own; none holds more than a few tasks for each
worker. Processes and clusters run each task in an isolated process: one that kills it is run once more, alone.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import TypeVar

from ctprep.errors import SchedulerError
from ctprep.execution.cluster import run_on_cluster
from ctprep.execution.cores import available_cores
from ctprep.execution.isolation import ProcessDied
from ctprep.execution.pool import ProcessPool

Task = TypeVar("Task")
Result = TypeVar("Result")

LOCAL_SCHEDULERS = ("threads", "processes", "synchronous")
AUTO = "auto"
CLUSTER_PREFIXES = ("tcp://", "tls://", "ucx://", "ws://", "wss://")

TASKS_PER_WORKER = 128
"""Tasks handed to Dask at once: a longer block waits less often for its last task, a shorter one uses less memory.

Where scans are as unlike as chest CTs are, 16 workers wait for 4 % of the time with 32 and for 1 % with 128, as
tests/benchmarks/scheduling.py computes; their tasks take 18 MB.
"""

MAX_WORKERS = 1024

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
    scheduler: str,
    workers: int | None = None,
) -> None:
    """Call `on_result(function(task))` for every task, as soon as each result is known, in any order.

    A process that dies costs no task its result: what it was running is run again after all others, alone.

    Parameters
    ----------
    function : callable
        Importable, so that processes can find it, and not from the script that is running, which they do not import.
    tasks : iterable
        Small and picklable.
    on_result : callable
        Called in the calling thread; what it raises ends the run.
    when_lost : callable
        Gives the result of a task that killed its process twice, the second time alone.
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
        _run_in_threads(function, tasks, on_result, workers)
    elif scheduler == "processes":
        _run_in_processes(function, tasks, on_result, workers, when_lost=when_lost)
    else:
        run_on_cluster(scheduler, function, tasks, on_result, when_lost=when_lost)


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
        _run_in_threads(function, tasks, on_result, workers)


def check_scheduler(scheduler: str, workers: int | None) -> None:
    """Raise `SchedulerError` where there is no such scheduler or number of workers."""
    if scheduler not in (AUTO, *LOCAL_SCHEDULERS) and not scheduler.startswith(CLUSTER_PREFIXES):
        raise SchedulerError(
            f"scheduler: {scheduler!r} is unknown; choose {', '.join((AUTO, *LOCAL_SCHEDULERS))} or the address of a "
            "running Dask cluster, as in tcp://127.0.0.1:8786"
        )
    if workers is not None and not 1 <= workers <= MAX_WORKERS:
        raise SchedulerError(f"workers: {workers} is not from 1 to {MAX_WORKERS}")


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


def _run_in_processes(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    on_result: Callable[[Result], None],
    workers: int,
    *,
    when_lost: Callable[[Task], Result],
) -> None:
    suspects: list[Task] = []

    def run(task: Task) -> Callable[[], None]:
        """Run a task in a process; return what is to be done with the result by the calling thread."""
        try:
            return partial(on_result, pool.call(function, task))
        except ProcessDied:
            return partial(suspects.append, task)

    with ProcessPool(workers) as pool:
        _run_in_threads(run, tasks, lambda done: done(), workers, stop=pool.close)
    with ProcessPool(1) as alone:
        for task in suspects:
            try:
                result = alone.call(function, task)
            except ProcessDied:
                result = when_lost(task)
            on_result(result)


def _run_in_threads(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    on_result: Callable[[Result], None],
    workers: int,
    *,
    stop: Callable[[], object] = lambda: None,
) -> None:
    """Run tasks through Dask, block by block; where it ends early, stop what is under way and wait for its end."""
    import dask  # 0.1 s, and nothing that only reads a store or a header needs it
    from dask.callbacks import Callback

    def posttask(_key: str, result: Result, *_: object) -> None:
        on_result(result)

    remaining = iter(tasks)
    threads = ThreadPoolExecutor(workers)
    try:
        while block := list(islice(remaining, TASKS_PER_WORKER * workers)):
            graph = [dask.delayed(partial(function, task), pure=False)() for task in block]
            with Callback(posttask=posttask):
                # Without optimization, which would look for what can be left out, in n² steps.
                dask.compute(*graph, scheduler="threads", pool=threads, optimize_graph=False)
    finally:
        stop()
        threads.shutdown(wait=True, cancel_futures=True)
