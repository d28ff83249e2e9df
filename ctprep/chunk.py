"""The file that holds one volume of a store: a Zarr v3 chunk, written without Zarr.

A worker needs this module and no other of the store's; the tests hold it to the bytes that zarr-python writes.
"""

import os
from pathlib import Path
from typing import Any

import google_crc32c
import numcodecs.blosc
import numpy as np

CHECKSUM_BYTES = 4

BLOSC: dict[str, Any] = {"cname": "lz4", "clevel": 5, "blocksize": 0}


def chunk_path(row: int) -> str:
    """Return where, under the store, the volume of a row lies.

    Examples
    --------
    >>> chunk_path(17)
    'volume/c.17.0.0.0'
    """
    return f"volume/c.{row}.0.0.0"


def encode_chunk(volume: np.ndarray) -> bytes:
    """Return the bytes of the chunk that holds one volume: blosc(lz4, bitshuffle), then crc32c.

    Parameters
    ----------
    volume : (x, y, z) array of the stored dtype
    """
    little = np.ascontiguousarray(volume, volume.dtype.newbyteorder("<"))
    # With several threads Blosc writes blocks in the order in which they finish: other bytes at each run.
    numcodecs.blosc.use_threads = False
    packed = numcodecs.blosc.Blosc(**BLOSC, shuffle=numcodecs.blosc.BITSHUFFLE).encode(little)
    return bytes(packed) + google_crc32c.value(packed).to_bytes(CHECKSUM_BYTES, "little")


def chunk_checksum(chunk: bytes) -> int | None:
    """Return the CRC-32C at the end of an encoded chunk, or None where it is not that of the rest."""
    stated = int.from_bytes(chunk[-CHECKSUM_BYTES:], "little")
    return stated if len(chunk) > CHECKSUM_BYTES and google_crc32c.value(chunk[:-CHECKSUM_BYTES]) == stated else None


def stated_checksum(chunk: Path) -> int:
    """Return the CRC-32C at the end of a chunk's file, without reading the rest."""
    with open(chunk, "rb") as file:
        file.seek(-CHECKSUM_BYTES, os.SEEK_END)
        return int.from_bytes(file.read(), "little")
