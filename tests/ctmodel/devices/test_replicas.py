"""However many replicas share a batch, they see the same rows, and come to the same weights but for rounding."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctmodel.devices.backend import tf
from ctmodel.devices.parts import part_bounds
from ctmodel.devices.replicas import check_enough, choose_strategy
from ctmodel.errors import SettingsError
from tests.torture.training_kills import lines_of, weights_of

ROOT = Path(__file__).parents[3]
TO_ROUNDING = 1e-4  # of all weights together, after 12 steps; 1e-5 was measured, and 0.2 of the naive way
RUNS = {"1": ["1"], "2": ["2"], "4": ["4"], "2, naive": ["2", "naive"]}


@pytest.fixture(scope="module")
def runs(store_path, tmp_path_factory) -> dict[str, Path]:
    """Trainings on so many replicas, all at once."""
    folder = tmp_path_factory.mktemp("replicas")
    processes = {
        name: subprocess.Popen(
            [sys.executable, "-m", "tests.ctmodel.devices.train_on_replicas", store_path, folder / name, *words],
            cwd=ROOT,
            env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, words in RUNS.items()
    }
    for name, process in processes.items():
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, f"{name}: {errors}"
    return {name: folder / name for name in RUNS}


def distance(run: Path, other: Path) -> float:
    """Return how far the weights of two runs are apart, as a share of the weights."""
    ours, theirs = (np.concatenate([value.ravel() for value in weights_of(one).values()]) for one in (run, other))
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


@pytest.mark.parametrize("replicas", ["2", "4"])
def test_replicas_see_the_same_rows_and_come_to_the_same_weights(runs, replicas):
    assert lines_of(runs[replicas]) == lines_of(runs["1"])
    assert distance(runs[replicas], runs["1"]) < TO_ROUNDING


def test_replicas_that_normalize_by_their_own_parts_are_found(runs):
    assert distance(runs["2, naive"], runs["1"]) > 10 * TO_ROUNDING


@given(st.integers(0, 50), st.integers(1, 9))
def test_parts_follow_each_other_and_are_of_one_size_but_for_one(n, parts):
    bounds = [part_bounds(n, part=part, parts=parts) for part in range(parts)]
    assert [row for first, last in bounds for row in range(first, last)] == list(range(n))
    sizes = {last - first for first, last in bounds}
    assert max(sizes) - min(sizes) <= 1


def test_every_replica_needs_a_scan_of_every_batch():
    check_enough(4, n_rows=17, batch_size=8)  # 6, 6 and 5
    with pytest.raises(SettingsError, match=r"smallest batch has 3 scans, expected at least 4"):
        check_enough(4, n_rows=11, batch_size=4)


@pytest.mark.parametrize("name", ["auto", "none", "mirrored"])
def test_one_device_has_nothing_to_share(name):
    if len(tf.config.list_logical_devices("GPU")) < 2:
        assert choose_strategy(name).num_replicas_in_sync == 1
