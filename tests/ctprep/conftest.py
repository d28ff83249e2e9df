"""Clusters for the tests of conversion and scheduling."""

from collections.abc import Iterator
from typing import Any

import dask
import pytest


@pytest.fixture
def local_cluster() -> Iterator[Any]:
    """Give a Dask cluster of two worker processes, which are started again when they die."""
    from distributed import LocalCluster

    never = {"distributed.deploy.lost-worker-timeout": "1h"}  # it would forget a worker that starts when it looks
    with (
        dask.config.set(never),
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        ) as local,
    ):
        yield local


@pytest.fixture
def cluster(local_cluster: Any) -> str:
    """Give the address of a Dask cluster of two worker processes."""
    return local_cluster.scheduler_address
