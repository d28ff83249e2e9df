"""A scan of a store is found by what a person types."""

import pytest

from ctprep.conversion.convert import convert
from ctprep.errors import ScanNotFound
from ctprep.store.find import find_row
from ctprep.volume.recipe import Recipe
from tests.conftest import write_scan


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    raw = tmp_path_factory.mktemp("find") / "raw"
    for seed, name in enumerate(["a/same", "b/same", "a/one.1", "a/deep/two", "b/three.mha"]):
        write_scan(raw / f"{name}.nii.gz", seed=seed)
    (raw / "a/bad.nii.gz").write_bytes(b"text")
    return convert(raw, raw.parent / "out.zarr", recipe=Recipe(shape=(4, 4, 4))).store


@pytest.mark.parametrize(
    ("typed", "scan"),
    [
        ("a/same", "a/same"),
        ("b/same.nii.gz", "b/same"),
        ("a/one.1", "a/one.1"),
        ("one.1.nii", "a/one.1"),
        ("two", "a/deep/two"),
        ("deep/two.nii.gz", "a/deep/two"),
        ("./a/deep/two", "a/deep/two"),
        ("b/three.mha", "b/three.mha"),
    ],
)
def test_an_id_is_found_with_a_suffix_and_by_its_end(store, typed, scan):
    assert store.scans[find_row(store, typed)] == scan


def test_an_end_that_two_ids_have_shows_both(store):
    with pytest.raises(ScanNotFound, match=r"same.nii.gz: 2 scans of out.zarr end so \(a/same, b/same\); give the id"):
        find_row(store, "same.nii.gz")


@pytest.mark.parametrize("typed", ["ame", "wo", "c/same", ""])
def test_part_of_a_name_is_no_end_of_an_id(store, typed):
    with pytest.raises(ScanNotFound, match="no such scan"):
        find_row(store, typed)


def test_a_scan_that_was_rejected_says_why(store):
    with pytest.raises(ScanNotFound, match=r"a/bad: was rejected \(unreadable\)"):
        find_row(store, "a/bad.nii.gz")
