"""A run and a store become predictions and scores, of patients that the run has not learnt from."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ctmodel.baselines.results import Scored
from ctmodel.data.batches import VolumeReader, open_volumes
from ctmodel.data.patients import same_patients
from ctmodel.errors import RunMismatch, ScoreError, SettingsError, StoreMoved
from ctmodel.prediction.groups import Groups, score_groups
from ctmodel.prediction.inference import load_predictor, predict_rows
from ctmodel.run.doubts import score_own, score_own_folds
from ctmodel.run.records import CrossvalRecord, StoreRecord, describe_store, store_differences
from ctmodel.run.run_folder import Run
from ctmodel.scoring.folds import pool
from ctmodel.scoring.scores import Predictions, Threshold, choose_threshold, score
from ctmodel.settings import KEPT, EvaluationSettings
from ctprep.store.store import Store

LEARNT_FROM = ("train", "validation")
DEFAULTS = EvaluationSettings()


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
    groups : Groups or None
        The scores of each value of a column, where they are asked for.

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
    groups: Groups | None = None

    def lines(self) -> list[str]:
        """Return what `ctmodel evaluate` prints: the table of scores, what is below it, and the groups."""
        return super().lines() + self._group_lines()

    def all_lines(self) -> list[str]:
        """Return what `ctmodel evaluate --all` prints: the same, with all scores in the table."""
        below = super().lines()[len(self.scores.lines()) :]
        return self.scores.all_lines() + below + self._group_lines()

    def _group_lines(self) -> list[str]:
        return self.groups.lines() if self.groups else []

    def to_dict(self) -> dict[str, Any]:
        """Return the scores, and the `baselines` and groups (`by`) beside them, ready for JSON."""
        return super().to_dict() | ({"by": self.groups.to_dict()} if self.groups else {})


def evaluate(
    run: str | os.PathLike[str],
    store: str | os.PathLike[str] | None = None,
    settings: EvaluationSettings = DEFAULTS,
) -> Evaluation:
    """Score a run's network: on its own test subset, or on the labelled scans of another store.

    Nothing is written: see `keep_threshold`.

    Parameters
    ----------
    run : path
        A finished run.
    store : path, optional
        Of the same recipe and classes; the run's own where it is not given.
    settings : EvaluationSettings
        The threshold, and what else is computed.

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
        If fewer than two classes remain, or the column is unknown or has too many values.
    SettingsError
        If a threshold or a prevalence is asked of more than two classes.

    Examples
    --------
    >>> scores = evaluate("run").scores
    >>> print(scores.scores["auroc"])
    1.000 (95 % interval 0.386 to 1.000, n = 4)
    >>> print(evaluate("run", settings=EvaluationSettings(threshold="0.3")).scores.threshold)
    0.300
    """
    folder = Run(run)
    folder.check_is_finished()
    record = folder.store()
    opened, reader = open_volumes(_own_store(folder, record) if store is None else store)
    described = describe_store(opened, folder.path)
    is_own = described.fingerprint == record.fingerprint
    _check_fits(folder, described, record, must_be_own=store is None)
    _check_suits_classes(settings, folder, record)
    column = _column(opened, settings.by) if settings.by else None
    more: dict[str, Any] = {"prevalence": settings.prevalence, "ordered": settings.ordered}
    if is_own and (record_of_folds := folder.crossval()):
        return _evaluate_folds(folder, record_of_folds, opened, reader, by=settings.threshold, column=column, **more)
    threshold = _threshold(folder, by=settings.threshold)
    how: dict[str, Any] = {"classes": opened.classes, "threshold": threshold} | more
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
        groups=_groups(opened, predictions, column, threshold) if column else None,
    )


def keep_threshold(run: str | os.PathLike[str], threshold: Threshold) -> None:
    """Keep a threshold in a finished run, for what is evaluated and predicted with it from now on.

    `threshold.json` holds it; remove that file to have the threshold of the training again.

    Raises
    ------
    RunMissing, RunDamaged
        If the run is not finished, or a file of it cannot be read.
    RunError
        If the run cannot be written.

    Examples
    --------
    >>> found = evaluate("run", settings=EvaluationSettings(threshold="youden"))
    >>> keep_threshold("run", found.scores.threshold)
    >>> evaluate("run").scores.threshold == found.scores.threshold
    True
    """
    folder = Run(run)
    folder.check_is_finished()
    folder.keep_threshold(threshold)


def _threshold(folder: Run, *, by: str) -> Threshold:
    """Return the threshold of a run, or one that a rule chooses on scans that did not train and are not scored."""
    if by == KEPT:
        return folder.threshold()
    folds = folder.folds()
    predictions = pool([fold.predictions("test") for fold in folds]) if folds else folder.predictions("validation")
    return choose_threshold(predictions, by=by)


def _check_suits_classes(settings: EvaluationSettings, folder: Run, record: StoreRecord) -> None:
    n_classes = len(record.classes)
    asked = {"threshold": settings.threshold if settings.threshold != KEPT else None, "prevalence": settings.prevalence}
    for name, value in asked.items():
        if value is not None and n_classes > 2:
            raise SettingsError(
                f"{name}: {value!r}, but {folder.path} has {n_classes} classes, of which the likeliest is predicted; "
                f"leave out --{name}, or train with two classes"
            )


def _column(store: Store, name: str) -> str:
    """Return the column of a store that a name is for, with or without the prefix that it has there."""
    for column in (name, name.removeprefix("meta_")):
        if column in store.meta:
            return column
    if not store.meta:
        raise ScoreError(
            f"by: {store.path} has no column {name!r}, nor any other; convert again with a table that has it: --labels"
        )
    raise ScoreError(f"by: {store.path} has no column {name!r}, expected one of {', '.join(sorted(store.meta))}")


def _groups(store: Store, predictions: Predictions, column: str, threshold: Threshold) -> Groups:
    rows = [store.row(scan) for scan in predictions.scans]
    return score_groups(
        predictions, store.meta[column][rows], column=column, classes=store.classes, threshold=threshold
    )


def _evaluate_folds(
    folder: Run,
    record: CrossvalRecord,
    store: Store,
    reader: VolumeReader,
    *,
    by: str,
    column: str | None,
    **more: Any,
) -> Evaluation:
    """Score a cross-validation: each scan by the network that has not learnt from it."""
    baselines, runs = folder.baselines(), folder.folds()
    of_tests = [predict_rows(load_predictor(fold), store, reader, _own_rows(fold, store, "test")) for fold in runs]
    thresholds = _thresholds_of_folds(folder, runs, by=by)
    scores, folds = score_own_folds(folder, record, of_tests, baselines=baselines, thresholds=thresholds, **more)
    predictions = pool(of_tests)
    return Evaluation(
        run=folder.path,
        store=store.path,
        scores=scores,
        predictions=predictions,
        left_out=(),
        baselines=baselines,
        folds=folds,
        groups=_groups(store, predictions, column, scores.threshold) if column else None,
    )


def _thresholds_of_folds(folder: Run, runs: Sequence[Run], *, by: str) -> list[Threshold]:
    """Return the threshold of each fold: the one that is kept, its own, or what a rule chooses on its validation."""
    if by != KEPT:
        return [_threshold(run, by=by) for run in runs]
    kept = folder.kept_threshold()
    return [kept or run.scores().threshold for run in runs]


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
