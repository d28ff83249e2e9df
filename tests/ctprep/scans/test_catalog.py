import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctprep.errors import CatalogError
from ctprep.scans.catalog import find_scans


def touch(raw, *names):
    for name in names:
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        (raw / name).touch()


def found(catalog):
    return {scan.id: (catalog.classes[scan.label] if scan.label >= 0 else None) for scan in catalog.scans}


def test_folders_are_classes_and_ids_are_sorted_paths_without_suffix(tmp_path):
    touch(tmp_path, "b/2.nii", "a/deep/er/1.nii.gz", "a/0.hdr", "a/0.img", "loose.nii.gz", "a/notes.txt")
    catalog = find_scans(tmp_path)
    assert found(catalog) == {"a/0": "a", "a/deep/er/1": "a", "b/2": "b", "loose": None}
    assert [scan.id for scan in catalog.scans] == sorted(found(catalog))
    assert [scan.patient for scan in catalog.scans] == [scan.id for scan in catalog.scans]


def test_hidden_files_and_stores_are_no_scans(tmp_path):
    touch(tmp_path, "a/1.nii", "a/._1.nii", ".git/2.nii", "out.zarr/3.nii")
    assert list(found(find_scans(tmp_path))) == ["a/1"]


def test_classes_map_folders_in_the_order_given_and_leave_the_others_out(tmp_path):
    touch(tmp_path, "CT-0/1.nii", "CT-1/2.nii", "CT-2/3.nii", "other/4.nii")
    catalog = find_scans(tmp_path, classes={"normal": ["CT-0"], "abnormal": ["CT-1", "CT-2"]})
    assert catalog.classes == ("normal", "abnormal")
    assert found(catalog) == {"CT-0/1": "normal", "CT-1/2": "abnormal", "CT-2/3": "abnormal"}
    assert catalog.left_out == {"other": 1}


def test_a_label_that_no_scan_has_is_told(tmp_path):
    touch(tmp_path, "CT-0/1.nii", "CT-1/2.nii")
    catalog = find_scans(tmp_path, classes={"normal": ["CT-0"], "abnormal": ["CT-1", "CT-4"]})
    assert catalog.unused == ("CT-4",)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({"a": ["x"], "b": ["x"]}, "belongs to a and to b"),
        ({"a": ["x"], "b": ["z"]}, "is labelled z, so b is empty; there is: x, y"),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused(tmp_path, classes, message):
    touch(tmp_path, "x/1.nii", "y/2.nii")
    with pytest.raises(CatalogError, match=message):
        find_scans(tmp_path, classes=classes)


def write_table(path: Path, *rows: str, encoding: str = "utf-8") -> Path:
    path.write_text("\n".join(rows), encoding)
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_table_gives_labels_patients_and_columns(tmp_path, separator, encoding):
    touch(tmp_path, "a/1.nii.gz", "a/2.nii", "3.nii")
    rows = ["scan,label,patient,age", "a/1,ill,p1,50", "a/2.nii,well,p1,", '3,,,"7"']
    table = write_table(tmp_path / "t.csv", *(row.replace(",", separator) for row in rows), encoding=encoding)
    catalog = find_scans(tmp_path, labels=table)
    assert found(catalog) == {"a/1": "ill", "a/2": "well", "3": None}
    assert [scan.patient for scan in catalog.scans] == ["3", "p1", "p1"]
    assert [dict(scan.meta) for scan in catalog.scans] == [{"age": "7"}, {"age": "50"}, {"age": ""}]


def test_a_table_without_labels_leaves_them_to_the_folders(tmp_path):
    touch(tmp_path, "a/1.nii", "b/2.nii")
    table = write_table(tmp_path / "t.csv", "scan,patient", "a/1,p", "b/2,p")
    catalog = find_scans(tmp_path, labels=table)
    assert found(catalog) == {"a/1": "a", "b/2": "b"}
    assert {scan.patient for scan in catalog.scans} == {"p"}


def test_a_bids_table_speaks_for_every_scan_of_its_subjects(tmp_path):
    touch(tmp_path, "sub-01/ct/sub-01_ct.nii.gz", "sub-01/ct/sub-01_run-2_ct.nii.gz", "sub-02/ct/sub-02_ct.nii.gz")
    write_table(tmp_path / "participants.tsv", "participant_id\tgroup\tage", "sub-01\till\t40", "sub-02\twell\tn/a")
    catalog = find_scans(tmp_path, label_column="group")
    assert list(found(catalog).values()) == ["ill", "ill", "well"]
    assert [scan.patient for scan in catalog.scans] == ["sub-01", "sub-01", "sub-02"]
    with pytest.raises(CatalogError, match="--label-column"):
        find_scans(tmp_path)


def test_a_scan_of_the_table_without_a_file_is_rejected_by_name(tmp_path):
    touch(tmp_path, "1.nii")
    catalog = find_scans(tmp_path, labels=write_table(tmp_path / "t.csv", "scan,label", "1,a", "2,b"))
    assert [(bad.scan, bad.code) for bad in catalog.rejected] == [("2", "unreadable")]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["name,label", "1,a"], "one of them must be named scan"),
        (["scan,label", "1,a", "1.nii,b"], "names 1 twice"),
        (["scan,label", "1"], "line 2 has 1 cells"),
        (["", "scan,label", "a,1", "", '"b', 'c",1', "1"], "line 7 has 1 cells"),
        (["scan,label,age (y),age_y", "1,a,3,4"], "names a column twice"),
        (["scan,label,Age,AGE", "1,a,3,4"], "names a column twice"),
        (["scan,label," + 84 * "病", "1,a,3"], "names a column in 252 bytes, at most 250 can be"),
        ([""], "is empty"),
        ([",,", "\t"], "is empty"),
        (['scan,label\n"1,a'], "is not a table"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(tmp_path, rows, message):
    touch(tmp_path, "1.nii")
    with pytest.raises(CatalogError, match=message):
        find_scans(tmp_path, labels=write_table(tmp_path / "t.csv", *rows))


def test_a_table_in_another_encoding_or_missing_is_refused(tmp_path):
    touch(tmp_path, "1.nii")
    (tmp_path / "t.csv").write_bytes("scan,label\n1,gesünder".encode("latin-1"))
    with pytest.raises(CatalogError, match="UTF-8"):
        find_scans(tmp_path, labels=tmp_path / "t.csv")
    with pytest.raises(CatalogError, match="No such file"):
        find_scans(tmp_path, labels=tmp_path / "missing.csv")


def test_a_pattern_finds_the_patient(tmp_path):
    touch(tmp_path, "a/P07_first.nii", "a/P07_second.nii")
    assert {scan.patient for scan in find_scans(tmp_path, patient_pattern=r"(P\d+)_").scans} == {"P07"}
    with pytest.raises(CatalogError, match="is not found in a/P07_first"):
        find_scans(tmp_path, patient_pattern="Q")
    with pytest.raises(CatalogError, match="not a regular expression"):
        find_scans(tmp_path, patient_pattern="(")


def test_two_files_of_one_id_are_both_left_out(tmp_path):
    touch(tmp_path, "a/1.nii", "a/1.nii.gz", "a/1.hdr", "a/2.nii")
    catalog = find_scans(tmp_path)
    assert list(found(catalog)) == ["a/2"]
    assert [(bad.scan, bad.code) for bad in catalog.rejected] == [("a/1", "duplicate")]


def test_links_out_of_the_folder_and_unprintable_names_are_left_out(tmp_path):
    touch(tmp_path, "raw/a/1.nii", "elsewhere/2.nii", "raw/a/new\nline.nii")
    (tmp_path / "raw/a/2.nii").symlink_to(tmp_path / "elsewhere/2.nii")
    (tmp_path / "raw/a/3.nii").symlink_to("1.nii")
    catalog = find_scans(tmp_path / "raw")
    assert list(found(catalog)) == ["a/1", "a/3"]
    assert sorted(bad.scan for bad in catalog.rejected) == ["a/2", r"a/new\nline"]


def test_a_folder_that_cannot_be_listed_stops_everything(tmp_path, monkeypatch):
    """Its scans would be missing without a word, and an older store would lose them."""
    touch(tmp_path, "a/1.nii", "b/2.nii")
    scandir = os.scandir

    def denied(path):
        if str(path).endswith("b"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", denied)
    with pytest.raises(CatalogError, match=r"b: cannot be listed \(Permission denied\)"):
        find_scans(tmp_path)


def test_links_to_folders_and_to_themselves_are_left_out_by_name(tmp_path):
    touch(tmp_path, "raw/a/1.nii", "elsewhere/2.nii")
    (tmp_path / "raw/b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "raw/c").symlink_to("a")
    (tmp_path / "raw/a/loop.nii").symlink_to("loop.nii")
    (tmp_path / "raw/a/dangling.nii").symlink_to("nothing.nii")
    catalog = find_scans(tmp_path / "raw")
    assert list(found(catalog)) == ["a/1"]
    assert [bad.scan for bad in catalog.rejected] == ["a/dangling", "a/loop", "b", "c"]
    (tmp_path / "raw/a/1.nii").unlink()
    with pytest.raises(CatalogError, match=r"none of its 4 scans can be used: .* is a link"):
        find_scans(tmp_path / "raw")


def test_suffixes_may_be_written_in_capitals(tmp_path):
    touch(tmp_path, "a/1.NII.GZ", "a/2.Nii", "a/3.HDR")
    assert list(found(find_scans(tmp_path))) == ["a/1", "a/2", "a/3"]


@pytest.mark.parametrize("empty", ["", "n/a", "NaN"])
def test_a_patient_without_a_value_is_nobody_else(tmp_path, empty):
    touch(tmp_path, "1.nii", "2.nii")
    table = write_table(tmp_path / "t.csv", "scan,patient", f"1,{empty}", f"2,{empty}")
    assert [scan.patient for scan in find_scans(tmp_path, labels=table).scans] == ["1", "2"]


@pytest.mark.parametrize("empty", ["", "n/a"])
def test_a_bids_subject_without_a_patient_is_the_patient(tmp_path, empty):
    touch(tmp_path, "sub-1/a.nii", "sub-1/b.nii")
    table = write_table(tmp_path / "t.tsv", "participant_id\tlabel\tpatient", f"sub-1\tx\t{empty}")
    assert {scan.patient for scan in find_scans(tmp_path, labels=table).scans} == {"sub-1"}


def test_what_spreadsheets_leave_at_the_edges_is_ignored(tmp_path):
    touch(tmp_path, "1.nii", "2.nii")
    rows = ["Scan;LABEL;Age;;", "1;a;5;;", "2;NA;6;;", ";;;;", ";;;;"]
    catalog = find_scans(tmp_path, labels=write_table(tmp_path / "t.csv", *rows))
    assert found(catalog) == {"1": "a", "2": None}
    assert catalog.scans[0].meta == (("Age", "5"),)
    assert not catalog.rejected


@pytest.mark.parametrize("blank", ["", "  ", ",,"])
def test_blank_lines_before_the_header_are_passed_over(tmp_path, blank):
    touch(tmp_path, "1.nii")
    assert found(find_scans(tmp_path, labels=write_table(tmp_path / "t.csv", blank, "scan,label,age", "1,a,5"))) == {
        "1": "a"
    }


def test_a_table_that_names_no_scan_of_the_folder_is_refused(tmp_path):
    touch(tmp_path, "a/1.nii", "a/2.nii")
    table = write_table(tmp_path / "t.csv", "scan,label", "7,x", "8,y")
    with pytest.raises(CatalogError, match="it names them like '7', they are named like 'a/1'"):
        find_scans(tmp_path, labels=table)


def test_a_row_is_not_rejected_twice_nor_for_a_class_that_nobody_wants(tmp_path):
    touch(tmp_path, "1.nii", "2.nii", "3.nii", "3.nii.gz")
    table = write_table(tmp_path / "t.csv", "scan,label", "1,a", "2,b", "3,a", "4,a", "5,c")
    catalog = find_scans(tmp_path, labels=table, classes={"a": ["a"], "b": ["b"]})
    assert [(bad.scan, bad.code) for bad in catalog.rejected] == [("3", "duplicate"), ("4", "unreadable")]


def test_a_label_column_needs_a_table(tmp_path):
    touch(tmp_path, "a/1.nii")
    with pytest.raises(CatalogError, match="needs a table"):
        find_scans(tmp_path, label_column="group")


def test_a_folder_of_something_else_says_what_there_is(tmp_path):
    touch(tmp_path, "a/1.dcm", "a/2.dcm", "a/notes.txt")
    with pytest.raises(CatalogError, match=r"holds no scans .* there is: 2 \.dcm, 1 \.txt"):
        find_scans(tmp_path)


def test_no_folder_and_no_scans_are_errors(tmp_path):
    with pytest.raises(CatalogError, match="is not a folder"):
        find_scans(tmp_path / "missing")
    with pytest.raises(CatalogError, match="holds no scans"):
        find_scans(tmp_path)
    touch(tmp_path, "a/1.nii")
    table = write_table(tmp_path / "t.csv", "scan,label", "a/1,x")
    with pytest.raises(CatalogError, match="y is empty"):
        find_scans(tmp_path, labels=table, classes={"y": ["y"]})


names = st.text("abcXYZ019_-. é", min_size=1, max_size=8).filter(lambda name: name.strip(". ") == name)


@given(st.sets(st.tuples(names, names), min_size=1, max_size=8))
def test_every_file_becomes_one_scan_of_its_folder(tmp_path_factory, files):
    raw = tmp_path_factory.mktemp("raw")
    files = {(folder, name) for folder, name in files if not folder.endswith((".zarr", ".nii", ".hdr"))}
    one_look = {re.sub(r"[\s_-]", "", folder).casefold() for folder, _ in files}
    if files and len(one_look) == len({folder for folder, _ in files}):
        touch(raw, *(f"{folder}/{name}.nii.gz" for folder, name in files))
        expected = {f"{folder}/{name}": folder for folder, name in files}
        assert found(find_scans(raw)) == expected
