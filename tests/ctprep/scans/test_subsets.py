"""A split that the data come with: kept, said, and refused where it divides a patient."""

import pytest

from ctprep.errors import CatalogError
from ctprep.scans.catalog import find_scans
from tests.ctprep.scans.layouts import note, splits, touch, write_table

NAMES = ["a.nii", "b.nii", "c.nii", "d.nii"]


def catalog_of(tmp_path, header, *cells, **options):
    raw = touch(tmp_path / "raw", *NAMES)
    rows = [f"{name},{n % 2},{cell}" for n, (name, cell) in enumerate(zip(NAMES, cells, strict=True))]
    return find_scans(raw, labels=write_table(tmp_path / "t.csv", f"scan,label,{header}", *rows), **options)


@pytest.mark.parametrize(
    "cells",
    [("train", "val", "test", "train"), ("Training", "Validation", "TEST", "training"), ("tr", "dev", "ts", "train")],
)
def test_a_split_column_is_kept_and_said(tmp_path, cells):
    catalog = catalog_of(tmp_path, "split", *cells)
    assert list(splits(catalog).values()) == ["train", "validation", "test", "train"]
    assert note(catalog, "split: the column").endswith("--split-column none leaves it out")
    assert note(catalog, "split: 2") == "split: 2 train, 1 validation, 1 test; a training uses it"
    assert catalog.scans[0].meta == ()


def test_another_column_is_pointed_at_and_taken_by_name(tmp_path):
    silent = catalog_of(tmp_path, "subset", "train", "train", "test", "test")
    assert set(splits(silent).values()) == {""}
    assert "the column subset of t.csv looks like one and is not taken; --split-column subset" in note(
        silent, "split: "
    )
    named = catalog_of(tmp_path, "subset", "train", "train", "test", "test", split_column="Subset")
    assert list(splits(named).values()) == ["train", "train", "test", "test"]


def test_a_split_is_left_out_when_that_is_asked_for(tmp_path):
    catalog = catalog_of(tmp_path, "split", "train", "train", "test", "test", split_column="none")
    assert set(splits(catalog).values()) == {""}
    assert dict(catalog.scans[0].meta) == {"split": "train"}


def test_a_split_of_other_words_is_asked_about(tmp_path):
    with pytest.raises(CatalogError, match=r"'split' holds '0', '1', expected train.*--split-column none"):
        catalog_of(tmp_path, "split", "0", "1", "0", "1")


def test_a_patient_in_two_subsets_is_named(tmp_path):
    with pytest.raises(CatalogError, match=r"has 1 patients in two subsets \(p1 in train and test\)"):
        catalog_of(tmp_path, "split,patient", "train,p1", "train,p2", "test,p1", "test,p3")


def test_scans_in_no_subset_are_counted(tmp_path):
    catalog = catalog_of(tmp_path, "split", "train", "train", "test", "")
    assert note(catalog, "split: 1 ") == "split: 1 scans are in no subset"
