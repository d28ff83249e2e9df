"""How a patient lies in the scanner: place, turn, breath; and so where each voxel is in the body."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ctprep.phantom.patient import Patient
from ctprep.phantom.shapes import Array, Field
from ctprep.phantom.streams import Stream, generator

CENTRE_Z = -32.0  # mm in the body; halfway between the lowest lung and the apices
QUIET_BREATH = 0.15  # inspirations fall short of a full one by up to this
DEEP_EXPIRATION = 0.75  # loss of inflation of the strongest expiratory scan


@dataclass(frozen=True)
class Pose:
    """Where the patient lies; shifts in mm of the scanner's frame, turn in degrees, towards the patient's left."""

    shift_x: float
    shift_y: float
    centre_z: float
    turn: float
    inflation: float


def draw_pose(seed: int, index: int, *, expiration: float) -> Pose:
    """Draw how the patient lies and breathes in a scan; `expiration` is the mimic of that name, 0 to 1."""
    rng = generator(seed, Stream.POSE, index)
    return Pose(
        shift_x=rng.uniform(-12.0, 12.0),
        shift_y=rng.uniform(-18.0, 18.0),
        centre_z=CENTRE_Z + rng.uniform(-8.0, 8.0),
        turn=rng.uniform(-4.0, 4.0),
        inflation=1.0 - QUIET_BREATH * rng.random() - DEEP_EXPIRATION * expiration * (1.0 - QUIET_BREATH),
    )


def body_from_voxel(
    pose: Pose, patient: Patient, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]
) -> Array:
    """Return the affine from voxel indices to mm in the mean body.

    Parameters
    ----------
    pose : Pose
        How the patient lies.
    patient : Patient
        Whose size divides the scanner's mm.
    shape : (int, int, int)
        Voxels to the right, to the front, to the head.
    spacing_mm : (float, float, float)
        Between voxel centres, in the scanner.

    Returns
    -------
    (4, 4) array
    """
    scanner_from_voxel = np.diag([*spacing_mm, 1.0])
    scanner_from_voxel[:3, 3] = [-(n - 1) / 2 * step for n, step in zip(shape, spacing_mm)]
    cosine, sine = np.cos(np.radians(pose.turn)), np.sin(np.radians(pose.turn))
    body_from_scanner = np.eye(4)
    body_from_scanner[:2, :2] = [[cosine, -sine], [sine, cosine]]
    body_from_scanner[:3, 3] = body_from_scanner[:3, :3] @ [-pose.shift_x, -pose.shift_y, 0.0] + [0, 0, pose.centre_z]
    size = np.diag([1 / patient.width, 1 / patient.depth, 1 / patient.height, 1.0])
    return np.asarray(size @ body_from_scanner @ scanner_from_voxel)


def field_of(body_from_voxel: Array, shape: tuple[int, int, int]) -> Field:
    """Return the positions of all voxels of a grid that keeps the body's long axis."""
    i, j, k = np.ogrid[tuple(slice(n) for n in shape)]
    x, y = (body_from_voxel[row, 0] * i + body_from_voxel[row, 1] * j + body_from_voxel[row, 3] for row in (0, 1))
    z = body_from_voxel[2, 2] * k + body_from_voxel[2, 3]
    steps = np.linalg.norm(body_from_voxel[:3, :3], axis=0)
    voxel_mm = (float(steps[0]), float(steps[1]), float(steps[2]))
    return Field(x.astype(np.float32), y.astype(np.float32), z.astype(np.float32), voxel_mm)
