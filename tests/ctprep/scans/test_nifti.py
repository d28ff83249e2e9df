import gzip
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pytest

from ctprep.errors import (
    BadGeometry,
    BadScan,
    ChecksumMismatch,
    NotHounsfield,
    NotThreeD,
    Oversize,
    Truncated,
    Unreadable,
    UnsupportedDtype,
    Vanished,
)
from ctprep.scans.readers.formats import read_header
from ctprep.scans.readers.nifti import NiftiReader, write_nifti
from tests.conftest import LAS, chest_hu, write_scan
from tests.torture.hostile_limits import no_hang

NIBABEL_DATA = Path(nibabel.__file__).parent / "tests" / "data"


def read(path):
    """Return all voxels in file axes, scaled, and the digest."""
    with NiftiReader(path) as reader:
        stored = np.concatenate([slab.flatten() for slab in reader.slabs()])
        volume = stored.reshape(reader.header.grid.shape, order="F")
        return volume * reader.header.slope + reader.header.inter, reader.sha256


def edit_header(path, **fields):
    """Overwrite header fields of an uncompressed single file."""
    content = bytearray(path.read_bytes())
    header = nibabel.Nifti1Header(bytes(content[:348]), check=False)
    for name, value in fields.items():
        header[name] = value
    content[:348] = header.binaryblock
    path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".hdr"])
@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_every_dtype_byte_order_and_container_is_read_as_nibabel_reads_it(make_scan, suffix, big_endian, dtype):
    array = (chest_hu() % 100).astype(dtype)
    kind = nibabel.Nifti1Pair if suffix == ".hdr" else nibabel.Nifti1Image
    path = make_scan(f"scan{suffix}", array, kind=kind, big_endian=big_endian)
    voxels, _ = read(path)
    assert np.array_equal(voxels, np.asarray(nibabel.load(path).dataobj))


@pytest.mark.parametrize("kind", [nibabel.Nifti2Image, nibabel.Nifti2Pair])
def test_nifti_2_is_read(make_scan, kind):
    path = make_scan("scan.nii" if kind is nibabel.Nifti2Image else "scan.hdr", kind=kind)
    assert np.array_equal(read(path)[0], chest_hu())


def test_slope_intercept_and_affine_are_read(make_scan):
    array = chest_hu()
    path = make_scan(array=array, slope=2.0, inter=-1024.0)
    voxels, _ = read(path)
    assert np.array_equal(voxels, nibabel.load(path).get_fdata())
    assert np.array_equal(read_header(path).grid.affine, LAS)


@pytest.mark.parametrize("slope", [0.0, np.nan])
def test_no_slope_means_no_scaling(make_scan, slope):
    path = edit_header(make_scan("scan.nii"), scl_slope=slope, scl_inter=5.0)
    assert np.array_equal(read(path)[0], chest_hu())


def test_a_singleton_fourth_axis_is_no_fourth_axis(make_scan):
    path = make_scan(array=chest_hu()[..., None])
    assert np.array_equal(read(path)[0], chest_hu())


def test_multi_member_gzip_is_read_to_its_end(make_scan, tmp_path):
    plain = make_scan("plain.nii").read_bytes()
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(b"".join(gzip.compress(part) for part in (plain[:100], plain[100:5000], b"", plain[5000:])))
    assert np.array_equal(read(path)[0], chest_hu())


def test_compression_is_told_by_the_bytes_not_by_the_name(make_scan, tmp_path):
    shutil.copy(make_scan("a.nii.gz"), tmp_path / "inside.nii")
    shutil.copy(make_scan("b.nii"), tmp_path / "plain.nii.gz")
    assert np.array_equal(read(tmp_path / "inside.nii")[0], chest_hu())
    assert np.array_equal(read(tmp_path / "plain.nii.gz")[0], chest_hu())


def test_the_digest_is_that_of_the_files_bytes(make_scan):
    path = make_scan()
    assert read(path)[1] == hashlib.sha256(path.read_bytes()).hexdigest()
    pair = make_scan("pair.hdr", kind=nibabel.Nifti1Pair)
    both = [hashlib.sha256(file.read_bytes()).hexdigest() for file in (pair, pair.with_suffix(".img"))]
    assert read(pair)[1] == hashlib.sha256("\n".join(both).encode()).hexdigest()


def test_an_extended_header_is_skipped(make_scan, tmp_path):
    image = nibabel.load(make_scan("plain.nii"))
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"x" * 5000))
    image.to_filename(tmp_path / "extended.nii.gz")
    assert np.array_equal(read(tmp_path / "extended.nii.gz")[0], chest_hu())


@pytest.mark.parametrize(
    ("slab_voxels", "shapes"),
    [
        (24 * 20 * 5, [(5, 20, 24), (5, 20, 24), (2, 20, 24)]),  # whole slices
        (24 * 20 - 1, [(1, 19, 24), (1, 1, 24)] * 12),  # rows of one slice
        (24 * 8, [(1, 8, 24), (1, 8, 24), (1, 4, 24)] * 12),
        (1, [(1, 1, 24)] * 240),  # never less than a row
    ],
)
def test_slabs_are_consecutive_slices_or_rows_of_one(make_scan, monkeypatch, slab_voxels, shapes):
    monkeypatch.setattr("ctprep.scans.readers.slabs.SLAB_VOXELS", slab_voxels)
    with NiftiReader(make_scan()) as reader:
        assert [slab.shape for slab in reader.slabs()] == shapes
    assert np.array_equal(read(make_scan())[0], chest_hu())


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"sform_code": 0, "qform_code": 0}, BadGeometry),
        ({"srow_x": [0, 0, 0, 0], "srow_y": [0, 0, 0, 0], "srow_z": [0, 0, 0, 0]}, BadGeometry),
        ({"srow_x": [np.nan, 0, 0, 0]}, BadGeometry),
        ({"srow_x": [1, 0, 0, 0], "srow_y": [1, 0, 0, 0]}, BadGeometry),
        ({"srow_z": [0, 0, 0.0015, 0]}, BadGeometry),  # metres
        ({"sform_code": 0, "quatern_b": 3.0}, BadGeometry),
        ({"dim": [3, 0, 20, 12, 1, 1, 1, 1]}, BadGeometry),
        ({"dim": [3, -5, 20, 12, 1, 1, 1, 1]}, BadGeometry),
        ({"dim": [2, 24, 20, 1, 1, 1, 1, 1]}, NotThreeD),
        ({"dim": [4, 24, 20, 6, 2, 1, 1, 1]}, NotThreeD),
        ({"dim": [3, 30000, 30000, 30000, 1, 1, 1, 1]}, Oversize),
        ({"dim": [3, 24, 20, 13, 1, 1, 1, 1]}, Truncated),
        ({"dim": [3, 24, 20, 11, 1, 1, 1, 1]}, BadGeometry),  # a slice would be lost
        ({"datatype": 2048, "bitpix": 256}, UnsupportedDtype),
        ({"datatype": 1234}, UnsupportedDtype),
        ({"scl_slope": np.inf}, NotHounsfield),
        ({"scl_slope": 1, "scl_inter": np.nan}, NotHounsfield),
        ({"vox_offset": np.nan}, Unreadable),
        ({"vox_offset": -5}, Unreadable),
        ({"vox_offset": 352.5}, Unreadable),
        ({"magic": b"abc"}, Unreadable),
        ({"sizeof_hdr": 347}, Unreadable),
    ],
)
def test_a_damaged_header_has_its_own_error(make_scan, fields, error):
    path = edit_header(make_scan("scan.nii"), **fields)
    with pytest.raises(BadScan) as caught:
        read(path)
    assert type(caught.value) is error
    assert str(caught.value).startswith("scan.nii: ")


def test_a_header_beyond_what_the_file_can_inflate_to_is_oversize(make_scan, tmp_path):
    path = edit_header(make_scan("big.nii"), dim=[3, 2000, 2000, 600, 1, 1, 1, 1])
    (tmp_path / "big.nii.gz").write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(Oversize, match="cannot inflate"):
        read_header(tmp_path / "big.nii.gz")


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", Unreadable),
        (b"patient,label\n1,0\n" * 100, Unreadable),
        (b"\x1f\x8b", Truncated),
        (b"\x1f\x8b\x08\x00" + b"noise" * 100, ChecksumMismatch),
        (gzip.compress(b"no header"), Unreadable),
        ((348).to_bytes(4, "little") + b"\0" * 100, Truncated),
    ],
    ids=["empty", "text", "two-bytes", "noise", "gzip-of-text", "half-a-header"],
)
def test_what_is_no_nifti_is_said_to_be_none(tmp_path, content, error):
    path = tmp_path / "odd.nii.gz"
    path.write_bytes(content)
    with pytest.raises(BadScan) as caught:
        read(path)
    assert type(caught.value) is error


def test_directories_pipes_and_missing_files_are_refused_at_once(tmp_path):
    (tmp_path / "folder.nii.gz").mkdir()
    os.mkfifo(tmp_path / "pipe.nii.gz")
    for name, error in (("folder", Unreadable), ("pipe", Unreadable), ("nothing", Vanished)):
        with pytest.raises(error):
            read(tmp_path / f"{name}.nii.gz")


def test_a_file_that_becomes_a_pipe_before_it_is_opened_is_refused_at_once(tmp_path, monkeypatch):
    regular, pipe = write_scan(tmp_path / "regular.nii.gz").stat(), tmp_path / "pipe.nii.gz"
    os.mkfifo(pipe)
    monkeypatch.setattr(Path, "stat", lambda _path, **_how: regular)
    with no_hang(), pytest.raises(Unreadable, match="Not a regular file"):
        read(pipe)


def test_a_header_without_its_voxel_file_is_refused(make_scan):
    path = make_scan("pair.hdr", kind=nibabel.Nifti1Pair)
    path.with_suffix(".img").unlink()
    with pytest.raises(Unreadable, match=r"pair\.img is missing"):
        read(path)


def test_every_truncation_is_found(make_scan):
    path = make_scan(array=chest_hu((6, 5, 4)))
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(BadScan) as caught:
            read(path)
        assert caught.value.code in ("truncated", "unreadable", "checksum")


def test_a_flipped_bit_is_found_or_harmless(make_scan):
    path = make_scan(array=chest_hu((6, 5, 4)))
    whole = path.read_bytes()
    expected = read(path)[0]
    found = 0
    for bit in range(0, 8 * len(whole), 3):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(flipped))
        try:
            assert np.array_equal(read(path)[0], expected), f"bit {bit} changed voxels silently"
        except BadScan:
            found += 1
    assert found > len(whole)  # the flips of the gzip header's time and flags are harmless


def test_a_file_that_changes_while_it_is_read_is_vanished(make_scan):
    path = make_scan("scan.nii")
    with NiftiReader(path) as reader, pytest.raises(Vanished):
        for _ in reader.slabs():
            os.utime(path, (1, 1))


def test_a_file_without_permission_is_unreadable(make_scan):
    path = make_scan()
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(Unreadable, match="Permission denied"):
        read(path)


@pytest.mark.parametrize("name", ["out.nii", "out.nii.gz"])
def test_nibabel_reads_what_is_written(tmp_path, name):
    affine = np.array([[0, -0.7, 0.1, 3], [0.7, 0, 0, -4], [0, 0.1, 5, 1], [0, 0, 0, 1.0]])
    write_nifti(tmp_path / name, chest_hu(), affine, slope=1.0, inter=-1024.0)
    image = nibabel.load(tmp_path / name)
    assert np.array_equal(image.get_fdata(), chest_hu() - 1024.0)
    assert image.get_data_dtype() == np.int16
    assert np.allclose(image.affine, affine, atol=1e-6)
    assert (image.header["sform_code"], image.header["qform_code"]) == (1, 1)


def test_writing_twice_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_nifti(tmp_path / f"{name}.nii.gz", chest_hu(), LAS)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_gzip_s_own_tool_accepts_what_is_written(tmp_path):
    write_nifti(tmp_path / "a.nii.gz", chest_hu(), LAS)
    subprocess.run(["gzip", "--test", tmp_path / "a.nii.gz"], check=True)


def test_a_name_that_denies_its_header_is_refused(make_scan, tmp_path):
    """What belongs to a scan is told by its name, so the header must agree."""
    pair = make_scan("pair.hdr", kind=nibabel.Nifti1Pair)
    shutil.copy(pair, tmp_path / "single.nii")
    shutil.copy(pair.with_suffix(".img"), tmp_path / "single.img")
    shutil.copy(make_scan("whole.nii"), tmp_path / "whole.hdr")
    for name in ("single.nii", "whole.hdr"):
        with pytest.raises(Unreadable, match="which its name denies"):
            read(tmp_path / name)


ODD = {
    "complex/complex32.nii": "dtype",
    "complex/complex64.nii": "dtype",
    "rgb/3D.nii": "dtype",
    "rgb/4D.nii": "dtype",
    "rgba/4D.nii": "dtype",
    "minimal.hdr": "geometry",
    "minimal.nii": "geometry",
    "minimal.img": "unreadable",
    "minimal_extended_hdr.nii": "not-3d",
    "fuzz_artifacts/crash-1.nii": "unreadable",
    "fuzz_artifacts/crash-ed7d46344d7efb3b9f0c374d66d2e02f66cc447d.nii": "unreadable",
}


@pytest.mark.parametrize("name", sorted(ODD))
def test_odd_files_are_rejected_with_the_right_code(shared_data, name):
    with pytest.raises(BadScan) as caught:
        read(shared_data / "odd" / name)
    assert caught.value.code == ODD[name]


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]
)
def test_odd_dtypes_are_read_as_nibabel_reads_them(shared_data, dtype):
    path = shared_data / "odd" / "dtypes" / f"{dtype}.nii"
    assert np.array_equal(read(path)[0], nibabel.load(path).get_fdata())


@pytest.mark.parametrize("name", sorted(path.name for path in NIBABEL_DATA.glob("*.nii*")))
def test_nibabel_s_own_files_are_read_alike_or_rejected(name):
    try:
        voxels, _ = read(NIBABEL_DATA / name)
    except BadScan as error:
        assert error.code in ("not-3d", "geometry", "dtype")
    else:
        image = nibabel.load(NIBABEL_DATA / name)
        assert np.allclose(voxels, image.get_fdata().reshape(voxels.shape), rtol=1e-6, equal_nan=True)
        assert np.allclose(read_header(NIBABEL_DATA / name).grid.affine, image.affine)


def test_a_voxel_file_next_to_two_headers_is_used_by_its_own(tmp_path):
    for seed, name in enumerate(("a.hdr", "b.hdr")):
        write_scan(tmp_path / name, seed=seed, kind=nibabel.Nifti1Pair)
    assert np.array_equal(read(tmp_path / "b.hdr")[0], chest_hu(seed=1))
