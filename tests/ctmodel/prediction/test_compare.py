"""Runs are compared on the scans that all of them tested, and with the baselines that learnt from the same scans."""

import csv
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_cohort import TINY

from ctmodel.errors import RunDamaged, RunMismatch, RunMissing, ScoreError
from ctmodel.prediction.compare import compare_runs
from ctmodel.run.files import read_json, sha256_of, write_json
from ctmodel.run.predictions import read_baseline_predictions, read_predictions
from ctmodel.scoring import comparison
from ctmodel.scoring.folds import OF_THESE_NETWORKS
from ctmodel.settings import FoldSettings
from ctmodel.training.crossval import cross_validate

OLDER = Path(__file__).parents[2] / "data/version_0.1"


@pytest.fixture
def runs(finished, store_path, tmp_path):
    """Two copies of a run that find the store; the second is unsure of every scan, and wrong of some."""
    copies = []
    for name in ("one", "two"):
        run = shutil.copytree(finished.run, tmp_path / name)
        where = {"path": os.path.relpath(store_path, run)}
        write_json(run / "store.json", read_json(run / "store.json") | where)
        digest = {"store.json": sha256_of(run / "store.json")}
        write_json(run / "digests.json", read_json(run / "digests.json") | digest)
        copies.append(run)
    change(copies[1], unsure)
    return copies


def unsure(row, place):
    positive = 0.5 + 0.02 * (place % 5 - 2)
    predicted = "abnormal" if positive >= 0.5 else "normal"
    return row | {"probability normal": 1 - positive, "probability abnormal": positive, "predicted": predicted}


def change(run, edit, name="predictions.csv"):
    """Edit each row of a table of a run."""
    with (run / name).open(newline="") as file:
        table = list(csv.DictReader(file))
    with (run / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(edit(row, place) for place, row in enumerate(table))


def by_score(found):
    return {one.score: one for one in found}


def test_runs_differ_as_their_predictions_of_the_tested_scans_do(runs, finished):
    found = compare_runs(*runs)
    tested = [read_predictions(run).tested() for run in runs]
    assert (found.n, found.patients, found.more) == (finished.scores.n, finished.scores.patients, (0, 0))
    (between,) = found.between.values()
    assert between == comparison.compare(tested[1], tested[0])
    of_run = {name: one.value for name, one in finished.scores.scores.items()}
    assert {name: one.other for name, one in by_score(between).items()} == pytest.approx(
        {name: of_run[name] for name in by_score(between)}
    )


def test_every_run_is_compared_with_its_baselines(runs, finished):
    found = compare_runs(*runs)
    scored = {one.name: one.test for one in finished.baselines.baselines if one.test}
    assert set(found.baselines) == {(str(run), name) for run in runs for name in scored}
    for (_, name), differences in found.baselines.items():
        ours = by_score(differences)
        assert ours["log_loss"].other == pytest.approx(scored[name].scores["log_loss"].value)
        assert ours["sensitivity"].other == pytest.approx(scored[name].scores["sensitivity"].value)
    p = [by_score(differences)["auroc"].p for differences in found.baselines.values()]
    adjusted = [by_score(differences)["auroc"].p_adjusted for differences in found.baselines.values()]
    assert adjusted == comparison.holm(p)


def test_baselines_that_a_run_has_not_kept_are_trained_again_and_are_the_same(runs):
    kept, said = compare_runs(*runs), []
    for run in runs:
        (run / "baseline_predictions.csv").unlink()
    anew = compare_runs(*runs, say=said.append)
    assert anew.baselines.keys() == kept.baselines.keys()
    for pair, differences in anew.baselines.items():
        assert [one.other for one in differences] == pytest.approx([one.other for one in kept.baselines[pair]])
    assert len(said) == 2


def test_a_run_without_baselines_and_without_its_store_is_compared_with_the_other_run(runs, tmp_path):
    (runs[1] / "baseline_predictions.csv").unlink()
    moved = shutil.copytree(runs[1], tmp_path / "elsewhere" / "two")
    found = compare_runs(runs[0], moved)
    assert {run for run, _ in found.baselines} == {str(runs[0])}
    assert f"{moved} is not compared with baselines" in found.notes[0]


def test_runs_of_version_0_1_are_compared(tmp_path):
    home = shutil.copytree(OLDER, tmp_path / "home")
    shutil.copytree(home / "run", home / "same")
    found = compare_runs(home / "run", home / "same")
    assert found.n == 4
    assert {name for _, name in found.baselines} >= {"prevalence", "metadata"}
    assert all(one.value == 0 for (of_pair,) in [found.between.values()] for one in of_pair)


def test_only_scans_that_every_run_tested_count(runs, finished):
    patients = sorted({row.patient for row in finished_split(finished) if row.subset == "train"})

    change(runs[1], lambda row, _: row | {"subset": "test"} if row["patient"] in patients[:2] else row)
    (runs[1] / "baseline_predictions.csv").unlink()
    found = compare_runs(*runs)
    assert (found.n, found.more) == (finished.scores.n, (0, 4))
    assert "(tested 4 scans more)" in "".join(found.lines())


def finished_split(finished):
    from ctmodel.run.run_folder import Run

    return Run(finished.run).split()


@pytest.fixture(scope="module")
def folds(store_path, tmp_path_factory):
    """Two cross-validations, one with repeats."""
    home, settings = tmp_path_factory.mktemp("folds"), replace(TINY, epochs=1)
    each = (FoldSettings(folds=2), FoldSettings(folds=2, repeats=2))
    return [cross_validate(store_path, home / str(of.repeats), settings, folds=of) for of in each]


def test_a_cross_validation_is_compared_on_every_scan_of_another(folds):
    found = compare_runs(*(one.run for one in folds))
    assert (found.n, found.more) == (folds[0].scores.n, (0, 0))
    (between,) = found.between.values()
    for name, one in by_score(between).items():
        assert (one.other, one.one) == pytest.approx([of.scores.all_scores()[name].value for of in folds]), name
    scored = [one for one in folds[1].baselines.baselines if one.test]
    assert scored
    for one in scored:
        ours = by_score(found.baselines[str(folds[1].run), one.name])
        assert ours["accuracy"].other == pytest.approx(one.test.scores["accuracy"].value)
        assert ours["log_loss"].other == pytest.approx(one.test.scores["log_loss"].value)


def test_a_cross_validation_says_what_its_intervals_do_not_cover(folds):
    assert OF_THESE_NETWORKS in folds[0].scores.notes


def test_a_cross_validation_is_compared_with_a_run_on_the_scans_of_its_test_subset(runs, folds):
    found = compare_runs(runs[0], folds[0].run)
    n = len(read_predictions(runs[0]).tested().called)
    assert (found.n, found.more) == (n, (0, folds[0].scores.n - n))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [("label", "normal", "the label of .* is normal, in .*one abnormal"), ("patient", "x", "the patient of .* is x")],
)
def test_scans_that_mean_something_else_are_refused(runs, column, value, message):
    change(runs[1], lambda row, _: row | {column: value})
    with pytest.raises(RunMismatch, match=message):
        compare_runs(*runs)


def test_other_files_of_the_same_names_are_refused(runs):
    change(runs[1], lambda row, _: row | {"source_sha256": "0" * 64}, "split.csv")
    digest = {"split.csv": sha256_of(runs[1] / "split.csv")}
    write_json(runs[1] / "digests.json", read_json(runs[1] / "digests.json") | digest)
    with pytest.raises(RunMismatch, match=r"the file of .* is 0000000000000000, in "):
        compare_runs(*runs)


def test_other_classes_are_refused(runs):
    text = (runs[1] / "predictions.csv").read_text()
    (runs[1] / "predictions.csv").write_text(text.replace("abnormal", "ill"))
    with pytest.raises(RunMismatch, match=r"has the classes normal, ill, .*one has normal, abnormal"):
        compare_runs(*runs)


def test_runs_that_tested_no_scan_in_common_are_refused(runs):
    swapped = {"train": "test", "test": "train", "validation": "validation"}
    change(runs[1], lambda row, _: row | {"subset": swapped[row["subset"]]})
    with pytest.raises(ScoreError, match=r"no scan is in the test subset of every run; train both"):
        compare_runs(*runs)


def test_one_run_is_too_few_and_twice_the_same_too(runs):
    with pytest.raises(ScoreError, match=r"1 run, expected two or more"):
        compare_runs(runs[0])
    with pytest.raises(RunMismatch, match="named twice"):
        compare_runs(runs[0], runs[0] / ".." / "one")


def test_what_is_no_finished_run_is_refused(runs, tmp_path):
    with pytest.raises(RunMissing, match="is not a run"):
        compare_runs(runs[0], tmp_path)
    (runs[1] / "scores.json").unlink()
    with pytest.raises(RunMissing, match="--resume"):
        compare_runs(*runs)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"probability normal": "nan"}, "is not between 0 and 1"),
        ({"probability normal": "much"}, "is not between 0 and 1"),
        ({"predicted": "maybe"}, "has the class 'maybe'"),
        ({"scan": "same"}, "has a scan twice"),
    ],
)
def test_a_damaged_table_is_an_error_that_names_it(runs, edit, message):
    change(runs[1], lambda row, _: row | edit)
    with pytest.raises(RunDamaged, match=rf"predictions\.csv: .*{message}"):
        compare_runs(*runs)


def test_baselines_of_other_scans_are_damage(runs):
    change(runs[1], lambda row, place: row | {"scan": str(place)}, "baseline_predictions.csv")
    with pytest.raises(RunDamaged, match="has other scans than the test subset"):
        read_baseline_predictions(read_predictions(runs[1]))


def test_the_table_has_a_line_for_each_score_and_fits_a_terminal(runs):
    found = compare_runs(*runs)
    lines = found.lines()
    tables = [line for line in lines if " = " in line]
    (between,) = found.between.values()
    assert len(tables) == len(between) + 2 * len(found.baselines)
    assert max(map(len, tables)) <= 100
    assert "run 2 - run 1" in lines
    assert "<table>" in found._repr_html_()
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["between"][0]["other"] == str(runs[0])


def test_a_note_says_whether_chance_explains_the_difference(tmp_path):
    """Forty scans that one run ranks perfectly, and another at random."""
    labels, random = np.arange(40) % 2, np.random.default_rng(0)
    chances = {"good": 0.1 + 0.8 * labels, "same": 0.15 + 0.7 * labels, "bad": random.random(40)}
    for name, chance in chances.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "scores.json").write_text("{}")
        rows = ["scan,patient,subset,label,probability a,probability b,predicted"]
        for row, (label, one) in enumerate(zip(labels, chance, strict=True)):
            rows.append(f"s{row},p{row},test,{'ab'[label]},{1 - one},{one},{'ab'[int(one >= 0.5)]}")
        (tmp_path / name / "predictions.csv").write_text("\n".join(rows) + "\n")
    found = compare_runs(*(tmp_path / name for name in chances))
    same, bad = found.notes[-2:]
    assert "differ by 0.000, which chance explains" in same
    assert bad == "The AUROC of run 1 is higher, by more than chance explains."
