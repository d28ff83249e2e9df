"""Which row of a table speaks of which scan, however the table writes it."""

import unicodedata

import pytest

from ctprep.errors import CatalogError
from ctprep.scans.catalog import find_scans
from tests.ctprep.scans.layouts import found, note, patients, touch, write_table


def labels_of(raw, *rows, header="scan,label", **options):
    return find_scans(raw, labels=write_table(raw.parent / "t.csv", header, *rows), **options)


@pytest.mark.parametrize(
    "written",
    ["ill/a", "ill/a.nii.gz", "ill/a.NII.GZ", "ill/a.Nii", r"ill\a.nii.gz", "./ill/a.nii.gz", "raw/ill/a.nii.gz",
     "/data/of/others/raw/ill/a.nii.gz", r"D:\data\raw\ill\a.nii.gz", "a", "a.NII.gz", "ill/a.mhd"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["ill/a.nii.gz", "ill/a.NII.GZ"])
def test_a_scan_is_known_by_its_path_its_name_and_any_suffix(tmp_path, written, name):
    raw = touch(tmp_path / "raw", name, "well/b.nii.gz")
    assert found(labels_of(raw, f"{written},x", "well/b,y")) == {"ill/a": "x", "well/b": "y"}


def test_names_without_their_folders_are_counted(tmp_path):
    raw = touch(tmp_path / "raw", "studies/ill/a.nii", "studies/well/b.nii")
    catalog = labels_of(raw, "a,x", "well/b,y")
    assert found(catalog) == {"studies/ill/a": "x", "studies/well/b": "y"}
    assert note(catalog, "scans: ") == "scans: 2 rows of t.csv name a file without all of its folders"


def test_a_name_that_two_scans_have_shows_both(tmp_path):
    raw = touch(tmp_path / "raw", "ill/a.nii", "well/a.nii")
    with pytest.raises(CatalogError, match=r"names a, and 2 scans have that name .ill/a and well/a."):
        labels_of(raw, "a,x")


def test_a_path_below_the_raw_folder_goes_before_a_bare_name(tmp_path):
    raw = touch(tmp_path / "raw", "a.nii", "ill/a.nii")
    assert found(labels_of(raw, "a,x", "ill/a,y")) == {"a": "x", "ill/a": "y"}


def test_paths_of_another_machine_are_taken_where_all_begin_alike(tmp_path):
    raw = touch(tmp_path / "raw", "ill/a.nii", "well/b.nii")
    catalog = labels_of(raw, "/mnt/old/ill/a.nii,x", "/mnt/old/well/b.nii,y")
    assert found(catalog) == {"ill/a": "x", "well/b": "y"}
    assert note(catalog, "scans: ") == "scans: the paths of t.csv begin with /mnt/old, which stands for the raw folder"
    with pytest.raises(CatalogError, match=r"begin in 2 ways"):
        labels_of(raw, "/mnt/old/ill/a.nii,x", "/mnt/new/well/b.nii,y")


def test_rows_of_another_folder_are_not_taken_for_scans_of_this_one(tmp_path):
    raw = touch(tmp_path / "site_a", "ill/1.nii", "well/2.nii")
    catalog = labels_of(raw, "site_a/ill/1,x", "site_a/well/2,y", "site_b/ill/1,y")
    assert found(catalog) == {"ill/1": "x", "well/2": "y"}
    assert [bad.scan for bad in catalog.rejected] == ["site_b/ill/1"]


def test_two_rows_of_one_scan_are_refused_however_they_write_it(tmp_path):
    raw = touch(tmp_path / "raw", "ill/a.nii")
    with pytest.raises(CatalogError, match=r"names ill/a twice .as a.nii."):
        labels_of(raw, "ill/a,x", "a.nii,y")


def test_accents_match_however_they_are_composed(tmp_path):
    raw = touch(tmp_path / "raw", unicodedata.normalize("NFD", "étude.nii"), "b.nii")
    catalog = labels_of(raw, f"{unicodedata.normalize('NFC', 'étude')},x", "b,y")
    assert sorted(filter(None, found(catalog).values())) == ["x", "y"]


@pytest.mark.parametrize("column", ["scan_id", "filename", "File", "path", "image", "VolumeName", "study_id"])
def test_the_usual_names_of_the_scan_column_are_taken_and_said(tmp_path, column):
    raw = touch(tmp_path / "raw", "a.nii", "b.nii")
    catalog = labels_of(raw, "a.nii,x", "b.nii,y", header=f"{column},label")
    assert found(catalog) == {"a": "x", "b": "y"}
    assert note(catalog, "scans: ") == f"scans: the column {column} of t.csv names them; --scan-column takes another"


def test_the_scan_column_is_asked_for_where_it_cannot_be_told(tmp_path):
    raw = touch(tmp_path / "raw", "a.nii", "b.nii")
    rows = ["a,7,x", "b,8,y"]
    with pytest.raises(CatalogError, match=r"filename and study_id could both .*--scan-column"):
        labels_of(raw, *rows, header="filename,study_id,label")
    with pytest.raises(CatalogError, match=r"has the columns which, n, label; .*--scan-column"):
        labels_of(raw, *rows, header="which,n,label")
    assert set(found(labels_of(raw, *rows, header="which,n,label", scan_column="which")).values()) == {"x", "y"}


def test_the_column_that_holds_the_names_is_pointed_at(tmp_path):
    raw = touch(tmp_path / "raw", "a.nii", "b.nii")
    with pytest.raises(
        CatalogError, match=r"none of its 2 scans .* the column which names 2 of them: --scan-column which"
    ):
        labels_of(raw, "7,a.nii,x", "8,b.nii,y", header="study_id,which,label")


def test_a_row_for_each_patient_speaks_of_all_scans_of_the_patient(tmp_path):
    raw = touch(tmp_path / "raw", "P1/first.nii", "P1/second.nii", "all/P2_1.nii", "all/P2_2.nii", "P10.nii")
    catalog = labels_of(raw, "P1,x", "P2,y", "P10,x", header="patient_id,label")
    assert found(catalog) == {"P1/first": "x", "P1/second": "x", "all/P2_1": "y", "all/P2_2": "y", "P10": "x"}
    assert patients(catalog) == {"P1/first": "P1", "P1/second": "P1", "all/P2_1": "P2", "all/P2_2": "P2", "P10": "P10"}
    assert "one row for each patient_id" in note(catalog, "scans: ")


def test_what_is_excluded_is_not_missed_in_the_table(tmp_path):
    raw = touch(tmp_path / "raw", "ill/a.nii", "well/b.nii", "old/c.nii")
    catalog = labels_of(raw, "ill/a,x", "well/b,y", "old/c,x", "old/d.nii.gz,x", "ill/e,x", exclude=["old"])
    assert [bad.scan for bad in catalog.rejected] == ["ill/e"]


BIDS = [f"sub-{s:02}/ses-{v}/ct/sub-{s:02}_ses-{v}_ct.nii.gz" for s in range(2) for v in (1, 2)]
WANTED = ["well", "ill", "well", "well"]


@pytest.mark.parametrize("session", ["ses-{}", "{}", "0{}"])
def test_rows_for_each_session_label_the_scans_of_that_session(tmp_path, session):
    touch(tmp_path, *BIDS)
    rows = [f"sub-0{n // 2}\t{session.format(n % 2 + 1)}\t{label}" for n, label in enumerate(WANTED)]
    write_table(tmp_path / "participants.tsv", "participant_id\tsession_id\tlabel", *rows)
    catalog = find_scans(tmp_path)
    assert list(found(catalog).values()) == WANTED
    assert list(patients(catalog).values()) == ["sub-00", "sub-00", "sub-01", "sub-01"]


def test_tables_of_sessions_are_read_where_they_hold_the_label(tmp_path):
    touch(tmp_path, *BIDS)
    write_table(tmp_path / "participants.tsv", "participant_id\tsex", "sub-00\tf", "sub-01\tm")
    for subject in range(2):
        rows = [f"ses-{v}\t{WANTED[subject * 2 + v - 1]}" for v in (1, 2)]
        name = f"sub-{subject:02}"
        write_table(tmp_path / name / f"{name}_sessions.tsv", "session_id\tlabel", *rows)
    catalog = find_scans(tmp_path)
    assert find_scans(tmp_path, labels=tmp_path / "participants.tsv", label_column="Label").scans == catalog.scans
    assert list(found(catalog).values()) == WANTED
    assert [dict(scan.meta)["sex"] for scan in catalog.scans] == ["f", "f", "m", "m"]
    assert list(patients(catalog).values()) == ["sub-00", "sub-00", "sub-01", "sub-01"]


def test_a_table_that_is_named_and_not_there_is_an_error(tmp_path):
    touch(tmp_path, *BIDS)
    with pytest.raises(CatalogError, match=r"participants.tsv: cannot be read \(No such file"):
        find_scans(tmp_path, labels=tmp_path / "participants.tsv")


def test_tables_of_scans_are_read_where_they_hold_the_label(tmp_path):
    touch(tmp_path, *BIDS)
    write_table(tmp_path / "participants.tsv", "participant_id\tlabel", "sub-00\tx", "sub-01\tx")
    for name, label in zip(BIDS, WANTED, strict=True):
        folder, file = name.split("/ct/")
        table = tmp_path / folder / f"{folder.replace('/', '_')}_scans.tsv"
        write_table(table, "filename\tlabel", f"ct/{file}\t{label}")
    catalog = find_scans(tmp_path)
    assert list(found(catalog).values()) == WANTED
    assert list(patients(catalog).values()) == ["sub-00", "sub-00", "sub-01", "sub-01"]


def test_runs_have_rows_of_their_own(tmp_path):
    touch(tmp_path, "sub-1/sub-1_run-1_ct.nii", "sub-1/sub-1_run-02_ct.nii", "sub-2/sub-2_ct.nii")
    rows = ["sub-1\t1\tx", "sub-1\t2\ty", "sub-2\tn/a\tz"]
    write_table(tmp_path / "participants.tsv", "participant_id\trun\tlabel", *rows)
    assert found(find_scans(tmp_path)) == {
        "sub-1/sub-1_run-02_ct": "y",
        "sub-1/sub-1_run-1_ct": "x",
        "sub-2/sub-2_ct": "z",
    }


def test_subjects_may_lack_their_prefix_in_the_table(tmp_path):
    touch(tmp_path, "sub-01/a.nii", "sub-02/b.nii")
    write_table(tmp_path / "participants.tsv", "participant_id\tlabel", "01\tx", "02\ty")
    assert found(find_scans(tmp_path)) == {"sub-01/a": "x", "sub-02/b": "y"}


def test_a_subject_in_two_rows_is_told_how_to_name_sessions(tmp_path):
    touch(tmp_path, "sub-1/a.nii")
    write_table(tmp_path / "participants.tsv", "participant_id\tlabel", "sub-1\tx", "sub-1\ty")
    with pytest.raises(CatalogError, match=r"names sub-1 twice; leave one row, or add a column session_id"):
        find_scans(tmp_path)
    write_table(tmp_path / "participants.tsv", "participant_id\tsession_id\tlabel", "sub-1\t1\tx", "sub-1\t1\ty")
    with pytest.raises(CatalogError, match=r"names sub-1/1 twice; leave one row for each session"):
        find_scans(tmp_path)


def test_a_session_without_scans_is_named(tmp_path):
    touch(tmp_path, *BIDS)
    rows = ["sub-00\t1\tx", "sub-00\t2\tx", "sub-00\t3\tx", "sub-01\t1\ty", "sub-01\t2\ty"]
    write_table(tmp_path / "participants.tsv", "participant_id\tsession_id\tlabel", *rows)
    assert [bad.scan for bad in find_scans(tmp_path).rejected] == ["sub-00/3"]
