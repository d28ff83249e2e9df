import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import xarray
import zarr

from ctprep.errors import RecipeError, ScanNotFound, StoreError, StoreNotFound
from ctprep.preparation import prepare
from ctprep.scans.scan import Rejection, Scan
from ctprep.store.chunk import chunk_checksum, chunk_path, encode_chunk, stated_checksum
from ctprep.store.format import StoreContents, write_tables
from ctprep.store.records import Records
from ctprep.store.store import Store, open_store
from ctprep.volume.recipe import Recipe
from tests.conftest import reseal, write_scan

DTYPES = ["float16", "float32", "uint8"]


def build(folder, dtype="float16"):
    """Write a store of three scans; return their volumes."""
    recipe = Recipe(shape=(8, 6, 4), dtype=dtype)
    prepared = [prepare(write_scan(folder / f"{n}.nii", seed=n), recipe) for n in range(3)]
    scans = tuple(
        Scan(f"é/{n}", "-", n - 1, f"p{n // 2}", (("age", "" if n else "61"), ("site", f"0{n}"))) for n in range(3)
    )
    rejected = (Rejection("z", "truncated", "z.nii: ends before its voxels do; copy it again"),)
    chunks = [encode_chunk(scan.volume) for scan in prepared]
    checksums = np.array([chunk_checksum(chunk) for chunk in chunks], np.uint32)
    records = Records.of(scan.record for scan in prepared)
    contents = StoreContents(recipe, ("no", "yes"), scans, records, checksums, rejected)
    write_tables(folder / "out.zarr", contents)
    for row, chunk in enumerate(chunks):
        (folder / "out.zarr" / chunk_path(row)).write_bytes(chunk)
    return contents, [scan.volume for scan in prepared]


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_written_is_read(tmp_path, dtype):
    contents, volumes = build(tmp_path, dtype)
    store = open_store(tmp_path / "out.zarr")
    assert store.recipe == contents.recipe
    assert store.classes == ("no", "yes")
    assert store.scans == ("é/0", "é/1", "é/2")
    assert store.labels.tolist() == [-1, 0, 1]
    assert store.patients == ("p0", "p0", "p1")
    assert store.records == contents.records
    assert tuple(store.records) == tuple(scan_record for scan_record in contents.records)
    assert store.rejected == contents.rejected
    assert np.isnan(store.meta["age"][1:]).all()
    assert store.meta["age"][0] == 61
    assert store.meta["site"].tolist() == ["00", "01", "02"]  # a code, not a number
    for row, volume in enumerate(volumes):
        assert np.array_equal(store.volume(row), volume)
        assert store.volume(row).dtype == dtype
        out = np.empty_like(volume)
        store.read_into(row, out)
        assert np.array_equal(out, volume)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_chunk_has_the_bytes_that_zarr_would_write(tmp_path, dtype):
    _, volumes = build(tmp_path, dtype)
    chunk = tmp_path / "out.zarr" / chunk_path(1)
    ours = chunk.read_bytes()
    array = zarr.open_array(tmp_path / "out.zarr" / "volume", mode="r+")
    with zarr.config.set({"threading.max_workers": 1}):
        array[1] = volumes[1]
    assert chunk.read_bytes() == ours
    assert chunk_checksum(ours) == stated_checksum(chunk) == int.from_bytes(ours[-4:], "little")
    assert chunk_checksum(ours[:-1]) is None
    assert chunk_checksum(b"") is None


@pytest.mark.parametrize("dtype", DTYPES)
def test_xarray_shows_one_dataset_with_the_same_values(tmp_path, dtype):
    _, volumes = build(tmp_path, dtype)
    store = open_store(tmp_path / "out.zarr")
    for consolidated in (True, False):
        dataset = xarray.open_zarr(tmp_path / "out.zarr", consolidated=consolidated)
        volume = dataset.sel(scan="é/2").volume
        assert volume.dims == ("x", "y", "z")
        assert np.allclose(volume, store.unit(volumes[2]), atol=1e-7)
        assert dataset.label.values.tolist() == [-1, 0, 1]
        assert dataset.hu_quantile.sel(quantile=0.5).shape == (3,)


def test_every_array_of_the_contract_is_there_with_its_dtype_and_axes(tmp_path):
    build(tmp_path)
    expected = {
        "volume": ("float16", ("scan", "x", "y", "z"), (1, 8, 6, 4)),
        "label": ("int16", ("scan",), (3,)),
        "scan": ("string", ("scan",), (3,)),
        "patient": ("string", ("scan",), (3,)),
        "affine": ("float64", ("scan", "row", "column"), (3, 4, 4)),
        "source_affine": ("float64", ("scan", "row", "column"), (3, 4, 4)),
        "source_shape": ("int32", ("scan", "source_axis"), (3, 3)),
        "source_sha256": ("string", ("scan",), (3,)),
        "hu_quantile": ("float32", ("scan", "quantile"), (3, 11)),
        "nonfinite": ("int64", ("scan",), (3,)),
        "volume_crc32c": ("uint32", ("scan",), (3,)),
    }
    for name, (dtype, axes, chunk) in expected.items():
        saved = json.loads((tmp_path / "out.zarr" / name / "zarr.json").read_text())
        assert saved["data_type"] == dtype
        assert tuple(saved["dimension_names"]) == axes
        assert tuple(saved["chunk_grid"]["configuration"]["chunk_shape"]) == chunk
        assert saved["codecs"][-1]["name"] == "crc32c"
    attributes = json.loads((tmp_path / "out.zarr" / "zarr.json").read_text())["attributes"]["ctprep"]
    assert attributes["format"] == 1
    assert attributes["recipe"]["arithmetic"] == 2
    assert attributes["recipe_digest"] == Recipe(shape=(8, 6, 4)).digest


def read_into(store, row):
    store.read_into(row, np.empty(store.recipe.shape, store.recipe.dtype))


WAYS_TO_READ = [Store.volume, read_into]


@pytest.mark.parametrize("read", WAYS_TO_READ)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_missing_volume_is_an_error_and_no_air(tmp_path, dtype, read):
    build(tmp_path, dtype)
    (tmp_path / "out.zarr" / chunk_path(1)).unlink()
    store = open_store(tmp_path / "out.zarr")
    with pytest.raises(StoreError, match=r"the volume of é/1 \(row 1\) is missing"):
        read(store, 1)
    assert np.isfinite(store.volume(0)).all()
    if dtype != "uint8":
        assert np.isnan(zarr.open_array(tmp_path / "out.zarr" / "volume")[1]).all()


@pytest.mark.parametrize("read", WAYS_TO_READ)
def test_a_damaged_volume_is_an_error(tmp_path, read):
    build(tmp_path)
    chunk = tmp_path / "out.zarr" / chunk_path(2)
    whole = chunk.read_bytes()
    store = open_store(tmp_path / "out.zarr")
    for position in range(0, len(whole), 7):
        chunk.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(StoreError, match="the volume of é/2"):
            read(store, 2)
    for damaged in (b"", whole[:3], whole[:-1], whole + b"\0", whole * 99):
        chunk.write_bytes(damaged)
        with pytest.raises(StoreError, match="the volume of é/2"):
            read(store, 2)


def test_a_damaged_volume_leaves_the_array_as_it_was(tmp_path):
    build(tmp_path)
    chunk = tmp_path / "out.zarr" / chunk_path(2)
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"\0")
    store = open_store(tmp_path / "out.zarr")
    out = np.full(store.recipe.shape, 7, np.float16)
    with pytest.raises(StoreError, match=r"é/2 \(row 2\) is damaged"):
        store.read_into(2, out)
    assert np.all(out == 7)


def test_a_volume_that_cannot_be_read_is_an_error_that_names_it(tmp_path):
    build(tmp_path)
    chunk = tmp_path / "out.zarr" / chunk_path(1)
    chunk.unlink()
    chunk.mkdir()
    with pytest.raises(StoreError, match=r"é/1 \(row 1\) cannot be read \(Is a directory\)"):
        read_into(open_store(tmp_path / "out.zarr"), 1)


@pytest.mark.parametrize("read", WAYS_TO_READ)
def test_volumes_that_changed_places_are_an_error(tmp_path, read):
    build(tmp_path)
    first, second = (tmp_path / "out.zarr" / chunk_path(row) for row in (0, 1))
    whole = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(whole)
    with pytest.raises(StoreError, match="is not the one that was written"):
        read(open_store(tmp_path / "out.zarr"), 0)


def test_a_store_of_an_older_arithmetic_is_read_but_prepares_nothing(tmp_path):
    build(tmp_path)
    damage_json(
        tmp_path / "out.zarr" / "zarr.json",
        lambda saved: saved["attributes"]["ctprep"]["recipe"].update(arithmetic=0),
    )
    reseal(tmp_path / "out.zarr")
    store = open_store(tmp_path / "out.zarr")
    assert np.isfinite(store.volume(0)).all()
    with pytest.raises(RecipeError, match="version 0 of the arithmetic"):
        prepare(tmp_path / "0.nii", store.recipe)


def test_nothing_needs_hard_links(tmp_path, monkeypatch):
    def no_links(*args, **kwargs):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", no_links)
    contents, _ = build(tmp_path)
    assert open_store(tmp_path / "out.zarr").records == contents.records


def test_the_metadata_s_bytes_do_not_depend_on_the_order_of_a_folder(tmp_path):
    build(tmp_path)
    saved = json.loads((tmp_path / "out.zarr" / "zarr.json").read_text())
    names = list(saved["consolidated_metadata"]["metadata"])
    assert names == sorted(names)


@pytest.mark.parametrize("read", WAYS_TO_READ)
@pytest.mark.parametrize("row", [-1, 3])
def test_a_row_beyond_the_store_is_an_error(tmp_path, row, read):
    build(tmp_path)
    with pytest.raises(StoreError, match="has no row"):
        read(open_store(tmp_path / "out.zarr"), row)


def test_an_unknown_scan_is_an_error_that_says_why(tmp_path):
    build(tmp_path)
    store = open_store(tmp_path / "out.zarr")
    assert store.row("é/1") == 1
    with pytest.raises(ScanNotFound, match=r"no such scan in out\.zarr, which holds é/0, é/1, é/2"):
        store.row("x")
    with pytest.raises(ScanNotFound, match=r"was rejected .truncated."):
        store.row("z")


def damage_json(path, change):
    saved = json.loads(path.read_text())
    change(saved)
    path.write_text(json.dumps(saved))


@pytest.mark.parametrize(
    "damage",
    [
        lambda out: (out / "label" / "c" / "0").unlink(),
        lambda out: (out / "label" / "c" / "0").write_bytes(b"x" * 40),
        lambda out: shutil.rmtree(out / "affine"),
        lambda out: (out / "zarr.json").write_text("{"),
        lambda out: (out / "zarr.json").unlink(),
        lambda out: (out / "volume" / "zarr.json").write_text("[]"),
        lambda out: damage_json(out / "label" / "zarr.json", lambda saved: saved.update(shape=[2])),
        lambda out: damage_json(out / "volume" / "zarr.json", lambda saved: saved.update(shape=[10**15, 8, 6, 4])),
        lambda out: damage_json(out / "label" / "zarr.json", lambda saved: saved.update(codecs=[{"name": "?"}])),
        lambda out: damage_json(out / "zarr.json", lambda saved: saved["attributes"]["ctprep"].update(format=2)),
        lambda out: damage_json(out / "zarr.json", lambda saved: saved["attributes"]["ctprep"].pop("recipe")),
    ],
)
def test_a_damaged_store_is_refused_in_one_line(tmp_path, damage):
    build(tmp_path)
    damage(tmp_path / "out.zarr")
    with pytest.raises(StoreError) as caught:
        open_store(tmp_path / "out.zarr")
    assert str(caught.value).startswith(str(tmp_path / "out.zarr"))
    assert "\n" not in str(caught.value)


def test_what_is_no_store_is_said_to_be_none(tmp_path):
    with pytest.raises(StoreNotFound, match="ctprep convert"):
        open_store(tmp_path / "missing.zarr")
    (tmp_path / "file").write_text("text")
    for path in (tmp_path, tmp_path / "file"):
        with pytest.raises(StoreError, match="is not a readable ctprep store"):
            open_store(path)


def test_the_digest_depends_on_every_byte_and_every_name(tmp_path):
    build(tmp_path)
    store = open_store(tmp_path / "out.zarr")
    before = store.digest()
    shutil.copytree(tmp_path / "out.zarr", tmp_path / "copy.zarr")
    assert open_store(tmp_path / "copy.zarr").digest() == before
    chunk = tmp_path / "out.zarr" / chunk_path(0)
    chunk.rename(chunk.with_name("other"))
    assert store.digest() != before
    chunk.with_name("other").rename(chunk)
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"\0")
    assert store.digest() != before


def test_a_store_is_shown_in_one_line_whatever_it_holds(tmp_path):
    build(tmp_path, "float16")
    store = replace(open_store(tmp_path / "out.zarr"), classes=("no", "b<i>\x1b\n"))
    shape = " x ".join(map(str, store.recipe.shape))
    contents = rf"3 scans of {shape} float16, 1 no, 1 b<i>\x1b\n, 1 unlabelled"
    assert repr(store) == f"Store({str(tmp_path / 'out.zarr')!r}: {contents})"
    assert str(store).startswith("out.zarr: 3 scans of 2 patients (1 no, ")
    assert r"<tr><td>b&lt;i&gt;\x1b\n</td><td>1</td></tr>" in store._repr_html_()
    many = replace(store, classes=tuple(f"class {number}" for number in range(1000)))
    assert repr(many).endswith("993 more classes)")
