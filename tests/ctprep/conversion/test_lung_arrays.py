"""The array `lung` of a store: the same bytes on every way, checked as the volumes are, and of the lungs."""

import dataclasses
import json
import signal
import subprocess
import sys

import numpy as np
import pytest
import xarray
import zarr

import ctprep
from ctprep.errors import StoreError
from ctprep.preparation import prepare
from ctprep.store.chunk import LUNG, chunk_path, encode_chunk
from ctprep.store.verify import verify
from ctprep.views.summary import summarize
from ctprep.volume.recipe import Recipe
from tests.conftest import write_scan
from tests.ctprep.conversion.test_crops import KILLED_CONVERSION
from tests.ctprep.test_cropping import STRAIGHT, chest, lungs_of

WHOLE, CROPPED = (Recipe(shape=(24, 20, 12), lung=True, crop=crop) for crop in ("none", "lungs"))
BOTH = pytest.mark.parametrize("recipe", [WHOLE, CROPPED], ids=["whole", "cropped"])
WITHOUT_LUNGS = "CT-1/study_0003"


@pytest.fixture
def raw(tmp_path):
    """Return a folder of four chests, one of them without lungs."""
    for number in range(4):
        hu = chest(lungs=0 if number == 3 else 2, seed=number)
        write_scan(tmp_path / "raw" / f"CT-{number // 2}" / f"study_{number:04}.nii.gz", hu, affine=STRAIGHT)
    return tmp_path / "raw"


def convert(raw, out, recipe=WHOLE, **how):
    return ctprep.convert(raw, out, recipe=recipe, **{"scheduler": "synchronous"} | how).store


def found(path, **options):
    return [(finding.where, finding.what) for finding in verify(path, **options).findings]


@BOTH
def test_the_share_is_that_of_the_lungs_in_each_stored_voxel(tmp_path, recipe):
    path = write_scan(tmp_path / "a.nii.gz", chest(), affine=np.diag([-7.0, 7.0, 10.0, 1.0]))
    prepared = prepare(path, recipe)
    box = prepared.record.crop_box
    lower, upper = np.array(box) if recipe.crop == "lungs" else (np.zeros(3), np.array([48, 40, 24]))
    truth = lungs_of(chest())[::-1]
    centres = [
        (low + (np.arange(n) + 0.5) * (high - low) / n - 0.5).round().astype(int)
        for low, high, n in zip(lower, upper, recipe.shape, strict=True)
    ]
    at_centre = truth[np.ix_(*centres)]
    share = prepared.lung / 255
    inner = np.abs(share - 0.5) > 0.4
    assert share.sum() == pytest.approx(at_centre.sum(), rel=0.05)
    assert (at_centre[inner] == (share[inner] > 0.5)).mean() > 0.97
    assert inner.mean() > 0.7


@BOTH
def test_the_share_of_lung_changes_no_bit_of_the_volume(tmp_path, recipe):
    path = write_scan(tmp_path / "a.nii.gz", chest(), affine=STRAIGHT)
    without = prepare(path, dataclasses.replace(recipe, lung=False))
    prepared = prepare(path, recipe)
    assert without.lung is None
    assert np.array_equal(prepared.volume, without.volume)
    assert prepared.record.affine == without.record.affine


@BOTH
@pytest.mark.parametrize(("scheduler", "workers"), [("threads", 3), ("processes", 2)])
def test_every_scheduler_gives_the_same_bytes(raw, tmp_path, scheduler, workers, recipe):
    done = convert(raw, tmp_path / "out.zarr", recipe, scheduler=scheduler, workers=workers)
    assert done.digest() == convert(raw, tmp_path / "plain.zarr", recipe).digest()


def test_an_interrupted_conversion_resumes_to_the_same_bytes(raw, tmp_path):
    for number in (4, 5):
        write_scan(raw / "CT-1" / f"study_{number:04}.nii.gz", chest(seed=number), affine=STRAIGHT)
    out = tmp_path / "out.zarr"
    command = [sys.executable, "-c", KILLED_CONVERSION, raw, out, json.dumps(CROPPED.to_dict())]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    done = ctprep.convert(raw, out, recipe=CROPPED)
    assert done.reused == 4
    assert done.store.digest() == convert(raw, tmp_path / "plain.zarr", CROPPED).digest()


def test_an_addition_and_a_removal_reuse_the_others(raw, tmp_path):
    convert(raw, tmp_path / "out.zarr")
    write_scan(raw / "CT-0" / "new.nii.gz", chest(seed=9), affine=STRAIGHT)
    (raw / "CT-0" / "study_0001.nii.gz").unlink()
    done = ctprep.convert(raw, tmp_path / "out.zarr", recipe=WHOLE)
    assert done.reused == 3
    assert done.store.digest() == convert(raw, tmp_path / "plain.zarr").digest()


@pytest.mark.parametrize("damage", ["lost", "damaged", "another's"])
def test_a_bad_chunk_is_found_refused_and_mended(raw, tmp_path, damage):
    store = convert(raw, tmp_path / "out.zarr")
    digest, chunk = store.digest(), store.path / chunk_path(1, LUNG)
    other = encode_chunk(np.zeros(WHOLE.shape, np.uint8))
    content = {"lost": None, "damaged": chunk.read_bytes()[:-3] + b"abc", "another's": other}[damage]
    chunk.unlink()
    if content is not None:
        chunk.write_bytes(content)
    (finding,) = found(store.path)
    assert finding[0] == "CT-0/study_0001"
    assert finding[1].startswith("its lung is ")
    with pytest.raises(StoreError, match="the lung of CT-0/study_0001"):
        store.lung(1)
    assert store.volume(1).any()
    assert convert(raw, store.path).digest() == digest


def test_lungs_that_the_source_does_not_give_are_found(raw, tmp_path, monkeypatch):
    store = convert(raw, tmp_path / "out.zarr")
    assert found(store.path, raw=raw, sample=None) == []
    chunk = store.path / chunk_path(2, LUNG)
    chunk.unlink()
    chunk.write_bytes(encode_chunk(np.zeros(WHOLE.shape, np.uint8)))
    stated = store.lung_checksums.copy()
    stated[2] = int.from_bytes(chunk.read_bytes()[-4:], "little")
    monkeypatch.setattr("ctprep.store.verify.open_store", lambda _: dataclasses.replace(store, lung_checksums=stated))
    assert found(store.path, raw=raw, sample=None) == [
        ("CT-1/study_0002", "its source gives another lung; convert again with --rebuild")
    ]


def test_other_programs_see_the_share_beside_the_volume(raw, tmp_path):
    store = convert(raw, tmp_path / "out.zarr")
    stored = zarr.open_group(store.path, mode="r")["lung"]
    assert (stored.dtype, stored.shape, stored.chunks) == (np.uint8, (4, 24, 20, 12), (1, 24, 20, 12))
    dataset = xarray.open_zarr(store.path, consolidated=False)
    assert dataset["lung"].dims == dataset["volume"].dims == ("scan", "x", "y", "z")
    assert np.allclose(dataset["lung"][0], store.lung(0))
    assert 0.1 < float(dataset["lung"][0].mean()) < 0.4


def test_a_scan_without_lungs_has_none_and_is_named(raw, tmp_path):
    done = ctprep.convert(raw, tmp_path / "out.zarr", recipe=WHOLE)
    assert not done.store.lung(3).any()
    assert done.store.without_lungs == (WITHOUT_LUNGS,)
    assert f"no lungs were found in 1 scan, whose lung is 0 everywhere: {WITHOUT_LUNGS}" in done.notes
    assert summarize(done.store)["without_lungs"] == 1


def test_a_store_without_the_array_says_how_to_get_it(raw, tmp_path):
    store = ctprep.convert(raw, tmp_path / "out.zarr", recipe=Recipe(shape=(8, 8, 4))).store
    with pytest.raises(StoreError, match="holds no lungs; make a store that does with: ctprep convert --lung"):
        store.lung(0)
    assert not (store.path / "lung").exists()
