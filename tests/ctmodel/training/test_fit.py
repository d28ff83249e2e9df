"""A training step lowers the loss it says, weighs the classes, and goes on from a saved state to the bit."""

import sys

import numpy as np
import pytest

from ctmodel.data.augment import augmentation_of, mix
from ctmodel.data.batches import open_volumes
from ctmodel.data.order import cut_batches, epoch_batches
from ctmodel.data.pipeline import Feed
from ctmodel.data.residency import settle
from ctmodel.devices.backend import keras, make_reproducible, tf
from ctmodel.errors import NetworkError, RunDamaged
from ctmodel.networks.build import build, class_probabilities
from ctmodel.run.checkpoint import load_weights, save_weights
from ctmodel.training.fit import Trainer, class_weights, learning_rate

SHAPE = (16, 16, 8)
LABELS = np.array([0, 1, 0, 1, 0, 1])
SHARES = np.eye(2)[LABELS]


def epoch_of_bright_and_dark():
    """Two batches in which scans of the second class are brighter."""
    generator = np.random.default_rng(0)
    volumes = generator.random((6, *SHAPE, 1), dtype=np.float32) * 0.5 + 0.5 * LABELS[:, None, None, None, None]
    volumes = volumes.astype(np.float32)
    return [(rows, volumes[rows]) for rows in (np.array([0, 1, 2, 3]), np.array([5, 4]))]


def train_epoch(trainer, *, step_size=0.01):
    """Take a step for each of the two batches; return labels and probabilities in the order of the visit."""
    trainer.learn_at(step_size)
    batches = epoch_of_bright_and_dark()
    outputs = [trainer.step(volumes, SHARES[rows]) for rows, volumes in batches]
    return np.concatenate([LABELS[rows] for rows, _ in batches]), class_probabilities(np.concatenate(outputs))


def new_trainer(*, seed=1, n_classes=2) -> Trainer:
    make_reproducible(seed)
    return Trainer(build("compact", SHAPE, n_classes), np.ones(n_classes))


def test_training_tells_bright_from_dark():
    trainer = new_trainer()
    for _ in range(12):
        labels, probabilities = train_epoch(trainer)
    assert labels.tolist() == [0, 1, 0, 1, 1, 0]
    assert np.mean(np.argmax(probabilities, axis=1) == labels) == 1


def test_a_step_size_of_zero_changes_no_weight():
    trainer = new_trainer()
    before = [weight.value.numpy() for weight in trainer.model.trainable_variables]
    train_epoch(trainer, step_size=0.0)
    after = [weight.value.numpy() for weight in trainer.model.trainable_variables]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_the_same_seed_gives_the_same_weights_and_another_others():
    states = []
    for seed in (1, 1, 2):
        trainer = new_trainer(seed=seed)
        train_epoch(trainer)
        states.append(trainer.state())
    assert all(np.array_equal(a, b) for a, b in zip(states[0], states[1], strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(states[0], states[2], strict=True))


def test_a_restored_training_goes_on_as_if_it_had_never_stopped():
    trainer, other = new_trainer(), new_trainer(seed=2)
    train_epoch(trainer)
    other.restore(trainer.state())
    train_epoch(trainer)
    train_epoch(other)
    assert all(np.array_equal(a, b) for a, b in zip(trainer.state(), other.state(), strict=True))


def test_dropout_goes_on_where_it_was():
    """Its random state is a variable; without it, the second steps of two trainings would drop the same."""
    trainer, other = new_trainer(), new_trainer()
    train_epoch(trainer, step_size=0.0)
    said = [train_epoch(one, step_size=0.0)[1] for one in (trainer, other)]
    assert not np.array_equal(*said)
    other.restore(trainer.state())
    assert np.array_equal(*(train_epoch(one, step_size=0.0)[1] for one in (trainer, other)))


def test_a_class_of_weight_zero_teaches_nothing():
    make_reproducible(1)
    trainer = Trainer(build("compact", SHAPE, 2), np.array([0.0, 1.0]))
    for _ in range(12):
        _, probabilities = train_epoch(trainer)
    assert np.all(probabilities[:, 1] > 0.5)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_mixed_scan_costs_the_share_of_each_class(n_classes):
    """The gradient of a mixture is the mixture of the gradients."""
    volumes = np.random.default_rng(3).random((1, *SHAPE, 1), dtype=np.float32)
    kernels = []
    for share in (0.0, 1.0, 0.25):
        trainer = new_trainer(n_classes=n_classes)
        shares = np.array([[share, *[0] * (n_classes - 2), 1 - share]], np.float32)
        gradients = trainer._gradients_of(tf.constant(volumes), tf.constant(shares), 1.0)[1]
        kernels.append(gradients[-1].numpy())
    np.testing.assert_allclose(kernels[2], 0.75 * kernels[0] + 0.25 * kernels[1], atol=1e-6)


def test_xla_comes_to_the_same_weights_where_nothing_is_dropped_but_for_rounding():
    states = []
    for xla in (False, True):
        make_reproducible(1)
        model = build("compact", SHAPE, 2)
        for layer in model.layers:
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0.0
        trainer = Trainer(model, np.ones(2), xla=xla)
        train_epoch(trainer)
        states.append(np.concatenate([weight.value.numpy().ravel() for weight in trainer.model.trainable_variables]))
    assert np.linalg.norm(states[0] - states[1]) < 1e-4 * np.linalg.norm(states[0])


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


@pytest.mark.parametrize("seed", range(4))
def test_mutated_weights_are_read_or_refused_and_nothing_else(tmp_path, seed):
    model, generator, path = build("compact", SHAPE, 2), np.random.default_rng(seed), tmp_path / "model.weights.h5"
    save_weights(model, path)
    whole = path.read_bytes()
    for _ in range(8):
        mutated = bytearray(whole)
        for place in generator.integers(min(len(whole), 4000), size=3):  # HDF5 keeps its structure at the front
            mutated[place] = generator.integers(256)
        path.write_bytes(mutated)
        try:
            load_weights(model, path)
        except NetworkError as error:
            assert path.name in str(error)


def test_the_state_of_another_network_is_refused():
    state = Trainer(build("compact", SHAPE, 3), np.ones(3)).state()
    with pytest.raises(RunDamaged, match="another network"):
        new_trainer().restore(state)


@pytest.mark.parametrize(("augment", "residency"), [("off", "stream"), ("strong", "host"), ("strong", "device")])
def test_inputs_made_in_the_step_are_those_made_in_the_background(store_path, augment, residency):
    store, reader = open_volumes(store_path)
    rows = np.flatnonzero(store.labels >= 0)
    batches = epoch_batches(rows, batch_size=4, seed=1, epoch=0)
    outputs = {}
    for device in (None, "/CPU:0"):  # the second is treated as an accelerator
        make_reproducible(0)
        feed = Feed(settle(reader, rows, residency), augmentation_of(augment, nearest=True), device=device)
        trainer = Trainer(build("compact", store.recipe.shape, 2), np.ones(2), feed=feed)
        trainer.learn_at(1e-2)
        steps = feed.epoch(batches, seed=1, epoch=0)
        outputs[device] = [trainer.step(step, np.eye(2)[store.labels[own]]).numpy() for own, step in steps]
    for made_in_the_step, made_before in zip(*outputs.values(), strict=True):
        np.testing.assert_allclose(made_in_the_step, made_before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("device", [None, "/CPU:0"])
def test_scans_that_are_mixed_are_learned_as_what_they_are_of(store_path, device):
    store, reader = open_volumes(store_path)
    rows = np.flatnonzero(store.labels >= 0)[:4]
    feed = Feed(settle(reader, rows, "host"), augmentation_of("strong", nearest=True), device=device)
    ((_, step),) = feed.epoch([rows], seed=1, epoch=0)
    shares = np.eye(2, dtype=np.float32)[[0, 1, 1, 0]]
    mixed = np.asarray(mix(shares, step.mixing))
    assert 0.5 < mixed.max(axis=1).min() < 0.9
    learnt = []
    inputs = feed.inputs(step)
    for given, own, its_feed in ((step, shares, feed), (inputs, mixed, None), (inputs, shares, None)):
        make_reproducible(0)
        trainer = Trainer(build("compact", store.recipe.shape, 2), np.ones(2), feed=its_feed)
        trainer.learn_at(1e-2)
        trainer.step(given, own)
        learnt.append(np.concatenate([weight.ravel() for weight in trainer.model.get_weights()]))
    by_feed, by_mixed_labels, by_whole_labels = learnt
    np.testing.assert_allclose(by_feed, by_mixed_labels, atol=1e-4)
    assert np.abs(by_feed - by_whole_labels).max() > 1e-3


@pytest.mark.parametrize("device", [None, "/CPU:0"])
def test_a_step_is_one_program(store_path, device):
    """Whatever TensorFlow executes for Python passes through one of two functions, which a profile sees."""
    store, reader = open_volumes(store_path)
    rows = np.flatnonzero(store.labels >= 0)
    feed = Feed(settle(reader, rows, "device"), augmentation_of("strong", nearest=True), device=device)
    trainer = Trainer(build("compact", store.recipe.shape, 2), np.ones(2), feed=feed)
    shares = np.eye(2, dtype=np.float32)[store.labels]
    (own, first), (_, second), *_ = feed.epoch(cut_batches(rows, 4), seed=1, epoch=0)
    trainer.step(first, shares[own])
    executed = []

    def note(_frame, event, called):
        if event == "c_call" and called.__name__ in ("TFE_Py_Execute", "TFE_Py_FastPathExecute"):
            executed.append(called.__name__)

    sys.setprofile(note)
    try:
        trainer.step(second, shares[own])
    finally:
        sys.setprofile(None)
    assert len(executed) == 1
