"""Where the lungs are in a chest CT: by threshold, components and shape, without a trained network.

Axes are (x, y, z), RAS+: x towards the patient's right, y towards the front, z towards the head. It takes some 15 ms
for a stored volume of 64 x 64 x 32 voxels, and voxels of about 2 to 12 mm will do. Voxels that are half lung or more
count as lung; tests/benchmarks/lungs.py measures how well.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

RIGHT, LEFT = 1, 2
"""What `Lungs.sides` holds in the voxels of each lung; 0 elsewhere."""

AIR_HU = -400.0
"""Below is air or lung: about half way from lung to soft tissue."""
BODY_HU = -300.0
TISSUE_HU = 20.0
BOUNDARY_HU = (-500.0, -300.0)
"""Where the boundary of the lungs is looked for, half way from the lungs' own median to soft tissue."""
RIM_HU = -100.0
"""Partial voxels around gas outside the lungs are below."""
BONE_HU = 150.0

OUTSIDE_HU, MAX_TOUCHED, MIN_CROPPED_ML = -970.0, 3.5, 300.0
"""Of what reaches the sides of the volume, lungs are denser than the first; per slice they touch the sides with at most
so many times the root of their area, and the air around a body with more."""

AIRWAY_CM2 = 7.0
"""The windpipe and a main bronchus are smaller in an axial slice, the lungs larger."""
AIRWAY_MIDLINE_MM = 25.0
AIRWAY_STEP_MM = 4.0
AIRWAY_LENGTH_MM = 40.0
"""What ends above is the throat; the windpipe begins below it."""
MIN_PIECE_ML, MIN_PIECE_SHARE = 15.0, 0.01
"""Of the largest piece; smaller ones are noise, or gas in the bowel."""
MARGIN_MM = 20.0
CLOSING_MM = 7.0
"""Larger closings take in more of the hila and the diaphragm than of vessels: the Dice falls."""
HOLE_CM2 = 20.0
"""A larger hole in an axial slice may be the liver, around which the lungs lie as a ring."""

SECTORS, SPAN_SECTORS = 48, 7
"""Directions from the middle of the chest; a dip in the outline of up to so many between two shoulders is filled."""
DIP_MM, DIP_SHARE = 7.0, 0.6
SIDEWAYS = 0.5
"""Least cosine of a direction in which dips are filled: before the spine and behind the breastbone they are anatomy."""

MIN_SECTION_CM2 = 15.0
MIN_VOLUME_ML, MAX_VOLUME_ML = 800.0, 10_000.0
MIN_SIDE_SHARE = 0.15
DENSE_HU = -550.0
CUT_SHARE = 0.25
"""Of the largest section: with more lung in the first or last slice, the scan ends within the lungs."""


@dataclass(frozen=True, eq=False)
class Lungs:
    """The lungs of one scan.

    Parameters
    ----------
    mask : (x, y, z) bool array
        Voxels that are lung, its vessels, opacities and consolidations; empty where `failure` says why.
    sides : (x, y, z) uint8 array
        `RIGHT` or `LEFT` in each of these voxels, 0 elsewhere.
    right_ml, left_ml : float
        Volume of each lung.
    failure : str, optional
        Why no lungs were found.
    doubts : tuple of str
        What is unusual about those that were found; a slab or a collapsed lung has some.
    """

    mask: np.ndarray
    sides: np.ndarray
    right_ml: float
    left_ml: float
    failure: str | None = None
    doubts: tuple[str, ...] = ()

    @property
    def volume_ml(self) -> float:
        """Volume of both lungs."""
        return self.right_ml + self.left_ml

    @property
    def has_both(self) -> bool:
        """Whether each side has lung; one that is collapsed or consolidated may have none."""
        return self.failure is None and min(self.right_ml, self.left_ml) >= MIN_SIDE_SHARE * self.volume_ml


def find_lungs(hu: np.ndarray, *, spacing_mm: Sequence[float]) -> Lungs:
    """Find the lungs of a chest CT.

    Air in the body is what does not reach the sides of the volume. Windpipe, main bronchi and gas in the bowel are left
    out; vessels, and dense lung that the rest surrounds or that dents its outer surface, are taken in.

    Parameters
    ----------
    hu : (x, y, z) array
        Attenuation in HU, or clipped to a window that holds -1000 to 150 HU (`ctprep.volume.intensity.hu_from_unit`
        gives it from a stored volume); NaN is air.
    spacing_mm : three floats
        Between voxel centres along each axis.

    Returns
    -------
    Lungs

    Examples
    --------
    >>> hu = np.full((40, 30, 30), 40.0)
    >>> hu[[0, -1]] = hu[:, [0, -1]] = -1000
    >>> hu[5:18, 6:24, 4:26] = hu[22:35, 6:24, 4:26] = -850
    >>> lungs = find_lungs(hu, spacing_mm=(8, 8, 8))
    >>> lungs.failure, round(lungs.left_ml / 1000, 1), round(lungs.right_ml / 1000, 1)
    (None, 2.7, 2.7)
    """
    spacing = np.asarray(spacing_mm, dtype=float)
    hu = np.where(np.isnan(hu), np.float32(-1000), hu) if np.isnan(np.min(hu)) else hu
    body = (hu > BODY_HU).sum(axis=(1, 2))
    if not body.any():
        return _nothing(hu.shape, "no voxel is soft tissue")
    inside = _air_in_body(hu, spacing=spacing)
    middle = int(np.searchsorted(np.cumsum(body), body.sum() / 2))
    airway = _trace_airway(inside, middle=middle, spacing=spacing)
    core = _choose_pieces(inside & ~airway, spacing=spacing)
    sections_cm2 = core.sum(axis=(0, 1)) * spacing[0] * spacing[1] / 100
    if sections_cm2.max() < MIN_SECTION_CM2:
        return _nothing(
            hu.shape,
            f"the largest section of air in the body is {sections_cm2.max():.0f} cm2, expected {MIN_SECTION_CM2:.0f} "
            "or more of lungs",
        )
    mask = np.zeros(hu.shape, dtype=bool)
    box = _box_around(core, margin=np.ceil(MARGIN_MM / spacing).astype(int))
    mask[box] = _complete(hu[box], core[box], inside[box] & ~core[box], spacing=spacing)
    return _described(hu, mask, _sides_of(mask, middle=middle, spacing=spacing), spacing=spacing)


def _nothing(shape: tuple[int, ...], failure: str) -> Lungs:
    return Lungs(np.zeros(shape, dtype=bool), np.zeros(shape, dtype=np.uint8), 0.0, 0.0, failure)


def _air_in_body(hu: np.ndarray, *, spacing: np.ndarray) -> np.ndarray:
    """Return what is as light as air and not around the body; top and bottom of the volume may cut lungs.

    What reaches the sides of the volume is around the body, but for lungs in a volume cropped to them: those are
    denser than air, and touch the sides with little of their outline.
    """
    pieces, n_pieces = ndimage.label(hu < AIR_HU)
    voxels = np.bincount(pieces.ravel(), minlength=n_pieces + 1)
    touched_mm = np.zeros(n_pieces + 1)
    for side, step in ((pieces[[0, -1]], spacing[1]), (pieces[:, [0, -1]], spacing[0])):
        touched_mm += np.bincount(side.ravel(), minlength=n_pieces + 1) * step
    is_inside = touched_mm == 0
    is_inside[0] = False
    voxels[0] = 0
    for piece in np.flatnonzero((touched_mm > 0) & (voxels * spacing.prod() > 1000 * MIN_CROPPED_ML)):
        n_slices = len(np.unique(np.nonzero(pieces == piece)[2]))
        section_mm2 = voxels[piece] * spacing[0] * spacing[1] / n_slices
        is_little = touched_mm[piece] / n_slices < MAX_TOUCHED * np.sqrt(section_mm2)
        is_inside[piece] = is_little and np.median(hu[pieces == piece]) > OUTSIDE_HU
    return is_inside[pieces]


def _on_sides(pieces: np.ndarray) -> np.ndarray:
    return np.concatenate([pieces[[0, -1]].ravel(), pieces[:, [0, -1]].ravel()])


def _sections(mask: np.ndarray, spacing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pieces of each axial slice, numbered from 1, and the area of each number in cm2."""
    pieces, n_pieces = ndimage.label(mask, structure=_IN_PLANE)
    return pieces, np.bincount(pieces.ravel(), minlength=n_pieces + 1) * spacing[0] * spacing[1] / 100


_IN_PLANE = ndimage.generate_binary_structure(3, 1) & (np.arange(3) == 1)


def _trace_airway(inside: np.ndarray, *, middle: int, spacing: np.ndarray) -> np.ndarray:
    """Return the windpipe and the main bronchi: small sections from the topmost near the midline downwards."""
    pieces, area_cm2 = _sections(inside, spacing)
    is_airway = np.zeros(len(area_cm2), dtype=bool)
    is_small = area_cm2 < AIRWAY_CM2
    is_small[0] = False
    reach = max(1, round(AIRWAY_MIDLINE_MM / spacing[0]))
    central = slice(max(0, middle - reach), middle + reach + 1)
    steps = max(1, round(AIRWAY_STEP_MM / spacing[0]))
    above: np.ndarray | None = None
    length_mm = 0.0
    for k in range(inside.shape[2] - 1, -1, -1):
        section = pieces[:, :, k]
        if above is None:
            found = _most_central(section[central], is_small, middle=middle - central.start)
        else:
            found = np.unique(section[ndimage.binary_dilation(above, iterations=steps)])
        found = found[is_small[found]]
        if found.size:
            is_airway[found] = True
            above = np.isin(section, found)
            length_mm += spacing[2]
        elif length_mm < AIRWAY_LENGTH_MM:
            above = None
        else:
            break
    return is_airway[pieces]


def _most_central(section: np.ndarray, is_small: np.ndarray, *, middle: int) -> np.ndarray:
    """Return the number of the small piece whose nearest voxel is nearest to the midline, if there is one."""
    columns, rows = np.nonzero(is_small[section])
    nearest = np.abs(columns - middle).argmin() if columns.size else 0
    return section[columns[nearest : nearest + 1], rows[nearest : nearest + 1]]


def _choose_pieces(air: np.ndarray, *, spacing: np.ndarray) -> np.ndarray:
    """Return the largest piece, and those of some size that reach up beside it; gas in the bowel lies below."""
    pieces, n_pieces = ndimage.label(air)
    if not n_pieces:
        return air
    volume_ml = np.bincount(pieces.ravel()) * spacing.prod() / 1000
    volume_ml[0] = 0
    heights = [box[2] for box in ndimage.find_objects(pieces)]
    largest = int(volume_ml.argmax())
    halfway = (heights[largest - 1].start + heights[largest - 1].stop) / 2
    is_chosen = volume_ml > max(MIN_PIECE_ML, MIN_PIECE_SHARE * volume_ml[largest])
    is_chosen[1:] &= np.array([height.stop for height in heights]) >= halfway
    is_chosen[largest] = True
    return is_chosen[pieces]


def _box_around(mask: np.ndarray, *, margin: np.ndarray) -> tuple[slice, ...]:
    (box,) = ndimage.find_objects(mask.view(np.uint8))
    return tuple(slice(max(0, side.start - more), side.stop + more) for side, more in zip(box, margin, strict=True))


def _complete(hu: np.ndarray, core: np.ndarray, other_gas: np.ndarray, *, spacing: np.ndarray) -> np.ndarray:
    """Return the lungs out to their boundary, with vessels and dense lung."""
    rim = ndimage.binary_dilation(other_gas) & (hu < RIM_HU) & ~core
    boundary_hu = np.clip((np.median(hu[core]) + TISSUE_HU) / 2, *BOUNDARY_HU)
    lungs = core | ((hu < boundary_hu) & ndimage.binary_dilation(core, iterations=2) & ~rim)
    lungs = _closed(lungs, spacing=spacing)
    lungs |= _dips(lungs, spacing=spacing) & (hu < BONE_HU)
    lungs |= _holes(lungs, spacing=spacing)
    return lungs & ~rim


def _closed(mask: np.ndarray, *, spacing: np.ndarray) -> np.ndarray:
    """Close a mask by a ball; what lies above and below the volume is unknown and changes nothing."""
    reach = np.floor(CLOSING_MM / spacing).astype(int)
    offsets = np.ogrid[tuple(slice(-n, n + 1) for n in reach)]
    ball = sum((offset * step) ** 2 for offset, step in zip(offsets, spacing, strict=True)) <= CLOSING_MM**2
    return mask | ndimage.binary_erosion(ndimage.binary_dilation(mask, ball), ball, border_value=1)


def _holes(mask: np.ndarray, *, spacing: np.ndarray) -> np.ndarray:
    """Return what the lungs surround in an axial slice, up to a size."""
    pieces, area_cm2 = _sections(~mask, spacing)
    is_hole = area_cm2 < HOLE_CM2
    is_hole[_on_sides(pieces)] = False
    is_hole[0] = False
    return is_hole[pieces]


def _dips(mask: np.ndarray, *, spacing: np.ndarray) -> np.ndarray:
    """Return where the outer surface is dented between two shoulders: dense lung at the chest wall.

    In each slice the outline is a radius for each direction from the middle of both lungs, which is closed in the
    morphological sense.
    """
    x, y = (
        (np.arange(n) - np.average(np.arange(n), weights=mask.sum(axis=others))) * step
        for n, others, step in zip(mask.shape, ((1, 2), (0, 2)), spacing[:2], strict=False)
    )
    radius = np.hypot(x[:, None], y)
    angle = np.arctan2(y, x[:, None])
    sector = np.floor((angle / (2 * np.pi) + 0.5) * SECTORS).astype(int) % SECTORS
    outline = np.zeros((SECTORS, mask.shape[2]))
    i, j, k = np.nonzero(mask)
    np.maximum.at(outline, (sector[i, j], k), radius[i, j])
    closed = ndimage.grey_closing(outline, size=(SPAN_SECTORS, 1), mode="wrap")
    directions = (np.arange(SECTORS) + 0.5) / SECTORS * 2 * np.pi
    is_sideways = np.abs(np.cos(directions)) > SIDEWAYS
    is_dip = (closed - outline > DIP_MM) & (outline > DIP_SHARE * closed) & is_sideways[:, None]
    filled = np.where(is_dip, closed, 0)
    return (radius[:, :, None] > outline[sector]) & (radius[:, :, None] <= filled[sector])


def _sides_of(mask: np.ndarray, *, middle: int, spacing: np.ndarray) -> np.ndarray:
    """Return which lung each voxel of a mask belongs to.

    A piece lies on the side of its centre. One that reaches far across the midline is both lungs, joined before or
    behind the heart: it is cut in each slice where there is least of it near the midline.
    """
    pieces, n_pieces = ndimage.label(mask)
    total = np.bincount(pieces.ravel(), minlength=n_pieces + 1)
    right = np.bincount(pieces[middle:].ravel(), minlength=n_pieces + 1)
    right_share = right / np.maximum(total, 1)
    sides = np.where(right_share > 0.5, RIGHT, LEFT).astype(np.uint8)[pieces]
    is_both = (right_share > MIN_SIDE_SHARE) & (right_share < 1 - MIN_SIDE_SHARE)
    is_both[0] = False
    if is_both.any():
        joined = is_both[pieces]
        cut = _thinnest(joined, middle=middle, spacing=spacing)
        is_right = np.arange(mask.shape[0])[:, None] >= cut
        sides = np.where(joined, np.where(is_right, RIGHT, LEFT)[:, None, :], sides).astype(np.uint8)
    sides[~mask] = 0
    return sides


def _thinnest(joined: np.ndarray, *, middle: int, spacing: np.ndarray) -> np.ndarray:
    """Return, for each slice, the x near the midline from which on a joined piece is the right lung."""
    reach = max(1, round(2 * AIRWAY_MIDLINE_MM / spacing[0]))
    first = max(0, middle - reach)
    depth = joined[first : middle + reach].sum(axis=1).astype(float)
    depth = ndimage.uniform_filter(depth, size=(2, 3), mode="nearest")
    distance = np.abs(np.arange(first, first + len(depth)) - middle)[:, None]
    return first + np.argmin(depth + 1e-3 * distance, axis=0)


def _described(hu: np.ndarray, mask: np.ndarray, sides: np.ndarray, *, spacing: np.ndarray) -> Lungs:
    voxel_ml = float(spacing.prod() / 1000)
    right_ml, left_ml = (float(np.count_nonzero(sides == side)) * voxel_ml for side in (RIGHT, LEFT))
    doubts = _doubts(hu, mask, right_ml, left_ml)
    return Lungs(mask, sides, right_ml, left_ml, doubts=tuple(doubts))


def _doubts(hu: np.ndarray, mask: np.ndarray, right_ml: float, left_ml: float) -> list[str]:
    doubts = []
    total_ml, (smaller_ml, smaller) = right_ml + left_ml, min((right_ml, "right"), (left_ml, "left"))
    if not MIN_VOLUME_ML <= total_ml <= MAX_VOLUME_ML:
        doubts.append(f"the lungs have {total_ml:.0f} ml, expected {MIN_VOLUME_ML:.0f} to {MAX_VOLUME_ML:.0f}")
    if smaller_ml < MIN_SIDE_SHARE * total_ml:
        doubts.append(f"the {smaller} lung has {smaller_ml:.0f} of {total_ml:.0f} ml")
    if (density := float(np.median(hu[mask]))) > DENSE_HU:
        doubts.append(f"the lungs' median is {density:.0f} HU, expected at most {DENSE_HU:.0f}")
    sections = np.count_nonzero(mask, axis=(0, 1))
    cut = [name for name, n in (("bottom", sections[0]), ("top", sections[-1])) if n > CUT_SHARE * sections.max()]
    if cut:
        doubts.append(f"the scan ends within the lungs at the {' and the '.join(cut)}")
    return doubts
