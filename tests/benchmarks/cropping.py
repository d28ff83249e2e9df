"""What --crop lungs and --lung cost a conversion, and how well the box fits: make bench-lungs.

Usage: python tests/benchmarks/cropping.py [SCAN.nii.gz …]. Each scan is prepared without and with them in turn, in the
same process: CPU time of one thread, median of nine after a warm-up, page cache warm. Without scans it takes those in
the folder that CTPREP_REAL_SCANS names, or a phantom of 512 x 512 x 48, and the largest of them as thin slices.
The boxes are of phantoms, whose lungs are known.
"""

import argparse
import gzip
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np

from ctprep.phantom import CohortSettings, make_scan
from ctprep.phantom.settings import DIFFICULTIES
from ctprep.preparation import prepare
from ctprep.scans.readers.nifti import write_nifti
from ctprep.volume import kept
from ctprep.volume.grid import VoxelGrid
from ctprep.volume.recipe import Recipe

REAL_SCANS = "CTPREP_REAL_SCANS"
RUNS = 9
THIN = 6
"""Thin slices for each slice of the scan."""
RECIPES = {
    "whole": Recipe(),
    "--crop lungs": Recipe(crop="lungs"),
    "--lung": Recipe(lung=True),
    "--crop lungs --lung": Recipe(crop="lungs", lung=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phantoms", type=int, default=20, help="of each difficulty, whose boxes are judged")
    parser.add_argument("scans", nargs="*", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        scans = arguments.scans or list(usual_scans(Path(temporary)))
        print(f"{'':<52}" + "".join(f"{name:>22}" for name in RECIPES))
        for scan in scans:
            print_costs(scan)
        print_sums(scans[-1])
        print_boxes(arguments.phantoms, Path(temporary))


def usual_scans(folder: Path) -> Iterator[Path]:
    if REAL_SCANS in os.environ:
        scans = sorted(Path(os.environ[REAL_SCANS]).glob("*.nii.gz"))
    else:
        scans = [write_phantom(folder / "phantom.nii.gz", CohortSettings(shape=(512, 512, 48)), 0)]
    yield from scans
    yield write_stack(max(scans, key=lambda path: path.stat().st_size), folder)


def write_phantom(path: Path, settings: CohortSettings, index: int) -> Path:
    scan = make_scan(settings, index)
    write_nifti(path, scan.stored, scan.affine, slope=scan.slope, inter=scan.inter)
    return path


def write_stack(source: Path, folder: Path) -> Path:
    """Write a scan with each slice several times over, and noise of its own in each: a study of thin slices."""
    image = nibabel.load(source)
    stored = np.repeat(np.asarray(image.dataobj, image.get_data_dtype()), THIN, axis=2)
    stored += np.random.default_rng(0).integers(-8, 9, stored.shape).astype(stored.dtype)
    affine = image.affine.copy()
    affine[:3, 2] /= THIN
    path = folder / f"{THIN}x_{source.name}"
    path.write_bytes(gzip.compress(nibabel.Nifti1Image(stored, affine, image.header).to_bytes(), 1, mtime=0))
    return path


def print_costs(scan: Path) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in RECIPES}
    for _ in range(RUNS + 1):
        for name, recipe in RECIPES.items():
            began = time.thread_time()
            prepare(scan, recipe)
            seconds[name].append(time.thread_time() - began)
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    shape = " x ".join(map(str, nibabel.load(scan).shape))
    row = "".join(f"{1e3 * s:>11.1f} ms {s / medians['whole']:>6.2f}x" for s in medians.values())
    print(f"{scan.name + ', ' + shape:<52}" + row.replace(" ms ", " ms  "), flush=True)


def print_sums(scan: Path) -> None:
    """Print by how much sums of neighbours differ from all voxels of a large scan."""
    recipe = Recipe(dtype="float32", crop="lungs")
    found = prepare(scan, recipe)
    bound, kept.MAX_KEPT = kept.MAX_KEPT, 1 << 40
    exact = prepare(scan, recipe)
    kept.MAX_KEPT = bound
    off = np.abs(found.volume - exact.volume) * (recipe.window[1] - recipe.window[0])
    same = "the same box" if found.record.crop_box == exact.record.crop_box else "another box"
    print(f"\n{scan.name}, neighbours added up: {same}, differs by {off.mean():.2f} HU in the mean, ", end="")
    print(f"{np.quantile(off, 0.99):.1f} HU in 99 of 100 voxels")


def print_boxes(n_scans: int, folder: Path) -> None:
    """Print how much of the lungs of phantoms is in the box, and how much of the scan."""
    for difficulty in DIFFICULTIES:
        inside, of_scan, whole = [], [], 0
        settings = CohortSettings(scans=n_scans, seed=1, difficulty=difficulty)
        for index in range(n_scans):
            scan = make_scan(settings, index)
            box = prepare(
                write_phantom(folder / "box.nii.gz", settings, index), RECIPES["--crop lungs"]
            ).record.crop_box
            if box[0][0] < 0:
                whole += 1
                continue
            lungs = VoxelGrid(scan.lung.shape, scan.affine).axis_order.apply(scan.lung) > 0
            cropped = lungs[tuple(map(slice, *box))]
            inside.append(np.count_nonzero(cropped) / np.count_nonzero(lungs))
            of_scan.append(cropped.size / lungs.size)
        print(
            f"{difficulty}: {n_scans} phantoms, {whole} stored whole; of the lungs in the box "
            f"{min(inside):.2%} at least; of the scan {np.median(of_scan):.0%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
