"""The learning curves of a training."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ctmodel.baselines.results import Baselines
from ctmodel.run.history import Epoch, best_epoch
from ctmodel.views.canvas import BLUE, GREEN, GREY, VERMILION, Picture, legend_below, looks, new_figure, write_title

MAX_LOSS = 3.0  # times that of chance; one wild epoch must not flatten all others
BASELINE_DASHES = ((0, (1, 1)), (0, (4, 1, 1, 1)), (0, (6, 2)), (0, (3, 1, 1, 1, 1, 1)))


def write_learning_curves(
    history: Sequence[Epoch], path: Path, *, n_classes: int, baselines: Baselines | None = None
) -> None:
    """Draw the learning curves of a training as it ends into the PNG at `path`."""
    with looks():
        learning_curves(history, n_classes=n_classes, baselines=baselines).write(path)


def learning_curves(history: Sequence[Epoch], *, n_classes: int, baselines: Baselines | None = None) -> Picture:
    """Draw loss and AUROC of training and validation over the epochs, the best one marked.

    Parameters
    ----------
    history : sequence of Epoch
        One at least.
    n_classes : int
    baselines : Baselines, optional
        Whose AUROC on the validation subset is drawn as a line.
    """
    best, last = best_epoch(history), history[-1].epoch
    figure = new_figure(height=4.8)
    losses, areas = figure.subplots(2, 1, sharex=True)
    chance = float(np.log(n_classes))
    for axes, name in ((losses, "loss"), (areas, "auroc")):
        _draw(axes, history, name)
    highest = max(chance, *(max(epoch.loss, epoch.val_loss) for epoch in history))
    losses.axhline(chance, color=GREY, linewidth=1, linestyle=":", label="by chance")
    losses.set(ylabel="Loss (cross-entropy)", ylim=(0, min(1.08 * highest, MAX_LOSS * chance)))
    areas.axhline(0.5, color=GREY, linewidth=1, linestyle=":", label="by chance")
    called = "AUROC" if n_classes == 2 else "Macro AUROC"
    areas.set(xlabel="Epoch", ylabel=called, ylim=(min(0.38, areas.get_ylim()[0]), 1.03))
    areas.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    drawn = _draw_baselines(areas, baselines)
    write_title(figure, "Learning curves", f"best epoch {best.epoch} of {last}")
    legend_below(figure, [losses, areas])
    caption = (
        f"Loss and {called} of the training subset (with augmentation and dropout) and of the validation subset over "
        f"{last} epochs. The weights of epoch {best.epoch}, which has the lowest validation loss, were kept. "
        "Dotted: the same probability for every class."
    )
    return Picture("learning-curves", "Learning curves", caption + drawn, figure)


def _draw(axes: Axes, history: Sequence[Epoch], name: str) -> None:
    epochs, best = [epoch.epoch for epoch in history], best_epoch(history)
    markers = ("s", "o") if len(history) == 1 else (None, None)
    ours, theirs = ([getattr(epoch, prefix + name) for epoch in history] for prefix in ("", "val_"))
    axes.plot(epochs, ours, color=BLUE, linestyle="--", marker=markers[0], label="training")
    axes.plot(epochs, theirs, color=VERMILION, marker=markers[1], label="validation")
    axes.axvline(best.epoch, color=GREEN, linewidth=1, linestyle="-.", label="best epoch")
    axes.plot(best.epoch, getattr(best, f"val_{name}"), "o", color=VERMILION, markersize=5)


def _draw_baselines(axes: Axes, baselines: Baselines | None) -> str:
    """Draw each baseline that ranks scans as a horizontal line, and return the sentence about them."""
    scored = [(one.name, one.validation.scores) for one in baselines.baselines if one.validation] if baselines else []
    areas = [
        (name, scores.get("auroc") or scores.get("macro_auroc")) for name, scores in scored if name != "prevalence"
    ]
    known = [(name, area.value) for name, area in areas if area]
    for place, (name, value) in enumerate(known):
        dashes = BASELINE_DASHES[place % len(BASELINE_DASHES)]
        axes.axhline(value, color="black", linewidth=0.9, linestyle=dashes, label=name)
    return " Horizontal lines are baselines on the validation subset." if known else ""
