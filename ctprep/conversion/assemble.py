"""Finished volumes, wherever they are, become the tree of a store."""

from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Self

import numpy as np

from ctprep.conversion.observe import ExistingVolumes
from ctprep.conversion.planning.plan import PlanRow, duplicates
from ctprep.conversion.staging import link_or_copy
from ctprep.conversion.stamps import Remembered, Stamp
from ctprep.errors import TargetError
from ctprep.scans.scan import Rejection
from ctprep.store.chunk import LUNG, VOLUME, chunk_path, chunked_arrays, stated_checksum
from ctprep.store.format import StoreContents, write_tables
from ctprep.store.records import RECORD, Records
from ctprep.volume.recipe import Recipe


class FinishedVolumes:
    """The volumes of some rows of a plan: rows of the store that is replaced, or files of the working folder.

    Parameters
    ----------
    rows : sequence of PlanRow
    records : Records
        Of the same scans.
    checksums : mapping of str to (n,) uint32 array
        CRC-32C of their chunks, by array.
    stock : ExistingVolumes
        Where the volumes are.
    stamps : mapping of str to Stamp
        By scan id.
    """

    def __init__(
        self,
        rows: Sequence[PlanRow],
        records: Records,
        checksums: Mapping[str, np.ndarray],
        stock: ExistingVolumes,
        stamps: Mapping[str, Stamp],
    ) -> None:
        self.rows = rows
        self.records = records
        self.checksums = checksums
        self._stock = stock
        self._stamps = stamps

    @classmethod
    def of(cls, rows: Sequence[PlanRow], stock: ExistingVolumes, stamps: Mapping[str, Stamp]) -> Self:
        """Collect the records and checksums of rows whose volumes are finished.

        Raises
        ------
        TargetError
            If one is nowhere.
        """
        left = stock.work.finished()
        table = np.zeros(len(rows), RECORD)
        checksums = {array: np.zeros(len(rows), np.uint32) for array in chunked_arrays(stock.recipe)}
        for index, row in enumerate(rows):
            if stock.store and row.finished and row.finished.row is not None:
                stored = row.finished.row
                table[index] = stock.store.records.table[stored]
                for array in checksums:
                    checksums[array][index] = stock.store.checksums_of(array)[stored]
            elif (name := stamps[row.scan.id].name_for(row.scan.id)) in left.place:
                place = left.place[name]
                table[index] = left.records.table[place]
                for array in checksums:
                    checksums[array][index] = left.checksums[array][place]
            else:
                raise _changed(stock.work.path)
        return cls(rows, Records(table), checksums, stock, stamps)

    def duplicates(self) -> list[Rejection]:
        """Reject scans whose files have the same bytes."""
        _, which, count = np.unique(self.records.column("source_sha256"), return_inverse=True, return_counts=True)
        same = np.flatnonzero(count[which] > 1).tolist()
        sha256 = {self.rows[row].scan.id: self.records[row].source_sha256 for row in same}
        return duplicates([self.rows[row].scan for row in same], sha256)

    def without(self, scans: Set[str]) -> Self:
        """Leave some scans out."""
        if not scans:
            return self  # without a second copy of the records
        kept = [index for index, row in enumerate(self.rows) if row.scan.id not in scans]
        records = Records(self.records.table[kept])
        rows = [self.rows[index] for index in kept]
        checksums = {array: of_array[kept] for array, of_array in self.checksums.items()}
        return type(self)(rows, records, checksums, self._stock, self._stamps)

    def chunks(self, array: str) -> Iterator[Path]:
        """Yield the file of each scan's chunk of an array."""
        for row in self.rows:
            if row.finished and row.finished.row is not None:
                yield self._stock.stored_chunk(row.finished.row, array)
            else:
                yield self._stock.work.chunk(self._stamps[row.scan.id].name_for(row.scan.id), array)

    def to_remember(self) -> Iterator[tuple[str, Remembered]]:
        """Yield what is to be remembered of each source."""
        for row, sha256 in zip(self.rows, self.records.source_sha256, strict=True):
            yield row.scan.id, Remembered(self._stamps[row.scan.id], sha256)


def assemble(
    folder: Path, volumes: FinishedVolumes, *, recipe: Recipe, classes: tuple[str, ...], rejected: tuple[Rejection, ...]
) -> None:
    """Write the tree of a store into a folder that does not exist yet, linking the volumes where that is possible.

    Raises
    ------
    OSError
        If it cannot be written.
    TargetError
        If a chunk is not the one that was planned with.
    """
    for array, checksums in volumes.checksums.items():
        (folder / array).mkdir(parents=True)
        for row, (chunk, checksum) in enumerate(zip(volumes.chunks(array), checksums.tolist(), strict=True)):
            link_or_copy(chunk, folder / chunk_path(row, array))
            if stated_checksum(folder / chunk_path(row, array)) != checksum:
                raise _changed(chunk)
    scans = tuple(row.scan for row in volumes.rows)
    of_volumes, of_lungs = volumes.checksums[VOLUME], volumes.checksums.get(LUNG)
    write_tables(folder, StoreContents(recipe, classes, scans, volumes.records, of_volumes, rejected, of_lungs))


def _changed(path: Path) -> TargetError:
    return TargetError(f"{path}: was changed by another program; run it again, it resumes")
