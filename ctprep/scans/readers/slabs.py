"""The voxels of a scan as a stream of slabs, whatever its format: one pass over its files, judged at its end."""

import contextlib
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, ClassVar, Self

import numpy as np

from ctprep.errors import BadGeometry
from ctprep.scans.readers.byte_source import (
    ByteSource,
    drain,
    read_exactly,
    sha256_of_files,
    skip_exactly,
    translated_errors,
)
from ctprep.scans.readers.header import ScanHeader

MAX_TRAILING = 1 << 20
"""Bytes after the voxels that are passed over, where a slice is larger still."""

SLAB_VOXELS = 512 << 10
"""Voxels read together: few enough that they are still in the cache when they are reduced, and enough that threads
seldom wait for each other. Where a slice has more of them, its rows are added up in parts, so that this number belongs
to the arithmetic."""


@dataclass(frozen=True)
class VoxelPlace:
    """Where the voxels of a scan begin.

    Parameters
    ----------
    source : ByteSource
        The file that holds them.
    offset : int
        Bytes of its stream before the first voxel.
    passed : int
        How many of them were read already.
    """

    source: ByteSource
    offset: int
    passed: int


class SlabReader(ABC):
    """One pass over the files of one scan; a child for each format reads the header and finds the voxels.

    Parameters
    ----------
    path : path
        The scan's file, or that of its header.
    orientation : str
        Three letters such as LPS: which way its axes run, should the header not say it.

    Raises
    ------
    BadScan
        One child per reason, see `ctprep.errors`.
    """

    format_name: ClassVar[str]

    def __init__(self, path: str | os.PathLike[str], orientation: str = "") -> None:
        self.path = Path(path)
        self.orientation = orientation
        self._sources: list[ByteSource] = []
        with contextlib.ExitStack() as on_error:
            on_error.callback(self.close)
            with translated_errors(self.path):
                self.header, self._place = self._find_voxels()
            declared = self._place.offset + self.header.voxel_bytes
            self._judge_trailing(self._place.source.judge_size(declared), self._place.source.path)
            self._place.source.allow(declared)
            on_error.pop_all()

    @abstractmethod
    def _find_voxels(self) -> tuple[ScanHeader, VoxelPlace]:
        """Read the judged header, from a file that `_open` opens, and no voxel."""

    def _open(self, path: Path) -> ByteSource:
        """Open a file of the scan; the digest is of all of them, in this order."""
        self._sources.append(ByteSource(path, self.format_name))
        return self._sources[-1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        for source in self._sources:
            source.close()

    def slabs(self) -> Iterator[np.ndarray]:
        """Yield the voxels once, in the order of the file, `SLAB_VOXELS` of them at most unless a row has more.

        Yields
        ------
        (slices, rows, first) array of the header's dtype
            Consecutive slices, or consecutive rows of one slice where a slice is large; as stored, without slope and
            intercept. Valid until the next one is asked for.

        Raises
        ------
        BadScan
            `Truncated`, `ChecksumMismatch`, `Vanished`, or `BadGeometry` where more follows than the header declares.
        """
        stream = self._place.source.stream
        with translated_errors(self.path):
            skip_exactly(stream, self._place.offset - self._place.passed)
            yield from _read_slabs(stream, self.header)
            self._judge_trailing(drain(stream, limit=_max_trailing(self.header)), self.path)
        for source in self._sources:
            source.judge_unchanged()

    def _judge_trailing(self, trailing: int, path: Path) -> None:
        """Raise where more follows the voxels that a header declares than may be passed over."""
        if trailing >= (most := _max_trailing(self.header)):
            raise BadGeometry(
                f"{path.name}: {most:,} bytes or more follow the voxels that its header declares; repair the "
                "shape in it, or cut them off"
            )

    @property
    def sha256(self) -> str:
        """The digest of the scan's files, see `sha256_of_files`, once every slab has passed."""
        return sha256_of_files([source.sha256 for source in self._sources])

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the scan, in the order of their digests."""
        return tuple(source.path for source in self._sources)


def _read_slabs(stream: BinaryIO, header: ScanHeader) -> Iterator[np.ndarray]:
    first, second, third = header.grid.shape
    rows = min(second, max(1, SLAB_VOXELS // first))
    slices = min(third, max(1, SLAB_VOXELS // (first * second)))
    itemsize = header.dtype.itemsize
    buffer = memoryview(bytearray(slices * rows * first * itemsize))
    for start_slice in range(0, third, slices):
        for start_row in range(0, second, rows):
            shape = min(slices, third - start_slice), min(rows, second - start_row), first
            filled = buffer[: math.prod(shape) * itemsize]
            read_exactly(stream, filled)
            yield np.frombuffer(filled, header.dtype).reshape(shape)


def _max_trailing(header: ScanHeader) -> int:
    """Return how many bytes after the voxels are too many."""
    return min(header.slice_bytes, MAX_TRAILING)
