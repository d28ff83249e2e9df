"""How often metadata are said to give the classes away, in cohorts of phantoms whose voxels are never drawn.

Of each scan the class, the patient and the protocol are drawn as `ctprep phantom` draws them. The record of its file
follows from them: shape and affine as they are written, no non-finite voxel, and as the lowest and the 1 % quantile
the HU of the padding, or -1024. The noise, which would be measured in the voxels, is left out. In 700 hard phantoms
that were drawn and converted, the noise alone had an AUROC of 0.49 (0.45 to 0.53). Describing, fitting and the note are
those of `ctmodel train`.
"""

from types import SimpleNamespace

import numpy as np

from ctmodel.baselines.metadata import describe_records
from ctmodel.baselines.results import Baselines
from ctmodel.baselines.score import find_shortcut
from ctprep.phantom.acquisition import FLOOR_HU, reorient_affine
from ctprep.phantom.appointments import appointment
from ctprep.phantom.scanner import Protocol, draw_protocol
from ctprep.phantom.settings import CohortSettings

CLASSES = ("normal", "abnormal")


def note_rate(
    random: np.random.Generator, trials: int, *, n: int, confound: float, table: bool
) -> dict[str, list[int]]:
    """Return how many cohorts of n scans get the note, with or without the table of the scanners."""
    noted = 0
    for _ in range(trials):
        settings = CohortSettings(scans=n, seed=int(random.integers(2**31)), confound=confound)
        store, labels, patients = draw_cohort(settings, table=table)
        found = find_shortcut(describe_records(store, np.arange(n)), labels, patients, classes=CLASSES)
        noted += bool(Baselines((), found).notes())
    return {"cohorts with the note": [noted, trials]}


def draw_cohort(settings: CohortSettings, *, table: bool) -> tuple[SimpleNamespace, np.ndarray, list[str]]:
    """Return what stands for a store, the labels, and the patients."""
    slots = [appointment(settings.seed, index) for index in range(settings.scans)]
    protocols = [
        draw_protocol(
            settings.seed,
            slot.index,
            settings.shape,
            noise_factor=settings.level.noise_factor,
            positive=slot.positive,
            confound=settings.confound,
        )
        for slot in slots
    ]
    meta = {
        "scanner": np.array([protocol.machine.name for protocol in protocols]),
        "kernel": np.array([protocol.machine.kernel.name for protocol in protocols]),
        "slice_thickness_mm": np.array([f"{protocol.thickness_mm:.6f}" for protocol in protocols]),
    }
    store = SimpleNamespace(records=list(map(record_of, protocols)), meta=meta if table else {})
    return store, np.array([slot.positive for slot in slots], dtype=int), [str(slot.patient) for slot in slots]


def record_of(protocol: Protocol) -> SimpleNamespace:
    """Return what a store would remember of the file."""
    world_from_voxel = np.diag([*protocol.spacing_mm, 1.0])
    world_from_voxel[:3, 3] = protocol.origin_mm
    affine = reorient_affine(world_from_voxel, protocol.shape, protocol.machine.orientation)
    axes = np.argmax(np.abs(affine[:3, :3]), axis=0)  # which of x, y and z each axis of the file runs along
    padding = protocol.machine.padding_hu
    lowest = FLOOR_HU if padding is None else padding
    shape = tuple(protocol.shape[axis] for axis in axes)
    return SimpleNamespace(source_shape=shape, source_affine=affine, nonfinite=0, hu_quantile=(lowest, lowest))
