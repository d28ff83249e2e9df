"""What is in a store, in a few numbers that a program can read too."""

from collections import Counter
from typing import Any

import numpy as np

from ctprep.scans.scan import UNLABELLED
from ctprep.store.store import Store
from ctprep.volume.grid import VoxelGrid


def summarize(store: Store) -> dict[str, Any]:
    """Return what `ctprep info` shows, ready for JSON.

    Parameters
    ----------
    store : Store

    Returns
    -------
    dict
        Counts of scans, patients, classes and rejections, the recipe, ranges of the sources, and the digest.
    """
    counts = Counter(store.labels.tolist())
    shapes, affines = store.records.column("source_shape").tolist(), store.records.column("source_affine")
    grids = [VoxelGrid(tuple(shape), affine) for shape, affine in zip(shapes, affines, strict=True)]
    canonical = [grid.canonical() for grid in grids]
    return {
        "scans": len(store),
        "patients": len(set(store.patients)),
        "classes": {name: counts[index] for index, name in enumerate(store.classes)},
        "unlabelled": counts[UNLABELLED],
        "rejected": dict(sorted(Counter(rejection.code for rejection in store.rejected).items())),
        "columns": sorted(store.meta),
        "recipe": store.recipe.to_dict(),
        "source_shape": _range([grid.shape for grid in canonical]),
        "source_spacing_mm": _range([grid.spacing_mm for grid in canonical]),
        "source_orientation": dict(sorted(Counter(grid.orientation for grid in grids).items())),
        "nonfinite_voxels": int(store.records.column("nonfinite").sum()),
        "volume_bytes": _bytes(store),
        "digest": store.digest(),
    }


def _range(rows: list[tuple[float, ...]]) -> list[list[float]]:
    """Return the least and the greatest x, y and z."""
    table = np.array(rows)
    return [[float(f"{value:.4g}") for value in bound] for bound in (table.min(axis=0), table.max(axis=0))]


def _bytes(store: Store) -> int:
    return sum(file.stat().st_size for file in (store.path / "volume").iterdir())
