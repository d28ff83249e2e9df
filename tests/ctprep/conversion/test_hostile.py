"""Short versions of the harnesses in tests/torture, and the faults that they found."""

import dataclasses
import gc
import itertools
import os
import signal
import unicodedata

import nibabel
import numpy as np
import pytest

from ctprep.conversion.convert import convert
from ctprep.errors import BadGeometry, ChecksumMismatch, NotHounsfield, Oversize, Unreadable
from ctprep.preparation import prepare
from ctprep.scans.catalog import find_scans
from ctprep.scans.readers.formats import read_header
from ctprep.scans.readers.nifti import NiftiReader
from ctprep.volume.recipe import Recipe
from tests.conftest import chest_hu, write_scan
from tests.metaimage import write_metaimage
from tests.torture import (
    hostile_bits,
    hostile_bombs,
    hostile_headers,
    hostile_limits,
    hostile_metaimage,
    hostile_names,
)
from tests.torture.hostile_limits import Peak
from tests.torture.report import Row, run

MAX_MB = 256


def test_no_flipped_bit_and_no_cut_is_passed_over(tmp_path):
    outcomes = hostile_bits.judge_damage(tmp_path, bits=2000, lengths=300)
    assert outcomes.total() > 2000
    assert not outcomes["changed"]
    assert outcomes["rejected"] > 0.95 * outcomes.total()


def test_nibabel_s_plain_reading_passes_damage_over(tmp_path):
    """The null control."""
    with np.errstate(all="ignore"):
        outcomes = hostile_bits.judge_damage(
            tmp_path, bits=300, lengths=0, read=hostile_bits.read_plainly_with_nibabel, refusals=Exception
        )
    assert outcomes["changed"] > 100


def test_no_damaged_header_crashes_hangs_bloats_or_lies(tmp_path):
    figures = hostile_headers.judge_headers(tmp_path, 5000)
    assert not figures.faults
    assert figures.grown_mb < MAX_MB
    assert figures.outcomes["accepted"] > 1000
    assert len(figures.outcomes) > 6


def test_the_judge_of_headers_sees_what_is_wrong(tmp_path, monkeypatch):
    """The null control: an image that is not the file's is a fault."""
    honest = hostile_headers.spec_image
    monkeypatch.setattr(hostile_headers, "spec_image", lambda sample: honest(sample).slicer[::-1])
    assert hostile_headers.judge_headers(tmp_path, 50).faults


def test_no_damaged_metaimage_header_crashes_hangs_bloats_or_lies(tmp_path):
    how = {"draw_sample": hostile_metaimage.hostile, "read": hostile_metaimage.spec_image}
    figures = hostile_headers.judge_headers(tmp_path, 1500, **how)
    assert not figures.faults
    assert figures.grown_mb < MAX_MB
    assert figures.outcomes["accepted"] > 300
    assert len(figures.outcomes) > 6


def test_the_judge_of_metaimage_headers_sees_what_is_wrong(tmp_path):
    """The null control."""
    how = {"draw_sample": hostile_metaimage.hostile, "read": hostile_metaimage.mirrored_image}
    assert hostile_headers.judge_headers(tmp_path, 100, **how).faults


def test_bombs_are_defused_before_they_cost_anything(tmp_path):
    defusals = hostile_bombs.of_each_bomb(tmp_path, hostile_bombs.defuse)
    for name, defusal in defusals.items():
        assert defusal.outcome.partition(":")[0] in ("geometry", "oversize", "unreadable", "checksum"), name
        assert max(defusal.bytes_read, defusal.bytes_inflated) <= hostile_bombs.MAX_BYTES, name
        assert defusal.grown_mb < MAX_MB, name


@pytest.mark.parametrize(
    ("make", "expected"), [pytest.param(make, expected, id=what) for what, make, expected in hostile_names.cases()]
)
def test_names_and_what_is_no_file_have_one_outcome_that_is_safe_to_print(tmp_path, make, expected):
    try:
        outcome, said = hostile_names.outcome_of(make, tmp_path / "raw")
    except PermissionError:
        pytest.skip("this user may not make such a thing")
    assert outcome == expected
    assert all(map(hostile_names.is_safe, said))


def test_the_harness_reports_what_a_script_makes_of_names(tmp_path):
    numbers = itertools.count()

    def empty_folder():
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        return folder

    assert hostile_names.naive_faults(empty_folder).total() > 20


def test_a_name_that_hangs_the_listing_is_counted(tmp_path):
    def out_of_time(_raw):
        signal.raise_signal(signal.SIGALRM)

    outcome, _ = hostile_names.outcome_of(lambda _: None, tmp_path / "raw", judge=out_of_time)
    assert outcome == "hung"


@pytest.mark.parametrize("harm", [{"outcome": "accepted"}, {"seconds": 9.0}, {"bytes_read": 1 << 30}])
def test_whatever_a_bomb_costs_is_counted(harm):
    harmless = hostile_bombs.Defusal("oversize: no CT", seconds=0.1, bytes_read=9, bytes_inflated=9, grown_mb=1.0)
    assert not hostile_bombs._went_off(harmless)
    assert hostile_bombs._went_off(dataclasses.replace(harmless, **harm))


@pytest.mark.parametrize(("control_found", "wrong"), [(None, 0), (0, 1), (4, 0)])
def test_a_null_control_that_finds_nothing_is_wrong(control_found, wrong):
    (row,) = run(lambda *_: [Row("what", "once", 0, control_found=control_found)], seed=0)
    assert (row.wrong, len(row.examples)) == (wrong, wrong)


def test_names_that_look_alike_are_both_named_and_names_in_another_case_are_two(tmp_path):
    composed = "étude"
    for name in (composed, unicodedata.normalize("NFD", composed), "CT", "ct"):
        write_scan(tmp_path / f"{name}.nii")
    catalog = find_scans(tmp_path)
    assert [scan.id for scan in catalog.scans] == ["CT", "ct"]
    assert [bad.code for bad in catalog.rejected] == ["duplicate"] * 2
    assert all(r"'e\u0301tude' and '\xe9tude'" in bad.reason for bad in catalog.rejected)


@pytest.mark.parametrize("kind", ["FIFO", "folder"])
def test_a_stored_scan_that_became_something_else_is_rejected_not_waited_for(tmp_path, kind):
    for number in range(2):
        write_scan(tmp_path / "raw" / f"{number}.nii", seed=number)
    recipe = Recipe(shape=(4, 4, 4))
    convert(tmp_path / "raw", tmp_path / "out.zarr", recipe=recipe, scheduler="synchronous")
    path = tmp_path / "raw" / "0.nii"
    path.unlink()
    os.mkfifo(path) if kind == "FIFO" else path.mkdir()
    done = convert(tmp_path / "raw", tmp_path / "out.zarr", recipe=recipe, scheduler="synchronous")
    assert [(bad.scan, bad.code) for bad in done.rejected] == [("0", "unreadable")]


def test_a_stored_scan_that_grew_beyond_measure_is_not_hashed_to_its_end(tmp_path):
    path = tmp_path / "raw" / "0.nii.gz"
    for number in range(2):
        write_scan(path.with_name(f"{number}.nii.gz"), seed=number)
    recipe = Recipe(shape=(4, 4, 4))
    convert(tmp_path / "raw", tmp_path / "out.zarr", recipe=recipe, scheduler="synchronous")
    os.truncate(path, hostile_bombs.SPARSE)
    with hostile_limits.no_hang():
        done = convert(tmp_path / "raw", tmp_path / "out.zarr", recipe=recipe, scheduler="synchronous")
    assert [bad.scan for bad in done.rejected] == ["0"]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".hdr", ".mha"])
def test_readers_that_were_closed_leave_nothing_in_memory(make_scan, tmp_path, suffix):
    """The buffer of the gzip reader and what it read from kept each other: 100,000 scans kept 50 GB."""
    if suffix == ".mha":
        path = write_metaimage(tmp_path / "a.mha", compressed=True)
    else:
        path = make_scan(f"a{suffix}", kind=nibabel.Nifti1Pair if suffix == ".hdr" else nibabel.Nifti1Image)
    recipe = Recipe(shape=(4, 4, 4))
    prepare(path, recipe)
    gc.collect()
    before, peak = len(gc.get_objects()), Peak()
    for _ in range(200):
        prepare(path, recipe)
    gc.collect()
    assert len(gc.get_objects()) - before < 100
    assert peak.grown_mb() < 20


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"sform_code": -1}, BadGeometry),  # readers disagree whether it is one
        ({"qform_code": 6}, BadGeometry),
        ({"scl_inter": 1e30}, NotHounsfield),  # every voxel was NaN
        ({"magic": b"n+1x"}, Unreadable),
    ],
)
def test_headers_that_readers_take_for_different_things_are_refused(make_scan, fields, error):
    path = make_scan("scan.nii")
    content = bytearray(path.read_bytes())
    header = nibabel.Nifti1Header(bytes(content[:348]), check=False)
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(header.binaryblock + content[348:])
    with pytest.raises(error):
        prepare(path, Recipe(require_hu=False))


def test_a_header_in_two_byte_orders_is_refused(make_scan):
    path = make_scan("scan.nii")
    path.write_bytes((348).to_bytes(4, "big") + path.read_bytes()[4:])
    with pytest.raises(Unreadable, match="byte orders"):
        read_header(path)


def test_values_that_a_slope_makes_infinite_are_no_hu(make_scan):
    array = chest_hu().astype(np.float32)
    array[0, 0, 0] = 3e38
    with pytest.raises(NotHounsfield, match="infinite"):
        prepare(make_scan(array=array, slope=100.0), Recipe(require_hu=False))


def test_a_name_in_gzip_s_header_longer_than_a_buffer_is_damage(tmp_path):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(b"\x1f\x8b\x08\x08" + b"x" * (1 << 20))
    with pytest.raises(ChecksumMismatch):
        read_header(path)


def test_what_follows_a_large_slice_is_not_read_to_its_end(tmp_path):
    path = tmp_path / "a.nii"
    content = hostile_bombs.header((2048, 1024, 1)) + bytes(4 << 20)
    path.write_bytes(content + bytes((1 << 20) - 1))
    with NiftiReader(path) as reader:
        assert len(list(reader.slabs())) == 4
    path.write_bytes(content + bytes(1 << 20))
    with pytest.raises(BadGeometry, match="bytes or more follow"):
        read_header(path)


def test_a_plausible_inflation_is_taken_however_large(tmp_path, monkeypatch):
    """The noise of a CT compresses 3 to 1; 200 to 1 is asked of large files alone."""
    monkeypatch.setattr("ctprep.scans.readers.byte_source.UNQUESTIONED_BYTES", 1 << 16)
    path = write_scan(tmp_path / "a.nii.gz", chest_hu((64, 64, 32)))
    assert prepare(path, Recipe()).record.source_shape == (64, 64, 32)
    constant = write_scan(tmp_path / "b.nii.gz", np.zeros((64, 64, 32), np.int16))
    with pytest.raises(Oversize, match="which no CT does"):
        read_header(constant)
