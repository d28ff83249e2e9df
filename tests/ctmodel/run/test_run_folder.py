"""A run is begun whole or not at all, trained by one process, and read only as its training left it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ctmodel.baselines.results import Baselines, BaselineScores
from ctmodel.errors import NetworkError, RunDamaged, RunError, RunExists, RunLocked, RunMissing
from ctmodel.run import run_folder
from ctmodel.run.files import read_json, sha256_of, write_json
from ctmodel.run.history import Epoch
from ctmodel.run.records import MAX_THRESHOLD, KeptThreshold, NetworkRecord, SplitRow, StoreRecord
from ctmodel.run.run_folder import BEGUN, LOCK, Run, check_same_run
from ctmodel.scoring.calibration import Temperature
from ctmodel.scoring.scores import Predictions, Score, Scores, Threshold
from ctmodel.settings import TrainSettings

SETTINGS = TrainSettings()
STORE = StoreRecord("../out.zarr", {"shape": [16, 16, 8]}, ("normal", "abnormal"), 2, "0" * 64)
NETWORK = NetworkRecord("compact", (16, 16, 8), 2, "float32")
SPLIT = [SplitRow("a", "p", "normal", "train", "1" * 64, "1"), SplitRow("b", "q", "abnormal", "test", "2" * 64, "2")]
SCORES = Scores(
    subset="test",
    classes=STORE.classes,
    n=1,
    patients=1,
    threshold=Threshold(0.5, "half"),
    scores={"auroc": Score(0.5, 0.1, 0.9, 1, 1)},
    confusion=((0, 0), (0, 1)),
    notes=(),
)
BASELINES = Baselines(
    (
        BaselineScores("prevalence", 0, 0, validation=SCORES, test=SCORES),
        BaselineScores("lung texture", 55, 3, failure="no lungs"),
    )
)
PREDICTIONS = Predictions(("a", "b"), ("p", "q"), np.array([0, 1]), np.array([[0.75, 0.25], [0.1, 0.9]]))
TEMPERATURE = Temperature(1.5, 1.2, np.inf, 0.7, 0.6)
EPOCH = Epoch(1, 0.01, 0.7, 0.5, 0.5, 0.6, 0.5, 0.5)

READERS = {
    "settings.json": Run.settings,
    "store.json": Run.store,
    "network.json": Run.network,
    "split.csv": Run.split,
    "scores.json": Run.scores,
    "baselines.json": Run.baselines,
    "calibration.json": Run.calibration,
    "predictions.csv": lambda run: run.predictions("test"),
    "history.csv": Run.history,
    "model.weights.h5": Run.check_weights,
}


def begin(run: Run) -> None:
    run.begin(SETTINGS, STORE, NETWORK, SPLIT)


@pytest.fixture
def begun(tmp_path) -> Run:
    run = Run(tmp_path / "run")
    begin(run)
    return run


@pytest.fixture
def ended(begun) -> Run:
    """A finished run, whose weights are any bytes."""
    begun.weights.write_bytes(b"weights" * 100)
    begun.write_history([EPOCH])
    write_predictions(begun)
    begun.write_calibration(TEMPERATURE)
    begun.write_baselines(BASELINES)
    begun.write_scores(SCORES)
    return begun


def write_predictions(run: Run) -> None:
    run.write_predictions(PREDICTIONS, subsets=["train", "test"], called=[0, 1], classes=STORE.classes)


def test_a_finished_run_is_read_as_it_was_written(ended):
    for read in READERS.values():
        read(ended)
    assert (ended.settings(), ended.store(), ended.network()) == (SETTINGS, STORE, NETWORK)
    assert (ended.split(), ended.scores(), ended.history()) == (SPLIT, SCORES, [EPOCH])
    assert ended.baselines() == BASELINES
    assert ended.calibration() == TEMPERATURE
    assert ended.temperature == 1.5
    kept = ended.predictions("test")
    assert (kept.scans, kept.patients, kept.labels.tolist()) == (("b",), ("q",), [1])
    assert kept.probabilities.tolist() == [[0.1, 0.9]]
    assert ended.predictions("validation").probabilities.shape == (0, 2)


def test_a_run_of_version_0_1_has_predictions_that_were_not_sealed(begun):
    begun.weights.write_bytes(b"weights")
    begun.write_scores(SCORES)
    write_predictions(begun)
    path = begun.path / "predictions.csv"
    path.write_text(path.read_text().replace("subset", "part"))
    assert begun.predictions("test").scans == ("b",)
    path.write_text(path.read_text().replace(",test,", ",validation,"))
    with pytest.raises(RunDamaged, match=r"predictions\.csv: is damaged .*not those of split\.csv"):
        begun.predictions("test")
    path.write_text(path.read_text().replace(",validation,", ",test,").replace("0.9", "1.9"))
    with pytest.raises(RunDamaged, match="a probability is not between 0 and 1"):
        begun.predictions("test")


def test_a_run_of_version_0_1_is_not_scaled(begun):
    begun.weights.write_bytes(b"weights")
    begun.write_scores(SCORES)
    assert begun.calibration() is None
    assert begun.temperature == 1


def test_what_an_interrupted_end_left_scales_nothing(begun):
    """It would be applied twice when the training is concluded again."""
    begun.write_calibration(TEMPERATURE)
    assert begun.temperature == 1


def test_a_temperature_that_does_not_help_scales_nothing(begun):
    begun.weights.write_bytes(b"weights")
    begun.write_calibration(Temperature(1.5, 0.9, 2.5, 0.7, 0.69))
    begun.write_scores(SCORES)
    assert read_json(begun.path / "calibration.json")["applied"] == begun.temperature == 1


def test_a_threshold_is_kept_without_touching_what_is_sealed(ended):
    before = {path.name: path.read_bytes() for path in ended.path.iterdir()}
    assert ended.threshold() == Threshold(0.5, "half")
    for kept in (Threshold(0.3125, "youden"), Threshold(MAX_THRESHOLD, "specificity=1")):
        ended.keep_threshold(kept)
        assert ended.threshold() == kept
    assert ended.scores() == SCORES
    assert {path.name: path.read_bytes() for path in ended.path.iterdir() if path.name != "threshold.json"} == before
    (ended.path / "threshold.json").unlink()
    assert ended.threshold() == Threshold(0.5, "half")


@pytest.mark.parametrize(
    ("old", "new"),
    [("0.3125", "0.4125"), ("0.3125", '"0.3125"'), ("youden", "half"), ("youden", "best"), ('"seal"', '"seals"')],
)
def test_a_kept_threshold_that_was_edited_is_damage(ended, old, new):
    ended.keep_threshold(Threshold(0.3125, "youden"))
    path = ended.path / "threshold.json"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(RunDamaged, match=r"threshold\.json: is damaged .*; remove it, and choose a threshold again"):
        ended.threshold()


def test_a_threshold_of_another_run_is_damage(ended):
    other = KeptThreshold.of(Threshold(0.3125, "youden"), scores="0" * 64)
    write_json(ended.path / "threshold.json", vars(other))
    with pytest.raises(RunDamaged, match="expected those of this run"):
        ended.threshold()
    assert KeptThreshold.of(other.threshold, scores=sha256_of(ended.path / "scores.json")).seal != other.seal


def test_a_threshold_cannot_be_kept_where_nothing_can_be_written(ended):
    (ended.path / "threshold.json").mkdir()
    with pytest.raises(RunError, match=r"cannot be written \(Is a directory\); make it writable, or leave out --keep"):
        ended.keep_threshold(Threshold(0.3, "0.3"))


def test_a_run_of_version_0_1_has_no_baselines(begun):
    begun.weights.write_bytes(b"weights")
    begun.write_scores(SCORES)
    assert begun.baselines() is None


def test_baselines_that_were_added_after_the_training_are_not_believed(begun):
    begun.weights.write_bytes(b"weights")
    begun.write_scores(SCORES)
    begun.write_baselines(BASELINES)
    with pytest.raises(RunDamaged, match=r"baselines\.json: has changed since the training"):
        begun.baselines()


@pytest.mark.parametrize("name", READERS.keys() - {"history.csv"})
def test_a_bit_that_has_flipped_since_the_training_is_noticed(ended, name):
    path = ended.path / name
    content = path.read_bytes()
    for place in (0, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises((RunDamaged, NetworkError), match=rf"{name}: has changed since the training; restore it"):
            READERS[name](ended)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("split.csv", ",train,", ",test,"),
        ("store.json", '"normal",\n    "abnormal"', '"abnormal",\n    "normal"'),
        ("network.json", "compact", "founding"),
        ("settings.json", '"seed": 0', '"seed": 1'),
        ("scores.json", '"value": 0.5,\n    "chosen_by"', '"value": 0.1,\n    "chosen_by"'),
    ],
)
def test_an_edit_that_would_pass_for_the_truth_is_noticed(ended, name, old, new):
    path = ended.path / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(RunDamaged, match="has changed since the training"):
        READERS[name](ended)


def test_the_history_of_a_finished_run_may_be_edited(ended):
    (ended.path / "history.csv").write_text((ended.path / "history.csv").read_text().replace("0.7", "0.8"))
    assert ended.history()[0].loss == 0.8


@pytest.mark.parametrize("name", ["store.json", "model.weights.h5"])
@pytest.mark.parametrize(
    ("text", "error"), [(None, RunMissing), ("{}", (RunDamaged, NetworkError)), ("[]", RunDamaged)]
)
def test_a_finished_run_without_its_digests_is_not_believed(ended, name, text, error):
    digests = ended.path / "digests.json"
    digests.unlink()
    if text is not None:
        digests.write_text(text)
    with pytest.raises(error):
        READERS[name](ended)


def test_the_scores_are_the_last_to_be_written(begun, monkeypatch):
    begun.weights.write_bytes(b"weights")
    written = []
    monkeypatch.setattr(run_folder, "write_json", lambda path, _content: written.append(path.name))
    begun.write_scores(SCORES)
    assert written == ["digests.json", "scores.json"]


def test_an_unfinished_run_may_write_other_weights(begun):
    begun.weights.write_bytes(b"first")
    begun.check_weights()
    begun.weights.write_bytes(b"better")
    begun.check_weights()


def test_a_run_begun_on_another_split_is_not_continued(begun):
    check_same_run(begun, SETTINGS, STORE, split=SPLIT)
    path = begun.path / "split.csv"
    path.write_text(path.read_text().replace(",train,", ",test,"))
    with pytest.raises(RunDamaged, match=r"split\.csv: has changed since the training began"):
        check_same_run(begun, SETTINGS, STORE, split=SPLIT)


@pytest.mark.parametrize("n_written", range(len(BEGUN)))
@pytest.mark.parametrize("leaves_partial", [False, True])
def test_a_beginning_that_was_cut_short_can_be_begun_again(begun, tmp_path, n_written, leaves_partial):
    cut = tmp_path / "cut"
    cut.mkdir()
    for name in BEGUN[:n_written]:
        (cut / name).write_bytes((begun.path / name).read_bytes())
    if leaves_partial:
        (cut / f".writing-17-{BEGUN[n_written]}").write_text("{")
    run = Run(cut)
    assert run.is_empty  # what train --resume asks
    begin(run)  # what train does without it
    assert not run.is_empty
    assert (run.settings(), run.store(), run.network(), run.split()) == (SETTINGS, STORE, NETWORK, SPLIT)


def test_begin_writes_in_the_order_that_the_prefixes_assume(tmp_path, monkeypatch):
    run = Run(tmp_path / "run")
    replace = Path.replace
    done = []

    def replace_and_note(self, target):
        assert run.is_empty
        done.append(Path(target).name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", replace_and_note)
    begin(run)
    assert tuple(done) == BEGUN
    assert not run.is_empty


@pytest.mark.parametrize("name", ["thesis.txt", "split.csv", "store.json", "settings.json", "scores.json"])
def test_a_folder_that_begin_did_not_leave_is_never_begun_in(tmp_path, name):
    (tmp_path / name).write_text("somebody's")
    assert not Run(tmp_path).is_empty
    with pytest.raises(RunExists, match="--resume, or choose another"):
        begin(Run(tmp_path))
    assert (tmp_path / name).read_text() == "somebody's"


@pytest.mark.parametrize("path", ["/dev/null/x", "/proc/no/x", "n" * 300])
def test_an_impossible_path_is_one_clear_error(tmp_path, path):
    run = Run(tmp_path / path)
    with pytest.raises(RunError, match=r"cannot be written .*choose another --run"):
        begin(run)
    with pytest.raises(RunError, match=r"cannot be written .*choose another --run"), run.locked():
        pytest.fail("the block was entered")


def test_a_second_training_in_the_folder_is_refused(tmp_path):
    run = Run(tmp_path / "new" / "run")
    with run.locked():
        assert run.is_empty
        with pytest.raises(RunLocked, match="is being trained by another process; wait"), Run(run.path).locked():
            pytest.fail("the block was entered")
        begin(run)
    assert {path.name for path in run.path.iterdir()} == set(BEGUN)
    with run.locked():
        assert not run.is_empty


HOLD = """
import sys, time
from ctmodel.run.run_folder import Run
with Run(sys.argv[1]).locked():
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_killed_process_leaves_no_lock(tmp_path):
    run = Run(tmp_path / "run")
    with subprocess.Popen([sys.executable, "-c", HOLD, str(run.path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(RunLocked), run.locked():
            pytest.fail("the block was entered")
        holder.kill()
    assert (run.path / LOCK).exists()
    assert run.is_empty
    with run.locked():
        begin(run)
    assert not (run.path / LOCK).exists()


def test_a_lock_taken_while_its_file_was_removed_is_none(tmp_path, monkeypatch):
    run = Run(tmp_path)
    flock = run_folder.fcntl.flock

    def flock_after_the_owner_ends(lock, how):
        (tmp_path / LOCK).unlink()
        flock(lock, how)

    monkeypatch.setattr(run_folder.fcntl, "flock", flock_after_the_owner_ends)
    with pytest.raises(RunLocked), run.locked():
        pytest.fail("the block was entered")


def test_an_error_within_the_lock_keeps_its_type_and_releases_it(tmp_path):
    run = Run(tmp_path)
    for error in (FileNotFoundError, KeyboardInterrupt):
        with pytest.raises(error, match="somewhere else"), run.locked():
            raise error("somewhere else")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_a_run_is_not_locked(tmp_path):
    path = tmp_path / "run"
    path.write_text("a letter")
    with Run(path).locked(), pytest.raises(RunExists):
        begin(Run(path))
    assert path.read_text() == "a letter"


def changed(**fields):
    return lambda saved: saved | fields


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("network.json", changed(input_shape=5)),
        ("network.json", changed(input_shape="abc")),
        ("network.json", changed(input_shape=["16", "16", "8"])),
        ("network.json", changed(input_shape=[16.0, 16, 8])),
        ("network.json", changed(input_shape=[16, 16])),
        ("network.json", changed(input_shape=[16, 16, 10])),
        ("network.json", changed(n_classes="2")),
        ("network.json", changed(n_classes=None)),
        ("network.json", changed(n_classes=2.0)),
        ("network.json", changed(n_classes=3)),
        ("network.json", changed(name=["compact"])),
        ("network.json", changed(precision="auto")),
        ("network.json", changed(kernels="fast")),
        ("network.json", changed(odd=1)),
        ("store.json", changed(classes=5)),
        ("store.json", changed(classes="ab")),
        ("store.json", changed(classes=[1, 2])),
        ("store.json", changed(path=5)),
        ("store.json", changed(path="")),
        ("store.json", changed(recipe=[])),
        ("store.json", changed(recipe={})),
        ("store.json", changed(recipe={"shape": [16, 16, True]})),
        ("store.json", changed(scans="2")),
        ("store.json", changed(fingerprint=None)),
        ("settings.json", changed(epochs="many")),
        ("settings.json", changed(odd=1)),
    ],
)
def test_a_value_of_another_type_is_damage_that_names_the_file(begun, name, change):
    path = begun.path / name
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(RunDamaged, match=rf"{name}: is damaged \(.*restore it or train again"):
        READERS[name](begun)


@pytest.mark.parametrize(
    "change",
    [
        changed(scores=None),
        changed(scores=[]),
        changed(scores={"auroc": 5}),
        changed(threshold="x"),
        changed(threshold={"value": "abc", "chosen_by": "half"}),
        lambda _saved: {},
    ],
)
def test_scores_that_are_none_are_damage(ended, change):
    path = ended.path / "scores.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(RunDamaged, match=r"scores\.json"):
        ended.scores()


@pytest.mark.parametrize("content", [{"scores": None}, {"scores": []}, {"threshold": "x"}, {"confusion": 5}])
def test_scores_of_another_type_are_damage_even_to_the_digests(begun, content):
    begun.weights.write_bytes(b"weights")

    class Odd:
        def to_dict(self):
            return SCORES.to_dict() | content

    begun.write_scores(Odd())
    with pytest.raises(RunDamaged, match=r"scores\.json: is damaged"):
        begun.scores()


@pytest.mark.parametrize("name", ["settings.json", "store.json", "network.json"])
def test_json_that_is_too_deep_is_damage(begun, name):
    (begun.path / name).write_text("[" * 100_000)
    with pytest.raises(RunDamaged, match=f"{name}: is not strict JSON"):
        READERS[name](begun)


@pytest.mark.parametrize("name", READERS.keys() - {"model.weights.h5"})
def test_a_folder_in_the_place_of_a_file_is_damage(ended, name):
    (ended.path / name).unlink()
    (ended.path / name).mkdir()
    with pytest.raises(RunDamaged, match=rf"{name}: cannot be read \(Is a directory\)"):
        READERS[name](ended)


@pytest.mark.parametrize("name", READERS.keys() - {"model.weights.h5", "scores.json"})
def test_a_missing_file_of_a_finished_run_is_named(ended, name):
    (ended.path / name).unlink()
    with pytest.raises(RunMissing, match=f"{name}: is not there"):
        READERS[name](ended)


def test_missing_weights_of_a_finished_run_are_an_error(ended):
    ended.weights.unlink()
    with pytest.raises(NetworkError, match=r"model\.weights\.h5"):
        ended.check_weights()


def test_a_history_without_an_epoch_is_damage(begun):
    begun.write_history([])
    with pytest.raises(RunDamaged, match=r"history\.csv: has no epoch"):
        begun.history()


def test_a_history_of_words_is_damage(begun):
    begun.write_history([EPOCH])
    path = begun.path / "history.csv"
    path.write_text(path.read_text().replace("0.7", "low"))
    with pytest.raises(RunDamaged, match=r"history\.csv: is damaged \(.*'low'"):
        begun.history()


@pytest.mark.parametrize("subset", ["Train", "", "x" * 200_000])
def test_an_unknown_subset_is_damage(begun, subset):
    path = begun.path / "split.csv"
    path.write_text(path.read_text().replace(",train,", f",{subset},"))
    with pytest.raises(RunDamaged, match=r"split\.csv"):
        begun.split()
