"""What is in a store, in a few numbers that a program can read too."""

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ctprep.scans.readers.coverage import unusual_coverage
from ctprep.scans.scan import UNLABELLED
from ctprep.store.store import Store, open_store
from ctprep.volume.grid import VoxelGrid


class Summary(dict[str, Any]):
    """What is in a store, by name, ready for JSON."""

    def to_dict(self) -> dict[str, Any]:
        """Return the plain dictionary."""
        return dict(self)

    def lines(self) -> list[str]:
        """Return a line for each entry."""
        return [f"{name.replace('_', ' '):<20}{_shown(value)}" for name, value in self.items()]


def summarize(store: Store | str | os.PathLike[str]) -> Summary:
    """Return what `ctprep info` shows.

    Parameters
    ----------
    store : Store or path

    Returns
    -------
    Summary
        Counts of scans, patients, classes and rejections, the recipe, ranges of the sources, and the digest.

    Examples
    --------
    >>> from ctprep.store.store import open_store
    >>> summary = summarize(open_store("out.zarr"))
    >>> summary["scans"], summary["patients"], summary["classes"]
    (17, 17, {'normal': 8, 'abnormal': 8})
    """
    store = store if isinstance(store, Store) else open_store(store)
    counts = Counter(store.labels.tolist())
    shapes, affines = store.records.column("source_shape").tolist(), store.records.column("source_affine")
    grids = [VoxelGrid(tuple(shape), affine) for shape, affine in zip(shapes, affines, strict=True)]
    canonical = [grid.canonical() for grid in grids]
    return Summary(
        {
            "scans": len(store),
            "patients": len(set(store.patients)),
            "classes": {name: counts[index] for index, name in enumerate(store.classes)},
            "unlabelled": counts[UNLABELLED],
            **({"split": dict(Counter(store.splits))} if store.splits else {}),
            "rejected": dict(sorted(Counter(rejection.code for rejection in store.rejected).items())),
            **({"not_cropped": len(store.not_cropped)} if store.recipe.crop != "none" else {}),
            **({"without_lungs": len(store.without_lungs)} if store.recipe.lung else {}),
            "columns": sorted(store.meta),
            "recipe": store.recipe.to_dict(),
            "source_shape": _range([grid.shape for grid in canonical]),
            "source_spacing_mm": _range([grid.spacing_mm for grid in canonical]),
            "source_orientation": dict(sorted(Counter(grid.orientation for grid in grids).items())),
            **_unusual(grids),
            **_accepted(store),
            "nonfinite_voxels": int(store.records.column("nonfinite").sum()),
            "padding_voxels": int(store.records.column("padding").clip(0).sum()),
            "volume_bytes": _bytes(store),
            "digest": store.digest(),
        }
    )


def _unusual(grids: Sequence[VoxelGrid]) -> dict[str, dict[str, int]]:
    """Return how many scans have which unusual coverage, where one has."""
    counts = Counter(kind for grid in grids for kind, _ in unusual_coverage(grid))
    return {"unusual_coverage": dict(sorted(counts.items()))} if counts else {}


def _accepted(store: Store) -> dict[str, dict[str, int]]:
    """Return for how many scans which rejection was accepted, and which orientation was stated, where it was."""
    codes = Counter(code for accepted in store.records.text("accepted") for code in accepted.split())
    stated = Counter(filter(None, store.records.text("stated_orientation")))
    counts = {"accepted": codes, "stated_orientation": stated}
    return {name: dict(sorted(count.items())) for name, count in counts.items() if count}


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(entry)}" for key, entry in value.items()) or "none"
    if isinstance(value, list) and value and isinstance(value[0], list):
        return " to ".join(" x ".join(f"{number:g}" for number in bound) for bound in value)
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _range(rows: list[tuple[float, ...]]) -> list[list[float]]:
    """Return the least and the greatest x, y and z."""
    table = np.array(rows)
    return [[float(f"{value:.4g}") for value in bound] for bound in (table.min(axis=0), table.max(axis=0))]


def _bytes(store: Store) -> int:
    return sum(file.stat().st_size for file in (store.path / "volume").iterdir())
