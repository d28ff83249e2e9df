"""What can be seen of scans without reading a voxel: their stamps, their headers, and volumes that exist already."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from ctprep.conversion.plan import FinishedVolume, Observation
from ctprep.conversion.stamps import Remembered, Stamp, sha256_of, stamp_of
from ctprep.conversion.work_folder import Finished, WorkFolder
from ctprep.errors import BadScan
from ctprep.execution.cores import available_cores
from ctprep.execution.progress import Progress, silent
from ctprep.execution.schedule import run_in_threads
from ctprep.files import read_regular
from ctprep.scans.readers.formats import read_header
from ctprep.scans.scan import Rejection, Scan
from ctprep.store.chunk import chunk_checksum, chunk_path
from ctprep.store.store import Store

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
    most_chunk_bytes : int
        What no chunk of the recipe exceeds.
    """

    store: Store | None
    work: WorkFolder
    remembered: Mapping[str, Remembered]
    most_chunk_bytes: int

    def load(self) -> None:
        """Load what is loaded once, before several threads would each do so."""
        _ = self.row_of_scan, self.row_of_sha256, self.left

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
    def left(self) -> Finished:
        """What an interrupted conversion finished."""
        return self.work.finished()

    def stored_chunk(self, row: int) -> Path:
        """Return where the chunk of a row of the store lies."""
        if self.store is None:
            raise ValueError("there is no store")
        return self.store.path / chunk_path(row)

    def stored(self, row: int, why: str) -> FinishedVolume | None:
        """Return a row of the store, or None where its chunk is lost, damaged or another's."""
        if self.store is None or not self._is_whole(self.stored_chunk(row), self.store.checksums[row]):
            return None
        return FinishedVolume(why, row)

    def left_over(self, name: str) -> FinishedVolume | None:
        """Return what an interrupted conversion finished under a name, or None."""
        place = self.left.place.get(name)
        if place is None or not self._is_whole(self.work.chunk(name), self.left.checksums[place]):
            return None
        return FinishedVolume("finished before an interruption")

    def _is_whole(self, chunk: Path, checksum: int) -> bool:
        """Tell whether a chunk is there, undamaged, and the one of this checksum."""
        try:
            return chunk_checksum(read_regular(chunk, self.most_chunk_bytes)) == checksum
        except OSError:
            return False


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a scan, and its stamp; neither where it is new, or not there."""

    observation: Observation | None
    stamp: Stamp | None


def observe_all(
    scans: Sequence[Scan], stock: ExistingVolumes, *, workers: int | None = None, progress: Progress = silent
) -> tuple[dict[str, Observation], dict[str, Stamp]]:
    """Look at every scan, several at once; return what was seen, but of new ones, and the stamps, by scan id.

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

        batches = _batches(scans, workers or available_cores())
        run_in_threads(partial(_observe_some, stock=stock, moved=moved), batches, keep, workers=workers)
    in_order = [(scan.id, seen[scan.id]) for scan in scans]
    observations = {scan: each.observation for scan, each in in_order if each.observation is not None}
    return observations, {scan: each.stamp for scan, each in in_order if each.stamp is not None}


def _batches(scans: Sequence[Scan], workers: int) -> list[Sequence[Scan]]:
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
        return Seen(_observe(scan, stamp, stock, moved=moved), stamp)
    except BadScan as error:
        return Seen(Observation(rejection=Rejection(scan.id, error.code, str(error))), stamp)


def _observe(scan: Scan, stamp: Stamp, stock: ExistingVolumes, *, moved: bool) -> Observation | None:
    row = stock.row_of_scan.get(scan.id)
    if row is not None:
        return _observe_stored(scan, stamp, row, stock)
    if finished := stock.left_over(stamp.name_for(scan.id)):
        return Observation(finished)
    read_header(scan.path)
    if moved and (sha256 := sha256_of(scan.path)) in stock.row_of_sha256:
        row = stock.row_of_sha256[sha256]
        return Observation(stock.stored(row, f"was {stock.store.scans[row]}"))  # type: ignore[union-attr]
    return None


def _observe_stored(scan: Scan, stamp: Stamp, row: int, stock: ExistingVolumes) -> Observation:
    stored_sha256 = stock.source_sha256[row]
    remembered = stock.remembered.get(scan.id)
    if remembered == Remembered(stamp, stored_sha256):
        finished = stock.stored(row, "unchanged")
    elif not (remembered and remembered.excludes(stamp, stored_sha256)) and sha256_of(scan.path) == stored_sha256:
        finished = stock.stored(row, "same bytes")
    elif finished := stock.left_over(stamp.name_for(scan.id)):
        return Observation(finished)
    else:
        read_header(scan.path)
        return Observation(why_convert="its bytes have changed")
    finished = finished or stock.left_over(stamp.name_for(scan.id))
    return Observation(finished, why_convert="its stored volume is lost or damaged")
