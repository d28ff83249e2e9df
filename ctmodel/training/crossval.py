"""From a store to a run for each fold, and what all of them tell together; interrupted, it goes on where it was.

The store is opened, and what fits in memory read, once for all folds. Each fold is a training like any other, whose
settings say which fold it is and which seeds it has: `ctmodel train` with these settings gives the same run.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from ctmodel.baselines.results import Scored
from ctmodel.baselines.score import describe_rows, pool_baselines
from ctmodel.data.batches import open_volumes
from ctmodel.data.division import divide, labelled_values
from ctmodel.data.residency import hold
from ctmodel.data.split import UNLABELLED, Split
from ctmodel.errors import RunDamaged, RunMismatch, SettingsError, SplitError
from ctmodel.run.crossval_folder import CrossvalRun
from ctmodel.run.doubts import score_own_folds
from ctmodel.run.history import EpochReport, FoldReport
from ctmodel.run.predictions import write_baseline_predictions
from ctmodel.run.records import CrossvalRecord, NetworkRecord, describe_store, split_rows
from ctmodel.run.run_folder import Run, check_same_run
from ctmodel.scoring import metrics
from ctmodel.scoring.folds import Fold, FoldScores
from ctmodel.settings import OF_ONE_FOLD, Execution, FoldSettings, TrainSettings, differences
from ctmodel.training.loop import Task
from ctmodel.training.train import (
    ALREADY_FINISHED,
    CAREFULLY,
    DEFAULTS,
    RESUMED,
    TRAINED,
    check_apart,
    check_threshold,
    choose_network,
    ignore,
    new_task,
    say_of_kernels,
    train_task,
)
from ctprep.store.store import Store

FIVE_FOLDS = FoldSettings()


@dataclass(frozen=True, kw_only=True)
class CrossvalResult(Scored):
    """What a cross-validation came to.

    Attributes
    ----------
    run : Path
        Its folder, which has a run for each fold.
    status : str
        "trained", "resumed", or "already finished" where nothing was left to do.
    scores : Scores
        Of all scans, each scored by the network that has not learnt from it.
    folds : FoldScores
        Of each fold, and their means.
    baselines : Baselines or None
        What plain statistics score in the same folds.

    Examples
    --------
    >>> settings = TrainSettings(network="compact", epochs=1)
    >>> result = cross_validate("out.zarr", "crossval", settings, folds=FoldSettings(folds=2))
    >>> result.status, result.scores.n, [fold.name for fold in result.folds.folds]
    ('trained', 16, ['fold-1', 'fold-2'])
    """

    run: Path
    status: str
    folds: FoldScores


def cross_validate(
    store: str | os.PathLike[str],
    run: str | os.PathLike[str],
    settings: TrainSettings = DEFAULTS,
    *,
    folds: FoldSettings = FIVE_FOLDS,
    execution: Execution = CAREFULLY,
    resume: bool = False,
    progress: Callable[[FoldReport], object] = ignore,
    say: Callable[[str], object] = ignore,
) -> CrossvalResult:
    """Train a network for each fold of a store, and score every scan by the network that has not learnt from it.

    Parameters
    ----------
    store : path
        Made by `ctprep convert`.
    run : path
        The folder to make; never overwritten.
    settings : TrainSettings
        Of every training. What decides a fold is decided here: its test subset and its seeds.
    folds : FoldSettings
        How the scans are divided.
    execution : Execution
        What does not decide the outcome.
    resume : bool
        Continue the cross-validation in `run`, if there is one, at its step.
    progress : callable
        Called with a `FoldReport` after each epoch.
    say : callable
        Called with a line of text where there is something to tell, such as at the end of each fold.

    Returns
    -------
    CrossvalResult

    Raises
    ------
    SplitError, NetworkError, SettingsError
        If the store or the devices do not suit the settings.
    RunExists, RunMismatch, RunLocked, RunDamaged
        As `train` does.
    BadVolume, StoreChanged, TrainingDiverged, KeyboardInterrupt, ctprep.errors.StoreError
        As `train` does.

    Examples
    --------
    >>> settings, folds = TrainSettings(network="compact", epochs=1), FoldSettings(folds=2)
    >>> result = cross_validate("out.zarr", "crossval", settings, folds=folds)
    >>> result.scores.subset, [fold.learnt for fold in result.folds.folds]
    ('cross-validated', [8, 8])
    """
    _check_settings(settings, execution)
    opened, reader = open_volumes(store)
    check_apart(opened, Path(run))
    if not resume:
        check_threshold(settings, opened)
    labelled = np.flatnonzero(opened.labels >= 0)
    reader.check(labelled)
    record, folder = _describe_folds(opened, folds), CrossvalRun(run)
    each = fold_settings(settings, record)
    splits = [divide(opened, one) for one in each]  # all of them before the first is trained
    with folder.locked():
        network = choose_network(folder, opened, settings, resume=resume)
        status = _begin(folder, record, settings, opened, network, resume=resume, say=say)
        if status != ALREADY_FINISHED:
            held = hold(opened, reader, labelled, execution.residency)
            describe = cache(partial(describe_rows, opened, held, labelled))
            runs, say_once = folder.folds(), _once(say)
            for place, (own, split, one) in enumerate(zip(runs, splits, each, strict=True), start=1):
                tell = partial(_report, progress, place, len(runs))
                how: dict[str, Any] = {"execution": execution, "progress": tell, "say": say_once, "describe": describe}
                _train_fold(new_task(opened, held, split, own, one, **how), network)
                say(f"{own.path.name}, {place} of {len(runs)}: {_in_one_line(own)}")
            baselines = pool_baselines(opened, splits, describe(), threshold=settings.threshold)
            write_baseline_predictions(folder.path, baselines.answers(), classes=opened.classes)
            folder.write_baselines(baselines)
            _conclude(folder, runs, record)
    return CrossvalResult(
        run=folder.path,
        status=status,
        scores=folder.scores(),
        folds=folder.fold_scores(),
        baselines=folder.baselines(),
    )


def _check_settings(settings: TrainSettings, execution: Execution) -> None:
    if execution.strategy == "workers":
        raise SettingsError(
            "strategy: workers, which train one network; cross-validate on one machine, or train each fold by itself "
            "with --folds and --fold"
        )
    for name in (*OF_ONE_FOLD, "group"):
        value, usual = getattr(settings, name), getattr(DEFAULTS, name)
        if value != usual and name != "test":
            raise SettingsError(
                f"{name}: {value!r}, expected {usual!r}; a cross-validation has it from its FoldSettings"
            )


def _describe_folds(store: Store, folds: FoldSettings) -> CrossvalRecord:
    if not folds.leave_out:
        return CrossvalRecord(folds)
    values = tuple(labelled_values(store, folds.leave_out))
    if len(values) < 2:
        raise SplitError(
            f"leave_out: {folds.leave_out} has one value, {values[0]}, expected two or more; choose --folds"
        )
    return CrossvalRecord(folds, values)


def fold_settings(settings: TrainSettings, record: CrossvalRecord) -> list[TrainSettings]:
    """Return the settings of each training of a cross-validation, with its own seeds.

    Parameters
    ----------
    settings : TrainSettings
        Whose seed all others are made of. The first repeat divides the scans as a training with this seed does.
    record : CrossvalRecord
    """
    found = []
    for (repeat, fold), value in zip(record.places, record.left_out, strict=True):
        seeds: dict[str, Any] = {"seed": seed_of(settings.seed, repeat, fold), "split_seed": settings.seed}
        if repeat > 1:
            seeds["split_seed"] = seed_of(settings.seed, repeat)
        if value:
            one = replace(settings, leave_out=f"{record.settings.leave_out}={value}", **seeds)
        else:
            one = replace(settings, folds=record.n_folds, fold=fold, group=record.settings.group, **seeds)
        found.append(one)
    return found


def seed_of(*numbers: int) -> int:
    """Return a seed that differs for different numbers, by a hash.

    Examples
    --------
    >>> seed_of(0, 1), seed_of(0, 2)
    (3278692055, 3289472636)
    """
    return int.from_bytes(blake2b("/".join(map(str, numbers)).encode(), digest_size=4).digest())


def _begin(
    folder: CrossvalRun,
    record: CrossvalRecord,
    settings: TrainSettings,
    store: Store,
    network: NetworkRecord,
    *,
    resume: bool,
    say: Callable[[str], object],
) -> str:
    """Make the folder, or see that it may be continued; return what the status will be."""
    described = describe_store(store, folder.path)
    learnt = Split(tuple("train" if label >= 0 else UNLABELLED for label in store.labels.tolist()))
    rows = split_rows(store, learnt)
    if not resume or folder.is_empty:
        folder.begin_folds(record, settings, described, network, rows)
        return TRAINED
    begun = folder.crossval()
    if begun is None:
        raise RunMismatch(
            f"{folder.path}: is no cross-validation; continue it with ctmodel train, or choose another --run"
        )
    different = differences(record.to_dict(), begun.to_dict())
    if different:
        raise RunMismatch(
            f"{folder.path}: was begun with other folds ({'; '.join(different)}); use those, or another --run"
        )
    check_same_run(folder, settings, described, split=rows)
    if folder.is_finished:
        return ALREADY_FINISHED
    say_of_kernels(folder, network, say=say)
    return RESUMED


def _train_fold(task: Task, network: NetworkRecord) -> None:
    """Train a fold, or go on with it; one that is finished must be what it would become."""
    if not task.run.is_finished:
        train_task(task, resume=True, network=network)
        return
    described = describe_store(task.store, task.run.path)
    check_same_run(task.run, task.settings, described, split=split_rows(task.store, task.split))


def _report(progress: Callable[[FoldReport], object], fold: int, folds: int, report: EpochReport) -> None:
    progress(FoldReport(fold, folds, report))


def _once(say: Callable[[str], object]) -> Callable[[str], object]:
    """Return what says each line the first time only: all trainings say on what they run."""
    said: set[str] = set()

    def say_once(line: str) -> None:
        if line not in said:
            said.add(line)
            say(line)

    return say_once


def _in_one_line(run: Run) -> str:
    found = run.scores().scores
    return ", ".join(
        f"{name.replace('_', ' ')} {found[name]}" for name in ("auroc", "macro_auroc", "log_loss") if name in found
    )


def _conclude(folder: CrossvalRun, runs: Sequence[Run], record: CrossvalRecord) -> None:
    """Score all scans together, and write what a finished cross-validation holds."""
    of_tests = [run.predictions(subset="test") for run in runs]
    scores, folds = score_own_folds(folder, record, of_tests, baselines=folder.baselines())
    for run, fold in zip(runs, folds.folds, strict=True):
        _check_scores(run, fold)
    called = [
        metrics.predicted_classes(of_test.probabilities, threshold=fold.scores.threshold.value)
        for of_test, fold in zip(of_tests, folds.folds, strict=True)
    ]
    folder.write_fold_predictions(of_tests, names=record.names, called=called)
    folder.write_fold_scores(folds)
    folder.write_scores(scores)


def _check_scores(run: Run, fold: Fold) -> None:
    """Refuse predictions that are not those which the fold was scored by."""
    if fold.scores.scores != run.scores().scores:
        raise RunDamaged(
            f"{run.path / 'predictions.csv'}: does not give the scores of scores.json; restore it or train again"
        )
