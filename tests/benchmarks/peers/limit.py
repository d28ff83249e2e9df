"""The physical limit: ISA-L inflates a scan's bytes, CRC verified, into a buffer that is used again; and hashing them.

The fastest way counts: `igzip.IGzipFile`, as a program would call it, or the reader inside it, which takes the bytes
where they lie, so that nothing but the inflate is left.
"""

import functools
import hashlib
import io
from pathlib import Path

from isal import igzip
from timing import report

BUFFER_BYTES = 512 << 10


@functools.lru_cache(maxsize=1)
def content(scan: Path) -> bytes:
    """Return the bytes of a file, read in the warm-up and kept until the next scan."""
    return scan.read_bytes()


def inflate(scan: Path) -> None:
    buffer = bytearray(BUFFER_BYTES)
    with igzip.IGzipFile(fileobj=io.BytesIO(content(scan))) as stream:
        while stream.readinto(buffer):
            pass


def inflate_in_place(scan: Path) -> None:
    buffer = bytearray(BUFFER_BYTES)
    reader = igzip._GzipReader(content(scan))
    while reader.readinto(buffer):
        pass


def sha256(scan: Path) -> None:
    hashlib.sha256(content(scan)).digest()


report(
    {"ISA-L, IGzipFile": inflate, "ISA-L, from memory": inflate_in_place, "SHA-256": sha256},
    packages=["isal"],
)
