"""What scores come to where labels tell nothing: their distribution over labels permuted among patients."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ctmodel.errors import ScoreError
from ctmodel.scoring.scores import Score

JUDGED = ("auroc", "macro_auroc", "average_precision", "balanced_accuracy", "brier", "log_loss")
LOWER_IS_BETTER = ("brier", "log_loss")
MAX_DRAWS = 1000
"""Permutations that may fail in a row to leave every class in the training and the validation subset."""


@dataclass(frozen=True)
class NullScore:
    """One score, and what it was on permuted labels.

    Attributes
    ----------
    value : float
        On the labels as they are.
    mean, low, high : float
        Mean and central 95 % on permuted labels.
    p : float
        (1 + permutations at least as good) / (1 + permutations).
    """

    value: float
    mean: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class NullScores:
    """What retraining on permuted labels came to.

    Attributes
    ----------
    n : int
        Permutations.
    scores : dict of str to dict of str to NullScore
        Of "network", if it was trained too, and of each baseline: each of its scores.
    """

    n: int
    scores: dict[str, dict[str, NullScore]]

    def lines(self) -> list[str]:
        """Return a table for people."""
        width = max((len(name) for name in self.scores), default=0) + 2
        return [
            f"trained on labels permuted among patients, {self.n} times: mean and central 95 % of the test scores",
            *(
                f"  {name:<{width}}{score.replace('_', ' '):<19}{one.value:.3f}  permuted {one.mean:.3f}, "
                f"{one.low:.3f} to {one.high:.3f}  p = {one.p:.3f}"
                for name, scores in self.scores.items()
                for score, one in scores.items()
            ),
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return plain dictionaries, ready for JSON."""
        return asdict(self)


def permuted_labels(
    labels: np.ndarray, patients: Sequence[str], subsets: Sequence[str], *, n: int, seed: int
) -> Iterator[np.ndarray]:
    """Permute the labels of the training and validation subsets among their patients.

    Parameters
    ----------
    labels : (rows,) int array
    patients : sequence of str
        Of each row.
    subsets : sequence of str
        Of each row; the labels of rows that are neither in "train" nor in "validation" stay.
    n : int
        Permutations.
    seed : int

    Yields
    ------
    (rows,) int array
        The labels of a patient's scans become those of another patient, in their order, repeated or cut to the number
        of scans. Every class of `labels` is in both subsets.

    Raises
    ------
    ScoreError
        If there are too few patients for that.
    """
    random, subset_of = np.random.default_rng(seed), np.array(subsets)
    learnt = np.flatnonzero(np.isin(subset_of, ("train", "validation")))
    unit = np.unique(np.array(patients)[learnt], return_inverse=True)[1]
    rows_of = [learnt[unit == number] for number in range(unit.max() + 1)]
    classes = set(labels[learnt].tolist())
    for _ in range(n):
        for _ in range(MAX_DRAWS):
            found = labels.copy()
            for rows, donor in zip(rows_of, random.permutation(len(rows_of)), strict=True):
                found[rows] = np.resize(labels[rows_of[donor]], len(rows))
            if all(set(found[subset_of == subset].tolist()) == classes for subset in ("train", "validation")):
                break
        else:
            raise ScoreError(
                "permutation: no class would be left in the training or validation subset, expected all in both; score "
                "a run of more patients"
            )
        yield found


def judge(own: Mapping[str, Score], drawn: Sequence[Mapping[str, Score]]) -> dict[str, NullScore]:
    """Place scores among those on permuted labels; those that any of them lacks are left out."""
    names = [name for name in JUDGED if name in own and all(name in scores for scores in drawn)]
    return {name: _place(name, own[name].value, [scores[name].value for scores in drawn]) for name in names}


def _place(name: str, value: float, drawn: Sequence[float]) -> NullScore:
    values = np.array(drawn)
    as_good = values <= value if name in LOWER_IS_BETTER else values >= value
    low, high = np.quantile(values, [0.025, 0.975]).tolist()
    return NullScore(value, float(values.mean()), low, high, float((1 + as_good.sum()) / (1 + len(values))))
