"""A cross-validation over the trainings of its folds, each by itself: the same runs, in the same process.

Usage: python tests/benchmarks/crossval.py [--network lungs] [--scans 60] [--folds 3] [--epochs 10] [--rounds 3]

The folds are trained one after the other as `ctmodel train` does it, each of which opens and reads the store and
describes its scans for the baselines; then cross-validated, which does that once and scores all together. Both in turn;
the first round is not counted. The time of the processor is shown beside that of the clock, for machines that do other
things too.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ctmodel.run.records import CrossvalRecord
from ctmodel.settings import FoldSettings, TrainSettings
from ctmodel.training.crossval import cross_validate, fold_settings
from ctmodel.training.train import train
from ctprep import convert, find_scans
from ctprep.phantom import CohortSettings, write_cohort
from ctprep.volume.recipe import Recipe

SEED = 0


def make_store(folder: Path, scans: int) -> Path:
    """Convert a cohort of small scans to volumes of the default shape."""
    settings = CohortSettings(scans=scans, shape=(64, 64, 32), difficulty="easy", seed=SEED)
    write_cohort(folder / "raw", settings=settings)
    catalog = find_scans(
        folder / "raw",
        labels=folder / "raw" / "truth.csv",
        classes={"normal": ["CT-0"], "abnormal": ["CT-1", "CT-2", "CT-3", "CT-4"]},
    )
    convert(catalog, folder / "out.zarr", recipe=Recipe())
    return folder / "out.zarr"


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds of the clock and of the processor that some work takes."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="lungs")
    parser.add_argument("--scans", type=int, default=60)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    settings = TrainSettings(network=given.network, epochs=given.epochs, patience=given.epochs, seed=SEED)
    folds = FoldSettings(folds=given.folds)
    each = fold_settings(settings, CrossvalRecord(folds))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        store = make_store(folder, given.scans)

        def alone(number: int) -> None:
            for one in each:
                train(store, folder / f"alone-{number}" / f"fold-{one.fold}", one)

        def together(number: int) -> None:
            cross_validate(store, folder / f"together-{number}", settings, folds=folds)

        ratios = []
        for number in range(given.rounds + 1):
            ours, theirs = timed(lambda: together(number)), timed(lambda: alone(number))  # noqa: B023 - called at once
            ratios.append([mine / other for mine, other in zip(ours, theirs, strict=True)])
            print(f"round {number}: {ours[0]:.1f} s together, {theirs[0]:.1f} s alone", flush=True)
    print(f"{given.network}, {given.scans} scans, {given.folds} folds of {given.epochs} epochs")
    for name, found in zip(("clock", "processor"), zip(*ratios[1:], strict=True), strict=True):
        print(
            f"together over alone, {name:<10}{statistics.median(found):>7.3f}  ({min(found):.3f} to {max(found):.3f})"
        )


if __name__ == "__main__":
    main()
