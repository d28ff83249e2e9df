"""The picture of one scan shows what the first epochs of a training see."""

import dataclasses

import numpy as np
import pytest
from matplotlib.image import imread

from ctmodel.data.augment import PRESETS, Augmentation
from ctmodel.data.batches import open_volumes
from ctmodel.data.order import cut_batches
from ctmodel.data.pipeline import training_epoch
from ctmodel.views.augmented import EPOCHS, augmented, write_augmented
from ctprep.errors import ScanNotFound, TargetError
from ctprep.store.store import open_store


def test_a_training_sees_what_the_picture_shows(store_path):
    store, reader = open_volumes(store_path)
    unmixed = dataclasses.replace(PRESETS["strong"], mixup=0.0)
    shown = augmented(store.unit(store.volume(5)), 5, augmentation=PRESETS["strong"], seed=3)
    assert len(shown) == EPOCHS
    for epoch in (0, 1, 15):
        batches = cut_batches(np.arange(8), 4)
        seen = {
            int(row): volume
            for rows, volumes in training_epoch(reader, batches, seed=3, epoch=epoch, augmentation=unmixed)
            for row, volume in zip(rows, volumes, strict=True)
        }
        np.testing.assert_allclose(seen[5][..., 0], shown[epoch], atol=1e-6)


def test_the_scan_stands_beside_sixteen_changes(store_path, tmp_path):
    store = open_store(store_path)
    out = write_augmented(store, store.scans[0], tmp_path / "out.png", strength="strong", seed=0)
    picture = imread(out)[..., :3].mean(axis=2)
    tiles = np.array_split(picture[44:], 6)
    assert all(len(np.unique(tile)) > 20 for tile in tiles)
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]


def test_what_changes_nothing_shows_the_same_sixteen_times(store_path):
    store = open_store(store_path)
    volume = store.unit(store.volume(0))
    assert all(np.array_equal(volume, one) for one in augmented(volume, 0, augmentation=Augmentation(), seed=0))


@pytest.mark.parametrize(
    ("scan", "out", "error"),
    [
        ("no such scan", "out.png", ScanNotFound),
        (None, "out.txt", TargetError),
        (None, "no/such/folder/out.png", TargetError),
    ],
)
def test_what_cannot_be_drawn_is_said(store_path, tmp_path, scan, out, error):
    store = open_store(store_path)
    with pytest.raises(error):
        write_augmented(store, scan or store.scans[0], tmp_path / out, strength="light", seed=0)
