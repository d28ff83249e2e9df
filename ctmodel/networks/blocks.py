"""Layers that the networks share, which compute the same on however many replicas a batch is."""

from typing import Any

from ctmodel.devices.backend import keras, tf
from ctmodel.devices.replicas import place_in_batch

# Keras forgets with 0.99: after an epoch of nine batches 91 % of the moving statistics would still be the
# initial zeros and ones, and validation would lag training by dozens of epochs.
BATCH_NORM_MOMENTUM = 0.9


def normalized(x: Any) -> Any:
    """Normalize by the statistics of the whole batch, on however many replicas it is."""
    is_shared = tf.distribute.get_strategy().num_replicas_in_sync > 1
    return keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, synchronized=is_shared)(x)


class Standardized(keras.layers.BatchNormalization):
    """Standardizes by moving statistics, in training too: those of a batch of eight are a guess.

    So it learns from the numbers that it later predicts from.
    """

    def __init__(self, **kwargs: Any) -> None:
        is_shared = tf.distribute.get_strategy().num_replicas_in_sync > 1
        fixed = {"momentum": BATCH_NORM_MOMENTUM, "center": False, "scale": False, "synchronized": is_shared}
        super().__init__(**fixed | kwargs)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Return (n, features) of about mean 0 and variance 1; training moves the statistics first."""
        if training:
            super().call(inputs, training=True)
        return super().call(inputs, training=False)


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
