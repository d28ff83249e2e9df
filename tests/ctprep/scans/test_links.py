"""Links: refused where they lead out of the raw folder, followed where that is asked for."""

import os

import pytest

from ctprep.errors import CatalogError
from ctprep.scans.catalog import find_scans
from tests.ctprep.scans.layouts import found, touch


@pytest.fixture
def linked(tmp_path):
    """Return a raw folder of a link to a folder and of links to files, all elsewhere."""
    touch(tmp_path / "elsewhere", "well/a.nii.gz", "well/b.nii.gz", "ill/c.nii.gz", "ill/d.nii.gz")
    raw = tmp_path / "raw"
    (raw / "ill").mkdir(parents=True)
    (raw / "well").symlink_to(tmp_path / "elsewhere/well")
    for name in ("c", "d"):
        (raw / f"ill/{name}.nii.gz").symlink_to(tmp_path / f"elsewhere/ill/{name}.nii.gz")
    return raw


def test_links_out_of_the_folder_are_refused_with_the_option_that_follows_them(linked):
    with pytest.raises(CatalogError, match=r"follow it with --follow-links"):
        find_scans(linked)


def test_links_are_followed_when_that_is_asked_for(linked):
    catalog = find_scans(linked, follow_links=True)
    assert found(catalog) == {"ill/c": "ill", "ill/d": "ill", "well/a": "well", "well/b": "well"}
    assert catalog.rejected == ()


def test_a_link_to_a_folder_that_holds_it_is_not_entered(linked):
    (linked / "ill/again").symlink_to(linked)
    (linked / "ill/self").symlink_to("self")
    catalog = find_scans(linked, follow_links=True)
    assert len(catalog.scans) == 4
    assert [(bad.scan, bad.reason.partition(": ")[2]) for bad in catalog.rejected] == [
        ("ill/again", "is a link to a folder that holds it; leave it out")
    ]


def test_a_link_of_a_scan_to_itself_is_named(linked):
    (linked / "ill/self.nii").symlink_to("self.nii")
    assert [bad.reason for bad in find_scans(linked, follow_links=True).rejected] == [
        "self.nii: is a link to nothing; mend it or leave it out"
    ]


def test_two_links_may_lead_to_one_folder(linked):
    (linked / "copy").symlink_to(linked / "well")
    assert len(find_scans(linked, follow_links=True).scans) == 6


def annexed(raw, name, *, is_here):
    """Make a file as git-annex and DataLad do."""
    key = raw / ".git/annex/objects" / name.replace("/", "_")
    if is_here:
        touch(key.parent, key.name)
    (raw / name).parent.mkdir(parents=True, exist_ok=True)
    (raw / name).symlink_to(os.path.relpath(key, (raw / name).parent))


def test_a_data_set_of_git_annex_is_read_and_what_is_not_here_is_named(tmp_path):
    annexed(tmp_path, "ill/1.nii.gz", is_here=True)
    annexed(tmp_path, "well/2.nii.gz", is_here=True)
    annexed(tmp_path, "well/3.nii.gz", is_here=False)
    catalog = find_scans(tmp_path)
    assert list(found(catalog)) == ["ill/1", "well/2"]
    assert "is a git-annex link without its content; get it with: git annex get" in catalog.rejected[0].reason
    inner = find_scans(tmp_path / "well", follow_links=True)
    assert list(found(inner)) == ["2"]


def test_the_table_of_a_bids_data_set_may_be_a_link_when_links_are_followed(tmp_path):
    raw = touch(tmp_path / "raw", "sub-1/a.nii")
    (tmp_path / "p.tsv").write_text("participant_id\tlabel\nsub-1\tx\n")
    (raw / "participants.tsv").symlink_to(tmp_path / "p.tsv")
    with pytest.raises(CatalogError, match=r"--follow-links"):
        find_scans(raw)
    assert found(find_scans(raw, follow_links=True)) == {"sub-1/a": "x"}
