"""A training step lowers the loss it says, weighs the classes, and goes on from a saved state to the bit."""

import zipfile

import numpy as np
import pytest

from ctmodel.backend import make_reproducible
from ctmodel.checkpoint import load_state, load_weights, save_state, save_weights
from ctmodel.errors import NetworkError, RunDamaged
from ctmodel.fit import Trainer, class_weights, learning_rate
from ctmodel.history import Epoch
from ctmodel.network import build

SHAPE = (16, 16, 8)
LABELS = np.array([0, 1, 0, 1, 0, 1])


def epoch_of_bright_and_dark():
    """Two batches in which scans of the second class are brighter."""
    generator = np.random.default_rng(0)
    volumes = generator.random((6, *SHAPE, 1), dtype=np.float32) * 0.5 + 0.5 * LABELS[:, None, None, None, None]
    volumes = volumes.astype(np.float32)
    return [(rows, volumes[rows]) for rows in (np.array([0, 1, 2, 3]), np.array([5, 4]))]


def new_trainer(*, seed=1, n_classes=2) -> Trainer:
    make_reproducible(seed)
    return Trainer(build("compact", SHAPE, n_classes), np.ones(n_classes))


def test_training_tells_bright_from_dark():
    trainer = new_trainer()
    for _ in range(12):
        labels, probabilities = trainer.train_epoch(epoch_of_bright_and_dark(), LABELS, step_size=0.01)
    assert labels.tolist() == [0, 1, 0, 1, 1, 0]
    assert np.mean(np.argmax(probabilities, axis=1) == labels) == 1


def test_a_step_size_of_zero_changes_no_weight():
    trainer = new_trainer()
    before = [weight.value.numpy() for weight in trainer.model.trainable_variables]
    trainer.train_epoch(epoch_of_bright_and_dark(), LABELS, step_size=0.0)
    after = [weight.value.numpy() for weight in trainer.model.trainable_variables]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_the_same_seed_gives_the_same_weights_and_another_others():
    states = []
    for seed in (1, 1, 2):
        trainer = new_trainer(seed=seed)
        trainer.train_epoch(epoch_of_bright_and_dark(), LABELS, step_size=0.01)
        states.append(trainer.state())
    assert all(np.array_equal(a, b) for a, b in zip(states[0], states[1], strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(states[0], states[2], strict=True))


def test_a_restored_training_goes_on_as_if_it_had_never_stopped(tmp_path):
    trainer = new_trainer()
    trainer.train_epoch(epoch_of_bright_and_dark(), LABELS, step_size=0.01)
    history = [Epoch(1, 0.01, 0.7, float("nan"), 0.5, 0.1 + 0.2, 0.5, 0.5)]
    save_state(tmp_path / "checkpoint.npz", trainer.state(), history)
    trainer.train_epoch(epoch_of_bright_and_dark(), LABELS, step_size=0.01)

    other = new_trainer(seed=2)
    state, found = load_state(tmp_path / "checkpoint.npz")
    other.restore(state)
    other.train_epoch(epoch_of_bright_and_dark(), LABELS, step_size=0.01)
    assert all(np.array_equal(a, b) for a, b in zip(trainer.state(), other.state(), strict=True))
    assert found[0].val_loss == history[0].val_loss
    assert np.isnan(found[0].auroc)


def test_a_class_of_weight_zero_teaches_nothing():
    make_reproducible(1)
    trainer = Trainer(build("compact", SHAPE, 2), np.array([0.0, 1.0]))
    for _ in range(12):
        _, probabilities = trainer.train_epoch(epoch_of_bright_and_dark(), LABELS, step_size=0.01)
    assert np.all(probabilities[:, 1] > 0.5)


@pytest.mark.parametrize(("balanced", "expected"), [(True, [4 / (2 * 3), 4 / (2 * 1)]), (False, [1, 1])])
def test_balanced_weights_give_each_class_half_of_the_loss(balanced, expected):
    weights = class_weights(np.array([0, 0, 0, 1]), n_classes=2, balanced=balanced)
    assert weights == pytest.approx(expected)


def test_the_step_size_falls_from_the_highest_towards_zero():
    sizes = [learning_rate(epoch, epochs=10, highest=0.01) for epoch in range(10)]
    assert sizes[0] == 0.01
    assert sizes == sorted(sizes, reverse=True)
    assert 0 < sizes[-1] < 0.0005


def test_weights_return_as_they_were_saved(tmp_path):
    first, second = build("compact", SHAPE, 2), build("compact", SHAPE, 2)
    save_weights(first, tmp_path / "model.weights.h5")
    load_weights(second, tmp_path / "model.weights.h5")
    assert all(np.array_equal(a, b) for a, b in zip(first.get_weights(), second.get_weights(), strict=True))
    assert [file.name for file in tmp_path.iterdir()] == ["model.weights.h5"]


@pytest.mark.parametrize("other", [("founding", (16, 16, 16), 2), ("compact", SHAPE, 3)])
def test_weights_of_another_network_are_refused(tmp_path, other):
    save_weights(build(*other), tmp_path / "model.weights.h5")
    with pytest.raises(NetworkError, match="cannot be loaded into the network 'compact'"):
        load_weights(build("compact", SHAPE, 2), tmp_path / "model.weights.h5")


@pytest.mark.parametrize("content", [None, b"", b"not a file of weights"])
def test_weights_that_are_missing_or_damaged_are_refused(tmp_path, content):
    path = tmp_path / "model.weights.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(NetworkError, match=r"model\.weights\.h5: its weights cannot be loaded"):
        load_weights(build("compact", SHAPE, 2), path)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_a_damaged_checkpoint_is_said_to_be_so(tmp_path, content):
    (tmp_path / "checkpoint.npz").write_bytes(content)
    with pytest.raises(RunDamaged, match=r"checkpoint\.npz: cannot be read"):
        load_state(tmp_path / "checkpoint.npz")


def test_a_checkpoint_packed_in_a_way_that_zipfile_does_not_know_is_damaged(tmp_path):
    path = tmp_path / "checkpoint.npz"
    save_state(path, [np.ones(3)], [])
    content = bytearray(path.read_bytes())
    for header, place in ((b"PK\x01\x02", 10), (b"PK\x03\x04", 8)):
        start = content.find(header) + place
        content[start] = 99
    path.write_bytes(content)
    with pytest.raises(NotImplementedError), zipfile.ZipFile(path) as saved:
        saved.read(saved.namelist()[0])
    with pytest.raises(RunDamaged, match=r"checkpoint\.npz: cannot be read"):
        load_state(path)


@pytest.mark.parametrize("seed", range(4))
def test_mutated_bytes_are_read_or_refused_and_nothing_else(tmp_path, seed):
    model, generator = build("compact", SHAPE, 2), np.random.default_rng(seed)
    weights, checkpoint = tmp_path / "model.weights.h5", tmp_path / "checkpoint.npz"
    save_weights(model, weights)
    save_state(checkpoint, [np.ones(3), np.arange(4)], [])
    for path, n, load in ((checkpoint, 200, load_state), (weights, 8, lambda path: load_weights(model, path))):
        whole = path.read_bytes()
        for _ in range(n):
            mutated = bytearray(whole)
            for place in generator.integers(min(len(whole), 4000), size=3):  # HDF5 keeps its structure at the front
                mutated[place] = generator.integers(256)
            path.write_bytes(mutated)
            try:
                load(path)
            except (RunDamaged, NetworkError) as error:
                assert path.name in str(error)


def test_a_pickle_in_a_checkpoint_is_never_loaded(tmp_path):
    np.savez(tmp_path / "checkpoint.npz", history=np.array([{"a": 1}], dtype=object))
    with pytest.raises(RunDamaged, match="Object arrays cannot be loaded"):
        load_state(tmp_path / "checkpoint.npz")


def test_the_state_of_another_network_is_refused():
    state = Trainer(build("compact", SHAPE, 3), np.ones(3)).state()
    with pytest.raises(RunDamaged, match="another network"):
        new_trainer().restore(state)
