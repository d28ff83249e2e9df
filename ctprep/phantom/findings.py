"""Ground-glass opacities: how much of the lung, where, and how dense."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np

from ctprep.phantom.chest import Chest, lung_points, wall_distance
from ctprep.phantom.patient import Patient
from ctprep.phantom.settings import GRADE_BOUNDS, GRADES, Difficulty
from ctprep.phantom.shapes import Array, Field
from ctprep.phantom.streams import Stream, generator
from ctprep.phantom.texture import smooth_noise

GRADE_MARGIN = 0.01  # share of the lung that severities keep from a grade's bounds
SKEW = 1.5  # above 1: within a grade, too, mild cases are more frequent than severe ones
WORST = 0.90  # share of the lung; nobody is scanned with all of it ill
PERIPHERAL_SHARE = 0.85  # of the patients; the others' opacities lie anywhere
PERIPHERY_MM = 22.0  # e-folding depth of where peripheral opacities start
CONSOLIDATION_HU = 15.0
FOCI = (4, 14)  # least number of foci, and one more than the largest
PATCH_MM = 18.0  # length of the irregularities of an opacity's outline
CORE_EDGE = 0.35  # of the depth scale of `plant`, over which ground glass turns solid
GRAIN_MM = 7.0  # length of the irregularities inside


@dataclass(frozen=True)
class Finding:
    """What is planted in a scan; `severity` is the ill share of the lung, 0 in a normal scan.

    `contrast_hu` is how far ground glass lies above normal lung; `core` is the consolidated share of the opacity;
    `pattern` is peripheral, diffuse or none.
    """

    severity: float
    contrast_hu: float
    core: float
    pattern: str


NORMAL = Finding(severity=0.0, contrast_hu=0.0, core=0.0, pattern="none")


def grade_of(severity: float) -> str:
    """Return the grade, CT-0 to CT-4, of an ill share of the lung.

    Examples
    --------
    >>> grade_of(0.0), grade_of(0.1), grade_of(0.6)
    ('CT-0', 'CT-1', 'CT-3')
    """
    return GRADES[bisect_left(GRADE_BOUNDS, severity)]


def draw_finding(seed: int, index: int, patient: int, level: Difficulty) -> Finding:
    """Draw what a positive scan shows; a patient keeps the pattern from scan to scan, not the severity."""
    rng = generator(seed, Stream.SEVERITY, index)
    grade = int(rng.choice(4, p=level.grade_shares))
    low = max(GRADE_BOUNDS[grade] + GRADE_MARGIN, level.least_severity)
    high = min(GRADE_BOUNDS[grade + 1] - GRADE_MARGIN, WORST)
    severity = low + (high - low) * rng.random() ** SKEW
    contrast = rng.uniform(*level.contrast_hu)
    core = rng.uniform(0.08, 0.30) * (rng.random() < level.core_share)
    peripheral = generator(seed, Stream.LESION_PATTERN, patient).random() < PERIPHERAL_SHARE
    return Finding(severity, contrast, core, "peripheral" if peripheral else "diffuse")


def plant(seed: int, patient: Patient, field: Field, chest: Chest, lung: Array, finding: Finding) -> Array:
    """Return where the lung is ill, and how deep inside an opacity each voxel lies.

    Opacities grow from seeds that belong to the patient: a later scan shows them in the same places, larger or
    smaller. The voxels with the highest score are ill, as many as the severity asks for.

    Parameters
    ----------
    seed : int
        Seed of the cohort.
    patient : Patient
        Whose lung.
    field : Field
        The voxels.
    chest : Chest
        The bounding surfaces over the field.
    lung : (x, y, z) bool array
        The lung.
    finding : Finding
        Whose severity is the share of the lung to make ill.

    Returns
    -------
    (x, y, z) float32 array
        0 in healthy voxels, else above 0; 1 and more well inside an opacity.
    """
    ill = round(finding.severity * int(lung.sum()))
    inside = np.zeros(field.shape, np.float32)
    if ill == 0:
        return inside
    rng = generator(seed, Stream.LESION_SITES, patient.index)
    score = _score(rng, patient, field, chest, lung, peripheral=finding.pattern == "peripheral")
    order = np.argpartition(score, len(score) - ill)[len(score) - ill :]
    least = score[order].min()
    depth = np.zeros(len(score), np.float32)
    depth[order] = 0.3 + (score[order] - least) / (0.9 * score.std())
    inside[lung] = depth
    return inside


def _score(
    rng: np.random.Generator, patient: Patient, field: Field, chest: Chest, lung: Array, *, peripheral: bool
) -> Array:
    """Return how early each lung voxel falls ill, as a 1-D array over the lung."""
    at = np.nonzero(lung)
    place = np.stack([field.x[at[0], at[1], 0], field.y[at[0], at[1], 0], field.z[0, 0, at[2]]], axis=1)
    depth = np.maximum(-chest.wall[lung], 0.0)
    foci = _foci(rng, place, _centres(rng, patient, peripheral=peripheral))
    affinity = float(peripheral) * _affinity(place, depth)
    patch = smooth_noise(rng, field, length_mm=PATCH_MM)[lung]
    grain = smooth_noise(rng, field, length_mm=GRAIN_MM)[lung]
    return np.asarray(foci + 0.5 * affinity + 0.14 * patch + 0.05 * grain)


def _affinity(place: Array, depth: Array) -> Array:
    """Return how readily the disease starts somewhere, 0 to 1: at the pleura, behind and below."""
    behind = np.clip(0.55 - place[:, 1] / 120.0, 0.1, 1.0)
    below = np.clip(0.60 - place[:, 2] / 260.0, 0.2, 1.0)
    return np.asarray(np.exp(-depth / PERIPHERY_MM) * behind * below)


def _centres(rng: np.random.Generator, patient: Patient, *, peripheral: bool) -> Array:
    """Return where a patient's opacities start, (n, 3) in mm."""
    points = np.concatenate([lung_points(rng, patient, side=side) for side in (-1.0, 1.0)])
    x, y, z = points.T
    depth = -wall_distance(x, y, z, patient, 1.0)
    weight = _affinity(points, depth) ** (2.0 * peripheral)
    return np.asarray(rng.choice(points, int(rng.integers(*FOCI)), p=weight / weight.sum()))


def _foci(rng: np.random.Generator, place: Array, centres: Array) -> Array:
    """Return the strongest of bell-shaped foci at each place, 0 to 1."""
    radii = rng.uniform(16.0, 38.0, (len(centres), 1)) * rng.uniform(0.6, 1.3, (len(centres), 3))
    strongest = np.zeros(len(place), np.float32)
    for centre, radius in zip(centres.astype(np.float32), radii.astype(np.float32)):
        distance_squared = (((place - centre) / radius) ** 2).sum(axis=1)
        np.maximum(strongest, np.exp(-distance_squared), out=strongest)
    return strongest


def opacify(lung_hu: Array, inside: Array, finding: Finding, pattern: Array) -> Array:
    """Return lung attenuation with a finding: ground glass, and a consolidated core where the finding has one.

    Parameters
    ----------
    lung_hu : (x, y, z) array
        Normal lung without vessels, in HU.
    inside : (x, y, z) array
        From `plant`.
    finding : Finding
        What to show.
    pattern : (x, y, z) array
        Smooth noise of standard deviation 1; makes the ground glass uneven.
    """
    hazy = lung_hu + finding.contrast_hu * np.minimum(inside, 1.0) * (1.0 + 0.12 * pattern)
    hazy = np.minimum(hazy, np.maximum(CONSOLIDATION_HU, lung_hu))
    if finding.core == 0.0 or not inside.any():
        return np.asarray(hazy)
    ranked = np.sort(inside[inside > 0] + 0.15 * pattern[inside > 0])
    least = ranked[int((1.0 - finding.core) * (len(ranked) - 1))]
    solid = np.clip((inside + 0.15 * pattern - least) / CORE_EDGE, 0.0, 1.0) * (inside > 0)
    return np.asarray(hazy + solid * (CONSOLIDATION_HU - hazy))
