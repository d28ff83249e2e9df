"""The network of the founding study."""

from typing import Any

from ctmodel.devices.backend import keras
from ctmodel.networks.blocks import Dropout, normalized

layers = keras.layers

FILTERS = (64, 64, 128, 256)
L2 = 1e-4


def founding(inputs: Any) -> Any:
    """Apply the network of the founding study: four blocks of convolution, pooling and batch normalization.

    Convolutions are padded: unpadded ones leave nothing of the 32 slices of a 64x64x32 volume.
    """
    x, penalty = inputs, keras.regularizers.L2(L2)
    for filters in FILTERS:
        x = layers.Conv3D(filters, 3, padding="same", activation="relu", kernel_regularizer=penalty)(x)
        x = normalized(layers.MaxPooling3D(2)(x))
    x = layers.GlobalAveragePooling3D()(x)
    x = layers.Dense(512, activation="relu", kernel_regularizer=penalty)(x)
    return Dropout(0.4)(x)
