"""A picture of one scan as it is stored, and as the epochs of a training see it, but for what is mixed into it.

Of each an axial and, below it, a coronal slice through the middle. The patient's right is on the left of the picture;
anterior (axial) or superior (coronal) is up.
"""

import os
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ctmodel.data import augment
from ctmodel.data.augment import Augmentation
from ctmodel.run.files import whole_file
from ctprep.errors import TargetError
from ctprep.store.find import find_row
from ctprep.store.store import Store, open_store

EPOCHS = 16
COLUMNS = 6
TILE_INCHES = 1.6
TITLE_INCHES = 0.4
GAPS = {"wspace": 0.03, "hspace": 0.03}


def write_augmented(
    store: Store | str | os.PathLike[str],
    scan: str,
    out: str | os.PathLike[str],
    *,
    strength: str,
    flip: bool = False,
    seed: int,
) -> Path:
    """Write a PNG of a scan in the first sixteen epochs of a training.

    Parameters
    ----------
    store : Store or path
    scan : str
        The scan's id, with or without a suffix, or the end of an id that no other has.
    out : path
        The picture; replaced if it exists.
    strength : {"off", "light", "strong"}
        How far the scan may be changed.
    flip : bool
        Mirror left and right as well.
    seed : int
        That of the training.

    Returns
    -------
    Path
        The picture.

    Raises
    ------
    ctprep.errors.ScanNotFound
        If the store holds no such scan.
    ctprep.errors.TargetError
        If `out` cannot be written or does not end in `.png`.
    """
    store, out = store if isinstance(store, Store) else open_store(store), Path(out)
    if out.suffix != ".png":
        raise TargetError(f"{out}: is not named as a picture; end it in .png")
    row = find_row(store, scan)
    stored = store.unit(store.volume(row))
    changed = augmented(stored, row, augmentation=augment.augmentation_of(strength, flip=flip), seed=seed)
    title = f"{store.scans[row]}, as stored and as {EPOCHS} epochs of a training see it ({strength})"
    figure = _figure(np.concatenate([stored[None], changed]), spacing_mm=store.spacing_mm(row), title=title)
    try:
        with whole_file(out) as partial:
            figure.savefig(partial, dpi=110, metadata={"Software": None})
    except OSError as error:
        raise TargetError(f"{out}: cannot be written ({error.strerror}); choose another place") from error
    return out


def augmented(volume: np.ndarray, row: int, *, augmentation: Augmentation, seed: int) -> np.ndarray:
    """Return a scan as each of sixteen epochs sees it.

    Parameters
    ----------
    volume : (x, y, z) float32 array
        Intensities in [0, 1].
    row : int
        The scan's row in its store.
    augmentation : Augmentation
    seed : int

    Returns
    -------
    (16, x, y, z) float32 array
    """
    draws = [
        augment.draw(augmentation, np.array([row]), shape=volume.shape, seed=seed, epoch=epoch)
        for epoch in range(EPOCHS)
    ]
    together = augment.Draws(*(np.concatenate(fields) for fields in zip(*draws, strict=True)))
    return augment.apply(
        np.repeat(volume[None, ..., None], EPOCHS, axis=0), together, nearest=augmentation.nearest
    ).numpy()[..., 0]


def _figure(volumes: np.ndarray, *, spacing_mm: tuple[float, float, float], title: str) -> Figure:
    bands = -(-len(volumes) // COLUMNS)
    width, height = TILE_INCHES * COLUMNS, TITLE_INCHES + 2 * TILE_INCHES * bands
    figure = Figure(figsize=(width, height), facecolor="black")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=9, parse_math=False, color="white", y=1 - 0.3 * TITLE_INCHES / height)
    margins = {"left": 0.005, "right": 0.995, "bottom": 0.005, "top": 1 - TITLE_INCHES / height}
    axes = figure.subplots(2 * bands, COLUMNS, squeeze=False, gridspec_kw=GAPS | margins)
    for every in axes.flat:
        every.set_axis_off()
    for place, volume in enumerate(volumes):
        band, column = divmod(place, COLUMNS)
        axial, coronal = axes[2 * band : 2 * band + 2, column]
        _, y, z = volume.shape
        _show(axial, volume[:, :, z // 2], height_over_width=spacing_mm[1] / spacing_mm[0])
        _show(coronal, volume[:, y // 2, :], height_over_width=spacing_mm[2] / spacing_mm[0])
        said = f"epoch {place}" if place else "as stored"
        axial.text(0.03, 0.9, said, color="gold", fontsize=7, transform=axial.transAxes)
    for stored in axes[:2, 0]:
        stored.text(0.02, 0.5, "R", color="gold", fontsize=7, transform=stored.transAxes, va="center")
    return figure


def _show(axes: Axes, plane: np.ndarray, *, height_over_width: float) -> None:
    """Draw a (x, y) or (x, z) plane of a RAS+ volume, right on the left and the second axis up."""
    axes.imshow(plane[::-1].T, cmap="gray", vmin=0, vmax=1, origin="lower", aspect=height_over_width)
