"""What the networks and baselines of a run said of each scan, read from any run folder.

These tables decide nothing that a run predicts later, and are not sealed.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ctmodel.errors import RunDamaged, RunMissing
from ctmodel.run.crossval_folder import CrossvalRun
from ctmodel.run.files import read_csv, write_csv
from ctmodel.scoring.comparison import Answers
from ctmodel.scoring.folds import called_of_pooled, pool
from ctmodel.scoring.scores import Predictions

PREDICTIONS, OF_BASELINES = "predictions.csv", "baseline_predictions.csv"
PROBABILITY, SUBSET, FOLD = "probability ", "subset", "fold"


@dataclass(frozen=True, eq=False)
class SavedPredictions:
    """The table `predictions.csv` of a run, or of a cross-validation, of which every scan is tested.

    Attributes
    ----------
    run : Path
    classes : tuple of str
    answers : Answers
        To every labelled scan, once: a cross-validation with repeats has the mean of its networks.
    subsets : tuple of str
        Of each scan.
    """

    run: Path
    classes: tuple[str, ...]
    answers: Answers
    subsets: tuple[str, ...]

    def tested(self) -> Answers:
        """Return the answers to the scans of the test subset."""
        return self.answers.taken(np.flatnonzero(np.array(self.subsets) == "test"))


def read_predictions(run: Path) -> SavedPredictions:
    """Read what the network of a run, or the networks of a cross-validation, said of each labelled scan.

    Raises
    ------
    RunMissing
        If the folder is not a finished run.
    RunDamaged
        If its table cannot be understood.
    """
    path = run / PREDICTIONS
    if not (run / "scores.json").exists():
        if path.exists() or (run / "settings.json").exists():
            raise RunMissing(f"{run}: its training is not finished; continue it with --resume")
        raise RunMissing(f"{run}: is not a run, expected a folder that ctmodel train made; check the path")
    header = _header(path)
    classes = tuple(name.removeprefix(PROBABILITY) for name in header if name.startswith(PROBABILITY))
    which = FOLD if FOLD in header[:3] else SUBSET
    columns = ("scan", "patient", which, "label", *(PROBABILITY + name for name in classes), "predicted")
    rows = read_csv(path, columns, renamed={"part": SUBSET})
    scans, patients, subsets, labels, *chances, called = zip(*rows, strict=True) if rows else ((),) * len(columns)
    if len(set(zip(scans, subsets, strict=True) if which == FOLD else scans)) < len(scans):
        raise RunDamaged(f"{path}: has a scan twice, expected each once; restore it or train again")
    answers = Answers(
        Predictions(scans, patients, _indices(path, labels, classes), _probabilities(path, chances)),
        _indices(path, called, classes),
    )
    if which == FOLD:
        answers = _pooled(run, answers, np.array(subsets))
        subsets = ("test",) * len(answers.called)
    return SavedPredictions(run, classes, answers, subsets)


def _pooled(run: Path, answers: Answers, folds: np.ndarray) -> Answers:
    """Return the answers of a cross-validation to each scan, called as its scores are."""
    thresholds = {fold.name: fold.scores.threshold for fold in CrossvalRun(run).fold_scores().folds}
    names = list(dict.fromkeys(folds.tolist()))
    if names != list(thresholds):
        raise RunDamaged(f"{run / PREDICTIONS}: has other folds than folds.json; restore it or train again")
    said = [answers.predictions.taken(np.flatnonzero(folds == name)) for name in names]
    return Answers(pool(said), called_of_pooled(said, list(thresholds.values())))


def write_baseline_predictions(run: Path, baselines: Mapping[str, Answers], *, classes: Sequence[str]) -> None:
    """Write what each baseline said of the scans of the test subset, which are the same for all."""
    columns = ["scan"]
    table: list[Sequence[object]] = []
    for name, answers in baselines.items():
        table = table or [answers.predictions.scans]
        columns += [f"{name}: {PROBABILITY}{of}" for of in classes] + [f"{name}: predicted"]
        table += [*answers.predictions.probabilities.T.tolist(), [classes[label] for label in answers.called.tolist()]]
    write_csv(run / OF_BASELINES, columns, zip(*table, strict=True))


def read_baseline_predictions(saved: SavedPredictions) -> dict[str, Answers] | None:
    """Read what the baselines of a run said of its test subset; None in a run that has not kept it.

    Raises
    ------
    RunDamaged
        If the table cannot be understood, or has other scans than the test subset.
    """
    path, classes = saved.run / OF_BASELINES, saved.classes
    if not path.exists():
        return None
    header = _header(path)
    names = [name.removesuffix(": predicted") for name in header if name.endswith(": predicted")]
    expected = [f"{name}: {what}" for name in names for what in (*(PROBABILITY + of for of in classes), "predicted")]
    scans, *columns = zip(*read_csv(path, ["scan", *expected]), strict=True) if names else ((),)
    tested, width = saved.tested().predictions, len(classes) + 1
    place = {scan: row for row, scan in enumerate(scans)}
    if names and (place.keys() != set(tested.scans) or len(scans) > len(place)):
        raise RunDamaged(f"{path}: has other scans than the test subset of {PREDICTIONS}; restore it or train again")
    rows = np.array([place[scan] for scan in tested.scans] if names else [], dtype=int)
    found = {}
    for number, name in enumerate(names):
        *chances, called = columns[number * width : (number + 1) * width]
        said = Predictions(tested.scans, tested.patients, tested.labels, _probabilities(path, chances)[rows])
        found[name] = Answers(said, _indices(path, called, classes)[rows])
    return found


def _header(path: Path) -> list[str]:
    """Return the first row of a table; empty where there is none, which its reader says."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def _indices(path: Path, names: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    place = {name: label for label, name in enumerate(classes)}
    unknown = sorted(set(names) - place.keys())
    if unknown:
        raise RunDamaged(
            f"{path}: has the class {unknown[0]!r}, expected one of {', '.join(classes)}; restore it or train again"
        )
    return np.array([place[name] for name in names], dtype=int)


def _probabilities(path: Path, columns: Sequence[Sequence[str]]) -> np.ndarray:
    """Return the (n, classes) probabilities of a table."""
    try:
        found = np.array(columns, dtype=np.float64).T
    except ValueError:
        found = np.array([[np.nan]])
    if not np.all((found >= 0) & (found <= 1)):
        raise RunDamaged(f"{path}: has a probability that is not between 0 and 1; restore it or train again")
    return found
