"""Wherever the volumes are, a training sees the same batches, and nothing that the store does not hold."""

import dataclasses
import shutil

import numpy as np
import pytest
from tiny_cohort import TINY

from ctmodel.data.augment import Augmentation, draw_mixing, mix
from ctmodel.data.batches import open_volumes
from ctmodel.data.order import epoch_batches
from ctmodel.data.pipeline import blocks_of, training_dataset, training_epoch
from ctmodel.data.residency import OnDevice, OnHost, fitting_residency, hold, settle
from ctmodel.devices.backend import accelerator, free_accelerator_bytes, tf
from ctmodel.devices.memory import available_bytes
from ctmodel.devices.parts import replica_part
from ctmodel.errors import BadVolume, SettingsError, StoreChanged
from ctmodel.settings import Execution
from ctmodel.training.train import train

ROWS = np.array([12, 1, 4, 6, 8, 9, 11])
CHOICES = ("stream", "host", "device")
EPOCH = {"seed": 5, "epoch": 2}
BATCHES = epoch_batches(ROWS, batch_size=3, **EPOCH)
CHANGED = Augmentation(flip=True, shift=0.2, intensity=0.1, mixup=0.3)


def epoch_of(volumes, batches=BATCHES, *, augmentation=CHANGED):
    return list(training_epoch(volumes, batches, augmentation=augmentation, **EPOCH))


@pytest.mark.parametrize("augmentation", [Augmentation(), CHANGED], ids=["plain", "changed"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8"])
def test_every_residency_gives_the_same_batches(cohort, tmp_path, dtype, augmentation):
    store, reader = open_volumes(cohort.store(tmp_path / "out.zarr", dtype=dtype))
    expected = epoch_of(reader, augmentation=augmentation)
    assert np.concatenate([rows for rows, _ in expected]).tolist() != ROWS.tolist()
    if augmentation.changes_nothing:
        for rows, volumes in expected:
            np.testing.assert_array_equal(volumes[..., 0], [store.unit(store.volume(row)) for row in rows])
    for residency in CHOICES:
        batches = epoch_of(settle(reader, ROWS, residency), augmentation=augmentation)
        for (rows, volumes), (expected_rows, expected_volumes) in zip(batches, expected, strict=True):
            assert rows.tolist() == expected_rows.tolist()
            np.testing.assert_array_equal(volumes, expected_volumes)


def test_volumes_are_mixed_as_their_labels_are(store_path):
    _, reader = open_volumes(store_path)
    plain, mixed = (epoch_of(reader, augmentation=Augmentation(mixup=mixup)) for mixup in (0, 0.5))
    for (rows, volumes), (mixed_rows, mixed_volumes) in zip(plain, mixed, strict=True):
        assert rows.tolist() == mixed_rows.tolist()
        mixing = draw_mixing(Augmentation(mixup=0.5), rows, **EPOCH)
        shares = mix(np.eye(len(rows), dtype=np.float32), mixing)
        np.testing.assert_allclose(mixed_volumes, np.tensordot(shares, volumes, axes=1), atol=1e-6)
        assert not np.array_equal(volumes, mixed_volumes)


@pytest.mark.parametrize("residency", CHOICES)
def test_an_epoch_goes_on_at_any_step(store_path, residency):
    _, reader = open_volumes(store_path)
    volumes = settle(reader, ROWS, residency)
    whole = epoch_of(volumes)
    for first_step in range(len(whole) + 1):
        rest = epoch_of(volumes, epoch_batches(ROWS, batch_size=3, first_step=first_step, **EPOCH))
        assert len(rest) == len(whole) - first_step
        for (rows, some), (expected_rows, expected) in zip(rest, whole[first_step:], strict=True):
            assert rows.tolist() == expected_rows.tolist()
            np.testing.assert_array_equal(some, expected)


@pytest.mark.parametrize("residency", CHOICES)
@pytest.mark.parametrize("replicas", [2, 4])
def test_replicas_share_every_batch(store_path, residency, replicas):
    _, reader = open_volumes(store_path)
    volumes = settle(reader, ROWS, residency)
    unmixed = dataclasses.replace(CHANGED, mixup=0.0)
    whole = epoch_of(volumes, augmentation=unmixed)
    for replica in range(replicas):
        batches = [replica_part(batch, replica, replicas) for batch in BATCHES]
        parts = epoch_of(volumes, batches, augmentation=unmixed)
        for (rows, some), batch, (_, expected) in zip(parts, batches, whole, strict=True):
            assert rows.tolist() == batch.tolist()
            np.testing.assert_array_equal(some, replica_part(expected.numpy(), replica, replicas))


@pytest.mark.parametrize("residency", CHOICES)
def test_the_dataset_holds_the_stored_dtype_until_the_accelerator(cohort, tmp_path, residency):
    store, reader = open_volumes(cohort.store(tmp_path / "out.zarr", dtype="uint8"))
    volumes = settle(reader, ROWS, residency)
    dataset = training_dataset(volumes, BATCHES, augmentation=CHANGED, **EPOCH)
    assert isinstance(dataset, tf.data.Dataset)
    for step in dataset:
        stored = volumes.gather(step.items) if residency == "device" else step.items
        assert stored.dtype == tf.uint8
        np.testing.assert_array_equal(stored, [store.volume(row) for row in step.rows.numpy()])
        assert len(step.draws.gain) == len(step.rows)


def damage(chunk):
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)


@pytest.mark.parametrize("harm", [lambda chunk: chunk.unlink(), damage], ids=["deleted", "a bit flipped"])
@pytest.mark.parametrize("residency", CHOICES)
def test_a_chunk_that_was_harmed_stops_the_epoch_with_its_row(store_path, tmp_path, residency, harm):
    own = shutil.copytree(store_path, tmp_path / "own.zarr")
    store, reader = open_volumes(own)
    harm(own / "volume" / "c.8.0.0.0")
    with pytest.raises(BadVolume, match=rf"{store.scans[8]} \(row 8\)"):
        epoch_of(settle(reader, ROWS, residency))


@pytest.mark.parametrize("residency", CHOICES)
def test_a_store_that_is_replaced_stops_the_epoch(store_path, tmp_path, residency):
    own = shutil.copytree(store_path, tmp_path / "own.zarr")
    _, reader = open_volumes(own)
    shutil.rmtree(own)
    shutil.copytree(store_path, own)
    with pytest.raises(StoreChanged, match="was replaced or edited"):
        epoch_of(settle(reader, ROWS, residency))


def test_a_store_replaced_in_the_middle_of_an_epoch_stops_it(store_path, tmp_path, monkeypatch):
    monkeypatch.setattr("ctmodel.data.pipeline.BLOCK_BYTES", 1)
    own = shutil.copytree(store_path, tmp_path / "own.zarr")
    _, reader = open_volumes(own)
    rows = np.arange(14).repeat(9)[:, None]
    epoch = training_epoch(reader, rows, augmentation=Augmentation(), **EPOCH)
    next(epoch)
    (own / "zarr.json").touch()
    with pytest.raises(StoreChanged):
        list(epoch)


def test_what_is_held_is_trained_on_whatever_becomes_of_the_store(store_path, tmp_path):
    own = shutil.copytree(store_path, tmp_path / "own.zarr")
    _, reader = open_volumes(own)
    expected = epoch_of(reader)
    held = settle(reader, ROWS, "host")
    shutil.rmtree(own)
    for (_, volumes), (_, expected_volumes) in zip(epoch_of(held), expected, strict=True):
        np.testing.assert_array_equal(volumes, expected_volumes)


@pytest.mark.parametrize("residency", ["host", "device"])
@pytest.mark.parametrize("row", [0, 13, 31])
def test_a_row_that_is_not_in_memory_is_an_error(store_path, row, residency):
    _, reader = open_volumes(store_path)
    with pytest.raises(LookupError, match=f"row {row} is not in memory"):
        epoch_of(settle(reader, ROWS, residency), [np.array([1, row])])


def test_volumes_are_held_where_they_fit():
    assert fitting_residency(100, accelerator_bytes=200, host_bytes=1000) == "device"
    assert fitting_residency(101, accelerator_bytes=200, host_bytes=202) == "host"
    assert fitting_residency(102, accelerator_bytes=200, host_bytes=202) == "stream"
    assert fitting_residency(1, accelerator_bytes=0, host_bytes=0) == "stream"


def test_a_small_part_is_held_without_being_asked(store_path, monkeypatch):
    _, reader = open_volumes(store_path)
    assert isinstance(settle(reader, ROWS), OnHost)
    monkeypatch.setattr("ctmodel.data.residency.available_bytes", lambda: 0)
    assert settle(reader, ROWS) is reader


def test_the_machine_says_what_memory_it_has():
    assert 1 << 20 < available_bytes() < 1 << 50
    assert (accelerator(), free_accelerator_bytes()) == (None, 0)  # conftest.py hides the GPUs


def test_an_unknown_residency_is_said_to_be_none(store_path):
    _, reader = open_volumes(store_path)
    with pytest.raises(SettingsError, match="'disk', expected one of auto, stream, host, device"):
        settle(reader, ROWS, "disk")


def test_a_block_holds_batches_of_one_size_in_their_order(monkeypatch):
    monkeypatch.setattr("ctmodel.data.pipeline.BLOCK_BATCHES", 2)
    batches = [np.arange(3), np.arange(3, 6), np.arange(6, 9), np.arange(9, 11), np.arange(11, 13)]
    shapes = [block.shape for block in blocks_of(batches, row_bytes=1, block_bytes=100)]
    assert shapes == [(2, 3), (1, 3), (2, 2)]
    blocks = list(blocks_of(batches, row_bytes=1 << 30, block_bytes=1 << 20))
    assert [block.tolist() for block in blocks] == [[batch.tolist()] for batch in batches]


def test_a_run_is_the_same_in_each_residency(store_path, tmp_path):
    settings = dataclasses.replace(TINY, epochs=1)
    for residency in CHOICES:
        train(store_path, tmp_path / residency, settings, execution=Execution(residency=residency))
    for name in ("history.csv", "predictions.csv", "scores.json"):
        assert len({(tmp_path / residency / name).read_bytes() for residency in CHOICES}) == 1, name


@pytest.mark.parametrize(("residency", "kind"), [("host", OnHost), ("device", OnDevice)])
def test_what_is_held_for_several_trainings_gives_the_same_batches_without_reading_again(store_path, residency, kind):
    store, reader = open_volumes(store_path)
    held = hold(store, reader, np.arange(len(store)), residency)
    assert settle(held, ROWS, "stream") is held.volumes
    assert isinstance(held.volumes, kind)
    for ours, theirs in zip(held.read(BATCHES), reader.read(BATCHES), strict=True):
        assert ours.rows.tolist() == theirs.rows.tolist()
        np.testing.assert_array_equal(ours.volumes, theirs.volumes)
    for (_, ours), (_, theirs) in zip(epoch_of(held.volumes), epoch_of(reader), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_store_that_is_streamed_is_not_held(store_path):
    store, reader = open_volumes(store_path)
    assert hold(store, reader, np.arange(len(store)), "stream") is reader
    with pytest.raises(SettingsError, match="residency: 'disk'"):
        hold(store, reader, ROWS, "disk")


def test_a_store_that_was_replaced_is_found_although_its_volumes_are_held(store_path, tmp_path):
    copy = shutil.copytree(store_path, tmp_path / "out.zarr")
    store, reader = open_volumes(copy)
    held = hold(store, reader, ROWS, "host")
    (copy / "zarr.json").unlink()
    with pytest.raises(StoreChanged):
        next(held.read(BATCHES))
