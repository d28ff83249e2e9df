"""A forest plot: scores with their intervals, one below the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ctmodel.baselines.results import Baselines
from ctmodel.scoring.folds import FoldScores
from ctmodel.scoring.scores import Score, Scores
from ctmodel.views.canvas import BLUE, GREY, Picture, fitted, legend_below, new_figure, write_title
from ctmodel.views.content import RunContent, scored_scans

NOT_RATES = ("brier", "log_loss", "class_distance")
"""Scores that are not better the higher they are."""
ROW_INCHES, MARGIN_INCHES = 0.27, 0.85
NAME_LETTERS = 22


@dataclass(frozen=True)
class ForestRow:
    """A row of a forest plot.

    Attributes
    ----------
    name : str
    value, low, high : float
        A score and its 95 % interval; NaN where the score is undefined.
    n : int
        Scans.
    by_chance : float, optional
        The value of chance.
    """

    name: str
    value: float
    low: float
    high: float
    n: int
    by_chance: float | None = None

    @classmethod
    def of(cls, name: str, score: Score, *, by_chance: float | None = None) -> "ForestRow":
        """Return the row of a score."""
        return cls(name, score.value, score.low, score.high, score.n, by_chance)

    @property
    def text(self) -> str:
        """The score in figures."""
        if not np.isfinite(self.value):
            return "not defined"
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def draw_scores(run: RunContent) -> Picture:
    """Draw the scores that are better the higher they are, with their intervals."""
    chance = run.by_chance()
    rows = [
        ForestRow.of(score_title(name), score, by_chance=chance.get(name))
        for name, score in run.scores.scores.items()
        if name not in NOT_RATES
    ]
    figure = draw_forest(rows, title=("Scores", scored_scans(run.scores)), axis="Score, with its 95 % interval")
    caption = f"Scores with their 95 % intervals, {scored_scans(run.scores)}. Dashed: the value of chance."
    return Picture("scores", "Scores", caption, figure)


def draw_baselines(run: RunContent, baselines: Baselines) -> Picture:
    """Draw the AUROC of the network, and below it those of the baselines that have one."""
    scored = {one.name: one.test for one in baselines.baselines if one.test}
    rows = area_rows({f"network {run.network.name}": run.scores} | scored)
    called = "AUROC" if len(run.scores.classes) == 2 else "Macro AUROC"
    title = ("Network and baselines", scored_scans(run.scores))
    caption = (
        f"{called} of the network and of plain statistics that learnt from the same training subset, with 95 % "
        f"intervals, {scored_scans(run.scores)}."
    )
    figure = draw_forest(rows, title=title, axis=f"{called}, 95 % interval")
    return Picture("baselines", "Network and baselines", caption, figure)


def draw_folds(folds: FoldScores, pooled: Scores) -> Picture:
    """Draw the AUROC of each fold of a cross-validation, and below them that of all scans as one set."""
    called = "AUROC" if len(pooled.classes) == 2 else "Macro AUROC"
    named = {f"{one.name} {one.left_out}".rstrip(): one.scores for one in folds.folds}
    title = (f"{len(folds.folds)} folds", scored_scans(pooled))
    caption = (
        f"{called} of each fold, by the network that has not learnt from it, and of all scans as one set, with 95 % "
        f"intervals that hold for these networks, {scored_scans(pooled)}."
    )
    figure = draw_forest(area_rows(named | {"all scans": pooled}), title=title, axis=f"{called}, 95 % interval")
    return Picture("folds", "Folds", caption, figure)


def area_rows(networks: Mapping[str, Scores]) -> list[ForestRow]:
    """Return the AUROC of each network, fold, group or baseline that has one.

    Of more than two classes it is the macro AUROC.
    """
    areas = {name: scores.scores.get("auroc") or scores.scores.get("macro_auroc") for name, scores in networks.items()}
    return [ForestRow.of(name, area, by_chance=0.5) for name, area in areas.items() if area]


def draw_forest(
    rows: Sequence[ForestRow], *, title: tuple[str, str], axis: str, limits: tuple[float, float] = (0.0, 1.0)
) -> Figure:
    """Draw one row for each score, of a fold, a group, a run or a baseline.

    Parameters
    ----------
    rows : sequence of ForestRow
        One at least, from the top down.
    title : (str, str)
        What it shows, and of which scans.
    axis : str
        What the values are.
    limits : (low, high)
        Of the axis; an arrow shows that an interval goes on beyond them.

    Returns
    -------
    Figure
        A column wide; draw and write it in `canvas.looks`.
    """
    figure = new_figure(height=MARGIN_INCHES + ROW_INCHES * len(rows))
    axes = figure.subplots()
    low, high = limits
    for place, row in enumerate(rows):
        if not np.isfinite(row.value):
            continue
        axes.hlines(place, max(low, row.low), min(high, row.high), color=BLUE)
        axes.plot(np.clip(row.value, low, high), place, "s", color=BLUE, markersize=4.5, clip_on=False, zorder=3)
        for beyond, edge, mark in ((row.low < low, low, "<"), (row.high > high, high, ">")):
            if beyond:
                axes.plot(edge, place, mark, color=BLUE, markersize=5, clip_on=False)
    _mark_chance(axes, rows)
    names = [f"{fitted(row.name, width=NAME_LETTERS)}\nn = {row.n:,}" for row in rows]
    axes.set(xlim=limits, ylim=(len(rows) - 0.5, -0.5), xlabel=axis)
    axes.set_yticks(range(len(rows)), labels=names, fontsize=6.5, linespacing=1.05)
    axes.tick_params(axis="y", length=0, pad=6)
    axes.grid(visible=False, axis="y")
    right = axes.secondary_yaxis("right")
    right.set_yticks(range(len(rows)), labels=[row.text for row in rows], fontsize=6.5)
    right.tick_params(length=0, pad=6)
    right.spines["right"].set_visible(False)
    axes.spines["left"].set_visible(False)
    write_title(figure, *title)
    if any(row.by_chance is not None for row in rows):
        legend_below(figure, [axes])
    return figure


def _mark_chance(axes: Axes, rows: Sequence[ForestRow]) -> None:
    """Draw the value of chance as a dashed piece across its row."""
    for place, row in enumerate(rows):
        if row.by_chance is not None:
            axes.vlines(row.by_chance, place - 0.4, place + 0.4, color=GREY, linestyle=(0, (3, 1.5)), label="by chance")


TITLES = {
    "auroc": "AUROC",
    "macro_auroc": "macro AUROC",
    "partial_auroc": "partial AUROC",
    "ppv": "PPV",
    "npv": "NPV",
    "brier": "Brier",
    "f1": "F1",
    "macro_f1": "macro F1",
    "mcc": "MCC",
    "lr_positive": "positive likelihood ratio",
    "lr_negative": "negative likelihood ratio",
}


def score_title(name: str) -> str:
    """Return a score's name as a reader writes it.

    Examples
    --------
    >>> score_title("balanced_accuracy"), score_title("ppv severe")
    ('balanced accuracy', 'PPV severe')
    """
    first, space, rest = name.partition(" ")
    return TITLES.get(first, first.replace("_", " ")) + space + rest
