"""The file that holds one volume of a store: a Zarr v3 chunk, written without Zarr.

A worker needs this module and no other of the store's; the tests hold it to the bytes that zarr-python writes.
"""

import math
import os
import re
import threading
from io import FileIO
from pathlib import Path
from typing import Any

import google_crc32c
import numcodecs.blosc
import numpy as np

from ctprep.files import open_regular
from ctprep.volume.recipe import Recipe

CHECKSUM_BYTES = 4

RESIDUE = 0x48674BC7
"""CRC-32C of any bytes that are followed by their own CRC-32C, little-endian."""

BLOSC_OVERHEAD = 16
"""Bytes by which Blosc makes incompressible data longer."""

BLOSC_LENGTH = slice(4, 8)
"""Where a Blosc buffer says, little-endian, how many bytes it inflates to."""

MAX_SCRATCH = 16 << 20
"""Bytes that each thread keeps for the next chunk."""

BLOSC: dict[str, Any] = {"cname": "lz4", "clevel": 5, "blocksize": 0}


VOLUME, LUNG = "volume", "lung"
"""The arrays of one chunk a scan."""

LUNG_DTYPE = "uint8"

_CHUNK = re.compile(rf"({VOLUME}|{LUNG})/c\.\d+\.0\.0\.0", re.ASCII)


def chunked_arrays(recipe: Recipe) -> dict[str, str]:
    """Return the arrays of one chunk a scan that a store of a recipe has, and their dtypes.

    Examples
    --------
    >>> chunked_arrays(Recipe(lung=True))
    {'volume': 'float16', 'lung': 'uint8'}
    """
    return {VOLUME: recipe.dtype} | ({LUNG: LUNG_DTYPE} if recipe.lung else {})


def chunk_path(row: int, array: str = VOLUME) -> str:
    """Return where, under the store, the volume of a row lies, or its chunk of another array.

    Examples
    --------
    >>> chunk_path(17)
    'volume/c.17.0.0.0'
    """
    return f"{array}/c.{row}.0.0.0"


def is_chunk(name: str) -> bool:
    """Tell whether a path under a store is that of some row's chunk."""
    return _CHUNK.fullmatch(name) is not None


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


def most_chunk_bytes(shape: tuple[int, ...], dtype: str) -> int:
    """Return how many bytes the chunk of one volume may have."""
    return math.prod(shape) * np.dtype(dtype).itemsize + BLOSC_OVERHEAD + CHECKSUM_BYTES


def stated_checksum(chunk: str | Path) -> int:
    """Return the CRC-32C at the end of a chunk's file, without reading the rest.

    Raises
    ------
    OSError
        If there is no such file, or it cannot be read.
    """
    with open_regular(chunk) as file:
        file.seek(-CHECKSUM_BYTES, os.SEEK_END)
        return int.from_bytes(file.read(CHECKSUM_BYTES), "little")


def read_chunk(chunk: str | Path, checksum: int, out: np.ndarray) -> None:
    """Read a chunk's volume into an array, once the chunk is proven to be the one with this checksum.

    Several threads may do so at once: inflating is most of the work, and holds no lock. TensorStore, which copies a
    volume three times on the way, takes 1.4 times the CPU time (tests/benchmarks/streaming.py).

    Parameters
    ----------
    chunk : path
    checksum : int
        What `chunk_checksum` said of the chunk when it was written.
    out : (x, y, z) array of the stored dtype, contiguous
        Left as it is if anything is wrong.

    Raises
    ------
    OSError
        If there is no such file, or it cannot be read.
    ValueError
        If it is damaged, or is another chunk, or one of another size.
    """
    scratch = _scratch.of(out.nbytes + BLOSC_OVERHEAD + CHECKSUM_BYTES + 1)  # a byte more than any chunk has
    with open_regular(chunk) as file:
        size = _fill(file, scratch.data)
    if google_crc32c.value(scratch[:size]) != RESIDUE:
        raise ValueError("is damaged (its checksum does not match)")
    if int.from_bytes(scratch[size - CHECKSUM_BYTES : size].tobytes(), "little") != checksum:
        raise ValueError("is not the one that was written")
    if int.from_bytes(scratch[BLOSC_LENGTH].tobytes(), "little") != out.nbytes:
        raise ValueError("is of another size")
    numcodecs.blosc.use_threads = False
    try:
        numcodecs.blosc.decompress(scratch[: size - CHECKSUM_BYTES], out)
    except RuntimeError:  # Blosc's own, of what has a checksum and is no Blosc buffer
        raise ValueError("cannot be inflated") from None


def _fill(file: FileIO, buffer: memoryview) -> int:
    """Read until the buffer is full or the file ends; some file systems give less than is asked for."""
    size = 0
    while more := file.readinto(buffer[size:]):
        size += more
    return size


class _Scratch(threading.local):
    """Memory of each thread for an encoded chunk, used again where it is small: fresh pages cost as much as reading."""

    memory = np.empty(0, np.uint8)

    def of(self, size: int) -> np.ndarray:
        if len(self.memory) == size:
            return self.memory
        memory = np.empty(size, np.uint8)
        if size <= MAX_SCRATCH:
            self.memory = memory
        return memory


_scratch = _Scratch()
