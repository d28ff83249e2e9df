"""The bones of the chest: ribs, spine, sternum, collarbones, shoulder blades, heads of the arms.

Lengths are those of the mean adult, in mm, read off slices of public chest CTs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ctprep.phantom.chest import BACK, Chest, bend, front
from ctprep.phantom.patient import Patient
from ctprep.phantom.shapes import Array, Box, Field, Layer, Tube, ellipsoid, tube

# HU of adult bone at CT, as partial volumes of cortex and marrow.
CORTEX_HU, MARROW_HU, DISC_HU, CARTILAGE_HU = 520.0, 210.0, 85.0, 105.0
MUSCLE_HU, CORD_HU = 52.0, 28.0
RIB_PITCH, RIB_HALF_HEIGHT, RIB_HALF_DEPTH, RIB_OFFSET = 25.0, 6.0, 4.0, 5.0  # mm
RIB_SLOPE = 0.45  # mm down per mm forward: ribs fall towards the front
LEVEL_PITCH = 25.0  # mm, a vertebra with its disc
SPINE_Y = -58.0  # mm, centre of the vertebral bodies where the spine does not bend
BODY_RADII = (17.5, 14.5)  # mm, of a vertebral body across and along the view from the side
BESIDE_RADII = (38.0, 25.0)  # mm, of the muscle around the arches, which keeps the lungs apart behind
SPINE_CARVE_MM = 4.0  # muscle, fat and pleura beside the spine


def skeleton(field: Field, chest: Chest, patient: Patient) -> Iterator[Layer]:
    """Yield the bones, over the soft tissue they lie in."""
    yield _ribs(field, chest, patient)
    yield from _spine(field, patient)
    yield _sternum(field, patient)
    yield from _shoulders(field, chest, patient)


def _ribs(field: Field, chest: Chest, patient: Patient) -> Layer:
    box = field.box((-175.0, -170.0, -230.0), (175.0, 130.0, 104.0))
    part, wall = field.within(box), chest.wall[box]
    along = part.z + RIB_SLOPE * (part.y - BACK) + patient.rib_phase * RIB_PITCH
    across_rib = np.abs(np.mod(along, RIB_PITCH) - RIB_PITCH / 2) - RIB_HALF_HEIGHT
    margin = 0.7 * (part.y - part.z - 165.0)  # the costal margin rises towards the sternum
    between_ends = np.maximum(margin, 14.0 - np.abs(part.x))
    distance = np.maximum(np.maximum(np.abs(wall - RIB_OFFSET) - RIB_HALF_DEPTH, across_rib), between_ends)
    cartilage = (part.y > 25.0) & (np.abs(part.x) < 0.9 * part.y + 10.0 - 0.15 * part.z)
    return Layer(box, distance, np.where(cartilage, CARTILAGE_HU, 0.8 * CORTEX_HU + patient.bone_hu))


def _spine(field: Field, patient: Patient) -> Iterator[Layer]:
    box = field.box((-48.0, -150.0, -400.0), (48.0, -5.0, 400.0))
    part = field.within(box)
    behind = SPINE_Y + bend(part.z, patient) - part.y  # mm behind the centre of the vertebral bodies
    yield from _arches(box, part, behind, patient)
    body = _ellipse(part.x, behind, BODY_RADII)
    at_disc = np.abs(np.mod(part.z, LEVEL_PITCH) - LEVEL_PITCH / 2) < 3.0
    bone = np.where(body > -3.0, 0.75 * CORTEX_HU, MARROW_HU) + patient.bone_hu
    yield Layer(box, body, np.where(at_disc, DISC_HU, bone), carve_mm=SPINE_CARVE_MM)
    yield Layer(box, _ellipse(part.x, behind - 23.0, (11.0, 8.5)), CORD_HU)


def _arches(box: Box, part: Field, behind: Array, patient: Patient) -> Iterator[Layer]:
    """Yield what lies behind the vertebral bodies: muscle, then arches and processes, level by level."""
    yield Layer(box, _ellipse(part.x, behind - 32.0, BESIDE_RADII), MUSCLE_HU, carve_mm=0.0)
    hu = 0.7 * CORTEX_HU + patient.bone_hu
    level = np.mod(part.z - 0.5 * LEVEL_PITCH, LEVEL_PITCH) - LEVEL_PITCH / 2
    sunken = np.mod(part.z + 0.6 * behind, LEVEL_PITCH) - LEVEL_PITCH / 2  # spinous processes point downwards
    arch = np.maximum(_ellipse(part.x, behind - 23.0, (17.0, 14.0)), np.abs(level) - 9.0)
    transverse = np.maximum(np.abs(np.abs(part.x) - 25.0) - 14.0, np.abs(behind - 20.0 - 0.25 * np.abs(part.x)) - 4.5)
    spinous = np.maximum(np.abs(part.x) - 3.5, np.abs(behind - 46.0) - 14.0)
    yield Layer(box, arch, hu)
    yield Layer(box, np.maximum(transverse, np.abs(level) - 5.5), hu)
    yield Layer(box, np.maximum(spinous, np.abs(sunken) - 8.0), hu)


def _ellipse(across: Array, along: Array, radii: tuple[float, float]) -> Array:
    rho = np.sqrt((across / radii[0]) ** 2 + (along / radii[1]) ** 2)
    return np.asarray((rho - 1.0) * min(radii))


def _sternum(field: Field, patient: Patient) -> Layer:
    box = field.box((-34.0, 20.0, -115.0), (34.0, 120.0, 82.0))
    part = field.within(box)
    half_width = 14.0 + 10.0 * np.clip((part.z - 25.0) / 15.0, 0.0, 1.0)  # the manubrium is broader
    depth = np.abs(part.y - front(part.z) - 6.0) - 5.5
    distance = np.maximum(np.maximum(np.abs(part.x) - half_width, depth), np.abs(part.z + 16.0) - 92.0)
    hu = np.where(distance > -3.0, 0.6 * CORTEX_HU, 0.6 * MARROW_HU) + patient.bone_hu
    return Layer(box, distance, hu, carve_mm=5.0)


def _shoulders(field: Field, chest: Chest, patient: Patient) -> Iterator[Layer]:
    hu = 0.75 * CORTEX_HU + patient.bone_hu
    box = field.box((-165.0, -160.0, -35.0), (165.0, 10.0, 112.0))
    part = field.within(box)
    x = np.abs(part.x)
    blade = np.maximum(np.abs(chest.wall[box] - 13.0 - 0.30 * (x - 62.0)) - 2.6, 62.0 - x)
    blade = np.maximum(blade, np.maximum(x - 92.0 - 0.5 * (part.z + 30.0), part.y + 5.0))
    yield Layer(box, np.maximum(blade, np.abs(part.z - 35.0) - 66.0), hu)
    for side in (-1.0, 1.0):
        for bone in _collarbone(side):
            yield tube(field, bone, hu=hu)
        yield ellipsoid(field, (side * 160.0, -8.0, 116.0), (23.0, 23.0, 24.0), hu=MARROW_HU + patient.bone_hu)


def _collarbone(side: float) -> tuple[Tube, Tube]:
    middle = (side * 80.0, 44.0, 96.0)
    return Tube((side * 20.0, 48.0, 84.0), middle, 6.0), Tube(middle, (side * 142.0, 0.0, 124.0), 6.0)
