"""The short version of tests/torture/training_kills.py, and the ends that a user can ask for."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ctmodel.run.checkpoint import load_checkpoint
from tests.torture.training_kills import BEGUN, Trainings, naive_kills, random_kills, row_problems

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def trainings(tmp_path_factory):
    trainings = Trainings(tmp_path_factory.mktemp("trainings"))
    yield trainings
    trainings.close()


def test_killed_trainings_end_as_if_they_had_not_been(trainings):
    figures = random_kills(trainings, kills=5)
    assert figures.states == 5
    assert not figures.problems, figures


def test_a_naive_resumption_is_found(trainings):
    problems = naive_kills(trainings, "forgets the step").problems
    assert {"other rows", "another model.weights.h5"} <= set(problems)


ORDER = [BEGUN, "step 0", "step 1", "step 2"]


@pytest.mark.parametrize(
    ("log", "problems"),
    [
        (ORDER, []),
        ([BEGUN, "step 0", BEGUN, "step 1", "step 2"], []),
        ([BEGUN, "step 0", BEGUN, BEGUN, "step 0", BEGUN, "step 1", "step 2", BEGUN], []),
        ([BEGUN, "step 0", "step 0", "step 1", "step 2"], ["other rows"]),
        ([BEGUN, "step 0", "step 1", BEGUN, "step 0", "step 1", "step 2"], ["other rows"]),
        ([BEGUN, "step 0", BEGUN, "step 2"], ["other rows"]),
        ([BEGUN, "step 0", "step 1"], ["missing rows"]),
    ],
)
def test_only_the_step_that_was_under_way_may_be_repeated(log, problems):
    assert row_problems(log, ORDER) == problems


def begin_training(store, run) -> subprocess.Popen[str]:
    """Begin a training that takes long; return once it has trained for an epoch."""
    words = ["train", str(store), "--run", str(run), "--epochs", "9999", "--patience", "9999"]
    process = subprocess.Popen(
        [sys.executable, "-c", "import cli; cli.ctmodel()", *words],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while "epoch " not in (process.stderr.readline() or "epoch "):
        pass
    return process


def test_what_asks_a_training_to_end_leaves_a_checkpoint_and_one_line(store_path, tmp_path):
    process = begin_training(store_path, tmp_path / "run")
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    said = [line for line in errors.splitlines() if not line.startswith(("epoch", "training"))]
    assert said == ["Error: interrupted; finished steps are kept: add --resume to continue at the same step"]
    assert process.returncode == 1
    assert load_checkpoint(tmp_path / "run" / "checkpoint.npz").history
