"""The figures of a run's predictions for its test subset.

Of two classes each shows the positive one; of more there is a panel for each class against all others.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ctmodel.scoring import metrics
from ctmodel.scoring.calibration import recalibrate, reliability_curve
from ctmodel.scoring.influence import average_precision_interval
from ctmodel.scoring.intervals import Interval, auroc_interval, share_interval
from ctmodel.scoring.scores import Scores, Threshold
from ctmodel.views.canvas import (
    BLUE,
    GREY,
    PALE,
    SKY,
    SMALL,
    UNIT_LABELS,
    VERMILION,
    Picture,
    fitted,
    legend_below,
    new_figure,
    panels,
    unit_square,
    write_title,
)
from ctmodel.views.content import RunContent, scored_scans
from ctmodel.views.curves import N_RESAMPLES, Curve, precision_recall_curve, roc_curve
from ctmodel.views.forest import draw_baselines, draw_folds, draw_scores
from ctmodel.views.learning import learning_curves

BINS = np.linspace(0, 1, 21)
OF_CHANCE = "share of positives (chance)"
BEHIND = {"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.8}
POINTWISE = (
    f"The band is pointwise, 95 %: Wilson's interval for as many scans as give the variance over {N_RESAMPLES:,} "
    "bootstrap resamples of patients."
)


@dataclass(frozen=True)
class Task:
    """One class against all others.

    Attributes
    ----------
    name : str
        Of the class.
    positive, called : (n,) bool arrays
        Which scans are of the class, and which were called so.
    chances : (n,) float array
        The probabilities of the class.
    patients : (n,) array of str
    """

    name: str
    positive: np.ndarray
    called: np.ndarray
    chances: np.ndarray
    patients: np.ndarray

    def share(self, hits: np.ndarray, rows: np.ndarray) -> tuple[float, Interval]:
        """Return a share of some scans with its interval."""
        return float(hits[rows].mean()), share_interval(hits[rows], self.patients[rows])


def draw_figures(run: RunContent) -> Iterator[Picture]:
    """Draw every figure of a run, in the order of the card; to be called in `canvas.looks`."""
    scores, tasks = run.scores, tasks_of(run)
    yield draw_scores(run)
    if run.baselines and run.baselines.best():
        yield draw_baselines(run, run.baselines)
    yield draw_confusion(scores)
    yield draw_roc(tasks, scores)
    yield draw_precision_recall(tasks, scores)
    yield draw_probabilities(tasks, scores)
    yield draw_calibration(tasks, scores)
    if run.folds:
        yield draw_folds(run.folds, scores)
        return
    yield learning_curves(run.history, n_classes=len(scores.classes), baselines=run.baselines)


def tasks_of(run: RunContent) -> list[Task]:
    """Return the positive class of two, or each class that some but not all of the scans have."""
    labels, probabilities, classes = run.test.labels, run.test.probabilities, run.scores.classes
    patients = np.array(run.test.patients)
    chosen = [1] if len(classes) == 2 else np.unique(labels).tolist()
    return [
        Task(classes[label], labels == label, run.called == label, probabilities[:, label], patients)
        for label in chosen
    ]


def draw_roc(tasks: Sequence[Task], scores: Scores) -> Picture:
    """Draw sensitivity over false positive rate, with a band and the operating point."""
    figure, places = panels(len(tasks), heights=[3.6])
    for task, (axes,) in zip(tasks, places, strict=True):
        curve = roc_curve(task.positive, task.chances, task.patients)
        low, high = auroc_interval(task.positive, task.chances, task.patients)
        _draw_curve(axes, curve)
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":", label="by chance")
        found, found_interval = task.share(task.called, task.positive)
        alarms, alarms_interval = task.share(task.called, ~task.positive)
        _draw_point(axes, (alarms, found), (alarms_interval, found_interval), _named(scores.threshold))
        axes.set(xlabel="False positive rate (1 - specificity)", ylabel="Sensitivity")
        area = f"AUROC {metrics.auroc(task.positive, task.chances):.3f} (95 %: {low:.3f} to {high:.3f})"
        _head(axes, task, tasks, area)
    _finish(figure, places[:, 0], tasks, "ROC curve")
    caption = f"Sensitivity over false positive rate, {scored_scans(scores)}. {POINTWISE} {_point(scores)}"
    return Picture("roc", "ROC curve", caption, figure)


def draw_precision_recall(tasks: Sequence[Task], scores: Scores) -> Picture:
    """Draw precision over recall, with a band, the share of positives, and the operating point."""
    figure, places = panels(len(tasks), heights=[3.6])
    for task, (axes,) in zip(tasks, places, strict=True):
        curve = precision_recall_curve(task.positive, task.chances, task.patients)
        low, high = average_precision_interval(task.positive, task.chances, task.patients)
        start = Curve(np.append(0, curve.x), np.append(curve.y[0], curve.y), curve.places, curve.low, curve.high)
        _draw_curve(axes, start, drawstyle="steps-pre")
        axes.axhline(task.positive.mean(), color=GREY, linewidth=1, linestyle=":", label=OF_CHANCE)
        if task.called.any():
            found, found_interval = task.share(task.called, task.positive)
            right, right_interval = task.share(task.positive, task.called)
            _draw_point(axes, (found, right), (found_interval, right_interval), _named(scores.threshold))
        axes.set(xlabel="Recall (sensitivity)", ylabel="Precision (PPV)")
        value = metrics.average_precision(task.positive, task.chances)
        average = f"average precision {value:.3f} (95 %: {low:.3f} to {high:.3f})"
        _head(axes, task, tasks, average)
    _finish(figure, places[:, 0], tasks, "Precision-recall curve")
    caption = (
        f"Precision over recall, {scored_scans(scores)}. {POINTWISE} {_point(scores)} The precision holds for the "
        "share of positives that was scored."
    )
    return Picture("precision-recall", "Precision-recall curve", caption, figure)


def _draw_curve(axes: Axes, curve: Curve, **how: str) -> None:
    axes.fill_between(curve.places, curve.low, curve.high, color=SKY, alpha=0.35, linewidth=0, label="95 % band")
    axes.plot(curve.x, curve.y, color=BLUE, label="test subset", **how)  # type: ignore[arg-type]
    unit_square(axes)


def _draw_point(axes: Axes, point: tuple[float, float], intervals: tuple[Interval, Interval], label: str) -> None:
    errors = [
        [[max(0.0, value - low)], [max(0.0, high - value)]] for value, (low, high) in zip(point, intervals, strict=True)
    ]
    axes.errorbar(
        *point,
        xerr=errors[0],
        yerr=errors[1],
        fmt="o",
        color=VERMILION,
        elinewidth=0.9,
        markersize=5,
        label=label,
        capsize=2,
        clip_on=False,
        zorder=4,
    )


def draw_calibration(tasks: Sequence[Task], scores: Scores) -> Picture:
    """Draw the share of positives over the probability, and how many scans have which."""
    figure, places = panels(len(tasks), heights=[3.4, 1.0])
    for task, (axes, below) in zip(tasks, places, strict=True):
        curve = reliability_curve(task.positive, task.chances, task.patients)
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":", label="perfect calibration")
        expected = {"color": PALE, "linewidth": 7, "label": "expected by chance, 95 %"}
        axes.vlines(curve.probability, curve.expected_low, curve.expected_high, zorder=1, **expected)
        errors = np.maximum(0, [curve.observed - curve.low, curve.high - curve.observed])
        observed = {"fmt": "o-", "color": BLUE, "markersize": 4, "linewidth": 1, "elinewidth": 1.2}
        axes.errorbar(curve.probability, curve.observed, yerr=errors, label="observed, 95 % interval", **observed)
        unit_square(axes)
        axes.set(ylabel="Observed share", aspect="auto")
        axes.tick_params(labelbottom=False)
        _head(axes, task, tasks, _slope(task))
        below.hist(task.chances, bins=BINS, color=SKY, edgecolor="white", linewidth=0.5)  # type: ignore[arg-type]
        below.set_xticks(np.linspace(0, 1, 6), labels=UNIT_LABELS)
        below.set(xlim=axes.get_xlim(), xlabel=f"Probability of {fitted(task.name, width=24)}", ylabel="Scans")
    _finish(figure, places[:, 0], tasks, "Calibration")
    caption = (
        "Observed share of positives over the mean probability, in bins of about as many scans, "
        f"{scored_scans(scores)}, with Wilson's 95 % intervals that take the scans of a patient together. Grey "
        "bars: where the share lies 95 times of 100 if the probabilities are right (Bröcker and Smith 2007). Below: "
        "scans by probability. A slope below 1 means that the network is too sure."
    )
    return Picture("calibration", "Calibration", caption, figure)


def _slope(task: Task) -> str:
    found = recalibrate(task.positive, task.chances, task.patients)
    if found is None:
        return "slope not defined (classes apart, or all equal)"
    value, low, high = found.slope
    return f"slope {value:.2f} (95 %: {low:.2f} to {high:.2f})"


def draw_probabilities(tasks: Sequence[Task], scores: Scores) -> Picture:
    """Draw which probabilities scans of the class and the others were given, back to back, with the threshold."""
    figure, places = panels(len(tasks), heights=[3.0])
    for task, (axes,) in zip(tasks, places, strict=True):
        own, others = (
            np.histogram(task.chances[rows], BINS)[0] / rows.sum() for rows in (task.positive, ~task.positive)
        )
        bar = {"x": BINS[:-1], "width": np.diff(BINS), "align": "edge", "linewidth": 0.6}
        axes.bar(height=own, color=VERMILION, edgecolor="white", **bar)
        axes.bar(height=-others, color=SKY, edgecolor="black", hatch="////", **bar)
        axes.axhline(0, color="black", linewidth=0.8)
        if scores.threshold.chosen_by != "likeliest":
            axes.axvline(
                scores.threshold.value, color="black", linewidth=1, linestyle="--", label=_named(scores.threshold)
            )
        top = 1.3 * max(own.max(), others.max())
        axes.set(xlim=(-0.02, 1.02), ylim=(-top, top), ylabel="Share of scans")
        axes.set_xticks(np.linspace(0, 1, 6), labels=UNIT_LABELS)
        axes.set_xlabel(f"Probability of {fitted(task.name, width=24)}")
        axes.yaxis.set_major_formatter(lambda share, _: f"{abs(share):.0%}")
        other = scores.classes[0] if len(scores.classes) == 2 else "others"
        sides = ((task.name, task.positive, 0.98, "top"), (other, ~task.positive, 0.02, "bottom"))
        for name, rows, height, side in sides:
            text = f"{fitted(name, width=28)} (n = {rows.sum():,})"
            axes.text(0.03, height, text, transform=axes.transAxes, va=side, fontsize=SMALL, bbox=BEHIND)
        _head(axes, task, tasks)
    _finish(figure, places[:, 0], tasks, "Probabilities")
    own, others = ("the positive class", "the negative class") if len(tasks) == 1 else ("a class", "the others")
    caption = f"Probabilities of {own} above the line, of {others} below it, as shares of each, {scored_scans(scores)}."
    return Picture("probabilities", "Probabilities", f"{caption} {_rule(scores)}", figure)


def draw_confusion(scores: Scores) -> Picture:
    """Draw the table of true and predicted classes, with the share of each true class."""
    counts = np.array(scores.confusion)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    n = len(counts)
    figure = new_figure(height=3.4 if n <= 4 else 6.4, columns=1 if n <= 4 else 2)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    size = min(9, 26 / n) if n <= 4 else min(8, 60 / n)
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if shares[row, column] > 0.55 else "black"
        text = f"{count:,}\n{shares[row, column]:.0%}" if counts[row].any() else "0"
        axes.text(column, row, text, ha="center", va="center", color=color, fontsize=size)
    names = [fitted(name, width=14, lines=3) for name in scores.classes]
    axes.set_xticks(range(n), labels=names, rotation=0 if n <= 3 else 90)
    axes.set_yticks(range(n), labels=names)
    axes.set(xlabel="Predicted class", ylabel="True class")
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    write_title(figure, "Confusion matrix", scored_scans(scores))
    caption = (
        f"Scans by true class (rows) and predicted class (columns), {scored_scans(scores)}; below each number its "
        f"share of the true class. {_rule(scores)}"
    )
    return Picture("confusion", "Confusion matrix", caption, figure)


def _head(axes: Axes, task: Task, tasks: Sequence[Task], value: str = "") -> None:
    """Write above a panel of several whose it is; the figure of one class has it in its title."""
    if len(tasks) > 1:
        axes.set_title(f"{_counted(task)}\n{value}".rstrip(), fontsize=SMALL)
    elif value:
        axes.set_title(value, fontsize=SMALL)


def _finish(figure: Figure, axes: Iterable[Axes], tasks: Sequence[Task], heading: str) -> None:
    legend_below(figure, axes, columns=2 * min(2, len(tasks)))
    of_what = _counted(tasks[0]) if len(tasks) == 1 else "each class against all others"
    write_title(figure, heading, of_what)


def _counted(task: Task) -> str:
    return f"{fitted(task.name, width=24)}, {task.positive.sum():,} of {len(task.positive):,} scans"


def _named(threshold: Threshold) -> str:
    return "likeliest class" if threshold.chosen_by == "likeliest" else f"threshold {threshold.value:.2f}"


def _rule(scores: Scores) -> str:
    if scores.threshold.chosen_by == "likeliest":
        return "The likeliest class is called."
    positive, threshold = scores.classes[1], scores.threshold
    return f"A scan is called {positive} from a probability of {threshold.value:.3f} ({threshold.chosen_by})."


def _point(scores: Scores) -> str:
    return f"The point with its 95 % intervals is where scans are called. {_rule(scores)}"
