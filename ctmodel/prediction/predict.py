"""Raw scans and a run become probabilities; a scan that cannot be trusted becomes a reason."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ctmodel.prediction.ensemble import Member
from ctmodel.prediction.inference import load_predictor
from ctmodel.prediction.scan_files import find_scan_files
from ctmodel.run.run_folder import Run
from ctmodel.scoring import metrics
from ctprep.errors import BadScan, Vanished, reason_of
from ctprep.execution.progress import Progress, silent
from ctprep.preparation import prepare
from ctprep.scans.choices import choose_per_scan
from ctprep.scans.scan import UNLABELLED, Scan
from ctprep.volume.recipe import Recipe


@dataclass(frozen=True)
class Prediction:
    """What a run says of one file.

    Attributes
    ----------
    path : Path
    probabilities : dict of str to float
        By class; empty where the file is refused.
    predicted : str or None
        The class called, at the run's threshold.
    code, reason : str or None
        Why the file is refused, by the codes of `ctprep convert`.

    Examples
    --------
    >>> Prediction(Path("scan.nii.gz"), {"normal": 0.25, "abnormal": 0.75}, predicted="abnormal").probabilities
    {'normal': 0.25, 'abnormal': 0.75}
    """

    path: Path
    probabilities: dict[str, float]
    predicted: str | None = None
    code: str | None = None
    reason: str | None = None

    def lines(self) -> list[str]:
        """Return one line: the class and the probabilities, or why the file is refused."""
        if self.reason is not None:
            return [f"{self.path}: rejected ({self.code}): {self.reason.removeprefix(f'{self.path.name}: ')}"]
        probabilities = ", ".join(f"{name} {probability:.4f}" for name, probability in self.probabilities.items())
        return [f"{self.path}: {self.predicted} ({probabilities})"]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, ready for JSON; the path is called "scan"."""
        saved = asdict(self)
        return {"scan": str(saved.pop("path"))} | saved


def predict(
    run: str | os.PathLike[str],
    paths: Iterable[str | os.PathLike[str]],
    *,
    accept: Mapping[str, str | Sequence[str]] | None = None,
    orientation: str | Mapping[str, str] | None = None,
) -> list[Prediction]:
    """Predict the class of raw scans, prepared exactly as the run's store was.

    Parameters
    ----------
    run : path
        A finished run.
    paths : iterable of paths
        Files, and folders with files, as `ctprep convert` takes them.
    accept : mapping of str to str or sequence of str, optional
        Path of a file, as it is predicted -> codes of rejections that do not reject it; as of `ctprep.find_scans`.
    orientation : str or mapping of str to str, optional
        Which way the axes run of files that do not say it, of all or by path; as of `ctprep.find_scans`.

    Returns
    -------
    list of Prediction
        In the order of the paths; one that cannot be read or trusted carries the reason.

    Raises
    ------
    CatalogError
        If `accept` or `orientation` names another file, or what cannot be chosen.
    RunMissing, RunDamaged
        If the run is not finished, or a file of it cannot be read.
    ctprep.errors.CatalogError
        If a folder holds no scan.

    Examples
    --------
    >>> one, other = predict("run", ["raw/CT-0/p00_0.nii.gz", "run/curves.png"])
    >>> one.predicted, round(sum(one.probabilities.values()), 3)
    ('normal', 1.0)
    >>> other.predicted, other.code
    (None, 'unreadable')
    """
    return list(predict_each(run, paths, accept=accept, orientation=orientation))


def predict_each(
    run: str | os.PathLike[str],
    paths: Iterable[str | os.PathLike[str]],
    *,
    accept: Mapping[str, str | Sequence[str]] | None = None,
    orientation: str | Mapping[str, str] | None = None,
    progress: Progress = silent,
    say: Callable[[str], object] = lambda _: None,
) -> Iterator[Prediction]:
    """Yield what `predict` returns, each prediction as soon as it is known.

    Parameters
    ----------
    run, paths
        As in `predict`.
    progress : callable
        See `ctprep.execution.progress`.
    say : callable
        Called with a line of text: what is predicted from which probability on, and what was left out.

    Examples
    --------
    >>> for prediction in predict_each("run", ["raw/CT-0/p00_0.nii.gz", "raw/labels.csv"]):
    ...     print(prediction.predicted, prediction.code)
    normal None
    None unreadable
    """
    folder = Run(run)
    folder.check_is_finished()
    record, threshold = folder.store(), folder.threshold()
    recipe = Recipe.from_dict(record.recipe)
    predictor = load_predictor(folder)
    found = find_scan_files(map(Path, paths))
    files = [Scan(str(path), str(path), UNLABELLED, str(path)) for path in found.paths]
    files = choose_per_scan(files, accept=accept or {}, orientation=orientation or {}, where="the files given")
    say(describe_calls(folder))
    for note in found.notes:
        say(f"note: {note}")
    with progress(len(files) + len(found.rejected), "predicting") as advance:
        for path, rejection in found.rejected:
            yield Prediction(path, {}, code=rejection.code, reason=rejection.reason)
            advance(1)
        for file in files:
            yield _predict_one(predictor, file, recipe, record.classes, threshold=threshold.value)
            advance(1)


def describe_calls(run: Run) -> str:
    """Say from which probability on a finished run predicts its positive class, and how probabilities are scaled.

    Examples
    --------
    >>> describe_calls(Run("run"))
    'run: abnormal is predicted from a probability of 0.500'
    """
    classes, temperature = run.store().classes, run.temperature
    called = f"{classes[1]} is predicted from a probability of {run.threshold()}"
    scaled = f"; probabilities are scaled by a temperature of {temperature:.2f}" if temperature != 1 else ""
    return f"{run.path}: {called if len(classes) == 2 else 'the likeliest class is predicted'}{scaled}"


def _predict_one(
    predictor: Member, file: Scan, recipe: Recipe, classes: tuple[str, ...], *, threshold: float
) -> Prediction:
    path = file.path
    try:
        volume = prepare(path, recipe, accept=file.accept, orientation=file.orientation).volume
    except BadScan as error:
        return Prediction(path, {}, code=error.code, reason=_reason(error, path))
    probabilities = predictor.of_volumes(volume[np.newaxis])
    called = int(metrics.predicted_classes(probabilities, threshold=threshold)[0])
    return Prediction(path, dict(zip(classes, probabilities[0].tolist(), strict=True)), predicted=classes[called])


def _reason(error: BadScan, path: Path) -> str:
    """Say why a file is refused, with another way out where that of a conversion is none."""
    if isinstance(error, Vanished):
        return f"{path.name}: {'changed while it was read; try again' if path.exists() else 'does not exist'}"
    if os.path.isdir(path):  # noqa: PTH112 - `Path.is_dir` raises where a name is too long
        return f"{path.name}: is a folder; give the files in it"
    return reason_of(error, str(path))
