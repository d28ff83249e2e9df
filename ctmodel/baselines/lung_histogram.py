"""How much of the lungs lies in which band of attenuation: density, without place or shape."""

import numpy as np

from ctprep.volume.lungs import Lungs

EDGES_HU = (-950.0, -900.0, -850.0, -800.0, -750.0, -700.0, -600.0, -500.0, -400.0, -300.0, -200.0, -100.0, 0.0)
"""Between the bands; the first has no lower and the last no upper end."""


def describe(hu: np.ndarray, lungs: Lungs) -> np.ndarray:
    """Return the share of the lungs in each band.

    Parameters
    ----------
    hu : (x, y, z) array
        Attenuation in HU.
    lungs : Lungs
        Of the same volume.

    Returns
    -------
    (14,) float64 array
        Its sum is 1; NaN where no lungs were found.
    """
    n_bands = len(EDGES_HU) + 1
    if lungs.failure:
        return np.full(n_bands, np.nan)
    bands = np.searchsorted(EDGES_HU, hu[lungs.mask], side="right")
    return np.bincount(bands, minlength=n_bands) / bands.size
