"""What lies between the lungs: heart, great vessels, windpipe, gullet and the fat around them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ctprep.phantom.chest import EXPIRATION_LIFT, Chest, bend
from ctprep.phantom.patient import Patient
from ctprep.phantom.shapes import EVERYWHERE, Array, Field, Layer, Point, Tube, tube

BLOOD_HU, HEART_HU, WALL_HU, AIR_HU, FAT_HU = 40.0, 44.0, 10.0, -985.0, -92.0
FAT_SHEATH_MM = 3.0  # fat and pleura that keep the lung off an organ

# Mean adult, in mm, carina at z = 0; x to the patient's right. Read off axial slices of public chest CTs.
AORTA = (
    Tube((4.0, 24.0, -42.0), (14.0, 24.0, 6.0), 16.0, 15.0),
    Tube((14.0, 24.0, 6.0), (-2.0, 4.0, 24.0), 15.0, 14.0),
    Tube((-2.0, 4.0, 24.0), (-22.0, -34.0, 14.0), 14.0, 13.0),
    Tube((-22.0, -34.0, 14.0), (-22.0, -44.0, -60.0), 13.0, 12.0),
    Tube((-22.0, -44.0, -60.0), (-10.0, -36.0, -200.0), 12.0, 11.0),
)
VEINS_AND_BRANCHES = (
    Tube((26.0, 14.0, 62.0), (24.0, 12.0, -40.0), 9.0, 10.0),  # superior vena cava
    Tube((-36.0, 20.0, 74.0), (24.0, 26.0, 44.0), 6.5),  # left brachiocephalic vein
    Tube((8.0, 10.0, 24.0), (22.0, 4.0, 90.0), 6.5, 5.5),  # brachiocephalic artery
    Tube((-6.0, 2.0, 26.0), (-18.0, 4.0, 120.0), 4.5),  # left carotid
    Tube((-18.0, -10.0, 24.0), (-30.0, -12.0, 100.0), 5.5),  # left subclavian
    Tube((22.0, 4.0, 90.0), (70.0, 12.0, 106.0), 6.0),
    Tube((-30.0, -12.0, 100.0), (-70.0, 12.0, 106.0), 5.5),
    Tube((20.0, 2.0, -85.0), (16.0, -12.0, -200.0), 11.0),  # inferior vena cava
)
PULMONARY = (
    Tube((-16.0, 34.0, -40.0), (-20.0, 12.0, -6.0), 14.0, 13.0),
    Tube((-18.0, 12.0, -8.0), (42.0, -6.0, -16.0), 11.0, 8.5),
    Tube((-20.0, 12.0, -6.0), (-46.0, -14.0, -2.0), 11.0, 8.5),
    Tube((-46.0, -14.0, -2.0), (-54.0, -30.0, -34.0), 8.5, 6.0),
    Tube((42.0, -6.0, -16.0), (50.0, -24.0, -48.0), 8.0, 6.0),
)
GULLET = (Tube((-4.0, -24.0, 130.0), (-4.0, -34.0, 0.0), 6.5), Tube((-4.0, -34.0, 0.0), (-12.0, -14.0, -120.0), 7.0))
AIRWAYS = (
    Tube((1.0, -2.0, 150.0), (1.0, -8.0, 70.0), 8.5),
    Tube((1.0, -8.0, 70.0), (2.0, -18.0, 2.0), 8.5),
    Tube((2.0, -18.0, 2.0), (28.0, -22.0, -18.0), 7.0, 6.5),
    Tube((28.0, -22.0, -18.0), (44.0, -30.0, -46.0), 5.5, 4.0),
    Tube((26.0, -20.0, -14.0), (52.0, -16.0, 4.0), 4.5, 3.5),
    Tube((2.0, -18.0, 2.0), (-36.0, -24.0, -26.0), 6.5, 6.0),
    Tube((-36.0, -24.0, -26.0), (-50.0, -36.0, -52.0), 5.0, 3.8),
    Tube((-34.0, -22.0, -22.0), (-56.0, -8.0, -12.0), 4.5, 3.5),
)
AIRWAY_WALL_MM = 1.3

HEART_CENTRE: Point = (-20.0, 22.0, -66.0)
HEART_AXIS: Point = (-0.70, 0.42, -0.58)  # from base to apex: left, forward, down
HEART_LONG, HEART_WIDE = 66.0, 45.0
ATRIUM = ((16.0, 10.0, -56.0), 33.0)  # right atrium: the heart's right border
ATRIUM_LEFT = ((-6.0, -10.0, -48.0), 30.0)


def mediastinal_fat(field: Field, chest: Chest, pattern: Array) -> Layer:
    """Return the fat that parts the lungs: thin behind the sternum and low down, broad around the great vessels.

    Parameters
    ----------
    field : Field
        The voxels.
    chest : Chest
        The bounding surfaces over the field.
    pattern : (x, y, z) array
        Smooth noise of standard deviation 1.
    """
    middle = np.exp(-(((field.y + 4.0) / 34.0) ** 2))
    upper = np.clip((field.z + 20.0) / 60.0, 0.0, 1.0)
    half_width = 5.0 + 13.0 * middle + 10.0 * middle * upper + 6.0 * np.clip((field.z - 60.0) / 40.0, 0.0, 1.0)
    distance = np.maximum(np.abs(field.x) - half_width, chest.wall)
    return Layer(EVERYWHERE, distance, FAT_HU + 14.0 * pattern, carve_mm=0.0)


def mediastinum(field: Field, patient: Patient, inflation: float) -> Iterator[Layer]:
    """Yield the organs between the lungs; each keeps the lung off by its sheath of fat.

    Parameters
    ----------
    field : Field
        The voxels.
    patient : Patient
        Whose chest.
    inflation : float
        1 at full inspiration, 0 at full expiration, where the heart lies higher.
    """
    dz = 0.35 * EXPIRATION_LIFT * (1.0 - inflation)
    yield from _heart(field, patient, dz)
    for shape in (*AORTA, *VEINS_AND_BRANCHES, *PULMONARY):
        yield tube(field, _bent(shape, patient), hu=BLOOD_HU, carve_mm=FAT_SHEATH_MM)
    for shape in GULLET:
        yield tube(field, _bent(shape, patient), hu=BLOOD_HU - 8.0, carve_mm=FAT_SHEATH_MM)
    for shape in AIRWAYS:
        yield tube(field, _bent(shape, patient), hu=WALL_HU, carve_mm=0.5, swell_mm=AIRWAY_WALL_MM)
    for shape in AIRWAYS:
        yield tube(field, _bent(shape, patient), hu=AIR_HU)


def _bent(shape: Tube, patient: Patient) -> Tube:
    """Return a tube that follows the curve of the patient's spine where it lies behind."""
    ends = []
    for x, y, z in (shape.start, shape.end):
        share = min(max((10.0 - y) / 50.0, 0.0), 1.0)
        ends.append((x, y + share * float(bend(z, patient)), z))
    return Tube(ends[0], ends[1], shape.radius, shape.end_radius)


def _heart(field: Field, patient: Patient, dz: float) -> Iterator[Layer]:
    box = field.box((-105.0, -60.0, -160.0), (70.0, 100.0, 20.0))
    part = field.within(box)
    distance = _smooth_minimum(_ventricles(part, patient, dz), _atria(part, patient, dz), 8.0)
    yield Layer(box, distance - 4.0, FAT_HU, carve_mm=0.5)
    yield Layer(box, distance, HEART_HU)


def _ventricles(part: Field, patient: Patient, dz: float) -> Array:
    offsets = [p - c for p, c in zip((part.x, part.y, part.z - dz), HEART_CENTRE)]
    along = sum(offset * axis for offset, axis in zip(offsets, HEART_AXIS))
    across_squared = sum(offset**2 for offset in offsets) - along**2
    long, wide = HEART_LONG * patient.heart, HEART_WIDE * patient.heart
    rho = np.sqrt((along / long) ** 2 + np.maximum(across_squared, 0.0) / wide**2)
    return np.asarray((rho - 1.0) * wide)


def _atria(part: Field, patient: Patient, dz: float) -> Array:
    spheres = []
    for centre, radius in (ATRIUM, ATRIUM_LEFT):
        offsets = [p - c for p, c in zip((part.x, part.y, part.z - dz), centre)]
        spheres.append(np.sqrt(sum(offset**2 for offset in offsets)) - radius * patient.heart)
    return np.minimum(*spheres)


def _smooth_minimum(a: Array, b: Array, blend_mm: float) -> Array:
    """Return the union of two shapes with a fillet between them."""
    share = np.clip(0.5 + 0.5 * (b - a) / blend_mm, 0.0, 1.0)
    return np.asarray(b + share * (a - b) - blend_mm * share * (1.0 - share))
