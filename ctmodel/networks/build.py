"""The networks, by name: build(name, input_shape, n_classes) gives a keras.Model.

A volume enters as (x, y, z, 1) in [0, 1]. Two classes leave as one probability, that of the second class;
more classes leave as one probability each.
"""

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from ctmodel.devices.backend import keras
from ctmodel.devices.precision import layers_of
from ctmodel.errors import NetworkError
from ctmodel.networks.compact import compact
from ctmodel.networks.founding import founding
from ctmodel.networks.lungs import lungs
from ctmodel.networks.own import build_own, is_own
from ctmodel.networks.texture import WINDOW

layers = keras.layers

# name -> (builder of features, the smallest axis in voxels that its halvings leave something of)
NETWORKS: dict[str, tuple[Callable, int]] = {"compact": (compact, 8), "founding": (founding, 16), "lungs": (lungs, 8)}

START = {"lungs": "zeros"}
"""How the weights of the last layer start, where nothing before it is learned; elsewhere as Keras draws them."""


def build(name: str, input_shape: tuple[int, ...], n_classes: int, precision: str = "float32") -> keras.Model:
    """Build a network with fresh weights.

    Parameters
    ----------
    name : str
        One of `NETWORKS`, or "module:function", see `own.build_own`.
    input_shape : (x, y, z) ints
        Voxels of one volume along each axis.
    n_classes : int
        Two or more.
    precision : {"float32", "bfloat16"}
        What it computes with; weights and outputs are float32.

    Returns
    -------
    keras.Model
        From (n, x, y, z, 1) float32 to (n, 1) for two classes or (n, n_classes) for more.

    Raises
    ------
    NetworkError
        If the name is unknown, the function makes no such network, the volume is too small, or there are fewer than
        two classes.
    """
    if name not in NETWORKS and not is_own(name):
        raise NetworkError(f"network {name!r}: unknown; choose one of {', '.join(NETWORKS)}, or name module:function")
    if n_classes < 2:
        raise NetworkError(f"network {name!r}: {n_classes} class, expected two or more; label the scans")
    if is_own(name):
        with layers_of(precision):
            return build_own(name, tuple(input_shape), n_classes)
    builder, smallest = NETWORKS[name]
    _check_size(name, tuple(input_shape), smallest)
    with layers_of(precision):
        inputs = keras.Input(shape=(*input_shape, 1), name="volume", dtype=keras.config.floatx())
        model = keras.Model(inputs, _head(builder(inputs), n_classes, start=START.get(name)), name=name)
    _number_layers(model)
    return model


def _number_layers(model: keras.Model) -> None:
    """Count the layers that nobody named within their network: Keras counts on over all networks of a process.

    The names are in the file of the weights, whose bytes would depend on what the process has built before.
    """
    found: Counter[str] = Counter()
    for layer in model.layers:
        stem = re.sub(r"_\d+$", "", layer.name)
        layer.name = f"{stem}_{found[stem]}" if found[stem] else stem
        found[stem] += 1


def check_window(name: str, window: tuple[float, float]) -> None:
    """Raise `NetworkError` if a network takes volumes of another window, in HU."""
    if name == "lungs" and window != WINDOW:
        shown = " to ".join(f"{bound:g}" for bound in window)
        raise NetworkError(
            f"network 'lungs': the store has the window {shown} HU, expected {WINDOW[0]:g} to {WINDOW[1]:g}; convert "
            "the scans with it, or choose --network compact"
        )


def _check_size(name: str, shape: tuple[int, ...], smallest: int) -> None:
    if len(shape) != 3 or min(shape) < smallest:
        raise NetworkError(
            f"network {name!r}: input of {'x'.join(map(str, shape))} voxels, expected three axes of at least "
            f"{smallest}; convert the scans to a larger shape, or choose another network"
        )


def _head(features: Any, n_classes: int, *, start: str | None = None) -> Any:
    """Map features to class probabilities, which are float32 at any precision: a sum of eight bits is seldom 1."""
    units, activation = (1, "sigmoid") if n_classes == 2 else (n_classes, "softmax")
    return layers.Dense(
        units,
        activation=activation,
        kernel_initializer=start or "glorot_uniform",
        dtype=keras.config.floatx(),
        name="probability",
    )(features)


def class_probabilities(outputs: Any) -> np.ndarray:
    """Return one probability per class from a network's outputs.

    Parameters
    ----------
    outputs : (n, 1) or (n, classes) array
        The probability of the second of two classes, or of each class.

    Returns
    -------
    (n, classes) float64 array

    Examples
    --------
    >>> class_probabilities(np.array([[0.25]])).tolist()
    [[0.75, 0.25]]
    """
    outputs = np.asarray(outputs, dtype=np.float64)
    return np.hstack([1 - outputs, outputs]) if outputs.shape[1] == 1 else outputs
