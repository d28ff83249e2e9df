"""How many cores a process may use, and how many threads its workers get."""

import os
import subprocess
import sys

import pytest

from ctprep.execution import cores
from ctprep.execution.cores import available_cores, thread_limits
from ctprep.execution.pool import ProcessPool


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Return a function that gives this process eight cores and a control group with some files."""

    def make(group, files):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
        monkeypatch.setattr(cores, "CONTROL_GROUPS", tmp_path / "groups")
        monkeypatch.setattr(cores, "OWN_GROUP", tmp_path / "own")
        (tmp_path / "own").write_text(group)
        for name, text in files.items():
            path = tmp_path / "groups" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return make


@pytest.mark.parametrize(
    ("group", "files", "expected"),
    [
        ("0::/\n", {}, 8),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 8),
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "250000 100000\n"}, 3),
        ("0::/\n", {"cpu.max": "10000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "6400000 100000\n"}, 8),
        ("0::/batch/job\n", {"batch/cpu.max": "300000 100000\n", "batch/job/cpu.max": "max 100000\n"}, 3),
        ("0::/../elsewhere\n", {"cpu.max": "400000 100000\n"}, 4),
        (
            "4:memory:/a\n1:cpu,cpuacct:/a\n",
            {"cpu/a/cpu.cfs_quota_us": "400000", "cpu/a/cpu.cfs_period_us": "100000"},
            4,
        ),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "nonsense", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ("nonsense:\n", {}, 8),
    ],
)
def test_the_quota_of_every_group_above_counts(machine, group, files, expected):
    machine(group, files)
    assert available_cores() == expected


def test_the_affinity_counts_in_a_real_process():
    first = min(os.sched_getaffinity(0))
    code = (
        f"import os; os.sched_setaffinity(0, {{{first}}}); from ctprep.execution import cores;"
        "print(cores.available_cores())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


@pytest.mark.parametrize(("workers", "share"), [(1, 8), (2, 4), (3, 2), (8, 1), (20, 1)])
def test_workers_share_the_cores(machine, monkeypatch, workers, share):
    machine("0::/\n", {})
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert thread_limits(workers)["OMP_NUM_THREADS"] == str(share)


def test_what_the_user_has_set_stays(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert "OMP_NUM_THREADS" not in thread_limits(8)


def blas_threads():
    """Return how many threads each library of linear algebra has in this process."""
    import numpy  # noqa: F401
    import scipy.linalg  # noqa: F401
    from threadpoolctl import threadpool_info

    return [library["num_threads"] for library in threadpool_info()]


def test_the_libraries_of_a_worker_keep_to_its_share(monkeypatch):
    monkeypatch.setattr(cores, "available_cores", lambda: 2)
    for library in ("OMP", "OPENBLAS", "MKL"):  # Dask's clusters leave these behind
        monkeypatch.delenv(f"{library}_NUM_THREADS", raising=False)
    for workers, share in ((2, 1), (1, 2)):
        with ProcessPool(workers) as pool:
            found = pool.call(blas_threads)
        assert found
        assert set(found) == {min(share, len(os.sched_getaffinity(0)))}
