"""From a finished run to a model card with figures."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ctmodel.errors import RunError
from ctmodel.run.files import whole_file
from ctmodel.views.canvas import check_formats, looks
from ctmodel.views.card import card
from ctmodel.views.content import read_content
from ctmodel.views.figures import draw_figures

FORMATS = ("png", "svg")


@dataclass(frozen=True)
class Report:
    """What was written of a run.

    Attributes
    ----------
    card : Path
        The model card, Markdown that shows the figures.
    figures : tuple of Path
        One for each figure and format.

    Examples
    --------
    >>> report("run", "report", formats=["png"]).figures[0].as_posix()
    'report/figures/scores.png'
    """

    card: Path
    figures: tuple[Path, ...]

    def lines(self) -> list[str]:
        """Return what the command prints: the files."""
        return [str(path) for path in (self.card, *self.figures)]

    def to_dict(self) -> dict[str, Any]:
        """Return the files, ready for JSON."""
        return {"card": str(self.card), "figures": list(map(str, self.figures))}


def report(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    formats: Sequence[str] = FORMATS,
) -> Report:
    """Write the model card of a run, and its figures.

    Parameters
    ----------
    run : path
        A finished run. Its files alone are read: neither its store nor TensorFlow need be there.
    out : path, optional
        The folder for `card.md` and the folder `figures`; the run itself where it is not given. Files of these names
        are replaced. The same run gives the same bytes.
    formats : sequence of {"png", "svg"}
        Of the figures; the card shows the first.

    Returns
    -------
    Report

    Raises
    ------
    SettingsError
        If figures are not written in such a format.
    RunMissing, RunDamaged
        If the run is not finished, or a file of it cannot be read or contradicts another.
    RunError
        If the files cannot be written.

    Examples
    --------
    >>> done = report("run", formats=["png"])
    >>> done.card.read_text().splitlines()[0]
    '# Model card: the compact network for normal or abnormal'
    """
    check_formats(formats)
    content = read_content(run)
    folder = Path(run if out is None else out)
    try:
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        with looks():
            pictures = list(draw_figures(content))
            figures = [folder / "figures" / f"{one.name}.{suffix}" for one in pictures for suffix in formats]
            for picture in pictures:
                for suffix in formats:
                    picture.write(folder / "figures" / f"{picture.name}.{suffix}")
        with whole_file(folder / "card.md") as partial:
            partial.write_text(card(content, pictures, suffix=formats[0]), encoding="utf-8")
    except OSError as error:
        raise RunError(f"{folder}: cannot be written ({error.strerror}); choose another folder with --out") from error
    return Report(folder / "card.md", tuple(figures))
