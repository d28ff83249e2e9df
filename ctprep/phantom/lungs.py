"""The lung: where it is, how dense it is, and what imitates a disease in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ctprep.phantom.chest import BACK, Chest, bend
from ctprep.phantom.patient import Patient
from ctprep.phantom.settings import Difficulty
from ctprep.phantom.shapes import Array, Field, coverage
from ctprep.phantom.streams import Stream, generator, partners

LUNG_HU = -862.0  # mean adult at full inspiration, without vessels
EXPIRATION_HU = 150.0  # from full inspiration to full expiration; the same tissue in less room
GRAVITY_HU_MM = (0.30, 1.0)  # denser towards the back, where the patient lies: inspiration, expiration
TEXTURE_HU = 13.0
ATELECTASIS_HU = 480.0  # at the pleura of the lowest point
ATELECTASIS_DEPTH_MM = (5.0, 13.0)  # e-folding depth, from slight to severe


@dataclass(frozen=True)
class Mimics:
    """What looks like disease and is none, of healthy and ill alike; 0 where absent.

    `atelectasis` and `expiration` run from 0 to 1, `motion_mm` is how far the chest moved during the scan.
    """

    atelectasis: float
    expiration: float
    motion_mm: float


def draw_mimics(seed: int, index: int, level: Difficulty) -> Mimics:
    """Draw the mimics of a scan, without regard to its class: the same for the two partners of a pair."""
    rng = generator(seed, Stream.MIMICS, partners(index))
    present = rng.random(3) < level.mimic_share
    atelectasis, expiration, motion_mm = rng.uniform((0.35, 0.35, 3.0), (1.0, 1.0, 9.0))
    return Mimics(*(float(amount) for amount in present * (atelectasis, expiration, motion_mm)))


def lung_room(field: Field, chest: Chest, room: Array) -> Array:
    """Return the share of each voxel that is lung: inside the wall, above the diaphragm, where organs leave room."""
    inside = coverage(chest.wall, field.edge_mm) * coverage(-chest.diaphragm, max(field.edge_mm, field.voxel_mm[2]))
    return np.asarray(room * inside)


def normal_lung(field: Field, patient: Patient, *, inflation: float, lung_sd_hu: float, pattern: Array) -> Array:
    """Return the attenuation of lung without vessels or findings, in HU, over the whole field.

    Parameters
    ----------
    field : Field
        The voxels.
    patient : Patient
        Whose lung.
    inflation : float
        1 at full inspiration, 0 at full expiration.
    lung_sd_hu : float
        Standard deviation between patients, in HU.
    pattern : (x, y, z) array
        Smooth noise of standard deviation 1, the texture.
    """
    emptiness = 1.0 - inflation
    mean = LUNG_HU + lung_sd_hu * patient.lung_z + EXPIRATION_HU * emptiness
    gravity = GRAVITY_HU_MM[0] + (GRAVITY_HU_MM[1] - GRAVITY_HU_MM[0]) * emptiness
    return np.asarray(mean - gravity * (field.y + 10.0) + TEXTURE_HU * pattern)


def atelectasis(field: Field, chest: Chest, patient: Patient, amount: float, pattern: Array) -> Array:
    """Return the extra attenuation of collapsed lung along the lowest pleura, in HU.

    A crescent that fades with depth and is thickest at the base, as in anyone who lies still for some minutes.
    """
    depth_mm = ATELECTASIS_DEPTH_MM[0] + amount * (ATELECTASIS_DEPTH_MM[1] - ATELECTASIS_DEPTH_MM[0])
    height = field.y - BACK - bend(field.z, patient)  # above the lowest point
    dependent = np.clip(1.3 - height / 45.0, 0.0, 1.0) * np.clip(0.75 - field.z / 160.0, 0.2, 1.0)
    depth = np.maximum(-chest.wall + 3.0 * pattern, 0.0)
    return np.asarray(ATELECTASIS_HU * (0.4 + 0.6 * amount) * dependent * np.exp(-depth / depth_mm))
