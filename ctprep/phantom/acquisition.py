"""From an ideal body to the numbers a scanner stores: motion, blur, noise, padding, units, axes."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ctprep.phantom.scanner import Kernel, Protocol
from ctprep.phantom.shapes import Array, coverage

AIR_HU, FOAM_HU, COUCH_HU = -1000.0, -945.0, -230.0
FLOOR_HU = -1024.0  # lowest value a scanner stores inside its field of view
COUCH_RADIUS_MM, COUCH_HALF_WIDTH_MM, COUCH_DEPTH_MM, COUCH_WALL_MM, MATTRESS_MM = 520.0, 225.0, 52.0, 2.5, 14.0
MOTION_BELOW, MOTION_IN_FRONT_OF = 0.55, 0.30  # shares of the volume, from foot and back, that bound what breathes
AXES = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}


def table(x_mm: Array, y_mm: Array, *, top_mm: float) -> Array:
    """Return air with the scanner's table in it, in HU; its trough is lowest at x = 0.

    Parameters
    ----------
    x_mm : (x, 1, 1) array
        To the patient's right.
    y_mm : (1, y, 1) array
        To the front.
    top_mm : float
        Where the mattress is lowest.
    """
    edge_mm = float(np.ptp(y_mm)) / (y_mm.size - 1)
    depth = top_mm - MATTRESS_MM + x_mm**2 / (2 * COUCH_RADIUS_MM) - y_mm  # below the mattress
    underside = COUCH_DEPTH_MM * np.sqrt(np.maximum(1.0 - (x_mm / COUCH_HALF_WIDTH_MM) ** 2, 0.0))
    aside = np.abs(x_mm) - COUCH_HALF_WIDTH_MM
    foam = np.maximum(np.maximum(-depth - MATTRESS_MM, depth - underside), aside)
    wall = np.maximum(np.minimum(np.abs(depth), np.abs(depth - underside)) - COUCH_WALL_MM, aside)
    hu = AIR_HU + coverage(foam, edge_mm) * (FOAM_HU - AIR_HU)
    return (hu + coverage(wall, edge_mm) * (COUCH_HU - hu)).astype(np.float32)


def smear(hu: Array, *, motion_mm: float, pixel_mm: float) -> Array:
    """Return a scan in which the chest rose by `motion_mm` halfway: double contours in front, in the lower slices."""
    if motion_mm == 0.0:
        return hu
    whole, part = divmod(motion_mm / pixel_mm, 1.0)
    near, far = (np.roll(hu, int(whole) + step, axis=1) for step in (0, 1))
    moved = near + np.float32(part) * (far - near)
    from_back, from_foot = (np.linspace(0.0, 1.0, n, dtype=np.float32) for n in hu.shape[1:])
    in_front = np.clip((from_back - MOTION_IN_FRONT_OF) / 0.25, 0.0, 1.0)[:, None]
    weight = 0.5 * in_front * np.clip((MOTION_BELOW - from_foot) / 0.15, 0.0, 1.0)
    return np.asarray(hu + weight * (moved - hu))


def blur(hu: Array, kernel: Kernel, *, spacing_mm: tuple[float, float, float], thickness_mm: float) -> Array:
    """Return a volume as a kernel and a slice thickness show it."""
    for axis, sigma_mm in enumerate((kernel.blur_mm, kernel.blur_mm, 0.29 * thickness_mm)):  # 0.29: of a box, 12**-0.5
        hu = _gaussian(hu, sigma_mm / spacing_mm[axis], axis)
    if kernel.edge_gain == 0.0:
        return hu
    return hu + kernel.edge_gain * (hu - _gaussian(_gaussian(hu, 1.0, 0), 1.0, 1))


def _gaussian(volume: Array, sigma: float, axis: int) -> Array:
    return np.asarray(ndimage.gaussian_filter1d(volume, sigma, axis=axis, mode="nearest", truncate=2.5))


def noise(rng: np.random.Generator, protocol: Protocol, body: Array) -> Array:
    """Return noise in HU with the kernel's grain, stronger inside the body and where the body is wide.

    Parameters
    ----------
    rng : numpy.random.Generator
        Advanced by the number of voxels.
    protocol : Protocol
        Kernel, grid and strength.
    body : (x, y, z) array
        Share of each voxel inside the skin.
    """
    kernel, pixel_mm = protocol.machine.kernel, protocol.spacing_mm[0]
    white = rng.standard_normal(protocol.shape, np.float32)
    grain = _gaussian(_gaussian(white, kernel.grain_mm / pixel_mm, 0), kernel.grain_mm / pixel_mm, 1)
    if kernel.edge_gain > 0.0:
        grain = white - 0.6 * grain
    width = body.mean(axis=(0, 1)) / body.mean()
    strength = protocol.noise_hu * kernel.noise_factor * (0.45 + 0.55 * body) * width / grain.std()
    return np.asarray(grain * strength)


def pad(hu: Array, padding_hu: float | None) -> Array:
    """Return the volume with its corners, outside the round field of view, at the padding value."""
    if padding_hu is None:
        return hu
    i, j = (np.linspace(-1.0, 1.0, n).reshape(-1, *(1,) * (2 - axis)) for axis, n in enumerate(hu.shape[:2]))
    return np.where(i**2 + j**2 > 1.0, np.float32(padding_hu), hu)


def encode(hu: Array, *, dtype: str, slope: float, inter: float) -> Array:
    """Return stored values, of which `stored * slope + inter` is in HU.

    Values beyond what the dtype holds take its bound.

    Examples
    --------
    >>> encode(np.array([-1024.0, 40.0]), dtype="uint16", slope=0.5, inter=-1024.0).tolist()
    [0, 2128]
    """
    stored = (hu - np.float32(inter)) / np.float32(slope)
    if np.issubdtype(np.dtype(dtype), np.floating):
        return np.asarray(stored, dtype=dtype)
    bounds = np.iinfo(dtype)
    return np.clip(np.rint(stored), bounds.min, bounds.max).astype(dtype)


def reorient(volume: Array, orientation: str) -> Array:
    """Return a right-front-head volume with its axes pointing where `orientation` says, as a contiguous array."""
    axes, signs = zip(*(AXES[letter] for letter in orientation))
    flips = tuple(slice(None, None, sign) for sign in signs)
    return np.ascontiguousarray(volume.transpose(axes)[flips])


def reorient_affine(world_from_voxel: Array, shape: tuple[int, int, int], orientation: str) -> Array:
    """Return the affine of the reoriented volume; world positions stay.

    Parameters
    ----------
    world_from_voxel : (4, 4) array
        Of the right-front-head volume.
    shape : (int, int, int)
        Of the right-front-head volume.
    orientation : str
        Three letters such as LPS.

    Examples
    --------
    >>> reorient_affine(np.diag([2.0, 2.0, 5.0, 1.0]), (10, 10, 4), "LAS")[0].tolist()
    [-2.0, 0.0, 0.0, 18.0]
    """
    voxel_from_stored = np.zeros((4, 4))
    voxel_from_stored[3, 3] = 1.0
    for column, (axis, sign) in enumerate(AXES[letter] for letter in orientation):
        voxel_from_stored[axis, column] = sign
        voxel_from_stored[axis, 3] = shape[axis] - 1 if sign < 0 else 0
    return np.asarray(world_from_voxel @ voxel_from_stored)
