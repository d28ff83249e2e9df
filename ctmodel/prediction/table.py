"""Predictions as one CSV file, written as a whole and never over another."""

import os
from collections.abc import Sequence
from pathlib import Path

from ctmodel.prediction.predict import Prediction
from ctmodel.run.files import write_csv
from ctprep.errors import TargetError
from ctprep.files import as_target_error


def write_table(out: Path, predictions: Sequence[Prediction]) -> None:
    """Write one row for each file: the probability of each class, the class called, and why a file is refused.

    Raises
    ------
    TargetError
        If `out` exists, or cannot be written.

    Examples
    --------
    >>> one = Prediction(Path("scan.nii.gz"), {"normal": 0.25, "abnormal": 0.75}, predicted="abnormal")
    >>> write_table(Path("predictions.csv"), [one])
    >>> print(Path("predictions.csv").read_text(), end="")
    scan,probability normal,probability abnormal,predicted,code,reason
    scan.nii.gz,0.25,0.75,abnormal,,
    """
    check_is_free(out)
    classes = list(dict.fromkeys(name for one in predictions for name in one.probabilities))
    columns = ("scan", *(f"probability {name}" for name in classes), "predicted", "code", "reason")
    with as_target_error(out):
        write_csv(out, columns, (_row(one, classes) for one in predictions))


def check_is_free(out: Path) -> None:
    """Raise TargetError if there is anything at the path of a table, or no folder to write it in."""
    if os.path.lexists(out):
        raise TargetError(f"{out}: exists already and is left alone; choose another name")
    if not out.parent.is_dir():
        raise TargetError(f"{out}: its parent folder does not exist; create it first")


def _row(prediction: Prediction, classes: Sequence[str]) -> tuple[object, ...]:
    chances = [prediction.probabilities.get(name) for name in classes]
    return (str(prediction.path), *chances, prediction.predicted, prediction.code, prediction.reason)
