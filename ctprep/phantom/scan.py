"""One phantom scan, from the settings and its index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from ctprep.phantom import acquisition
from ctprep.phantom.appointments import appointment
from ctprep.phantom.chest import Chest, back_of, chest_of
from ctprep.phantom.findings import NORMAL, Finding, draw_finding, grade_of, opacify, plant
from ctprep.phantom.lungs import Mimics, atelectasis, draw_mimics, lung_room, normal_lung
from ctprep.phantom.mediastinum import BLOOD_HU, mediastinal_fat, mediastinum
from ctprep.phantom.patient import Patient, draw_patient
from ctprep.phantom.pose import Pose, body_from_voxel, draw_pose, field_of
from ctprep.phantom.scanner import Protocol, draw_protocol
from ctprep.phantom.settings import DIFFICULTIES, CohortSettings
from ctprep.phantom.shapes import Array, Field, Layer, compose, coverage
from ctprep.phantom.skeleton import skeleton
from ctprep.phantom.soft_tissue import abdomen, body_wall
from ctprep.phantom.streams import Stream, generator
from ctprep.phantom.texture import smooth_noise
from ctprep.phantom.vessels import collect, lung_vessels

TISSUE_PATTERN_MM, LUNG_PATTERN_MM = 24.0, 11.0


@dataclass(frozen=True)
class Script:
    """Everything that decides a scan, before any voxel of it exists."""

    index: int
    seed: int
    patient: Patient
    pose: Pose
    mimics: Mimics
    protocol: Protocol
    finding: Finding
    difficulty: str


@dataclass(frozen=True)
class PhantomScan:
    """A scan as its file holds it: `stored * slope + inter` is in HU, `affine` leads from voxels to world RAS mm.

    `lesion` and `lung` are uint8 masks on the same grid; `truth` says all that was planted.
    """

    stored: Array
    affine: Array
    slope: float
    inter: float
    lesion: Array
    lung: Array
    truth: dict[str, str | int | float]


def make_scan(settings: CohortSettings, index: int) -> PhantomScan:
    """Make one scan of a cohort; the same whatever else the cohort holds.

    Parameters
    ----------
    settings : CohortSettings
        The cohort; its number of scans does not matter here.
    index : int
        Of the scan, from 0.

    Examples
    --------
    >>> scan = make_scan(CohortSettings(shape=(32, 32, 12)), 0)
    >>> scan.stored.ndim, scan.lesion.shape == scan.stored.shape
    (3, True)
    """
    return render(write_script(settings, index))


def write_script(settings: CohortSettings, index: int) -> Script:
    """Draw everything that decides a scan."""
    seed, level = settings.seed, settings.level
    slot = appointment(seed, index)
    mimics = draw_mimics(seed, index, level)
    return Script(
        index=index,
        seed=seed,
        patient=draw_patient(seed, slot.patient),
        pose=draw_pose(seed, index, expiration=mimics.expiration),
        mimics=mimics,
        protocol=draw_protocol(
            seed,
            index,
            settings.shape,
            noise_factor=level.noise_factor,
            positive=slot.positive,
            confound=settings.confound,
        ),
        finding=draw_finding(seed, index, slot.patient, level) if slot.positive else NORMAL,
        difficulty=settings.difficulty,
    )


def render(script: Script) -> PhantomScan:
    """Turn a script into a scan."""
    body = body_from_voxel(script.pose, script.patient, script.protocol.shape, script.protocol.spacing_mm)
    field = field_of(body, script.protocol.shape)
    chest = chest_of(field, script.patient, script.pose.inflation)
    hu, lung, lesion = _ideal(script, body, field, chest)
    hu = _acquire(script, hu, coverage(chest.skin, field.edge_mm))
    return _as_stored(script, hu, lung, lesion)


def _ideal(script: Script, body: Array, field: Field, chest: Chest) -> tuple[Array, Array, Array]:
    """Return attenuation in HU without a scanner's traces, and the lung and lesion masks."""
    tissue, room = compose(field, _layers(script, field, chest), background_hu=_table(script))
    room = lung_room(field, chest, room)
    lung = room > 0.5
    inside = plant(script.seed, script.patient, field, chest, lung, script.finding)
    lung_hu = _lung(script, body, field, chest, inside)
    return tissue + room * (lung_hu - tissue), lung, inside > 0


def _layers(script: Script, field: Field, chest: Chest) -> Iterator[Layer]:
    rng = generator(script.seed, Stream.ANATOMY, script.patient.index)
    pattern = smooth_noise(rng, field, length_mm=TISSUE_PATTERN_MM)
    inflation = script.pose.inflation
    return chain(
        body_wall(field, chest, script.patient, pattern),
        [mediastinal_fat(field, chest, pattern)],
        abdomen(field, chest, script.patient, inflation, pattern),
        skeleton(field, chest, script.patient),
        mediastinum(field, script.patient, inflation),
    )


def _table(script: Script) -> Array:
    """Return air and table, (x, y, 1) in HU, the table just below the patient's back."""
    nx, ny, _ = script.protocol.shape
    pixel_mm = script.protocol.spacing_mm[0]
    x_mm = ((np.arange(nx) - (nx - 1) / 2) * pixel_mm).reshape(-1, 1, 1)
    y_mm = ((np.arange(ny) - (ny - 1) / 2) * pixel_mm).reshape(1, -1, 1)
    back = script.patient.depth * back_of(script.patient)
    top_mm = back + script.pose.shift_y + 6.0 - script.protocol.table_drop_mm
    return acquisition.table(x_mm, y_mm, top_mm=top_mm)


def _lung(script: Script, body: Array, field: Field, chest: Chest, inside: Array) -> Array:
    """Return the attenuation of the lung with its mimics, findings and, showing through them, vessels."""
    rng = generator(script.seed, Stream.TEXTURE, script.patient.index)
    pattern = smooth_noise(rng, field, length_mm=LUNG_PATTERN_MM)
    inflation, mimics = script.pose.inflation, script.mimics
    spread_hu = DIFFICULTIES[script.difficulty].lung_sd_hu
    hu = normal_lung(field, script.patient, inflation=inflation, lung_sd_hu=spread_hu, pattern=pattern)
    if mimics.atelectasis > 0.0:
        hu = hu + atelectasis(field, chest, script.patient, mimics.atelectasis, pattern)
    hu = opacify(hu, inside, script.finding, pattern)
    cloud = lung_vessels(script.seed, script.patient)
    voxel_mm3 = float(np.abs(np.linalg.det(body)))
    vessels = collect(cloud, np.linalg.inv(body), script.protocol.shape, voxel_mm3=voxel_mm3)
    return np.asarray(hu + vessels * (BLOOD_HU - hu))


def _acquire(script: Script, hu: Array, body: Array) -> Array:
    """Return what the scanner measures, in HU."""
    protocol = script.protocol
    spacing_mm, kernel = protocol.spacing_mm, protocol.machine.kernel
    hu = acquisition.smear(hu, motion_mm=script.mimics.motion_mm, pixel_mm=spacing_mm[1])
    hu = acquisition.blur(hu, kernel, spacing_mm=spacing_mm, thickness_mm=protocol.thickness_mm)
    hu = hu + acquisition.noise(generator(script.seed, Stream.NOISE, script.index), protocol, body)
    return acquisition.pad(np.maximum(hu, acquisition.FLOOR_HU), protocol.machine.padding_hu)


def _as_stored(script: Script, hu: Array, lung: Array, lesion: Array) -> PhantomScan:
    """Return a scan on the file's axes and in its units."""
    machine, shape = script.protocol.machine, script.protocol.shape
    world_from_voxel = np.diag([*script.protocol.spacing_mm, 1.0])
    world_from_voxel[:3, 3] = script.protocol.origin_mm
    stored = acquisition.encode(hu, dtype=machine.dtype, slope=machine.slope, inter=machine.inter)
    oriented = (acquisition.reorient(a, machine.orientation) for a in (stored, lesion.view("u1"), lung.view("u1")))
    stored, lesion, lung = oriented
    return PhantomScan(
        stored=stored,
        affine=acquisition.reorient_affine(world_from_voxel, shape, machine.orientation),
        slope=machine.slope,
        inter=machine.inter,
        lesion=lesion,
        lung=lung,
        truth=_truth(script, lung_voxels=int(lung.sum()), lesion_voxels=int(lesion.sum())),
    )


def _truth(script: Script, *, lung_voxels: int, lesion_voxels: int) -> dict[str, str | int | float]:
    """Return the row of the truth table: what was planted, and how it was scanned."""
    machine, protocol, grade = script.protocol.machine, script.protocol, grade_of(script.finding.severity)
    return {
        "scan": f"{grade}/study_{script.index + 1:04d}",
        "label": grade,
        "patient": f"patient_{script.patient.index + 1:04d}",
        "difficulty": script.difficulty,
        "severity": lesion_voxels / lung_voxels if lung_voxels else 0.0,
        "contrast_hu": script.finding.contrast_hu,
        "core": script.finding.core,
        "pattern": script.finding.pattern,
        "lesion_voxels": lesion_voxels,
        "lung_voxels": lung_voxels,
        "atelectasis": script.mimics.atelectasis,
        "expiration": script.mimics.expiration,
        "motion_mm": script.mimics.motion_mm,
        "inflation": script.pose.inflation,
        "scanner": machine.name,
        "kernel": machine.kernel.name,
        "noise_hu": protocol.noise_hu,
        "orientation": machine.orientation,
        "dtype": machine.dtype,
        "slope": machine.slope,
        "inter": machine.inter,
        "padding_hu": "" if machine.padding_hu is None else machine.padding_hu,
        "pixel_mm": protocol.spacing_mm[0],
        "slice_distance_mm": protocol.spacing_mm[2],
        "slice_thickness_mm": protocol.thickness_mm,
        "slices": protocol.shape[2],
        "table_shift_mm": script.pose.shift_y,
        "seed": script.seed,
        "index": script.index,
    }
