"""From store to run to scores: reproducible, resumable, and never over somebody's folder."""

import contextlib
import dataclasses
import functools
import gzip
import itertools
import json
import shutil
import signal
import sys
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_cohort import SHAPE, TINY, make_cohort

from ctmodel.data.division import divide
from ctmodel.data.order import epoch_batches
from ctmodel.data.pipeline import Feed
from ctmodel.devices.backend import kernels
from ctmodel.devices.workers import Distribution
from ctmodel.errors import (
    BadVolume,
    NetworkError,
    RunDamaged,
    RunError,
    RunExists,
    RunMismatch,
    RunMissing,
    SettingsError,
    SplitError,
    StoreChanged,
    TrainingDiverged,
)
from ctmodel.prediction.evaluate import evaluate
from ctmodel.prediction.inference import Predictor
from ctmodel.run.checkpoint import load_checkpoint
from ctmodel.run.files import read_csv, read_json
from ctmodel.run.history import Epoch
from ctmodel.run.run_folder import Run
from ctmodel.scoring.calibration import Temperature, with_temperature
from ctmodel.scoring.metrics import MIN_PROBABILITY
from ctmodel.settings import Execution, TrainSettings
from ctmodel.training.fit import Trainer
from ctmodel.training.train import train
from ctprep.conversion.convert import convert
from ctprep.errors import StoreNotFound
from ctprep.execution.stopping import SIGNALS, ending_on_signals
from ctprep.store.store import open_store
from ctprep.volume.recipe import Recipe
from tests.torture.training_kills import outcome_of


class Interrupted(KeyboardInterrupt):
    """Stands for Ctrl-C between two epochs."""


def interrupt_after(n_epochs):
    def progress(report):
        if report.epoch.epoch == n_epochs:
            raise Interrupted

    return progress


def files_of(run):
    return {path.name: path.read_bytes() for path in run.iterdir()}


def same_outcome(one, other):
    """Tell whether two runs differ in nothing but where they lie, as seen from the store."""
    return outcome_of(one.run) | {"store.json": ""} == outcome_of(other.run) | {"store.json": ""}


def test_a_run_holds_all_that_it_promises(finished, store_path):
    names = set(files_of(finished.run))
    assert names == {
        "settings.json",
        "store.json",
        "network.json",
        "model.weights.h5",
        "split.csv",
        "history.csv",
        "baselines.json",
        "calibration.json",
        "baseline_predictions.csv",
        "curves.png",
        "predictions.csv",
        "scores.json",
        "digests.json",
    }
    assert finished.status == "trained"
    tested = [baseline.test.n for baseline in finished.baselines.baselines if baseline.test]
    assert tested == [finished.scores.n] * 3  # these lungs are too small for the texture
    assert Run(finished.run).settings() == TINY
    assert read_json(finished.run / "network.json") == {
        "name": "compact",
        "input_shape": [16, 16, 8],
        "n_classes": 2,
        "precision": "float32",
        "kernels": kernels(),
        "source": "",
    }


def test_a_run_names_no_absolute_path(finished, store_path):
    for path in finished.run.glob("*.*s*"):
        assert str(store_path).encode() not in path.read_bytes()


def test_the_history_has_a_row_for_each_epoch(finished):
    history = Run(finished.run).history()
    assert [epoch.epoch for epoch in history] == list(range(1, finished.epochs + 1))
    assert finished.best_epoch == min(history, key=lambda epoch: epoch.val_loss).epoch


def test_scores_are_those_of_the_test_subset_alone(finished):
    columns = ("scan", "patient", "subset", "label", "probability normal", "probability abnormal", "predicted")
    rows = [dict(zip(columns, row, strict=True)) for row in read_csv(finished.run / "predictions.csv", columns)]
    assert len(rows) == 32
    test = [row for row in rows if row["subset"] == "test"]
    assert finished.scores.subset == "test"
    assert finished.scores.n == len(test)
    right = np.mean([row["label"] == row["predicted"] for row in test])
    assert finished.scores.scores["accuracy"].value == pytest.approx(right)
    assert all((float(row["probability abnormal"]) >= 0.5) == (row["predicted"] == "abnormal") for row in rows)


def worse_from(n_epochs):
    """Return what makes an `Epoch` whose validation loss is 100 higher from the given one on."""

    def make(number, *scores):
        epoch = Epoch(number, *scores)
        return dataclasses.replace(epoch, val_loss=epoch.val_loss + 100 * (number >= n_epochs))

    return make


def test_the_weights_kept_are_those_of_the_best_epoch(store_path, tmp_path, monkeypatch):
    monkeypatch.setattr("ctmodel.training.loop.Epoch", worse_from(3))
    result = train(store_path, tmp_path / "run", dataclasses.replace(TINY, epochs=4))
    assert result.best_epoch < 3
    history = Run(result.run).history()
    best = history[result.best_epoch - 1]
    assert history[-1].val_loss - 100 != pytest.approx(best.val_loss, rel=1e-3)  # the last weights would be noticed
    rows = [line.split(",") for line in (result.run / "predictions.csv").read_text().splitlines()]
    own_chances = [float(row[5] if row[3] == "abnormal" else row[4]) for row in rows if row[2] == "validation"]
    loss = -np.mean(np.log(np.maximum(own_chances, MIN_PROBABILITY)))
    assert loss == pytest.approx(best.val_loss, rel=1e-6)  # the classes are equally many


def test_an_unlabelled_scan_is_in_no_subset_and_has_no_prediction(finished):
    unlabelled = [row for row in Run(finished.run).split() if not row.label]
    assert [(row.scan, row.subset) for row in unlabelled] == [("other/punlabelled", "unlabelled")]
    assert "unlabelled" not in (finished.run / "predictions.csv").read_text()


def test_the_same_training_again_is_the_same_to_the_bit(finished, store_path, tmp_path):
    again = train(store_path, tmp_path / "run", TINY)
    assert again.scores == finished.scores
    first, second = files_of(finished.run), files_of(again.run)
    for name in ("history.csv", "predictions.csv", "scores.json", "split.csv"):
        assert first[name] == second[name]


@pytest.mark.parametrize("n_epochs", [1, 3])
def test_an_interrupted_run_ends_as_if_it_had_not_been(finished, store_path, tmp_path, n_epochs):
    with pytest.raises(Interrupted):
        train(store_path, tmp_path / "run", TINY, progress=interrupt_after(n_epochs))
    assert not Run(tmp_path / "run").is_finished
    reports = []
    resumed = train(store_path, tmp_path / "run", TINY, resume=True, progress=reports.append)
    assert resumed.status == "resumed"
    assert [report.epoch.epoch for report in reports] == list(range(n_epochs + 1, 4))
    assert same_outcome(resumed, finished)


def interrupting(function, number, interrupt):
    """Return a function that does what another does, and then interrupts, the time of that number."""
    times = itertools.count(1)

    def interrupted(*args):
        result = function(*args)
        if next(times) == number:
            interrupt()
        return result

    return interrupted


def raise_keyboard_interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize(("of", "number"), [("step", 7), ("epoch", 2)])
def test_ctrl_c_in_the_midst_of_a_step_leaves_the_checkpoint_before(
    finished, store_path, tmp_path, monkeypatch, of, number
):
    """As it strikes in a program that does not ask for anything else."""
    place, name = {"step": (Trainer, "step"), "epoch": (sys.modules["ctmodel.training.loop"], "best_epoch")}[of]
    monkeypatch.setattr(place, name, interrupting(getattr(place, name), number, raise_keyboard_interrupt))
    with pytest.raises(KeyboardInterrupt):
        train(store_path, tmp_path / "run", TINY, execution=Execution(checkpoint_every=0))
    monkeypatch.undo()
    left = load_checkpoint(tmp_path / "run" / "checkpoint.npz")
    assert (len(left.history), left.steps) == {"step": (1, 1), "epoch": (1, 5)}[of]  # five steps each
    assert same_outcome(train(store_path, tmp_path / "run", TINY, resume=True), finished)


@contextlib.contextmanager
def as_on_the_command_line():
    before = [signal.getsignal(number) for number in SIGNALS]
    try:
        with ending_on_signals(lambda: pytest.fail("ended at once")):
            yield
    finally:
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_to_the_command_costs_no_step(finished, store_path, tmp_path, monkeypatch, number):
    interrupt = functools.partial(signal.raise_signal, number)
    monkeypatch.setattr(Trainer, "step", interrupting(Trainer.step, 7, interrupt))
    with pytest.raises(KeyboardInterrupt), as_on_the_command_line():
        train(store_path, tmp_path / "run", TINY)
    monkeypatch.undo()
    left = load_checkpoint(tmp_path / "run" / "checkpoint.npz")
    assert (len(left.history), left.steps) == (1, 2)
    assert same_outcome(train(store_path, tmp_path / "run", TINY, resume=True), finished)


def test_a_signal_during_the_validation_does_not_wait_for_its_end(finished, store_path, tmp_path, monkeypatch):
    interrupt = functools.partial(signal.raise_signal, signal.SIGTERM)
    monkeypatch.setattr(Predictor, "_outputs", interrupting(Predictor._outputs, 2, interrupt))
    with pytest.raises(KeyboardInterrupt), as_on_the_command_line():
        train(store_path, tmp_path / "run", TINY)
    monkeypatch.undo()
    left = load_checkpoint(tmp_path / "run" / "checkpoint.npz")
    assert (len(left.history), left.steps) == (0, 5)
    assert same_outcome(train(store_path, tmp_path / "run", TINY, resume=True), finished)


@pytest.mark.parametrize(
    ("begun", "now", "way_back"),
    [("oneDNN", "Eigen", "TF_ENABLE_ONEDNN_OPTS=1"), ("Eigen", "GPU", "TF_ENABLE_ONEDNN_OPTS=0")],
)
def test_a_run_that_goes_on_with_other_kernels_says_so(store_path, tmp_path, monkeypatch, begun, now, way_back):
    module, said = sys.modules["ctmodel.training.train"], []
    monkeypatch.setattr(module, "kernels", lambda: begun)
    with pytest.raises(Interrupted):
        train(store_path, tmp_path / "run", TINY, progress=interrupt_after(1))
    monkeypatch.setattr(module, "kernels", lambda: now)
    train(store_path, tmp_path / "run", TINY, resume=True, say=said.append)
    (note,) = notes_in(said)
    assert note.startswith(f"note: the run was begun with {begun} and goes on with {now}, which rounds otherwise")
    assert note.endswith(f"set {way_back}")
    assert Run(tmp_path / "run").network().kernels == begun


def test_a_run_that_does_not_say_its_kernels_is_read_and_goes_on(finished, store_path, tmp_path):
    """As version 0.1 left it."""
    said = []
    with pytest.raises(Interrupted):
        train(store_path, tmp_path / "run", TINY, progress=interrupt_after(1))
    path = tmp_path / "run" / "network.json"
    path.write_text(json.dumps({name: value for name, value in read_json(path).items() if name != "kernels"}))
    resumed = train(store_path, tmp_path / "run", TINY, resume=True, say=said.append)
    assert resumed.scores == finished.scores
    assert notes_in(said) == []


def notes_in(said):
    return [line for line in said if line.startswith("note: ")]


def stop_after(monkeypatch, n_steps, error):
    """Let a training raise an error instead of its next batch after so many; return the first step of each epoch."""
    begun, taken = [], itertools.count()

    class StoppingFeed(Feed):
        def epoch(self, *args, **kwargs):
            for step in super().epoch(*args, **kwargs):
                if next(taken) == n_steps:
                    raise error
                yield step

    def noting(*args, first_step, **kwargs):
        begun.append(first_step)
        return epoch_batches(*args, first_step=first_step, **kwargs)

    monkeypatch.setattr(sys.modules["ctmodel.training.loop"], "Feed", StoppingFeed)
    monkeypatch.setattr(sys.modules["ctmodel.training.loop"], "epoch_batches", noting)
    return begun


@pytest.mark.parametrize(("n_steps", "error"), [(2, Interrupted()), (7, BadVolume("mended meanwhile"))])
def test_a_run_stopped_within_an_epoch_goes_on_at_the_step(finished, store_path, tmp_path, monkeypatch, n_steps, error):
    begun = stop_after(monkeypatch, n_steps, error)
    with pytest.raises(type(error)):
        train(store_path, tmp_path / "run", TINY)
    n_epochs = len(begun)
    resumed = train(store_path, tmp_path / "run", TINY, resume=True)
    assert begun == {2: [0, 2, 0, 0], 7: [0, 0, 2, 0]}[n_steps]  # five steps each
    assert n_epochs == 1 + n_steps // 5
    assert resumed == dataclasses.replace(finished, run=tmp_path / "run", status="resumed")
    assert same_outcome(resumed, finished)


def test_checkpoints_after_each_step_change_nothing(finished, store_path, tmp_path):
    careful = train(store_path, tmp_path / "run", TINY, execution=Execution(checkpoint_every=0))
    assert same_outcome(careful, finished)


def test_a_damaged_checkpoint_is_said_and_the_one_before_is_used(finished, store_path, tmp_path):
    path, said = tmp_path / "run" / "checkpoint.npz", []
    with pytest.raises(Interrupted):
        train(
            store_path,
            tmp_path / "run",
            TINY,
            execution=Execution(checkpoint_every=0),
            progress=interrupt_after(2),
        )
    path.write_bytes(path.read_bytes()[:-100])
    resumed = train(store_path, tmp_path / "run", TINY, resume=True, say=said.append)
    assert [line for line in said if str(path) in line] == [
        f"{path}: cannot be read (its checksum does not match); going on from the one before, checkpoint-before.npz"
    ]
    assert same_outcome(resumed, finished)


def test_a_run_whose_checkpoints_are_all_damaged_is_not_continued(store_path, tmp_path):
    with pytest.raises(Interrupted):
        train(store_path, tmp_path / "run", TINY, progress=interrupt_after(1))
    (tmp_path / "run" / "checkpoint.npz").write_bytes(b"")
    with pytest.raises(RunDamaged, match="delete the run folder and train again"):
        train(store_path, tmp_path / "run", TINY, resume=True)


def test_a_report_tells_how_fast_it_went(store_path, tmp_path):
    reports = []
    train(store_path, tmp_path / "run", dataclasses.replace(TINY, epochs=1), progress=reports.append)
    (pace,) = (report.pace for report in reports)
    assert pace.volumes == sum(row.subset == "train" for row in Run(tmp_path / "run").split())
    assert 0 < pace.waiting < pace.seconds < reports[0].seconds


def test_a_finished_run_says_so_and_trains_no_more(finished, store_path):
    def fail(report):
        pytest.fail("an epoch was trained")

    before = files_of(finished.run)
    again = train(store_path, finished.run, TINY, resume=True, progress=fail)
    assert again == dataclasses.replace(finished, status="already finished")
    assert files_of(finished.run) == before


def test_resuming_nothing_begins(store_path, tmp_path):
    one = dataclasses.replace(TINY, epochs=1)
    assert train(store_path, tmp_path / "run", one, resume=True).status == "trained"


@pytest.mark.parametrize("content", ["somebody's thesis", None])
def test_a_folder_in_use_is_never_overwritten(finished, store_path, tmp_path, content):
    run = tmp_path / "run"
    if content:
        run.mkdir()
        (run / "thesis.txt").write_text(content)
    else:
        shutil.copytree(finished.run, run)
    before = files_of(run)
    with pytest.raises(RunExists, match="--resume, or choose another"):
        train(store_path, run, TINY)
    assert files_of(run) == before


def test_resuming_with_other_settings_names_them(finished, store_path):
    other = dataclasses.replace(TINY, learning_rate=0.1, seed=3)
    with pytest.raises(RunMismatch, match=r"learning_rate: 0.003, now 0.1; seed: 0, now 3"):
        train(store_path, finished.run, other, resume=True)


def test_a_finished_run_is_not_given_more_epochs_and_says_why(finished, store_path):
    longer = dataclasses.replace(TINY, epochs=TINY.epochs + 2)
    why = rf"epochs: {TINY.epochs}, now {TINY.epochs + 2}\); the learning rate falls to zero over all epochs"
    with pytest.raises(RunMismatch, match=rf"{why}.*train anew with --epochs {TINY.epochs + 2} and another --run"):
        train(store_path, finished.run, longer, resume=True)


def test_resuming_on_another_store_names_the_difference(finished, cohort, tmp_path):
    other = cohort.store(tmp_path / "other.zarr", window=(-900.0, 400.0))
    with pytest.raises(RunMismatch, match=r"window: \[-1000.0, 400.0\], now \[-900.0, 400.0\]"):
        train(other, finished.run, TINY, resume=True)


def test_a_training_stops_when_validation_has_not_improved_for_long(store_path, tmp_path, monkeypatch):
    monkeypatch.setattr("ctmodel.training.loop.Epoch", worse_from(2))
    result = train(store_path, tmp_path / "run", dataclasses.replace(TINY, epochs=8, patience=2))
    assert (result.epochs, result.best_epoch) == (3, 1)


def test_a_training_that_diverges_says_so(store_path, tmp_path):
    settings = dataclasses.replace(TINY, learning_rate=1e38)
    with pytest.raises(TrainingDiverged, match="lower learning rate"):
        train(store_path, tmp_path / "run", settings)


def test_a_file_in_the_place_of_the_run_is_left_alone(store_path, tmp_path):
    (tmp_path / "run").write_text("a letter")
    for resume, error in ((False, RunExists), (True, RunMissing)):
        with pytest.raises(error):
            train(store_path, tmp_path / "run", TINY, resume=resume)
    assert (tmp_path / "run").read_text() == "a letter"


def test_three_classes_and_folds_are_trained_and_scored(tmp_path):
    cohort = make_cohort(tmp_path / "raw", n_patients=9, folders=("CT-0", "CT-1", "CT-2"))
    classes = {"normal": ["CT-0"], "mild": ["CT-1"], "severe": ["CT-2"]}
    settings = dataclasses.replace(TINY, epochs=1, folds=3, fold=2, class_weights=False, augment="off")
    result = train(cohort.store(tmp_path / "out.zarr", classes=classes), tmp_path / "run", settings)
    recalls = {"recall normal", "recall mild", "recall severe"}
    assert set(result.scores.scores) == {"macro_auroc", "accuracy", "balanced_accuracy", "brier", "log_loss"} | recalls
    assert result.scores.n == 3
    assert result.scores.threshold.chosen_by == "likeliest"


def test_a_threshold_is_refused_where_there_are_three_classes(tmp_path):
    cohort = make_cohort(tmp_path / "raw", n_patients=9, folders=("CT-0", "CT-1", "CT-2"))
    store = cohort.store(tmp_path / "out.zarr", classes={name: [name] for name in ("CT-0", "CT-1", "CT-2")})
    with pytest.raises(
        SettingsError, match=r"threshold: youden, but the store has 3 classes, .*; leave out --threshold"
    ):
        train(store, tmp_path / "run", dataclasses.replace(TINY, threshold="youden"))
    assert not (tmp_path / "run").exists()


def test_the_size_and_positives_of_each_subset_are_told_first(store_path, tmp_path):
    told = []
    result = train(store_path, tmp_path / "run", dataclasses.replace(TINY, epochs=1), say=told.append)
    assert [line.split()[0] for line in told[:3]] == ["train", "validation", "test"]
    rows = [row for row in Run(result.run).split() if row.subset == "validation"]
    n_positive = sum(row.label == "abnormal" for row in rows)
    patients = len({row.patient for row in rows})
    assert told[1] == f"validation  {len(rows)} scans of {patients} patients, {n_positive} abnormal"


def test_a_temperature_is_fitted_on_validation_and_scales_all_that_is_kept(store_path, tmp_path, monkeypatch):
    fitted_on = []

    def fit(labels, probabilities, patients):
        fitted_on.append(probabilities)
        return Temperature(2.0, 1.5, 3.0, 0.7, 0.6)

    monkeypatch.setattr(import_module("ctmodel.training.train"), "fit_temperature", fit)
    result = train(store_path, tmp_path / "run", dataclasses.replace(TINY, epochs=1))
    run = Run(result.run)
    assert run.temperature == 2
    np.testing.assert_array_equal(run.predictions("validation").probabilities, with_temperature(fitted_on[0], 2.0))
    again = evaluate(result.run)
    assert again.scores == result.scores
    np.testing.assert_array_equal(again.predictions.probabilities, run.predictions("test").probabilities)


def test_a_run_that_is_not_to_be_calibrated_has_no_temperature(store_path, tmp_path):
    result = train(store_path, tmp_path / "run", dataclasses.replace(TINY, epochs=1, calibrate=False))
    assert not (result.run / "calibration.json").exists()
    assert Run(result.run).temperature == 1


@pytest.fixture
def divided(tmp_path):
    """A store whose table divides its scans; one patient of each class is for validation, and one for the test."""
    cohort = make_cohort(tmp_path / "raw", n_patients=8)
    table = cohort.raw / "labels.csv"
    header, *rows = table.read_text().splitlines()
    subsets = ["validation", "validation", "test", "test", "train", "train", "train", "train", "train"]
    lines = [f"{header},split", *(f"{row},{subset}" for row, subset in zip(rows, subsets, strict=True))]
    table.write_text("\n".join(lines))
    return cohort.store(tmp_path / "out.zarr")


def test_the_split_that_the_data_came_with_is_trained_on_unless_told_otherwise(divided, tmp_path):
    said = []
    settings = dataclasses.replace(TINY, epochs=1)
    result = train(divided, tmp_path / "run", settings, say=said.append)
    subsets = {row.patient: row.subset for row in Run(result.run).split()}
    assert [subsets[f"p{n:02}"] for n in range(8)] == ["validation"] * 2 + ["test"] * 2 + ["train"] * 4
    assert "note: split: that of the store is used; --no-use-split divides the patients anew" in said
    store = open_store(divided)
    anew = divide(store, dataclasses.replace(settings, use_split=False))
    assert anew == divide(dataclasses.replace(store, splits=()), settings)
    assert anew.subsets != divide(store, settings).subsets


def test_folds_and_a_split_of_the_store_are_asked_about(divided):
    with pytest.raises(SplitError, match=r"folds: 2, but the store has a split of its own.*--no-use-split"):
        divide(open_store(divided), dataclasses.replace(TINY, folds=2))


def test_a_run_that_xla_compiles_says_so(store_path, tmp_path):
    said = []
    settings = dataclasses.replace(TINY, epochs=1, xla=True)
    train(store_path, tmp_path / "run", settings, say=said.append)
    assert f"training the compact network in float32, compiled by XLA, on one CPU with {kernels()}" in said
    assert Run(tmp_path / "run").settings().xla


def test_xla_is_refused_where_devices_share_a_batch(store_path, tmp_path, monkeypatch):
    two = SimpleNamespace(num_replicas_in_sync=2)
    monkeypatch.setattr(sys.modules["ctmodel.training.train"], "distribute", lambda _: Distribution(two))
    with pytest.raises(SettingsError, match="xla: compiles for one device, and there are 2; choose --strategy none"):
        train(store_path, tmp_path / "run", dataclasses.replace(TINY, xla=True))
    assert not (tmp_path / "run").exists()


def test_a_broken_store_stops_the_run_before_it_is_finished(store_path, tmp_path):
    own = shutil.copytree(store_path, tmp_path / "own.zarr")
    (own / "volume" / "c.0.0.0.0").unlink()
    with pytest.raises(BadVolume, match="row 0"):
        train(own, tmp_path / "run", TINY)
    assert not Run(tmp_path / "run").is_finished


def test_a_store_replaced_between_epochs_stops_the_run(store_path, tmp_path):
    own = shutil.copytree(store_path, tmp_path / "own.zarr")

    def replace(report):
        shutil.rmtree(own)
        shutil.copytree(store_path, own)

    with pytest.raises(StoreChanged):
        train(own, tmp_path / "run", TINY, progress=replace)


@pytest.mark.parametrize(
    ("settings", "error"),
    [(TrainSettings(network="no_such:thing"), NetworkError), (TrainSettings(folds=50), SplitError)],
)
def test_what_cannot_be_trained_leaves_no_folder(store_path, tmp_path, settings, error):
    with pytest.raises(error):
        train(store_path, tmp_path / "run", settings)
    assert not (tmp_path / "run").exists()


def test_a_missing_store_is_said_to_be_missing(tmp_path):
    with pytest.raises(StoreNotFound):
        train(tmp_path / "no.zarr", tmp_path / "run", TINY)


def test_a_network_below_the_best_baseline_says_so(finished):
    best = finished.baselines.best().area.value
    is_worse = finished.scores.scores["auroc"].value < best
    assert any("that of the baseline" in note for note in finished.scores.notes) == is_worse


def test_scores_json_is_strict(finished):
    text = (finished.run / "scores.json").read_text()
    saved = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert saved["scores"]["auroc"]["n"] == finished.scores.n


def test_the_same_scan_compressed_and_plain_is_in_one_subset(cohort, tmp_path):
    raw = shutil.copytree(cohort.raw, tmp_path / "raw", ignore=shutil.ignore_patterns("labels.csv", "other"))
    for path in sorted(raw.rglob("*.nii.gz")):
        path.with_name(f"copy_{path.name.removesuffix('.gz')}").write_bytes(gzip.decompress(path.read_bytes()))
    store = convert(raw, tmp_path / "out.zarr", recipe=Recipe(shape=SHAPE)).store
    subsets = divide(store, TINY).subsets
    subset_of_volume = {}
    for subset, checksum in zip(subsets, store.checksums.tolist(), strict=True):
        assert subset_of_volume.setdefault(checksum, subset) == subset
    assert len(subset_of_volume) < len(store)
    assert {"train", "validation", "test"} <= set(subsets)


def test_a_run_may_not_lie_in_its_store(store_path):
    with pytest.raises(RunError, match="lies in the store"):
        train(store_path, store_path / "run", TINY)
    assert not (store_path / "run").exists()


def test_a_missing_test_volume_is_found_before_the_first_epoch(cohort, tmp_path):
    broken = cohort.store(tmp_path / "out.zarr")
    (broken / "volume" / "c.3.0.0.0").unlink()
    with pytest.raises(BadVolume, match="row 3"):
        train(broken, tmp_path / "run", TINY, progress=lambda _: pytest.fail("an epoch was trained"))
    assert not (tmp_path / "run").exists()
