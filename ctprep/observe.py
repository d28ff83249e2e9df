"""What can be seen of scans without reading a voxel: their stamps, their headers, and volumes that exist already."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ctprep.errors import BadScan
from ctprep.files import read_json
from ctprep.nifti import read_header
from ctprep.plan import FinishedVolume, Observation
from ctprep.scan import Rejection, Scan, ScanRecord
from ctprep.sources import Remembered, Stamp, sha256_of, stamp_of
from ctprep.store import Store
from ctprep.store_format import chunk_checksum, chunk_path


@dataclass(frozen=True)
class Stock:
    """Where finished volumes may be found.

    Parameters
    ----------
    store : Store, optional
        An existing store of the same recipe.
    work : Path
        The folder where an interrupted conversion left its volumes.
    remembered : mapping of str to Remembered
        The files that `store` was made from, as they were.
    """

    store: Store | None
    work: Path
    remembered: Mapping[str, Remembered]

    @staticmethod
    def places(work: Path, scan: str, stamp: Stamp) -> tuple[Path, Path]:
        """Return where the chunk and the record of a scan lie in a working folder."""
        name = stamp.name_for(scan)
        return work / f"{name}.chunk", work / f"{name}.json"

    @cached_property
    def row_of_scan(self) -> dict[str, int]:
        """Rows of the store by scan id."""
        return {scan: row for row, scan in enumerate(self.store.scans)} if self.store else {}

    @cached_property
    def row_of_sha256(self) -> dict[str, int]:
        """Rows of the store by the digest of their source."""
        records = self.store.records if self.store else ()
        return {record.source_sha256: row for row, record in enumerate(records)}

    def stored(self, row: int, why: str) -> FinishedVolume | None:
        """Return a row of the store, or None where its chunk is lost, damaged or another's."""
        if self.store is None or _checksum_of(chunk := self.store.path / chunk_path(row)) != self.store.checksums[row]:
            return None
        return FinishedVolume(chunk, self.store.records[row], why)

    def left_over(self, scan: str, stamp: Stamp) -> FinishedVolume | None:
        """Return what an interrupted conversion finished of a scan, or None."""
        chunk, record = self.places(self.work, scan, stamp)
        if _checksum_of(chunk) is None:
            return None
        try:
            return FinishedVolume(chunk, ScanRecord.from_dict(read_json(record)), "finished before an interruption")
        except (TypeError, AttributeError):  # missing, damaged, or written by another version
            return None


def observe_all(scans: Sequence[Scan], stock: Stock) -> tuple[dict[str, Observation], dict[str, Stamp]]:
    """Look at every scan; return what was seen and the stamps, by scan id."""
    moved = bool(stock.row_of_scan.keys() - {scan.id for scan in scans})
    observations: dict[str, Observation] = {}
    stamps: dict[str, Stamp] = {}
    for scan in scans:
        try:
            stamps[scan.id] = stamp_of(scan.path)
            observations[scan.id] = _observe(scan, stamps[scan.id], stock, moved=moved)
        except BadScan as error:
            observations[scan.id] = Observation(rejection=Rejection(scan.id, error.code, str(error)))
    return observations, stamps


def _observe(scan: Scan, stamp: Stamp, stock: Stock, *, moved: bool) -> Observation:
    row = stock.row_of_scan.get(scan.id)
    if row is not None:
        return _observe_stored(scan, stamp, row, stock)
    if finished := stock.left_over(scan.id, stamp):
        return Observation(finished)
    read_header(scan.path)
    if moved and (sha256 := sha256_of(scan.path)) in stock.row_of_sha256:
        row = stock.row_of_sha256[sha256]
        return Observation(stock.stored(row, f"was {stock.store.scans[row]}"))  # type: ignore[union-attr]
    return Observation(why_convert="new")


def _observe_stored(scan: Scan, stamp: Stamp, row: int, stock: Stock) -> Observation:
    stored_sha256 = stock.store.records[row].source_sha256  # type: ignore[union-attr]
    known = stock.remembered.get(scan.id)
    if known == Remembered(stamp, stored_sha256):
        finished = stock.stored(row, "unchanged")
    elif sha256_of(scan.path) == stored_sha256:
        finished = stock.stored(row, "same bytes")
    elif finished := stock.left_over(scan.id, stamp):
        return Observation(finished)
    else:
        read_header(scan.path)
        return Observation(why_convert="its bytes have changed")
    return Observation(finished or stock.left_over(scan.id, stamp), why_convert="its stored volume is damaged")


def _checksum_of(chunk: Path) -> int | None:
    try:
        return chunk_checksum(chunk.read_bytes())
    except OSError:
        return None
