"""The procedure of the Keras example "3D image classification from CT scans": load, window, turn, zoom."""

from pathlib import Path

import nibabel
import numpy as np
from scipy import ndimage
from timing import report

SHAPE = (64, 64, 32)


def prepare(scan: Path) -> np.ndarray:
    volume = np.asarray(nibabel.load(scan).get_fdata())
    volume = ((np.clip(volume, -1000, 400) + 1000) / 1400).astype("float32")
    volume = ndimage.rotate(volume, 90, reshape=False)
    return ndimage.zoom(volume, [target / n for target, n in zip(SHAPE, volume.shape)], order=1)


report({"Keras example": prepare}, packages=["nibabel", "scipy"])
