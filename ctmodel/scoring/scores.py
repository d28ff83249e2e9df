"""The scores of a set of predictions, each with its interval, and what a reader must be warned of."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ctmodel.errors import ScoreError
from ctmodel.scoring import metrics
from ctmodel.scoring.intervals import Interval, auroc_interval, mean_interval, share_interval, wilson_interval
from ctprep.text import html_table

SUBSETS = ("train", "validation", "test")
FEW_PATIENTS = 40  # with 20 of each class an AUROC of 0.8 has an interval of 0.63 to 0.90
RARE_SHARE = 0.2
# The log loss of a scan whose own class was given 1 in 20. The interval of the log loss takes this, or the largest loss
# found, for the largest there is. In the cases of tests/ctmodel/scoring/test_scores.py that held the expected loss 96
# times of 100 or more; with ln 2 in its place it was 68 of 100 for 20 scans of a network three times too sure. It is
# still too little where a rare wrong label costs such a network 16 nats and none was scored: 67 of 100 for 40 scans,
# 2 % wrong.
LARGE_LOSS = float(np.log(20))


@dataclass(frozen=True)
class Predictions:
    """What a network said of some labelled scans, and what is true.

    Attributes
    ----------
    scans, patients : tuple of n str
    labels : (n,) int array
        Index into the classes.
    probabilities : (n, classes) float64 array
    """

    scans: tuple[str, ...]
    patients: tuple[str, ...]
    labels: np.ndarray
    probabilities: np.ndarray

    def taken(self, rows: np.ndarray) -> "Predictions":
        """Return the predictions at some places, in that order."""
        return Predictions(
            tuple(self.scans[row] for row in rows),
            tuple(self.patients[row] for row in rows),
            self.labels[rows],
            self.probabilities[rows],
        )


@dataclass(frozen=True)
class Score:
    """One number, and how sure it is.

    Attributes
    ----------
    value : float
    low, high : float
        The 95 % interval.
    n : int
        Scans it was computed from.
    patients : int
        Patients they belong to.

    Examples
    --------
    >>> print(Score(0.9, low=0.596, high=0.982, n=10, patients=10))
    0.900 (95 % interval 0.596 to 0.982, n = 10)
    """

    value: float
    low: float
    high: float
    n: int
    patients: int

    def __str__(self) -> str:
        return f"{self.value:.3f} (95 % interval {self.low:.3f} to {self.high:.3f}, n = {self.n})"


@dataclass(frozen=True)
class Threshold:
    """From which probability a scan is called positive, and what chose it.

    Attributes
    ----------
    value : float
    chosen_by : str
        "half" for 0.5 whatever the data, "validation" for the best one on the validation subset, "likeliest"
        where there are more than two classes and no threshold is used.
    """

    value: float
    chosen_by: str


@dataclass(frozen=True)
class Scores:
    """All scores of one set of scans.

    Attributes
    ----------
    part : str
        What was scored: "test", or "unseen" for scans of another store.
    classes : tuple of str
        Of two, the second is the positive one.
    n, patients : int
        Scans and patients scored.
    threshold : Threshold
        For more than two classes the likeliest is called instead.
    scores : dict of str to Score
    confusion : tuple of tuples of int
        Scans by true class (rows) and called class (columns).
    notes : tuple of str
        What a reader must know before believing the numbers.
    """

    part: str
    classes: tuple[str, ...]
    n: int
    patients: int
    threshold: Threshold
    scores: dict[str, Score]
    confusion: tuple[tuple[int, ...], ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain dictionaries and lists, ready for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return what `ctmodel evaluate` shows: every score with its interval, the confusion matrix, the notes."""
        width = max(map(len, self.scores)) + 2
        table = [
            f"  {_title(name):<{width}}{one.value:.3f}  {one.low:.3f} to {one.high:.3f}  n = {one.n}"
            for name, one in self.scores.items()
        ]
        return [self._header(), *table, *self._confusion_lines(), *(f"  note: {note}" for note in self.notes)]

    def _header(self) -> str:
        positive = f"; {self.classes[1]} is the positive class" if len(self.classes) == 2 else ""
        scored = f"{self.part} subset" if self.part in SUBSETS else f"{self.part} patients"
        return f"{scored}: {self.n} scans of {self.patients} patients, with 95 % intervals{positive}"

    def _confusion_lines(self) -> list[str]:
        width = max(map(len, self.classes)) + 2
        rows = [("", self.classes), *zip(self.classes, self.confusion, strict=True)]
        lines = [f"  {name:>{width}}" + "".join(f"{entry:>{width}}" for entry in row) for name, row in rows]
        return ["  true class in rows, predicted class in columns:", *lines]

    def _repr_html_(self) -> str:
        """Return a table for a notebook."""
        rows = [
            (_title(name), f"{one.value:.3f}", f"{one.low:.3f} to {one.high:.3f}", one.n)
            for name, one in self.scores.items()
        ]
        return html_table(self._header(), ("score", "value", "95 % interval", "n"), rows, self.notes)

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "Scores":
        """Return the scores that `to_dict` described."""
        return cls(
            part=saved["part"],
            classes=tuple(saved["classes"]),
            n=saved["n"],
            patients=saved["patients"],
            threshold=Threshold(**saved["threshold"]),
            scores={name: Score(**score) for name, score in saved["scores"].items()},
            confusion=tuple(map(tuple, saved["confusion"])),
            notes=tuple(saved["notes"]),
        )


def _title(name: str) -> str:
    return name.replace("_", " ")


def choose_threshold(validation: Predictions, *, by: str) -> Threshold:
    """Return the operating threshold of a network, by the rule that the settings name."""
    if validation.probabilities.shape[1] > 2:
        return Threshold(0.5, "likeliest")
    if by == "half":
        return Threshold(0.5, by)
    return Threshold(metrics.best_threshold(validation.labels == 1, validation.probabilities[:, 1]), by)


def score(
    predictions: Predictions,
    *,
    classes: Sequence[str],
    part: str,
    threshold: Threshold,
    notes: Sequence[str] = (),
) -> Scores:
    """Compute every score of some predictions.

    Parameters
    ----------
    predictions : Predictions
        Of labelled scans.
    classes : sequence of str
        The names of the classes.
    part : str
        What is scored.
    threshold : Threshold
    notes : sequence of str
        Put before those that the scores give rise to.

    Returns
    -------
    Scores

    Raises
    ------
    ScoreError
        If there is no scan, or there are scans of one class only.
    """
    present = np.unique(predictions.labels)
    if len(present) < 2:
        found = ", ".join(classes[label] for label in present) or "no labelled scan"
        raise ScoreError(f"{part} subset: {found} only, expected two classes or more; score more scans")
    called = metrics.predicted_classes(predictions.probabilities, threshold=threshold.value)
    of_two = len(classes) == 2
    scores = _scores_of_two(predictions, called) if of_two else _scores_of_more(predictions, called, classes)
    confusion = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(confusion, (predictions.labels, called), 1)
    return Scores(
        part=part,
        classes=tuple(classes),
        n=len(predictions.scans),
        patients=len(set(predictions.patients)),
        threshold=threshold,
        scores=scores,
        confusion=tuple(map(tuple, confusion.tolist())),
        notes=(*notes, *_warnings(predictions, called, scores, classes)),
    )


def _scores_of_two(predictions: Predictions, called: np.ndarray) -> dict[str, Score]:
    positive, chance = predictions.labels == 1, predictions.probabilities[:, 1]
    patients = np.array(predictions.patients)
    precision = metrics.average_precision(positive, chance)
    # a mean over the positives, and so taken for a share of them (Boyd, Eng and Page 2013)
    precision_interval = wilson_interval(precision, len(np.unique(patients[positive])))
    return {
        "auroc": _entry(metrics.auroc(positive, chance), auroc_interval(positive, chance, patients), patients),
        "average_precision": _entry(precision, precision_interval, patients),
        "accuracy": _share(called == predictions.labels, patients),
        "sensitivity": _share(called[positive] == 1, patients[positive]),
        "specificity": _share(called[~positive] == 0, patients[~positive]),
        **_scores_of_probabilities(predictions),
    }


def _scores_of_more(predictions: Predictions, called: np.ndarray, classes: Sequence[str]) -> dict[str, Score]:
    labels, patients = predictions.labels, np.array(predictions.patients)
    present = {name: labels == label for label, name in enumerate(classes) if np.any(labels == label)}
    scores = {"accuracy": _share(called == labels, patients)}
    if len(present) == len(classes):
        scores = {"macro_auroc": _macro_auroc(predictions)} | scores
    recalls = {f"recall {name}": _share(called[own] == labels[own], patients[own]) for name, own in present.items()}
    return scores | recalls | _scores_of_probabilities(predictions)


def _macro_auroc(predictions: Predictions) -> Score:
    """Return the mean AUROC over classes; its interval, the mean of theirs, is if anything too wide."""
    labels, probabilities, patients = predictions.labels, predictions.probabilities, np.array(predictions.patients)
    intervals = [auroc_interval(labels == label, chances, patients) for label, chances in enumerate(probabilities.T)]
    low, high = np.mean(intervals, axis=0).tolist()
    return _entry(metrics.macro_auroc(labels, probabilities), (low, high), patients)


def _scores_of_probabilities(predictions: Predictions) -> dict[str, Score]:
    labels, probabilities, patients = predictions.labels, predictions.probabilities, np.array(predictions.patients)
    squares, losses = metrics.brier_scores(labels, probabilities), metrics.log_losses(labels, probabilities)

    def mean(values: np.ndarray, largest: float) -> Score:
        return _entry(float(np.mean(values)), mean_interval(values, patients, largest=largest), patients)

    return {
        "brier": mean(squares, metrics.largest_brier_score(probabilities.shape[1])),
        "log_loss": mean(losses, max(LARGE_LOSS, float(losses.max()))),
    }


def _share(hits: np.ndarray, patients: np.ndarray) -> Score:
    return _entry(float(np.mean(hits)), share_interval(hits, patients), patients)


def _entry(value: float, interval: Interval, patients: np.ndarray) -> Score:
    return Score(value, *interval, n=len(patients), patients=len(np.unique(patients)))


def _warnings(
    predictions: Predictions, called: np.ndarray, scores: dict[str, Score], classes: Sequence[str]
) -> list[str]:
    """Say what keeps these scores from being believed."""
    notes = []
    n_patients = len(set(predictions.patients))
    area = scores.get("auroc") or scores.get("macro_auroc")
    if area and area.low <= 0.5 <= area.high:
        notes.append(f"The interval of the AUROC, {area.low:.2f} to {area.high:.2f}, includes 0.5: this may be chance.")
    if n_patients < FEW_PATIENTS:
        notes.append(f"Only {n_patients} patients were scored: the intervals are wide.")
    shares = np.bincount(predictions.labels, minlength=len(classes)) / len(predictions.labels)
    if len(np.unique(called)) == 1:
        notes.append(f"Every scan was predicted as {classes[called[0]]}: this threshold does not separate the classes.")
    by_rote = _log_loss_of(shares)
    if scores["log_loss"].value > by_rote:
        notes.append(
            f"The log loss, {scores['log_loss'].value:.3f}, is worse than {by_rote:.3f}, that of predicting the "
            "share of each class for every scan: do not read the outputs as probabilities."
        )
    rarest = int(np.argmin(shares))
    if shares[rarest] < RARE_SHARE * 2 / len(classes):
        notes.append(f"Class {classes[rarest]} is {shares[rarest]:.0%} of the scans: accuracy misleads, use the AUROC.")
    return notes


def _log_loss_of(shares: np.ndarray) -> float:
    """Return the log loss of giving every scan the share of each class among those scored."""
    found = shares[shares > 0]
    return float(-np.sum(found * np.log(found)))
