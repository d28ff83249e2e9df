"""The voxels of a NIfTI file as a stream of slabs.

They pass once, in the order of the file, through ISA-L, which is faster than zlib and, unlike nibabel's reader, is
always read to the end, where the CRC and the length are.
"""

import contextlib
import gzip
import hashlib
import io
import math
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
from isal import igzip, igzip_lib

from ctprep.errors import BadGeometry, BadScan, ChecksumMismatch, Oversize, Truncated, Unreadable, Vanished
from ctprep.files import open_regular, write_whole
from ctprep.scans.readers.nifti_header import LARGEST_EXTENSION, NiftiHeader, encode_header, parse_header

GZIP_MAGIC = b"\x1f\x8b"

LARGEST_INFLATION = 1032
"""Deflate cannot expand further: 258 bytes from two bits, RFC 1951."""

LARGEST_CT_INFLATION = 200
UNQUESTIONED_BYTES = 1 << 30
"""Beyond so many bytes a file that inflates further than any CT, whose noise is about 3 to 1, is taken for a bomb."""

MOST_TRAILING = 1 << 20
"""Bytes after the voxels that are passed over, where a slice is larger still."""

MOST_OVERHEAD = 4 << 20
"""Bytes that a compressed file may have beyond nine eighths of what it inflates to: padding, empty members."""

READ_BYTES = 512 << 10
"""Bytes of a file read, and hashed, at once: they are inflated while they are still in the cache."""

SLAB_VOXELS = 512 << 10
"""Voxels read together: few enough that they are still in the cache when they are reduced, and enough that threads
seldom wait for each other. Where a slice has more of them, its rows are added up in parts, so that this number belongs
to the arithmetic."""


def read_header(path: str | os.PathLike[str]) -> NiftiHeader:
    """Return the judged header of a NIfTI file, reading no voxel.

    Raises
    ------
    BadScan
        One child per reason, see `ctprep.errors`.
    """
    with NiftiReader(path) as reader:
        return reader.header


class NiftiReader:
    """One pass over one NIfTI file, or over a `.hdr` and its `.img`.

    Parameters
    ----------
    path : path
        `.nii`, `.nii.gz` or `.hdr`; whether it is compressed is read from its first bytes, not from its name.

    Raises
    ------
    BadScan
        One child per reason, see `ctprep.errors`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._digests: list[hashlib._Hash] = []
        self._open_files = contextlib.ExitStack()
        with contextlib.ExitStack() as on_error:
            on_error.callback(self._open_files.close)
            self._source = self._open(self.path)
            with translated_errors(self.path):
                self.header = parse_header(self._source.stream, self.path)
                self._judge_kind()
                if self.header.has_own_file:
                    self._open_voxel_file()
            self._source.judge_size(self.header)
            self._source.allow(self.header.offset + self.header.voxel_bytes)
            on_error.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._open_files.close()

    def _judge_kind(self) -> None:
        """Raise where the header says one file and the name two, or the other way round."""
        if self.header.has_own_file != is_header_file(self.path):
            kind = "of a .hdr and .img pair" if self.header.has_own_file else "of a single file"
            raise Unreadable(f"{self.path.name}: has the header {kind}, which its name denies; rename it")

    def _open(self, path: Path) -> "_Source":
        self._digests.append(hashlib.sha256())
        return self._open_files.enter_context(_Source(path, self._digests[-1]))

    def _open_voxel_file(self) -> None:
        self._source.allow(LARGEST_EXTENSION)
        if drain(self._source.stream, limit=LARGEST_EXTENSION) >= LARGEST_EXTENSION:
            raise Oversize(
                f"{self.path.name}: has {LARGEST_EXTENSION >> 20} MiB or more after its header; remove its extensions"
            )
        self._source = self._open(voxel_file_of(self.path))

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
        with translated_errors(self.path):
            self._skip_to_voxels()
            yield from self._read_slabs()
            judge_trailing(drain(self._source.stream, limit=most_trailing(self.header)), self.header, self.path)
        self._source.judge_unchanged()

    def _skip_to_voxels(self) -> None:
        missing = self.header.bytes_before_voxels
        while missing > 0:
            skipped = self._source.stream.read(min(missing, READ_BYTES))
            if not skipped:
                raise EOFError
            missing -= len(skipped)

    def _read_slabs(self) -> Iterator[np.ndarray]:
        first, second, third = self.header.grid.shape
        rows = min(second, max(1, SLAB_VOXELS // first))
        slices = min(third, max(1, SLAB_VOXELS // (first * second)))
        itemsize = self.header.dtype.itemsize
        buffer = memoryview(bytearray(slices * rows * first * itemsize))
        for start_slice in range(0, third, slices):
            for start_row in range(0, second, rows):
                shape = min(slices, third - start_slice), min(rows, second - start_row), first
                filled = buffer[: math.prod(shape) * itemsize]
                read_exactly(self._source.stream, filled)
                yield np.frombuffer(filled, self.header.dtype).reshape(shape)

    @property
    def sha256(self) -> str:
        """The digest of the scan's files, see `sha256_of_files`, once every slab has passed."""
        return sha256_of_files([digest.hexdigest() for digest in self._digests])


class _Source(io.RawIOBase):
    """A regular file whose bytes are hashed as they are read, and its inflated stream.

    No more of it is read than what it declares can need, whatever follows.
    """

    def __init__(self, path: Path, digest: "hashlib._Hash") -> None:
        self._path = path
        self._digest = digest
        self._file = open_scan(path)
        self._opened = os.fstat(self._file.fileno())
        self._read = 0
        self.allow(0)  # but a header
        with translated_errors(path):
            self.compressed = os.pread(self._file.fileno(), 2, 0) == GZIP_MAGIC
        # The reader inside `igzip.IGzipFile`, which would copy every voxel once more.
        stream = igzip._GzipReader(self, READ_BYTES) if self.compressed else self  # type: ignore[arg-type]
        self.stream: BinaryIO = stream  # type: ignore[assignment]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = self._file.readinto(memoryview(buffer)[:READ_BYTES])
        self._digest.update(memoryview(buffer)[:count])
        self._read += count
        if self._read > self._allowed:
            raise Oversize(
                f"{self._path.name}: holds more than {self._allowed:,} bytes, far more than its header declares; "
                "write it anew"
            )
        return count

    def allow(self, inflated_bytes: int) -> None:
        """Let as many bytes be read as a file may need that inflates to `inflated_bytes`."""
        self._allowed = inflated_bytes + inflated_bytes // 8 + MOST_OVERHEAD

    def close(self) -> None:
        self.stream = io.BytesIO()  # the reader, written in C, and what it reads from would keep each other for ever
        self._file.close()
        super().close()

    def judge_size(self, header: NiftiHeader) -> None:
        """Raise where the file cannot hold what its header declares."""
        size, declared = self._opened.st_size, header.offset + header.voxel_bytes
        if self.compressed and declared > size * LARGEST_INFLATION:
            raise Oversize(
                f"{self._path.name}: {size:,} bytes cannot inflate to the {declared:,} its header declares; "
                "the header or the file is damaged"
            )
        if self.compressed and declared > max(size * LARGEST_CT_INFLATION, UNQUESTIONED_BYTES):
            raise Oversize(
                f"{self._path.name}: {size:,} bytes would inflate to {declared:,}, which no CT does; if it is one, "
                "leave it uncompressed"
            )
        if not self.compressed and declared > size:
            raise Truncated(f"{self._path.name}: holds {size:,} bytes, its header declares {declared:,}; copy it again")
        if not self.compressed:
            judge_trailing(size - declared, header, self._path)

    def judge_unchanged(self) -> None:
        """Raise where the file is not the one that was opened."""
        now = os.fstat(self._file.fileno())
        if (now.st_size, now.st_mtime_ns) != (self._opened.st_size, self._opened.st_mtime_ns):
            raise Vanished(f"{self._path.name}: changed while it was read; convert again when it is at rest")


def most_trailing(header: NiftiHeader) -> int:
    """Return how many bytes after the voxels are too many."""
    return min(header.slice_bytes, MOST_TRAILING)


def judge_trailing(trailing: int, header: NiftiHeader, path: Path) -> None:
    """Raise where more follows the voxels that a header declares than may be passed over."""
    if trailing >= (most := most_trailing(header)):
        raise BadGeometry(
            f"{path.name}: {most:,} bytes or more follow the voxels that its header declares; repair the shape in it, "
            "or cut them off"
        )


def open_scan(path: Path) -> io.FileIO:
    """Open a regular file for reading; never waits on a pipe or a device.

    Raises
    ------
    Unreadable, Vanished
    """
    with translated_errors(path):
        mode = path.stat().st_mode  # before it is opened, which does things to some devices
        if not stat.S_ISREG(mode):
            what = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
            raise Unreadable(f"{path.name}: is {what}, expected a NIfTI file; rename it or leave it out")
        return open_regular(path)  # which looks again: it may have become a pipe since


@contextlib.contextmanager
def translated_errors(path: Path) -> Iterator[None]:
    """Turn what reading a file may raise into the `BadScan` that names the cause."""
    try:
        yield
    except BadScan:
        raise
    except FileNotFoundError:
        raise Vanished(f"{path.name}: does not exist (any more); convert again when it is there") from None
    except (gzip.BadGzipFile, igzip_lib.IsalError, OverflowError) as error:  # type: ignore[misc]
        # isal's OverflowError: a file name or comment in gzip's header that is longer than its buffer
        raise ChecksumMismatch(f"{path.name}: its gzip stream is damaged ({error}); copy it again") from None
    except EOFError:
        raise Truncated(f"{path.name}: ends before its voxels do; copy it again") from None
    except OSError as error:
        raise Unreadable(
            f"{path.name}: cannot be read ({error.strerror or error}); make it readable, or leave it out"
        ) from None


def read_exactly(stream: BinaryIO, buffer: memoryview) -> None:
    """Fill a buffer from a stream, or raise EOFError."""
    filled = 0
    while filled < len(buffer):
        count = stream.readinto(buffer[filled:])  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        filled += count


def drain(stream: BinaryIO, *, limit: int) -> int:
    """Read to the end of a stream, so that its checksum is verified, but stop after `limit` bytes; count them."""
    count = 0
    while count < limit and (rest := stream.read(min(limit - count, READ_BYTES))):
        count += len(rest)
    return count


def voxel_file_of(header_path: Path) -> Path:
    """Return the `.img` (or `.img.gz`) beside a `.hdr`.

    Raises
    ------
    Unreadable
        If there is none.
    """
    stem = re.sub(r"\.hdr(\.gz)?$", "", header_path.name, flags=re.IGNORECASE)
    for name in (f"{stem}.img", f"{stem}.img.gz", f"{stem}.IMG"):
        if (candidate := header_path.with_name(name)).exists():
            return candidate
    raise Unreadable(f"{header_path.name}: its voxel file {stem}.img is missing; put it beside the header")


def source_files(path: Path) -> tuple[Path, ...]:
    """Return the files that make up a scan: one, or a `.hdr` and its `.img`."""
    return (path, voxel_file_of(path)) if is_header_file(path) else (path,)


def sha256_of_files(digests: Sequence[str]) -> str:
    """Return the SHA-256 of a scan from those of its files.

    Of a `.hdr` and its `.img` it is that of both digests, so that bytes which go from one file to the other change it.

    Examples
    --------
    >>> sha256_of_files(["5ca1e"])
    '5ca1e'
    """
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def is_header_file(path: Path) -> bool:
    """Tell whether a name is that of a header whose voxels are in a file of their own."""
    return path.name.lower().removesuffix(".gz").endswith(".hdr")


def write_nifti(
    path: str | os.PathLike[str],
    array: np.ndarray,
    affine: np.ndarray,
    *,
    slope: float = 1.0,
    inter: float = 0.0,
) -> None:
    """Write a volume as NIfTI-1: the same arguments give the same bytes, whole or not at all.

    Parameters
    ----------
    path : path
        Compressed where it ends in `.gz`.
    array : (x, y, z) array
        Stored values; their dtype becomes the file's.
    affine : (4, 4) array
        Voxel centre -> world RAS+ in mm; sform and qform code 1 (scanner).
    slope, inter : float
        HU is `array * slope + inter`.
    """
    path = Path(path)
    dtype = array.dtype.newbyteorder("<")
    header = encode_header(dtype, array.shape, affine, slope=slope, inter=inter)
    content = header + np.asarray(array, dtype).tobytes("F")
    if path.name.endswith(".gz"):
        content = igzip.compress(content, compresslevel=2, mtime=0)
    write_whole(path, content)
