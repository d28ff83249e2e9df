import dataclasses
import gzip
import hashlib
import os
import zlib

import numpy as np
import pytest

from ctprep.conversion.convert import convert
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
from ctprep.preparation import prepare
from ctprep.scans.catalog import find_scans
from ctprep.scans.readers.formats import open_reader, read_header, source_files
from ctprep.volume.recipe import Recipe
from tests.conftest import LAS, chest_hu, write_scan
from tests.metaimage import TYPES, fields_of, text_of, write_metaimage
from tests.torture.hostile_limits import no_hang

RECIPE = Recipe(shape=(10, 8, 6), dtype="float32")
OBLIQUE = np.array([[0, -0.6, 0.3, 12.5], [0.75, 0.1, 0, -40], [0, 0.2, 2.5, 100], [0, 0, 0, 1.0]])
PERMUTED = np.array([[0, 0, 2.5, -30], [-0.75, 0, 0, 40.5], [0, -0.5, 0, 7], [0, 0, 0, 1.0]])
CONTAINERS = [(".mha", False), (".mha", True), (".mhd", False), (".mhd", True)]


def read(path):
    """Return all voxels in file axes and the digest."""
    with open_reader(path) as reader:
        stored = np.concatenate([slab.flatten() for slab in reader.slabs()])
        return stored.reshape(reader.header.grid.shape, order="F"), reader.sha256


def test_the_same_voxels_give_the_same_volume_in_every_format(tmp_path):
    for affine in (LAS, PERMUTED):
        expected = prepare(write_scan(tmp_path / "a.nii.gz", affine=affine), RECIPE, accept=["coverage"])
        for suffix, compressed in CONTAINERS:
            path = write_metaimage(tmp_path / f"a{suffix}", affine=affine, compressed=compressed)
            found = prepare(path, RECIPE, accept=["coverage"])
            assert found.volume.tobytes() == expected.volume.tobytes()
            assert dataclasses.replace(found.record, source_sha256="") == dataclasses.replace(
                expected.record, source_sha256=""
            )


@pytest.mark.parametrize(("suffix", "compressed"), CONTAINERS)
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", TYPES)
def test_every_dtype_byte_order_and_container_is_read(tmp_path, suffix, compressed, order, dtype):
    array = (chest_hu() % 100).astype(np.dtype(dtype).newbyteorder(order))
    path = write_metaimage(
        tmp_path / f"a{suffix}", array, compressed=compressed, BinaryDataByteOrderMSB=str(order == ">")
    )
    assert np.array_equal(read(path)[0], array)


def test_the_affine_is_that_of_itk_turned_from_lps_to_ras(tmp_path):
    path = write_metaimage(tmp_path / "a.mha", affine=OBLIQUE)
    assert np.allclose(read_header(path).grid.affine, OBLIQUE, atol=1e-12)
    path = write_metaimage(
        tmp_path / "b.mha", TransformMatrix="0 1 0 -1 0 0 0 0 1", ElementSpacing="0.5 2 3", Offset="10 20 30"
    )  # ITK: voxel (1, 0, 0) lies 0.5 mm towards posterior of the first, (0, 1, 0) 2 mm towards right
    expected = [[0, 2, 0, -10], [-0.5, 0, 0, -20], [0, 0, 3, 30], [0, 0, 0, 1]]
    assert np.array_equal(read_header(path).grid.affine, expected)


@pytest.mark.parametrize(
    "renamed",
    [
        {"TransformMatrix": "Rotation"},
        {"TransformMatrix": "Orientation"},
        {"Offset": "Position"},
        {"Offset": "Origin"},
        {"ElementSpacing": "ElementSize"},
        {"BinaryDataByteOrderMSB": "ElementByteOrderMSB"},
    ],
)
def test_every_name_of_a_field_is_known(tmp_path, renamed):
    fields = {renamed.get(name, name): value for name, value in fields_of(chest_hu(), PERMUTED).items()}
    path = tmp_path / "a.mha"
    path.write_bytes(text_of(fields) + chest_hu().tobytes("F"))
    assert np.array_equal(read_header(path).grid.affine, PERMUTED)
    assert np.array_equal(read(path)[0], chest_hu())


def test_the_distance_of_voxels_is_taken_not_their_size(tmp_path):
    path = write_metaimage(tmp_path / "a.mha", ElementSize="7 7 7")
    assert read_header(path).grid.spacing_mm == (1.5, 1.5, 5.0)


def test_headers_as_other_programs_write_them_are_read(tmp_path):
    unusual = {"BinaryData": None, "ObjectType": None, "CompressedData": 0, "Comment": "x = y: z"}
    text = text_of(fields_of(chest_hu()) | unusual, "Local").replace(b" = ", b" : ").replace(b"\n", b"\r\n")
    path = tmp_path / "a.mha"
    path.write_bytes(text + chest_hu().tobytes("F"))
    assert np.array_equal(read(path)[0], chest_hu())


def test_voxels_compressed_with_gzip_are_read_as_itk_does(tmp_path):
    packed = gzip.compress(chest_hu().tobytes("F"))
    path = write_metaimage(tmp_path / "a.mha", voxels=packed, CompressedData=True, CompressedDataSize=len(packed))
    assert np.array_equal(read(path)[0], chest_hu())


@pytest.mark.parametrize(
    ("suffix", "compressed", "start"),
    [(".mhd", False, 100), (".mhd", True, 100), (".mhd", False, -1), (".mha", False, -1), (".mha", False, 1000)],
)
def test_a_header_size_says_where_voxels_begin(tmp_path, suffix, compressed, start):
    path = write_metaimage(tmp_path / f"a{suffix}", compressed=compressed, HeaderSize=start)
    file = path.with_suffix(".zraw" if compressed else ".raw") if suffix == ".mhd" else path
    content = file.read_bytes()
    text = len(content) - chest_hu().nbytes if suffix == ".mha" else 0
    more = 100 if suffix == ".mhd" else 1000 - text
    file.write_bytes(content[:text] + b"x" * more + content[text:])
    if compressed:
        path.write_bytes(path.read_bytes().replace(b"CompressedDataSize", b"IgnoredSize"))
    assert np.array_equal(read(path)[0], chest_hu())


def test_the_digest_is_that_of_all_files(tmp_path):
    path = write_metaimage(tmp_path / "a.mha")
    assert read(path)[1] == hashlib.sha256(path.read_bytes()).hexdigest()
    path = write_metaimage(tmp_path / "a.mhd", compressed=True)
    assert source_files(path) == (path, tmp_path / "a.zraw")
    with open_reader(path) as reader:
        assert reader.files == source_files(path)
    both = [hashlib.sha256(file.read_bytes()).hexdigest() for file in source_files(path)]
    assert read(path)[1] == hashlib.sha256("\n".join(both).encode()).hexdigest()


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"TransformMatrix": None}, BadGeometry),  # left and right would be a guess
        ({"Offset": None}, BadGeometry),
        ({"ElementSpacing": None}, Unreadable),
        ({"BinaryDataByteOrderMSB": None}, Unreadable),  # ITK takes that of the machine
        ({"TransformMatrix": "0 0 0 0 0 0 0 0 0"}, BadGeometry),
        ({"TransformMatrix": "1 0 0 1 0 0 0 0 1"}, BadGeometry),
        ({"TransformMatrix": "1 0 0 0 1 0 0 0 nan"}, BadGeometry),
        ({"TransformMatrix": "1 0 0 0 1 0 0 0"}, BadGeometry),
        ({"Offset": "0 0 1_0"}, BadGeometry),
        ({"Offset": "0 0 1e999"}, BadGeometry),
        ({"ElementSpacing": "-1.5 1.5 5"}, BadGeometry),  # ITK drops the sign
        ({"ElementSpacing": "0.0015 0.0015 0.005"}, BadGeometry),  # metres
        ({"ElementSpacing": "1.5, 1.5, 5"}, BadGeometry),
        ({"DistanceUnits": "cm"}, BadGeometry),
        ({"Orientation": "1 0 0 0 1 0 0 0 1"}, Unreadable),  # another than TransformMatrix
        ({"ElementByteOrderMSB": "True"}, Unreadable),
        ({"NDims": 4, "DimSize": "24 20 6 2"}, NotThreeD),
        ({"NDims": 2, "DimSize": "24 240"}, NotThreeD),
        ({"NDims": 4}, NotThreeD),
        ({"DimSize": "24 20 0"}, BadGeometry),
        ({"DimSize": "24 20 -12"}, BadGeometry),
        ({"DimSize": "24 20 12.0"}, BadGeometry),
        ({"DimSize": None}, Unreadable),
        ({"DimSize": "30000 30000 30000"}, Oversize),
        ({"DimSize": "24 20 13"}, Truncated),
        ({"DimSize": "24 20 11"}, BadGeometry),  # a slice would be lost
        ({"ElementType": "MET_OTHER"}, UnsupportedDtype),
        ({"ElementType": "MET_UCHAR_ARRAY"}, UnsupportedDtype),
        ({"ElementType": "MET_LONG"}, Truncated),  # of four bytes
        ({"ElementNumberOfChannels": 3}, UnsupportedDtype),
        ({"ObjectType": "Tube"}, Unreadable),
        ({"BinaryData": "False"}, Unreadable),
        ({"CompressedData": "Yes"}, Unreadable),
        ({"CompressedData": "True"}, ChecksumMismatch),
        ({"ElementToIntensityFunctionSlope": 2}, NotHounsfield),  # ITK passes it over
        ({"ElementToIntensityFunctionOffset": -1024}, NotHounsfield),
        ({"HeaderSize": -2}, Unreadable),
        ({"HeaderSize": 10}, Unreadable),
        ({"HeaderSize": 1 << 40}, Unreadable),
        ({"no name": "value"}, Unreadable),
        ({"Comment": "\x1b[2J"}, Unreadable),
        ({"Offset ": "0 0 0"}, Unreadable),  # twice
    ],
)
@pytest.mark.parametrize("suffix", [".mha", ".mhd"])
def test_a_damaged_header_has_its_own_error(tmp_path, suffix, changed, error):
    path = write_metaimage(tmp_path / f"scan{suffix}", **changed)
    with pytest.raises(BadScan) as caught:
        read(path)
    if (suffix, changed) == (".mhd", {"HeaderSize": 10}):
        error = Truncated  # in a file of their own, ten bytes may precede the voxels
    assert type(caught.value) is error
    assert str(caught.value).startswith("scan.")
    assert str(caught.value).isprintable()
    assert "; " in str(caught.value)


@pytest.mark.parametrize("dropped", ["DimSize", "ElementType", "NDims", "ElementSpacing"])
def test_what_is_missing_is_named(tmp_path, dropped):
    with pytest.raises(BadScan, match=dropped):
        read(write_metaimage(tmp_path / "a.mha", **{dropped: None}))


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("LIST", "list of files"),
        ("slice%03d.raw 1 12 1", "list of files"),
        ("../a.raw", "same folder"),
        ("/etc/passwd", "same folder"),
        ("C:\\data\\a.raw", "same folder"),
        (".", "same folder"),
        ("..", "same folder"),
        ("", "same folder"),
        ("a.mhd", "its own voxel file"),
        ("nothing.raw", "is missing"),
        ("x" * 5000, "File name too long|is missing"),
    ],
)
def test_voxels_are_looked_for_in_one_file_of_the_same_folder_only(tmp_path, name, match):
    path = write_metaimage(tmp_path / "raw" / "a.mhd", voxel_file="a.raw")
    (tmp_path / "a.raw").write_bytes(chest_hu().tobytes("F"))
    path.write_bytes(text_of(fields_of(chest_hu()), name))
    for refused in (read, source_files):
        with pytest.raises(Unreadable, match=match):
            refused(path)


def test_a_mha_whose_voxels_are_elsewhere_is_refused_and_a_mhd_may_hold_its_own(tmp_path):
    """The files of a `.mha` are told by its name."""
    (tmp_path / "a.raw").write_bytes(chest_hu().tobytes("F"))
    with pytest.raises(Unreadable, match=r"name it \.mhd"):
        read(write_metaimage(tmp_path / "a.mha", voxel_file="a.raw"))
    write_metaimage(tmp_path / "a.mha").rename(tmp_path / "a.mhd")
    assert source_files(tmp_path / "a.mhd") == (tmp_path / "a.mhd",)


@pytest.mark.parametrize(("suffix", "compressed"), CONTAINERS)
def test_every_truncation_is_found(tmp_path, suffix, compressed):
    path = write_metaimage(tmp_path / f"a{suffix}", chest_hu((6, 5, 4)), compressed=compressed)
    for file in source_files(path):
        whole = file.read_bytes()
        for length in range(0, len(whole) - (suffix == ".mhd" and file == path), 3):  # but the end of the last line
            file.write_bytes(whole[:length])
            with pytest.raises(BadScan):
                read(path)
        file.write_bytes(whole)


@pytest.mark.parametrize("compressor", [zlib.compress, gzip.compress])
def test_damage_to_compressed_voxels_is_found(tmp_path, compressor):
    array = chest_hu((6, 5, 4))
    whole = compressor(array.tobytes("F"))
    found = 0
    for bit in range(0, 8 * len(whole), 3):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path = write_metaimage(tmp_path / "a.mha", array, voxels=bytes(flipped), CompressedData=True)
        try:
            with no_hang():
                assert np.array_equal(read(path)[0], array), f"bit {bit} changed voxels silently"
        except BadScan:
            found += 1
    assert found > 2 * len(whole)


def test_the_checksum_of_zlib_is_verified(tmp_path):
    packed = zlib.compress(chest_hu().tobytes("F"))
    path = write_metaimage(tmp_path / "a.mha", voxels=packed[:-1] + bytes([packed[-1] ^ 1]), CompressedData=True)
    with pytest.raises(ChecksumMismatch, match=r"a\.mha: its zlib stream is damaged"):
        read(path)


@pytest.mark.parametrize(
    ("rest", "error"), [(b"\0" * 100, None), (b"x", ChecksumMismatch), (b"\0" * 600_000 + b"x", ChecksumMismatch)]
)
def test_only_zeros_may_follow_a_zlib_stream(tmp_path, rest, error):
    packed = zlib.compress(chest_hu().tobytes("F"))
    path = write_metaimage(tmp_path / "a.mha", voxels=packed + rest, CompressedData=True)
    if error is None:
        assert np.array_equal(read(path)[0], chest_hu())
    else:
        with pytest.raises(error, match="other bytes follow"):
            read(path)


@pytest.mark.parametrize(("more", "error"), [(1, Truncated), (-1, Unreadable)])
def test_a_compressed_size_that_is_not_the_file_s_is_refused(tmp_path, more, error):
    packed = zlib.compress(chest_hu().tobytes("F"))
    for suffix in (".mha", ".mhd"):
        path = write_metaimage(
            tmp_path / f"a{suffix}", voxels=packed, CompressedData=True, CompressedDataSize=len(packed) + more
        )
        with pytest.raises(error, match="compressed bytes, its header declares"):
            read(path)


def test_more_voxels_than_declared_are_geometry_when_compressed_too(tmp_path):
    path = write_metaimage(tmp_path / "a.mha", compressed=True, DimSize="24 20 11")
    with pytest.raises(BadGeometry, match="bytes or more follow"):
        read(path)


def test_a_zlib_bomb_is_oversize(tmp_path):
    packed = zlib.compress(bytes(8 << 20), 9)
    path = write_metaimage(tmp_path / "a.mha", voxels=packed, CompressedData=True, DimSize="4096 4096 200")
    with pytest.raises(Oversize, match="cannot inflate"):
        read_header(path)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", Unreadable),
        (b"patient,label\n1,0\n" * 100, Unreadable),
        (bytes(range(256)) * 1000, Unreadable),
        (b"x" * (1 << 20), Unreadable),
        (b"\n" * (1 << 20), Unreadable),
        (b"ElementDataFile = LOCAL\n", NotThreeD),
        (b"\xff\xfe = 1\nElementDataFile = LOCAL\n", Unreadable),
        (b"ElementDataFile =" + b" " * (1 << 20), Unreadable),
        (b"Comment = x" + b" " * 60_000 + b"y\nElementDataFile = LOCAL\n", NotThreeD),
    ],
    ids=["empty", "text", "bytes", "long", "lines", "last-line", "no-utf-8", "endless", "spaces"],
)
@pytest.mark.parametrize("suffix", [".mha", ".mhd"])
def test_what_is_no_metaimage_is_said_to_be_none(tmp_path, content, error, suffix):
    path = tmp_path / f"odd{suffix}"
    path.write_bytes(content)
    with no_hang(), pytest.raises(BadScan) as caught:
        read(path)
    assert caught.value.code in (error.code, "unreadable")


def test_a_mhd_larger_than_any_is_oversize(tmp_path):
    path = write_metaimage(tmp_path / "a.mhd")
    path.write_bytes(path.read_bytes() + b"\n" * (1 << 17))
    with pytest.raises(Oversize, match="64 KiB"):
        read(path)


def test_directories_pipes_and_missing_files_are_refused_at_once(tmp_path):
    for suffix in (".mha", ".mhd"):
        (tmp_path / f"folder{suffix}").mkdir()
        os.mkfifo(tmp_path / f"pipe{suffix}")
    write_metaimage(tmp_path / "beside.mhd")
    (tmp_path / "beside.raw").unlink()
    os.mkfifo(tmp_path / "beside.raw")
    names = {"folder.mha": Unreadable, "pipe.mha": Unreadable, "nothing.mha": Vanished}
    names |= {"folder.mhd": Unreadable, "pipe.mhd": Unreadable, "nothing.mhd": Vanished, "beside.mhd": Unreadable}
    for name, error in names.items():
        with no_hang(), pytest.raises(error):
            read(tmp_path / name)


@pytest.mark.parametrize("changing", [".mhd", ".raw"])
def test_a_file_that_changes_while_it_is_read_is_vanished(tmp_path, changing):
    path = write_metaimage(tmp_path / "a.mhd")
    with open_reader(path) as reader, pytest.raises(Vanished):
        for _ in reader.slabs():
            os.utime(path.with_suffix(changing), (1, 1))


def test_a_folder_of_both_formats_becomes_one_store(tmp_path):
    raw = tmp_path / "raw"
    write_scan(raw / "CT-0" / "a.nii.gz", seed=0)
    write_metaimage(raw / "CT-0" / "b.mha", seed=1)
    write_metaimage(raw / "CT-1" / "c.mhd", seed=2)
    write_metaimage(raw / "CT-1" / "d.MHD", seed=3, compressed=True)
    done = convert(raw, tmp_path / "out.zarr", recipe=RECIPE, scheduler="synchronous")
    assert done.store.scans == ("CT-0/a", "CT-0/b", "CT-1/c", "CT-1/d")
    assert not done.rejected
    again = convert(raw, tmp_path / "out.zarr", recipe=RECIPE, scheduler="synchronous")
    assert again.reused == 4
    (raw / "CT-1" / "c.raw").write_bytes(chest_hu(seed=9).tobytes("F"))
    edited = convert(raw, tmp_path / "out.zarr", recipe=RECIPE, scheduler="synchronous")
    assert edited.reused == 3


def test_one_id_in_two_formats_is_rejected(tmp_path):
    write_scan(tmp_path / "a.nii.gz")
    write_metaimage(tmp_path / "a.mha")
    write_metaimage(tmp_path / "b.mha")
    catalog = find_scans(tmp_path)
    assert [scan.id for scan in catalog.scans] == ["b"]
    (rejection,) = catalog.rejected
    assert (rejection.scan, rejection.code) == ("a", "duplicate")
    assert "two files have this id (a.mha and a.nii.gz)" in rejection.reason


def test_a_label_table_may_name_the_files(tmp_path):
    write_metaimage(tmp_path / "raw" / "a.mha")
    write_metaimage(tmp_path / "raw" / "b.mhd")
    table = tmp_path / "labels.csv"
    table.write_text("scan,label\na.mha,ill\nb.mhd,well\n")
    catalog = find_scans(tmp_path / "raw", labels=table)
    assert [(scan.id, catalog.classes[scan.label]) for scan in catalog.scans] == [("a", "ill"), ("b", "well")]


def test_a_voxel_file_that_is_a_link_out_of_the_raw_folder_is_not_read(tmp_path):
    for name in "ab":
        write_metaimage(tmp_path / "raw" / f"{name}.mhd")
    (tmp_path / "raw" / "a.raw").rename(tmp_path / "elsewhere.raw")
    (tmp_path / "raw" / "a.raw").symlink_to(tmp_path / "elsewhere.raw")
    catalog = find_scans(tmp_path / "raw")
    assert [scan.id for scan in catalog.scans] == ["b"]
    assert "is a link out of the raw folder" in catalog.rejected[0].reason
