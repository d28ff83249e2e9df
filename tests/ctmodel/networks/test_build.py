"""The networks have the layers they are known for, fit many shapes, and say so where they do not."""

import numpy as np
import pytest

from ctmodel.devices.backend import keras
from ctmodel.errors import NetworkError, SettingsError
from ctmodel.networks.blocks import Dropout
from ctmodel.networks.build import NETWORKS, build, check_window, class_probabilities
from ctmodel.settings import TrainSettings
from ctprep.settings import settings_of

layers = keras.layers


def test_the_founding_network_is_that_of_the_study():
    kinds = [type(layer) for layer in build("founding", (64, 64, 32), 2).layers]
    block = [layers.Conv3D, layers.MaxPooling3D, layers.BatchNormalization]
    head = [layers.GlobalAveragePooling3D, layers.Dense, Dropout, layers.Dense]
    assert kinds == [layers.InputLayer, *block * 4, *head]


def test_the_founding_network_has_the_study_s_sizes():
    model = build("founding", (64, 64, 32), 2)
    convolutions = [layer for layer in model.layers if isinstance(layer, layers.Conv3D)]
    assert [layer.filters for layer in convolutions] == [64, 64, 128, 256]
    for layer in convolutions:
        assert layer.kernel_size == (3, 3, 3)
        assert layer.activation is keras.activations.relu
        assert isinstance(layer.kernel_regularizer, keras.regularizers.L2)
    assert all(layer.pool_size == (2, 2, 2) for layer in model.layers if isinstance(layer, layers.MaxPooling3D))
    hidden, dropout, last = model.layers[-3:]
    assert (hidden.units, dropout.rate, last.units) == (512, 0.4, 1)
    assert isinstance(hidden.kernel_regularizer, keras.regularizers.L2)
    assert model.count_params() == 1_352_897


def test_the_networks_are_those_that_help_names():
    assert settings_of(TrainSettings)["network"].choices == tuple(sorted(NETWORKS))
    with pytest.raises(SettingsError, match="expected one of compact, founding, lungs, or MODULE:FUNCTION"):
        TrainSettings(network="resnet9000")


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("n_classes", "n_outputs"), [(2, 1), (3, 3)])
@pytest.mark.parametrize("shape", [(16, 16, 16), (33, 20, 17)])
def test_every_network_gives_probabilities_for_any_large_enough_shape(name, n_classes, n_outputs, shape):
    model = build(name, shape, n_classes)
    outputs = model(np.random.default_rng(0).random((2, *shape, 1), dtype=np.float32)).numpy()
    assert outputs.shape == (2, n_outputs)
    np.testing.assert_allclose(class_probabilities(outputs).sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_volume_too_small_is_refused_with_the_smallest_size(name):
    smallest = NETWORKS[name][1]
    build(name, (smallest,) * 3, 2)
    with pytest.raises(NetworkError, match=f"three axes of at least {smallest}"):
        build(name, (64, 64, smallest - 1), 2)


def test_an_unknown_network_is_answered_with_the_known_ones():
    with pytest.raises(NetworkError, match="'fancy': unknown; choose one of compact, founding, lungs"):
        build("fancy", (64, 64, 32), 2)


def test_the_lungs_network_refuses_volumes_of_another_window():
    check_window("lungs", (-1000.0, 400.0))
    check_window("compact", (-500.0, 500.0))
    with pytest.raises(NetworkError, match=r"window -500 to 500 HU, expected -1000 to 400; .* --network compact"):
        check_window("lungs", (-500.0, 500.0))


def test_one_class_is_not_enough():
    with pytest.raises(NetworkError, match="1 class"):
        build("compact", (64, 64, 32), 1)


def test_the_compact_network_is_much_smaller():
    assert build("compact", (64, 64, 32), 2).count_params() < build("founding", (64, 64, 32), 2).count_params() / 4


@pytest.mark.parametrize("name", NETWORKS)
def test_equal_weights_have_equal_files_whatever_was_built_before(name, tmp_path):
    files = []
    for number in range(2):
        keras.utils.set_random_seed(0)
        files.append(tmp_path / f"{number}.weights.h5")
        build(name, (16, 16, 16), 2).save_weights(files[-1])
    assert files[0].read_bytes() == files[1].read_bytes()
