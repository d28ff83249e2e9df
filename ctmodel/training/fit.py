"""One network and its optimizer, trained a step at a time, to the bit the same after an interruption."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ctmodel.data.augment import mix
from ctmodel.data.pipeline import Feed
from ctmodel.devices.backend import keras, tf
from ctmodel.devices.replicas import own_part
from ctmodel.errors import RunDamaged

# With Keras's 1e-7 a gradient that is nothing but rounding moves a weight by a whole step size: after 12 steps on four
# replicas, weights were up to 1e-3 from those of one; with this up to 1e-4, and 3e-5 on another store.
EPSILON = 1e-5


def learning_rate(epoch: int, *, epochs: int, highest: float) -> float:
    """Return the step size of an epoch: along half a cosine from the highest down towards zero.

    Parameters
    ----------
    epoch : int
        From 0.
    epochs : int
        How many there may be.
    highest : float
        That of the first epoch.

    Returns
    -------
    float

    Examples
    --------
    >>> learning_rate(5, epochs=10, highest=0.01)
    0.005
    """
    return highest * (1 + math.cos(math.pi * epoch / epochs)) / 2


def class_weights(labels: np.ndarray, *, n_classes: int, balanced: bool) -> np.ndarray:
    """Return how much a scan of each class counts in the loss.

    Parameters
    ----------
    labels : (n,) int array
        Of the training subset, every class among them.
    n_classes : int
    balanced : bool
        Whether every class counts the same as a whole; if not, every scan does.

    Returns
    -------
    (n_classes,) float64 array
        The mean over the scans is 1.

    Examples
    --------
    >>> class_weights(np.array([0, 0, 0, 1]), n_classes=2, balanced=True).round(3).tolist()
    [0.667, 2.0]
    """
    if not balanced:
        return np.ones(n_classes)
    return len(labels) / (n_classes * np.bincount(labels, minlength=n_classes))


class Trainer:
    """A network in training.

    Parameters
    ----------
    model : keras.Model
        As `network.build` made it, in the scope of the strategy.
    weights : (classes,) float array
        How much a scan of each class counts in the loss.
    strategy : tf.distribute.Strategy, optional
        Which replicas share each batch; by default there is one.
    xla : bool
        Let XLA compile the way to the gradients and back; for one replica.
    feed : Feed, optional
        Makes the inputs of what crosses, as a part of each step; by default steps are given the inputs.
    """

    def __init__(
        self,
        model: keras.Model,
        weights: np.ndarray,
        *,
        strategy: Any = None,
        xla: bool = False,
        feed: Feed | None = None,
    ) -> None:
        self.model, self._feed = model, feed
        self._strategy = strategy or tf.distribute.get_strategy()
        with self._strategy.scope():
            self._optimizer = keras.optimizers.Adam(epsilon=EPSILON)
            self._optimizer.build(model.trainable_variables)
        self._weights = tf.constant(weights, model.output.dtype)
        self._gradients = tf.function(self._gradients_of, jit_compile=True) if xla else self._gradients_of
        given = feed.signature if feed else tf.TensorSpec((None, *model.input_shape[1:]))
        signature = [given, tf.TensorSpec((None, len(weights)))]
        self._step = tf.function(self._train_step, input_signature=signature).get_concrete_function()

    def learn_at(self, step_size: float) -> None:
        """Set the optimizer's learning rate for the steps to come."""
        self._optimizer.learning_rate.assign(step_size)

    def step(self, given: Any, shares: Any) -> Any:
        """Learn from one batch; all of it is one program.

        Parameters
        ----------
        given : Step, or (n, x, y, z, 1) float32 tensor
            What the feed yields, or inputs where there is none. Of several machines, each has its part of the batch.
        shares : (n, classes) array or tensor
            How much of each class a scan is; the feed mixes them as the scans. Each machine has all.

        Returns
        -------
        (n, outputs) float32 tensor
            What the network said of each as it was trained on it. On a GPU it may still be under way: reading it waits.
        """
        return self._step(given, tf.convert_to_tensor(shares, tf.float32))

    def _train_step(self, given: Any, shares: Any) -> Any:
        """Let each replica learn from its part of a batch; return the outputs of all."""
        volumes = self._feed.inputs(given) if self._feed else given
        shares = mix(shares, given.mixing) if self._feed and given.mixing else shares
        outputs = self._strategy.run(self._learn, args=(volumes, shares))
        here = self._strategy.experimental_local_results(outputs)
        if len(here) < self._strategy.num_replicas_in_sync:  # the others are on other machines
            return self._strategy.gather(outputs, axis=0)
        return tf.concat(here, axis=0)

    def _learn(self, volumes: Any, shares: Any) -> Any:
        """Learn from this replica's part of a batch; the optimizer sums the gradients of all parts."""
        n = tf.shape(shares)[0]
        parts = own_part(volumes, of=n), own_part(shares)
        outputs, gradients = self._gradients(*parts, tf.cast(n, self._weights.dtype))
        self._optimizer.apply(gradients, self.model.trainable_variables)
        return outputs

    def _gradients_of(self, volumes: Any, shares: Any, n: Any) -> tuple[Any, list]:
        """Return the outputs for a part of a batch of n scans, and what the part adds to the gradients."""
        with tf.GradientTape() as tape:
            outputs = self.model(volumes, training=True)
            losses = _cross_entropies(outputs, n_classes=shares.shape[1]) * shares * self._weights
            penalty = sum(self.model.losses) / self._strategy.num_replicas_in_sync
            loss = tf.reduce_sum(losses) / n + penalty
        return outputs, tape.gradient(loss, self.model.trainable_variables)

    def state(self) -> list[np.ndarray]:
        """Return copies of all variables: weights, moments, and the states of random layers."""
        return [variable.value.numpy() for variable in self._variables()]

    def restore(self, state: Sequence[np.ndarray]) -> None:
        """Put back what `state` returned.

        Raises
        ------
        RunDamaged
            If it is the state of another network.
        """
        variables = self._variables()
        if [variable.shape for variable in variables] != [value.shape for value in state]:
            raise RunDamaged("checkpoint: holds the state of another network; delete the run folder and train again")
        for variable, value in zip(variables, state, strict=True):
            variable.assign(value)

    def _variables(self) -> list:
        return [*self.model.variables, *self._optimizer.variables]


def _cross_entropies(outputs: Any, *, n_classes: int) -> Any:
    """Return what each scan would cost in each class, (n, classes).

    Keras looks behind the probabilities for what they were made of, so that none is rounded to 0 or 1.
    """
    if outputs.shape[-1] == 1:
        of_class = [keras.losses.binary_crossentropy(tf.fill(tf.shape(outputs), float(c)), outputs) for c in (0, 1)]
    else:
        every = tf.fill(tf.shape(outputs)[:1], 1)
        of_class = [keras.losses.sparse_categorical_crossentropy(every * c, outputs) for c in range(n_classes)]
    return tf.stack(of_class, axis=1)
