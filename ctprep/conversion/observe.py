"""What can be seen of scans without reading a voxel: their stamps, their headers, and volumes that exist already."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from ctprep.conversion.planning.plan import FinishedVolume, Observation
from ctprep.conversion.planning.remarks import Remark, remarks_on_grid, remarks_on_header
from ctprep.conversion.stamps import Remembered, Stamp, sha256_of, stamp_of
from ctprep.conversion.work_folder import Finished, WorkFolder
from ctprep.errors import BadScan, reason_of
from ctprep.execution.cores import available_cores
from ctprep.execution.progress import Progress, silent
from ctprep.execution.schedule import run_in_threads
from ctprep.files import read_regular
from ctprep.scans.readers.coverage import MIN_SLICES, MIN_USUAL_WIDTH_MM, USUAL_EXTENT_MM, judge_coverage
from ctprep.scans.readers.formats import read_header
from ctprep.scans.readers.header import ScanHeader
from ctprep.scans.scan import UNKNOWN, Rejection, Scan
from ctprep.store.chunk import chunk_checksum, chunk_path, chunked_arrays, most_chunk_bytes
from ctprep.store.store import Store
from ctprep.volume.grid import VoxelGrid
from ctprep.volume.recipe import Recipe

SCANS_AT_ONCE = 16
"""Scans that a thread looks at before it takes the next: to hand over one takes 0.25 ms, as long as to look at it."""

BATCHES_PER_THREAD = 4


@dataclass(frozen=True)
class ExistingVolumes:
    """Where finished volumes may be found.

    Parameters
    ----------
    store : Store, optional
        An existing store of the same recipe.
    work : WorkFolder
        Where an interrupted conversion left its volumes.
    remembered : mapping of str to Remembered
        The files that `store` was made from, as they were.
    recipe : Recipe
        How all of them were made.
    replaced : Store, optional
        The store in the target's place, whatever its recipe.
    why_all : str
        Why none of its volumes can be used, where none can.
    """

    store: Store | None
    work: WorkFolder
    remembered: Mapping[str, Remembered]
    recipe: Recipe
    replaced: Store | None = None
    why_all: str = ""

    def load(self) -> None:
        """Load what is loaded once, before several threads would each do so."""
        _ = self.row_of_scan, self.row_of_sha256, self.is_plain, self.left
        _ = self.rejected_before, self._replaced_scans

    @cached_property
    def row_of_scan(self) -> dict[str, int]:
        """Rows of the store by scan id."""
        return {scan: row for row, scan in enumerate(self.store.scans)} if self.store else {}

    @cached_property
    def source_sha256(self) -> tuple[str, ...]:
        """The digest of the source of each row of the store."""
        return tuple(self.store.records.source_sha256) if self.store else ()

    @cached_property
    def row_of_sha256(self) -> dict[str, int]:
        """Rows of the store by the digest of their source."""
        return {sha256: row for row, sha256 in enumerate(self.source_sha256)}

    @cached_property
    def rejected_before(self) -> dict[str, Rejection]:
        """What the store in the target's place rejected, by scan id."""
        return {rejection.scan: rejection for rejection in self.replaced.rejected} if self.replaced else {}

    @cached_property
    def _replaced_scans(self) -> frozenset[str]:
        return frozenset(self.replaced.scans) if self.replaced else frozenset()

    def why_convert(self, scan: str, stamp: Stamp) -> str | None:
        """Return why a scan that the store lacks must be read, where it is not simply new."""
        if rejection := self.rejected_before.get(scan):
            remembered = self.remembered.get(scan)
            since = (
                "" if remembered is None else ", unchanged" if remembered.stamp == stamp else ", its file has changed"
            )
            return f"rejected before as {rejection.code}{since}; it is tried again"
        return self.why_all if scan in self._replaced_scans else None

    @cached_property
    def is_plain(self) -> np.ndarray:
        """Which rows of the store have a record of which there is nothing to say: nearly all, told apart at once."""
        return plain_rows(self.store.records.table, self.recipe) if self.store else np.zeros(0, bool)

    @cached_property
    def left(self) -> Finished:
        """What an interrupted conversion finished."""
        return self.work.finished()

    def stored_chunk(self, row: int, array: str) -> Path:
        """Return where the chunk of a row of the store lies."""
        if self.store is None:
            raise ValueError("there is no store")
        return self.store.path / chunk_path(row, array)

    def stored(self, row: int, why: str) -> FinishedVolume | None:
        """Return a row of the store, or None where a chunk of it is lost, damaged or another's."""
        if self.store is None:
            return None
        for array in chunked_arrays(self.recipe):
            if not self._is_whole(array, self.stored_chunk(row, array), self.store.checksums_of(array)[row]):
                return None
        return FinishedVolume(why, row)

    def left_over(self, scan: Scan, stamp: Stamp) -> FinishedVolume | None:
        """Return what an interrupted conversion finished of a scan, or None."""
        name = stamp.name_for(scan.id)
        place = self.left.place.get(name)
        if place is None or why_outdated(scan, self.left.records.table[place]):
            return None
        for array in chunked_arrays(self.recipe):
            if not self._is_whole(array, self.work.chunk(name, array), self.left.checksums[array][place]):
                return None
        return FinishedVolume("finished before an interruption")

    def why_outdated(self, scan: Scan, row: int) -> str | None:
        """Return `why_outdated` of a row of the store."""
        if self.store is None or self.is_plain[row]:
            return None
        return why_outdated(scan, self.store.records.table[row])

    def remarks(self, finished: FinishedVolume, scan: Scan, stamp: Stamp) -> tuple[Remark, ...]:
        """Return what is remarkable of a finished volume, by its record."""
        if finished.row is not None and self.is_plain[finished.row]:
            return ()
        if finished.row is None:
            record = self.left.records.table[self.left.place[stamp.name_for(scan.id)]]
        else:
            record = self.store.records.table[finished.row]  # type: ignore[union-attr]
        stated = record["stated_orientation"].decode()
        return remarks_on_grid(_grid_of(record), self.recipe, stated=stated)

    def _is_whole(self, array: str, chunk: Path, checksum: int) -> bool:
        """Tell whether a chunk is there, undamaged, and the one of this checksum."""
        try:
            most = most_chunk_bytes(self.recipe.shape, chunked_arrays(self.recipe)[array])
            return chunk_checksum(read_regular(chunk, most)) == checksum
        except OSError:
            return False


def why_outdated(scan: Scan, record: np.void) -> str | None:
    """Say why a volume would not be made of its scan any more, or not with this record; None where it would.

    What was accepted is what was wrong with the scan, so that to accept more of it changes nothing.

    Parameters
    ----------
    scan : Scan
    record : row of a table of `Records`
    """
    accepted, stated = record["accepted"].decode().split(), record["stated_orientation"].decode()
    if withdrawn := sorted(set(accepted) - set(scan.accept)):
        return f"{', '.join(withdrawn)} was accepted, and is not any more"
    if stated and stated != scan.orientation:
        return f"{stated} was stated as its orientation, and is not any more"
    if record["padding"] == UNKNOWN:
        return "its padding was not told from air when it was stored"
    try:
        judge_coverage(_grid_of(record), scan.path)
    except BadScan as error:
        return None if error.code in accepted else "its coverage was not judged when it was stored"
    return None


def plain_rows(table: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Return of which records neither `why_outdated` nor `remarks_on_grid` has anything to say, as bool."""
    shape = table["source_shape"]
    extent_mm = shape * np.sqrt((table["source_affine"][:, :3, :3] ** 2).sum(axis=1))
    has_usual_extent = (extent_mm >= MIN_USUAL_WIDTH_MM).all(axis=1) & (extent_mm <= USUAL_EXTENT_MM[1]).all(axis=1)
    has_no_choice = (table["accepted"] == b"") & (table["stated_orientation"] == b"") & (table["padding"] != UNKNOWN)
    return has_usual_extent & has_no_choice & (shape >= MIN_SLICES).all(axis=1) & (recipe.spacing_mm is None)


def _grid_of(record: np.void) -> VoxelGrid:
    """Return the grid of a source by its record."""
    return VoxelGrid(tuple(record["source_shape"].tolist()), record["source_affine"])


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a scan: nothing where it is new; its stamp; and its header, where it had to be read."""

    observation: Observation | None
    stamp: Stamp | None
    header: ScanHeader | None = None


@dataclass(frozen=True)
class Observed:
    """What was seen of all scans, by scan id: of new ones no observation, of known ones no header."""

    observations: dict[str, Observation]
    stamps: dict[str, Stamp]
    headers: dict[str, ScanHeader]


def observe_all(
    scans: Sequence[Scan], stock: ExistingVolumes, *, workers: int | None = None, progress: Progress = silent
) -> Observed:
    """Look at every scan, several at once.

    Parameters
    ----------
    scans : sequence of Scan
    stock : ExistingVolumes
    workers : int, optional
        Threads; one for each core where it is not given.
    progress : callable
        See `ctprep.execution.progress`.
    """
    moved = bool(stock.row_of_scan.keys() - {scan.id for scan in scans})
    stock.load()
    seen: dict[str, Seen] = {}
    with progress(len(scans), "checking") as advance:

        def keep(some: Mapping[str, Seen]) -> None:
            seen.update(some)
            for _ in some:
                advance(1)

        batches = batches_of(scans, workers or available_cores())
        run_in_threads(partial(_observe_some, stock=stock, moved=moved), batches, keep, workers=workers)
    in_order = [(scan.id, seen[scan.id]) for scan in scans]
    return Observed(
        {scan: each.observation for scan, each in in_order if each.observation is not None},
        {scan: each.stamp for scan, each in in_order if each.stamp is not None},
        {scan: each.header for scan, each in in_order if each.header is not None},
    )


def batches_of(scans: Sequence[Scan], workers: int) -> list[Sequence[Scan]]:
    """Return the scans in parts: one where they are few, else some for each thread, for one may be slower."""
    few = len(scans) <= SCANS_AT_ONCE
    size = SCANS_AT_ONCE if few else max(1, min(SCANS_AT_ONCE, len(scans) // (BATCHES_PER_THREAD * workers)))
    return [scans[first : first + size] for first in range(0, len(scans), size)]


def _observe_some(scans: Sequence[Scan], *, stock: ExistingVolumes, moved: bool) -> dict[str, Seen]:
    return {scan.id: _see(scan, stock, moved=moved) for scan in scans}


def _see(scan: Scan, stock: ExistingVolumes, *, moved: bool) -> Seen:
    stamp = None
    try:
        stamp = stamp_of(scan.path)
        return _observe(scan, stamp, stock, moved=moved)
    except BadScan as error:
        return Seen(Observation(rejection=Rejection(scan.id, error.code, reason_of(error, scan.id))), stamp)


def _observe(scan: Scan, stamp: Stamp, stock: ExistingVolumes, *, moved: bool) -> Seen:
    row = stock.row_of_scan.get(scan.id)
    if row is not None:
        return _observe_stored(scan, stamp, row, stock)
    if finished := stock.left_over(scan, stamp):
        return Seen(Observation(finished, remarks=stock.remarks(finished, scan, stamp)), stamp)
    header = _judged_header(scan)
    remarks = remarks_on_header(header, stock.recipe)
    if moved and (sha256 := sha256_of(scan.path)) in stock.row_of_sha256:
        row = stock.row_of_sha256[sha256]
        if not stock.why_outdated(scan, row):
            was = stock.store.scans[row]  # type: ignore[union-attr]
            return Seen(Observation(stock.stored(row, f"was {was}"), remarks=remarks), stamp, header)
    if why := stock.why_convert(scan.id, stamp):
        return Seen(Observation(why_convert=why, remarks=remarks), stamp, header)
    return Seen(Observation(remarks=remarks) if remarks else None, stamp, header)


def _observe_stored(scan: Scan, stamp: Stamp, row: int, stock: ExistingVolumes) -> Seen:
    stored_sha256 = stock.source_sha256[row]
    remembered = stock.remembered.get(scan.id)
    is_remembered = remembered == Remembered(stamp, stored_sha256)
    excluded = remembered is not None and remembered.excludes(stamp, stored_sha256)
    if not is_remembered and (excluded or sha256_of(scan.path) != stored_sha256):
        why, finished = "its bytes have changed", None
    elif why_not := stock.why_outdated(scan, row):
        why, finished = why_not, None
    else:
        why = "its stored volume is lost or damaged"
        finished = stock.stored(row, "unchanged" if is_remembered else "same bytes")
    if finished := finished or stock.left_over(scan, stamp):
        return Seen(Observation(finished, remarks=stock.remarks(finished, scan, stamp)), stamp)
    header = _judged_header(scan)
    return Seen(Observation(why_convert=why, remarks=remarks_on_header(header, stock.recipe)), stamp, header)


def _judged_header(scan: Scan) -> ScanHeader:
    """Return a scan's header, or raise the `BadScan` that it shows, unless that is accepted."""
    header = read_header(scan.path, orientation=scan.orientation)
    try:
        judge_coverage(header.grid, scan.path)
    except BadScan as error:
        if error.code not in scan.accept:
            raise
    return header
