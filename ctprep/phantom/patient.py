"""The lasting measures of a patient, drawn once and shared by all scans of the patient."""

from __future__ import annotations

from dataclasses import dataclass

from ctprep.phantom.streams import Stream, generator, partners


@dataclass(frozen=True)
class Patient:
    """A body; factors are relative to the mean adult, lengths in mm, attenuation in HU."""

    index: int
    width: float
    depth: float
    height: float
    fat_mm: float
    breast_mm: float
    kyphosis: float
    heart: float
    dome_gap_mm: float
    rib_phase: float
    bone_hu: float
    lung_z: float  # standard score of the normal lung's density among patients


def draw_patient(seed: int, index: int) -> Patient:
    """Draw a patient; two patients who are partners have lungs of the same density.

    Parameters
    ----------
    seed : int
        Seed of the cohort.
    index : int
        Index of the patient's first scan.
    """
    rng = generator(seed, Stream.ANATOMY, index)
    female = rng.random() < 0.5
    return Patient(
        index=index,
        width=rng.uniform(0.88, 1.06) - 0.04 * female,
        depth=rng.uniform(0.90, 1.12) - 0.03 * female,
        height=rng.uniform(0.94, 1.06) - 0.03 * female,
        fat_mm=rng.uniform(6.0, 26.0),
        breast_mm=rng.uniform(14.0, 30.0) * female,
        kyphosis=rng.uniform(0.7, 1.4),
        heart=rng.uniform(0.90, 1.12),
        dome_gap_mm=rng.uniform(4.0, 20.0),
        rib_phase=rng.uniform(0.0, 1.0),
        bone_hu=rng.uniform(-60.0, 60.0),
        lung_z=generator(seed, Stream.LUNG_DENSITY, partners(index)).uniform(-(3**0.5), 3**0.5),
    )
