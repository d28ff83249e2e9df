"""TorchIO's transforms: in the usual order, and in the fastest that gives this volume, plain and antialiased.

`Resize` has no antialiasing, so what it gives is another volume; `Resample` has it as an option. `copy=False` spares
the copy of the scan before each transform. Only the clamp must see every voxel: `RescaleIntensity` seeks percentiles on
the way and `ToCanonical` copies, so both come after the resampling. The default reader, SimpleITK, is the fastest.
"""

from pathlib import Path

import numpy as np
import torch
import torchio as tio
from timing import report

torch.set_num_threads(1)

SHAPE = (64, 64, 32)


usual = tio.Compose(
    [
        tio.ToCanonical(),
        tio.Clamp(-1000, 400),
        tio.RescaleIntensity((0, 1), in_min_max=(-1000, 400)),
        tio.Resize(SHAPE),
    ]
)


def in_usual_order(scan: Path) -> tio.ScalarImage:
    return usual(tio.ScalarImage(scan))


def clamped(scan: Path) -> tio.ScalarImage:
    return tio.Clamp(-1000, 400, copy=False)(tio.ScalarImage(scan))


def scaled(image: tio.ScalarImage) -> tio.ScalarImage:
    unit = tio.RescaleIntensity((0, 1), in_min_max=(-1000, 400), copy=False)(image)
    return tio.ToCanonical(copy=False)(unit)


def resize(scan: Path) -> tio.ScalarImage:
    return scaled(tio.Resize(SHAPE, copy=False)(clamped(scan)))


def resample_antialiased(scan: Path) -> tio.ScalarImage:
    image = clamped(scan)
    factors = np.array(image.spatial_shape) / SHAPE
    source_from_target = np.diag([*factors, 1.0])
    source_from_target[:3, 3] = (factors - 1) / 2  # an affine maps voxel centres, so edges move by half a voxel
    target = (SHAPE, image.affine @ source_from_target)
    return scaled(tio.Resample(target, antialias=True, copy=False)(image))


report(
    {
        "TorchIO, usual order": in_usual_order,
        "TorchIO, fastest order": resize,
        "TorchIO, Resample antialias": resample_antialiased,
    },
    packages=["torchio", "simpleitk", "torch"],
    volume_of=lambda image: image.numpy()[0],
)
