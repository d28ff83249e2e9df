"""From a store to a run: split, fit, stop, score; interrupted anywhere, it goes on where it was."""

import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ctmodel.baselines.results import Baselines, Scored
from ctmodel.baselines.score import Features, describe_rows, score_baselines
from ctmodel.data.augment import augmentation_of
from ctmodel.data.batches import VolumeReader, open_volumes
from ctmodel.data.division import divide
from ctmodel.data.split import SUBSETS, UNLABELLED, Split
from ctmodel.devices.backend import ON_GPU, kernels, make_reproducible
from ctmodel.devices.precision import choose_precision
from ctmodel.devices.processor import ONEDNN_SWITCH
from ctmodel.devices.replicas import check_enough, describe_devices
from ctmodel.devices.workers import Distribution, distribute
from ctmodel.errors import RunError, RunMismatch, SettingsError
from ctmodel.networks.build import build, check_window
from ctmodel.networks.own import check_source, source_digest
from ctmodel.prediction.inference import load_predictor, predict_rows
from ctmodel.run.checkpoint import save_checkpoint, save_weights
from ctmodel.run.doubts import score_own
from ctmodel.run.history import EpochReport, best_epoch
from ctmodel.run.predictions import write_baseline_predictions
from ctmodel.run.records import UNKNOWN_KERNELS, NetworkRecord, describe_store, fingerprint, split_rows
from ctmodel.run.run_folder import Run, check_same_run
from ctmodel.scoring import metrics
from ctmodel.scoring.calibration import fit_temperature
from ctmodel.scoring.scores import Predictions, Scores, choose_threshold
from ctmodel.settings import Execution, TrainSettings
from ctmodel.training.loop import Loop, Task
from ctmodel.views.learning import write_learning_curves
from ctprep.store.store import Store

TRAINED, RESUMED, ALREADY_FINISHED = "trained", "resumed", "already finished"

WAYS_BACK_TO = {"oneDNN": f"set {ONEDNN_SWITCH}=1", "Eigen": f"set {ONEDNN_SWITCH}=0", ON_GPU: "use one"}
"""How to have the kernels that a run was begun with."""

DEFAULTS, CAREFULLY = TrainSettings(), Execution()


def ignore(_: object) -> None:
    """Take no notice."""


@dataclass(frozen=True, kw_only=True)
class RunResult(Scored):
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
        Of the test subset, which neither trained nor chose.
    baselines : Baselines or None
        What plain statistics score on the same scans; None in a run of version 0.1.
    is_chief : bool
        Whether this process wrote the run; of several machines one does.

    Examples
    --------
    >>> result = train("out.zarr", "run", Run("run").settings(), resume=True)
    >>> result.status, result.epochs, result.scores.scores["auroc"].value
    ('already finished', 3, 1.0)
    """

    run: Path
    status: str
    epochs: int
    best_epoch: int
    is_chief: bool = True


def train(
    store: str | os.PathLike[str],
    run: str | os.PathLike[str],
    settings: TrainSettings = DEFAULTS,
    *,
    execution: Execution = CAREFULLY,
    resume: bool = False,
    progress: Callable[[EpochReport], object] = ignore,
    say: Callable[[str], object] = ignore,
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
        Called with an `EpochReport` after each epoch; of several machines, on the chief.
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
        If the network outputs NaN or infinity.
    SettingsError
        If the devices or machines do not suit the settings.
    WorkerGone
        If another machine is not there, or not any more.
    KeyboardInterrupt
        Of Ctrl-C, as ever; if it struck between two steps, and under `ctprep.execution.stopping.ending_on_signals`
        in any case, a checkpoint is written before.
    ctprep.errors.StoreError
        If there is no readable store.

    Examples
    --------
    >>> result = train("out.zarr", "new-run", TrainSettings(epochs=1))
    >>> result.status, result.epochs, result.scores.n
    ('trained', 1, 4)
    """
    opened, reader = open_volumes(store)
    check_apart(opened, Path(run))
    if not resume:
        check_threshold(settings, opened)
    reader.check(np.flatnonzero(opened.labels >= 0))
    split, folder = divide(opened, settings), Run(run)
    task = new_task(opened, reader, split, folder, settings, execution=execution, progress=progress, say=say)
    for line in (*_subset_lines(opened, split), *(f"note: {note}" for note in split.notes)):
        say(line)
    return train_task(task, resume=resume)


def check_apart(store: Store, run: Path) -> None:
    """Raise `RunError` if a run is to be in the store itself."""
    if run.resolve().is_relative_to(store.path.resolve()):
        raise RunError(f"{run}: lies in the store {store.path}, which must stay as it is; choose another folder")


def new_task(
    store: Store,
    reader: VolumeReader,
    split: Split,
    run: Run,
    settings: TrainSettings,
    *,
    execution: Execution,
    progress: Callable[[EpochReport], object],
    say: Callable[[str], object],
    describe: Callable[[], Features] | None = None,
) -> Task:
    """Return what is to be trained.

    Parameters
    ----------
    store : Store
    reader : VolumeReader
        Of the same store.
    split : Split
    run : Run
    settings, execution, progress, say
        As in `train`.
    describe : callable, optional
        Returns what the baselines know of all labelled scans; without it they look at the volumes.
    """
    save = partial(save_checkpoint, run.checkpoint, former=run.former_checkpoint)
    describe = describe or partial(describe_rows, store, reader, np.flatnonzero(store.labels >= 0))
    return Task(
        settings=settings,
        execution=execution,
        store=store,
        reader=reader,
        split=split,
        run=run,
        save=save,
        write_history=run.write_history,
        progress=progress,
        say=say,
        describe=describe,
    )


def train_task(task: Task, *, resume: bool, network: NetworkRecord | None = None) -> RunResult:
    """Train a network, or go on with it, and score it; raises what `train` does.

    Parameters
    ----------
    task : Task
    resume : bool
        As in `train`.
    network : NetworkRecord, optional
        Which to train; else it is chosen once other machines are there, as TensorFlow wants it.
    """
    make_reproducible(task.settings.seed)
    distribution = _distribute(task)
    network = network or choose_network(task.run, task.store, task.settings, resume=resume)
    known = {"precision": network.precision, "store": fingerprint(task.store)}
    with distribution.translate_errors():
        distribution.check_equal(task.settings.to_dict() | known)
        return _train_on(distribution, task, network, resume=resume)


def check_threshold(settings: TrainSettings, store: Store) -> None:
    """Raise `SettingsError` if a threshold is asked of more than two classes."""
    if settings.threshold != DEFAULTS.threshold and len(store.classes) > 2:
        raise SettingsError(
            f"threshold: {settings.threshold}, but the store has {len(store.classes)} classes, of which the likeliest "
            "is predicted; leave out --threshold"
        )


def _subset_lines(store: Store, split: Split) -> list[str]:
    """Say how many scans, patients and positives each subset has; of more than two classes the scans of each."""
    lines = []
    for subset in SUBSETS:
        rows = split.rows(subset)
        counts = np.bincount(store.labels[rows], minlength=len(store.classes)).tolist()
        named = list(zip(store.classes, counts, strict=True))[len(store.classes) == 2 :]
        patients = len({store.patients[row] for row in rows})
        of_classes = ", ".join(f"{n} {name}" for name, n in named)
        lines.append(f"{subset:<10}  {len(rows)} scans of {patients} patients, {of_classes}")
    return lines


def _distribute(task: Task) -> Distribution:
    """Return how each batch is distributed, if the settings allow it."""
    settings, strategy = task.settings, task.execution.strategy
    if strategy == "workers" and settings.xla:
        raise SettingsError("xla: compiles for one device, not for workers; leave --xla out")
    if strategy == "workers" and augmentation_of(settings.augment, flip=settings.flip).mixup:
        raise SettingsError(
            f"augment: {settings.augment} mixes scans of a batch, of which each worker has a share; choose light"
        )
    distribution = distribute(strategy)
    n_replicas = distribution.strategy.num_replicas_in_sync
    check_enough(n_replicas, n_rows=len(task.split.rows("train")), batch_size=settings.batch_size)
    if settings.xla and n_replicas > 1:
        raise SettingsError(f"xla: compiles for one device, and there are {n_replicas}; choose --strategy none")
    return distribution


def _train_on(distribution: Distribution, task: Task, network: NetworkRecord, *, resume: bool) -> RunResult:
    """Train on this machine; the chief alone writes and tells."""
    is_chief = distribution.is_chief
    if not is_chief:
        machine = f"worker {distribution.place} of {distribution.size}"
        task.say(f"training as {machine}; the chief, which is 0, tells how it goes")
        task = replace(task, save=ignore, write_history=ignore, progress=ignore, say=ignore)
    with distribution.strategy.scope():
        model = build(**network.arguments)
    with task.run.locked() if is_chief else nullcontext():
        status = distribution.from_chief(lambda: _begin(task, network, resume=resume))
        if status != ALREADY_FINISHED:
            task.say(_how_it_trains(network, distribution, is_compiled=task.settings.xla))
            loop = Loop(task, model, distribution=distribution)
            loop.run()
            if is_chief:
                _conclude(task, loop)
        if is_chief:
            task.run.remove_checkpoints()
    epochs, best, scores, baselines = distribution.from_chief_at_last(lambda: _outcome(task.run))
    return RunResult(
        run=task.run.path,
        status=status,
        epochs=epochs,
        best_epoch=best,
        scores=Scores.from_dict(scores),
        baselines=Baselines.from_dict(baselines) if baselines else None,
        is_chief=is_chief,
    )


def _how_it_trains(network: NetworkRecord, distribution: Distribution, *, is_compiled: bool) -> str:
    how = f"{network.precision}{', compiled by XLA,' if is_compiled else ''}"
    devices = describe_devices(distribution.strategy, machines=distribution.size)
    library = f" with {network.kernels}" * (network.kernels != ON_GPU)
    return f"training the {network.name} network in {how} on {devices}{library}"


def _outcome(run: Run) -> tuple[int, int, dict[str, Any], dict[str, Any] | None]:
    """Return how many epochs a finished run has, which is best, its scores, and those of its baselines."""
    history, baselines = run.history(), run.baselines()
    return (
        len(history),
        best_epoch(history).epoch,
        run.scores().to_dict(),
        baselines.to_dict() if baselines else None,
    )


def choose_network(run: Run, store: Store, settings: TrainSettings, *, resume: bool) -> NetworkRecord:
    """Return which network to train; a run goes on with the precision that was chosen when it was begun.

    Raises
    ------
    NetworkError
        If it does not take the volumes of the store.
    SettingsError
        If the devices do not have the precision.
    """
    check_window(settings.network, store.recipe.window)
    if resume and run.is_finished:  # nothing is left to compute
        precision = run.network().precision
    elif resume and settings.precision == "auto" and not run.is_empty:
        precision = choose_precision(run.network().precision)
    else:
        precision = choose_precision(settings.precision)
    source = source_digest(settings.network)
    return NetworkRecord(settings.network, store.recipe.shape, len(store.classes), precision, kernels(), source)


def _begin(task: Task, network: NetworkRecord, *, resume: bool) -> str:
    """Make the run's folder, or see that it may be continued; return what the run's status will be."""
    described = describe_store(task.store, task.run.path)
    if task.run.crossval():
        raise RunMismatch(
            f"{task.run.path}: is a cross-validation; continue it with ctmodel crossval, or choose another --run"
        )
    if not resume or task.run.is_empty:
        task.run.begin(task.settings, described, network, split_rows(task.store, task.split))
        return TRAINED
    check_same_run(task.run, task.settings, described, split=split_rows(task.store, task.split))
    if task.run.is_finished:
        return ALREADY_FINISHED
    check_source(network.name, task.run.network().source)
    say_of_kernels(task.run, network, say=task.say)
    return RESUMED


def say_of_kernels(run: Run, network: NetworkRecord, *, say: Callable[[str], object]) -> None:
    """Say that a run goes on with other kernels than it was begun with, if it does."""
    begun = run.network().kernels
    if begun not in (network.kernels, UNKNOWN_KERNELS):
        say(
            f"note: the run was begun with {begun} and goes on with {network.kernels}, which rounds otherwise; "
            f"to end as if it had not been interrupted, {WAYS_BACK_TO[begun]}"
        )


def _conclude(task: Task, loop: Loop) -> None:
    """Calibrate and score the best weights, and write what a finished run holds."""
    store, run = task.store, task.run
    save_weights(loop.best_model(), run.weights)
    rows = np.flatnonzero(np.array(task.split.subsets) != UNLABELLED)
    predictions = predict_rows(load_predictor(run), store, task.reader, rows)
    subsets = np.array(task.split.subsets)[rows]
    if task.settings.calibrate:
        predictions = predictions.scaled(_calibrate(task, predictions.taken(np.flatnonzero(subsets == "validation"))))
    validation, test = (predictions.taken(np.flatnonzero(subsets == subset)) for subset in ("validation", "test"))
    threshold = choose_threshold(validation, by=task.settings.threshold)
    called = metrics.predicted_classes(predictions.probabilities, threshold=threshold.value)
    run.write_predictions(predictions, subsets=subsets.tolist(), called=called.tolist(), classes=store.classes)
    run.write_history(loop.history)  # its last epoch may have been interrupted before it was written
    baselines = score_baselines(store, task.split, task.describe(), threshold=task.settings.threshold)
    write_baseline_predictions(run.path, baselines.answers(), classes=store.classes)
    run.write_baselines(baselines)
    write_learning_curves(loop.history, run.curves, n_classes=len(store.classes), baselines=baselines)
    run.write_scores(score_own(run, validation=validation, test=test, classes=store.classes, threshold=threshold))


def _calibrate(task: Task, validation: Predictions) -> float:
    """Fit a temperature on the validation subset, write it, and return what is to be applied."""
    temperature = fit_temperature(validation.labels, validation.probabilities, np.array(validation.patients))
    task.say(f"{task.run.path.name}: calibration on the validation subset: {temperature}")
    task.run.write_calibration(temperature)
    return temperature.applied
