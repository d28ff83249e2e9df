"""The body wall and what lies below the diaphragm: fat, skin, muscle, breasts, liver, stomach, spleen.

Lengths are those of the mean adult, in mm, read off slices of public chest CTs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ctprep.phantom.chest import EXPIRATION_LIFT, Chest, bend, front
from ctprep.phantom.patient import Patient
from ctprep.phantom.shapes import EVERYWHERE, Array, Field, Layer, ellipsoid, ellipsoid_distance

# Attenuation without contrast medium, in HU: usual values of unenhanced chest CT.
FAT_HU, SKIN_HU, MUSCLE_HU, GLAND_HU = -102.0, 5.0, 52.0, -30.0
LIVER_HU, SPLEEN_HU, STOMACH_HU, GAS_HU = 58.0, 48.0, 25.0, -960.0
SKIN_MM = 2.0
BREAST_Z = -45.0
DOME_TOP = -95.0  # z, in mm, from which the liver's left lobe shortens downwards
GAS_LEVEL_Y = 28.0  # the patient lies on the back: gas gathers in front


def body_wall(field: Field, chest: Chest, patient: Patient, pattern: Array) -> Iterator[Layer]:
    """Yield fat, skin, breasts and muscle, then the fat that fills the chest until organs take its place.

    Parameters
    ----------
    field : Field
        The voxels.
    chest : Chest
        The bounding surfaces over the field.
    patient : Patient
        Whose body.
    pattern : (x, y, z) array
        Smooth noise of standard deviation 1, which strews fat through muscle.
    """
    yield from _breasts(field, patient)
    yield Layer(EVERYWHERE, chest.skin, FAT_HU + 6.0 * pattern)
    yield Layer(EVERYWHERE, np.abs(chest.skin + SKIN_MM) - SKIN_MM, SKIN_HU)
    muscle = np.maximum(
        chest.wall - _muscle_mm(field) - 4.0 * pattern, chest.skin + 3.0 + 0.6 * patient.fat_mm + 2.0 * pattern
    )
    yield Layer(EVERYWHERE, muscle, MUSCLE_HU + 4.0 * pattern)
    yield Layer(EVERYWHERE, chest.wall + 1.5, FAT_HU + 12.0)


def _breasts(field: Field, patient: Patient) -> Iterator[Layer]:
    if not patient.breast_mm:
        return
    y = float(front(BREAST_Z)) + 0.8 * patient.fat_mm
    for side in (-1.0, 1.0):
        centre = (side * 74.0, y, BREAST_Z)
        yield ellipsoid(field, centre, (60.0, patient.breast_mm + 12.0, 52.0), hu=SKIN_HU)
        yield ellipsoid(field, centre, (58.0, patient.breast_mm + 10.0, 50.0), hu=FAT_HU)
        yield ellipsoid(field, centre, (30.0, patient.breast_mm + 3.0, 26.0), hu=GLAND_HU)


def _muscle_mm(field: Field) -> Array:
    """Return the thickness of ribs and muscle outside the inner chest wall."""
    upper = np.clip((field.z + 50.0) / 110.0, 0.0, 1.0)
    behind = np.clip((20.0 - field.y) / 70.0, 0.0, 1.0)
    beside_spine = np.exp(-(((np.abs(field.x) - 24.0) / 24.0) ** 2)) * (field.y < -50.0)
    pectoral = np.clip((field.y - 10.0) / 20.0, 0.0, 1.0) * np.clip(1.5 - np.abs(field.x) / 90.0, 0.0, 1.0)
    shoulder = np.clip((field.z - 50.0) / 50.0, 0.0, 1.0) * np.clip(np.abs(field.x) / 60.0, 0.0, 1.0)
    return np.asarray(11.0 + 50.0 * shoulder + 27.0 * upper * behind + 18.0 * beside_spine + 12.0 * pectoral * upper)


def abdomen(field: Field, chest: Chest, patient: Patient, inflation: float, pattern: Array) -> Iterator[Layer]:
    """Yield the diaphragm's muscle and the organs under the domes: liver to the right, the others to the left."""
    box = field.box((-200.0, -200.0, -400.0), (200.0, 200.0, -20.0))
    part, wall, below = field.within(box), chest.wall[box], chest.diaphragm[box]
    inside = np.maximum(wall, below)
    texture = pattern[box]
    yield Layer(box, inside, MUSCLE_HU)
    yield Layer(box, inside + 4.0, FAT_HU + 5.0 * texture)
    lift = EXPIRATION_LIFT * (1.0 - inflation)
    liver_end = -part.x - 48.0 + 0.5 * (10.0 - part.y) + 0.30 * (DOME_TOP + lift - part.z) + 5.0 * texture
    liver = np.maximum(np.maximum(inside + 2.5, liver_end), _spine_gap(part, patient))
    yield Layer(box, liver, LIVER_HU + 3.0 * texture)
    place = (part.x, part.y, part.z)
    spleen = ellipsoid_distance(place, (-84.0, -48.0, -150.0 + lift), (34.0, 42.0, 44.0))
    yield Layer(box, np.maximum(spleen, inside + 3.0), SPLEEN_HU)
    stomach = ellipsoid_distance(place, (-62.0, 18.0, -148.0 + lift), (38.0, 46.0, 40.0))
    stomach = np.maximum(stomach, inside + 4.0)
    yield Layer(box, stomach, MUSCLE_HU - 10.0)
    yield Layer(box, stomach + 4.0, STOMACH_HU)
    yield Layer(box, np.maximum(stomach + 4.0, GAS_LEVEL_Y - part.y), GAS_HU)


def _spine_gap(field: Field, patient: Patient) -> Array:
    """Return the distance into a cylinder around spine and aorta that no organ enters."""
    return np.asarray(38.0 - np.sqrt(field.x**2 + (field.y + 70.0 - bend(field.z, patient)) ** 2))
