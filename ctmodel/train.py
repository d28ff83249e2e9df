"""From a store to a run: split, fit, stop, score; interrupted anywhere, it goes on where it was."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ctmodel import metrics
from ctmodel.augment import augmentation_of
from ctmodel.backend import keras, make_reproducible
from ctmodel.batches import VolumeReader, open_volumes
from ctmodel.checkpoint import load_state, save_state, save_weights
from ctmodel.errors import RunError, TrainingDiverged
from ctmodel.fit import Trainer, class_weights, learning_rate
from ctmodel.history import Epoch, EpochReport, best_epoch, is_over
from ctmodel.inference import Predictor, load_predictor, predict_rows
from ctmodel.network import build
from ctmodel.pipeline import training_epoch
from ctmodel.plots import write_curves
from ctmodel.residency import Volumes, settle
from ctmodel.run_folder import Run, check_same_run
from ctmodel.run_records import NetworkRecord, describe_store, split_rows
from ctmodel.scores import Scores, choose_threshold, score
from ctmodel.settings import TrainSettings
from ctmodel.split import UNLABELLED, Split, merge_patients, split_by_folds, split_by_shares
from ctprep.store import Store

TRAINED, RESUMED, ALREADY_FINISHED = "trained", "resumed", "already finished"

DEFAULTS = TrainSettings()

Progress = Callable[[EpochReport], None]


def _say_nothing(_report: EpochReport) -> None:
    """Take no notice of an epoch."""


@dataclass(frozen=True)
class RunResult:
    """What a training came to.

    Attributes
    ----------
    run : Path
        The run folder.
    status : str
        "trained", "resumed", or "already finished" where nothing was left to do.
    epochs, best_epoch : int
        How many there were, and whose weights were kept, from 1.
    scores : Scores
        Of the test part, which neither trained nor chose.
    """

    run: Path
    status: str
    epochs: int
    best_epoch: int
    scores: Scores


@dataclass(frozen=True)
class _Task:
    """All that stays the same during a training."""

    settings: TrainSettings
    store: Store
    reader: VolumeReader
    split: Split
    run: Run
    progress: Progress
    residency: str


def train(
    store: str | os.PathLike[str],
    run: str | os.PathLike[str],
    settings: TrainSettings = DEFAULTS,
    *,
    resume: bool = False,
    residency: str = "auto",
    progress: Progress = _say_nothing,
) -> RunResult:
    """Train a network on a store, and score it on patients that it has not seen.

    Parameters
    ----------
    store : path
        Made by `ctprep convert`.
    run : path
        The folder to make; never overwritten.
    settings : TrainSettings
    resume : bool
        Continue the training in `run`, if there is one.
    residency : {"auto", "stream", "host", "device"}
        Where the training part is kept, see `residency.settle`; the run is the same in each.
    progress : callable
        Called with an `EpochReport` after each epoch.

    Returns
    -------
    RunResult

    Raises
    ------
    SettingsError
        If there is no such residency.
    SplitError, NetworkError
        If the store does not suit the settings.
    RunExists, RunMismatch, RunLocked
        If the folder is there already, is a run with other settings or of another store, or is being trained.
    BadVolume, StoreChanged
        If a volume is missing or damaged, or the store is replaced meanwhile.
    TrainingDiverged
        If the network's outputs are no numbers any more.
    ctprep.errors.StoreError
        If there is no readable store.
    """
    opened, reader = open_volumes(store)
    if Path(run).resolve().is_relative_to(opened.path.resolve()):
        raise RunError(f"{run}: lies in the store {opened.path}, which must stay as it is; choose another folder")
    reader.check(np.flatnonzero(opened.labels >= 0))
    task = _Task(settings, opened, reader, divide(opened, settings), Run(run), progress, residency)
    make_reproducible(settings.seed)
    model = build(settings.network, opened.recipe.shape, len(opened.classes))
    with task.run.locked():
        status = _begin(task, resume=resume)
        if status != ALREADY_FINISHED:
            _conclude(task, _fit(task, model))
    history = task.run.history()
    return RunResult(task.run.path, status, len(history), best_epoch(history).epoch, task.run.scores())


def divide(store: Store, settings: TrainSettings) -> Split:
    """Return the split of a store that the settings ask for."""
    cut = (
        partial(split_by_folds, folds=settings.folds, fold=settings.fold)
        if settings.folds
        else partial(split_by_shares, test=settings.test)
    )
    return cut(
        store.labels,
        merge_patients(store.patients, store.checksums.tolist()),
        classes=store.classes,
        validation=settings.validation,
        seed=settings.seed,
    )


def _begin(task: _Task, *, resume: bool) -> str:
    """Make the run's folder, or see that it may be continued; return what the run's status will be."""
    described = describe_store(task.store, task.run.path)
    if not resume or task.run.is_empty:
        network = NetworkRecord(task.settings.network, task.store.recipe.shape, len(task.store.classes))
        task.run.begin(task.settings, described, network, split_rows(task.store, task.split))
        return TRAINED
    check_same_run(task.run, task.settings, described, split=split_rows(task.store, task.split))
    return ALREADY_FINISHED if task.run.is_finished else RESUMED


def _fit(task: _Task, model: keras.Model) -> list[Epoch]:
    """Train until the settings say stop, leaving after each epoch what is needed to go on from there."""
    settings, rows = task.settings, task.split.rows("train")
    n_classes = len(task.store.classes)
    weights = class_weights(task.store.labels[rows], n_classes=n_classes, balanced=settings.class_weights)
    trainer, predictor = Trainer(model, weights), Predictor(model)
    history: list[Epoch] = []
    if task.run.checkpoint.exists():
        state, history = load_state(task.run.checkpoint)
        trainer.restore(state)
    volumes = settle(task.reader, rows, task.residency)
    while not is_over(history, epochs=settings.epochs, patience=settings.patience):
        started = time.monotonic()
        history.append(_run_epoch(task, volumes, trainer, predictor, weights, epoch=len(history)))
        is_best = best_epoch(history) is history[-1]
        if is_best:
            save_weights(model, task.run.weights)
        task.run.write_history(history)
        save_state(task.run.checkpoint, trainer.state(), history)
        task.progress(EpochReport(history[-1], settings.epochs, time.monotonic() - started, is_best))
    return history


def _run_epoch(
    task: _Task, volumes: Volumes, trainer: Trainer, predictor: Predictor, weights: np.ndarray, *, epoch: int
) -> Epoch:
    """Train for one epoch, and look at the validation part."""
    settings, labels = task.settings, task.store.labels
    step_size = learning_rate(epoch, epochs=settings.epochs, highest=settings.learning_rate)
    batches = training_epoch(
        volumes,
        task.split.rows("train"),
        batch_size=settings.batch_size,
        seed=settings.seed,
        epoch=epoch,
        augmentation=augmentation_of(settings.augment, flip=settings.flip),
    )
    seen, probabilities = trainer.train_epoch(batches, labels, step_size=step_size)
    rows = task.split.rows("validation")
    chances = predictor.of_rows(task.reader, rows)
    if not np.all(np.isfinite(chances)):
        raise TrainingDiverged(
            f"{task.run.path}: the network's outputs are no numbers in epoch {epoch + 1}; "
            "train anew with a lower learning rate"
        )
    return Epoch(
        epoch + 1,
        step_size,
        *_epoch_scores(seen, probabilities, weights),
        *_epoch_scores(labels[rows], chances, weights),
    )


def _epoch_scores(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> tuple[float, float, float]:
    """Return loss, AUROC and accuracy."""
    loss = np.average(metrics.log_losses(labels, probabilities), weights=weights[labels])
    accuracy = np.mean(metrics.predicted_classes(probabilities, threshold=0.5) == labels)
    return float(loss), float(metrics.macro_auroc(labels, probabilities)), float(accuracy)


def _conclude(task: _Task, history: list[Epoch]) -> None:
    """Score the best weights, and write what a finished run holds."""
    store, run = task.store, task.run
    rows = np.flatnonzero(np.array(task.split.parts) != UNLABELLED)
    predictions = predict_rows(load_predictor(run), store, task.reader, rows)
    parts = np.array(task.split.parts)[rows]
    validation, test = (predictions.taken(np.flatnonzero(parts == part)) for part in ("validation", "test"))
    threshold = choose_threshold(validation, by=task.settings.threshold)
    called = metrics.predicted_classes(predictions.probabilities, threshold=threshold.value)
    run.write_predictions(predictions, parts=parts.tolist(), called=called.tolist(), classes=store.classes)
    write_curves(history, run.curves)
    run.write_scores(score(test, classes=store.classes, part="test", threshold=threshold))
    run.checkpoint.unlink(missing_ok=True)
