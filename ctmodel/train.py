"""From a store to a run: split, fit, stop, score; interrupted anywhere, it goes on where it was."""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ctmodel import metrics
from ctmodel.backend import make_reproducible
from ctmodel.batches import open_volumes
from ctmodel.checkpoint import save_weights
from ctmodel.errors import RunError, SettingsError
from ctmodel.history import EpochReport, best_epoch
from ctmodel.inference import load_predictor, predict_rows
from ctmodel.loop import Loop, Task
from ctmodel.network import build
from ctmodel.plots import write_curves
from ctmodel.precision import choose_precision
from ctmodel.replicas import check_enough, choose_strategy, describe_devices
from ctmodel.run_folder import Run, check_same_run
from ctmodel.run_records import NetworkRecord, describe_store, split_rows
from ctmodel.scores import Scores, choose_threshold, score
from ctmodel.settings import Execution, TrainSettings
from ctmodel.split import UNLABELLED, Split, merge_patients, split_by_folds, split_by_shares
from ctprep.store import Store

TRAINED, RESUMED, ALREADY_FINISHED = "trained", "resumed", "already finished"

DEFAULTS, CAREFULLY = TrainSettings(), Execution()


def _say_nothing(_: object) -> None:
    """Take no notice."""


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


def train(
    store: str | os.PathLike[str],
    run: str | os.PathLike[str],
    settings: TrainSettings = DEFAULTS,
    *,
    execution: Execution = CAREFULLY,
    resume: bool = False,
    progress: Callable[[EpochReport], object] = _say_nothing,
    say: Callable[[str], object] = _say_nothing,
) -> RunResult:
    """Train a network on a store, and score it on patients that it has not seen.

    Parameters
    ----------
    store : path
        Made by `ctprep convert`.
    run : path
        The folder to make; never overwritten.
    settings : TrainSettings
        What decides the outcome.
    execution : Execution
        What does not.
    resume : bool
        Continue the training in `run`, if there is one, from its latest checkpoint.
    progress : callable
        Called with an `EpochReport` after each epoch.
    say : callable
        Called with a line of text where there is something to tell.

    Returns
    -------
    RunResult

    Raises
    ------
    SplitError, NetworkError
        If the store does not suit the settings.
    RunExists, RunMismatch, RunLocked
        If the folder is there already, is a run with other settings or of another store, or is being trained.
    BadVolume, StoreChanged
        If a volume is missing or damaged, or the store is replaced meanwhile.
    RunDamaged
        If the run cannot be continued, because its checkpoints or other files are damaged.
    TrainingDiverged
        If the network's outputs are no numbers any more.
    KeyboardInterrupt
        As soon as a checkpoint is written, if a signal raises one.
    ctprep.errors.StoreError
        If there is no readable store.
    """
    opened, reader = open_volumes(store)
    if Path(run).resolve().is_relative_to(opened.path.resolve()):
        raise RunError(f"{run}: lies in the store {opened.path}, which must stay as it is; choose another folder")
    reader.check(np.flatnonzero(opened.labels >= 0))
    task = Task(settings, execution, opened, reader, divide(opened, settings), Run(run), progress, say)
    make_reproducible(settings.seed)
    strategy = choose_strategy(execution.strategy)
    n_replicas = strategy.num_replicas_in_sync
    check_enough(n_replicas, n_rows=len(task.split.rows("train")), batch_size=settings.batch_size)
    if settings.xla and n_replicas > 1:
        raise SettingsError(f"xla: compiles for one device, and there are {n_replicas}; choose --strategy none")
    network = _network(task, resume=resume)
    with strategy.scope():
        model = build(**asdict(network))
    with task.run.locked():
        status = _begin(task, network, resume=resume)
        if status != ALREADY_FINISHED:
            how = f"{network.precision}{', compiled by XLA,' if settings.xla else ''}"
            say(f"training the {network.name} network in {how} on {describe_devices(strategy)}")
            loop = Loop(task, model, strategy=strategy)
            loop.run()
            _conclude(task, loop)
        task.run.remove_checkpoints()
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


def _network(task: Task, *, resume: bool) -> NetworkRecord:
    """Return which network to train; a run goes on with the precision that was chosen when it was begun."""
    settings, store = task.settings, task.store
    if resume and settings.precision == "auto" and not task.run.is_empty:
        precision = task.run.network().precision
    else:
        precision = choose_precision(settings.precision)
    return NetworkRecord(settings.network, store.recipe.shape, len(store.classes), precision)


def _begin(task: Task, network: NetworkRecord, *, resume: bool) -> str:
    """Make the run's folder, or see that it may be continued; return what the run's status will be."""
    described = describe_store(task.store, task.run.path)
    if not resume or task.run.is_empty:
        task.run.begin(task.settings, described, network, split_rows(task.store, task.split))
        return TRAINED
    check_same_run(task.run, task.settings, described, split=split_rows(task.store, task.split))
    return ALREADY_FINISHED if task.run.is_finished else RESUMED


def _conclude(task: Task, loop: Loop) -> None:
    """Score the best weights, and write what a finished run holds."""
    store, run = task.store, task.run
    save_weights(loop.best_model(), run.weights)
    rows = np.flatnonzero(np.array(task.split.parts) != UNLABELLED)
    predictions = predict_rows(load_predictor(run), store, task.reader, rows)
    parts = np.array(task.split.parts)[rows]
    validation, test = (predictions.taken(np.flatnonzero(parts == part)) for part in ("validation", "test"))
    threshold = choose_threshold(validation, by=task.settings.threshold)
    called = metrics.predicted_classes(predictions.probabilities, threshold=threshold.value)
    run.write_predictions(predictions, parts=parts.tolist(), called=called.tolist(), classes=store.classes)
    write_curves(loop.history, run.curves)
    run.write_scores(score(test, classes=store.classes, part="test", threshold=threshold))
