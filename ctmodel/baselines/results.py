"""The scores of every baseline of a store, beside which a network's are read."""

from dataclasses import dataclass
from typing import Any

from ctmodel.baselines import metadata
from ctmodel.scoring.folds import FoldScores
from ctmodel.scoring.scores import Score, Scores

COMPARED = {"auroc": "AUROC", "macro_auroc": "macro AUROC"}
"""The scores by which a network and baselines are compared, as they are called in a sentence."""


@dataclass(frozen=True)
class BaselineScores:
    """What became of one baseline.

    Attributes
    ----------
    name : str
    n_features : int
        What it is told of a scan.
    without : int
        Labelled scans whose features are missing, such as those in which no lungs were found; they count as average.
    validation, test : Scores or None
        Of the same scans as a network's.
    failure : str or None
        Why there are no scores.
    """

    name: str
    n_features: int
    without: int
    validation: Scores | None = None
    test: Scores | None = None
    failure: str | None = None

    @property
    def area(self) -> Score | None:
        """The AUROC on the test subset, of more than two classes the macro AUROC; None where there is none."""
        found = (self.test.scores.get(name) for name in COMPARED) if self.test else iter(())
        return next((score for score in found if score), None)


@dataclass(frozen=True)
class Baselines:
    """What every baseline came to; `ctmodel train` keeps it in a run as `baselines.json`.

    Attributes
    ----------
    baselines : tuple of BaselineScores
    """

    baselines: tuple[BaselineScores, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain dictionaries and lists, ready for JSON."""
        return {"baselines": [vars(one) | _by_subset(one) for one in self.baselines]}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "Baselines":
        """Return the baselines that `to_dict` described."""
        return cls(tuple(BaselineScores(**entry | _scores_of(entry)) for entry in saved["baselines"]))

    def best(self) -> BaselineScores | None:
        """Return the baseline with the highest AUROC on the test subset, the first of several; None without one."""
        scored = [baseline for baseline in self.baselines if baseline.area]
        return max(scored, key=lambda baseline: baseline.area.value) if scored else None  # type: ignore[union-attr]

    def lines(self) -> list[str]:
        """Return a table for people, a line for each baseline, and what there is to say of them."""
        width = max(len(baseline.name) for baseline in self.baselines) + 2
        return [
            "baselines, trained and tested on the same scans, with 95 % intervals",
            *(f"  {baseline.name:<{width}}{_in_one_line(baseline)}" for baseline in self.baselines),
            *(f"  note: {note}" for note in self.notes()),
        ]

    def notes(self) -> list[str]:
        """Say what the baselines warn of: classes that the scanner alone gives away."""
        for baseline in self.baselines:
            if baseline.name == metadata.NAME and baseline.area and baseline.area.low > 0.5:
                return [
                    f"The metadata alone have an AUROC of {baseline.area.value:.2f}, with an interval above 0.5: the "
                    "classes differ in their scanners or files, and a network may have learnt that."
                ]
        return []

    def notes_about(self, network: Scores) -> list[str]:
        """Say that a network is worse than a baseline, if it is.

        Parameters
        ----------
        network : Scores
            Of the test subset.

        Returns
        -------
        list of str
            One sentence, or none.
        """
        best = self.best()
        for name, called in COMPARED.items():
            if best and best.area and name in network.scores and network.scores[name].value < best.area.value:
                return [
                    f"The network's {called}, {network.scores[name].value:.3f}, is below {best.area.value:.3f}, that "
                    f"of the baseline {best.name}: on these scans a plain statistic tells more."
                ]
        return []


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What has a network's scores, and beside them those of the baselines where there are any.

    Attributes
    ----------
    scores : Scores
        Of the network.
    baselines : Baselines or None
        What plain statistics score on the same scans.
    folds : FoldScores or None
        The scores of each fold and their means, of a cross-validation.
    """

    scores: Scores
    baselines: Baselines | None = None
    folds: FoldScores | None = None

    def lines(self) -> list[str]:
        """Return what the command prints: the network's scores, and those of folds and baselines below them."""
        return [line for one in (self.scores, self.folds, self.baselines) if one for line in one.lines()]

    def to_dict(self) -> dict[str, Any]:
        """Return the network's scores, and those of folds and `baselines` beside them, ready for JSON."""
        return self.scores.to_dict() | {
            key: value for one in (self.folds, self.baselines) if one for key, value in one.to_dict().items()
        }

    def _repr_html_(self) -> str:
        """Return tables for a notebook."""
        return self.scores._repr_html_() + (self.folds._repr_html_() if self.folds else "")


def _by_subset(baseline: BaselineScores) -> dict[str, Any]:
    subsets = {"validation": baseline.validation, "test": baseline.test}
    return {name: scores.to_dict() if scores else None for name, scores in subsets.items()}


def _scores_of(saved: dict[str, Any]) -> dict[str, Scores | None]:
    return {subset: Scores.from_dict(saved[subset]) if saved[subset] else None for subset in ("validation", "test")}


def _in_one_line(baseline: BaselineScores) -> str:
    if baseline.test is None:
        return f"not scored ({baseline.failure})"
    said = f"log loss {_interval(baseline.test.scores['log_loss'])}"
    for name, called in COMPARED.items():
        if name in baseline.test.scores:
            said = f"{called} {_interval(baseline.test.scores[name])}  {said}"
    missing = f"  ({baseline.without} scans without features)" if baseline.without else ""
    return said + missing


def _interval(score: Score) -> str:
    return f"{score.value:.3f}  {score.low:.3f} to {score.high:.3f}"
