"""Tensors hold the store's intensities, each row once an epoch, and errors keep their type."""

import shutil

import numpy as np
import pytest

from ctmodel.data.augment import Augmentation
from ctmodel.data.batches import open_volumes
from ctmodel.data.order import cut_batches, epoch_batches
from ctmodel.data.pipeline import plain_batches, to_input, training_epoch
from ctmodel.errors import BadVolume

ROWS = np.array([1, 4, 6, 8, 9, 11, 12])


def epoch_of(reader, *, epoch=0, augmentation=None):
    batches = epoch_batches(ROWS, batch_size=3, seed=5, epoch=epoch)
    return list(training_epoch(reader, batches, seed=5, epoch=epoch, augmentation=augmentation or Augmentation()))


@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8"])
def test_a_network_sees_the_store_s_unit_intensities(cohort, tmp_path, dtype):
    store, reader = open_volumes(cohort.store(tmp_path / "out.zarr", dtype=dtype))
    ((rows, volumes),) = plain_batches(reader, reader.read([np.array([2, 5])]))
    assert rows.tolist() == [2, 5]
    assert volumes.dtype == "float32"
    np.testing.assert_array_equal(volumes[..., 0], np.stack([store.unit(store.volume(row)) for row in rows]))


def test_bytes_fill_the_unit_interval():
    assert to_input(np.array([[[[0, 254]]]], dtype=np.uint8)).numpy().ravel().tolist() == [0, 1]


def test_an_epoch_visits_its_batches_in_their_order(store_path):
    store, reader = open_volumes(store_path)
    batches = cut_batches(ROWS[::-1], 3)
    visited = list(training_epoch(reader, batches, seed=5, epoch=3, augmentation=Augmentation()))
    for batch, (rows, volumes) in zip(batches, visited, strict=True):
        assert rows.tolist() == batch.tolist()
        np.testing.assert_array_equal(volumes[..., 0], [store.unit(store.volume(row)) for row in batch])


def test_augmented_scans_are_the_same_again_and_others_in_the_next_epoch(store_path):
    _, reader = open_volumes(store_path)

    def sorted_volumes(epoch):
        batches = epoch_of(reader, epoch=epoch, augmentation=Augmentation(shift=0.2, intensity=0.1))
        order = np.argsort(np.concatenate([rows for rows, _ in batches]))
        return np.concatenate([volumes for _, volumes in batches])[order]

    np.testing.assert_array_equal(sorted_volumes(1), sorted_volumes(1))
    assert np.any(sorted_volumes(1) != sorted_volumes(2))


@pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation(shift=0.1)])
def test_what_the_reader_raises_passes_through_tensorflow(store_path, tmp_path, augmentation):
    own = shutil.copytree(store_path, tmp_path / "own.zarr")
    store, reader = open_volumes(own)
    (own / "volume" / f"c.{ROWS[-1]}.0.0.0").unlink()
    with pytest.raises(BadVolume, match=store.scans[ROWS[-1]]):
        epoch_of(reader, augmentation=augmentation)


def test_an_epoch_that_is_left_early_can_be_begun_again(store_path):
    _, reader = open_volumes(store_path)
    next(iter(training_epoch(reader, cut_batches(ROWS, 2), seed=0, epoch=0, augmentation=Augmentation())))
    assert len(epoch_of(reader)) == 3


def test_stores_of_other_shapes_are_changed_in_the_same_process(cohort, tmp_path):
    for shape in ((12, 16, 8), (16, 12, 6)):
        _, reader = open_volumes(cohort.store(tmp_path / f"{shape[0]}.zarr", shape=shape))
        for _, volumes in epoch_of(reader, augmentation=Augmentation(rotation=5, nearest=True)):
            assert volumes.shape[1:] == (*shape, 1)
