"""An evaluation repeats the training's own scores, or scores patients that the run has not learnt from."""

import dataclasses
import gzip
import os
import shutil

import pytest
from tiny_cohort import CLASSES, SHAPE, TINY, make_cohort

from ctmodel.errors import (
    NetworkError,
    RunDamaged,
    RunMismatch,
    RunMissing,
    ScoreError,
    SettingsError,
    StoreMoved,
)
from ctmodel.prediction.evaluate import evaluate, keep_threshold
from ctmodel.prediction.predict import predict
from ctmodel.run.files import read_json, sha256_of, write_json
from ctmodel.run.run_folder import Run
from ctmodel.scoring.calibration import Temperature, with_temperature
from ctmodel.scoring.scores import Threshold, choose_threshold
from ctmodel.settings import EvaluationSettings
from ctmodel.training.train import train
from ctprep.conversion.convert import convert
from ctprep.scans.catalog import find_scans
from ctprep.volume.recipe import Recipe


@pytest.fixture
def own_run(finished, store_path, tmp_path):
    """A copy of the finished run that a test may change; it finds the same store."""
    run = shutil.copytree(finished.run, tmp_path / "run")
    find_store_at(os.path.relpath(store_path, run), run)
    return run


def find_store_at(path, run):
    """Make a finished run remember its store elsewhere, as if it had always been there."""
    write_json(run / "store.json", read_json(run / "store.json") | {"path": path})
    write_json(run / "digests.json", read_json(run / "digests.json") | {"store.json": sha256_of(run / "store.json")})


def test_a_run_evaluated_anew_has_the_scores_of_its_training(finished):
    evaluation = evaluate(finished.run)
    assert evaluation.scores == finished.scores
    assert evaluation.baselines == finished.baselines
    assert evaluation.left_out == ()
    assert len(evaluation.predictions.scans) == finished.scores.n


def test_naming_the_run_s_own_store_changes_nothing(finished, store_path):
    assert evaluate(finished.run, store_path).scores == finished.scores


def test_a_run_and_its_store_can_be_moved_together(finished, home, tmp_path):
    moved = shutil.copytree(home, tmp_path / "elsewhere")
    evaluation = evaluate(moved / "run")
    assert evaluation.store == moved / "out.zarr"
    assert evaluation.scores == finished.scores


def test_a_store_of_new_patients_is_scored_whole(finished, tmp_path):
    other = make_cohort(tmp_path / "raw", n_patients=6, first_seed=5000, prefix="q")
    evaluation = evaluate(finished.run, other.store(tmp_path / "other.zarr"))
    assert evaluation.scores.subset == "unseen"
    assert evaluation.scores.n == 6
    assert evaluation.baselines is None
    assert evaluation.left_out == ()
    assert evaluation.scores.threshold == finished.scores.threshold


def test_patients_that_the_run_has_learnt_from_are_left_out_and_said(finished, tmp_path):
    learnt = {row.patient for row in Run(finished.run).split() if row.subset in ("train", "validation")}
    follow_up = make_cohort(tmp_path / "raw", n_patients=20, first_seed=5000)  # the first 16 have the run's names
    evaluation = evaluate(finished.run, follow_up.store(tmp_path / "other.zarr"))
    assert set(evaluation.predictions.patients).isdisjoint(learnt)
    assert len(evaluation.left_out) == len(learnt)
    assert evaluation.scores.n == 20 - len(learnt)
    assert f"{len(learnt)} labelled scans were left out" in evaluation.scores.notes[0]


def in_class_folders(source, raw, *, rename=str):
    """Copy scans without their table: nobody names a patient."""
    for path in source.files:
        target = raw / path.parent.name / rename(path.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return convert(find_scans(raw, classes=CLASSES), raw.parent / f"{raw.name}.zarr", recipe=Recipe(shape=SHAPE)).store


def test_strangers_whose_scans_have_the_names_of_ours_are_scored(tmp_path):
    ours = in_class_folders(make_cohort(tmp_path / "a", n_patients=12), tmp_path / "ours")
    theirs = in_class_folders(make_cohort(tmp_path / "b", n_patients=12, first_seed=5000), tmp_path / "theirs")
    assert ours.patients == theirs.patients
    run = train(ours.path, tmp_path / "run", dataclasses.replace(TINY, epochs=1)).run
    assert evaluate(run, theirs.path).scores.n == 12
    assert evaluate(run, theirs.path).left_out == ()
    learnt = [row.scan for row in Run(run).split() if row.subset in ("train", "validation")][:3]
    for scan in learnt:
        folder, _, name = scan.rpartition("/")
        shutil.copy(tmp_path / "ours" / f"{scan}.nii.gz", tmp_path / "theirs" / folder / f"shared_{name}.nii.gz")
    shared = convert(
        find_scans(tmp_path / "theirs", classes=CLASSES), tmp_path / "shared.zarr", recipe=Recipe(shape=SHAPE)
    ).store
    found = evaluate(run, shared.path)
    assert {scan.rpartition("/")[2] for scan in found.left_out} == {
        f"shared_{scan.rpartition('/')[2]}" for scan in learnt
    }
    assert (found.scores.n, "3 labelled scans were left out" in found.scores.notes[0]) == (12, True)


def test_names_of_patients_count_only_where_both_sides_have_them(finished, cohort, tmp_path):
    strangers = make_cohort(tmp_path / "a", n_patients=16, scans_each=1, first_seed=5000)
    unnamed = in_class_folders(strangers, tmp_path / "unnamed", rename=lambda name: name.replace("_0", ""))
    assert not unnamed.names_patients
    assert evaluate(finished.run, unnamed.path).left_out == ()


def test_a_file_learnt_under_another_name_is_left_out(finished, tmp_path):
    renamed = make_cohort(tmp_path / "raw", n_patients=16, prefix="renamed")  # the first visits of the run's patients
    evaluation = evaluate(finished.run, renamed.store(tmp_path / "other.zarr"))
    tested = [row for row in Run(finished.run).split() if row.subset == "test"]
    assert evaluation.scores.n == len({row.patient for row in tested})


def test_a_store_of_nothing_but_learnt_patients_cannot_be_scored(finished, cohort, tmp_path):
    learnt = {row.scan for row in Run(finished.run).split() if row.subset == "train"}
    for scan in learnt:
        target = tmp_path / "raw" / f"{scan}.nii.gz"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(cohort.raw / f"{scan}.nii.gz", target)
    shutil.copy(cohort.raw / "labels.csv", tmp_path / "raw")
    own = type(cohort)(tmp_path / "raw").store(tmp_path / "other.zarr")
    with pytest.raises(
        ScoreError, match=r"no labelled scan is left to score, because the run has learnt from .* all \d+"
    ):
        evaluate(finished.run, own)


def test_a_store_that_moved_is_asked_for(finished, tmp_path):
    lone = shutil.copytree(finished.run, tmp_path / "lone")
    with pytest.raises(StoreMoved, match=r"say where it is: ctmodel evaluate .*lone STORE"):
        evaluate(lone)


def test_a_store_that_changed_since_the_training_is_not_taken_for_it(own_run, cohort, tmp_path):
    grown = make_cohort(tmp_path / "raw", n_patients=18, scans_each=2).store(tmp_path / "grown.zarr")
    find_store_at("../grown.zarr", own_run)
    with pytest.raises(RunMismatch, match="number of scans: 33, now 37"):
        evaluate(own_run)
    assert evaluate(own_run, grown).scores.subset == "unseen"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": (-900.0, 400.0)}, "window"),
        ({"shape": (16, 16, 10)}, "shape"),
        ({"classes": {"abnormal": ["CT-1"], "normal": ["CT-0"]}}, "classes"),
        ({"classes": {"healthy": ["CT-0"], "ill": ["CT-1"]}}, "classes"),
    ],
)
def test_a_store_of_another_kind_is_refused(finished, cohort, tmp_path, change, message):
    other = cohort.store(tmp_path / "other.zarr", **change)
    with pytest.raises(RunMismatch, match=f"another kind of store .*{message}"):
        evaluate(finished.run, other)


def test_a_folder_that_is_no_run_is_said_to_be_none(tmp_path):
    with pytest.raises(RunMissing, match="is not a run"):
        evaluate(tmp_path)


def test_an_unfinished_run_is_not_evaluated(own_run):
    (own_run / "scores.json").unlink()
    with pytest.raises(RunMissing, match="--resume"):
        evaluate(own_run)


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("store.json", "{}", RunDamaged),
        ("network.json", '{"name": "compact"}', RunDamaged),
        (
            "network.json",
            '{"name": "fancy", "input_shape": [16, 16, 8], "n_classes": 2, "precision": "float32"}',
            RunDamaged,
        ),
        (
            "network.json",
            '{"name": "compact", "input_shape": [16, 16, 8], "n_classes": 3, "precision": "float32"}',
            RunDamaged,
        ),
        ("scores.json", '{"subset": "test"}', RunDamaged),
        ("split.csv", "scan,subset\n", RunDamaged),
        ("model.weights.h5", "", NetworkError),
    ],
)
def test_a_damaged_run_is_an_error_that_names_the_file(own_run, name, text, error):
    (own_run / name).write_text(text)
    with pytest.raises(error):
        evaluate(own_run)


def test_the_scans_of_the_training_are_known_again_plain_and_under_other_names(finished, cohort, tmp_path):
    """Neither the bytes of the files nor the patients tell; the volumes do."""
    for path in cohort.files:
        plain = tmp_path / "raw" / path.parent.name / f"renamed_{path.name.removesuffix('.gz')}"
        plain.parent.mkdir(parents=True, exist_ok=True)
        plain.write_bytes(gzip.decompress(path.read_bytes()))
    catalog = find_scans(tmp_path / "raw", classes=CLASSES)
    store = convert(catalog, tmp_path / "plain.zarr", recipe=Recipe(shape=SHAPE)).store
    again = evaluate(finished.run, store.path)
    assert again.scores.n == finished.scores.n
    assert len(again.left_out) == len(store) - finished.scores.n


def files_of(run):
    return {path.name: path.read_bytes() for path in run.iterdir()}


@pytest.mark.parametrize("rule", ["youden", "sensitivity=0.9", "cost=5:1", "0.3", "half"])
def test_a_threshold_is_chosen_on_the_validation_subset_and_changes_no_file(finished, rule):
    before = files_of(finished.run)
    found = evaluate(finished.run, settings=EvaluationSettings(threshold=rule))
    assert found.scores.threshold == choose_threshold(Run(finished.run).predictions("validation"), by=rule)
    assert found.scores.scores["auroc"] == finished.scores.scores["auroc"]
    assert files_of(finished.run) == before


def test_a_threshold_calls_what_the_confusion_counts(finished):
    found = evaluate(finished.run, settings=EvaluationSettings(threshold="0"))
    assert [row[0] for row in found.scores.confusion] == [0, 0]
    assert found.scores.scores["sensitivity"].value == 1


def test_a_threshold_that_is_kept_is_used_from_then_on(own_run, cohort):
    unchanged = files_of(own_run)
    keep_threshold(own_run, Threshold(0.0, "0"))
    assert evaluate(own_run).scores.threshold == Threshold(0.0, "0")
    assert {one.predicted for one in predict(own_run, cohort.files[:3])} == {"abnormal"}
    assert files_of(own_run).keys() - unchanged.keys() == {"threshold.json"}
    assert evaluate(own_run, settings=EvaluationSettings(threshold="half")).scores.threshold.chosen_by == "half"


def test_a_threshold_can_be_chosen_without_the_store_of_the_training(finished, tmp_path):
    lone = shutil.copytree(finished.run, tmp_path / "lone")
    other = make_cohort(tmp_path / "raw", n_patients=6, first_seed=5000, prefix="q")
    settings = EvaluationSettings(threshold="youden")
    found = evaluate(lone, other.store(tmp_path / "other.zarr"), settings)
    assert found.scores.threshold == evaluate(finished.run, settings=settings).scores.threshold


def calibrate(run, temperature):
    """Give a finished run a temperature, as if its training had fitted it."""
    Run(run).write_calibration(temperature)
    sealed = {"calibration.json": sha256_of(run / "calibration.json")}
    write_json(run / "digests.json", read_json(run / "digests.json") | sealed)


def test_probabilities_are_scaled_by_the_temperature_of_the_run(finished, own_run, cohort):
    calibrate(own_run, Temperature(2.0, 1.5, 3.0, 0.7, 0.6))
    plain, scaled = evaluate(finished.run), evaluate(own_run)
    expected = with_temperature(plain.predictions.probabilities, 2.0)
    assert (scaled.predictions.probabilities == expected).all()
    assert scaled.scores.scores["auroc"] == plain.scores.scores["auroc"]
    assert scaled.scores.scores["log_loss"] != plain.scores.scores["log_loss"]
    named = dict(zip(scaled.predictions.scans, expected, strict=True))
    files = [cohort.raw / f"{scan}.nii.gz" for scan in named]
    for one, chances in zip(predict(own_run, files), named.values(), strict=True):
        assert list(one.probabilities.values()) == pytest.approx(chances.tolist(), abs=1e-6)


def test_further_scores_are_asked_for(finished):
    plain = evaluate(finished.run).scores.scores
    found = evaluate(finished.run, settings=EvaluationSettings(prevalence=0.05, ordered=True)).scores
    at_prevalence = {"ppv_at_prevalence", "npv_at_prevalence"}  # one is undefined where all scans are called alike
    more = found.scores.keys() - plain.keys()
    assert more - at_prevalence == {"quadratic_kappa", "class_distance"}
    assert more & at_prevalence


@pytest.fixture
def scanned(tmp_path):
    """A store of new patients whose table says which scanner each was on, and how old they are."""
    cohort = make_cohort(tmp_path / "raw", n_patients=12, first_seed=5000, prefix="q")
    table = cohort.raw / "labels.csv"
    header, *rows = table.read_text().splitlines()
    more = [f"{row},{'AB'[place // 6 % 2]},{40 + place}" for place, row in enumerate(rows)]
    table.write_text("\n".join([f"{header},scanner,age", *more]))
    return cohort.store(tmp_path / "other.zarr")


def test_every_value_of_a_column_is_scored(finished, scanned):
    found = evaluate(finished.run, scanned, EvaluationSettings(by="scanner"))
    assert [(group.value, group.of_class) for group in found.groups.groups] == [
        ("A", {"normal": 3, "abnormal": 3}),
        ("B", {"normal": 3, "abnormal": 3}),
    ]
    assert "by scanner, with 95 % intervals; difference to all other scans" in found.lines()
    assert found.to_dict()["by"]["column"] == "scanner"
    assert set(found.lines()) - {"  note: " + note for note in found.scores.notes} < set(found.all_lines())
    assert evaluate(finished.run, scanned, EvaluationSettings(by="meta_scanner")).groups == found.groups
    assert len(evaluate(finished.run, scanned, EvaluationSettings(by="age")).groups.groups) == 4


def test_an_unknown_column_is_an_error_that_lists_those_there_are(finished, scanned):
    with pytest.raises(ScoreError, match="has no column 'scaner', expected one of age, scanner"):
        evaluate(finished.run, scanned, EvaluationSettings(by="scaner"))
    with pytest.raises(ScoreError, match="has no column 'scanner', nor any other; convert again with a table"):
        evaluate(finished.run, settings=EvaluationSettings(by="scanner"))


@pytest.fixture(scope="module")
def of_three(tmp_path_factory):
    """A run with three classes."""
    home = tmp_path_factory.mktemp("three")
    cohort = make_cohort(home / "raw", n_patients=15, folders=("CT-0", "CT-1", "CT-2"))
    classes = {"normal": ["CT-0"], "mild": ["CT-1"], "severe": ["CT-2"]}
    store = cohort.store(home / "out.zarr", classes=classes)
    return train(store, home / "run", dataclasses.replace(TINY, epochs=1)).run


@pytest.mark.parametrize("asked", [{"threshold": "youden"}, {"threshold": "half"}, {"prevalence": 0.05}])
def test_of_several_classes_no_threshold_is_chosen(of_three, asked):
    with pytest.raises(SettingsError, match=rf"{next(iter(asked))}: .* has 3 classes, .* leave out --"):
        evaluate(of_three, settings=EvaluationSettings(**asked))


def test_several_ordered_classes_have_the_scores_of_grades(of_three):
    found = evaluate(of_three, settings=EvaluationSettings(ordered=True))
    assert {"quadratic_kappa", "class_distance"} <= found.scores.scores.keys()
    assert any("the likeliest is predicted" in line for line in found.lines())
