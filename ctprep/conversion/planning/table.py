"""What a plan shows: a row of facts for each scan, and all of them in sum."""

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np

from ctprep.scans.readers.header import ScanHeader
from ctprep.scans.scan import UNLABELLED, Scan
from ctprep.volume.grid import VoxelGrid

MAX_SHOWN = 5
"""Scans of one action and one reason that the text names; the table has all."""

MIN_OBLIQUE_DEGREES = 1.0
"""Below it an angle is rounding, or a patient who lay straight."""

HU_ASSUMED = "stored values are taken for HU, because the header has no slope and intercept"
OBLIQUE = "oblique: its axes are not rotated to those of the patient"
NO_LABEL = "no label"
NO_PATIENT = "no patient is named: the scan counts as a patient of its own"
NO_SUBSET = "in no subset"

Numbers = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class PlannedScan:
    """What is known of one scan before its voxels are read, and what will become of it.

    Parameters
    ----------
    scan, action, reason : str
    class_name, patient, split : str
        Empty where there is none.
    shape : tuple of int, optional
        Voxels along the patient's x, y and z; None where the header cannot be read.
    spacing_mm, extent_mm : tuple of float, optional
        Size of a voxel, and of the whole scan.
    orientation : str
        Three letters, such as LPS: the directions in which the axes of the file run.
    code : str
        Of the rejection, where the scan is rejected now.
    rejected_before : str
        The code with which the store in the target's place rejected it.
    notes : tuple of str
        What is inferred of this scan.
    remarks : tuple of str
        What is remarkable of it, as the notes on all scans count it.
    """

    scan: str
    action: str
    reason: str
    class_name: str = ""
    patient: str = ""
    split: str = ""
    shape: tuple[int, int, int] | None = None
    spacing_mm: Numbers | None = None
    extent_mm: Numbers | None = None
    orientation: str = ""
    code: str = ""
    rejected_before: str = ""
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the facts, ready for JSON."""
        return {"class" if name == "class_name" else name: value for name, value in asdict(self).items()}

    def __str__(self) -> str:
        known = [
            f"class {self.class_name}" if self.class_name else "",
            f"patient {self.patient}" if self.patient not in ("", self.scan) else "",
            self.split,
        ]
        if self.shape and self.spacing_mm:
            known += [_sides(self.shape), f"{_sides(self.spacing_mm)} mm", self.orientation]
        return "  ".join([f"{self.action:<8}{self.scan}", ", ".join(filter(None, known)) or "-", self.reason])


def planned_scan(
    scan: Scan, classes: Sequence[str], header: ScanHeader | None, *, has_split: bool, **decided: Any
) -> PlannedScan:
    """Return the row of a scan.

    Parameters
    ----------
    scan : Scan
    classes : sequence of str
        Names of the classes.
    header : ScanHeader, optional
        None where it cannot be read.
    has_split : bool
        Whether any scan is in a subset.
    **decided
        `action`, `reason`, `code`, `rejected_before` and `remarks`.
    """
    notes = [
        *[NO_LABEL] * (scan.label == UNLABELLED and bool(classes)),
        *[NO_PATIENT] * (scan.patient == scan.id),
        *[NO_SUBSET] * (has_split and not scan.split),
    ]
    place: dict[str, Any] = {}
    if header is not None:
        axes = _axes_of(header.grid.affine[:3, :3].tobytes())
        place = _place(header.grid.shape, axes)
        notes += [HU_ASSUMED] * ((header.slope, header.inter) == (1, 0))
        notes += [OBLIQUE] * (axes.oblique_degrees > MIN_OBLIQUE_DEGREES)
    name = "" if scan.label == UNLABELLED else classes[scan.label] if scan.label < len(classes) else str(scan.label)
    return PlannedScan(
        scan.id, class_name=name, patient=scan.patient, split=scan.split, notes=tuple(notes), **place, **decided
    )


def _place(shape: tuple[int, int, int], axes: "_Axes") -> dict[str, Any]:
    sides = tuple(shape[axis] for axis in axes.source)
    extent = tuple(_rounded(side * mm) for side, mm in zip(sides, axes.spacing_mm, strict=True))
    spacing = tuple(map(_rounded, axes.spacing_mm))
    return {"shape": sides, "spacing_mm": spacing, "extent_mm": extent, "orientation": axes.orientation}


@dataclass(frozen=True, slots=True)
class _Axes:
    """The axes of a file: which is the patient's x, y and z, how far its voxels lie apart, and where it runs."""

    source: tuple[int, int, int]
    spacing_mm: Numbers
    orientation: str
    oblique_degrees: float


@lru_cache(maxsize=1024)
def _axes_of(linear: bytes) -> _Axes:
    """Return the axes of the upper left part of an affine, which many scans share."""
    affine = np.eye(4)
    affine[:3, :3] = np.frombuffer(linear).reshape(3, 3)
    grid = VoxelGrid((1, 1, 1), affine)
    source = grid.axis_order.source
    x, y, z = (grid.spacing_mm[axis] for axis in source)
    return _Axes(source, (x, y, z), grid.orientation, oblique_degrees(grid))


def oblique_degrees(grid: VoxelGrid) -> float:
    """Return the largest angle between an axis of a grid and the axis of the world closest to it.

    Examples
    --------
    >>> turned = np.array([[4, -3, 0, 0], [3, 4, 0, 0], [0, 0, 5, 0], [0, 0, 0, 1]])
    >>> round(oblique_degrees(VoxelGrid((4, 4, 4), turned)))
    37
    """
    directions = np.abs(grid.affine[:3, :3]) / np.sqrt((grid.affine[:3, :3] ** 2).sum(axis=0))
    closest = min(directions[world, axis] for world, axis in enumerate(grid.axis_order.source))
    return float(np.degrees(np.arccos(min(closest, 1.0))))


def _rounded(number: float) -> float:
    return float(f"{number:.5g}")


def summary_of(scans: Sequence[PlannedScan], classes: Iterable[str]) -> dict[str, Any]:
    """Return what all scans have in sum, ready for JSON.

    Returns
    -------
    dict
        The numbers of scans of each class, subset, orientation and note; the number of patients that are named, and
        of scans without one; the least and the greatest shape, spacing and extent.
    """
    by_class = Counter(scan.class_name for scan in scans)
    whose = [scan.patient for scan in scans if scan.patient and scan.patient != scan.scan]
    known = [scan for scan in scans if scan.shape]
    return {
        "scans": len(scans),
        "classes": {name: by_class[name] for name in classes},
        "without_label": by_class[""],
        "subsets": dict(sorted(Counter(scan.split for scan in scans if scan.split).items())),
        "patients": len(set(whose)),
        "without_patient": len(scans) - len(whose),
        **{name: _range([getattr(scan, name) for scan in known]) for name in ("shape", "spacing_mm", "extent_mm")},
        "orientations": dict(sorted(Counter(scan.orientation for scan in known).items())),
        "notes": dict(sorted(Counter(note for scan in scans for note in scan.notes).items())),
    }


def _range(rows: Sequence[Numbers]) -> list[list[float]]:
    """Return the least and the greatest x, y and z; nothing of no rows."""
    table = np.array(rows)
    return [table.min(axis=0).tolist(), table.max(axis=0).tolist()] if rows else []


def summary_lines(summary: dict[str, Any]) -> list[str]:
    """Return a summary as lines for people."""
    without = summary["without_patient"]
    entries = {
        "scans": f"{summary['scans']:,}",
        "classes": _counts(summary["classes"] | {"no label": summary["without_label"]}),
        "subsets": _counts(summary["subsets"]),
        "patients": f"{summary['patients']:,} named" + (f", {_scans(without)} without one" if without else ""),
        "shape": _span(summary["shape"]),
        "spacing in mm": _span(summary["spacing_mm"]),
        "extent in mm": _span(summary["extent_mm"]),
        "orientation": _counts(summary["orientations"]),
    }
    return [
        *(f"{name:<15}{value}" for name, value in entries.items() if value),
        *(f"note: {_scans(count)}: {note}" for note, count in summary["notes"].items()),
    ]


def _scans(count: int) -> str:
    return f"{count:,} scan{'s' * (count != 1)}"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)


def _span(bounds: Sequence[Sequence[float]]) -> str:
    return " to ".join(dict.fromkeys(map(_sides, bounds)))


def _sides(numbers: Sequence[float]) -> str:
    return " x ".join(f"{number:g}" for number in numbers)


def scan_lines(scans: Iterable[PlannedScan]) -> list[str]:
    """Return a line for the first scans of each action and reason, and how many more there are of it."""
    kinds: defaultdict[tuple[str, str], list[PlannedScan]] = defaultdict(list)
    for scan in scans:
        kinds[scan.action, scan.code or scan.reason].append(scan)
    lines: list[str] = []
    for (action, why), those in sorted(kinds.items()):
        lines += map(str, those[:MAX_SHOWN])
        if (more := len(those) - MAX_SHOWN) > 0:
            lines.append(f"{action:<8}and {more:,} more: {why}")
    return lines


CSV_HEADER = tuple(
    column
    for one in fields(PlannedScan)
    for column in (
        [f"{one.name}_{axis}" for axis in "xyz"]
        if one.name in ("shape", "spacing_mm", "extent_mm")
        else ["class" if one.name == "class_name" else one.name]
    )
)


def csv_lines(scans: Iterable[PlannedScan]) -> list[str]:
    """Return a table of all scans as the lines of a CSV file, its header first."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    for scan in scans:
        cells: list[Any] = []
        for one in fields(PlannedScan):
            value = getattr(scan, one.name)
            if one.name in ("shape", "spacing_mm", "extent_mm"):
                cells += value or ["", "", ""]
            else:
                cells.append("; ".join(value) if isinstance(value, tuple) else value)
        writer.writerow(cells)
    return written.getvalue().splitlines()
