"""A small cohort of drawn scans on disk, and settings that train on it in seconds."""

import csv
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np

from ctmodel.settings import TrainSettings
from ctprep.conversion.convert import convert
from ctprep.scans.catalog import find_scans
from ctprep.volume.recipe import Recipe

SHAPE = (16, 16, 8)
CLASSES = {"normal": ["CT-0"], "abnormal": ["CT-1"]}
TINY = TrainSettings(network="compact", epochs=3, batch_size=4, learning_rate=0.003, precision="float32")


@dataclass(frozen=True)
class Cohort:
    """Raw scans in class folders, with a table that says whose they are."""

    raw: Path

    @property
    def files(self) -> list[Path]:
        return sorted(self.raw.glob("*/*.nii.gz"))

    def store(self, out: Path, *, classes=None, **recipe) -> Path:
        catalog = find_scans(self.raw, labels=self.raw / "labels.csv", classes=classes or CLASSES)
        convert(catalog, out, recipe=Recipe(**{"shape": SHAPE} | recipe), scheduler="synchronous")
        return out


def draw_scan(*, seed: int, is_abnormal: bool) -> np.ndarray:
    """Return (20, 20, 10) HU: air around a body with lungs, and for the abnormal a dense patch in one of them."""
    generator = np.random.default_rng(seed)
    hu = np.full((20, 20, 10), -1000.0)
    hu[2:18, 3:17] = 40.0
    hu[4:9, 5:15, 1:9] = hu[11:16, 5:15, 1:9] = -850.0
    if is_abnormal:
        hu[5:9, 6:11, 2:7] = -100.0
    return np.rint(hu + generator.normal(0, 15, hu.shape)).astype(np.int16)


def make_cohort(
    raw: Path,
    *,
    n_patients: int,
    first_seed: int = 0,
    prefix: str = "p",
    scans_each: int = 1,
    folders: tuple[str, ...] = ("CT-0", "CT-1"),
) -> Cohort:
    """Write a cohort: patients take turns in the class folders; one scan has no label."""
    rows = []
    for patient in range(n_patients):
        folder = folders[patient % len(folders)]
        for visit in range(scans_each):
            scan = f"{folder}/{prefix}{patient:02d}_{visit}"
            seed = first_seed + 100 * visit + patient
            _write(raw / f"{scan}.nii.gz", draw_scan(seed=seed, is_abnormal=folder != "CT-0"))
            rows.append((scan, folder, f"{prefix}{patient:02d}"))
    _write(raw / "other" / f"{prefix}unlabelled.nii.gz", draw_scan(seed=first_seed + 999, is_abnormal=True))
    rows.append((f"other/{prefix}unlabelled", "", f"{prefix}99"))
    with (raw / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("scan", "label", "patient"), *rows])
    return Cohort(raw)


def _write(path: Path, hu: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(hu, np.diag([20.0, 20.0, 30.0, 1.0])), path)
