"""A picture of some scans of every class, as a radiologist hangs them.

The patient's right is on the left of the picture; anterior (axial) or superior (coronal) is up.
"""

import os
import warnings
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ctprep.errors import TargetError
from ctprep.files import as_target_error
from ctprep.scans.raw_files import shown
from ctprep.scans.scan import UNLABELLED
from ctprep.store.store import Store, open_store

SCANS_PER_CLASS = 6
TILE_INCHES = 1.8
LEFT_INCHES, TOP_INCHES = 0.35, 0.45
GAPS = {"wspace": 0.03, "hspace": 0.12}


def montage(
    store: Store | str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    scans_per_class: int = SCANS_PER_CLASS,
) -> Path:
    """Write a PNG with an axial and a coronal slice of some scans of every class.

    Parameters
    ----------
    store : Store or path
    out : path, optional
        The picture; replaced if it exists. Without it, a new file with the name of the store, in the current folder.
    scans_per_class : int
        Evenly spread over the rows of the class.

    Returns
    -------
    Path
        The picture.

    Raises
    ------
    TargetError
        If `out` cannot be written or does not end in `.png`, or is not given and the file exists.

    Examples
    --------
    >>> montage("out.zarr", "montage.png", scans_per_class=2).name
    'montage.png'
    """
    store = store if isinstance(store, Store) else open_store(store)
    own = Path(f"{store.path.resolve().stem}.png")
    if out is None and own.exists():
        raise TargetError(f"{own}: exists already and is left alone; name the picture to replace it")
    out = Path(own if out is None else out)
    if out.suffix != ".png":
        raise TargetError(f"{out}: is not named as a picture; end it in .png")
    with as_target_error(out), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # its font has not the letters of every name: boxes do
        draw(store, scans_per_class=scans_per_class).savefig(out, dpi=110, metadata={"Software": None})
    return out


def draw(store: Store, *, scans_per_class: int) -> Figure:
    """Return the picture of a store as a figure: one band a class, one column a scan."""
    bands = [(name, _spread(store, label, scans_per_class)) for label, name in _bands(store)]
    columns = max(len(rows) for _, rows in bands)
    width, height = LEFT_INCHES + TILE_INCHES * columns, TOP_INCHES + 2 * TILE_INCHES * len(bands)
    figure = Figure(figsize=(width, height), facecolor="black")
    figure.suptitle(
        shown(f"{store.path.name}: {len(store)} scans of {'x'.join(map(str, store.recipe.shape))} voxels"),
        fontsize=9,
        parse_math=False,
        color="white",
        y=1 - 0.3 * TOP_INCHES / height,
    )
    margins = {"left": LEFT_INCHES / width, "right": 0.995, "bottom": 0.01, "top": 1 - TOP_INCHES / height}
    axes = figure.subplots(2 * len(bands), columns, squeeze=False, gridspec_kw=GAPS | margins)
    for every in axes.flat:
        every.set_axis_off()
    for band, (name, rows) in enumerate(bands):
        for column, row in enumerate(rows):
            _draw_scan(axes[2 * band : 2 * band + 2, column], store, row)
        middle = 1 - (TOP_INCHES + (2 * band + 1) * TILE_INCHES) / height
        figure.text(0.012, middle, shown(name), color="white", fontsize=11, rotation=90, va="center", parse_math=False)
    return figure


def _bands(store: Store) -> list[tuple[int, str]]:
    present = set(store.labels.tolist())
    named = [(index, name) for index, name in enumerate(store.classes) if index in present]
    return named + ([(UNLABELLED, "unlabelled")] if UNLABELLED in present else [])


def _spread(store: Store, label: int, count: int) -> list[int]:
    rows = np.flatnonzero(store.labels == label)
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)].tolist()


def _draw_scan(pair: np.ndarray, store: Store, row: int) -> None:
    axial, coronal = pair
    volume = store.unit(store.volume(row))
    spacing_mm = store.spacing_mm(row)
    _, y, z = volume.shape
    _show(axial, volume[:, :, z // 2], height_over_width=spacing_mm[1] / spacing_mm[0])
    _show(coronal, volume[:, y // 2, :], height_over_width=spacing_mm[2] / spacing_mm[0])
    axial.set_title(shown(store.scans[row]), fontsize=6, color="white", pad=2, parse_math=False)


def _show(axes, plane: np.ndarray, *, height_over_width: float) -> None:  # type: ignore[no-untyped-def]
    """Draw a (x, y) or (x, z) plane of a RAS+ volume, right on the left and the second axis up."""
    axes.imshow(plane[::-1].T, cmap="gray", vmin=0, vmax=1, origin="lower", aspect=height_over_width)
    axes.text(0.02, 0.5, "R", color="gold", fontsize=6, transform=axes.transAxes, va="center")
