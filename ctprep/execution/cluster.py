"""Tasks on a Dask cluster whose workers may die: each gives its result once, whatever happens to the others.

Its workers run each task in an isolated process, and so outlive what kills only that. The cluster's configuration is
its owner's: its scheduler blames every task that was assigned to a dead worker, and gives up one that was blamed a few
times (`allowed-failures`). Such a task is suspect too: it is run again after all others, alone.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import islice
from typing import Any, TypeVar

from ctprep.errors import SchedulerError
from ctprep.execution.cores import available_cores
from ctprep.execution.isolation import ProcessDied
from ctprep.execution.pool import ProcessPool

Task = TypeVar("Task")
Result = TypeVar("Result")

TASKS_PER_THREAD = 32
"""Tasks that the scheduler holds at once for each thread of the cluster."""

CONNECT_SECONDS = 10


def run_on_cluster(
    address: str,
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    on_result: Callable[[Result], None],
    *,
    when_lost: Callable[[Task], Result],
) -> None:
    """Call `on_result(function(task))` for every task, in any order; see `ctprep.execution.schedule.run_all`.

    Raises
    ------
    SchedulerError
        If no cluster answers, it goes away, its workers die whatever they do, or there are none for longer than its
        owner allows.
    """
    suspects: list[Task] = []
    with _connected(address) as client:
        at_once = TASKS_PER_THREAD * max(1, sum(client.nthreads().values()))
        for task, is_done, result in _outcomes(client, function, tasks, at_once=at_once):
            if is_done:
                on_result(result)
            else:
                suspects.append(task)
        for task, is_done, result in _outcomes(client, function, suspects, at_once=1):
            if not is_done:
                _check_workers_live(client)
                result = when_lost(task)
            on_result(result)


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Give a client of the cluster at an address.

    Raises
    ------
    SchedulerError
        If none answers there, or it goes away.
    """
    client = _connect(address)
    from distributed import CancelledError
    from distributed.comm import CommClosedError

    try:
        with client:
            yield client
    except (CancelledError, CommClosedError):
        raise SchedulerError(
            f"scheduler: the Dask cluster at {address} went away; what is finished is kept, "
            "run it again when there is one"
        ) from None


def _connect(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise SchedulerError("scheduler: a cluster needs distributed; pip install '.[cluster]'") from None
    try:
        return Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise SchedulerError(f"scheduler: no Dask cluster answers at {address} ({error}); start one there") from None


def _outcomes(
    client: Any, function: Callable[[Task], Result], tasks: Iterable[Task], *, at_once: int
) -> Iterator[tuple[Task, bool, Any]]:
    """Yield each task, whether it was survived, and its result then; so many are submitted before the first is over."""
    from distributed import KilledWorker, as_completed
    from distributed.scheduler import NoValidWorkerError, NoWorkerError

    remaining = iter(tasks)
    running = as_completed(loop=client.loop)
    task_of: dict[Any, Any] = {}

    def submit(count: int) -> None:
        for task in islice(remaining, count):
            future = client.submit(_run_isolated, function, task, pure=False)
            task_of[future] = task
            running.add(future)

    submit(at_once)
    for future in running:
        task = task_of.pop(future)
        try:
            result = _result_of(future)
        except (ProcessDied, KilledWorker):
            yield task, False, None
        except (NoValidWorkerError, NoWorkerError):  # its owner has set a limit; there is none otherwise
            raise SchedulerError(
                f"workers: {client.scheduler.address} had none for longer than its settings allow; "
                "what is finished is kept, run it again when it has"
            ) from None
        else:
            yield task, True, result
        submit(1)


@cache
def _pool_of_this_worker() -> ProcessPool:
    return ProcessPool(available_cores())


def _run_isolated(function: Callable[[Task], Result], task: Task) -> Result:
    """Run a task on a worker of the cluster, in a process of its own."""
    return _pool_of_this_worker().call(function, task)


def _nothing() -> None:
    """Be what any worker survives."""


def _check_workers_live(client: Any) -> None:
    """Raise `SchedulerError` where workers die whatever they do, so that no task is to blame."""
    from distributed import KilledWorker

    try:
        _result_of(client.submit(_nothing, pure=False))
    except KilledWorker:
        raise SchedulerError(
            f"workers: those of {client.scheduler.address} die before they run a scan; see what they say; "
            "what is finished is kept, run it again"
        ) from None


def _result_of(future: Any) -> Any:
    """Fetch a result, asking again where the answer is late.

    A worker that died with it lets the scheduler try to reach it for 30 s, though the call is long over elsewhere.
    """
    patience = 1  # seconds
    while True:
        try:
            return future.result(timeout=patience)
        except TimeoutError:
            if future.status == "error":  # the call's own
                raise
            patience *= 2
