"""Class probabilities, always computed in batches of one size: a scan's do not depend on its company.

On a CPU that is to the bit, because each scan is a batch of its own: kernels round by a scan's place among others.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ctmodel.data.batches import VolumeReader
from ctmodel.data.order import cut_batches
from ctmodel.data.pipeline import plain_batches, to_input
from ctmodel.data.split import merge_patients
from ctmodel.devices.backend import accelerator, keras, tf
from ctmodel.devices.precision import precision_for_predictions
from ctmodel.errors import NetworkError
from ctmodel.networks.build import build, class_probabilities
from ctmodel.networks.own import check_source
from ctmodel.prediction.ensemble import Ensemble, Member
from ctmodel.run.checkpoint import load_weights
from ctmodel.run.run_folder import Run
from ctmodel.scoring.calibration import with_temperature
from ctmodel.scoring.scores import Predictions
from ctprep.execution.stopping import stop_if_asked
from ctprep.store.store import Store

# A GPU picks its algorithm, and so the rounding, by the size of the batch: shorter batches are filled up. Two cores
# would predict 8 scans at once 1.0 to 1.4 times as fast as one by one.
BATCH_ON_GPU, BATCH_ON_CPU = 8, 1


class Predictor:
    """Computes class probabilities with a network as it stands.

    Parameters
    ----------
    model : keras.Model
        Later changes of its weights are seen.
    weights : Path, optional
        The file that they were read from, which is at fault where an output is no number. Without it such an output
        is returned as it is.
    temperature : float
        By what the logits are divided.
    """

    def __init__(self, model: keras.Model, *, weights: Path | None = None, temperature: float = 1.0) -> None:
        self._weights, self._temperature = weights, temperature
        self._n_outputs = model.output_shape[-1]
        self._batch = BATCH_ON_GPU if accelerator() else BATCH_ON_CPU
        self._infer = tf.function(lambda volumes: model(volumes, training=False))

    def of_rows(self, reader: VolumeReader, rows: np.ndarray) -> np.ndarray:
        """Return the (n, classes) float64 probabilities of some rows of a store.

        Raises
        ------
        NetworkError
            If one is no number, and the weights were read from a file.
        """
        batches = reader.read(cut_batches(rows, self._batch))
        return self._of_inputs(volumes for _, volumes in plain_batches(reader, batches))

    def of_volumes(self, volumes: np.ndarray) -> np.ndarray:
        """Return the (n, classes) float64 probabilities of (n, x, y, z) volumes of a stored dtype.

        Raises
        ------
        NetworkError
            As `of_rows`.
        """
        batches = cut_batches(np.arange(len(volumes)), self._batch)
        return self._of_inputs(to_input(volumes[batch]) for batch in batches)

    def _of_inputs(self, inputs: Iterable) -> np.ndarray:
        outputs = []
        for batch in inputs:
            stop_if_asked()  # a training that looks at its validation subset
            outputs.append(self._outputs(batch))
        probabilities = class_probabilities(np.concatenate([np.empty((0, self._n_outputs)), *outputs]))
        if self._weights and not np.all(np.isfinite(probabilities)):
            raise NetworkError(f"{self._weights}: its network outputs NaN or infinity; restore it or train again")
        return with_temperature(probabilities, self._temperature)

    def _outputs(self, batch: Any) -> np.ndarray:
        n = len(batch)
        filled = tf.pad(batch, [(0, self._batch - n), *[(0, 0)] * 4])
        return self._infer(filled).numpy()[:n]


def load_predictor(run: Run) -> Member:
    """Build a run's network with its best weights; of a cross-validation, those of all folds as one.

    The probabilities of a finished run are scaled by its temperature; of a cross-validation those of each fold.

    Raises
    ------
    NetworkError
        If the weights are not those of the network, or not those that the training left, or a network of the user's
        own has changed.
    RunDamaged, RunMissing
        If the run does not say which network it is.
    """
    if folds := run.folds():
        return Ensemble([load_predictor(fold) for fold in folds])
    record = run.network()
    check_source(record.name, record.source)
    model = build(**record.arguments | {"precision": precision_for_predictions(record.precision)})
    run.check_weights()
    load_weights(model, run.weights)
    return Predictor(model, weights=run.weights, temperature=run.temperature)


def predict_rows(predictor: Member, store: Store, reader: VolumeReader, rows: np.ndarray) -> Predictions:
    """Return what a network says of some rows of a store, beside what is known of them.

    Patients are merged as in a split: scans of equal volumes say no more than one of them, whatever their names.
    """
    patients = merge_patients(store.patients, store.checksums.tolist())
    return Predictions(
        scans=tuple(store.scans[row] for row in rows),
        patients=tuple(patients[row] for row in rows),
        labels=store.labels[rows],
        probabilities=predictor.of_rows(reader, rows),
    )
