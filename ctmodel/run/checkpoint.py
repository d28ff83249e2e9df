"""Weights and the state of a training on disk, as arrays that nothing executes."""

import io
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from ctmodel.devices.backend import keras
from ctmodel.errors import NetworkError, RunDamaged, RunError
from ctmodel.run.files import whole_file
from ctmodel.run.history import Epoch

DIGEST_BYTES = 32  # a SHA-256 over all that is before it; NumPy reads the file all the same


@dataclass(frozen=True)
class Checkpoint:
    """A training between two of its steps: all that it needs to go on as if it had never stopped.

    Attributes
    ----------
    variables : sequence of arrays
        Weights, the optimizer's moments, and the states of random layers.
    best : sequence of arrays
        The weights after the best epoch so far; empty before the first has ended.
    history : sequence of Epoch
        Those that have ended.
    steps : int
        How many were taken in the epoch under way.
    rows : (n,) int array
        The rows that they trained on, in order.
    outputs : (n, outputs) float array
        What the network said of each.
    """

    variables: Sequence[np.ndarray]
    best: Sequence[np.ndarray]
    history: Sequence[Epoch]
    steps: int
    rows: np.ndarray
    outputs: np.ndarray


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


def save_checkpoint(path: Path, checkpoint: Checkpoint, *, former: Path | None = None) -> None:
    """Write a checkpoint, whole or not at all, with its SHA-256.

    Parameters
    ----------
    path : Path
        Ends in .npz.
    checkpoint : Checkpoint
    former : Path, optional
        Where the one goes that has been at `path`.

    Raises
    ------
    RunError
        If it cannot be written.
    """
    content = io.BytesIO()
    np.savez(content, **_to_arrays(checkpoint))  # type: ignore[arg-type]
    try:
        with whole_file(path, former=former) as partial, partial.open("wb") as file:
            file.write(content.getbuffer())
            file.write(sha256(content.getbuffer()).digest())
    except OSError as error:
        raise RunError(
            f"{path}: cannot be written ({error.strerror}); make room, and continue with --resume"
        ) from error


def _to_arrays(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    said = {
        "history": [asdict(epoch) for epoch in checkpoint.history],
        "steps": checkpoint.steps,
        "variables": len(checkpoint.variables),
        "best": len(checkpoint.best),
    }
    return {
        "said": np.array(json.dumps(said)),
        "rows": checkpoint.rows,
        "outputs": checkpoint.outputs,
        **{f"variables_{place}": value for place, value in enumerate(checkpoint.variables)},
        **{f"best_{place}": value for place, value in enumerate(checkpoint.best)},
    }


def load_checkpoint(path: Path) -> Checkpoint:
    """Read what `save_checkpoint` wrote.

    Raises
    ------
    RunDamaged
        If the file is something else, or not all of it.
    """
    try:
        saved = path.read_bytes()
        content, digest = saved[:-DIGEST_BYTES], saved[-DIGEST_BYTES:]
        if sha256(content).digest() != digest:
            raise ValueError("its checksum does not match")
        return _from_arrays(io.BytesIO(content))
    except Exception as error:  # NumPy, zipfile and zlib raise NotImplementedError and much else on foreign bytes
        raise RunDamaged(
            f"{path}: cannot be read ({error}); restore it, or delete the run folder and train again"
        ) from error


def _from_arrays(file: io.BytesIO) -> Checkpoint:
    with np.load(file, allow_pickle=False) as saved:
        said = json.loads(str(saved["said"]))
        variables, best = ([saved[f"{name}_{place}"] for place in range(said[name])] for name in ("variables", "best"))
        history = [Epoch(**epoch) for epoch in said["history"]]
        return Checkpoint(variables, best, history, said["steps"], saved["rows"], saved["outputs"])


def load_latest(paths: Sequence[Path], *, say: Callable[[str], object]) -> Checkpoint | None:
    """Return the first checkpoint that is whole.

    Parameters
    ----------
    paths : sequence of Path
        Where checkpoints may be, the latest first.
    say : callable
        Called with one line about each damaged one, if a later one takes its place.

    Returns
    -------
    Checkpoint or None
        None if there is none, damaged or whole.

    Raises
    ------
    RunDamaged
        If all that there are are damaged.
    """
    damaged: list[RunDamaged] = []
    for path in filter(Path.exists, paths):
        try:
            checkpoint = load_checkpoint(path)
        except RunDamaged as error:
            damaged.append(error)
            continue
        for one in damaged:
            say(f"{str(one).partition('; ')[0]}; going on from the one before, {path.name}")
        return checkpoint
    if damaged:
        raise damaged[0]
    return None
