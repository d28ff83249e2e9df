"""The lungs network learns a weight for each number that describes the lungs, and nothing else."""

import numpy as np
import pytest

from ctmodel.devices.backend import keras
from ctmodel.networks.blocks import BATCH_NORM_MOMENTUM, Standardized
from ctmodel.networks.build import build
from ctmodel.networks.lungs import GAIN, MAX_DEVIATION
from ctmodel.networks.texture import N_NUMBERS

SHAPE = (16, 16, 8)


def numbers(n, seed=0):
    return np.random.default_rng(seed).normal(3, 2, (n, 5)).astype(np.float32)


def test_all_that_learns_is_the_last_layer():
    model = build("lungs", SHAPE, 2)
    assert [tuple(weight.shape) for weight in model.trainable_weights] == [(N_NUMBERS, 1), (1,)]


def test_a_network_that_has_learnt_nothing_is_undecided():
    volumes = np.random.default_rng(0).random((2, *SHAPE, 1), dtype=np.float32)
    assert build("lungs", SHAPE, 2)(volumes).numpy().tolist() == [[0.5], [0.5]]
    np.testing.assert_allclose(build("lungs", SHAPE, 4)(volumes), 0.25)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_numbers_that_are_far_out_say_no_more(precision):
    model = build("lungs", SHAPE, 2, precision)
    entering = keras.Model(model.input, model.get_layer("probability").input)
    model.get_layer("standardized").moving_mean.assign(np.resize((-1e6, 1e6), N_NUMBERS))
    found = entering(np.zeros((1, *SHAPE, 1), np.float32)).numpy()[0]
    np.testing.assert_array_equal(np.abs(found), GAIN * MAX_DEVIATION)
    assert found[0] > 0 > found[1]


def test_a_training_learns_from_the_numbers_that_it_would_predict_from():
    layer = Standardized()
    for seed in range(3):
        learnt = layer(numbers(8, seed), training=True).numpy()
        np.testing.assert_array_equal(learnt, layer(numbers(8, seed)).numpy())


def test_statistics_are_moving_averages_over_the_batches_of_the_training():
    layer, mean, variance = Standardized(), np.zeros(5), np.ones(5)
    for seed in range(60):
        batch = numbers(8, seed)
        layer(batch, training=True)
        mean = BATCH_NORM_MOMENTUM * mean + (1 - BATCH_NORM_MOMENTUM) * batch.mean(0)
        variance = BATCH_NORM_MOMENTUM * variance + (1 - BATCH_NORM_MOMENTUM) * batch.var(0)
    np.testing.assert_allclose(layer.moving_mean, mean, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-5)
    before = [weight.numpy() for weight in layer.weights]
    layer(numbers(100))
    np.testing.assert_array_equal([weight.numpy() for weight in layer.weights], before)
