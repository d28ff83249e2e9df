"""A Keras user's dataset is what the trainer sees, epoch by epoch; NumPy batches are the same without changes."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from ctmodel.data.augment import augmentation_of, draw_mixing, mix
from ctmodel.data.batches import batches, open_volumes
from ctmodel.data.dataset import dataset
from ctmodel.data.division import divide
from ctmodel.data.order import epoch_batches
from ctmodel.data.pipeline import training_epoch
from ctmodel.devices.backend import keras, tf
from ctmodel.errors import BadVolume, SettingsError, SplitError
from ctmodel.settings import TrainSettings

SETTINGS = {"batch_size": 3, "seed": 5}


def seen_by_the_trainer(store_path, *, epoch, augment):
    """Volumes and shares of class 1 of each batch of an epoch, by the functions that the training loop calls."""
    store, reader = open_volumes(store_path)
    rows = divide(store, TrainSettings(**SETTINGS)).rows("train")
    drawn_by = {"seed": SETTINGS["seed"], "epoch": epoch}
    augmentation = augmentation_of(augment, nearest=True)
    in_order = epoch_batches(rows, batch_size=SETTINGS["batch_size"], **drawn_by)
    for own, volumes in training_epoch(reader, in_order, augmentation=augmentation, **drawn_by):
        shares = np.eye(2, dtype=np.float32)[store.labels[own]]
        if augmentation.mixup:
            shares = np.asarray(mix(shares, draw_mixing(augmentation, own, **drawn_by)))
        yield np.asarray(volumes), shares[:, 1:]


def assert_same(found, expected):
    for (volumes, labels), (its_volumes, its_labels) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(volumes, its_volumes)
        np.testing.assert_allclose(labels, its_labels, rtol=1e-6)


@pytest.mark.parametrize("residency", ["stream", "host"])
@pytest.mark.parametrize("augment", ["off", "light", "strong"])
def test_each_pass_is_the_next_epoch_of_the_trainer(store_path, augment, residency):
    passes = dataset(store_path, residency=residency, augment=augment, **SETTINGS)
    for epoch in range(3):
        expected = seen_by_the_trainer(store_path, epoch=epoch, augment=augment)
        assert_same(passes.as_numpy_iterator(), expected)


def test_a_pass_that_is_left_early_is_begun_anew(store_path):
    passes = dataset(store_path, augment="off", **SETTINGS)
    next(iter(passes))
    assert_same(passes.as_numpy_iterator(), seen_by_the_trainer(store_path, epoch=0, augment="off"))


def test_a_dataset_goes_on_at_the_epoch_that_is_asked_for(store_path):
    later = dataset(store_path, augment="light", first_epoch=2, **SETTINGS)
    assert_same(later.as_numpy_iterator(), seen_by_the_trainer(store_path, epoch=2, augment="light"))


@pytest.mark.parametrize("subset", ["validation", "test"])
def test_other_subsets_come_as_they_are(store_path, subset):
    store, _ = open_volumes(store_path)
    rows = divide(store, TrainSettings(**SETTINGS)).rows(subset)
    for _ in range(2):
        found = list(dataset(store_path, subset, augment="strong", **SETTINGS).as_numpy_iterator())
        assert np.concatenate([labels[:, 0] for _, labels in found]).tolist() == store.labels[rows].tolist()
        expected = [store.unit(store.volume(row)) for row in rows]
        np.testing.assert_array_equal(np.concatenate([volumes[..., 0] for volumes, _ in found]), expected)


def test_keras_trains_and_evaluates_on_it(store_path):
    passes = dataset(store_path, **SETTINGS)
    assert passes.cardinality() == len(list(passes))
    flat = [keras.layers.AveragePooling3D(4), keras.layers.Flatten(), keras.layers.Dense(1, activation="sigmoid")]
    model = keras.Sequential([keras.layers.Input(passes.element_spec[0].shape[1:]), *flat])
    model.compile("adam", "binary_crossentropy")
    history = model.fit(
        passes, validation_data=dataset(store_path, "validation", **SETTINGS), epochs=2, shuffle=False, verbose=0
    )
    assert np.all(np.isfinite(history.history["val_loss"]))
    following = seen_by_the_trainer(store_path, epoch=3, augment="light")  # one pass above, two by Keras
    assert_same(passes.as_numpy_iterator(), following)


def test_numpy_batches_are_in_the_trainer_s_order(store_path):
    for epoch in range(2):
        found = (
            (volumes[..., None], labels[:, None]) for volumes, labels in batches(store_path, epoch=epoch, **SETTINGS)
        )
        assert_same(found, seen_by_the_trainer(store_path, epoch=epoch, augment="off"))


def test_numpy_batches_need_no_tensorflow(store_path):
    script = (
        "import sys, ctmodel\n"
        f"print([len(labels) for _, labels in ctmodel.batches({str(store_path)!r}, 'test')])\n"
        "print('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert ran.stdout.splitlines()[-1] == "False"


def test_what_is_asked_wrongly_is_said(store_path):
    with pytest.raises(SplitError, match="subset: 'training', expected one of train, validation, test"):
        dataset(store_path, "training")
    with pytest.raises(SplitError, match="subset: 'all'"):
        batches(store_path, "all")
    with pytest.raises(SettingsError, match=r"residency: .device.*takes batches from the host"):
        dataset(store_path, residency="device")
    with pytest.raises(SettingsError, match="batch_size: 0"):
        batches(store_path, batch_size=0)


def test_damage_stops_both(store_path, tmp_path):
    own = shutil.copytree(store_path, tmp_path / "own.zarr")
    store, _ = open_volumes(own)
    row = divide(store, TrainSettings(**SETTINGS)).rows("train")[0]
    (own / "volume" / f"c.{row}.0.0.0").unlink()
    with pytest.raises(BadVolume):
        list(batches(own, **SETTINGS))
    with pytest.raises(tf.errors.OpError, match=store.scans[row]):
        list(dataset(own, residency="stream", **SETTINGS))
