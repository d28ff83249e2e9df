"""TensorBoard is told what the history holds, of each subset, and goes on where it was."""

import dataclasses
import shutil

import numpy as np
import pytest
from tiny_cohort import TINY

from ctmodel.devices.backend import tf
from ctmodel.run.history import Epoch, EpochReport, Pace
from ctmodel.run.run_folder import Run
from ctmodel.training.train import train
from ctmodel.views.board import SUBSETS, Board
from ctprep.errors import TargetError

REPORT = EpochReport(Epoch(1, 0.1, 1, 1, 1, 1, 1, 1), 3, 1.0, Pace(), is_best=True)
PACE = {"volumes per second", "share of the time waiting for data", "learning rate"}


def scalars_in(folder):
    """Return what TensorBoard would draw: {name: [(step, value), ...]}."""
    found = {}
    for path in sorted(folder.iterdir()):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                assert value.metadata.plugin_data.plugin_name == "scalars"
                found.setdefault(value.tag, []).append((event.step, tf.make_ndarray(value.tensor).item()))
    return found


def test_the_board_shows_the_history(store_path, tmp_path):
    train(store_path, tmp_path / "run", TINY, progress=Board(tmp_path / "board"))
    history = Run(tmp_path / "run").history()
    assert [epoch.epoch for epoch in history] == [1, 2, 3]
    for subset, prefix in SUBSETS.items():
        shown = scalars_in(tmp_path / "board" / subset)
        for name in ("loss", "auroc", "accuracy"):
            steps, values = zip(*shown[name], strict=True)
            assert steps == (1, 2, 3)
            np.testing.assert_allclose(values, [getattr(epoch, prefix + name) for epoch in history], atol=1e-6)
        assert (set(shown) >= PACE) == (subset == "training")


def test_a_training_that_goes_on_goes_on_there(store_path, tmp_path):
    class Interrupted(KeyboardInterrupt):
        pass

    def interrupted(report):
        Board(tmp_path / "board")(report)
        raise Interrupted

    settings = dataclasses.replace(TINY, epochs=2)
    with pytest.raises(Interrupted):
        train(store_path, tmp_path / "run", settings, progress=interrupted)
    train(store_path, tmp_path / "run", settings, resume=True, progress=Board(tmp_path / "board"))
    assert [step for step, _ in scalars_in(tmp_path / "board" / "validation")["loss"]] == [1, 2]


def test_a_folder_that_cannot_be_is_an_error(tmp_path):
    (tmp_path / "letter").write_text("dear")
    with pytest.raises(TargetError, match=r"letter: cannot be made \(File exists\); choose another folder"):
        Board(tmp_path / "letter")
    with pytest.raises(TargetError, match=r"letter/board: cannot be made \(Not a directory\); choose another folder"):
        Board(tmp_path / "letter" / "board")


def test_a_board_that_cannot_be_written_costs_no_step(store_path, tmp_path):
    board, settings = Board(tmp_path / "board"), dataclasses.replace(TINY, epochs=2)
    (tmp_path / "board" / "training").write_text("in its place")
    with pytest.raises(TargetError, match=r"board: cannot be made \(File exists\)"):
        train(store_path, tmp_path / "run", settings, progress=board)
    reports = []
    train(store_path, tmp_path / "run", settings, resume=True, progress=reports.append)
    assert [report.epoch.epoch for report in reports] == [2]


def test_a_board_that_vanishes_does_not_stop_a_training(tmp_path):
    board = Board(tmp_path / "board")
    board(REPORT)
    shutil.rmtree(tmp_path / "board")
    (tmp_path / "board").write_text("in between")
    board(REPORT)  # goes into a file that is gone
