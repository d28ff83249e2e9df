"""Stores of scans cropped to their lungs: the same bytes on every way, and what is said of those left whole."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
import xarray
import zarr

import ctprep
from ctprep.scans.scan import NOT_CROPPED
from ctprep.store.verify import verify
from ctprep.views.preview import plan_conversion
from ctprep.views.summary import summarize
from ctprep.volume.recipe import Recipe
from tests.conftest import reseal, write_scan
from tests.ctprep.test_cropping import STRAIGHT, chest

RECIPE = Recipe(shape=(12, 10, 8), crop="lungs")
WITHOUT_LUNGS = "CT-1/study_0003"


@pytest.fixture
def raw(tmp_path):
    """Return a folder of six chests, one of which has a single lung."""
    for number in range(6):
        folder = "CT-0" if number < 3 else "CT-1"
        hu = chest(lungs=1 if number == 3 else 2, seed=number)
        write_scan(tmp_path / "raw" / folder / f"study_{number:04}.nii.gz", hu, affine=STRAIGHT)
    return tmp_path / "raw"


def convert(raw, out, **how):
    return ctprep.convert(raw, out, recipe=RECIPE, **{"scheduler": "synchronous"} | how)


@pytest.mark.parametrize(("scheduler", "workers"), [("threads", 1), ("threads", 3), ("processes", 2)])
def test_every_scheduler_crops_to_the_same_bytes(raw, tmp_path, scheduler, workers):
    done = convert(raw, tmp_path / "out.zarr", scheduler=scheduler, workers=workers)
    assert done.store.digest() == convert(raw, tmp_path / "plain.zarr").store.digest()


KILLED_CONVERSION = """
import json, os, signal, sys
import ctprep, ctprep.conversion.convert
from ctprep.volume.recipe import Recipe
module = sys.modules["ctprep.conversion.convert"]
convert_scan, done = module.convert_scan, []
def killing(task):
    result = convert_scan(task)
    done.append(task)
    if len(done) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
module.convert_scan = killing
recipe = Recipe.from_dict(json.loads(sys.argv[3]))
ctprep.convert(sys.argv[1], sys.argv[2], recipe=recipe, scheduler="synchronous")
"""


def test_an_interrupted_conversion_resumes_to_the_same_bytes_and_plan_knows_what_is_whole(raw, tmp_path):
    out = tmp_path / "out.zarr"
    command = [sys.executable, "-c", KILLED_CONVERSION, raw, out, json.dumps(RECIPE.to_dict())]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert plan_conversion(raw, out, recipe=RECIPE).not_cropped == (WITHOUT_LUNGS,)
    done = convert(raw, out)
    assert done.reused == 4
    assert done.store.digest() == convert(raw, tmp_path / "plain.zarr").store.digest()


def test_a_scan_that_is_stored_whole_is_said_everywhere(raw, tmp_path):
    out = tmp_path / "out.zarr"
    note = f"note: 1 scan is stored whole, because two lungs were not found in it: {WITHOUT_LUNGS}"
    assert note not in plan_conversion(raw, out, recipe=RECIPE).lines()  # nobody knows yet
    done = convert(raw, out)
    assert done.store.not_cropped == (WITHOUT_LUNGS,)
    assert note in done.lines()
    assert done.to_dict()["not_cropped"] == [WITHOUT_LUNGS]
    assert note in plan_conversion(raw, out, recipe=RECIPE).lines()
    assert summarize(done.store)["not_cropped"] == 1
    whole = [record.crop_box == NOT_CROPPED for record in done.store.records]
    assert whole == [scan == WITHOUT_LUNGS for scan in done.store.scans]
    assert [min(record.lung_ml) < 300 for record in done.store.records] == whole


def test_nothing_is_said_of_crops_where_none_were_asked_for(raw, tmp_path):
    done = ctprep.convert(raw, tmp_path / "out.zarr", recipe=Recipe(shape=(12, 10, 8)))
    assert "not_cropped" not in done.to_dict()
    assert "not_cropped" not in summarize(done.store)
    assert not [line for line in done.lines() if "whole" in line or "lung" in line]
    assert not (done.store.path / "crop_box").exists()


def test_a_cropped_store_is_what_its_sources_give(raw, tmp_path):
    store = convert(raw, tmp_path / "out.zarr").store
    verified = verify(store.path, raw=raw, sample=None)
    assert (verified.from_raw, verified.findings) == (6, ())


@pytest.mark.parametrize("box", [[[0, 0, 0], [48, 40, 24]], [[5, 5, 5], [5, 9, 9]], [[0, 0, 0], [48, 40, 25]]])
def test_a_box_that_the_affine_does_not_follow_is_found(raw, tmp_path, box):
    path = convert(raw, tmp_path / "out.zarr").store.path
    boxes = zarr.open_group(path, mode="r+")["crop_box"]
    boxes[...] = np.concatenate([[box], boxes[1:]])
    reseal(path)
    (finding,) = verify(path).findings
    assert finding.where == "CT-0/study_0000"
    assert "its affine does not follow" in finding.what


def test_the_boxes_are_a_table_to_other_programs(raw, tmp_path):
    store = convert(raw, tmp_path / "out.zarr").store
    dataset = xarray.open_zarr(store.path, consolidated=False)
    assert dataset["crop_box"].dims == ("scan", "bound", "axis")
    assert dataset["lung_ml"].dims == ("scan", "side")
    assert np.array_equal(dataset["crop_box"], store.records.column("crop_box"))
