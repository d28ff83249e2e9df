"""Dask clusters on this machine whose dead workers are replaced, however busy it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask

SECONDS_FOR_A_WORKER = 120
"""In which a new worker comes on any machine; without one for longer, tasks fail, so that no test waits for ever."""


@contextmanager
def workers_on_this_machine(n_workers: int, **scheduler_options: object) -> Iterator[Any]:
    """Give a `LocalCluster` of processes with one thread each.

    Parameters
    ----------
    n_workers : int
    **scheduler_options
        Dask's settings of the scheduler, with underscores.
    """
    from distributed import LocalCluster

    options = {"no_workers_timeout": f"{SECONDS_FOR_A_WORKER} s"} | scheduler_options
    named = {f"distributed.scheduler.{name.replace('_', '-')}": value for name, value in options.items()}
    never = {"distributed.deploy.lost-worker-timeout": "1h"}  # it would forget a worker that starts when it looks
    with (
        dask.config.set(named | never),
        LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster,
    ):
        yield cluster
