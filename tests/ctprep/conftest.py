"""Clusters for the tests of conversion and scheduling."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.clusters import workers_on_this_machine


@pytest.fixture
def local_cluster() -> Iterator[Any]:
    """Give a Dask cluster of two worker processes, which are started again when they die."""
    with workers_on_this_machine(2) as local:
        yield local


@pytest.fixture
def cluster(local_cluster: Any) -> str:
    """Give the address of a Dask cluster of two worker processes."""
    return local_cluster.scheduler_address
