"""Whether the values of a chest CT can be Hounsfield units, and if not, which offset would mend them.

A chest holds air (lungs, surroundings) and soft tissue. A lost intercept leaves no air, an intercept applied twice
leaves no tissue, and a volume scaled to [0, 1] has neither in place. Padding is no air.
"""

from dataclasses import dataclass

import numpy as np

from ctprep.volume.padding import PADDING_BELOW_HU, is_filling

AIR_HU = -1000.0
AIR_BELOW_HU = -400.0
TISSUE_HU = (-250.0, 1500.0)
MIN_AIR = 0.01
MIN_TISSUE = 0.01
LOWEST_HU, MAX_HU = -10_000.0, 40_000.0
"""Ringing around padding reaches -3600 and metal 30,000; values beyond are not HU, but for a filling of -32768."""

OFFSETS = (1024.0, 1000.0)
"""What is added to HU so that unsigned numbers hold them: by scanners, and by some programs."""

MAX_OFF_HU = 75.0
"""How far from where an offset puts it air may be found: noise and calibration."""

PEAK_HU = 8.0
"""Width of a bin in which air is looked for; its noise is seldom less."""

PEAK_WIDTHS = 5
"""Bins around the peak of which the median is taken."""

MAX_SPIKE = 5

MAX_LUNG_LIKE = 0.001
"""Share of values between air and tissue below which there are no lungs; those of a chest are a tenth of it."""


@dataclass(frozen=True)
class Offset:
    """What was added to the HU of a scan by mistake, or subtracted.

    Parameters
    ----------
    hu : float
        Below 0 where it was subtracted.
    air : float or None
        Where air lies; None where it is not told from the lungs.
    """

    hu: float
    air: float | None


def why_not_hu(ascending: np.ndarray) -> str | None:
    """Say why the values of a chest CT cannot be Hounsfield units, or return None if they can.

    Parameters
    ----------
    ascending : 1-D array
        Finite HU of voxels spread over the scan, sorted; padding is left out here.

    Examples
    --------
    >>> why_not_hu(np.array([-1000.0, 40.0]))
    >>> why_not_hu(np.array([24.0, 1064.0]))
    'no air: 0.0 % of the voxels are below -400 HU, a chest has at least 1 %'
    """
    lowest, highest = float(ascending[0]), float(ascending[-1])
    beyond = ascending[: np.searchsorted(ascending, LOWEST_HU)]
    measured = without_padding(ascending)
    air, tissue = _air_share(measured), _tissue_share(measured)
    if highest > MAX_HU or lowest < -MAX_HU or (beyond.size and not is_filling(beyond)):
        return f"values reach from {lowest:g} to {highest:g}, HU from {LOWEST_HU:g} to {MAX_HU:g}"
    if not measured.size:
        return f"every voxel looked at is below {PADDING_BELOW_HU:g} HU, as only padding is"
    if air < MIN_AIR:
        return (
            f"no air: {air:.1%} of the voxels are below {AIR_BELOW_HU:g} HU, a chest has at least {MIN_AIR:.0%}"
        ).replace("%", " %")
    if tissue < MIN_TISSUE:
        return (
            f"no soft tissue: {tissue:.1%} of the voxels are from {TISSUE_HU[0]:g} to {TISSUE_HU[1]:g} HU, "
            f"a chest has at least {MIN_TISSUE:.0%}"
        ).replace("%", " %")
    if _lacks_lungs(measured) and missing_offset(ascending):
        return f"no lungs: all that is below {AIR_BELOW_HU:g} HU has the one value {measured[0]:g}, and is padding"
    return None


def missing_offset(ascending: np.ndarray) -> Offset | None:
    """Find the usual offset without which values would be those of a chest; None where there is none.

    Parameters
    ----------
    ascending : 1-D array
        Finite values of a scan that are not HU, sorted, with its padding.

    Examples
    --------
    >>> missing_offset(np.array([-2000.0, 24.0, 174.0, 1064.0]))
    Offset(hu=1024.0, air=24.0)
    >>> missing_offset(np.array([0.0, 127.0, 255.0]))
    """
    signed = [sign * offset for sign in (1, -1) for offset in OFFSETS]
    fitting = [offset for offset in signed if _fits(ascending, offset)]
    if not fitting:
        return None
    for air in _air_peaks(without_padding(ascending - fitting[0]) + fitting[0]):
        nearest = min(fitting, key=lambda offset: abs(air - AIR_HU - offset))
        if abs(air - AIR_HU - nearest) <= MAX_OFF_HU:
            return Offset(nearest, air)
    return Offset(fitting[0], None)


def without_padding(ascending: np.ndarray) -> np.ndarray:
    """Return what of sorted HU is no padding.

    Examples
    --------
    >>> without_padding(np.array([-3024, -1000, 40])).tolist()
    [-1000, 40]
    """
    return ascending[np.searchsorted(ascending, PADDING_BELOW_HU) :]


def _fits(ascending: np.ndarray, offset: float) -> bool:
    """Tell whether values less an offset have the air and the soft tissue of a chest."""
    hu = without_padding(ascending - offset)
    return _air_share(hu) >= MIN_AIR and _tissue_share(hu) >= MIN_TISSUE


def _air_share(ascending: np.ndarray) -> float:
    return float(np.searchsorted(ascending, AIR_BELOW_HU)) / max(1, ascending.size)


def _tissue_share(ascending: np.ndarray) -> float:
    below, upto = np.searchsorted(ascending, TISSUE_HU[0]), np.searchsorted(ascending, TISSUE_HU[1], side="right")
    return float(upto - below) / max(1, ascending.size)


def _lacks_lungs(ascending: np.ndarray) -> bool:
    """Tell whether all that is below -400 HU has one value, as padding at the level of air has."""
    above = ascending[np.searchsorted(ascending, ascending[0], side="right") :]
    return bool(np.searchsorted(above, AIR_BELOW_HU) < MAX_LUNG_LIKE * ascending.size)


def _air_peaks(ascending: np.ndarray) -> list[float]:
    """Return where air may lie: the peak of the low values without constants, which may be padding, and with them."""
    low = ascending[: np.searchsorted(ascending, ascending[0] + (AIR_BELOW_HU - AIR_HU))]
    return [_peak(values) for values in (_without_spikes(low), low) if values.size]


def _without_spikes(ascending: np.ndarray) -> np.ndarray:
    """Leave out values that are `MAX_SPIKE` times as frequent as the next lower and the next higher value."""
    _, which, counts = np.unique(ascending, return_inverse=True, return_counts=True)
    beside = np.maximum(np.append(0, counts[:-1]), np.append(counts[1:], 0))
    return ascending[(counts <= MAX_SPIKE * beside)[which]]


def _peak(ascending: np.ndarray) -> float:
    bins, counts = np.unique(np.floor(ascending / PEAK_HU), return_counts=True)
    peak = (bins[np.argmax(counts)] + 0.5) * PEAK_HU
    return float(np.median(ascending[np.abs(ascending - peak) <= PEAK_WIDTHS * PEAK_HU]))
