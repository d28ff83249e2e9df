"""What the scanner and the file give away, without a look at the anatomy: a detector of shortcuts.

A network can score well by telling hospitals or scanners apart, where they see other shares of the ill. What this
baseline scores is how far that would get it.
"""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from ctprep.store.store import Store
from ctprep.volume.grid import VoxelGrid

SCANNER_WORD = re.compile(
    r"(?<![a-z])(?:scanner|manufacturer|vendor|device|station|institution|hospital|site|cent(?:er|re)|kernel|convolution"
    r"|filter|protocol|kvp?|mas?|exposure|thickness|detector|gantry|dose|ctdi)(?![a-z])"
)
"""A column of the label table is about the scanner if its name has one of these words."""

MAX_CATEGORIES = 12
"""Of a column of text, the most frequent; what is rarer counts as none of them."""
SOFT_TISSUE_HU = (-50.0, 100.0)
MIN_NOISE_VOXELS = 100

NAME = "metadata"
N_OF_VOLUME = 1


def describe_volume(hu: np.ndarray) -> np.ndarray:
    """Estimate the noise of a volume from the second differences along x within soft tissue.

    Parameters
    ----------
    hu : (x, y, z) array
        Attenuation in HU.

    Returns
    -------
    (1,) float64 array
        Standard deviation in HU of independent noise that would give these differences; NaN without soft tissue.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(40, 10, (40, 40, 10))
    >>> describe_volume(noise).round().tolist()
    [10.0]
    """
    lower, upper = SOFT_TISSUE_HU
    is_soft = (hu > lower) & (hu < upper)
    middle = is_soft[:-2] & is_soft[1:-1] & is_soft[2:]
    if np.count_nonzero(middle) < MIN_NOISE_VOXELS:
        return np.array([np.nan])
    differences = (hu[:-2] - 2 * hu[1:-1] + hu[2:])[middle]
    return np.array([1.4826 * float(np.median(np.abs(differences))) / np.sqrt(6)])


def describe_records(store: Store, rows: np.ndarray) -> np.ndarray:
    """Return what the store's tables know of the scanner and the file of some scans.

    Parameters
    ----------
    store : Store
    rows : (n,) int array

    Returns
    -------
    (n, k) float64 array
        Spacing and shape of the source along canonical axes, its non-finite voxels and its padding, the lowest and
        the 1 % quantile of its HU, its orientation, its orientation and lowest HU as one kind, as scanners differ in
        both, and the columns of the label table that are about the scanner; categories as 0 and 1.
    """
    records = [store.records[row] for row in rows.tolist()]
    grids = [VoxelGrid(record.source_shape, np.array(record.source_affine)) for record in records]
    columns = [
        *np.array([grid.canonical().spacing_mm for grid in grids]).reshape(-1, 3).T,
        *np.array([grid.canonical().shape for grid in grids], dtype=float).reshape(-1, 3).T,
        np.log1p([record.nonfinite for record in records]),
        np.log1p([max(0, record.padding) for record in records]),
        *np.array([record.hu_quantile[:2] for record in records]).reshape(-1, 2).T,
        *_categories([grid.orientation for grid in grids]),
        *_categories([_kind_of_file(grid, record.hu_quantile[0]) for grid, record in zip(grids, records, strict=True)]),
    ]
    for name in scanner_columns(tuple(store.meta)):
        columns += _column(store.meta[name][rows])
    return np.stack(columns, axis=1) if len(rows) else np.empty((0, len(columns)))


def _kind_of_file(grid: VoxelGrid, lowest_hu: float) -> str:
    return f"{grid.orientation} {lowest_hu:.0f}"


def scanner_columns(names: Sequence[str]) -> list[str]:
    """Return the names that are about the scanner, sorted; others may be about the patient, or be the answer.

    Examples
    --------
    >>> scanner_columns(["age", "Scanner model", "slice_thickness_mm", "severity"])
    ['Scanner model', 'slice_thickness_mm']
    """
    return sorted(name for name in names if SCANNER_WORD.search(name.lower()))


def _column(values: np.ndarray) -> list[np.ndarray]:
    """Return a column as numbers, NaN where there is none, or as one column of 0 and 1 for each category."""
    texts = [str(value).strip() for value in values.tolist()]
    try:
        numbers = np.array([float(text) if text else np.nan for text in texts])
    except ValueError:
        return _categories(texts)
    return [np.where(np.isfinite(numbers), numbers, np.nan)]


def _categories(texts: list[str]) -> list[np.ndarray]:
    counted = sorted(Counter(texts).items(), key=lambda pair: (-pair[1], pair[0]))
    return [np.array([text == category for text in texts], dtype=float) for category, _ in counted[:MAX_CATEGORIES]]
