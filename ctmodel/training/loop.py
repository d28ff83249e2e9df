"""Epochs of steps, from wherever an interruption left them, with a checkpoint every so often.

It is a loop of our own and not `keras.Model.fit`, which begins at an epoch's first batch only, cannot say what the
network thought of each scan without a second pass, and does not tell the time of a step from that of waiting for it.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ctmodel.baselines.score import Features
from ctmodel.data.augment import augmentation_of
from ctmodel.data.batches import VolumeReader
from ctmodel.data.order import epoch_batches
from ctmodel.data.pipeline import Feed, Step
from ctmodel.data.residency import settle
from ctmodel.data.split import Split
from ctmodel.devices.backend import keras
from ctmodel.devices.prefetch import started
from ctmodel.devices.workers import Distribution
from ctmodel.errors import BadVolume, StoreChanged, TrainingDiverged
from ctmodel.networks.build import class_probabilities
from ctmodel.prediction.inference import Predictor
from ctmodel.run.checkpoint import Checkpoint, load_latest
from ctmodel.run.history import Epoch, EpochReport, Pace, best_epoch, is_over
from ctmodel.run.run_folder import Run
from ctmodel.scoring import metrics
from ctmodel.settings import Execution, TrainSettings
from ctmodel.training.fit import Trainer, class_weights, learning_rate
from ctprep.errors import TargetError
from ctprep.execution.stopping import in_steps, stop_if_asked
from ctprep.store.store import Store

BETWEEN_STEPS = (KeyboardInterrupt, BadVolume, StoreChanged, TargetError, OSError)
"""What may stop a training between two steps: a signal, the store, or a disk that what is told goes to."""


@dataclass(frozen=True)
class Task:
    """All that stays the same during a training."""

    settings: TrainSettings
    execution: Execution
    store: Store
    reader: VolumeReader
    split: Split
    run: Run
    save: Callable[[Checkpoint], object]
    write_history: Callable[[Sequence[Epoch]], object]
    progress: Callable[[EpochReport], object]
    say: Callable[[str], object]
    describe: Callable[[], Features]


class Loop:
    """A training under way, which begins where the run's latest checkpoint left it.

    Parameters
    ----------
    task : Task
    model : keras.Model
        With fresh weights.
    distribution : Distribution
        In the scope of whose strategy the network was built.

    Attributes
    ----------
    history : list of Epoch
        Those that have ended.

    Raises
    ------
    RunDamaged
        If there are checkpoints, and none is whole.
    """

    def __init__(self, task: Task, model: keras.Model, *, distribution: Distribution) -> None:
        self._task, self._distribution = task, distribution
        self._weights = class_weights(
            task.store.labels[task.split.rows("train")],
            n_classes=len(task.store.classes),
            balanced=task.settings.class_weights,
        )
        settings = task.settings
        self._feed = Feed(
            settle(task.reader, task.split.rows("train"), task.execution.residency),
            augmentation_of(settings.augment, flip=settings.flip, nearest=settings.interpolation == "nearest"),
        )
        self._trainer = Trainer(model, self._weights, strategy=distribution.strategy, xla=settings.xla, feed=self._feed)
        self._predictor = Predictor(model)
        self.history: list[Epoch] = []
        self._best: list[np.ndarray] = []
        self._steps = 0  # of the epoch under way, of which the following tell
        self._rows: list[np.ndarray] = []
        self._outputs: list[Any] = []
        self._is_whole = True  # no step is under way
        self._restore()
        self._upcoming = self._batches(len(self.history), first_step=self._steps)
        self._saved = time.monotonic()

    def _restore(self) -> None:
        found = load_latest([self._task.run.checkpoint, self._task.run.former_checkpoint], say=self._task.say)
        if found:
            self._trainer.restore(found.variables)
            self.history, self._best = list(found.history), list(found.best)
            self._steps, self._rows, self._outputs = found.steps, [found.rows], [found.outputs]
        self._distribution.check_equal({"epochs that are over": len(self.history), "steps that are over": self._steps})

    def run(self) -> None:
        """Train until the settings say stop; what stops it before, between two steps, leaves a checkpoint."""
        settings = self._task.settings
        try:
            with in_steps():
                while not is_over(self.history, epochs=settings.epochs, patience=settings.patience):
                    self._run_epoch()
        except BETWEEN_STEPS:
            if self._is_whole:  # Ctrl-C in a program of the user's own may strike in the midst of a step
                self._save()
            raise
        self._save()

    def best_model(self) -> keras.Model:
        """Return the network with the weights of the best epoch, the training being over."""
        self._trainer.model.set_weights(self._best)
        return self._trainer.model

    def _run_epoch(self) -> None:
        """Train for what is left of an epoch, look at the validation subset, and tell."""
        begun, pace = time.monotonic(), Pace()
        settings, number = self._task.settings, len(self.history)
        step_size = learning_rate(number, epochs=settings.epochs, highest=settings.learning_rate)
        self._trainer.learn_at(step_size)
        for rows, step in timed(self._upcoming, pace):
            self._take_step(rows, step)
            stop_if_asked()
            self._save_if_due()
        if number + 1 < settings.epochs:
            self._upcoming = started(self._batches(number + 1))  # takes about 0.1 s, in which we validate
        epoch = Epoch(number + 1, step_size, *self._training_scores(), *self._validation_scores())
        is_best = self._end_epoch(epoch)
        self._task.write_history(self.history)
        self._save_if_due()
        self._task.progress(EpochReport(epoch, settings.epochs, time.monotonic() - begun, pace, is_best))

    def _batches(self, epoch: int, *, first_step: int = 0) -> Iterator[tuple[np.ndarray, Any]]:
        """Return the rows of each batch from a step on, and what crosses of our shard of it."""
        settings, rows = self._task.settings, self._task.split.rows("train")
        drawn_by = {"seed": settings.seed, "epoch": epoch}
        batches = epoch_batches(rows, batch_size=settings.batch_size, first_step=first_step, **drawn_by)
        own = [self._distribution.shard(batch) for batch in batches]
        return zip(batches, (step for _, step in self._feed.epoch(own, **drawn_by)), strict=True)

    def _take_step(self, rows: np.ndarray, step: Step) -> None:
        store = self._task.store
        with self._one_step():
            shares = np.eye(len(store.classes), dtype=np.float32)[store.labels[rows]]
            self._outputs.append(self._trainer.step(step, shares))
            self._rows.append(rows)
            self._steps += 1
        if self._steps > 1:  # a GPU works on this step while we fetch the next batch, but is never two ahead
            self._outputs[-2] = np.asarray(self._outputs[-2])

    @contextlib.contextmanager
    def _one_step(self) -> Iterator[None]:
        """Know whether the block, after which alone the state is whole again, was left early."""
        self._is_whole = False
        yield
        self._is_whole = True

    def _end_epoch(self, epoch: Epoch) -> bool:
        """Count an epoch; return whether it is the best so far."""
        with self._one_step():
            self.history.append(epoch)
            is_best = best_epoch(self.history) is epoch
            if is_best:
                self._best = self._trainer.model.get_weights()
            self._steps, self._rows, self._outputs = 0, [], []
        return is_best

    def _training_scores(self) -> tuple[float, float, float]:
        """Judge what was said of the scans as they were learned from; a mixed one by what most of it is."""
        labels = self._task.store.labels[np.concatenate(self._rows)]
        return _epoch_scores(labels, class_probabilities(np.concatenate(self._outputs)), self._weights)

    def _validation_scores(self) -> tuple[float, float, float]:
        rows = self._task.split.rows("validation")
        own = self._predictor.of_rows(self._task.reader, self._distribution.shard(rows))
        chances = self._distribution.all_gather(own)
        if not np.all(np.isfinite(chances)):
            raise TrainingDiverged(
                f"{self._task.run.path}: the network outputs NaN or infinity in epoch {len(self.history) + 1}; "
                "train anew with a lower learning rate"
            )
        return _epoch_scores(self._task.store.labels[rows], chances, self._weights)

    def _save_if_due(self) -> None:
        if time.monotonic() - self._saved >= self._task.execution.checkpoint_every:
            self._save()

    def _save(self) -> None:
        """Save all that the training needs to go on."""
        none = np.empty((0, self._trainer.model.output_shape[-1]), np.float32)
        checkpoint = Checkpoint(
            variables=self._trainer.state(),
            best=self._best,
            history=self.history,
            steps=self._steps,
            rows=np.concatenate([np.empty(0, np.int64), *self._rows]),
            outputs=np.concatenate([none, *self._outputs]),
        )
        self._task.save(checkpoint)
        self._saved = time.monotonic()


def timed(batches: Iterable[tuple[np.ndarray, Any]], pace: Pace) -> Iterator[tuple[np.ndarray, Any]]:
    """Yield batches, and add to a pace how long each was waited for and how long it was worked on.

    Parameters
    ----------
    batches : iterable of (rows, volumes)
    pace : Pace
        Added to whenever the next batch is asked for.

    Yields
    ------
    rows, volumes
        As they came.
    """
    asked = time.monotonic()
    for rows, volumes in batches:
        given = time.monotonic()
        yield rows, volumes
        done = time.monotonic()
        pace.volumes += len(rows)
        pace.waiting += given - asked
        pace.seconds += done - asked
        asked = done


def _epoch_scores(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> tuple[float, float, float]:
    """Return loss, AUROC and accuracy."""
    loss = np.average(metrics.log_losses(labels, probabilities), weights=weights[labels])
    accuracy = np.mean(metrics.predicted_classes(probabilities, threshold=0.5) == labels)
    return float(loss), float(metrics.macro_auroc(labels, probabilities)), float(accuracy)
