"""A small residual network on tones of attenuation."""

from typing import Any

import numpy as np

from ctmodel.devices.backend import keras
from ctmodel.networks.blocks import Dropout, normalized

layers = keras.layers

FILTERS = (16, 32, 64)
TONES = 8
MAX_TONE = 0.7  # of the window; -20 HU where it is -1000 to 400


def compact(inputs: Any) -> Any:
    """Apply a small residual network on tones of attenuation, that looks at means and at peaks.

    It needs a fifth of the founding network's arithmetic. The tones spare it the epochs in which a network finds out
    that lung, ground glass and tissue differ.
    The peaks let one small finding be seen in a whole chest.
    """
    x = normalized(layers.AveragePooling3D(2, padding="same")(_tones(inputs)))
    x = layers.Conv3D(FILTERS[0], 3, padding="same", use_bias=False)(x)
    x = layers.Activation("relu")(normalized(x))
    for filters in FILTERS[1:]:
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
        kernel_initializer=keras.initializers.Constant(TONES / MAX_TONE),
        bias_initializer=_first_thresholds,
        name="tones",
    )(inputs)


def _first_thresholds(shape: tuple[int, ...], dtype: Any = None) -> Any:
    return keras.ops.convert_to_tensor(-np.arange(shape[0]), dtype=dtype)


def _residual_block(x: Any, filters: int) -> Any:
    """Halve the grid and learn the difference to a pooled copy of the input."""
    shortcut = layers.Conv3D(filters, 1, use_bias=False)(layers.AveragePooling3D(2, padding="same")(x))
    x = normalized(layers.Conv3D(filters, 3, padding="same", use_bias=False)(x))
    x = layers.MaxPooling3D(2, padding="same")(layers.Activation("relu")(x))
    x = normalized(layers.Conv3D(filters, 3, padding="same", use_bias=False)(x))
    return layers.Activation("relu")(layers.Add()([x, shortcut]))
