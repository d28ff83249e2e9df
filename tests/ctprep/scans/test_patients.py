"""Whose scans they are: taken from usual names, said, and asked where two could be meant."""

import pytest

from ctprep.errors import CatalogError
from ctprep.scans.catalog import find_scans
from tests.ctprep.scans.layouts import note, patients, touch, write_table

SCANS = ["p0_0.nii.gz", "p0_1.nii.gz", "p1_0.nii.gz"]
OWNERS = {"p0_0": "000", "p0_1": "000", "p1_0": "001"}


def table_of(tmp_path, header, *values):
    rows = [f"{name.removesuffix('.nii.gz')},{n % 2},{value}" for n, (name, value) in enumerate(zip(SCANS, values))]
    return write_table(tmp_path / "t.csv", f"scan,label,{header}", *rows)


@pytest.mark.parametrize(
    "column",
    ["patient", "Patient", "patient_id", "PatientID", "patient-id", "Patient Id", "participant_id", "participant",
     "subject", "Subject_ID", "subjectid", "case", "CaseID"],
)  # fmt: skip
def test_the_usual_names_of_a_patient_are_taken_and_said(tmp_path, column):
    touch(tmp_path / "raw", *SCANS)
    catalog = find_scans(tmp_path / "raw", labels=table_of(tmp_path, column, "000", "000", "001"))
    assert patients(catalog) == OWNERS
    assert catalog.without_patient == 0
    assert all(scan.meta == () for scan in catalog.scans)
    if column.lower() != "patient":
        assert note(catalog, "patients: ").startswith(f"patients: the column {column} of t.csv names them")


def test_any_other_column_is_taken_when_it_is_named(tmp_path):
    touch(tmp_path / "raw", *SCANS)
    table = table_of(tmp_path, "mrn", "000", "000", "001")
    silent = find_scans(tmp_path / "raw", labels=table)
    assert silent.without_patient == 3
    assert "mrn of t.csv looks like a patient and is not taken; --patient-column" in note(silent, "patients: ")
    named = find_scans(tmp_path / "raw", labels=table, patient_column="MRN")
    assert patients(named) == OWNERS
    assert named.notes == ("1 is the positive class; if it is not, name both with --classes",)


def test_no_column_is_taken_when_none_is_asked_for(tmp_path):
    touch(tmp_path / "raw", *SCANS)
    table = table_of(tmp_path, "patient_id", "000", "000", "001")
    catalog = find_scans(tmp_path / "raw", labels=table, patient_column="none")
    assert catalog.without_patient == 3
    assert dict(catalog.scans[0].meta) == {"patient_id": "000"}


def test_two_columns_that_divide_the_scans_differently_are_asked_about(tmp_path):
    touch(tmp_path / "raw", *SCANS)
    table = table_of(tmp_path, "patient_id,case", "000,A", "000,B", "001,C")
    with pytest.raises(CatalogError, match=r"patient_id and case could each be the patient.*--patient-column"):
        find_scans(tmp_path / "raw", labels=table)
    assert patients(find_scans(tmp_path / "raw", labels=table, patient_column="patient_id")) == OWNERS


def test_two_columns_that_divide_the_scans_alike_are_one(tmp_path):
    touch(tmp_path / "raw", *SCANS)
    table = table_of(tmp_path, "patient_id,subject", "000,A", "000,A", "001,B")
    assert patients(find_scans(tmp_path / "raw", labels=table)) == OWNERS


def test_what_is_known_of_a_patient_is_no_patient(tmp_path):
    touch(tmp_path / "raw", *SCANS)
    table = table_of(tmp_path, "patient_age,PatientSex", "50,m", "50,m", "60,f")
    assert not [line for line in find_scans(tmp_path / "raw", labels=table).notes if line.startswith("patients: ")]


def test_a_missing_patient_column_lists_those_that_there_are(tmp_path):
    touch(tmp_path / "raw", *SCANS)
    table = table_of(tmp_path, "who", "000", "000", "001")
    with pytest.raises(CatalogError, match=r"has no column 'person', only scan, label, who; .* --patient-column"):
        find_scans(tmp_path / "raw", labels=table, patient_column="person")
    with pytest.raises(CatalogError, match=r"patient column: 'who' needs a table"):
        find_scans(tmp_path / "raw", patient_column="who")


def test_patients_that_are_equal_numbers_are_one_patient(tmp_path):
    touch(tmp_path / "raw", *SCANS)
    catalog = find_scans(tmp_path / "raw", labels=table_of(tmp_path, "patient", "7", "7.0", "8"))
    assert patients(catalog) == {"p0_0": "7", "p0_1": "7", "p1_0": "8"}
    assert note(catalog, "patients: ") == "patients: numbers that are equal are one, as 7.0 and 7"


@pytest.mark.parametrize("spellings", [("P1", "p1"), ("P 1", "P1"), ("P-1", "P1")])
def test_patients_that_differ_in_case_or_blanks_only_are_shown(tmp_path, spellings):
    touch(tmp_path / "raw", *SCANS)
    table = table_of(tmp_path, "patient", *spellings, "P2")
    with pytest.raises(CatalogError, match=r"names patients that differ in case.*'P1'"):
        find_scans(tmp_path / "raw", labels=table)


def test_a_pattern_goes_before_the_column_and_that_is_said(tmp_path):
    touch(tmp_path / "raw", *SCANS)
    table = table_of(tmp_path, "patient", "000", "000", "001")
    catalog = find_scans(tmp_path / "raw", labels=table, patient_pattern="^p.")
    assert set(patients(catalog).values()) == {"p0", "p1"}
    assert note(catalog, "patients: ") == "patients: --patient-pattern names them, not the column patient of t.csv"
    with pytest.raises(CatalogError, match=r"give --patient-column or the pattern"):
        find_scans(tmp_path / "raw", labels=table, patient_pattern="^p.", patient_column="patient")


def test_spellings_that_a_pattern_finds_are_compared_too(tmp_path):
    touch(tmp_path, "P1_a.nii", "p1_b.nii")
    with pytest.raises(CatalogError, match=r"patient pattern: names patients that differ in case"):
        find_scans(tmp_path, patient_pattern="^[Pp][0-9]")


def test_bids_names_name_the_patient_without_a_table(tmp_path):
    touch(tmp_path, "ill/sub-01_ct.nii.gz", "ill/sub-01_run-2_ct.nii.gz", "well/sub-02_ct.nii.gz")
    catalog = find_scans(tmp_path)
    assert list(patients(catalog).values()) == ["sub-01", "sub-01", "sub-02"]
    assert "BIDS names sub-… name them" in note(catalog, "patients: ")


def test_one_patient_with_most_of_the_scans_gets_a_note(tmp_path):
    names = [f"{n}.nii.gz" for n in range(20)]
    touch(tmp_path / "raw", *names)
    rows = [f"{n},{n % 2},{'ANON' if n < 15 else n}" for n in range(20)]
    catalog = find_scans(tmp_path / "raw", labels=write_table(tmp_path / "t.csv", "scan,label,patient", *rows))
    assert note(catalog, "patients: ") == "patients: 15 of 20 scans are of the patient ANON; is that one person?"


def test_folders_of_several_scans_are_pointed_at_as_patients(tmp_path):
    touch(tmp_path, *(f"{('ill', 'well')[n % 2]}/p{n}/{k}.nii" for n in range(30) for k in range(2)))
    silent = find_scans(tmp_path)
    assert "--patient-pattern '^(.+)/'" in note(silent, "patients: ")
    assert len(set(patients(find_scans(tmp_path, patient_pattern="^(.+)/")).values())) == 30
