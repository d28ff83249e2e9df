"""How the figures of a run look, and how they are written: the same numbers give the same bytes.

Figures are as wide as a column of a journal, with text of 8 points. Colours are those of Okabe and Ito (2008), which
the colour-blind tell apart; what has another colour also has another line, marker or hatch, so that grey print will do.
"""

import textwrap
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ctmodel.errors import SettingsError
from ctmodel.run.files import whole_file
from ctprep.text import printable

COLUMN_INCHES = 3.5  # 89 mm
LINE_LETTERS = 52  # of a title, in a column
SMALL = 7  # points
BLUE, VERMILION, GREEN, SKY, GREY, PALE = "#0072B2", "#D55E00", "#009E73", "#56B4E9", "#666666", "#D9D9D9"

LOOK = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 8,
    "figure.titlesize": 8,
    "font.family": ["DejaVu Sans"],
    "font.size": 8,
    "grid.alpha": 0.3,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "savefig.dpi": 300,
    "svg.hashsalt": "ctmodel",
    "text.parse_math": False,  # a class may be called $1$
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
}

WITHOUT_TIME: dict[str, dict[str, Any]] = {"png": {"Software": None}, "svg": {"Creator": None, "Date": None}}
"""What each format that figures are written in says of its origin."""


@dataclass(frozen=True)
class Picture:
    """A figure with its caption.

    Attributes
    ----------
    name : str
        Of its files, without the format.
    heading : str
        What it shows, in a few words.
    caption : str
        Whole sentences: what is drawn, of how many scans, and what the bands are.
    figure : Figure
    """

    name: str
    heading: str
    caption: str
    figure: Figure

    def write(self, path: Path) -> None:
        """Write the figure in the format that the path ends in, with the caption as its title; call it in `looks`."""
        known = WITHOUT_TIME[path.suffix.removeprefix(".")] | {"Title": printable(f"{self.heading}. {self.caption}")}
        with whole_file(path) as partial, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # boxes do for letters that its font lacks
            self.figure.savefig(partial, metadata=known)


def check_formats(formats: Sequence[str]) -> None:
    """Raise SettingsError unless figures can be written in every one of these formats, one or more."""
    unknown = [one for one in formats if one not in WITHOUT_TIME]
    if unknown or not formats:
        raise SettingsError(f"format: {', '.join(unknown) or 'none'}, expected {' or '.join(WITHOUT_TIME)}, or both")


@contextmanager
def looks() -> Iterator[None]:
    """Draw in the block as `LOOK` says, whatever the user's own settings of matplotlib are."""
    with style.context(["default", LOOK]):
        yield


def new_figure(*, height: float, columns: int = 1) -> Figure:
    """Return an empty figure of one or two columns of a page, `height` inches high."""
    figure = Figure(figsize=(COLUMN_INCHES * columns, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def panels(n: int, *, heights: Sequence[float]) -> tuple[Figure, np.ndarray]:
    """Return a figure with n panels, two side by side where there are several.

    Parameters
    ----------
    n : int
    heights : sequence of float
        Of the axes that each panel has, one above the other, in inches.

    Returns
    -------
    figure : Figure
    axes : (n, len(heights)) array of Axes
    """
    columns, rows = min(n, 2), -(-n // 2)
    figure = new_figure(height=rows * sum(heights), columns=columns)
    grid = figure.subplots(rows * len(heights), columns, squeeze=False, height_ratios=[*heights] * rows)
    places = [
        grid[len(heights) * row : len(heights) * (row + 1), column] for row in range(rows) for column in range(columns)
    ]
    for unused in places[n:]:
        for axes in unused:
            axes.set_axis_off()
    return figure, np.array(places[:n])


def unit_square(axes: Axes) -> None:
    """Give axes from 0 to 1 the same scale both ways."""
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set_xticks(np.linspace(0, 1, 6), labels=UNIT_LABELS)
    axes.set_yticks(np.linspace(0, 1, 6), labels=UNIT_LABELS)


UNIT_LABELS = ("0", "0.2", "0.4", "0.6", "0.8", "1")


def write_title(figure: Figure, heading: str, of_what: str) -> None:
    """Write the title of a figure, on one line if a column has the width for it."""
    between = ": " if len(heading) + len(of_what) < LINE_LETTERS else "\n"
    figure.suptitle(f"{heading}{between}{of_what}", x=0.02, ha="left")


def legend_below(figure: Figure, axes: Iterable[Axes], *, columns: int = 2) -> None:
    """Put one legend of what is labelled in some axes below a figure, each label once."""
    found = {label: handle for one in axes for handle, label in zip(*one.get_legend_handles_labels(), strict=True)}
    figure.legend(list(found.values()), list(found), loc="outside lower center", ncols=columns, handlelength=2.5)


def fitted(name: str, *, width: int, lines: int = 1) -> str:
    """Return a name in lines of at most `width` letters; what does not fit is left out at the end.

    Examples
    --------
    >>> fitted("moderate ground-glass opacities", width=12, lines=2)
    'moderate\\nground-glas…'
    """
    found = textwrap.wrap(printable(name), width) or [""]
    if len(found) > lines:
        found[lines - 1] = f"{found[lines - 1][: width - 1]}…"
    return "\n".join(found[:lines])
