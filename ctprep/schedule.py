"""How many independent tasks are run: a plain loop, Dask's threads or processes, or a Dask cluster.

Every scheduler gives the results of the plain loop, in an order of its own; none holds more than a few tasks for each
worker.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, TypeVar

from ctprep.errors import SchedulerError
from ctprep.worker_pool import worker_processes

Task = TypeVar("Task")
Result = TypeVar("Result")

LOCAL_SCHEDULERS = ("threads", "processes", "synchronous")
CLUSTER_PREFIXES = ("tcp://", "tls://", "ucx://", "ws://", "wss://")

TASKS_PER_WORKER = 32
"""Tasks handed to Dask at once: a longer block waits less often for its last task, a shorter one uses less memory."""

CONNECT_SECONDS = 10

MOST_WORKERS = 1024


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

    Parameters
    ----------
    function : callable
        Importable, so that processes can find it.
    tasks : iterable
        Small and picklable.
    on_result : callable
        Called in the calling thread; what it raises ends the run.
    when_lost : callable
        Gives the result of a task that killed every worker of a cluster that tried it.
    scheduler : str
        `threads`, `processes`, `synchronous` (a plain loop) or the address of a Dask cluster.
    workers : int, optional
        Threads or processes; one for each core this process may use where it is not given. A cluster has its own.

    Raises
    ------
    SchedulerError
        If there is no such scheduler, or a local process died.
    """
    check_scheduler(scheduler, workers)
    if scheduler == "synchronous":
        for task in tasks:
            on_result(function(task))
    elif scheduler in LOCAL_SCHEDULERS:
        _run_locally(function, tasks, on_result, scheduler, workers or available_cores())
    else:
        _run_on_cluster(function, tasks, on_result, when_lost, scheduler)


def check_scheduler(scheduler: str, workers: int | None) -> None:
    """Raise `SchedulerError` where there is no such scheduler or number of workers."""
    if scheduler not in LOCAL_SCHEDULERS and not scheduler.startswith(CLUSTER_PREFIXES):
        raise SchedulerError(
            f"scheduler: {scheduler!r} is unknown; choose {', '.join(LOCAL_SCHEDULERS)} or the address of a running "
            "Dask cluster, as in tcp://127.0.0.1:8786"
        )
    if workers is not None and not 1 <= workers <= MOST_WORKERS:
        raise SchedulerError(f"workers: {workers} is not from 1 to {MOST_WORKERS}")


def available_cores() -> int:
    """Count the cores this process may use, which can be fewer than the machine has."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _run_locally(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    on_result: Callable[[Result], None],
    scheduler: str,
    workers: int,
) -> None:
    import dask  # 0.1 s, and nothing that only reads a store or a header needs it
    from dask.callbacks import Callback

    def posttask(_key: object, result: Result, *_: object) -> None:
        on_result(result)

    remaining = iter(tasks)
    pool = _pool(scheduler, workers)
    try:
        while block := list(islice(remaining, TASKS_PER_WORKER * workers)):
            graph = [dask.delayed(function, pure=False)(task) for task in block]
            with Callback(posttask=posttask):
                dask.compute(*graph, scheduler=scheduler, pool=pool, **_GRANULARITY[scheduler])
    except BrokenProcessPool:
        raise SchedulerError(
            f"workers: one of {workers} processes died, of lack of memory perhaps; ask for fewer and run it again, "
            "what is finished is kept"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_GRANULARITY: dict[str, dict[str, int]] = {"threads": {}, "processes": {"chunksize": 1}}


def _pool(scheduler: str, workers: int) -> Executor:
    if scheduler == "threads":
        return ThreadPoolExecutor(workers)
    return worker_processes(workers)


def _run_on_cluster(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    on_result: Callable[[Result], None],
    when_lost: Callable[[Task], Result],
    address: str,
) -> None:
    client = _connect(address)
    from distributed import KilledWorker, as_completed

    with client:
        remaining = iter(tasks)
        window = TASKS_PER_WORKER * max(1, sum(client.nthreads().values()))
        task_of = {client.submit(function, task, pure=False): task for task in islice(remaining, window)}
        running = as_completed(task_of, loop=client.loop)
        for future in running:
            task = task_of.pop(future)
            try:
                on_result(future.result())
            except KilledWorker:
                on_result(when_lost(task))
            for task in islice(remaining, 1):
                added = client.submit(function, task, pure=False)
                task_of[added] = task
                running.add(added)


def _connect(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise SchedulerError("scheduler: a cluster needs distributed; pip install ctprep[cluster]") from None
    try:
        return Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise SchedulerError(f"scheduler: no Dask cluster answers at {address} ({error}); start one there") from None
