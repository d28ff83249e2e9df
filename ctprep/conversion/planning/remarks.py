"""What a user should know of single scans that are converted nevertheless, gathered into a few notes."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ctprep.scans.readers.coverage import UNUSUAL, unusual_coverage
from ctprep.scans.readers.header import ScanHeader
from ctprep.store.records import Records
from ctprep.volume.grid import VoxelGrid
from ctprep.volume.recipe import Recipe

MAX_NAMED = 10
"""Scans that a note names."""

CUT_OFF = "cut off"
CONFLICT = "conflict"
STATED = "stated"

CUT_OFF_BELOW = 0.995
"""Share of the field of view that is kept, below which it is said; the rest is rounding to whole voxels."""

NOTES = {
    CONFLICT: "orientation: sform and qform differ in {count} of {total} scans, such as {scan} ({text}); the sform is "
    "taken",
    STATED: "orientation: {text} is taken for {count} of {total} scans, as stated, for their files do not say it, such "
    "as {scan}",
    CUT_OFF: "spacing: {count} of {total} scans reach beyond the volume and keep {least:.0%} to {most:.0%} of their "
    "field of view, such as {scan} ({text})",
} | {kind: "coverage: {count} of {total} scans " + said + ", such as {scan} ({text})" for kind, said in UNUSUAL.items()}


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that a user should know of a scan.

    Parameters
    ----------
    kind : str
        A key of `NOTES`.
    text : str
        What it is with this scan.
    value : float
        The same as a number, where it is one; the least is the one to look at.
    """

    kind: str
    text: str
    value: float = 0.0


def remarks_on_header(header: ScanHeader, recipe: Recipe) -> tuple[Remark, ...]:
    """Return what is remarkable of a scan whose header was read."""
    conflict = header.conflict
    differ = (Remark(CONFLICT, conflict),) if conflict else ()
    return differ + remarks_on_grid(header.grid, recipe, stated=header.stated_orientation)


def remarks_on_grid(grid: VoxelGrid, recipe: Recipe, *, stated: str = "") -> tuple[Remark, ...]:
    """Return what is remarkable of a scan whose header was read once.

    Parameters
    ----------
    grid : VoxelGrid
        In the axes of the file.
    recipe : Recipe
    stated : str
        The orientation that the user stated, where it was taken.
    """
    remarks = [Remark(kind, f"{mm:.4g} mm", mm) for kind, mm in unusual_coverage(grid)]
    if stated:
        remarks.append(Remark(STATED, stated))
    if (kept := kept_share(grid, recipe)) < CUT_OFF_BELOW:
        remarks.append(Remark(CUT_OFF, f"{kept:.0%}", kept))
    return tuple(remarks)


def kept_share(grid: VoxelGrid, recipe: Recipe) -> float:
    """Return the share of a scan's field of view that lies within the stored volume.

    Examples
    --------
    >>> kept_share(VoxelGrid((100, 100, 50), np.eye(4)), Recipe(shape=(50, 100, 50), spacing_mm=(1, 1, 2)))
    0.5
    """
    if recipe.spacing_mm is None or recipe.crop != "none":  # whose box is not known yet
        return 1.0
    canonical = grid.canonical()
    source_mm = np.multiply(canonical.shape, canonical.spacing_mm)
    stored_mm = np.multiply(recipe.shape, recipe.spacing_mm)
    return float(np.prod(np.minimum(1, stored_mm / source_mm)))


def notes_on_remarks(remarks: Iterable[tuple[str, tuple[Remark, ...]]]) -> list[str]:
    """Return one note for each kind of remark.

    Parameters
    ----------
    remarks : iterable of (str, tuple of Remark)
        A scan's id, and what is remarkable of it.

    Examples
    --------
    >>> notes_on_remarks([("a", (Remark("conflict", "LAS and LPS"),)), ("b", ())])
    ['orientation: sform and qform differ in 1 of 2 scans, such as a (LAS and LPS); the sform is taken']
    """
    of_kind, total = defaultdict(list), 0
    for scan, those in remarks:
        total += 1
        for remark in those:
            of_kind[remark.kind].append((remark.value, scan, remark.text))
    notes = []
    for kind, template in NOTES.items():
        if found := of_kind.get(kind):
            least, scan, text = min(found)
            most = max(found)[0]
            notes.append(template.format(count=len(found), total=total, scan=scan, text=text, least=least, most=most))
    return notes


def notes_on_padding(scans: Sequence[str], records: Records) -> list[str]:
    """Return a note on scans that hold padding, if any does; `scans` are their ids."""
    share = records.column("padding") / records.column("source_shape").prod(axis=1, dtype=np.int64)
    if not (count := int(np.count_nonzero(share > 0))):
        return []
    most = int(np.argmax(share))
    return [
        f"padding: {count} of {len(scans)} scans hold padding outside the field of view, at most {share[most]:.1%} in "
        f"{scans[most]}; it is stored as air"
    ]


def notes_on_accepted(scans: Sequence[str], records: Records, accept: Mapping[str, Sequence[str]]) -> list[str]:
    """Return notes on what was accepted, and on what need not have been; `accept` has the codes by scan id."""
    used = {scan: codes.split() for scan, codes in zip(scans, records.text("accepted"), strict=True)}
    counts = Counter(code for codes in used.values() for code in codes)
    unused = [f"{scan}={code}" for scan, codes in used.items() for code in accept.get(scan, ()) if code not in codes]
    notes = [f"accepted: {code} of {count} scan{'s' * (count > 1)}" for code, count in sorted(counts.items())]
    if unused:
        notes.append(f"accepted: nothing where nothing was to accept, such as {unused[0]}; leave that out")
    return notes


def notes_on_crops(not_cropped: Sequence[str]) -> tuple[str, ...]:
    """Say which scans are stored whole, because the lungs that the recipe crops to were not found.

    Examples
    --------
    >>> notes_on_crops(["a", "b"])
    ('2 scans are stored whole, because two lungs were not found in them: a, b',)
    """
    if not not_cropped:
        return ()
    scans, them = ("1 scan is", "it") if len(not_cropped) == 1 else (f"{len(not_cropped):,} scans are", "them")
    return (f"{scans} stored whole, because two lungs were not found in {them}: {_named(not_cropped)}",)


def notes_on_lungs(without_lungs: Sequence[str]) -> tuple[str, ...]:
    """Say for which scans the stored share of lung is 0 everywhere, because no lungs were found.

    Examples
    --------
    >>> notes_on_lungs(["a"])
    ('no lungs were found in 1 scan, whose lung is 0 everywhere: a',)
    """
    if not without_lungs:
        return ()
    scans = "1 scan" if len(without_lungs) == 1 else f"{len(without_lungs):,} scans"
    return (f"no lungs were found in {scans}, whose lung is 0 everywhere: {_named(without_lungs)}",)


def _named(scans: Sequence[str]) -> str:
    more = f" and {len(scans) - MAX_NAMED:,} more" if len(scans) > MAX_NAMED else ""
    return ", ".join(scans[:MAX_NAMED]) + more
