"""The scores of a set of predictions, each with its interval, and what a reader must be warned of."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from ctmodel.errors import ScoreError
from ctmodel.scoring import metrics
from ctmodel.scoring.calibration import calibration_parts, with_temperature
from ctmodel.scoring.diagnostic import Estimate
from ctmodel.scoring.further import estimates_of_more, estimates_of_two, ordinal_estimates
from ctmodel.scoring.influence import average_precision_interval
from ctmodel.scoring.intervals import Interval, auroc_interval, mean_interval, share_interval
from ctmodel.scoring.thresholds import find_threshold
from ctmodel.settings import parse_threshold
from ctprep.text import html_table

SUBSETS = ("train", "validation", "test")
FEW_PATIENTS = 40  # with 20 of each class an AUROC of 0.8 has an interval of 0.63 to 0.90
FEW_OF_A_CLASS = 25  # with fewer, some 95 % intervals hold the truth 85 to 92 times of 100: make bench-statistics
RARE_SHARE = 0.2
ALSO_SHOWN = {
    "accuracy": ["balanced_accuracy", "quadratic_kappa", "class_distance"],
    "specificity": ["ppv", "npv", "ppv_at_prevalence", "npv_at_prevalence"],
}
"""Further scores that the table has, where there are any, and after which."""

# The log loss of a scan whose own class was given 1 in 20. The interval of the log loss takes this, or the largest loss
# found, for the largest there is. In the cases of tests/ctmodel/scoring/test_scores.py that holds the expected loss 96
# times of 100 or more. It is too little where a rare wrong label costs a network that is three times too sure 16 nats:
# 86 of 100 for 40 scans, 2 % wrong.
LARGE_LOSS = float(np.log(20))


LIKELIEST = "likeliest"
"""What chooses a class where there are more than two."""


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

    def scaled(self, temperature: float) -> "Predictions":
        """Return the predictions with probabilities that are scaled by a temperature."""
        return replace(self, probabilities=with_temperature(self.probabilities, temperature))


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

    @property
    def bounds(self) -> tuple[float, float, float]:
        """The value and its 95 % interval."""
        return self.value, self.low, self.high

    def __str__(self) -> str:
        return f"{self.value:.3f} (95 % interval {self.low:.3f} to {self.high:.3f}, n = {self.n})"


@dataclass(frozen=True)
class Threshold:
    """From which probability a scan is called positive, and what chose it.

    Attributes
    ----------
    value : float
    chosen_by : str
        "half" for 0.5 whatever the data, "likeliest" where there are more than two classes and no threshold is used;
        else a rule of `parse_threshold`, such as "0.3" or "youden" ("validation" in version 0.1).

    Examples
    --------
    >>> print(Threshold(0.5, "half"))
    0.500
    >>> print(Threshold(0.3125, "sensitivity=0.9"))
    0.312, chosen by sensitivity=0.9 on the validation subset
    """

    value: float
    chosen_by: str

    def __str__(self) -> str:
        if self.chosen_by == LIKELIEST or parse_threshold(self.chosen_by).kind == "number":
            return f"{self.value:.3f}"
        return f"{self.value:.3f}, chosen by {self.chosen_by} on the validation subset"


@dataclass(frozen=True)
class Scores:
    """All scores of one set of scans.

    Attributes
    ----------
    subset : str
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
    more : dict of str to Score
        Further scores, for who asks for them; none in runs of version 0.1.
    prevalence : float, optional
        The share of positives that "ppv_at_prevalence" and "npv_at_prevalence" hold for.
    calibration : dict of str to float
        What `calibration_parts` returns; none in runs of version 0.1.
    """

    subset: str
    classes: tuple[str, ...]
    n: int
    patients: int
    threshold: Threshold
    scores: dict[str, Score]
    confusion: tuple[tuple[int, ...], ...]
    notes: tuple[str, ...]
    more: dict[str, Score] = field(default_factory=dict)
    prevalence: float | None = None
    calibration: dict[str, float] = field(default_factory=dict)

    def all_scores(self) -> dict[str, Score]:
        """Return the scores of the table, and after them all others."""
        return {**self.scores, **self.more}

    def to_dict(self) -> dict[str, Any]:
        """Return plain dictionaries and lists, ready for JSON; a likelihood ratio that is infinite is None."""
        saved = asdict(self)
        for entry in saved["more"].values():
            entry.update({name: None for name, value in entry.items() if value == np.inf})
        return saved

    def lines(self) -> list[str]:
        """Return what `ctmodel evaluate` shows: the table of scores, the confusion matrix, the notes."""
        return [self._header(), *self._table(self.scores), *self._confusion_lines(), *self._note_lines()]

    def all_lines(self) -> list[str]:
        """Return what `ctmodel evaluate --all` shows: the same, with all scores in the table."""
        table = [*self._table(self.all_scores()), *self._calibration_lines()]
        return [self._header(), *table, *self._confusion_lines(), *self._note_lines()]

    def _table(self, scores: dict[str, Score]) -> list[str]:
        titles = {name: self._title(name) for name in scores}
        width = max(map(len, titles.values())) + 2
        return [
            f"  {titles[name]:<{width}}{one.value:.3f}  {one.low:.3f} to {one.high:.3f}  n = {one.n}"
            for name, one in scores.items()
        ]

    def _calibration_lines(self) -> list[str]:
        width = max(map(len, self.calibration), default=0) + 2
        lines = [f"  {self._title(name):<{width}}{value:.3f}" for name, value in self.calibration.items()]
        return ["  of the calibration, without intervals:", *lines] if lines else []

    def _note_lines(self) -> list[str]:
        return [f"  note: {note}" for note in self.notes]

    def _header(self) -> str:
        positive = f"; {self.classes[1]} is the positive class" if len(self.classes) == 2 else ""
        scored = f"{self.subset} subset" if self.subset in SUBSETS else f"{self.subset} patients"
        return f"{scored}: {self.n} scans of {self.patients} patients, with 95 % intervals{positive}"

    def _confusion_lines(self) -> list[str]:
        width = max(map(len, self.classes)) + 2
        rows = [("", self.classes), *zip(self.classes, self.confusion, strict=True)]
        lines = [f"  {name:>{width}}" + "".join(f"{entry:>{width}}" for entry in row) for name, row in rows]
        how = f"at a threshold of {self.threshold}" if len(self.classes) == 2 else "the likeliest is predicted"
        return [f"  true class in rows, predicted class in columns; {how}:", *lines]

    def _title(self, name: str) -> str:
        """Return the name of a score as people read it, with the prevalence that it holds for."""
        if name.endswith("at_prevalence"):
            return f"{name.replace('_', ' ')} {self.prevalence:g}"
        score, of, class_name = name.partition(" ")  # the name of a class stays as it is
        return score.replace("_", " ") + of + class_name

    def _repr_html_(self) -> str:
        """Return a table for a notebook."""
        rows = [
            (self._title(name), f"{one.value:.3f}", f"{one.low:.3f} to {one.high:.3f}", one.n)
            for name, one in self.scores.items()
        ]
        return html_table(self._header(), ("score", "value", "95 % interval", "n"), rows, self.notes)

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "Scores":
        """Return the scores that `to_dict` described."""
        return cls(
            subset=saved["subset" if "subset" in saved else "part"],  # as it was called in version 0.1
            classes=tuple(saved["classes"]),
            n=saved["n"],
            patients=saved["patients"],
            threshold=Threshold(**saved["threshold"]),
            scores=_read(saved["scores"]),
            confusion=tuple(map(tuple, saved["confusion"])),
            notes=tuple(saved["notes"]),
            more=_read(saved.get("more", {})),
            prevalence=saved.get("prevalence"),
            calibration=saved.get("calibration", {}),
        )


def _read(saved: dict[str, dict[str, Any]]) -> dict[str, Score]:
    def finite_or_not(one: dict[str, Any]) -> dict[str, Any]:
        return {key: np.inf if value is None else value for key, value in one.items()}

    return {name: Score(**finite_or_not(one)) for name, one in saved.items()}


def choose_threshold(validation: Predictions, *, by: str) -> Threshold:
    """Return the operating threshold of a network, by the rule that the settings name, see `parse_threshold`."""
    if validation.probabilities.shape[1] > 2:
        return Threshold(0.5, LIKELIEST)
    rule = parse_threshold(by)
    return Threshold(find_threshold(rule, validation.labels == 1, validation.probabilities[:, 1]), by)


def score(
    predictions: Predictions,
    *,
    classes: Sequence[str],
    subset: str,
    threshold: Threshold,
    notes: Sequence[str] = (),
    prevalence: float | None = None,
    ordered: bool = False,
    called: np.ndarray | None = None,
) -> Scores:
    """Compute every score of some predictions.

    Parameters
    ----------
    predictions : Predictions
        Of labelled scans.
    classes : sequence of str
        The names of the classes.
    subset : str
        What is scored.
    threshold : Threshold
    notes : sequence of str
        Put before those that the scores give rise to.
    prevalence : float, optional
        Of two classes, a share of positives for which to give the predictive values as well.
    ordered : bool
        Whether the classes are in the order of severity, so that a call may be off by more or by less.
    called : (n,) int array, optional
        The class called for each scan, where it is not by this one threshold.

    Returns
    -------
    Scores

    Raises
    ------
    ScoreError
        If there is no scan, or there are scans of one class only, or the prevalence is not between 0 and 1.
    """
    present = np.unique(predictions.labels)
    if len(present) < 2:
        found = ", ".join(classes[label] for label in present) or "no labelled scan"
        raise ScoreError(f"{subset} subset: {found} only, expected two classes or more; score more scans")
    if called is None:
        called = metrics.predicted_classes(predictions.probabilities, threshold=threshold.value)
    of_two = len(classes) == 2
    scores = _scores_of_two(predictions, called) if of_two else _scores_of_more(predictions, called, classes)
    more = _further_scores(predictions, called, classes, prevalence=prevalence, ordered=ordered)
    shown = _shown(scores, more)
    confusion = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(confusion, (predictions.labels, called), 1)
    return Scores(
        subset=subset,
        classes=tuple(classes),
        n=len(predictions.scans),
        patients=len(set(predictions.patients)),
        threshold=threshold,
        scores=shown,
        confusion=tuple(map(tuple, confusion.tolist())),
        notes=(*notes, *_warnings(predictions, called, scores, classes)),
        more={name: entry for name, entry in more.items() if name not in shown},
        prevalence=prevalence if of_two else None,
        calibration=_calibration(predictions, classes),
    )


def scores_of_one_class(predictions: Predictions, *, classes: Sequence[str], threshold: Threshold) -> dict[str, Score]:
    """Return what can be said of scans of one class only: their sensitivity, specificity, or recall.

    Examples
    --------
    >>> two = Predictions(("a", "b"), ("p", "q"), np.array([1, 1]), np.array([[0.1, 0.9], [0.6, 0.4]]))
    >>> print(scores_of_one_class(two, classes=("normal", "ill"), threshold=Threshold(0.5, "half"))["sensitivity"])
    0.500 (95 % interval 0.095 to 0.905, n = 2)
    """
    called = metrics.predicted_classes(predictions.probabilities, threshold=threshold.value)
    label = int(predictions.labels[0])
    name = ("specificity", "sensitivity")[label] if len(classes) == 2 else f"recall {classes[label]}"
    return {name: _share(called == label, np.array(predictions.patients))}


def _scores_of_two(predictions: Predictions, called: np.ndarray) -> dict[str, Score]:
    positive, chance = predictions.labels == 1, predictions.probabilities[:, 1]
    patients = np.array(predictions.patients)
    precision = metrics.average_precision(positive, chance)
    precision_interval = average_precision_interval(positive, chance, patients)
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


def _further_scores(
    predictions: Predictions, called: np.ndarray, classes: Sequence[str], *, prevalence: float | None, ordered: bool
) -> dict[str, Score]:
    labels, probabilities, patients = predictions.labels, predictions.probabilities, np.array(predictions.patients)
    if len(classes) == 2:
        found = estimates_of_two(labels == 1, probabilities[:, 1], called == 1, patients, prevalence=prevalence)
    else:
        found = estimates_of_more(labels, probabilities, called, patients, classes)
    if ordered:
        found |= ordinal_estimates(labels, called, patients, n_classes=len(classes))
    return {name: _of_estimate(estimate, patients) for name, estimate in found.items()}


def _calibration(predictions: Predictions, classes: Sequence[str]) -> dict[str, float]:
    """Return the parts of the calibration: of the positive class, or of each of several against all others."""
    labels, probabilities = predictions.labels, predictions.probabilities
    if len(classes) == 2:
        return calibration_parts(labels == 1, probabilities[:, 1])
    return {
        f"{name} {classes[label]}": value
        for label in np.unique(labels)
        for name, value in calibration_parts(labels == label, probabilities[:, label]).items()
    }


def _of_estimate(found: Estimate, patients: np.ndarray) -> Score:
    return _entry(found.value, (found.low, found.high), patients[found.rows])


def _shown(scores: dict[str, Score], more: dict[str, Score]) -> dict[str, Score]:
    """Put further scores that the table has into their places."""
    table = {}
    for name, entry in scores.items():
        table[name] = entry
        table |= {also: more[also] for also in ALSO_SHOWN.get(name, []) if also in more}
    return table


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
    few = _patients_of_smallest_class(predictions, classes)
    if n_patients >= FEW_PATIENTS and few[0] < FEW_OF_A_CLASS:
        notes.append(
            f"Only {few[0]} patients are {few[1]}: the 95 % intervals that rest on them may hold the truth 85 times of "
            "100 only."
        )
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


def _patients_of_smallest_class(predictions: Predictions, classes: Sequence[str]) -> tuple[int, str]:
    """Return the number of patients and the name of the class with the fewest, of those present."""
    patients = np.array(predictions.patients)
    found = ((len(np.unique(patients[predictions.labels == label])), name) for label, name in enumerate(classes))
    return min(number for number in found if number[0])


def _log_loss_of(shares: np.ndarray) -> float:
    """Return the log loss of giving every scan the share of each class among those scored."""
    found = shares[shares > 0]
    return float(-np.sum(found * np.log(found)))
