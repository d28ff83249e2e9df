"""What version 0.1.0 wrote is read, verified, extended, evaluated and predicted with, and not changed by that."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from ctmodel.prediction.evaluate import evaluate
from ctmodel.prediction.predict import predict
from ctmodel.run.run_folder import Run
from ctmodel.training.train import train
from ctprep.conversion.convert import convert
from ctprep.scans.catalog import find_scans
from ctprep.store.store import open_store
from ctprep.store.verify import verify
from tests.conftest import write_scan

KEPT = Path(__file__).parent / "data" / "version_0.1"
DIGEST = "a4d1cc2cc8263eb5140d149e78fddaa2c9d5f334d1b295b30bd7124972228cca"
CLASSES = {"normal": ["CT-0"], "abnormal": ["CT-1"]}


@pytest.fixture
def home(tmp_path):
    """Return a copy of the folder that holds scans, their store and a run."""
    return shutil.copytree(KEPT, tmp_path / "home")


def content_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def catalog_of(raw):
    return find_scans(raw, labels=raw / "labels.csv", classes=CLASSES)


def test_a_store_is_opened_and_verified(home):
    store = open_store(home / "out.zarr")
    assert (len(store), store.classes) == (17, ("normal", "abnormal"))
    assert verify(home / "out.zarr").findings == ()
    assert store.digest() == DIGEST


def test_a_store_that_lacks_nothing_is_left_as_it_is(home):
    before = content_of(home / "out.zarr")
    recipe = open_store(home / "out.zarr").recipe
    done = convert(catalog_of(home / "raw"), home / "out.zarr", recipe=recipe, scheduler="synchronous")
    assert done.reused == 17
    assert content_of(home / "out.zarr") == before


def test_a_store_is_extended_and_keeps_the_volumes_it_has(home):
    before = open_store(home / "out.zarr")
    kept = {scan: before.volume(row) for row, scan in enumerate(before.scans)}
    write_scan(home / "raw" / "CT-1" / "new.nii.gz")
    catalog = catalog_of(home / "raw")
    done = convert(catalog, home / "out.zarr", recipe=before.recipe, scheduler="synchronous")
    assert done.reused == 17
    assert set(done.store.scans) == {*kept, "CT-1/new"}
    for scan, volume in kept.items():
        np.testing.assert_array_equal(done.store.volume(done.store.row(scan)), volume)


def test_a_run_is_evaluated_and_predicted_with(home):
    before, saved = content_of(home / "run"), Run(home / "run").scores()
    found = evaluate(home / "run")
    for name, score in saved.scores.items():
        assert found.scores.scores[name].value == pytest.approx(score.value, abs=1e-4)
    scans = [home / "raw" / f"{scan}.nii.gz" for scan in found.predictions.scans]
    chances = [one.probabilities["abnormal"] for one in predict(home / "run", scans)]
    np.testing.assert_allclose(chances, found.predictions.probabilities[:, 1], atol=1e-4)
    assert content_of(home / "run") == before


def test_a_finished_run_is_known_by_the_settings_that_it_was_begun_with(home):
    settings = Run(home / "run").settings()
    assert settings.interpolation == "linear"
    assert train(home / "out.zarr", home / "run", settings, resume=True).status == "already finished"
