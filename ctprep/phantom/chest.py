"""The surfaces that bound the chest: the skin, the inner chest wall, the diaphragm and the spine's curve."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ctprep.phantom.patient import Patient
from ctprep.phantom.shapes import Array, Field

# Lengths of the mean adult in mm, read off axial and coronal slices of public chest CTs.
HALF_WIDTH = 130.0  # of the inner chest wall at its widest
MIDDLE = 34.0  # from the midline to where front and back wall bend
SKIN_MIDDLE = 16.0
WIDEST_Z, APEX_Z = -35.0, 114.0
BACK, XIPHOID_FRONT = -93.0, 84.0
GUTTER, GUTTER_X, GUTTER_WIDTH = 15.0, 54.0, 28.0  # the lungs reach further back on both sides of the spine
STERNUM_SLOPE = 0.22  # the sternum leans back towards the head
XIPHOID_Z = -110.0
ROUNDNESS = 2.15  # exponent of the axial outline; 2 is an ellipse
DOME_Z, DOME_X, DOME_Y = -88.0, 62.0, 20.0
DOME_DROP = 62.0  # fall over the lengths below
DOME_LATERAL, DOME_MEDIAL, DOME_FRONT, DOME_BACK = 70.0, 110.0, 82.0, 118.0
EXPIRATION_LIFT = 40.0  # rise of the domes from full inspiration to full expiration
EXPIRATION_SHRINK = 0.05  # of the chest's width and depth
SHOULDER_WIDENING = 48.0
LUNG_BOX = ((14.0, -105.0, -175.0), (132.0, 90.0, 112.0))  # holds the right lung of anybody
CANDIDATES = 8192  # positions tried in the box; about a half of them lie in the lung


class Chest(NamedTuple):
    """Signed distances in mm over a field, each (x, y, z) float32.

    `wall` is negative inside the ribs, `skin` inside the body and `diaphragm` below it.
    """

    wall: Array
    skin: Array
    diaphragm: Array


def bend(z: Array | float, patient: Patient) -> Array:
    """Return how far forward the spine's curve lies at a height, in mm."""
    above = np.maximum(z + 10.0, 0.0) / 110.0
    below = np.maximum(-z - 10.0, 0.0) / 150.0
    return np.asarray(patient.kyphosis * (24.0 * above**2 + 9.0 * below**2))


def front(z: Array | float) -> Array:
    """Return where the inner front wall of the chest lies at a height, in mm."""
    return np.asarray(XIPHOID_FRONT - STERNUM_SLOPE * np.maximum(z - XIPHOID_Z, 0.0))


def wall_distance(x: Array, y: Array, z: Array, patient: Patient, inflation: float) -> Array:
    """Return the distance from the inner chest wall, in mm, negative inside.

    Parameters
    ----------
    x, y, z : arrays that broadcast
        Positions in the body, in mm.
    patient : Patient
        Whose chest.
    inflation : float
        1 at full inspiration, 0 at full expiration.
    """
    narrowing = 1.0 - EXPIRATION_SHRINK * (1.0 - inflation)
    taper = _taper(z)
    back = BACK + bend(z, patient) - GUTTER * np.exp(-(((np.abs(x) - GUTTER_X) / GUTTER_WIDTH) ** 2)) * taper
    centre = (front(z) + back) / 2
    half_depth = (front(z) - back) / 2 * taper * narrowing
    half_width = (HALF_WIDTH - MIDDLE) * taper * narrowing
    return _outline(np.maximum(np.abs(x) - MIDDLE, 0.0), y - centre, half_width, half_depth)


def _taper(z: Array) -> Array:
    """Return the chest's size at a height: 1 where widest, 0 above the apices, a little less at the base."""
    towards_apex = np.clip((z - WIDEST_Z) / (APEX_Z - WIDEST_Z), 0.0, 1.0)
    towards_base = np.maximum(WIDEST_Z - z, 0.0) / 150.0
    return np.sqrt(np.maximum(1.0 - towards_apex**1.8, 1e-4)) - 0.05 * towards_base


def _outline(across: Array, forward: Array, half_width: Array, half_depth: Array) -> Array:
    """Return the distance along the ray from the centre to a superellipse."""
    reach = np.sqrt(across**2 + forward**2 + 1e-3)
    inner = (across / half_width) ** ROUNDNESS + (np.abs(forward) / half_depth) ** ROUNDNESS
    return reach * (1.0 - np.maximum(inner, 1e-4) ** (-1.0 / ROUNDNESS))


def skin_distance(field: Field, patient: Patient) -> Array:
    """Return the distance from the skin, in mm, negative inside."""
    shoulder = _smoothstep((field.z - 20.0) / 90.0)
    back = back_of(patient) + 0.7 * bend(field.z, patient)
    forward = front(field.z) + 16.0 + 0.9 * patient.fat_mm - 8.0 * shoulder
    half_width = HALF_WIDTH - SKIN_MIDDLE + 26.0 + 1.1 * patient.fat_mm + SHOULDER_WIDENING * shoulder
    across = np.maximum(np.abs(field.x) - SKIN_MIDDLE, 0.0)
    return _outline(across, field.y - (forward + back) / 2, half_width, (forward - back) / 2)


def back_of(patient: Patient) -> float:
    """Return where the skin of the back lies, in mm, where the spine does not bend forward."""
    return BACK - 36.0 - 0.6 * patient.fat_mm


def diaphragm_distance(x: Array, y: Array, z: Array, patient: Patient, inflation: float) -> Array:
    """Return the distance above the diaphragm, in mm: the height over it, scaled for the slope of the domes."""
    lift = EXPIRATION_LIFT * (1.0 - inflation)
    sideways, forward = np.abs(x) - DOME_X, y - DOME_Y
    fall = (sideways / np.where(sideways > 0.0, DOME_LATERAL, DOME_MEDIAL)) ** 2
    fall = fall + (forward / np.where(forward > 0.0, DOME_FRONT, DOME_BACK)) ** 2
    left = 1.0 - _smoothstep((x + 30.0) / 60.0)
    return np.asarray(0.8 * (z - DOME_Z - lift + DOME_DROP * fall + patient.dome_gap_mm * left))


def chest_of(field: Field, patient: Patient, inflation: float) -> Chest:
    """Return the bounding surfaces of a patient's chest over a field."""
    place = (field.x, field.y, field.z)
    return Chest(
        wall=wall_distance(*place, patient, inflation),
        skin=skin_distance(field, patient),
        diaphragm=diaphragm_distance(*place, patient, inflation),
    )


def lung_points(rng: np.random.Generator, patient: Patient, *, side: float) -> Array:
    """Return positions spread evenly over one lung at full inspiration, (n, 3) in mm; `side` is 1 for the right."""
    points = rng.uniform(LUNG_BOX[0], LUNG_BOX[1], (CANDIDATES, 3)) * (side, 1.0, 1.0)
    x, y, z = points.T
    inside = wall_distance(x, y, z, patient, 1.0) < -2.0
    inside &= diaphragm_distance(x, y, z, patient, 1.0) > 2.0
    return np.asarray(points[inside])


def _smoothstep(share: Array) -> Array:
    share = np.clip(share, 0.0, 1.0)
    return share * share * (3.0 - 2.0 * share)
