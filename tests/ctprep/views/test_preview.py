"""What a plan shows of scans before they are converted: from headers, and from the store in the target's place."""

import csv
import json

import numpy as np
import pytest

from ctprep.conversion.convert import convert
from ctprep.conversion.planning.plan import Action
from ctprep.conversion.planning.table import HU_ASSUMED, NO_LABEL, NO_SUBSET, OBLIQUE
from ctprep.preparation import prepare
from ctprep.scans.catalog import find_scans
from ctprep.views.preview import plan_conversion
from ctprep.volume.recipe import Recipe
from tests.conftest import write_scan

SMALL = Recipe(shape=(8, 8, 4))
OBLIQUE_AFFINE = [[-6, 3, 0, 0], [-3, -6, 0, 0], [0, 0, 8, 0], [0, 0, 0, 1]]


@pytest.fixture
def hospital(tmp_path):
    """Return a folder of scans of several shapes, and the table that says what they are."""
    raw = tmp_path / "raw"
    write_scan(raw / "flat.nii.gz", seed=1)
    write_scan(raw / "oblique.nii.gz", seed=2, affine=np.array(OBLIQUE_AFFINE, float), slope=1, inter=-1024)
    write_scan(
        raw / "slices_first.nii.gz",
        seed=3,
        affine=np.array([[0, 0, 5.0, 0], [8.0, 0, 0, 0], [0, 6.0, 0, 0], [0, 0, 0, 1]]),
    )
    (raw / "text.nii.gz").write_bytes(b"text")
    (tmp_path / "t.csv").write_text(
        "scan,label,patient,split\nflat,well,p1,train\noblique,ill,p2,test\nslices_first,,p2,\ntext,ill,p3,train\n"
    )
    return raw


def planned(raw, **options):
    table = options.pop("labels", raw.parent / "t.csv")
    plan = plan_conversion(find_scans(raw, labels=table), raw.parent / "out.zarr", recipe=SMALL, **options)
    return plan, {scan.scan: scan for scan in plan.scans}


def test_every_fact_of_a_scan_is_in_its_row(hospital):
    _, rows = planned(hospital)
    flat = rows["flat"]
    assert (flat.class_name, flat.patient, flat.split, flat.action, flat.reason) == (
        "well",
        "p1",
        "train",
        "convert",
        "new",
    )
    for scan in ("flat", "oblique", "slices_first"):
        record = prepare(hospital / f"{scan}.nii.gz", Recipe(shape=(8, 8, 4), require_hu=False)).record
        edges = np.abs(np.array(record.affine)[:3, :3] @ np.diag([8, 8, 4]))
        assert np.sqrt((edges**2).sum(axis=0)) == pytest.approx(rows[scan].extent_mm, rel=1e-3)
        assert np.multiply(rows[scan].shape, rows[scan].spacing_mm) == pytest.approx(rows[scan].extent_mm, rel=1e-3)
    assert rows["slices_first"].orientation == "ASR"
    assert rows["slices_first"].spacing_mm == (5, 8, 6)


def test_what_is_inferred_of_a_scan_is_noted_and_counted_once(hospital):
    plan, rows = planned(hospital)
    assert rows["flat"].notes == (HU_ASSUMED,)
    assert rows["oblique"].notes == (OBLIQUE,)
    assert rows["slices_first"].notes == (NO_LABEL, NO_SUBSET, HU_ASSUMED)
    assert plan.summary()["notes"] == {HU_ASSUMED: 2, OBLIQUE: 1, NO_LABEL: 1, NO_SUBSET: 1}
    assert sum(HU_ASSUMED in line for line in plan.lines()) == 1


def test_the_sum_of_a_plan_counts_classes_subsets_and_patients(hospital):
    summary = planned(hospital)[0].summary()
    assert summary["classes"] == {"ill": 2, "well": 1}
    assert (summary["scans"], summary["without_label"]) == (4, 1)
    assert summary["subsets"] == {"test": 1, "train": 2}
    assert (summary["patients"], summary["without_patient"]) == (3, 0)
    assert sum(summary["orientations"].values()) == 3
    assert summary["extent_mm"][0][0] < summary["extent_mm"][1][0]


def test_a_header_is_rejected_as_the_conversion_rejects_it(hospital):
    _, rows = planned(hospital)
    done = convert(find_scans(hospital, labels=hospital.parent / "t.csv"), hospital.parent / "out.zarr", recipe=SMALL)
    (rejected,) = [one for one in done.rejected if one.scan == "text"]
    assert (rows["text"].action, rows["text"].code) == ("reject", rejected.code)
    assert rows["text"].reason == f"{rejected.code}: {rejected.reason}"


def test_no_voxel_is_read(hospital):
    whole = (hospital / "flat.nii.gz").read_bytes()
    before = planned(hospital)[1]["flat"]
    (hospital / "flat.nii.gz").write_bytes(whole[: len(whole) // 2])
    assert planned(hospital)[1]["flat"] == before


def test_the_table_and_the_json_have_the_facts_of_every_scan(hospital):
    plan, _ = planned(hospital)
    rows = list(csv.DictReader(plan.csv_lines()))
    saved = json.loads(json.dumps(plan.to_dict()))
    assert [row["scan"] for row in rows] == [row["scan"] for row in saved["rows"]] == [scan.scan for scan in plan.scans]
    for row, one in zip(rows, saved["rows"], strict=True):
        assert (row["class"], row["orientation"], row["reason"]) == (one["class"], one["orientation"], one["reason"])
        sides = [row[f"shape_{axis}"] for axis in "xyz"]
        assert sides == (list(map(str, one["shape"])) if one["shape"] else [""] * 3)
    assert rows[2]["notes"].split("; ")[:2] == [NO_LABEL, NO_SUBSET]


def test_scans_that_exist_already_have_all_facts_too(hospital):
    before = planned(hospital)[1]
    convert(find_scans(hospital, labels=hospital.parent / "t.csv"), hospital.parent / "out.zarr", recipe=SMALL)
    plan, rows = planned(hospital)
    assert plan.count(Action.REUSE) > 0
    assert {scan: row.extent_mm for scan, row in rows.items()} == {scan: row.extent_mm for scan, row in before.items()}
    assert rows["flat"].notes == before["flat"].notes


def test_another_recipe_is_said_with_the_way_to_keep_the_store_s(hospital):
    catalog = find_scans(hospital, labels=hospital.parent / "t.csv")
    convert(catalog, hospital.parent / "out.zarr", recipe=SMALL)
    other = Recipe(shape=(16, 16, 4), dtype="uint8")
    plan = plan_conversion(catalog, hospital.parent / "out.zarr", recipe=other)
    (note,) = [note for note in plan.notes if note.startswith("recipe: ")]
    assert "(shape 8x8x4 -> 16x16x4, dtype float16 -> uint8)" in note
    assert f"all {plan.count(Action.CONVERT)} scans are converted again, which takes --rebuild" in note
    assert {row.reason for row in plan.rows if row.scan.id == "flat"} == {"another recipe"}
    rebuilt = plan_conversion(catalog, hospital.parent / "out.zarr", recipe=SMALL, rebuild=True)
    assert {row.reason for row in rebuilt.rows if row.scan.id == "flat"} == {"--rebuild"}
    assert not any(note.startswith("recipe: ") for note in rebuilt.notes)


def test_a_scan_that_was_rejected_before_is_said_and_whether_it_has_changed(hospital):
    whole = (hospital / "flat.nii.gz").read_bytes()
    (hospital / "flat.nii.gz").write_bytes(whole[: len(whole) // 2])
    catalog = find_scans(hospital, labels=hospital.parent / "t.csv")
    convert(catalog, hospital.parent / "out.zarr", recipe=Recipe(shape=(8, 8, 4), require_hu=False))

    def again():
        plan = plan_conversion(catalog, hospital.parent / "out.zarr", recipe=Recipe(shape=(8, 8, 4), require_hu=False))
        return plan, {scan.scan: scan for scan in plan.scans}

    plan, rows = again()
    assert rows["flat"].reason == "rejected before as truncated, unchanged; it is tried again"
    assert rows["flat"].rejected_before == "truncated"
    assert (rows["text"].action, rows["text"].rejected_before) == ("reject", "unreadable")
    assert "rejected: out.zarr lacks 2 scans that were rejected (1 truncated, 1 unreadable)" in plan.notes
    (hospital / "flat.nii.gz").write_bytes(whole)
    assert again()[1]["flat"].reason == "rejected before as truncated, its file has changed; it is tried again"
