"""The folder that a training leaves: its files, what each holds, and whether it may be continued.

A run without `scores.json` is unfinished. With it, what decides its predictions must stay as the training left it:
`digests.json` tells, and every reading asks. Nothing in a run is ever executed: a network is a name and weights.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, asdict, astuple, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from ctmodel.baselines.results import Baselines
from ctmodel.data.split import UNLABELLED
from ctmodel.errors import (
    CTModelError,
    NetworkError,
    RunDamaged,
    RunError,
    RunExists,
    RunLocked,
    RunMismatch,
    RunMissing,
)
from ctmodel.run.files import json_bytes, read_csv, read_json, sha256_of, write_csv, write_json
from ctmodel.run.history import Epoch
from ctmodel.run.records import CrossvalRecord, KeptThreshold, NetworkRecord, SplitRow, StoreRecord, store_differences
from ctmodel.scoring.calibration import Temperature
from ctmodel.scoring.scores import Predictions, Scores, Threshold
from ctmodel.settings import TrainSettings, differences
from ctprep.files import UNFINISHED, remove_unfinished

SPLIT_COLUMNS = tuple(field.name for field in fields(SplitRow))
HISTORY_COLUMNS = tuple(field.name for field in fields(Epoch))

BEGUN = ("network.json", "store.json", "split.csv", "settings.json")  # in the order of writing; the last makes a run
WEIGHTS, PREDICTIONS, CALIBRATION = "model.weights.h5", "predictions.csv", "calibration.json"
BASELINES, SCORES, THRESHOLD = "baselines.json", "scores.json", "threshold.json"
CROSSVAL, FOLDS, DIGESTS = "crossval.json", "folds.json", "digests.json"
SINCE_0_2 = (PREDICTIONS, CALIBRATION, BASELINES)
"""What is sealed where it is there; version 0.1 did not write it, or did not seal it."""
LOCK = ".ctmodel-lock"


class Run:
    """The files of one run.

    Parameters
    ----------
    path : Path
        The folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.weights = self.path / WEIGHTS
        self.checkpoint = self.path / "checkpoint.npz"
        self.former_checkpoint = self.path / "checkpoint-before.npz"
        self.curves = self.path / "curves.png"
        self._begun: tuple[str, ...] = BEGUN
        self._scores = self.path / SCORES

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training in the folder, which is made where there is none.

        The lock ends with the block or with the process; a file in the folder's place is left alone, without a lock.

        Raises
        ------
        RunLocked
            If another process trains in it.
        RunError
            If the folder cannot be made or written.
        """
        with self._written():
            is_file = self.path.is_file()
        if is_file:
            yield
            return
        with self._written():
            self.path.mkdir(parents=True, exist_ok=True)
            lock = open(self.path / LOCK, "a")  # noqa: SIM115 - closed below, which releases the lock
        with lock:
            with self._written():
                self._lock(lock.fileno())
                remove_unfinished(self.path)
            try:
                yield
            finally:
                (self.path / LOCK).unlink(missing_ok=True)

    def _lock(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = os.path.samestat(os.fstat(lock), (self.path / LOCK).stat())
        except (BlockingIOError, FileNotFoundError):
            is_ours = False  # not there: its last owner removed the file between our opening and our locking it
        if not is_ours:
            raise RunLocked(f"{self.path}: is being trained by another process; wait for it to end")

    @contextlib.contextmanager
    def _written(self) -> Iterator[None]:
        """Say of the folder what keeps it from being written."""
        try:
            yield
        except OSError as error:
            if isinstance(error, RunError):
                raise
            raise RunError(f"{self.path}: cannot be written ({error.strerror}); choose another --run") from error

    def begin(
        self, settings: TrainSettings, store: StoreRecord, network: NetworkRecord, split: Sequence[SplitRow]
    ) -> None:
        """Make the folder, and write what is known before the first epoch.

        Raises
        ------
        RunExists
            If there is anything at its path but an empty folder, or what a beginning that was cut short left.
        RunError
            If the folder cannot be made or written.
        """
        with self._written():
            self._make()
            write_json(self.path / "network.json", asdict(network))
            write_json(self.path / "store.json", asdict(store))
            write_csv(self.path / "split.csv", SPLIT_COLUMNS, map(astuple, split))
            write_json(self.path / "settings.json", settings.to_dict())  # last: with it the folder is a run

    def _make(self) -> None:
        if not self.is_empty:
            raise RunExists(f"{self.path}: is there already; continue it with --resume, or choose another --run")
        self.path.mkdir(parents=True, exist_ok=True)

    @property
    def is_empty(self) -> bool:
        """Whether there is no folder, or only a lock and what an interrupted `begin` left in it."""
        if not self.path.is_dir():
            return not self.path.exists()
        names = {file.name for file in self.path.iterdir()} - {LOCK}
        found = {name for name in names if not name.startswith(UNFINISHED)}
        # Only from the first on, in the order of writing: a folder with a split.csv alone is somebody else's.
        return found in [set(self._begun[:n]) for n in range(len(self._begun))]

    @property
    def is_finished(self) -> bool:
        """Whether the training came to its end and was scored."""
        return self._scores.exists()

    def check_is_finished(self) -> None:
        """Raise RunMissing unless the training came to its end."""
        if not (self.path / "settings.json").exists():
            raise RunMissing(f"{self.path}: is not a run, expected a folder that ctmodel train made; check the path")
        if not self.is_finished:
            raise RunMissing(f"{self.path}: its training is not finished; continue it with --resume")

    def settings(self) -> TrainSettings:
        """Return the settings it was trained with."""
        with self._reading("settings.json") as path:
            return TrainSettings.from_dict(read_json(path))

    def store(self) -> StoreRecord:
        """Return what it remembers of its store."""
        with self._reading("store.json") as path:
            saved = _with_fields(StoreRecord, read_json(path))
            return StoreRecord(**saved | {"classes": _tuple(saved["classes"])})

    def network(self) -> NetworkRecord:
        """Return the arguments of its network, which suit its store."""
        store = self.store()
        with self._reading("network.json") as path:
            saved = _with_fields(NetworkRecord, read_json(path))
            network = NetworkRecord(**saved | {"input_shape": _tuple(saved["input_shape"])})
            _check_suits(network, store)
        return network

    def split(self) -> list[SplitRow]:
        """Return each scan's subset."""
        with self._reading("split.csv") as path:
            return [SplitRow(*row) for row in read_csv(path, SPLIT_COLUMNS, renamed={"part": "subset"})]

    def scores(self) -> Scores:
        """Return the scores of its test subset."""
        with self._reading(SCORES) as path:
            return Scores.from_dict(read_json(path))

    def baselines(self) -> Baselines | None:
        """Return the scores of the plain baselines; None in a run that has none, as those of version 0.1."""
        if not self._has(BASELINES):
            return None
        with self._reading(BASELINES) as path:
            return Baselines.from_dict(read_json(path))

    def _has(self, name: str) -> bool:
        """Return whether a file is there, or must be."""
        return (self.is_finished and name in self._digests()) or (self.path / name).exists()

    def crossval(self) -> CrossvalRecord | None:
        """Return how a cross-validation divides its scans into folds; None in the run of a single training."""
        is_expected = self.is_finished and CROSSVAL in self._digests()
        if not is_expected and not (self.path / CROSSVAL).exists():
            return None
        with self._reading(CROSSVAL) as path:
            return CrossvalRecord.from_dict(read_json(path))

    def folds(self) -> "list[Run]":
        """Return the runs of the folds of a cross-validation, in order; none of a single training.

        Raises
        ------
        RunDamaged
            If one is not the run that the cross-validation left.
        """
        record = self.crossval()
        names = record.names if record else []
        for name in names if self.is_finished else []:
            self._check_unchanged(f"{name}/{DIGESTS}")
        return [Run(self.path / name) for name in names]

    def calibration(self) -> Temperature | None:
        """Return the temperature that the training fitted; None in a run that has none, or is not finished."""
        if not self.is_finished or not self._has(CALIBRATION):
            return None
        with self._reading(CALIBRATION) as path:
            return Temperature.from_dict(read_json(path))

    @property
    def temperature(self) -> float:
        """By what the logits of its network are divided; 1 changes nothing."""
        calibration = self.calibration()
        return calibration.applied if calibration else 1.0

    def threshold(self) -> Threshold:
        """Return its threshold: the one that an evaluation kept, else that of its training."""
        return self.kept_threshold() or self.scores().threshold

    def kept_threshold(self) -> Threshold | None:
        """Return the threshold that an evaluation kept, if one did."""
        if not (self.path / THRESHOLD).exists():
            return None
        with self._reading(THRESHOLD, way_out="remove it, and choose a threshold again") as path:
            kept = KeptThreshold(**read_json(path))
            kept.check(self._digests().get(SCORES))
            return kept.threshold

    def keep_threshold(self, threshold: Threshold) -> None:
        """Keep a threshold in a finished run, for what is evaluated and predicted with it from now on.

        Raises
        ------
        RunError
            If the folder cannot be written.
        """
        kept = KeptThreshold.of(threshold, scores=self._digests()[SCORES])
        try:
            write_json(self.path / THRESHOLD, asdict(kept))
        except OSError as error:
            raise RunError(
                f"{self.path}: cannot be written ({error.strerror}); make it writable, or leave out --keep"
            ) from None

    def predictions(self, subset: str) -> Predictions:
        """Return the probabilities that its training ended with, of the labelled scans of one subset.

        They are as `write_predictions` wrote them: scaled by the temperature of the run.

        Raises
        ------
        RunMissing, RunDamaged
            If there are none, or they are not of the scans in `split.csv`.
        """
        split, classes = self.split(), self.store().classes
        with self._reading(PREDICTIONS) as path:
            rows = read_csv(path, _prediction_columns(classes, "subset"), renamed={"part": "subset"})
            expected = [(row.scan, row.label, row.subset) for row in split if row.subset != UNLABELLED]
            if [(scan, label, of) for scan, _, of, label, *_ in rows] != expected:
                raise ValueError("its scans, labels or subsets are not those of split.csv")
            own = [row for row in rows if row[2] == subset]
            chances = np.array([row[4:-1] for row in own], dtype=float).reshape(-1, len(classes))
            if not np.all((chances >= 0) & (chances <= 1)):
                raise ValueError("a probability is not between 0 and 1")
            return Predictions(
                scans=tuple(row[0] for row in own),
                patients=tuple(row[1] for row in own),
                labels=np.array([classes.index(row[3]) for row in own], dtype=int),
                probabilities=chances,
            )

    def history(self) -> list[Epoch]:
        """Return its epochs, one or more."""
        with self._reading("history.csv") as path:
            rows = read_csv(path, HISTORY_COLUMNS)
            if not rows:
                raise RunDamaged(f"{path}: has no epoch, expected one or more; restore it or train again")
            return [Epoch(int(number), *map(float, values)) for number, *values in rows]

    def remove_checkpoints(self) -> None:
        """Remove what only an unfinished run needs."""
        for path in (self.checkpoint, self.former_checkpoint):
            path.unlink(missing_ok=True)

    def check_weights(self) -> None:
        """Raise NetworkError if the weights of a finished run are missing, or not those that the training left."""
        if self.is_finished and self._digest(WEIGHTS) != self._digests().get(WEIGHTS):
            raise NetworkError(f"{self.weights}: has changed since the training; restore it or train again")

    @contextlib.contextmanager
    def _reading(self, name: str, *, way_out: str = "restore it or train again") -> Iterator[Path]:
        """Give a file's path, and say of the file what keeps it from being understood.

        Raises
        ------
        RunMissing
            If there is no such file.
        RunDamaged
            If the run is finished and the file has changed since, or if the block finds anything wrong with it.
        """
        path = self.path / name
        try:
            if self.is_finished and self._is_sealed(name):
                self._check_unchanged(name)
            yield path
        except RunError:
            raise
        except (CTModelError, TypeError, ValueError, AttributeError, KeyError, OSError) as error:
            reason = f"lacks {error}" if isinstance(error, KeyError) else error
            raise RunDamaged(f"{path}: is damaged ({reason}); {way_out}") from error

    def _is_sealed(self, name: str) -> bool:
        """Return whether a file must be as the training left it."""
        if name == PREDICTIONS:  # which version 0.1 did not seal
            return name in self._digests()
        return name not in ("history.csv", THRESHOLD)

    def _check_unchanged(self, name: str) -> None:
        found = self._digest(name)
        if found is not None and found != self._digests().get(name):
            raise RunDamaged(f"{self.path / name}: has changed since the training; restore it or train again")

    def _digest(self, name: str) -> str | None:
        """Return a file's SHA-256, or None where it cannot be read: its reader says why."""
        try:
            return sha256_of(self.path / name)
        except OSError:
            return None

    def _digests(self) -> dict[str, Any]:
        return read_json(self.path / DIGESTS)

    def write_history(self, history: Sequence[Epoch]) -> None:
        """Write one row for each epoch."""
        write_csv(self.path / "history.csv", HISTORY_COLUMNS, map(astuple, history))

    def write_predictions(
        self,
        predictions: Predictions,
        *,
        subsets: Sequence[str],
        called: Sequence[int],
        classes: Sequence[str],
        column: str = "subset",
    ) -> None:
        """Write one row for each labelled scan.

        Parameters
        ----------
        predictions : Predictions
        subsets : sequence of n str
            Of each scan.
        called : sequence of n ints
            The class called for each.
        classes : sequence of str
        column : str
            What the subsets are called.
        """
        labels, calls = ([classes[label] for label in column] for column in (predictions.labels, called))
        chances = predictions.probabilities.T.tolist()
        table = (predictions.scans, predictions.patients, subsets, labels, *chances, calls)
        write_csv(self.path / PREDICTIONS, _prediction_columns(classes, column), zip(*table, strict=True))

    def write_calibration(self, temperature: Temperature) -> None:
        """Write the temperature by which the predictions were scaled, where it helps."""
        write_json(self.path / CALIBRATION, temperature.to_dict())

    def write_baselines(self, baselines: Baselines) -> None:
        """Write the scores of the plain baselines."""
        write_json(self.path / BASELINES, baselines.to_dict())

    def write_scores(self, scores: Scores) -> None:
        """Write the scores, which makes the run a finished one, whose files must not change from now on."""
        content = scores.to_dict()
        sealed = [*self._sealed(), *(name for name in SINCE_0_2 if (self.path / name).exists())]
        digests = {name: sha256_of(self.path / name) for name in sealed}
        write_json(self.path / DIGESTS, digests | {SCORES: sha256(json_bytes(content)).hexdigest()})
        write_json(self._scores, content)

    def _sealed(self) -> Sequence[str]:
        """Return the files, beside scores and baselines, that must not change once the run is finished."""
        return (*BEGUN, WEIGHTS)


def _prediction_columns(classes: Sequence[str], column: str) -> tuple[str, ...]:
    return ("scan", "patient", column, "label", *(f"probability {name}" for name in classes), "predicted")


def _with_fields(record: type, saved: dict[str, Any]) -> dict[str, Any]:
    """Return what was saved, if it has the fields of a record; an older version did not know those with a default."""
    expected = {field.name for field in fields(record)}
    needed = {field.name for field in fields(record) if field.default is MISSING}
    if not needed <= set(saved) <= expected:
        raise ValueError(f"has {sorted(saved)}, expected {sorted(expected)}")
    return saved


def _tuple(saved: Any) -> tuple:
    if not isinstance(saved, list):
        raise ValueError(f"{saved!r}, expected a list")
    return tuple(saved)


def _check_suits(network: NetworkRecord, store: StoreRecord) -> None:
    ours, expected = (network.input_shape, network.n_classes), (tuple(store.recipe["shape"]), len(store.classes))
    if ours != expected:
        raise ValueError(f"input_shape and n_classes: {ours}, expected {expected} as in store.json")


def check_same_run(
    run: Run, settings: TrainSettings, store: StoreRecord, *, split: Sequence[SplitRow] | None = None
) -> None:
    """Refuse to continue a run with other settings, on another store, or with another split.

    Raises
    ------
    RunMismatch
        Naming every difference.
    RunDamaged
        If the run's split is not `split`, the one that its settings and store give.
    """
    different = differences(settings.to_dict(), run.settings().to_dict())
    if different:
        way = "use those, or another --run"
        if settings.epochs != run.settings().epochs:
            way = (
                "the learning rate falls to zero over all epochs, so a training of more or fewer epochs differs "
                f"from its first step on; train anew with --epochs {settings.epochs} and another --run"
            )
        raise RunMismatch(f"{run.path}: was begun with other settings ({'; '.join(different)}); {way}")
    different = store_differences(store, run.store())
    if different:
        raise RunMismatch(
            f"{run.path}: was begun on another store ({'; '.join(different)}); use that one, or another --run"
        )
    if split is not None and run.split() != list(split):
        raise RunDamaged(f"{run.path / 'split.csv'}: has changed since the training began; restore it or train again")
