"""Batches hold what the store holds, in the order asked, and never what it does not hold."""

import os
import shutil

import numpy as np
import pytest

from ctmodel.data.batches import open_volumes
from ctmodel.errors import BadVolume, StoreChanged
from ctprep.errors import StoreNotFound


@pytest.fixture
def own_store(store_path, tmp_path):
    return shutil.copytree(store_path, tmp_path / "own.zarr")


@pytest.mark.parametrize("ahead", [0, 1, 50])
def test_batches_are_the_store_s_volumes_in_the_order_asked(store_path, ahead):
    store, reader = open_volumes(store_path)
    asked = [np.array([3, 0, 7]), np.array([5]), np.array([1, 1])]
    batches = list(reader.read(asked, ahead=ahead))
    assert [batch.rows.tolist() for batch in batches] == [[3, 0, 7], [5], [1, 1]]
    for batch in batches:
        expected = np.stack([store.volume(row) for row in batch.rows])
        assert batch.volumes.dtype == expected.dtype == np.float16
        np.testing.assert_array_equal(batch.volumes, expected)


def test_no_more_is_read_ahead_than_asked(store_path):
    _, reader = open_volumes(store_path)
    begun = []

    def rows():
        for row in range(10):
            begun.append(row)
            yield np.array([row])

    next(reader.read(rows(), ahead=2))
    assert begun == [0, 1, 2]


@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8"])
def test_a_missing_chunk_is_an_error_that_names_the_scan(cohort, tmp_path, dtype):
    store, reader = open_volumes(cohort.store(tmp_path / "out.zarr", dtype=dtype))
    (store.path / "volume" / "c.4.0.0.0").unlink()
    with pytest.raises(BadVolume, match=rf"{store.scans[4]} \(row 4\) is missing"):
        list(reader.read([np.array([3, 4])]))


def test_a_damaged_chunk_is_an_error_that_names_the_scan(own_store):
    store, reader = open_volumes(own_store)
    chunk = own_store / "volume" / "c.2.0.0.0"
    damaged = bytearray(chunk.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    chunk.write_bytes(damaged)
    with pytest.raises(BadVolume, match=rf"{store.scans[2]} \(row 2\) is damaged"):
        list(reader.read([np.array([2])]))


def test_a_store_that_takes_another_s_place_is_noticed(own_store, tmp_path):
    _, reader = open_volumes(own_store)
    batches = reader.read([np.array([row]) for row in range(4)], ahead=0)
    next(batches)
    copy = shutil.copytree(own_store, tmp_path / "copy.zarr")
    own_store.rename(tmp_path / "old.zarr")
    copy.rename(own_store)
    with pytest.raises(StoreChanged, match="was replaced or edited"):
        next(batches)


def test_a_store_that_vanishes_is_said_to_have_changed(own_store):
    _, reader = open_volumes(own_store)
    shutil.rmtree(own_store)
    with pytest.raises(StoreChanged):
        list(reader.read([np.array([0])]))


def test_an_edit_in_place_is_noticed(own_store):
    _, reader = open_volumes(own_store)
    os.utime(own_store / "zarr.json", ns=(0, 0))
    with pytest.raises(StoreChanged):
        list(reader.read([np.array([0])]))


def test_a_store_without_volumes_cannot_be_opened(own_store, tmp_path):
    with pytest.raises(StoreNotFound):
        open_volumes(tmp_path / "nothing.zarr")


def test_volumes_that_changed_places_are_never_read(store_path, tmp_path):
    copy = tmp_path / "swapped.zarr"
    shutil.copytree(store_path, copy)
    first, second = (copy / "volume" / f"c.{row}.0.0.0" for row in (0, 1))
    whole = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(whole)
    store, reader = open_volumes(copy)
    with pytest.raises(BadVolume, match="is not the one that was written"):
        list(reader.read([np.array([2, 1])]))
    with pytest.raises(BadVolume, match="row 0"):
        reader.check(np.arange(len(store)))
    reader.check(np.arange(2, len(store)))
