"""The machines of the cohort: what is drawn of a scanner, without regard to the patient."""

from __future__ import annotations

from dataclasses import dataclass

from ctprep.phantom.streams import Stream, generator


@dataclass(frozen=True)
class Kernel:
    """A reconstruction kernel: blur and noise grain as standard deviations in mm, and the gain at edges."""

    name: str
    blur_mm: float
    grain_mm: float
    edge_gain: float
    noise_factor: float


SOFT = Kernel("soft", blur_mm=1.5, grain_mm=2.2, edge_gain=0.0, noise_factor=0.7)
STANDARD = Kernel("standard", blur_mm=1.1, grain_mm=1.5, edge_gain=0.0, noise_factor=1.0)
SHARP = Kernel("sharp", blur_mm=0.8, grain_mm=0.9, edge_gain=0.45, noise_factor=1.7)


@dataclass(frozen=True)
class Machine:
    """What all scans of one scanner have in common.

    `orientation` names where the file's axes point, as nibabel does; `stored * slope + inter` is in HU; `padding_hu`
    fills what lies outside the round field of view, None where the image is square.
    """

    name: str
    orientation: str
    dtype: str
    slope: float
    inter: float
    padding_hu: float | None
    kernel: Kernel
    noise_hu: float
    thickness: float  # of the slices, relative to their distance


# A confounded scan of a healthy lung is made on one of the first four, of an ill lung on one of the last four.
MACHINES = (
    Machine("A", "LAS", "int16", 1.0, 0.0, None, STANDARD, 14.0, 1.0),
    Machine("B", "LPS", "uint16", 1.0, -1024.0, -1024.0, SOFT, 12.0, 1.0),
    Machine("C", "RAS", "int32", 1.0, 0.0, -3024.0, SHARP, 13.0, 0.8),
    Machine("D", "LPS", "int16", 1.0, 0.0, -2048.0, STANDARD, 20.0, 1.25),
    Machine("E", "RAS", "float32", 1.0, 0.0, None, SOFT, 16.0, 1.25),
    Machine("F", "SPL", "int16", 1.0, -1024.0, -1024.0, STANDARD, 16.0, 0.7),
    Machine("G", "LPS", "uint16", 0.5, -1024.0, None, SHARP, 10.0, 1.0),
    Machine("H", "LAS", "int16", 1.0, -1024.0, -2048.0, SOFT, 18.0, 1.0),
)


@dataclass(frozen=True)
class Protocol:
    """One scan's settings on a machine; lengths in mm, noise in HU at the centre of the body."""

    machine: Machine
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    noise_hu: float
    table_drop_mm: float
    origin_mm: tuple[float, float, float]

    @property
    def thickness_mm(self) -> float:
        """Thickness of a slice."""
        return self.machine.thickness * self.spacing_mm[2]


def draw_protocol(
    seed: int, index: int, shape: tuple[int, int, int], *, noise_factor: float, positive: bool, confound: float
) -> Protocol:
    """Draw machine and protocol of a scan.

    Parameters
    ----------
    seed, index : int
        Which scan of which cohort.
    shape : (int, int, int)
        Voxels of a typical scan; the number of slices varies around the third.
    noise_factor : float
        Times the machine's noise.
    positive : bool
        The class, which matters to a confounded scan alone.
    confound : float
        Share of the scans whose machine is of the half that belongs to their class.

    Examples
    --------
    >>> with_, without = (draw_protocol(0, 5, (64, 64, 20), noise_factor=1.0, positive=ill, confound=0.0)
    ...                   for ill in (True, False))
    >>> with_ == without
    True
    """
    rng = generator(seed, Stream.SCANNER, index)
    machine = int(rng.integers(len(MACHINES)))
    if rng.random() < confound:
        half = len(MACHINES) // 2
        machine = machine % half + half * positive
    slices = round(shape[2] * rng.uniform(0.90, 1.15))
    pixel_mm = rng.uniform(345.0, 425.0) / max(shape[:2])
    return Protocol(
        machine=MACHINES[machine],
        shape=(shape[0], shape[1], slices),
        spacing_mm=(pixel_mm, pixel_mm, rng.uniform(300.0, 338.0) / slices),
        noise_hu=MACHINES[machine].noise_hu * rng.uniform(0.8, 1.25) * noise_factor,
        table_drop_mm=rng.uniform(2.0, 14.0),
        origin_mm=(rng.uniform(-30.0, 30.0), rng.uniform(-220.0, 60.0), rng.uniform(-900.0, 200.0)),
    )
