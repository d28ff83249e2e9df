"""The scores of every baseline of a store, beside which a network's are read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ctmodel.baselines import metadata
from ctmodel.baselines.chance import scores_by_chance
from ctmodel.baselines.null import NullScores
from ctmodel.scoring.comparison import Answers
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
    answers : Answers or None
        What it said of the test subset; None where the scores were read from a file.
    """

    name: str
    n_features: int
    without: int
    validation: Scores | None = None
    test: Scores | None = None
    failure: str | None = None
    answers: Answers | None = field(default=None, repr=False, compare=False)

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
    shortcut : Score or None
        The AUROC of the metadata alone in a cross-validation of all labelled scans; None of too few scans, and in a
        run of version 0.1.
    """

    baselines: tuple[BaselineScores, ...]
    shortcut: Score | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain dictionaries and lists, ready for JSON."""
        entries = [vars(one) | _by_subset(one) for one in self.baselines]
        for entry in entries:
            del entry["answers"]
        return {"baselines": entries, "shortcut": vars(self.shortcut) if self.shortcut else None}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "Baselines":
        """Return the baselines that `to_dict` described."""
        baselines = tuple(BaselineScores(**entry | _scores_of(entry)) for entry in saved["baselines"])
        return cls(baselines, Score(**saved["shortcut"]) if saved.get("shortcut") else None)

    def answers(self) -> dict[str, Answers]:
        """Return what each baseline that could be scored said of the test subset."""
        return {baseline.name: baseline.answers for baseline in self.baselines if baseline.answers}

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
        of_metadata = next((one.area for one in self.baselines if one.name == metadata.NAME), None)
        found, where = (self.shortcut, " in a cross-validation") if self.shortcut else (of_metadata, "")
        if not found or found.low <= 0.5:
            return []
        return [
            f"The metadata alone reach an AUROC of {found.value:.2f} ({found.low:.2f} to {found.high:.2f}){where} of "
            f"{found.n} scans: the classes differ by scanner or file, and the score of a network may be a shortcut; "
            "compare scans of one scanner."
        ]

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
    null : NullScores or None
        What they come to on permuted labels, if that was asked for.
    """

    scores: Scores
    baselines: Baselines | None = None
    folds: FoldScores | None = None
    null: NullScores | None = None

    def lines(self) -> list[str]:
        """Return what the command prints: the network's scores, those of folds, and what there is without it."""
        folds, baselines, null = (one.lines() if one else [] for one in (self.folds, self.baselines, self.null))
        return [*self.scores.lines(), *folds, *self._lines_without(), *baselines, *null]

    def to_dict(self) -> dict[str, Any]:
        """Return the network's scores, beside them those of folds, by `chance` and of `baselines`, ready for JSON."""
        folds, baselines = (one.to_dict() if one else {} for one in (self.folds, self.baselines))
        null = {"null": self.null.to_dict()} if self.null else {}
        return self.scores.to_dict() | folds | {"chance": self.by_chance()} | baselines | null

    def by_chance(self) -> dict[str, float]:
        """Return what each score is without skill, where there is such a level."""
        return scores_by_chance([sum(row) for row in self.scores.confusion])

    def _lines_without(self) -> list[str]:
        """Return a table: each score of the network, by chance, and of each baseline that knows anything."""
        scored = [one for one in (self.baselines.baselines if self.baselines else ()) if one.test and one.n_features]
        columns: dict[str, Mapping[str, Score | float]] = {"network": self.scores.scores, "chance": self.by_chance()}
        columns |= {one.name: one.test.scores for one in scored if one.test}
        names = [name for name in self.scores.scores if name in columns["chance"]]
        width = max(map(len, names)) + 2
        return [
            "each score by chance, and of baselines that learnt from the same scans",
            "  " + " " * width + "".join(f"{name:>{len(name) + 2}}" for name in columns),
            *(
                f"  {name.replace('_', ' '):<{width}}"
                + "".join(f"{_number(column.get(name)):>{len(title) + 2}}" for title, column in columns.items())
                for name in names
            ),
        ]

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


def _number(score: Score | float | None) -> str:
    value = score.value if isinstance(score, Score) else score
    return "-" if value is None else f"{value:.3f}"


def _interval(score: Score) -> str:
    return f"{score.value:.3f}  {score.low:.3f} to {score.high:.3f}"
