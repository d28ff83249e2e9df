"""How well readers that see no shape and no place tell phantom scans apart: the AUROC of three lung statistics.

Run `python tests/benchmarks/phantom_readers.py --scans 200 --seed 0`. Easy should reach 0.80 with the best reader; on
hard every reader should stay between 0.35 and 0.65, so that what a network learns there is not the histogram.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from sklearn.metrics import roc_auc_score

from ctprep.phantom import CohortSettings, PhantomScan, make_scan
from ctprep.phantom.settings import DIFFICULTIES

READERS = {
    "mean lung HU": np.mean,
    "share in -700..-300 HU": lambda hu: np.mean((hu > -700) & (hu < -300)),
    "95th percentile of lung HU": lambda hu: np.percentile(hu, 95),
}
RESAMPLES = 1000


def lung_hu(scan: PhantomScan) -> np.ndarray:
    """Return the attenuation of the lung's voxels, in HU."""
    return scan.stored[scan.lung > 0].astype(np.float64) * scan.slope + scan.inter


def read_cohort(settings: CohortSettings) -> tuple[np.ndarray, np.ndarray]:
    """Return the class of each scan, (scan,) bool, and what each reader says, (reader, scan)."""
    ill, said = [], []
    for index in range(settings.scans):
        scan = make_scan(settings, index)
        ill.append(scan.truth["label"] != "CT-0")
        said.append([read(lung_hu(scan)) for read in READERS.values()])
    return np.array(ill), np.array(said).T


def interval(ill: np.ndarray, said: np.ndarray) -> tuple[float, float]:
    """Return the bootstrap's 95 % interval of the AUROC, resampled within the classes."""
    rng = np.random.default_rng(0)
    groups = [np.flatnonzero(ill), np.flatnonzero(~ill)]
    draws = (np.concatenate([rng.choice(group, len(group)) for group in groups]) for _ in range(RESAMPLES))
    low, high = np.percentile([roc_auc_score(ill[draw], said[draw]) for draw in draws], (2.5, 97.5))
    return float(low), float(high)


def main() -> None:
    """Print one table: a row per difficulty and reader."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--difficulty", choices=DIFFICULTIES, action="append")
    arguments = parser.parse_args()
    print(f"{arguments.scans} scans, seed {arguments.seed}")
    print(f"{'difficulty':<12}{'reader':<28}{'AUROC':>7}   95 % interval   s/scan")
    for difficulty in arguments.difficulty or DIFFICULTIES:
        began = time.perf_counter()
        ill, said = read_cohort(CohortSettings(scans=arguments.scans, seed=arguments.seed, difficulty=difficulty))
        seconds = (time.perf_counter() - began) / arguments.scans
        for reader, values in zip(READERS, said):
            low, high = interval(ill, values)
            auroc = roc_auc_score(ill, values)
            print(f"{difficulty:<12}{reader:<28}{auroc:>7.3f}   {low:.3f} - {high:.3f}   {seconds:>6.2f}", flush=True)


if __name__ == "__main__":
    main()
