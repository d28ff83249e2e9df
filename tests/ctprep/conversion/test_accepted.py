"""What is accepted, stated or remarked of one scan: stored, noticed by the next conversion, and said."""

import shutil
from dataclasses import replace

import nibabel
import numpy as np
import pytest

import ctprep
from ctprep.errors import ACCEPTABLE_CODES
from ctprep.preparation import prepare
from ctprep.scans.catalog import find_scans
from ctprep.store.store import open_store
from ctprep.store.verify import verify
from ctprep.views.preview import plan_conversion
from ctprep.views.summary import summarize
from ctprep.volume.recipe import Recipe
from tests.conftest import LAS, chest_hu, write_scan
from tests.metaimage import write_metaimage

SMALL = Recipe(shape=(8, 8, 4))


def holes():
    hu = chest_hu(seed=3).astype(np.float32)
    hu[8:14, 8:12, 3:9] = np.nan
    return hu


@pytest.fixture
def raw(tmp_path):
    """Return a folder with a good scan and one for each code that can be accepted."""
    write_scan(tmp_path / "raw" / "a" / "good.nii.gz", seed=0)
    write_scan(tmp_path / "raw" / "a" / "not-hu.nii.gz", chest_hu(seed=1) + 1024)
    write_scan(tmp_path / "raw" / "b" / "coverage.nii.gz", chest_hu((24, 20, 5), seed=2))
    write_scan(tmp_path / "raw" / "b" / "non-finite.nii.gz", holes())
    return tmp_path / "raw"


ALL = {"a/not-hu": "not-hu", "b/coverage": "coverage", "b/non-finite": "non-finite"}


def convert(raw, out, **choices):
    return ctprep.convert(find_scans(raw, **choices), out, recipe=SMALL, scheduler="synchronous")


def digest_from_nothing(raw, tmp_path, **choices):
    fresh = tmp_path / "fresh.zarr"
    shutil.rmtree(fresh, ignore_errors=True)
    return convert(raw, fresh, **choices).store.digest()


def test_each_rejection_that_can_be_accepted_says_the_option(raw, tmp_path):
    done = convert(raw, tmp_path / "out.zarr")
    assert {bad.scan: bad.code for bad in done.rejected} == ALL
    for bad in done.rejected:
        assert bad.reason.endswith(f", or accept it with --accept {bad.scan}={bad.code}")
    assert set(ALL.values()) == set(ACCEPTABLE_CODES)


@pytest.mark.parametrize("scan", ALL)
def test_accepting_one_scan_converts_it_and_no_other_and_withdrawing_rejects_it_again(raw, tmp_path, scan):
    out, one = tmp_path / "out.zarr", {"accept": {scan: ALL[scan]}}
    before = convert(raw, out).store.digest()
    accepted = convert(raw, out, **one)
    assert (accepted.reused, len(accepted.store), len(accepted.rejected)) == (1, 2, 2)
    assert accepted.store.digest() == digest_from_nothing(raw, tmp_path, **one)
    record = accepted.store.records[accepted.store.row(scan)]
    assert record.accepted == ALL[scan]
    assert convert(raw, out, **one).reused == 2
    withdrawn = convert(raw, out)
    assert (withdrawn.reused, len(withdrawn.rejected)) == (1, 3)
    assert withdrawn.store.digest() == before


def test_a_plan_foresees_what_becomes_of_an_acceptance(raw, tmp_path):
    convert(raw, tmp_path / "out.zarr", accept=ALL)

    def reasons(**choices):
        plan = plan_conversion(find_scans(raw, **choices), tmp_path / "out.zarr", recipe=SMALL)
        return {row.scan.id: f"{row.action}: {row.reason}" for row in plan.rows}

    assert reasons(accept=ALL)["a/not-hu"] == "reuse: unchanged, accepts not-hu"
    without = reasons()
    assert without["a/good"] == "reuse: unchanged"
    assert without["a/not-hu"] == "convert: not-hu was accepted, and is not any more"
    assert without["b/coverage"].startswith("reject: coverage: ")


def test_what_was_accepted_is_in_the_store_and_said(raw, tmp_path):
    done = convert(raw, tmp_path / "out.zarr", accept={**ALL, "a/good": "coverage"})
    assert "accepted: not-hu of 1 scan" in done.notes
    assert any("such as a/good=coverage; leave that out" in note for note in done.notes)
    store = open_store(tmp_path / "out.zarr")
    assert [record.accepted for record in store.records] == ["", "not-hu", "coverage", "non-finite"]
    assert summarize(store)["accepted"] == {"coverage": 1, "non-finite": 1, "not-hu": 1}
    assert verify(store.path, raw=raw, sample=None).findings == ()


def test_an_acceptance_that_was_not_needed_changes_no_byte(raw, tmp_path):
    needless = {"accept": {"a/good": ACCEPTABLE_CODES}}
    assert convert(raw, tmp_path / "out.zarr", **needless).store.digest() == digest_from_nothing(raw, tmp_path)
    assert convert(raw, tmp_path / "out.zarr").reused == 1


def test_what_an_interrupted_conversion_finished_under_an_acceptance_is_not_taken_without_it(
    raw, tmp_path, monkeypatch
):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("ctprep.conversion.convert.assemble", interrupt)
        convert(raw, tmp_path / "out.zarr", accept=ALL)
    done = convert(raw, tmp_path / "out.zarr")
    assert (len(done.store), len(done.rejected)) == (1, 3)
    assert done.store.digest() == digest_from_nothing(raw, tmp_path)


def strip_of_forms(path):
    """Take the orientation out of a NIfTI file, as some converters leave it out."""
    image = nibabel.load(path)
    image = type(image)(np.array(image.dataobj), None, image.header)
    image.header["sform_code"] = image.header["qform_code"] = 0
    nibabel.save(image, path)


def test_scans_without_orientation_need_one_stated_and_a_change_of_it_is_noticed(tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "out.zarr"
    write_scan(raw / "a" / "good.nii", seed=0)
    write_scan(raw / "a" / "lost.nii", seed=1)
    strip_of_forms(raw / "a" / "lost.nii")
    bad = convert(raw, out).rejected[0]
    assert (bad.scan, bad.code) == ("a/lost", "geometry")
    assert "neither sform nor qform" in bad.reason
    assert "--orientation" in bad.reason
    for stated in ("LPS", {"a/lost": "RAS"}, {"": "RAI", "a/good": "LPS"}):
        done = convert(raw, out, orientation=stated)
        letters = stated if isinstance(stated, str) else stated.get("a/lost", stated.get(""))
        assert (done.reused, done.rejected) == (1, ())
        assert done.store.digest() == digest_from_nothing(raw, tmp_path, orientation=stated)
        assert [record.stated_orientation for record in done.store.records] == ["", letters]
        assert any(f"{letters} is taken for 1 of 2 scans, as stated" in note for note in done.notes)
        assert convert(raw, out, orientation=stated).reused == 2
        assert verify(out, raw=raw, sample=None).findings == ()
    assert summarize(out)["stated_orientation"] == {"RAI": 1}
    assert [bad.scan for bad in convert(raw, out).rejected] == ["a/lost"]


@pytest.mark.parametrize("letters", ["LAS", "LPS", "RAI", "SPL"])
def test_a_stated_orientation_gives_the_volume_of_a_file_that_says_it(tmp_path, letters):
    hu = chest_hu((24, 20, 22))
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (world, sign) in enumerate(nibabel.orientations.axcodes2ornt(letters)):
        affine[int(world), axis] = 2 * sign
    expected = prepare(write_scan(tmp_path / "said.nii", hu, affine=affine), SMALL)
    write_scan(tmp_path / "lost.nii", hu, affine=affine)
    strip_of_forms(tmp_path / "lost.nii")
    found = prepare(tmp_path / "lost.nii", SMALL, orientation=letters)
    assert nibabel.aff2axcodes(np.array(found.record.source_affine)) == tuple(letters)
    assert found.volume.tobytes() == expected.volume.tobytes()


def test_a_stated_orientation_helps_a_metaimage_that_names_none(tmp_path):
    path = write_metaimage(tmp_path / "a.mha", affine=LAS)
    expected = prepare(path, SMALL)
    content = path.read_bytes()
    lines = [line for line in content.split(b"\n", 20) if not line.startswith((b"TransformMatrix", b"Rotation"))]
    path.write_bytes(b"\n".join(lines))
    found = prepare(path, SMALL, orientation="LAS")
    assert found.volume.tobytes() == expected.volume.tobytes()
    assert found.record.stated_orientation == "LAS"
    assert expected.record.stated_orientation == ""


def with_qform(path, qform):
    image = nibabel.load(path)
    data = np.array(image.dataobj)
    image = type(image)(data, image.affine, image.header)
    image.set_qform(qform, 1)
    nibabel.save(image, path)


def test_a_conflict_of_sform_and_qform_is_said_and_the_sform_is_taken(tmp_path):
    raw = tmp_path / "raw"
    for number, qform in enumerate([LAS, LAS + 1e-4, np.diag([1.5, 1.5, 5.0, 1.0]), LAS + np.eye(4, k=3) * 9]):
        with_qform(write_scan(raw / "a" / f"{number}.nii", seed=number), qform)
    plan = plan_conversion(raw, tmp_path / "out.zarr", recipe=SMALL)
    said = [note for note in plan.notes if "sform" in note]
    assert said == [
        "orientation: sform and qform differ in 2 of 4 scans, such as a/2 (LAS and RAS); the sform is taken"
    ]
    done = convert(raw, tmp_path / "out.zarr")
    assert said[0] in done.notes
    assert all(np.array_equal(record.source_affine, LAS) for record in done.store.records)


@pytest.mark.parametrize("which", ["sform", "qform"])
def test_one_of_sform_and_qform_is_enough(tmp_path, which):
    path = write_scan(tmp_path / "a.nii")
    expected = prepare(path, SMALL)
    content = bytearray(path.read_bytes())
    content[252:254] = (which == "qform").to_bytes(2, "little")
    content[254:256] = (which == "sform").to_bytes(2, "little")
    path.write_bytes(content)
    assert np.allclose(prepare(path, SMALL).record.source_affine, expected.record.source_affine, atol=1e-5)


def test_unusual_coverage_and_what_a_spacing_cuts_off_are_counted_in_notes(tmp_path):
    raw = tmp_path / "raw"
    for number, (slices, mm) in enumerate([(12, 5.0), (16, 2.5), (40, 20.0), (30, 9.0)]):
        affine = np.diag([-14.0, 14.0, mm, 1.0])
        write_scan(raw / "a" / f"{number}.nii", chest_hu((24, 20, slices), seed=number), affine=affine)
    write_scan(raw / "a" / "head.nii", chest_hu((24, 20, 40), seed=9), affine=np.diag([-9.0, 9.0, 4.0, 1.0]))
    recipe = Recipe(shape=(24, 20, 10), spacing_mm=(14, 14, 20))
    out = tmp_path / "out.zarr"
    plan = plan_conversion(raw, out, recipe=recipe)
    coverage = [note for note in plan.notes if note.startswith("coverage")]
    assert [note.split(",")[0] for note in coverage] == [
        "coverage: 2 of 5 scans reach over less than 150 mm from feet to head",
        "coverage: 1 of 5 scans reach over more than 500 mm from feet to head",
        "coverage: 1 of 5 scans are less than 250 mm wide",
    ]
    assert coverage[0].endswith("such as a/1 (40 mm)")
    cut = [note for note in plan.notes if note.startswith("spacing")]
    assert cut == [
        "spacing: 2 of 5 scans reach beyond the volume and keep 25% to 74% of their field of view, such as a/2 (25%)"
    ]
    done = ctprep.convert(raw, out, recipe=recipe)
    again = ctprep.convert(raw, out, recipe=recipe)
    for one in (done, again):
        assert [note for note in one.notes if note.startswith(("coverage", "spacing"))] == [*cut, *coverage]
    assert summarize(out)["unusual_coverage"] == {"long": 1, "narrow": 1, "short": 2}


def test_padding_is_said_in_a_note_and_stored_only_where_there_is_some(raw, tmp_path):
    plain = convert(raw, tmp_path / "out.zarr")
    before = plain.store.digest()
    assert not (tmp_path / "out.zarr" / "padding").exists()
    assert not any(note.startswith("padding") for note in plain.notes)
    hu = chest_hu(seed=7)
    hu[:3] = -2000
    write_scan(raw / "a" / "padded.nii", hu)
    done = convert(raw, tmp_path / "out.zarr")
    assert done.reused == 1
    assert done.store.digest() == digest_from_nothing(raw, tmp_path)
    assert open_store(tmp_path / "out.zarr").records.column("padding").tolist() == [0, 720]
    assert any(note.startswith("padding: 1 of 2 scans hold padding") and "12.5%" in note for note in done.notes)
    (raw / "a" / "padded.nii").unlink()
    assert convert(raw, tmp_path / "out.zarr").store.digest() == before


def test_a_row_that_was_stored_before_padding_was_counted_is_made_again(raw, tmp_path, monkeypatch):
    """An older ctprep counted padding of NaN as damage, and padding below air as air."""
    hu = chest_hu((24, 20, 12), seed=7)
    hu[:3] = -2000
    write_scan(raw / "a" / "padded.nii", hu)
    rim = chest_hu((100, 20, 12), seed=8).astype(np.float32)
    rim[0] = np.nan
    write_scan(raw / "a" / "rim.nii", rim)
    expected = convert(raw, tmp_path / "fresh.zarr").store.digest()

    def as_it_was(path, *args, **kwargs):
        prepared = prepare(path, *args, **kwargs)
        record = prepared.record
        if record.padding:
            changed = {"padding": 0, "nonfinite": record.padding * (path.stem == "rim")}
            quantile = (min(record.hu_quantile[0], -2000.0 if path.stem == "padded" else 0.0), *record.hu_quantile[1:])
            record = replace(record, hu_quantile=quantile, **changed)
        return type(prepared)(prepared.volume, record)

    with monkeypatch.context() as patch:
        patch.setattr("ctprep.conversion.scan_task.prepare", as_it_was)
        patch.setattr("ctprep.store.format.record_arrays", lambda *_: list(OLD_RECORD))
        convert(raw, tmp_path / "out.zarr")
    old = open_store(tmp_path / "out.zarr")
    assert old.records.column("padding").tolist() == [0, -1, -1]
    assert verify(old.path, raw=raw, sample=None).findings == ()
    assert summarize(old)["padding_voxels"] == 0
    done = convert(raw, tmp_path / "out.zarr")
    assert done.reused == 1
    assert done.store.digest() == expected
    assert convert(raw, tmp_path / "out.zarr").reused == 3


OLD_RECORD = ("affine", "source_affine", "source_shape", "source_sha256", "hu_quantile", "nonfinite")
