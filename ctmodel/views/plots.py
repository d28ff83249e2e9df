"""The learning curves of a run, as a picture."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ctmodel.run.files import whole_file
from ctmodel.run.history import Epoch, best_epoch

MAX_LOSS = 2  # nearly three times that of guessing; one wild epoch must not flatten all others
TRAINING, VALIDATION, BEST = "tab:blue", "tab:orange", "tab:green"


def write_curves(history: Sequence[Epoch], path: Path) -> None:
    """Draw loss, AUROC and accuracy of training and validation over the epochs, the best one marked.

    Parameters
    ----------
    history : sequence of Epoch
        One at least.
    path : Path
        Where the PNG goes.
    """
    figure = Figure(figsize=(12, 4), layout="constrained")
    FigureCanvasAgg(figure)
    losses, areas, accuracies = figure.subplots(1, 3)
    _draw(losses, history, "loss", f"Cross-entropy (lower is better, cut at {MAX_LOSS})")
    _draw(areas, history, "auroc", "AUROC (0.5 is chance)")
    _draw(accuracies, history, "accuracy", "Accuracy (at a threshold of 0.5)")
    losses.set_ylim(0, min(losses.get_ylim()[1], MAX_LOSS))
    for share in (areas, accuracies):
        share.set_ylim(-0.02, 1.02)
    areas.axhline(0.5, color="0.8", linewidth=1, zorder=0)
    figure.legend(*losses.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=120, metadata={"Software": None})


def _draw(axes: Axes, history: Sequence[Epoch], name: str, title: str) -> None:
    epochs = [epoch.epoch for epoch in history]
    best = best_epoch(history)
    marker = "o" if len(history) == 1 else None
    axes.plot(
        epochs,
        [getattr(epoch, name) for epoch in history],
        color=TRAINING,
        marker=marker,
        label="training (with dropout and augmentation)",
    )
    axes.plot(
        epochs,
        [getattr(epoch, f"val_{name}") for epoch in history],
        color=VALIDATION,
        marker=marker,
        label="validation",
    )
    axes.axvline(best.epoch, color=BEST, linestyle="--", linewidth=1.5, label=f"best epoch ({best.epoch})")
    axes.plot(best.epoch, getattr(best, f"val_{name}"), "o", color=VALIDATION, markersize=6)
    axes.set(title=title, xlabel="Epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
