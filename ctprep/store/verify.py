"""Whether a store is what its conversion wrote: every file, volume and record, and the sources if they are there.

Nothing here repairs anything. Each finding says how that is done.
"""

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ctprep.errors import ACCEPTABLE_CODES, BadScan, CatalogError, NonFinite, StoreError, StoreNotFound
from ctprep.execution.progress import Progress, silent
from ctprep.files import read_regular
from ctprep.preparation import MAX_NONFINITE, prepare
from ctprep.scans.raw_files import list_raw_files
from ctprep.scans.scan import NOT_CROPPED, UNKNOWN, UNLABELLED, ScanRecord
from ctprep.scans.subsets import SUBSETS
from ctprep.store.chunk import (
    LUNG,
    LUNG_DTYPE,
    VOLUME,
    chunk_checksum,
    chunk_path,
    chunked_arrays,
    encode_chunk,
    most_chunk_bytes,
)
from ctprep.store.store import Store, open_store
from ctprep.volume.frame import sampling_of
from ctprep.volume.grid import Box, VoxelGrid, is_orientation

RAW_SAMPLE = 16
"""Scans that are prepared again from their sources, where not all are."""

SHA256_DIGITS = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was written.

    Parameters
    ----------
    where : str
        A scan's id, or a file's path under the store.
    what : str
        What is wrong, and how to mend it.
    """

    where: str
    what: str


@dataclass(frozen=True)
class Verification:
    """What was looked at, and what was found.

    Parameters
    ----------
    scans : int
        Volumes that were read.
    from_raw : int
        Volumes that were prepared again from their sources.
    findings : tuple of Finding
        None where all is well.
    digest : str
        The store's, as `ctprep info` shows it; empty where the store cannot be opened.
    store : str
        The name of the store.

    Examples
    --------
    >>> found = verify("out.zarr")
    >>> found.scans, found.findings
    (17, ())
    """

    scans: int
    from_raw: int
    findings: tuple[Finding, ...]
    digest: str
    store: str

    def lines(self) -> list[str]:
        """Return a line for each finding, and one with what was read, the number of findings and the digest."""
        again = f", {self.from_raw:,} prepared again" if self.from_raw else ""
        found = f"{len(self.findings):,} finding{'s' if len(self.findings) != 1 else ''}"
        summary = f"{self.store}: {self.scans:,} volumes read{again}, {found}  {self.digest}"
        return [*(f"{finding.where}  {finding.what}" for finding in self.findings), summary.rstrip()]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, ready for JSON."""
        return asdict(self)


def verify(
    path: str | os.PathLike[str],
    *,
    raw: str | os.PathLike[str] | None = None,
    sample: int | None = RAW_SAMPLE,
    seed: int = 0,
    progress: Progress | None = None,
) -> Verification:
    """Read every byte of a store and say what is not as it was written.

    Parameters
    ----------
    path : path
        The store.
    raw : path, optional
        The folder it was made from: a sample of the scans is prepared again and must give the same chunks.
    sample : int, optional
        How many of them; None for all.
    seed : int
        Which of them.
    progress : callable, optional
        See `ctprep.execution.progress`.

    Returns
    -------
    Verification

    Raises
    ------
    StoreNotFound
        If nothing is there.
    CatalogError
        If `raw` is not a folder that holds scans.
    StoreError
        If the store is replaced meanwhile.

    Examples
    --------
    >>> verify("out.zarr").findings
    ()
    >>> Path("out.zarr/volume/c.3.0.0.0").unlink()
    >>> print(verify("out.zarr").findings[0].where, verify("out.zarr").findings[0].what)
    CT-0/p06_0 its volume is missing; convert again to rebuild it
    """
    path = Path(path)
    files = _files_in(Path(raw)) if raw is not None else {}
    try:
        store = open_store(path)
    except StoreNotFound:
        raise
    except StoreError as error:
        return Verification(0, 0, (Finding(path.name, str(error).removeprefix(f"{path}: ")),), "", path.name)
    rows = _sampled(len(store), sample, seed) if raw is not None else []
    with (progress or silent)(len(store) + len(rows), "verifying") as advance:
        findings = [*_foreign_files(store), *_impossible_names(store)]
        for row in range(len(store)):
            findings += _judge_row(store, row)
            advance(1)
        for row in rows:
            findings += _judge_source(store, row, files.get(store.scans[row]))
            advance(1)
    digest = store.digest()  # an error if it was replaced
    return Verification(len(store), len(rows), tuple(findings), digest, path.name)


def _files_in(raw: Path) -> Mapping[str, str]:
    if not raw.is_dir():
        raise CatalogError(f"{raw}: is not a folder; give the one that the store was made from")
    return list_raw_files(raw, follow_links=True).found


def _sampled(n_scans: int, sample: int | None, seed: int) -> list[int]:
    if sample is None or sample >= n_scans:
        return list(range(n_scans))
    return sorted(np.random.default_rng(seed).choice(n_scans, sample, replace=False).tolist())


def _foreign_files(store: Store) -> Iterator[Finding]:
    """Find files that no conversion wrote: they change nothing but the digest."""
    for name in store.foreign_files():
        yield Finding(name, "was not written by ctprep; move it away")


def _impossible_names(store: Store) -> Iterator[Finding]:
    if list(store.scans) != sorted(set(store.scans)):
        yield Finding("scan", "ids are not sorted, or one is there twice; convert again with --rebuild")
    rejected = {rejection.scan for rejection in store.rejected}
    for scan in sorted(rejected.intersection(store.scans)):
        yield Finding(scan, "is stored and rejected; convert again with --rebuild")


def _judge_row(store: Store, row: int) -> Iterator[Finding]:
    """Look at one volume, its record and its label."""
    scan = store.scans[row]
    volume = np.empty(store.recipe.shape, store.recipe.dtype)
    if problem := store.read_or_say(row, volume):
        yield Finding(scan, f"its volume {problem}")
    else:
        unit = store.unit(volume)
        if not (np.isfinite(unit).all() and unit.min() >= 0 and unit.max() <= 1):
            yield Finding(scan, "its volume has values outside 0 to 1; convert again with --rebuild")
    if store.recipe.lung and (problem := store.read_or_say(row, np.empty(store.recipe.shape, LUNG_DTYPE), LUNG)):
        yield Finding(scan, f"its lung {problem}")
    for problem in _impossible(store, row):
        yield Finding(scan, f"{problem}; convert again with --rebuild")


def _impossible(store: Store, row: int) -> Iterator[str]:
    """Say what no conversion can have written of a scan."""
    record, label = store.records[row], int(store.labels[row])
    if not (label == UNLABELLED or 0 <= label < len(store.classes)):
        yield f"its label is {label}, there are {len(store.classes)} classes"
    if not store.patients[row]:
        yield "it has no patient"
    if store.splits and store.splits[row] not in ("", *SUBSETS):
        yield f"its subset is {store.splits[row]!r}"
    if len(record.source_sha256) != 64 or not SHA256_DIGITS.issuperset(record.source_sha256):
        yield "the digest of its source is none"
    if not (np.diff(record.hu_quantile) >= 0).all():  # NaN is not
        yield "its quantiles do not ascend"
    if min(record.source_shape) < 1:
        yield f"its source has the shape {record.source_shape}"
        return
    voxels = math.prod(record.source_shape)
    most = voxels if NonFinite.code in record.accepted.split() else MAX_NONFINITE * voxels
    if not 0 <= record.nonfinite <= most:
        yield f"it has {record.nonfinite:,} non-finite voxels"
    if record.padding != UNKNOWN and not 0 <= record.padding <= voxels - record.nonfinite:
        yield f"it has {record.padding:,} voxels of padding"
    if not set(record.accepted.split()) <= set(ACCEPTABLE_CODES):
        yield f"{record.accepted!r} cannot be accepted"
    if record.stated_orientation and not is_orientation(record.stated_orientation):
        yield f"its stated orientation is {record.stated_orientation!r}"
    if not _affine_follows(store, record):
        yield "its affine does not follow from that of its source"


def _affine_follows(store: Store, record: ScanRecord) -> bool:
    affine = np.array(record.source_affine)
    if not (np.isfinite(affine).all() and np.abs(np.linalg.det(affine[:3, :3])) > 0):
        return False
    grid = VoxelGrid(record.source_shape, affine).canonical()
    box = None if record.crop_box == NOT_CROPPED else Box(*record.crop_box)
    if box and not all(0 <= a < b <= n for a, b, n in zip(box.lower, box.upper, grid.shape, strict=True)):
        return False
    expected = grid.sampled(sampling_of(grid, store.recipe, box)).affine
    return bool(np.allclose(expected, record.affine, rtol=1e-9, atol=1e-6))


def _judge_source(store: Store, row: int, file: str | None) -> Iterator[Finding]:
    """Prepare a scan again from its source."""
    scan = store.scans[row]
    if file is None:
        yield Finding(scan, "its source is not in the raw folder; convert again to leave the scan out")
        return
    record = store.records[row]
    accepted, orientation = record.accepted.split(), record.stated_orientation
    try:
        prepared = prepare(file, store.recipe, accept=accepted, orientation=orientation)
    except BadScan as error:
        yield Finding(scan, f"its source is rejected now ({error}); convert again")
        return
    if prepared.record.source_sha256 != record.source_sha256:
        yield Finding(scan, "its source has changed since; convert again")
    elif _without_padding(prepared.record, record) != record:
        yield Finding(scan, "its source gives another record; convert again with --rebuild")
    else:
        for array, values in ((VOLUME, prepared.volume), (LUNG, prepared.lung)):
            if values is not None and (chunk := _intact_chunk(store, row, array)) and chunk != encode_chunk(values):
                yield Finding(scan, f"its source gives another {array}; convert again with --rebuild")


def _without_padding(record: ScanRecord, stored: ScanRecord) -> ScanRecord:
    """Return a record as it would be, had padding not been told from air, where that was so when it was stored."""
    if stored.padding != UNKNOWN:
        return record
    if not record.padding:
        return replace(record, padding=UNKNOWN)
    return replace(record, padding=UNKNOWN, nonfinite=stored.nonfinite, hu_quantile=stored.hu_quantile)


def _intact_chunk(store: Store, row: int, array: str) -> bytes | None:
    """Return the bytes of a row's chunk, or None where it is missing, damaged or another's, which is found already."""
    try:
        most = most_chunk_bytes(store.recipe.shape, chunked_arrays(store.recipe)[array])
        chunk = read_regular(store.path / chunk_path(row, array), most)
    except OSError:
        return None
    return chunk if chunk_checksum(chunk) == store.checksums_of(array)[row] else None
