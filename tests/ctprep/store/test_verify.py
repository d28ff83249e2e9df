"""What `ctprep verify` finds, and that it finds nothing where nothing is wrong."""

import json
import warnings

import numpy as np
import pytest
import zarr

from ctprep import convert
from ctprep.errors import CatalogError, StoreNotFound
from ctprep.scans.catalog import find_scans
from ctprep.store.chunk import chunk_path, encode_chunk
from ctprep.store.verify import verify
from ctprep.volume.recipe import Recipe
from tests.conftest import reseal, write_scan

SMALL = Recipe(shape=(8, 8, 4))


@pytest.fixture
def store(raw, tmp_path):
    return convert(raw, tmp_path / "out.zarr", recipe=SMALL).store.path


def found(path, **options):
    return [(finding.where, finding.what) for finding in verify(path, **options).findings]


@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8"])
def test_nothing_is_found_where_nothing_is_wrong(raw, tmp_path, dtype):
    done = convert(raw, tmp_path / "out.zarr", recipe=Recipe(shape=(8, 8, 4), dtype=dtype))
    verified = verify(done.store.path, raw=raw, sample=None)
    assert (verified.scans, verified.from_raw, verified.findings) == (6, 6, ())
    assert verified.digest == done.store.digest()


def test_a_subset_that_no_conversion_writes_is_found(raw, tmp_path):
    rows = [f"CT-{n // 3}/study_{n:04},{n},train" for n in range(6)]
    (tmp_path / "t.csv").write_text("\n".join(["scan,label,split", *rows]))
    path = convert(find_scans(raw, labels=tmp_path / "t.csv"), tmp_path / "out.zarr", recipe=SMALL).store.path
    assert found(path) == []
    zarr.open_group(path, mode="r+")["split"][0] = "tuning"
    reseal(path)
    assert found(path) == [("CT-0/study_0000", "its subset is 'tuning'; convert again with --rebuild")]


def test_links_are_followed_to_the_sources(raw, store, tmp_path):
    (tmp_path / "linked").mkdir()
    for folder in raw.iterdir():
        (tmp_path / "linked" / folder.name).symlink_to(folder)
    assert found(store, raw=tmp_path / "linked", sample=None) == []


def test_a_sample_of_the_sources_is_prepared_again(raw, store):
    assert verify(store, raw=raw, sample=2).from_raw == 2
    assert verify(str(store), raw=str(raw), sample=2) == verify(store, raw=raw, sample=2)


def test_each_damaged_volume_is_named_and_converting_again_mends_exactly_it(raw, store, tmp_path):
    whole = verify(store).digest
    (store / chunk_path(1)).unlink()
    damaged = store / chunk_path(4)
    damaged.write_bytes(damaged.read_bytes()[:-20])
    assert [where for where, _ in found(store)] == ["CT-0/study_0001", "CT-1/study_0004"]
    assert all(what.endswith("convert again to rebuild it") for _, what in found(store))
    assert found(store, raw=raw, sample=None) == found(store)  # each is named once
    assert convert(raw, store, recipe=SMALL).reused == 4
    assert verify(store).findings == ()
    assert verify(store).digest == whole


def test_a_bit_of_a_chunk_is_under_its_checksum(store):
    chunk = store / chunk_path(2)
    whole = chunk.read_bytes()
    for bit in np.random.default_rng(0).choice(len(whole) * 8, 200, replace=False).tolist():
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        chunk.write_bytes(flipped)
        assert [where for where, _ in found(store)] == ["CT-0/study_0002"], bit


def table_files(store):
    return sorted(path for path in store.rglob("*") if path.is_file() and not path.name.startswith("c."))


def test_a_bit_of_the_metadata_or_of_a_table_is_found(store):
    rng = np.random.default_rng(0)
    for path in table_files(store):
        whole = path.read_bytes()
        for bit in rng.choice(len(whole) * 8, 6, replace=False):
            flipped = bytearray(whole)
            flipped[bit // 8] ^= 1 << bit % 8
            path.write_bytes(flipped)
            assert found(store), (path, bit)
        path.write_bytes(whole)
    assert not found(store)


def test_a_lost_table_is_found(store):
    for path in table_files(store):
        whole = path.read_bytes()
        path.unlink()
        if path == store / "zarr.json":
            assert "is not a readable ctprep store" in found(store)[0][1]
        assert found(store), path
        path.write_bytes(whole)


def test_a_file_that_is_not_the_store_s_is_named(store):
    (store / "volume" / ".DS_Store").write_bytes(b"")
    (store / "notes.txt").write_bytes(b"")
    (store / chunk_path(6)).write_bytes((store / chunk_path(5)).read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [where for where, _ in found(store)] == ["notes.txt", "volume/.DS_Store", "volume/c.6.0.0.0"]


def rewrite(store, name, row, value):
    """Change one entry of a table as a program would, and seal it again: only what it says can give it away."""
    zarr.open_array(store / name, mode="r+")[row] = value
    reseal(store)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("label", 7, "its label is 7, there are 2 classes"),
        ("patient", "", "it has no patient"),
        ("source_sha256", "z" * 64, "the digest of its source is none"),
        ("source_shape", 0, "its source has the shape"),
        ("hu_quantile", np.nan, "its quantiles do not ascend"),
        ("nonfinite", 10**6, "non-finite voxels"),
        ("affine", 1.0, "does not follow"),
        ("source_affine", np.nan, "does not follow"),
        ("volume_crc32c", 1, "is not the one that was written"),
    ],
)
def test_a_record_that_no_conversion_writes_is_named(store, name, value, problem):
    rewrite(store, name, 3, value)
    findings = found(store)
    assert [where for where, _ in findings] == ["CT-1/study_0003"]
    assert problem in findings[0][1]


def test_a_volume_outside_its_range_is_named(store):
    chunk = store / chunk_path(0)
    chunk.write_bytes(encode_chunk(np.full((8, 8, 4), 1.5, np.float16)))
    rewrite(store, "volume_crc32c", 0, int.from_bytes(chunk.read_bytes()[-4:], "little"))
    assert found(store) == [("CT-0/study_0000", "its volume has values outside 0 to 1; convert again with --rebuild")]


def test_a_source_that_gives_something_else_is_named(raw, store):
    write_scan(raw / "CT-0" / "study_0000.nii.gz", seed=99)
    (raw / "CT-0" / "study_0001.nii.gz").unlink()
    (raw / "CT-0" / "study_0002.nii.gz").write_bytes(b"damaged")
    chunk = store / chunk_path(3)
    chunk.write_bytes(encode_chunk(np.full((8, 8, 4), 0.5, np.float16)))
    rewrite(store, "volume_crc32c", 3, int.from_bytes(chunk.read_bytes()[-4:], "little"))
    rewrite(store, "nonfinite", 4, 1)
    said = dict(found(store, raw=raw, sample=None))
    assert "has changed since" in said["CT-0/study_0000"]
    assert "is not in the raw folder" in said["CT-0/study_0001"]
    assert "is rejected now" in said["CT-0/study_0002"]
    assert "gives another volume" in said["CT-1/study_0003"]
    assert "gives another record" in said["CT-1/study_0004"]
    assert len(said) == 5


@pytest.mark.parametrize(
    "change",
    [
        lambda saved: saved["attributes"]["ctprep"].update(format=99),
        lambda saved: saved["attributes"]["ctprep"]["recipe"].update(shape=[10**6, 10**6, 10**6]),
        lambda saved: saved["attributes"]["ctprep"].update(classes="no list"),
        lambda saved: saved["attributes"]["ctprep"].pop("seal"),
    ],
)
def test_hostile_attributes_are_one_finding(store, change):
    saved = json.loads((store / "zarr.json").read_text())
    change(saved)
    (store / "zarr.json").write_text(json.dumps(saved))
    assert len(found(store)) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda saved: saved.update(shape=[2**60, 8, 8, 4]),
        lambda saved: saved["chunk_grid"]["configuration"].update(chunk_shape=[2**40, 8, 8, 4]),
        lambda saved: saved.update(codecs=[{"name": "../../evil", "configuration": {}}]),
        lambda saved: saved.update(data_type="complex128"),
        lambda saved: saved["chunk_key_encoding"].update(name="../../etc/passwd"),
    ],
)
@pytest.mark.parametrize("name", ["volume", "label"])
def test_hostile_metadata_is_one_finding_and_no_allocation(store, name, change):
    path = store / name / "zarr.json"
    saved = json.loads(path.read_text())
    change(saved)
    path.write_text(json.dumps(saved))
    assert len(found(store)) == 1


def test_what_cannot_be_looked_at_is_an_error(store, tmp_path):
    with pytest.raises(StoreNotFound):
        verify(tmp_path / "none.zarr")
    with pytest.raises(CatalogError):
        verify(store, raw=tmp_path / "none")
