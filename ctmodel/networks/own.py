"""A network of the user's own: "module:function", where the function makes a keras.Model of (input shape, classes)."""

import importlib
import inspect
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from ctmodel.devices.backend import keras
from ctmodel.errors import NetworkError

SEPARATOR = ":"


def is_own(name: str) -> bool:
    """Return whether a name is that of a function of the user's own."""
    return SEPARATOR in name


def build_own(name: str, input_shape: tuple[int, ...], n_classes: int) -> keras.Model:
    """Call a function of the user's own, and see that it made a network that can be trained here.

    Parameters
    ----------
    name : str
        As in "package.module:function", importable.
    input_shape : (x, y, z) ints
        The function is given (x, y, z, 1), as `keras.Input` takes it.
    n_classes : int
        Given as the second argument.

    Returns
    -------
    keras.Model
        With float32 outputs, whatever the precision.

    Raises
    ------
    NetworkError
        If there is no such function, or what it makes has another input or gives no probabilities.
    """
    shape, n_outputs = (*input_shape, 1), 1 if n_classes == 2 else n_classes
    make = _function(name)
    try:
        made = make(shape, n_classes)
    except Exception as error:
        raise NetworkError(f"network {name!r}: raised {type(error).__name__}: {error}") from error
    if not isinstance(made, keras.Model):
        raise NetworkError(f"network {name!r}: returned {type(made).__name__}, expected a keras.Model")
    found = made.input_shape, made.output_shape
    if found != ((None, *shape), (None, n_outputs)):
        raise NetworkError(
            f"network {name!r}: its input and output have the shapes {found[0]} and {found[1]}, expected "
            f"{(None, *shape)} and {(None, n_outputs)} for {n_classes} classes"
        )
    _check_probabilities(name, made, shape)
    inputs = keras.Input(shape, name="volume", dtype="float32")
    return keras.Model(inputs, keras.layers.Activation("linear", dtype="float32")(made(inputs)), name="own")


def source_digest(name: str) -> str:
    """Return the SHA-256 of the file that defines a network of the user's own; empty for another."""
    if not is_own(name):
        return ""
    source = inspect.getsourcefile(_function(name))
    return sha256(Path(source).read_bytes()).hexdigest() if source else ""


def check_source(name: str, digest: str) -> None:
    """Raise `NetworkError` if the file that defines a network has changed since its digest was taken."""
    if source_digest(name) != digest:
        raise NetworkError(
            f"network {name!r}: the file that defines it has changed since the training began; restore it, or train "
            "again"
        )


def _function(name: str) -> Callable[[tuple[int, ...], int], Any]:
    module_name, _, function_name = name.partition(SEPARATOR)
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError) as error:
        raise NetworkError(
            f"network {name!r}: cannot import {module_name!r} ({error}); run the command in the folder of the module, "
            "or install it"
        ) from None
    found = getattr(module, function_name, None)
    if not callable(found):
        raise NetworkError(f"network {name!r}: {module_name} has no function {function_name!r}")
    return found


def _check_probabilities(name: str, model: keras.Model, shape: tuple[int, ...]) -> None:
    """Refuse what is not between 0 and 1 far outside of the intensities that there are, where chance hides nothing."""
    volumes = np.random.default_rng(0).uniform(0.5, 1.5, (4, *shape)) * np.reshape(
        [-1e3, -30, 30, 1e3], (4, 1, 1, 1, 1)
    )
    outputs = np.asarray(keras.ops.convert_to_numpy(model(volumes.astype(np.float32), training=False)), np.float64)
    outputs = outputs[np.isfinite(outputs).all(axis=1)]
    sums = outputs.sum(axis=1) if outputs.shape[1] > 1 else np.ones(len(outputs))
    if np.any(outputs < 0) or np.any(outputs > 1) or not np.allclose(sums, 1, atol=0.02):
        raise NetworkError(
            f"network {name!r}: gives values that are no probabilities; end it with a sigmoid for two classes, a "
            "softmax for more"
        )
