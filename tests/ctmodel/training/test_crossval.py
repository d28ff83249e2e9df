"""A cross-validation is its folds' trainings, to the byte, and what they tell together; it is a run like any other."""

import csv
import dataclasses
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_cohort import TINY, make_cohort

import cli
from ctmodel.data.division import divide
from ctmodel.errors import RunDamaged, RunExists, RunMismatch, ScoreError, SettingsError, SplitError
from ctmodel.prediction.evaluate import evaluate, keep_threshold
from ctmodel.prediction.predict import predict
from ctmodel.run.records import CrossvalRecord
from ctmodel.run.run_folder import Run
from ctmodel.scoring.folds import pool
from ctmodel.scoring.scores import Scores, Threshold, choose_threshold
from ctmodel.settings import EvaluationSettings, Execution, FoldSettings
from ctmodel.training.crossval import cross_validate, fold_settings, seed_of
from ctmodel.training.train import train
from ctmodel.views.report import report
from ctprep.store.store import open_store

SETTINGS = dataclasses.replace(TINY, epochs=2, batch_size=8)
TWO = FoldSettings(folds=2)


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def told():
    return []


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which all runs are equally far from the store."""
    return tmp_path_factory.mktemp("crossval")


@pytest.fixture(scope="module")
def result(store_path, folder, told):
    """A cross-validation by two folds, whose folder no test may change."""
    return cross_validate(store_path, folder / "crossval", SETTINGS, folds=TWO, say=told.append)


@pytest.fixture
def copy(result, tmp_path):
    """A copy of it that a test may change."""
    shutil.copytree(result.run, tmp_path / "crossval")
    return tmp_path / "crossval"


def test_every_labelled_scan_is_scored_once_by_a_network_that_has_not_learnt_from_its_patient(result, store_path):
    store = open_store(store_path)
    with (result.run / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["scan"] for row in rows) == [store.scans[row] for row in np.flatnonzero(store.labels >= 0)]
    for row in rows:
        learnt = {one.patient for one in Run(result.run / row["fold"]).split() if one.subset in ("train", "validation")}
        assert learnt
        assert row["patient"] not in learnt


def test_the_result_holds_the_pooled_scores_those_of_each_fold_and_the_baselines(result):
    assert (result.status, result.scores.subset, result.scores.n, result.scores.patients) == (
        "trained",
        "cross-validated",
        32,
        16,
    )
    assert [(fold.name, fold.scores.n, fold.learnt, fold.epochs) for fold in result.folds.folds] == [
        ("fold-1", 16, 16, 2),
        ("fold-2", 16, 16, 2),
    ]
    for fold in result.folds.folds:
        assert fold.scores.scores == Run(result.run / fold.name).scores().scores
    areas = [fold.scores.scores["auroc"].value for fold in result.folds.folds]
    assert result.folds.within.value == result.folds.mean["auroc"].value == np.mean(areas)
    assert [baseline.test.n for baseline in result.baselines.baselines if baseline.test] == [32, 32, 32]
    text = "\n".join(result.lines())
    for said in ("cross-validated patients: 32 scans", "means over 2 folds", "fold-2", "lung histogram"):
        assert said in text
    assert "last one allowed in" in text
    assert "fold-2" in result._repr_html_()
    assert json.loads(json.dumps(result.to_dict()))["folds"][1]["name"] == "fold-2"


def test_each_fold_is_told_when_it_ends_and_what_all_share_once(result, told):
    of_folds = ["fold-1", "fold-1, 1 of 2", "fold-2", "fold-2, 2 of 2"]
    assert [line.partition(":")[0] for line in told] == [told[0].partition(":")[0], *of_folds]
    assert told[0].startswith("training the compact network")
    assert "auroc" in told[2]


def test_a_fold_is_to_the_byte_the_run_of_a_training_with_its_settings(result, store_path, folder):
    settings = Run(result.run / "fold-2").settings()
    assert (settings.folds, settings.fold, settings.split_seed, settings.seed) == (2, 2, 0, seed_of(0, 1, 2))
    (folder / "alone").mkdir()
    train(store_path, folder / "alone/fold-2", settings, execution=Execution(residency="stream"))
    assert tree(folder / "alone/fold-2") == tree(result.run / "fold-2")


def test_an_interrupted_one_goes_on_and_has_the_same_bytes(result, store_path, folder):
    def interrupt(report):
        if (report.fold, report.report.epoch.epoch) == (2, 1):
            assert (report.done, report.total) == (3, 4)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cross_validate(store_path, folder / "interrupted", SETTINGS, folds=TWO, progress=interrupt)
    assert Run(folder / "interrupted/fold-1").is_finished
    told = []
    resumed = cross_validate(store_path, folder / "interrupted", SETTINGS, folds=TWO, resume=True, progress=told.append)
    assert resumed.status == "resumed"
    assert [(report.fold, report.report.epoch.epoch) for report in told] == [(2, 2)]
    assert tree(folder / "interrupted") == tree(result.run)


def test_a_finished_one_is_not_trained_again(result, store_path):
    again = cross_validate(store_path, result.run, SETTINGS, folds=TWO, resume=True)
    assert again.status == "already finished"
    assert dataclasses.replace(again, status="trained") == result
    with pytest.raises(RunExists, match="--resume"):
        cross_validate(store_path, result.run, SETTINGS, folds=TWO)


def test_the_command_continues_it_and_prints_it_as_json(result, store_path):
    line = f"crossval {store_path} --run {result.run} --folds 2 --network compact --epochs 2 --batch-size 8 --resume"
    words = [*line.split(), "--learning-rate", "0.003", "--precision", "float32", "--json"]
    done = CliRunner().invoke(cli.ctmodel, words)
    assert (done.exit_code, json.loads(done.stdout)) == (0, json.loads(json.dumps(result.to_dict())))
    assert done.stderr == f"{result.run}: already finished, 2 folds\n"


def test_other_settings_or_folds_and_the_wrong_command_are_refused(result, finished, store_path):
    with pytest.raises(RunMismatch, match="epochs: 2, now 3"):
        cross_validate(store_path, result.run, TINY, folds=TWO, resume=True)
    with pytest.raises(RunMismatch, match="begun with other folds"):
        cross_validate(store_path, result.run, SETTINGS, folds=FoldSettings(folds=3), resume=True)
    with pytest.raises(RunMismatch, match="is no cross-validation; continue it with ctmodel train"):
        cross_validate(store_path, finished.run, TINY, folds=TWO, resume=True)
    with pytest.raises(RunMismatch, match="is a cross-validation; continue it with ctmodel crossval"):
        train(store_path, result.run, SETTINGS, resume=True)


@pytest.mark.parametrize(
    ("changed", "match"),
    [({"folds": 5}, "folds: 5"), ({"group": "site"}, "group: 'site'"), ({"split_seed": 3}, "split_seed: 3")],
)
def test_what_a_cross_validation_decides_itself_is_refused_in_its_settings(changed, match, store_path, tmp_path):
    with pytest.raises(SettingsError, match=f"{match}.*FoldSettings"):
        cross_validate(store_path, tmp_path / "run", dataclasses.replace(TINY, **changed))
    with pytest.raises(SettingsError, match="strategy: workers"):
        cross_validate(store_path, tmp_path / "run", TINY, execution=Execution(strategy="workers"))
    assert not (tmp_path / "run").exists()


def test_predictions_are_the_means_of_those_of_the_folds(result, cohort):
    scans = cohort.files[:3]
    together, *folds = (predict(run, scans) for run in (result.run, result.run / "fold-1", result.run / "fold-2"))
    for one, *members in zip(together, *folds, strict=True):
        mean = np.mean([member.probabilities["abnormal"] for member in members])
        assert one.probabilities["abnormal"] == pytest.approx(mean, abs=1e-12)
        assert one.predicted == ("abnormal" if mean >= 0.5 else "normal")


def test_evaluating_it_gives_the_same_scores_again(result):
    evaluation = evaluate(result.run)
    assert evaluation.scores == result.scores
    assert evaluation.folds == result.folds
    assert evaluation.lines() == result.lines()
    assert len(evaluation.predictions.scans) == 32


def test_another_store_is_scored_by_all_networks_on_patients_that_none_has_learnt_from(result, store_path, tmp_path):
    raw = tmp_path / "raw"
    make_cohort(raw, n_patients=16, scans_each=2)
    both = make_cohort(raw, n_patients=20, scans_each=2)
    evaluation = evaluate(result.run, both.store(tmp_path / "both.zarr"))
    assert (evaluation.scores.subset, evaluation.scores.n, len(evaluation.left_out)) == ("unseen", 8, 32)
    few = make_cohort(tmp_path / "few", n_patients=8).store(tmp_path / "few.zarr")
    with pytest.raises(ScoreError, match="no labelled scan is left to score"):
        evaluate(result.run, few)


@pytest.mark.parametrize("name", ["crossval.json", "folds.json", "fold-1/digests.json", "fold-2/scores.json"])
def test_what_changed_since_is_not_believed(copy, store_path, name):
    (copy / name).write_bytes((copy / name).read_bytes() + b" ")
    with pytest.raises(RunDamaged, match="has changed since"):
        evaluate(copy, store_path) and cross_validate(store_path, copy, SETTINGS, folds=TWO, resume=True)


def test_predictions_that_are_not_those_of_their_fold_are_refused(copy, store_path):
    for name in ("scores.json", "digests.json", "folds.json", "predictions.csv"):
        (copy / name).unlink()
    path = copy / "fold-1/predictions.csv"
    path.write_text(path.read_text().replace(",normal,0.", ",normal,0.0"))
    with pytest.raises(RunDamaged, match=r"fold-1/predictions.csv: has changed since the training"):
        cross_validate(store_path, copy, SETTINGS, folds=TWO, resume=True)


def test_a_threshold_of_a_fold_is_chosen_on_its_own_validation_subset(result):
    found = evaluate(result.run, settings=EvaluationSettings(threshold="youden", prevalence=0.05))
    expected = [choose_threshold(fold.predictions("validation"), by="youden") for fold in Run(result.run).folds()]
    assert [fold.scores.threshold for fold in found.folds.folds] == expected
    assert found.scores.threshold.value == pytest.approx(np.mean([one.value for one in expected]))
    assert "ppv_at_prevalence" in found.scores.all_scores() or "npv_at_prevalence" in found.scores.all_scores()


def test_a_threshold_for_other_scans_is_chosen_on_scans_that_no_network_of_theirs_has_learnt_from(
    result, copy, store_path, tmp_path
):
    others = make_cohort(tmp_path / "raw", n_patients=6, first_seed=5000, prefix="q").store(tmp_path / "other.zarr")
    own = pool([fold.predictions("test") for fold in Run(copy).folds()])
    found = evaluate(copy, others, EvaluationSettings(threshold="youden")).scores.threshold
    assert found == choose_threshold(own, by="youden")
    keep_threshold(copy, Threshold(0.0, "0"))
    assert evaluate(copy, others).scores.threshold == Threshold(0.0, "0")
    assert {fold.scores.threshold for fold in evaluate(copy, store_path).folds.folds} == {Threshold(0.0, "0")}


@pytest.fixture(scope="module")
def with_sites(tmp_path_factory):
    """A store whose scans are of two sites, each with both classes."""
    folder = tmp_path_factory.mktemp("sites")
    cohort = make_cohort(folder / "raw", n_patients=16)
    table = cohort.raw / "labels.csv"
    rows = list(csv.reader(table.open(newline="")))
    sites = ["site", *("A" if place < 6 else "B" for place in range(len(rows) - 2)), ""]
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([*row, site] for row, site in zip(rows, sites, strict=True))
    return cohort.store(folder / "out.zarr")


def test_leaving_one_site_out_tests_on_each_and_repeats_have_other_seeds(with_sites, tmp_path):
    folds = FoldSettings(leave_out="site", repeats=2)
    result = cross_validate(with_sites, tmp_path / "run", dataclasses.replace(SETTINGS, epochs=1), folds=folds)
    names = [f"repeat-{repeat}-fold-{fold}" for repeat in (1, 2) for fold in (1, 2)]
    assert [fold.name for fold in result.folds.folds] == names
    assert [(fold.left_out, fold.scores.n) for fold in result.folds.folds] == [("A", 6), ("B", 10)] * 2
    assert (result.scores.n, result.scores.patients) == (16, 16)
    assert any("mean of 2 networks" in note for note in result.scores.notes)
    assert len({Run(tmp_path / "run" / name).settings().seed for name in names}) == 4
    assert "repeat-1-fold-2 (B)" in "\n".join(result.lines())
    assert Scores.from_dict(json.loads((tmp_path / "run/scores.json").read_text())) == result.scores


def test_a_group_or_column_that_does_not_suit_is_named_before_anything_is_written(with_sites, store_path, tmp_path):
    for folds, match in [
        (FoldSettings(group="scanner"), "scanner: the store has no such column, but site"),
        (FoldSettings(group="site", folds=2), "class 'normal': in 2 groups that share no patient"),
        (FoldSettings(folds=9), "expected at least 9"),
    ]:
        with pytest.raises(SplitError, match=match):
            cross_validate(with_sites, tmp_path / "run", SETTINGS, folds=folds)
    assert not (tmp_path / "run").exists()


def test_the_first_repeat_divides_as_a_training_with_the_same_seed_and_the_others_do_not(store_path):
    store = open_store(store_path)
    settings = fold_settings(TINY, CrossvalRecord(FoldSettings(folds=4, repeats=2)))
    splits = [divide(store, one) for one in settings]
    assert splits[2] == divide(store, dataclasses.replace(TINY, folds=4, fold=3))
    assert splits[2] != splits[6]
    for repeat in (splits[:4], splits[4:]):
        tested = np.concatenate([split.rows("test") for split in repeat])
        assert sorted(tested) == np.flatnonzero(store.labels >= 0).tolist()
    assert len({one.seed for one in settings}) == 8


def test_a_report_shows_every_fold_and_the_command_that_trains_them_again(result, tmp_path):
    written = report(result.run, tmp_path, formats=["png"])
    assert {"folds", "roc", "calibration"} <= {path.stem for path in written.figures}
    text = written.card.read_text()
    assert "| cross-validated |" in text
    for fold in result.folds.folds:
        assert f"| {fold.name} |" in text
    (command,) = re.findall(
        r"^ctmodel crossval STORE.zarr --run NEW_RUN (.*)$", text.replace("\\\n", " "), re.MULTILINE
    )
    words = ["STORE", "--run", "RUN", *shlex.split(command)]
    typed = cli.ctmodel.commands["crossval"].make_context("crossval", words).params
    expected = SETTINGS.to_dict() | dataclasses.asdict(TWO) | {"precision": typed["precision"]}
    assert {name: typed[name] for name in expected if name in typed} == {
        n: v for n, v in expected.items() if n in typed
    }
    assert typed["precision"] in ("float32", "bfloat16")
