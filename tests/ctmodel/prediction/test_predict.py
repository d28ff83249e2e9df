"""A raw file gets the probability that its volume in the store got, whatever else is asked beside it."""

import csv
import dataclasses
import gzip
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_cohort import TINY

import cli
from ctmodel.data.batches import open_volumes
from ctmodel.errors import RunMissing
from ctmodel.prediction.inference import load_predictor
from ctmodel.prediction.predict import Prediction, describe_calls, predict, predict_each
from ctmodel.prediction.scan_files import find_scan_files
from ctmodel.prediction.table import write_table
from ctmodel.run.run_folder import Run
from ctmodel.training.train import train
from ctprep.errors import CatalogError, TargetError
from ctprep.preparation import prepare
from ctprep.store.store import open_store
from tests.conftest import chest_hu, write_scan


def saved_probabilities(run):
    lines = (run / "predictions.csv").read_text().splitlines()[1:]
    return {line.split(",")[0]: float(line.split(",")[5]) for line in lines}


def test_raw_files_get_the_probabilities_that_the_training_gave_them(finished, cohort):
    saved = saved_probabilities(finished.run)
    files = [path for path in cohort.files if "unlabelled" not in path.name]
    predictions = predict(finished.run, files)
    assert [prediction.path for prediction in predictions] == files
    for prediction in predictions:
        scan = prediction.path.relative_to(cohort.raw).as_posix().removesuffix(".nii.gz")
        assert prediction.probabilities["abnormal"] == pytest.approx(saved[scan], abs=1e-6)
        assert sum(prediction.probabilities.values()) == pytest.approx(1)
        assert prediction.predicted == max(prediction.probabilities, key=prediction.probabilities.__getitem__)


def test_raw_files_are_cropped_as_the_scans_of_the_training_were(cohort, tmp_path):
    store = open_store(cohort.store(tmp_path / "out.zarr", crop="lungs"))
    assert store.not_cropped == ()
    finished = train(store.path, tmp_path / "run", dataclasses.replace(TINY, epochs=1))
    saved = saved_probabilities(finished.run)
    files = [path for path in cohort.files if "unlabelled" not in path.name]
    for path, prediction in zip(files, predict(finished.run, files), strict=True):
        scan = path.relative_to(cohort.raw).as_posix().removesuffix(".nii.gz")
        assert prediction.probabilities["abnormal"] == pytest.approx(saved[scan], abs=1e-6)
    whole = dataclasses.replace(store.recipe, crop="none")
    assert not np.array_equal(prepare(files[0], whole).volume, prepare(files[0], store.recipe).volume)


@pytest.mark.parametrize("n", [1, 7, 8, 9])
def test_a_scan_s_probability_does_not_depend_on_its_company(finished, store_path, n):
    store, reader = open_volumes(store_path)
    predictor = load_predictor(Run(finished.run))
    together = predictor.of_rows(reader, np.arange(n))
    alone = [predictor.of_volumes(store.volume(row)[None])[0] for row in range(n)]
    np.testing.assert_array_equal(together, alone)


def test_no_rows_have_no_probabilities(finished, store_path):
    _, reader = open_volumes(store_path)
    assert load_predictor(Run(finished.run)).of_rows(reader, np.arange(0)).shape == (0, 2)


def test_a_bad_file_is_a_result_among_the_others(finished, cohort, tmp_path):
    good = cohort.files[0]
    broken, text = tmp_path / "broken.nii.gz", tmp_path / "text.nii"
    broken.write_bytes(good.read_bytes()[:-500])
    text.write_text("not a scan")
    results = predict(finished.run, [broken, good, text, tmp_path / "nowhere.nii.gz"])
    assert [result.code for result in results] == ["truncated", None, "unreadable", "vanished"]
    for result in (results[0], results[2], results[3]):
        assert result.predicted is None
        assert result.probabilities == {}
        assert result.path.name in result.reason
    assert results[1].predicted in ("normal", "abnormal")


def test_what_is_no_file_is_said_without_a_conversion(finished, tmp_path):
    (missing,) = predict(finished.run, [tmp_path / "nowhere.nii.gz"])
    assert missing.reason == "nowhere.nii.gz: does not exist"
    assert "cannot be read (File name too long)" in str(predict(finished.run, ["a" * 300])[0].reason)


def test_an_unfinished_run_predicts_nothing(tmp_path, cohort):
    with pytest.raises(RunMissing):
        predict(tmp_path, cohort.files[:1])


def test_a_compressed_and_a_plain_file_are_predicted_alike(finished, cohort, tmp_path):
    plain = tmp_path / "plain.nii"
    plain.write_bytes(gzip.decompress(cohort.files[0].read_bytes()))
    compressed, uncompressed = predict(finished.run, [cohort.files[0], plain])
    assert compressed.probabilities == uncompressed.probabilities


@pytest.fixture
def picture(tmp_path):
    """A CT that somebody scaled to eight bits."""
    return write_scan(tmp_path / "p.nii.gz", np.clip((chest_hu() + 1000) / 1400 * 255, 0, 255).astype(np.uint8))


def test_a_rejection_advises_only_options_that_the_command_has(finished, tmp_path, picture):
    slab = write_scan(tmp_path / "slab.nii.gz", chest_hu((24, 20, 3)))
    lost = write_scan(tmp_path / "lost.nii")
    content = bytearray(lost.read_bytes())
    content[252:256] = bytes(4)  # the codes of qform and sform
    lost.write_bytes(content)
    rejected = predict(finished.run, [picture, slab, lost])
    assert [one.code for one in rejected] == ["not-hu", "coverage", "geometry"]
    assert "8 bits a voxel" in rejected[0].reason
    has = {option for parameter in cli.ctmodel.commands["predict"].params for option in parameter.opts}
    for one in rejected:
        advised = set(re.findall(r"--[a-z-]+", one.reason))
        assert advised
        assert advised <= has


def test_what_is_accepted_of_one_file_is_accepted_of_no_other(finished, tmp_path, picture):
    other = tmp_path / "q.nii.gz"
    other.write_bytes(picture.read_bytes())
    accepted, rejected = predict(finished.run, [picture, other], accept={str(picture): "not-hu"})
    assert (accepted.code, rejected.code) == (None, "not-hu")
    with pytest.raises(CatalogError, match="names no scan of the files given"):
        predict(finished.run, [picture], accept={"another.nii": "not-hu"})


def test_a_file_without_orientation_is_predicted_with_the_one_that_is_stated(finished, tmp_path):
    said = write_scan(tmp_path / "said.nii")
    lost = tmp_path / "lost.nii"
    content = bytearray(said.read_bytes())
    content[252:256] = bytes(4)
    lost.write_bytes(content)
    expected, found = predict(finished.run, [said, lost], orientation="LAS")
    assert found.probabilities == expected.probabilities


def test_a_folder_is_searched_as_a_conversion_searches_it(finished, cohort, tmp_path):
    shutil.copytree(cohort.raw / "CT-1", tmp_path / "new" / "ward" / "CT-1")
    first = sorted((tmp_path / "new").rglob("*.nii.gz"))
    (tmp_path / "new" / "notes.txt").write_text("not a scan")
    shutil.copy(first[0], tmp_path / "new" / "ward" / "one_mask.nii.gz")
    (tmp_path / "new" / "away.nii.gz").symlink_to(cohort.files[0])
    found = find_scan_files([cohort.files[0], tmp_path / "new"])
    assert list(found.paths) == [cohort.files[0], *first]
    assert [path for path, _ in found.rejected] == [tmp_path / "new" / "away"]
    (note,) = found.notes
    assert "left out 1 files that look like masks, such as ward/one_mask; name those that are scans" in note
    told: list[str] = []
    few = tmp_path / "few"
    few.mkdir()
    shutil.copy(first[0], few)
    (few / "gone.nii.gz").symlink_to("nothing")
    refused, predicted = predict_each(finished.run, [few], say=told.append)
    assert (refused.code, predicted.path) == ("unreadable", few / first[0].name)
    assert told == [describe_calls(Run(finished.run))]


def test_a_folder_without_a_scan_is_an_error(finished, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(CatalogError, match="holds no scans"):
        predict(finished.run, [tmp_path])


def test_the_progress_counts_every_file(finished, cohort):
    counted: list[int] = []

    class Bar:
        def __init__(self, total, _doing):
            counted.append(-total)

        def __enter__(self):
            return counted.append

        def __exit__(self, *_):
            return None

    list(predict_each(finished.run, cohort.files[:2], progress=Bar))
    assert counted == [-2, 1, 1]


def test_a_table_has_a_row_for_every_file(tmp_path):
    good = Prediction(Path("a,b.nii"), {"no": 0.1, "yes": 0.9}, predicted="yes")
    bad = Prediction(Path("=c.nii"), {}, code="truncated", reason="c.nii: ends, early")
    out = tmp_path / "predictions.csv"
    write_table(out, [bad, good])
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["scan"] for row in rows] == ["'=c.nii", "a,b.nii"]
    assert [row["probability yes"] for row in rows] == ["", "0.9"]
    assert [row["reason"] for row in rows] == ["c.nii: ends, early", ""]
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.csv"]


def test_a_table_is_never_written_over_another(tmp_path):
    out = tmp_path / "predictions.csv"
    out.write_text("mine")
    with pytest.raises(TargetError, match="exists already and is left alone"):
        write_table(out, [])
    with pytest.raises(TargetError, match="its parent folder does not exist"):
        write_table(tmp_path / "no" / "such.csv", [])
    assert out.read_text() == "mine"
