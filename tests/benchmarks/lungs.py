"""How well lungs are found in phantoms, whose lungs are known, and how long it takes: make bench-lungs.

Each scan is resampled as `ctprep convert` does, to the stored 64 x 64 x 32 voxels and to a coarse pass of about 4 mm,
and its mask with it: a voxel that is half lung or more is lung. A slab is the middle quarter of the slices. The ten
worst are drawn with their true outline in green and the found one in red.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ctprep.phantom import CohortSettings, PhantomScan, make_scan
from ctprep.phantom.settings import DIFFICULTIES
from ctprep.preparation import prepare
from ctprep.volume.grid import Triple, VoxelGrid, stretch
from ctprep.volume.intensity import hu_from_unit
from ctprep.volume.lungs import Lungs, find_lungs
from ctprep.volume.recipe import Recipe
from ctprep.volume.resample import SlabResampler, file_axis_weights

STORED: Triple = (64, 64, 32)
COARSE_MM = 4.0
WINDOW = (-1000.0, 400.0)
WORST = 10
REAL_SCANS = "CTPREP_REAL_SCANS"
"""An environment variable that names a folder of real chest CTs, .nii.gz."""


@dataclass(frozen=True, eq=False)
class Found:
    """The lungs that were found in one volume, and those that are there."""

    name: str
    kind: str
    hu: np.ndarray
    spacing_mm: tuple[float, float, float]
    truth: np.ndarray
    lungs: Lungs
    ms: float

    @property
    def dice(self) -> float:
        """Twice the overlap over the sum of both."""
        return 2 * np.count_nonzero(self.truth & self.lungs.mask) / (self.truth.sum() + self.lungs.mask.sum())


def resampled(array: np.ndarray, grid: VoxelGrid, shape: Triple) -> np.ndarray:
    """Return an array in file axes on the canonical grid of a store; outside is 0."""
    order = grid.axis_order
    resampler = SlabResampler(file_axis_weights(grid.shape, order, stretch(grid.canonical().shape, shape)))
    resampler.add(np.ascontiguousarray(array.T, dtype=np.float32))
    return order.transpose(resampler.result())


def coarse_shape(grid: VoxelGrid) -> Triple:
    """Return the shape of a canonical grid in voxels of `COARSE_MM`, where it has smaller ones."""
    x, y, z = (max(1, round(n * min(1, mm / COARSE_MM))) for n, mm in zip(grid.shape, grid.spacing_mm, strict=True))
    return x, y, z


def find(name: str, kind: str, hu: np.ndarray, spacing_mm: tuple[float, float, float], truth: np.ndarray) -> Found:
    """Find the lungs of one volume, in how much time of this thread."""
    began = time.thread_time()
    lungs = find_lungs(hu, spacing_mm=spacing_mm)
    return Found(name, kind, hu, spacing_mm, truth, lungs, 1e3 * (time.thread_time() - began))


def found_in(name: str, scan: PhantomScan) -> Iterator[Found]:
    """Yield what is found of a scan at each resolution, and in a slab of it."""
    grid = VoxelGrid(scan.stored.shape, scan.affine)
    lower, upper = WINDOW
    above_air = np.clip(scan.stored * np.float32(scan.slope) + np.float32(scan.inter), lower, upper) - lower
    for kind, shape in (("stored", STORED), ("coarse", coarse_shape(grid.canonical()))):
        hu = resampled(above_air, grid, shape) + np.float32(lower)
        truth = resampled(scan.lung, grid, shape) >= 0.5
        spacing_mm = grid.canonical().resized(shape).spacing_mm
        yield find(name, kind, hu, spacing_mm, truth)
        if kind == "stored":
            middle = slice(shape[2] * 3 // 8, shape[2] * 5 // 8)
            yield find(name, "slab", hu[..., middle], spacing_mm, truth[..., middle])


def print_real(folder: Path) -> None:
    """Print what is found in real scans, whose lungs nobody outlined."""
    for path in sorted(folder.glob("*.nii.gz")):
        prepared = prepare(path, Recipe(shape=STORED, window=WINDOW, dtype="float32"))
        spacing_mm = VoxelGrid(STORED, np.array(prepared.record.affine)).spacing_mm
        hu = hu_from_unit(prepared.volume, lower=WINDOW[0], upper=WINDOW[1])
        lungs = find_lungs(hu, spacing_mm=spacing_mm)
        doubts = "; ".join(lungs.doubts) or "no doubt"
        said = lungs.failure or f"left {lungs.left_ml:.0f} ml, right {lungs.right_ml:.0f} ml; {doubts}"
        print(f"{path.name}: {said}")


def draw(cases: list[Found], path: Path) -> None:
    """Draw slices of some cases, a row for each: four axial ones from below, and two coronal ones."""
    figure = Figure(figsize=(13, 2.1 * len(cases)))
    axes = figure.subplots(len(cases), 6, squeeze=False)
    for row, case in zip(axes, cases, strict=True):
        x_mm, y_mm, z_mm = case.spacing_mm
        slices = np.flatnonzero(case.truth.any(axis=(0, 1)))
        axial = [slices[int(share * (len(slices) - 1))] for share in (0.05, 0.3, 0.6, 0.92)]
        coronal = [case.hu.shape[1] // 3, case.hu.shape[1] // 2]
        planes = [(np.s_[:, :, k], y_mm / x_mm) for k in axial] + [(np.s_[:, j, :], z_mm / x_mm) for j in coronal]
        for axis, (plane, aspect) in zip(row, planes, strict=True):
            axis.imshow(case.hu[plane].T, cmap="gray", vmin=-1000, vmax=300, aspect=aspect, origin="lower")
            for mask, colour in ((case.truth, "lime"), (case.lungs.mask, "red")):
                if mask[plane].any():
                    axis.contour(mask[plane].T.astype(float), [0.5], colors=colour, linewidths=0.8)
            axis.set_axis_off()
        row[0].set_title(f"{case.name}, {case.kind}: Dice {case.dice:.3f}", fontsize=8, loc="left")
    figure.subplots_adjust(0, 0, 1, 0.98, 0.01, 0.12)
    figure.savefig(path, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=20, help="of each difficulty and seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--picture", type=Path, help="where to draw the ten worst stored volumes, .png")
    arguments = parser.parse_args()
    print(f"{arguments.scans} scans of each of {arguments.seeds} seeds")
    columns = f"{'Dice':>7}{'p10':>8}{'worst':>8}  {'which':<16}{'failed':>7}{'median ms':>11}"
    print(f"{'difficulty':<12}{'voxels':<10}{columns}")
    stored = []
    for difficulty in DIFFICULTIES:
        cases = []
        for seed in range(1, arguments.seeds + 1):
            settings = CohortSettings(scans=arguments.scans, seed=seed, difficulty=difficulty)
            for index in range(arguments.scans):
                cases += found_in(f"{difficulty} {seed}/{index}", make_scan(settings, index))
        for kind in ("stored", "coarse", "slab"):
            of_kind = sorted((case for case in cases if case.kind == kind), key=lambda case: case.dice)
            dice, ms = np.array([case.dice for case in of_kind]), np.median([case.ms for case in of_kind])
            failed = sum(case.lungs.failure is not None for case in of_kind)
            print(
                f"{difficulty:<12}{kind:<10}{dice.mean():>7.4f}{np.quantile(dice, 0.1):>8.3f}{dice[0]:>8.3f}  "
                f"{of_kind[0].name:<16}{failed:>7}{ms:>11.1f}",
                flush=True,
            )
            stored += of_kind if kind == "stored" else []
    if REAL_SCANS in os.environ:
        print_real(Path(os.environ[REAL_SCANS]))
    else:
        print(f"no real scans: name a folder of them with {REAL_SCANS}")
    if arguments.picture:
        draw(sorted(stored, key=lambda case: case.dice)[:WORST], arguments.picture)


if __name__ == "__main__":
    main()
