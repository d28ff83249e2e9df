"""What the user decides of single scans is said of scans that are there, and of nothing else."""

import pytest

from ctprep.errors import ACCEPTABLE_CODES, REJECTION_CODES, CatalogError
from ctprep.scans.catalog import find_scans


@pytest.fixture
def raw(tmp_path):
    for name in ("a/1.nii.gz", "a/2.mha", "b/3=x.nii"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_what_is_accepted_of_one_scan_is_accepted_of_no_other(raw):
    scans = find_scans(raw, accept={"a/1": ["not-hu", "coverage", "not-hu"], "b/3=x.nii": "non-finite"}).scans
    assert [scan.accept for scan in scans] == [("coverage", "not-hu"), (), ("non-finite",)]


def test_an_orientation_is_stated_of_all_scans_or_of_one(raw):
    assert {scan.orientation for scan in find_scans(raw, orientation="lps").scans} == {"LPS"}
    scans = find_scans(raw, orientation={"": "LPS", "a/2": "RAS"}).scans
    assert [scan.orientation for scan in scans] == ["LPS", "RAS", "LPS"]
    assert {scan.orientation for scan in find_scans(raw, orientation={"a/2": "RAS"}).scans} == {"RAS", ""}


@pytest.mark.parametrize("code", sorted({*REJECTION_CODES, "unknown", ""} - {*ACCEPTABLE_CODES}))
def test_what_cannot_be_accepted_is_an_error_that_lists_what_can(raw, code):
    with pytest.raises(CatalogError, match="only coverage, non-finite, not-hu can"):
        find_scans(raw, accept={"a/1": code})


def test_an_id_that_names_no_scan_is_an_error_that_shows_the_like(raw):
    for choice in ({"accept": {"a/11": "not-hu"}}, {"orientation": {"a/11": "LPS"}}):
        with pytest.raises(CatalogError, match=r"'a/11' names no scan of .*did you mean a/1"):
            find_scans(raw, **choice)


@pytest.mark.parametrize("letters", ["LPX", "LLS", "LP", "LPSS", ""])
def test_letters_that_are_no_orientation_are_an_error(raw, letters):
    with pytest.raises(CatalogError, match="as in LPS"):
        find_scans(raw, orientation={"a/1": letters})
