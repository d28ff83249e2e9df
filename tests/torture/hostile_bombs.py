"""Is a small file that unfolds into a large one, or never ends, given up before it costs anything?

Each bomb must be rejected after few bytes are read and few are inflated, which is counted; in the long version in less
than half a second, too.
"""

import contextlib
import gzip
import resource
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar
from unittest import mock

import nibabel
import numpy as np

from ctprep.errors import BadScan
from ctprep.preparation import prepare
from ctprep.scans.readers import slabs
from ctprep.scans.readers.nifti_header import encode_header
from ctprep.volume.recipe import Recipe
from tests import metaimage
from tests.conftest import LAS, chest_hu
from tests.torture.hostile_limits import Peak
from tests.torture.report import Row
from tests.torture.steps import FORK

Result = TypeVar("Result")

SHAPE = (24, 20, 12)
RECIPE = Recipe(shape=(4, 4, 4))
MAX_BYTES = 80 << 20
"""Of a file and of what it inflates to: an extension may have 64 MiB."""

MAX_SECONDS = 0.5
MAX_SECONDS_NAIVELY = 5.0
MAX_BYTES_NAIVELY = 4 << 30

EMPTY_MEMBER = gzip.compress(b"", mtime=0)
SPARSE = 1 << 40
"""Bytes of zeros, none of which is on the disk."""


@cache
def block() -> bytes:
    """Return 64 MiB of zeros in 64 KB: deflate can do no better."""
    return gzip.compress(bytes(64 << 20), 9, mtime=0)


@dataclass(frozen=True)
class Defusal:
    """What became of a bomb."""

    outcome: str
    seconds: float
    bytes_read: int
    bytes_inflated: int
    grown_mb: float


def header(shape: tuple[int, int, int] = SHAPE, dtype: str = "<i2", **fields: object) -> bytes:
    """Return the header of a single file; what the other fields say is up to the caller."""
    parsed = nibabel.Nifti1Header(encode_header(np.dtype(dtype), (1, 1, 1), LAS)[:348])
    parsed["dim"][1:4] = shape
    for name, value in fields.items():
        parsed[name] = value
    return parsed.binaryblock + b"\0\0\0\0"


def scan() -> bytes:
    """Return a scan that nothing is wrong with."""
    return header() + chest_hu(SHAPE).tobytes("F")


def extended(extension_bytes: int, offset: int) -> bytes:
    """Return a header whose extension says it has so many bytes, and whose voxels start at `offset`."""
    return header(vox_offset=offset)[:348] + b"\1\0\0\0" + np.array([extension_bytes, 6], "<i4").tobytes()


def file_of(content: bytes, *, zeros: int = 0) -> Callable[[Path], None]:
    """Return what writes a file, and makes it longer without taking room."""

    def write(path: Path) -> None:
        with open(path, "wb") as file:
            file.write(content)
            file.truncate(len(content) + zeros)

    return write


def pair_of(head: bytes, *, zeros: int = 0) -> Callable[[Path], None]:
    """Return what writes a header, made longer without taking room, and its voxels."""

    def write(path: Path) -> None:
        file_of(head, zeros=zeros)(path)
        path.with_suffix(".img").write_bytes(chest_hu(SHAPE).tobytes("F"))

    return write


def bombs() -> Iterator[tuple[str, str, Callable[[Path], None]]]:
    """Yield the name, the file's suffix, and what writes the file."""
    huge = (30000, 30000, 30000)
    packed = gzip.compress(scan())
    yield "1000:1 after a small volume", ".nii.gz", file_of(gzip.compress(header()) + block() * 32)
    yield "1000:1 after a large slice", ".nii.gz", file_of(gzip.compress(header((8192, 4000, 1))) + block() * 32)
    yield "1000:1 as declared, 16 GiB", ".nii.gz", file_of(gzip.compress(header((8192, 8000, 120))) + block() * 256)
    yield "30000^3 declared", ".nii.gz", file_of(gzip.compress(header(huge)) + block())
    yield "30000^3 declared, plain and sparse", ".nii", file_of(header(huge), zeros=SPARSE)
    yield "a million empty members", ".nii.gz", file_of(EMPTY_MEMBER * 1_000_000)
    yield "a million empty members, then a scan", ".nii.gz", file_of(EMPTY_MEMBER * 1_000_000 + packed)
    yield "a scan, then a million empty members", ".nii.gz", file_of(packed + EMPTY_MEMBER * 1_000_000)
    yield "a scan, then endless zeros", ".nii.gz", file_of(packed, zeros=SPARSE)
    yield "an empty member, then endless zeros", ".nii.gz", file_of(EMPTY_MEMBER, zeros=SPARSE)
    yield "a scan, then garbage", ".nii.gz", file_of(packed + bytes(range(1, 256)) * (1 << 17))
    yield "a plain scan, then endless zeros", ".nii", file_of(scan(), zeros=SPARSE)
    yield "a header, then endless zeros", ".hdr", pair_of(header(magic=b"ni1", vox_offset=0), zeros=SPARSE)
    yield "a huge vox_offset", ".nii.gz", file_of(gzip.compress(header(vox_offset=2.0**62)) + block() * 32)
    yield "a large vox_offset, nothing there", ".nii.gz", file_of(gzip.compress(header(vox_offset=2.0**26)))
    yield "a huge extension, declared by itself", ".nii.gz", file_of(gzip.compress(extended(2**31 - 16, 352)) + block())
    yield "a huge extension, as declared", ".nii.gz", file_of(gzip.compress(extended(2**31 - 16, 2**31)) + block() * 32)
    yield "a name without an end in gzip's header", ".nii.gz", file_of(b"\x1f\x8b\x08\x08" + b"x" * (1 << 20))
    yield "an endless extra field", ".nii.gz", file_of(b"\x1f\x8b\x08\x04\0\0\0\0\0\3\xff\xff" * (1 << 17))


def metaimage_bombs() -> Iterator[tuple[str, str, Callable[[Path], None]]]:
    """Yield the same of MetaImage."""
    huge, zlib_block = "30000 30000 30000", zlib.compress(bytes(64 << 20), 9)
    voxels = chest_hu(SHAPE).tobytes("F")
    yield "zlib, 1000:1 after a small volume", ".mha", file_of(text(CompressedData=True) + zlib_block)
    yield "zlib, 16 GiB as declared", ".mha", file_of(text(CompressedData=True, DimSize="8192 8000 120") + zlib_block)
    yield "zlib, 30000^3 declared", ".mha", file_of(text(CompressedData=True, DimSize=huge) + zlib_block)
    yield (
        "zlib, a scan, then endless zeros",
        ".mha",
        file_of(text(CompressedData=True) + zlib.compress(voxels), zeros=SPARSE),
    )
    yield "gzip, a million empty members", ".mha", file_of(text(CompressedData=True) + EMPTY_MEMBER * 1_000_000)
    yield "30000^3 declared, .mha, plain and sparse", ".mha", file_of(text(DimSize=huge), zeros=SPARSE)
    yield "a plain .mha, then endless zeros", ".mha", file_of(text() + voxels, zeros=SPARSE)
    yield "voxels at the end of endless zeros", ".mha", file_of(text(HeaderSize=-1), zeros=SPARSE)
    yield "a huge HeaderSize", ".mha", file_of(text(HeaderSize=1 << 38), zeros=SPARSE)
    yield "a large HeaderSize before zlib", ".mha", file_of(text(CompressedData=True, HeaderSize=1 << 26), zeros=SPARSE)
    yield "a header without an end", ".mha", file_of(b"Comment = x\n" * (1 << 20))
    yield "a line without an end", ".mhd", file_of(b"Comment = ", zeros=SPARSE)
    yield "a .mhd, then endless zeros", ".mhd", file_of(text("bomb.raw"), zeros=SPARSE)


def text(voxel_file: str = "LOCAL", **fields: object) -> bytes:
    """Return a MetaImage header; what the fields say is up to the caller."""
    return metaimage.text_of(metaimage.fields_of(np.empty(SHAPE, "<i2")) | fields, voxel_file)


def defuse(path: Path) -> Defusal:
    """Prepare a scan, counting the bytes that are read from its file and those that they inflate to."""
    counts = {"read": 0, "inflated": 0}
    peak, start = Peak(), time.perf_counter()
    with mock.patch.object(slabs, "ByteSource", _counting(counts)):
        try:
            prepare(path, RECIPE, accept=["coverage"])
            outcome = "accepted"
        except BadScan as error:
            outcome = f"{error.code}: {error}"
    seconds = time.perf_counter() - start
    return Defusal(outcome, seconds, counts["read"], counts["inflated"], peak.grown_mb())


def _counting(counts: dict[str, int]) -> type:
    """Return the source of `ctprep.scans.readers.slabs` with a meter at each end."""

    class Metered(slabs.ByteSource):
        def __init__(self, *args: object) -> None:
            super().__init__(*args)  # type: ignore[arg-type]
            self.stream = _Meter(self.stream, counts)  # type: ignore[assignment]

        def inflate(self, **how: bool) -> None:
            super().inflate(**how)
            if not isinstance(self.stream, _Meter):
                self.stream = _Meter(self.stream, counts)  # type: ignore[assignment]

        def readinto(self, buffer: memoryview) -> int:
            count = super().readinto(buffer)
            counts["read"] += count
            return count

    return Metered


class _Meter:
    """A stream that counts what is taken from it."""

    def __init__(self, stream: object, counts: dict[str, int]) -> None:
        self._stream, self._counts = stream, counts

    def read(self, size: int) -> bytes:
        content = self._stream.read(size)  # type: ignore[attr-defined]
        self._counts["inflated"] += len(content)
        return content

    def readinto(self, buffer: memoryview) -> int:
        count = self._stream.readinto(buffer)  # type: ignore[attr-defined]
        self._counts["inflated"] += count
        return count


def of_each_bomb(folder: Path, handle: Callable[[Path], Result]) -> dict[str, Result]:
    """Return what came of handling every bomb, by its name."""
    results = {}
    for name, suffix, write in (*bombs(), *metaimage_bombs()):
        path = folder / f"bomb{suffix}"
        write(path)
        results[name] = handle(path)
        path.unlink()
    return results


def set_off(path: Path) -> float:
    """Read a scan as a script would, with nibabel, in a process of 4 GB; return the seconds it took, or was given."""
    process, started = FORK.Process(target=_read_naively, args=(path,)), time.perf_counter()
    process.start()
    process.join(MAX_SECONDS_NAIVELY)
    process.kill()
    process.join()
    return time.perf_counter() - started


def _read_naively(path: Path) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES_NAIVELY, MAX_BYTES_NAIVELY))
    with contextlib.suppress(Exception):
        nibabel.load(path).get_fdata()


def long_version(empty_folder: Callable[[], Path], _seed: int) -> Iterator[Row]:
    """Defuse every bomb; the seconds count here, where nothing else runs."""
    defusals = of_each_bomb(empty_folder(), defuse)
    longest = max(defusal.seconds for defusal in defusals.values())
    grown = max(defusal.grown_mb for defusal in defusals.values())
    went_off = [f"{name}: {defusal}" for name, defusal in defusals.items() if _went_off(defusal)]
    tried = f"{len(defusals)}: longest {longest:.2f} s, {grown:.0f} MB beside the process"
    naively = sum(seconds > MAX_SECONDS for seconds in of_each_bomb(empty_folder(), set_off).values())
    yield Row("bombs", tried, len(went_off), went_off, f"nibabel: {naively} take longer than {MAX_SECONDS} s", naively)


def _went_off(defusal: Defusal) -> bool:
    most_bytes = max(defusal.bytes_read, defusal.bytes_inflated)
    return defusal.outcome == "accepted" or defusal.seconds > MAX_SECONDS or most_bytes > MAX_BYTES
