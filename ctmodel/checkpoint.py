"""Weights and the state of a training on disk, as arrays that nothing executes."""

import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ctmodel.backend import keras
from ctmodel.errors import NetworkError, RunDamaged
from ctmodel.files import whole_file
from ctmodel.history import Epoch


def save_weights(model: keras.Model, path: Path) -> None:
    """Write a network's weights; `path` ends in .weights.h5."""
    with whole_file(path) as partial:
        model.save_weights(partial)


def load_weights(model: keras.Model, path: Path) -> None:
    """Read weights into a network built as when they were saved.

    Raises
    ------
    NetworkError
        If they are missing, damaged, or of another network.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # Keras warns of layers that keep their fresh weights
            model.load_weights(path)
    except Exception as error:  # Keras and HDF5 raise RuntimeError and much else on mutated bytes
        reason = str(error).strip().split("\n", 1)[0]
        raise NetworkError(
            f"{path}: its weights cannot be loaded into the network {model.name!r} ({reason}); train again"
        ) from error


def save_state(path: Path, variables: Sequence[np.ndarray], history: Sequence[Epoch]) -> None:
    """Write all that a training needs to go on.

    Parameters
    ----------
    path : Path
        Ends in .npz.
    variables : sequence of arrays
        Weights, the optimizer's moments, and the states of random layers.
    history : sequence of Epoch
        All epochs so far.
    """
    arrays = {f"variable_{place}": value for place, value in enumerate(variables)}
    epochs = json.dumps([asdict(epoch) for epoch in history])
    with whole_file(path) as partial:
        np.savez(partial, history=np.array(epochs), **arrays)  # type: ignore[arg-type]


def load_state(path: Path) -> tuple[list[np.ndarray], list[Epoch]]:
    """Read what `save_state` wrote.

    Returns
    -------
    variables : list of arrays
    history : list of Epoch

    Raises
    ------
    RunDamaged
        If the file is something else.
    """
    try:
        with np.load(path, allow_pickle=False) as saved:
            variables = [saved[f"variable_{place}"] for place in range(len(saved.files) - 1)]
            history = [Epoch(**epoch) for epoch in json.loads(str(saved["history"]))]
    except Exception as error:  # NumPy, zipfile and zlib raise NotImplementedError and much else on mutated bytes
        raise RunDamaged(f"{path}: cannot be read ({error}); delete the run folder and train again") from error
    return variables, history
