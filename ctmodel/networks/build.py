"""The networks, by name: build(name, input_shape, n_classes) gives a keras.Model.

A volume enters as (x, y, z, 1) in [0, 1]. Two classes leave as one probability, that of the second class;
more classes leave as one probability each.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ctmodel.devices.backend import keras, tf
from ctmodel.devices.precision import layers_of
from ctmodel.devices.replicas import place_in_batch
from ctmodel.errors import NetworkError

layers = keras.layers

FOUNDING_FILTERS = (64, 64, 128, 256)
COMPACT_FILTERS = (16, 32, 64)
TONES = 8
HIGHEST_TONE = 0.7  # of the window; -20 HU where it is -1000 to 400
L2 = 1e-4
# Keras forgets with 0.99: after an epoch of nine batches 91 % of the moving statistics would still be the
# initial zeros and ones, and validation would lag training by dozens of epochs.
BATCH_NORM_MOMENTUM = 0.9


def build(name: str, input_shape: tuple[int, ...], n_classes: int, precision: str = "float32") -> keras.Model:
    """Build a network with fresh weights.

    Parameters
    ----------
    name : str
        One of `NETWORKS`.
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
        If the name is unknown, the volume too small, or there are fewer than two classes.
    """
    if name not in NETWORKS:
        raise NetworkError(f"network {name!r}: unknown; choose one of {', '.join(NETWORKS)}")
    if n_classes < 2:
        raise NetworkError(f"network {name!r}: {n_classes} class, expected two or more; label the scans")
    builder, smallest = NETWORKS[name]
    _check_size(name, tuple(input_shape), smallest)
    with layers_of(precision):
        inputs = keras.Input(shape=(*input_shape, 1), name="volume", dtype=keras.config.floatx())
        return keras.Model(inputs, _head(builder(inputs), n_classes), name=name)


def _check_size(name: str, shape: tuple[int, ...], smallest: int) -> None:
    if len(shape) != 3 or min(shape) < smallest:
        raise NetworkError(
            f"network {name!r}: input of {'x'.join(map(str, shape))} voxels, expected three axes of at least "
            f"{smallest}; convert the scans to a larger shape, or choose another network"
        )


def _head(features: Any, n_classes: int) -> Any:
    """Map features to class probabilities, which are float32 at any precision: a sum of eight bits is seldom 1."""
    units, activation = (1, "sigmoid") if n_classes == 2 else (n_classes, "softmax")
    return layers.Dense(units, activation=activation, dtype=keras.config.floatx(), name="probability")(features)


def founding(inputs: Any) -> Any:
    """Apply the network of the founding study: four blocks of convolution, pooling and batch normalization.

    Convolutions are padded: unpadded ones leave nothing of the 32 slices of a 64x64x32 volume.
    """
    x, penalty = inputs, keras.regularizers.L2(L2)
    for filters in FOUNDING_FILTERS:
        x = layers.Conv3D(filters, 3, padding="same", activation="relu", kernel_regularizer=penalty)(x)
        x = _normalized(layers.MaxPooling3D(2)(x))
    x = layers.GlobalAveragePooling3D()(x)
    x = layers.Dense(512, activation="relu", kernel_regularizer=penalty)(x)
    return Dropout(0.4)(x)


def compact(inputs: Any) -> Any:
    """Apply a small residual network on tones of attenuation, that looks at means and at peaks.

    It needs a fifth of the founding network's arithmetic. The tones spare it the epochs in which a network finds out
    that lung, ground glass and tissue differ.
    The peaks let one small finding be seen in a whole chest.
    """
    x = _normalized(layers.AveragePooling3D(2, padding="same")(_tones(inputs)))
    x = layers.Conv3D(COMPACT_FILTERS[0], 3, padding="same", use_bias=False)(x)
    x = layers.Activation("relu")(_normalized(x))
    for filters in COMPACT_FILTERS[1:]:
        x = _residual_block(x, filters)
    mean, peak = layers.GlobalAveragePooling3D()(x), layers.GlobalMaxPooling3D()(x)
    return Dropout(0.3)(layers.Concatenate()([mean, peak]))


def _tones(inputs: Any) -> Any:
    """Say of every voxel by how much it exceeds each of some thresholds; training may move them.

    They begin evenly spaced over the part of the window that holds lung, findings and soft tissue; averaged over a
    neighbourhood they tell how much of each is there.
    """
    return layers.Conv3D(
        TONES,
        1,
        activation="relu",
        kernel_initializer=keras.initializers.Constant(TONES / HIGHEST_TONE),
        bias_initializer=_first_thresholds,
        name="tones",
    )(inputs)


def _first_thresholds(shape: tuple[int, ...], dtype: Any = None) -> Any:
    return keras.ops.convert_to_tensor(-np.arange(shape[0]), dtype=dtype)


def _residual_block(x: Any, filters: int) -> Any:
    """Halve the grid and learn the difference to a pooled copy of the input."""
    shortcut = layers.Conv3D(filters, 1, use_bias=False)(layers.AveragePooling3D(2, padding="same")(x))
    x = _normalized(layers.Conv3D(filters, 3, padding="same", use_bias=False)(x))
    x = layers.MaxPooling3D(2, padding="same")(layers.Activation("relu")(x))
    x = _normalized(layers.Conv3D(filters, 3, padding="same", use_bias=False)(x))
    return layers.Activation("relu")(layers.Add()([x, shortcut]))


def _normalized(x: Any) -> Any:
    """Normalize by the statistics of the whole batch, on however many replicas it is."""
    is_shared = tf.distribute.get_strategy().num_replicas_in_sync > 1
    return layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, synchronized=is_shared)(x)


class Dropout(keras.layers.Dropout):
    """Drops the same of a scan, on however many replicas its batch is: each draws for all, and takes its own part."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Return (n, features) with a share of them zero and the others scaled up; unchanged unless training."""
        if not training:
            return inputs
        n_own = tf.shape(inputs)[0]
        n, first = place_in_batch(n_own)
        chances = keras.random.uniform((n, inputs.shape[1]), seed=self.seed_generator)[first : first + n_own]
        return tf.where(chances >= self.rate, inputs / (1 - self.rate), 0)


# name -> (builder of features, the smallest axis in voxels that its halvings leave something of)
NETWORKS: dict[str, tuple[Callable, int]] = {"compact": (compact, 8), "founding": (founding, 16)}


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
