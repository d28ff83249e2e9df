"""The folder that a training leaves: its files, what each holds, and whether it may be continued.

A run without `scores.json` is unfinished. Nothing in it is ever executed: a network is a name and weights.
"""

import os
from collections.abc import Sequence
from dataclasses import asdict, astuple, fields
from pathlib import Path
from typing import Any

from ctmodel.errors import RunDamaged, RunExists, RunMismatch, RunMissing, SettingsError
from ctmodel.files import PARTIAL, read_csv, read_json, write_csv, write_json
from ctmodel.history import Epoch
from ctmodel.run_records import NetworkRecord, SplitRow, StoreRecord, store_differences
from ctmodel.scores import Predictions, Scores
from ctmodel.settings import TrainSettings, differences

SPLIT_COLUMNS = tuple(field.name for field in fields(SplitRow))
HISTORY_COLUMNS = tuple(field.name for field in fields(Epoch))


class Run:
    """The files of one run.

    Parameters
    ----------
    path : Path
        The folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.weights = self.path / "model.weights.h5"
        self.checkpoint = self.path / "checkpoint.npz"
        self.curves = self.path / "curves.png"
        self._scores = self.path / "scores.json"

    def begin(
        self, settings: TrainSettings, store: StoreRecord, network: NetworkRecord, split: Sequence[SplitRow]
    ) -> None:
        """Make the folder, and write what is known before the first epoch.

        Raises
        ------
        RunExists
            If there is anything at its path but an empty folder.
        """
        if not self.is_empty:
            raise RunExists(f"{self.path}: is there already; continue it with --resume, or choose another --run")
        self.path.mkdir(parents=True, exist_ok=True)
        write_csv(self.path / "split.csv", SPLIT_COLUMNS, map(astuple, split))
        write_json(self.path / "store.json", asdict(store))
        write_json(self.path / "network.json", asdict(network))
        write_json(self.path / "settings.json", settings.to_dict())  # last: with it the folder is a run

    @property
    def is_empty(self) -> bool:
        """Whether there is no folder, or only what an interrupted write left in it."""
        if not self.path.is_dir():
            return not self.path.exists()
        return all(file.name.startswith(PARTIAL) for file in self.path.iterdir())

    @property
    def is_finished(self) -> bool:
        """Whether the training came to its end and was scored."""
        return self._scores.exists()

    def check_is_finished(self) -> None:
        """Raise RunMissing unless the training came to its end."""
        if not (self.path / "settings.json").exists():
            raise RunMissing(f"{self.path}: is no run, expected a folder that ctmodel train made; check the path")
        if not self.is_finished:
            raise RunMissing(f"{self.path}: its training is not finished; continue it with --resume")

    def settings(self) -> TrainSettings:
        """Return the settings it was trained with."""
        try:
            return TrainSettings.from_dict(read_json(self.path / "settings.json"))
        except SettingsError as error:
            raise RunDamaged(f"{self.path}: {error}") from None

    def store(self) -> StoreRecord:
        """Return what it remembers of its store."""
        saved = self._read(StoreRecord, "store.json")
        return StoreRecord(**saved | {"classes": tuple(saved["classes"])})

    def network(self) -> NetworkRecord:
        """Return the arguments of its network."""
        saved = self._read(NetworkRecord, "network.json")
        return NetworkRecord(**saved | {"input_shape": tuple(saved["input_shape"])})

    def _read(self, record: type, name: str) -> dict[str, Any]:
        saved = read_json(self.path / name)
        expected = {field.name for field in fields(record)}
        if set(saved) != expected:
            raise RunDamaged(f"{self.path / name}: has {sorted(saved)}, expected {sorted(expected)}; train again")
        return saved

    def split(self) -> list[SplitRow]:
        """Return each scan's part."""
        return [SplitRow(*row) for row in read_csv(self.path / "split.csv", SPLIT_COLUMNS)]

    def scores(self) -> Scores:
        """Return the scores of its test part."""
        saved = read_json(self._scores)
        try:
            return Scores.from_dict(saved)
        except (KeyError, TypeError) as error:
            raise RunDamaged(f"{self._scores}: lacks or misnames {error}; train again") from None

    def history(self) -> list[Epoch]:
        """Return its epochs."""
        path = self.path / "history.csv"
        try:
            return [Epoch(int(number), *map(float, values)) for number, *values in read_csv(path, HISTORY_COLUMNS)]
        except ValueError as error:
            raise RunDamaged(f"{path}: {error}; train again") from None

    def write_history(self, history: Sequence[Epoch]) -> None:
        """Write one row for each epoch."""
        write_csv(self.path / "history.csv", HISTORY_COLUMNS, map(astuple, history))

    def write_predictions(
        self, predictions: Predictions, *, parts: Sequence[str], called: Sequence[int], classes: Sequence[str]
    ) -> None:
        """Write one row for each labelled scan.

        Parameters
        ----------
        predictions : Predictions
        parts : sequence of n str
            Of each scan.
        called : sequence of n ints
            The class called for each.
        classes : sequence of str
        """
        columns = (
            "scan",
            "patient",
            "part",
            "label",
            *(f"probability {name}" for name in classes),
            "predicted",
        )
        labels, calls = ([classes[label] for label in column] for column in (predictions.labels, called))
        chances = predictions.probabilities.T.tolist()
        table = (predictions.scans, predictions.patients, parts, labels, *chances, calls)
        write_csv(self.path / "predictions.csv", columns, zip(*table, strict=True))

    def write_scores(self, scores: Scores) -> None:
        """Write the scores, which makes the run a finished one."""
        write_json(self._scores, scores.to_dict())


def check_same_run(run: Run, settings: TrainSettings, store: StoreRecord) -> None:
    """Refuse to continue a run with other settings, or on another store.

    Raises
    ------
    RunMismatch
        Naming every difference.
    """
    different = differences(settings.to_dict(), run.settings().to_dict())
    if different:
        raise RunMismatch(
            f"{run.path}: was begun with other settings ({'; '.join(different)}); use those, or another --run"
        )
    different = store_differences(store, run.store())
    if different:
        raise RunMismatch(
            f"{run.path}: was begun on another store ({'; '.join(different)}); use that one, or another --run"
        )
