"""The bytes of one file of a scan: hashed as they are read, inflated where they are compressed, and limited.

They pass once, in the order of the file, through ISA-L, which is faster than zlib and, unlike most readers, is always
read to the end, where the checksum is.
"""

import contextlib
import gzip
import hashlib
import io
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from isal import igzip, igzip_lib

from ctprep.errors import BadScan, ChecksumMismatch, Oversize, Truncated, Unreadable, Vanished
from ctprep.files import open_regular

GZIP_MAGIC = b"\x1f\x8b"

MAX_INFLATION = 1032
"""Deflate cannot expand further: 258 bytes from two bits, RFC 1951."""

MAX_CT_INFLATION = 200
UNQUESTIONED_BYTES = 1 << 30
"""Beyond so many bytes a file that inflates further than any CT, whose noise is about 3 to 1, is taken for a bomb."""

MAX_OVERHEAD = 4 << 20
"""Bytes that a compressed file may have beyond nine eighths of what it inflates to: padding, empty members."""

READ_BYTES = 512 << 10
"""Bytes of a file read, and hashed, at once: they are inflated while they are still in the cache."""

FIRST_READ_BYTES = 16 << 10
"""Bytes of the first read: often only the header is wanted."""


class ByteSource(io.RawIOBase):
    """A regular file whose bytes are hashed as they are read, and its inflated stream.

    No more of it is read than what it declares can need, whatever follows.

    Parameters
    ----------
    path : Path
    format_name : str
        What the file should be, for messages.

    Attributes
    ----------
    stream : binary stream
        The file itself, or what it inflates to from where `inflate` was called.
    size : int
        Bytes of the file.
    """

    def __init__(self, path: Path, format_name: str) -> None:
        self.path = path
        self._digest = hashlib.sha256()
        self._file = open_scan(path, format_name)
        self._opened = os.fstat(self._file.fileno())
        self._read = 0
        self._unread = b""
        self._inflates_from: int | None = None
        self.size = self._opened.st_size
        self.stream: BinaryIO = self  # type: ignore[assignment]
        self.allow(0)  # but a header

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        buffer = memoryview(buffer)
        if self._unread:
            again, self._unread = self._unread[: len(buffer)], self._unread[len(buffer) :]
            buffer[: len(again)] = again
            return len(again)
        count = self._file.readinto(buffer[: READ_BYTES if self._read else FIRST_READ_BYTES])
        self._digest.update(buffer[:count])
        self._read += count
        if self._read > self._allowed:
            raise Oversize(
                f"{self.path.name}: holds more than {self._allowed:,} bytes, far more than its header declares; "
                "write it anew"
            )
        return count

    def unread(self, content: bytes) -> None:
        """Give back the last bytes, which were read beyond the end of a header, to be read again."""
        self._unread = content

    def inflate(self, *, zlib: bool = False) -> None:
        """Let `stream` be what follows inflated, where it is gzip; with `zlib` it must be that or zlib."""
        position = self._read - len(self._unread)
        with translated_errors(self.path):
            is_gzip = os.pread(self._file.fileno(), 2, position) == GZIP_MAGIC
        if is_gzip:
            # The reader inside `igzip.IGzipFile`, which would copy every voxel once more.
            self.stream = igzip._GzipReader(self, READ_BYTES)  # type: ignore[arg-type, assignment]
        elif zlib:
            self.stream = _ZlibStream(self, self.path.name)  # type: ignore[assignment]
        if is_gzip or zlib:
            self._inflates_from = position

    def allow(self, inflated_bytes: int) -> None:
        """Let as many bytes be read as a file may need that inflates to `inflated_bytes`."""
        self._allowed = inflated_bytes + inflated_bytes // 8 + MAX_OVERHEAD

    def judge_size(self, declared: int) -> int:
        """Return how many bytes follow the `declared` ones of the stream, as far as that is known.

        Raises
        ------
        Oversize, Truncated
            If the file cannot hold what its header declares.
        """
        if self._inflates_from is None:
            if declared > self.size:
                raise Truncated(
                    f"{self.path.name}: holds {self.size:,} bytes, its header declares {declared:,}; copy it again"
                )
            return self.size - declared
        compressed = self.size - self._inflates_from
        if declared > compressed * MAX_INFLATION:
            raise Oversize(
                f"{self.path.name}: {compressed:,} bytes cannot inflate to the {declared:,} its header declares; "
                "the header or the file is damaged"
            )
        if declared > max(compressed * MAX_CT_INFLATION, UNQUESTIONED_BYTES):
            raise Oversize(
                f"{self.path.name}: {compressed:,} bytes would inflate to {declared:,}, which no CT does; if it is "
                "one, leave it uncompressed"
            )
        return 0

    def judge_unchanged(self) -> None:
        """Raise where the file is not the one that was opened."""
        now = os.fstat(self._file.fileno())
        if (now.st_size, now.st_mtime_ns) != (self._opened.st_size, self._opened.st_mtime_ns):
            raise Vanished(f"{self.path.name}: changed while it was read; convert again when it is at rest")

    @property
    def sha256(self) -> str:
        """The digest of what was read."""
        return self._digest.hexdigest()

    def close(self) -> None:
        self.stream = io.BytesIO()  # the reader, written in C, and what it reads from would keep each other for ever
        self._file.close()
        super().close()


class _ZlibStream(io.RawIOBase):
    """What a zlib stream, RFC 1950, inflates to; at its end its checksum is verified."""

    def __init__(self, source: ByteSource, name: str) -> None:
        self._source = source
        self._name = name
        self._inflater = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_ZLIB)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        buffer = memoryview(buffer)
        while not self._inflater.eof:
            compressed = self._source.read(READ_BYTES) if self._inflater.needs_input else b""
            if self._inflater.needs_input and not compressed:
                raise EOFError
            if inflated := self._inflate(compressed or b"", len(buffer)):
                buffer[: len(inflated)] = inflated
                return len(inflated)
        self._judge_padding()
        return 0

    def _inflate(self, compressed: bytes, most: int) -> bytes:
        try:
            return self._inflater.decompress(compressed, most)
        except igzip_lib.IsalError as error:  # type: ignore[misc]
            raise ChecksumMismatch(f"{self._name}: its zlib stream is damaged ({error}); copy it again") from None

    def _judge_padding(self) -> None:
        """Raise where more than zeros follows, as for gzip."""
        rest = self._inflater.unused_data
        while not rest.strip(b"\0"):
            if not (rest := self._source.read(READ_BYTES) or b""):
                return
        raise ChecksumMismatch(f"{self._name}: other bytes follow its zlib stream; cut them off or copy it again")


def open_scan(path: Path, format_name: str) -> io.FileIO:
    """Open a regular file for reading; never waits on a pipe or a device.

    Raises
    ------
    Unreadable, Vanished
    """
    with translated_errors(path):
        mode = path.stat().st_mode  # before it is opened, which does things to some devices
        if not stat.S_ISREG(mode):
            what = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
            raise Unreadable(f"{path.name}: is {what}, expected a {format_name} file; rename it or leave it out")
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


def read_at_most(stream: BinaryIO, limit: int) -> bytes:
    """Return the next `limit` bytes of a stream, or all that are left."""
    content = b""
    while len(content) < limit and (more := stream.read(limit - len(content))):
        content += more
    return content


def skip_exactly(stream: BinaryIO, count: int) -> None:
    """Pass over so many bytes of a stream, or raise EOFError."""
    if drain(stream, limit=count) < count:
        raise EOFError


def drain(stream: BinaryIO, *, limit: int) -> int:
    """Read to the end of a stream, so that its checksum is verified, but stop after `limit` bytes; count them."""
    count = 0
    while count < limit and (rest := stream.read(min(limit - count, READ_BYTES))):
        count += len(rest)
    return count


def sha256_of_files(digests: Sequence[str]) -> str:
    """Return the SHA-256 of a scan from those of its files.

    Of a header and its voxel file it is that of both digests, so that bytes which go from one file to the other change
    it.

    Examples
    --------
    >>> sha256_of_files(["5ca1e"])
    '5ca1e'
    """
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()
