"""A run and a store become predictions and scores, of patients that the run has not learnt from."""

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ctmodel.baselines.results import Scored
from ctmodel.data.batches import open_volumes
from ctmodel.data.patients import same_patients
from ctmodel.errors import RunMismatch, ScoreError, StoreMoved
from ctmodel.prediction.inference import load_predictor, predict_rows
from ctmodel.run.doubts import score_own
from ctmodel.run.records import StoreRecord, describe_store, store_differences
from ctmodel.run.run_folder import Run
from ctmodel.scoring.scores import Predictions, score
from ctprep.store.store import Store

LEARNT_FROM = ("train", "validation")


@dataclass(frozen=True, kw_only=True)
class Evaluation(Scored):
    """A run's scores on a store.

    Attributes
    ----------
    run, store : Path
    scores : Scores
    predictions : Predictions
        Of the scans that were scored.
    left_out : tuple of str
        Labelled scans of another store that were not, because the run has learnt from their patient, file or volume.
    baselines : Baselines or None
        What plain statistics score on the run's own test subset; None on another store, and in a run of version 0.1.

    Examples
    --------
    >>> evaluation = evaluate("run")
    >>> evaluation.predictions.scans[:2], evaluation.predictions.probabilities.shape
    (('CT-0/p00_0', 'CT-0/p04_0'), (4, 2))
    """

    run: Path
    store: Path
    predictions: Predictions
    left_out: tuple[str, ...]


def evaluate(run: str | os.PathLike[str], store: str | os.PathLike[str] | None = None) -> Evaluation:
    """Score a run's network: on its own test subset, or on the labelled scans of another store.

    Parameters
    ----------
    run : path
        A finished run.
    store : path, optional
        Of the same recipe and classes; the run's own where it is not given.

    Returns
    -------
    Evaluation

    Raises
    ------
    RunMissing, RunDamaged
        If the run is not finished, or a file of it cannot be read.
    StoreMoved
        If the run's own store is not where it was.
    RunMismatch
        If the store is not one that this network can be scored on.
    ScoreError
        If fewer than two classes remain.

    Examples
    --------
    >>> scores = evaluate("run").scores
    >>> print(scores.scores["auroc"])
    1.000 (95 % interval 0.386 to 1.000, n = 4)
    """
    folder = Run(run)
    folder.check_is_finished()
    record = folder.store()
    opened, reader = open_volumes(_own_store(folder, record) if store is None else store)
    described = describe_store(opened, folder.path)
    is_own = described.fingerprint == record.fingerprint
    _check_fits(folder, described, record, must_be_own=store is None)
    how: dict[str, Any] = {"classes": opened.classes, "threshold": folder.scores().threshold}
    said_of = partial(predict_rows, load_predictor(folder), opened, reader)
    left_out: tuple[str, ...] = ()
    if is_own:
        validation, predictions = (said_of(_own_rows(folder, opened, subset)) for subset in ("validation", "test"))
        scores = score_own(folder, validation=validation, test=predictions, **how)
    else:
        rows, left_out = _unseen_rows(folder, opened)
        predictions = said_of(rows)
        scores = score(predictions, subset="unseen", notes=_notes(left_out), **how)
    baselines = folder.baselines() if is_own else None
    return Evaluation(
        run=folder.path,
        store=opened.path,
        scores=scores,
        predictions=predictions,
        left_out=left_out,
        baselines=baselines,
    )


def _own_store(folder: Run, record: StoreRecord) -> Path:
    path = Path(os.path.normpath(folder.path / record.path))
    if not path.exists():
        raise StoreMoved(
            f"{path}: the store of {folder.path} is not there any more; say where it is: "
            f"ctmodel evaluate {folder.path} STORE"
        )
    return path


def _check_fits(folder: Run, ours: StoreRecord, theirs: StoreRecord, *, must_be_own: bool) -> None:
    """Refuse a store whose volumes or classes are not what the network learnt."""
    different = store_differences(ours, theirs)
    if must_be_own and different:
        raise RunMismatch(
            f"{folder.path}: its store has changed ({'; '.join(different)}); name the store to score its "
            f"unseen patients: ctmodel evaluate {folder.path} STORE"
        )
    if ours.recipe != theirs.recipe or ours.classes != theirs.classes:
        raise RunMismatch(
            f"{folder.path}: was trained on another kind of store ({'; '.join(different)}); convert the "
            "scans with the run's recipe and classes"
        )


def _own_rows(folder: Run, store: Store, subset: str) -> np.ndarray:
    own = {row.scan for row in folder.split() if row.subset == subset}
    return np.flatnonzero([scan in own for scan in store.scans])


def _unseen_rows(folder: Run, store: Store) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the labelled rows that the run cannot have learnt from, and the scans of the others."""
    everything = folder.split()
    learnt = [row for row in everything if row.subset in LEARNT_FROM]
    ours = [(row.scan, row.patient) for row in learnt]
    names_patients = any(row.scan != row.patient for row in everything) and store.names_patients
    is_seen = np.array(
        same_patients(ours, list(zip(store.scans, store.patients, strict=True)), names_patients=names_patients)
    )
    is_seen |= np.isin(list(store.records.source_sha256), [row.source_sha256 for row in learnt])
    is_seen |= np.isin([str(checksum) for checksum in store.checksums.tolist()], [row.volume_crc32c for row in learnt])
    is_labelled = store.labels >= 0
    left_out = tuple(store.scans[row] for row in np.flatnonzero(is_labelled & is_seen))
    if left_out and not (is_labelled & ~is_seen).any():
        raise ScoreError(
            f"{store.path}: no labelled scan is left to score, because the run has learnt from the patients, files or "
            f"volumes of all {len(left_out)}; name a store of other patients"
        )
    return np.flatnonzero(is_labelled & ~is_seen), left_out


def _notes(left_out: tuple[str, ...]) -> list[str]:
    if not left_out:
        return []
    return [
        f"{len(left_out)} labelled scans were left out, such as {left_out[0]}: the run was trained on the "
        "same patients, files or volumes."
    ]
