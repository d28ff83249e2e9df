"""Calls on a Dask cluster whose workers may die: each gives its result once, whatever happens to the others.

The cluster's configuration is its owner's. Its scheduler blames every call that was assigned to a dead worker, and
gives up a call that was blamed a few times (`allowed-failures`); here such a call is simply submitted again.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from ctprep.errors import SchedulerError

CALLS_PER_THREAD = 32
"""Calls that the scheduler holds at once for each thread of the cluster."""

FRUITLESS_SUBMISSIONS = 4
"""Times that the scheduler gives up one call, while no other ends either, when something else is wrong."""

CONNECT_SECONDS = 10


@contextmanager
def connected(address: str) -> Iterator[Any]:
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


def results_of(client: Any, calls: Iterable[Callable[[], Any]], *, at_once: int | None = None) -> Iterator[Any]:
    """Yield the result of every call, in any order.

    Parameters
    ----------
    client : distributed.Client
    calls : iterable of callable
        Small and picklable.
    at_once : int, optional
        How many are submitted before the first is over; a few for each thread of the cluster where it is not given.

    Raises
    ------
    SchedulerError
        If workers keep dying while nothing gets done, or there are none for longer than the cluster's owner allows.
    """
    from distributed import KilledWorker, as_completed
    from distributed.scheduler import NoValidWorkerError, NoWorkerError

    remaining = iter(calls)
    running = as_completed(loop=client.loop)
    call_of: dict[Any, Callable[[], Any]] = {}
    given_up: dict[int, int] = {}  # how often, by the call's identity, since a call was over

    def submit(calls: Iterable[Callable[[], Any]]) -> None:
        for call in calls:
            future = client.submit(call, pure=False)
            call_of[future] = call
            running.add(future)

    submit(islice(remaining, at_once or CALLS_PER_THREAD * max(1, sum(client.nthreads().values()))))
    for future in running:
        call = call_of.pop(future)
        try:
            result = _result_of(future)
        except KilledWorker:
            given_up[id(call)] = given_up.get(id(call), 0) + 1
            if given_up[id(call)] == FRUITLESS_SUBMISSIONS:
                raise SchedulerError(
                    f"workers: those of {client.scheduler.address} die before they run a scan; see what they say; "
                    "what is finished is kept, run it again"
                ) from None
            submit([call])
        except (NoValidWorkerError, NoWorkerError):  # its owner has set a limit; there is none otherwise
            raise SchedulerError(
                f"workers: {client.scheduler.address} had none for longer than its settings allow; "
                "what is finished is kept, run it again when it has"
            ) from None
        else:
            given_up.clear()
            yield result
            submit(islice(remaining, 1))


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
