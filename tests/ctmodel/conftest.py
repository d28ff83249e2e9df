"""A small cohort, its store, and one finished run, shared by the tests of ctmodel."""

import os
from pathlib import Path

import pytest
from tiny_cohort import TINY, Cohort, make_cohort

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # the networks here are too small for a GPU to be worth its start


@pytest.fixture(scope="session")
def cohort(tmp_path_factory) -> Cohort:
    return make_cohort(tmp_path_factory.mktemp("cohort") / "raw", n_patients=16, scans_each=2)


@pytest.fixture(scope="session")
def home(tmp_path_factory) -> Path:
    """A folder that holds nothing but the store and the run."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def store_path(cohort, home) -> Path:
    """A store that no test may change."""
    return cohort.store(home / "out.zarr")


@pytest.fixture(scope="session")
def finished(store_path, home):
    """The result of one tiny training, whose folder no test may change."""
    from ctmodel.training.train import train

    return train(store_path, home / "run", TINY)
