"""A network of the user's own is trained, resumed, evaluated and predicted with like any other."""

import dataclasses
import importlib
import sys

import numpy as np
import pytest

from ctmodel.errors import NetworkError
from ctmodel.networks.build import build
from ctmodel.prediction.evaluate import evaluate
from ctmodel.prediction.predict import predict
from ctmodel.run.run_folder import Run
from ctmodel.settings import TrainSettings
from ctmodel.training.train import train

MODULE = '''
import keras


def small(shape, n_classes):
    """Averages, and weighs them."""
    inputs = keras.Input(shape)
    features = keras.layers.Flatten()(keras.layers.AveragePooling3D(4)(inputs))
    penalty = keras.regularizers.L2(1e-3)
    units, activation = (1, "sigmoid") if n_classes == 2 else (n_classes, "softmax")
    return keras.Model(inputs, keras.layers.Dense(units, activation, kernel_regularizer=penalty)(features))


def linear(shape, n_classes):
    return keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(1)])


def of_another_shape(shape, n_classes):
    return keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(3, "softmax")])


def nothing(shape, n_classes):
    return None


def wrong(shape, n_classes):
    raise ZeroDivisionError("no luck")


name = "not a function"
'''
SETTINGS = TrainSettings(network="own_network:small", epochs=2, batch_size=4, augment="off")


@pytest.fixture
def module(tmp_path, monkeypatch):
    path = tmp_path / "modules" / "own_network.py"
    path.parent.mkdir()
    path.write_text(MODULE)
    monkeypatch.syspath_prepend(str(path.parent))
    importlib.invalidate_caches()
    yield path
    sys.modules.pop("own_network", None)


@pytest.mark.usefixtures("module")
def test_it_trains_evaluates_and_predicts(store_path, cohort, tmp_path):
    trained = train(store_path, tmp_path / "run", SETTINGS)
    assert Run(tmp_path / "run").network().name == "own_network:small"
    assert evaluate(tmp_path / "run", store_path).scores == trained.scores
    (said,) = predict(tmp_path / "run", [next(cohort.raw.rglob("*.nii.gz"))])
    assert sum(said.probabilities.values()) == pytest.approx(1)


@pytest.mark.usefixtures("module")
def test_it_is_resumed_to_the_same_weights(store_path, tmp_path):
    def interrupt(_report):
        raise KeyboardInterrupt

    train(store_path, tmp_path / "whole", SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        train(store_path, tmp_path / "run", SETTINGS, progress=interrupt)
    train(store_path, tmp_path / "run", SETTINGS, resume=True)
    whole, resumed = ((tmp_path / name / "predictions.csv").read_bytes() for name in ("whole", "run"))
    assert whole == resumed


def test_a_changed_file_is_refused(module, store_path, cohort, tmp_path):
    train(store_path, tmp_path / "run", dataclasses.replace(SETTINGS, epochs=1))
    module.write_text(MODULE.replace("AveragePooling3D", "MaxPooling3D"))
    with pytest.raises(NetworkError, match="the file that defines it has changed since the training began; restore it"):
        predict(tmp_path / "run", [next(cohort.raw.rglob("*.nii.gz"))])


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no_such_module:small", "cannot import 'no_such_module'"),
        (":small", "cannot import ''"),
        ("own_network:big", "own_network has no function 'big'"),
        ("own_network:name", "own_network has no function 'name'"),
        ("own_network:nothing", "returned NoneType, expected a keras.Model"),
        ("own_network:of_another_shape", r"output have the shapes .*\(None, 3\), expected .* for 2 classes"),
        ("own_network:linear", "gives values that are no probabilities; end it with a sigmoid"),
        ("own_network:wrong", "raised ZeroDivisionError: no luck"),
    ],
)
def test_what_makes_no_such_network_is_refused(name, reason):
    with pytest.raises(NetworkError, match=reason):
        build(name, (8, 8, 8), 2)


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(("n_classes", "n_outputs"), [(2, 1), (3, 3)])
def test_it_gives_float32_and_keeps_its_penalties_in_any_precision(n_classes, n_outputs):
    model = build("own_network:small", (8, 8, 8), n_classes, "bfloat16")
    outputs = model(np.zeros((2, 8, 8, 8, 1), np.float32))
    assert (outputs.dtype, outputs.shape) == ("float32", (2, n_outputs))
    assert len(model.losses) == 1
