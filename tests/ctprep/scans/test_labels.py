"""What labels mean: which are one, which cannot be told, and where they are when the column has another name."""

import pytest

from ctprep.errors import CatalogError
from ctprep.scans.catalog import find_scans
from tests.ctprep.scans.layouts import found, note, touch, write_table


def catalog_of(tmp_path, header, *labels, **options):
    touch(tmp_path / "raw", *(f"p{number}.nii.gz" for number in range(len(labels))))
    rows = [f"p{number},{label}" for number, label in enumerate(labels)]
    return find_scans(tmp_path / "raw", labels=write_table(tmp_path / "t.csv", header, *rows), **options)


def test_labels_that_are_equal_numbers_are_one_label(tmp_path):
    catalog = catalog_of(tmp_path, "scan,label", "0", "0.0", "0", "1.0", "1", "01")
    assert catalog.classes == ("0", "1")
    assert list(found(catalog).values()) == ["0", "0", "0", "1", "1", "1"]
    assert note(catalog, "labels: ") == "labels: numbers that are equal are one, as 0.0 and 0"


def test_classes_name_numbers_however_they_are_written(tmp_path):
    classes = {"well": ["0"], "ill": ["1", "2"]}
    catalog = catalog_of(tmp_path, "scan,label", "0.0", "1.0", "2.0", classes=classes)
    assert list(found(catalog).values()) == ["well", "ill", "ill"]


def test_a_number_that_is_written_in_one_way_keeps_it(tmp_path):
    assert catalog_of(tmp_path, "scan,label", "00", "01", "01").classes == ("00", "01")


def test_codes_too_long_for_a_number_are_not_one(tmp_path):
    codes = ("20200101123456781", "20200101123456782")
    assert catalog_of(tmp_path, "scan,label", *codes).classes == codes


def test_labels_that_differ_in_case_or_blanks_only_are_shown(tmp_path):
    labels = ["Normal", "normal", "NORMAL", "ill", "Ill", "ill "]
    with pytest.raises(CatalogError, match=r"'Ill', 'ill'; 'NORMAL', 'Normal', 'normal'.*--classes 'ill=Ill,ill'"):
        catalog_of(tmp_path, "scan,label", *labels)
    with pytest.raises(CatalogError, match=r"'CT 1', 'CT-1'"):
        catalog_of(tmp_path, "scan,label", "CT 1", "CT-1", "CT-0")
    joined = {"normal": ["Normal", "normal", "NORMAL"], "ill": ["ill", "Ill"]}
    assert list(found(catalog_of(tmp_path, "scan,label", *labels, classes=joined)).values())[3:] == ["ill"] * 3


def test_classes_that_forget_a_spelling_are_refused(tmp_path):
    with pytest.raises(CatalogError, match=r"'Ill', 'ill'"):
        catalog_of(tmp_path, "scan,label", "ill", "Ill", "well", classes={"well": ["well"], "ill": ["ill"]})


def test_folders_that_differ_in_case_only_are_shown(tmp_path):
    touch(tmp_path, "Normal/1.nii", "normal/2.nii", "ill/3.nii")
    with pytest.raises(CatalogError, match=r"'Normal', 'normal'"):
        find_scans(tmp_path)


@pytest.mark.parametrize("column", ["target", "class", "Diagnosis", "group", "severe"])
def test_a_missing_label_column_names_those_that_could_be_meant(tmp_path, column):
    message = f"has no column 'label', only scan, {column}; {column} could be meant: .* --label-column {column}"
    with pytest.raises(CatalogError, match=message):
        catalog_of(tmp_path, f"scan,{column}", "0", "0", "1")
    assert catalog_of(tmp_path, f"scan,{column}", "0", "0", "1", label_column=column).classes == ("0", "1")


def test_no_label_is_what_is_asked_for_with_none(tmp_path):
    catalog = catalog_of(tmp_path, "scan,age", "50", "60", label_column="none")
    assert found(catalog) == {"p0": None, "p1": None}
    assert "neither a table nor a folder names one" in note(catalog, "classes: no scan has a label")


def test_a_label_column_that_is_not_there_lists_those_that_are(tmp_path):
    with pytest.raises(CatalogError, match=r"has no column 'grade', only scan, label; .* --label-column"):
        catalog_of(tmp_path, "scan,label", "0", "1", label_column="grade")


def test_a_column_beside_folders_that_are_classes_is_pointed_at(tmp_path):
    touch(tmp_path / "raw", "a/1.nii", "b/2.nii")
    table = write_table(tmp_path / "t.csv", "scan,diagnosis", "a/1,x", "b/2,y")
    catalog = find_scans(tmp_path / "raw", labels=table)
    assert found(catalog) == {"a/1": "a", "b/2": "b"}
    assert "--label-column diagnosis" in note(catalog, "classes: the folders name them; ")


def test_one_column_for_each_class_is_asked_about_and_taken_by_name(tmp_path):
    cells = ["1,0", "1.0,0.0", "0,1", "0,0"]
    with pytest.raises(CatalogError, match=r"normal, ill hold 1 and 0.*--classes normal=normal --classes ill=ill"):
        catalog_of(tmp_path, "scan,normal,ill", *cells)
    classes = {"normal": ["normal"], "ill": ["ill"]}
    catalog = catalog_of(tmp_path, "scan,normal,ill", *cells, classes=classes)
    assert list(found(catalog).values()) == ["normal", "normal", "ill", None]
    assert note(catalog, "labels: ").startswith("labels: t.csv has one column for each (normal, ill)")
    assert note(catalog, "classes: ") == "classes: 1 of 4 scans have no label"


@pytest.mark.parametrize(("cells", "message"), [("1,1", "both 1 for p0"), ("1,maybe", "holds 'maybe' for p0")])
def test_flags_that_say_two_things_or_none_are_refused(tmp_path, cells, message):
    classes = {"normal": ["normal"], "ill": ["ill"]}
    with pytest.raises(CatalogError, match=message):
        catalog_of(tmp_path, "scan,normal,ill", cells, "1,0", "0,1", classes=classes)


def test_more_classes_than_a_table_of_labels_has_get_a_note(tmp_path):
    catalog = catalog_of(tmp_path, "scan,label", *map(str, range(21)))
    assert note(catalog, "classes: ").startswith("classes: there are 21 for 21 scans")


def test_labels_without_a_value_get_a_note_with_the_cause(tmp_path):
    catalog = catalog_of(tmp_path, "scan,label", "", "NULL", "n/a")
    assert note(catalog, "classes: ") == (
        "classes: no scan has a label, because t.csv has none for them; no network can be trained on them"
    )


def test_a_single_class_gets_a_note(tmp_path):
    touch(tmp_path, "ill/1.nii", "ill/2.nii")
    assert "all labelled scans are ill" in note(find_scans(tmp_path), "classes: all")


def test_scans_in_no_row_are_counted(tmp_path):
    touch(tmp_path / "raw", "9.nii")
    catalog = catalog_of(tmp_path, "scan,label", "a", "b")
    assert note(catalog, "scans: ") == "scans: 1 of 3 are in no row of t.csv, such as 9: they have no label"


def test_folders_as_classes_are_said(tmp_path):
    touch(tmp_path, "ill/1.nii", "well/2.nii")
    assert note(find_scans(tmp_path), "classes: ") == "classes: the first folders name them"


def test_a_table_that_lies_in_the_raw_folder_and_is_not_read_is_said(tmp_path):
    touch(tmp_path, "ill/1.nii", "well/2.nii", "labels.csv")
    assert "labels.csv in" in note(find_scans(tmp_path), "labels: ")


def test_numbers_with_a_decimal_comma_are_numbers(tmp_path):
    touch(tmp_path / "raw", *(f"p{n}.nii" for n in range(4)))
    table = write_table(tmp_path / "t.csv", "scan;label", "p0;0,0", "p1;0", "p2;1,00", "p3;1")
    assert find_scans(tmp_path / "raw", labels=table).classes == ("0", "1")


@pytest.mark.parametrize("second", ["normal", "non-covid", "healthy controls"])
def test_a_positive_class_that_is_called_negative_is_pointed_at(tmp_path, second):
    touch(tmp_path, *(f"{c}/{n}.nii" for c in ("covid", second) for n in range(2)))
    said = note(find_scans(tmp_path), f"{second} is the positive class, because it is the last in order")
    assert said.endswith(f"--classes {second}={second} --classes covid=covid")


def test_as_many_folders_as_patients_have_get_a_note(tmp_path):
    touch(tmp_path, *(f"P{n:03}/{k}.nii" for n in range(6) for k in range(2)))
    assert note(find_scans(tmp_path), "classes: there are 6 for 12 scans; if they are none, name the classes")
