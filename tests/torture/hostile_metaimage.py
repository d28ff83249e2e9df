"""Does any MetaImage header crash, hang or bloat the reader, or make it say something that the file does not?

Texts of tiny scans, in `.mha` and `.mhd` with its voxel file, plain and compressed, are damaged with knowledge of their
fields. Each must be rejected, or give what `spec_image` reads, which follows ITK's description and nothing else.
"""

import math
import random
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from nibabel.spatialimages import SpatialImage

from tests.conftest import LAS, chest_hu
from tests.metaimage import TYPES, fields_of
from tests.torture.hostile_headers import judge_headers
from tests.torture.report import Row

SHAPE = (4, 4, 4)
DTYPES = ("u1", "i2", "u2", "i4", "f4", "f8", "i8")
VOXEL_FILE = "scan.raw"
NAMES = {name: f"<{code}" for code, name in TYPES.items()} | {"MET_LONG": "<i4", "MET_ULONG": "<u4"}

SYNONYMS = {
    "TransformMatrix": ("Rotation", "Orientation"),
    "Offset": ("Position", "Origin"),
    "ElementSpacing": ("ElementSize",),
    "BinaryDataByteOrderMSB": ("ElementByteOrderMSB",),
}
LIKELY = {
    "ObjectType": ("Image", "Tube", ""),
    "NDims": ("3", "2", "4", "-3", "three"),
    "BinaryData": ("True", "False", "1", "?"),
    "BinaryDataByteOrderMSB": ("True", "False", "1", "0", "yes"),
    "CompressedData": ("True", "False", "1", "0", ""),
    "CompressedDataSize": ("0", "1", "100", "-1", "1000000000000"),
    "TransformMatrix": ("1 0 0 0 1 0 0 0 1", "0 1 0 -1 0 0 0 0 1", "0 0 0 0 0 0 0 0 0", "1 0 0 1 0 0 0 0 1", "1 0 0"),
    "Offset": ("0 0 0", "-1e3 2.5 7", "nan 0 0", "0 0", "inf inf inf", "1e308 -1e308 0"),
    "ElementSpacing": ("1 1 1", "0.7 0.7 5", "0 1 1", "-1 1 1", "1e-3 1e-3 1e-3", "1 1", "1 1 1 1", "nan nan nan"),
    "ElementSize": ("1 1 1", "2 2 2"),
    "DimSize": (
        "4 4 4",
        "2 8 4",
        "64 1 1",
        "4 4",
        "4 4 3",
        "4 4 5",
        "0 4 4",
        "-4 -4 4",
        "99999 99999 99999",
        "4 4 4 1",
    ),
    "ElementType": (*NAMES, "MET_OTHER", "MET_SHORT_ARRAY", "short", ""),
    "ElementNumberOfChannels": ("1", "2", "0"),
    "ElementToIntensityFunctionSlope": ("1", "1.0", "2", "nan"),
    "ElementToIntensityFunctionOffset": ("0", "-1024"),
    "HeaderSize": ("0", "-1", "-2", "1", "100", "100000000000", "9" * 400),
    "DistanceUnits": ("mm", "cm", "um"),
    "Comment": ("a = b", "\x1b[2J", "\xe9", "x" * 100_000),
    "ElementDataFile": ("LOCAL", "Local", "local", VOXEL_FILE, "LIST", "../scan.raw", "/dev/zero", "s%d.raw", "", "."),
}


@dataclass(frozen=True)
class Sample:
    """One damaged scan: the bytes of its header, and those of its voxels."""

    suffix: str
    text: bytes
    voxels: bytes

    def write(self, folder: Path) -> Path:
        """Write it over the one before."""
        path = folder / f"scan{self.suffix}"
        path.write_bytes(self.text + (self.voxels if self.suffix == ".mha" else b""))
        (folder / VOXEL_FILE).write_bytes(self.voxels)
        return path


@cache
def intact(order: str, dtype: str, suffix: str, compressed: bool) -> tuple[dict[str, str], bytes]:
    """Return the fields and the voxels of the scan that others are made of."""
    stored = np.rint(chest_hu(SHAPE) / (1 if dtype != "u1" else 8)).clip(0 if dtype[0] == "u" else -1024, 2000)
    array = stored.astype(np.dtype(dtype).newbyteorder(order))
    voxels = zlib.compress(array.tobytes("F")) if compressed else array.tobytes("F")
    fields = {name: str(value) for name, value in fields_of(array, LAS).items()}
    fields["BinaryDataByteOrderMSB"] = str(order == ">")
    if compressed:
        fields |= {"CompressedData": "True", "CompressedDataSize": str(len(voxels))}
    return fields | {"ElementDataFile": "LOCAL" if suffix == ".mha" else VOXEL_FILE}, voxels


def hostile(draw: random.Random) -> Sample:
    """Return a scan whose header is damaged in one to three ways."""
    suffix = draw.choice((".mha", ".mhd"))
    fields, voxels = intact(draw.choice("<>"), draw.choice(DTYPES), suffix, draw.random() < 0.4)
    lines = list(fields.items())
    for _ in range(draw.choice((0, 1, 1, 2, 3))):
        damage = draw.choices((_set, _rename, _drop, _double, _shuffle), (8, 2, 1, 2, 1))[0]
        lines = damage(draw, lines)
    end = draw.choice(("\n", "\n", "\n", "\r\n"))
    text = "".join(f"{name}{draw.choice((' = ', '=', ' : '))}{value}{end}" for name, value in lines).encode()
    if draw.random() < 0.2:
        text = draw.choice((_noise, _cut))(draw, text)
    if draw.random() < 0.1:
        voxels = draw.choice((voxels[:-1], voxels + b"\0" * 40, voxels + b"x", _noise(draw, voxels)))
    return Sample(suffix, text, voxels)


Lines = list[tuple[str, str]]


def _set(draw: random.Random, lines: Lines) -> Lines:
    """Give a field a value that is likely and wrong here; it is added where it is missing."""
    name = draw.choice(list(LIKELY))
    changed = dict(lines)
    if name not in changed:
        return [(name, draw.choice(LIKELY[name])), *lines]
    return [(each, draw.choice(LIKELY[name]) if each == name else value) for each, value in lines]


def _rename(draw: random.Random, lines: Lines) -> Lines:
    name = draw.choice(list(SYNONYMS))
    return [(draw.choice(SYNONYMS[name]) if each == name else each, value) for each, value in lines]


def _drop(draw: random.Random, lines: Lines) -> Lines:
    at = draw.randrange(len(lines))
    return lines[:at] + lines[at + 1 :]


def _double(draw: random.Random, lines: Lines) -> Lines:
    """Say a thing twice, by the same name or by another."""
    name, value = draw.choice(lines)
    other = draw.choice((name, *SYNONYMS.get(name, ())))
    return [(other, draw.choice((value, *LIKELY.get(name, ())))), *lines]


def _shuffle(draw: random.Random, lines: Lines) -> Lines:
    return draw.sample(lines, len(lines))


def _noise(draw: random.Random, content: bytes) -> bytes:
    noisy = bytearray(content)
    for _ in range(draw.choice((1, 1, 4))):
        if noisy:
            noisy[draw.randrange(len(noisy))] = draw.randrange(256)
    return bytes(noisy)


def _cut(draw: random.Random, content: bytes) -> bytes:
    return content[: draw.randrange(len(content) + 1)]


def spec_image(sample: Sample) -> SpatialImage:
    """Read a scan that was accepted as ITK does: HU in float64, and the affine in RAS."""
    content = sample.text + (sample.voxels if sample.suffix == ".mha" else b"")
    fields: dict[str, str] = {}
    while "ElementDataFile" not in fields:
        line, _, content = content.partition(b"\n")
        if line.strip():
            name, value = re.split("[=:]", line.decode(), maxsplit=1)
            fields[name.strip()] = value.strip()
    is_local = fields["ElementDataFile"].upper() == "LOCAL"
    if not is_local and fields["ElementDataFile"] != VOXEL_FILE:
        raise ValueError("the voxels are not there")
    shape = tuple(map(int, fields["DimSize"].split()))
    dtype = np.dtype(NAMES[fields["ElementType"]])
    if _first(fields, "BinaryDataByteOrderMSB", default="False") in ("True", "1"):
        dtype = dtype.newbyteorder(">")
    voxels = _from_start(sample, content if is_local else sample.voxels, fields, math.prod(shape) * dtype.itemsize)
    hu = np.frombuffer(voxels, dtype, math.prod(shape)).astype(np.float64)
    spacing, directions, origin = (
        np.array(_first(fields, name).split(), np.float64) for name in ("ElementSpacing", "TransformMatrix", "Offset")
    )
    lps = np.eye(4)
    lps[:3, :3], lps[:3, 3] = directions.reshape(3, 3).T @ np.diag(spacing), origin
    return SpatialImage(hu.reshape(shape, order="F"), np.diag([-1, -1, 1, 1]) @ lps)


def _from_start(sample: Sample, content: bytes, fields: dict[str, str], needed: int) -> bytes:
    """Return the voxels' bytes, from where `HeaderSize` says that they begin."""
    start = int(fields.get("HeaderSize", "0"))
    if start > 0 and fields["ElementDataFile"].upper() == "LOCAL":
        content = sample.text + sample.voxels
    if start == -1:
        return content[len(content) - needed :]
    if fields.get("CompressedData", "False") not in ("True", "1"):
        return content[start:]
    try:
        return zlib.decompress(content[start:], wbits=47)
    except zlib.error as error:
        raise ValueError(error) from None


def _first(fields: dict[str, str], name: str, default: str | None = None) -> str:
    found = [fields[each] for each in (name, *SYNONYMS[name]) if each in fields]
    return found[0] if default is None or found else default


def mirrored_image(sample: Sample) -> SpatialImage:
    """Read a scan wrongly, as one whose first axis runs the other way: the null control."""
    return spec_image(sample).slicer[::-1]


def long_version(empty_folder: Callable[[], Path], seed: int) -> Iterator[Row]:
    """Judge 100,000 headers."""
    figures = judge_headers(empty_folder(), 100_000, seed=seed, draw_sample=hostile, read=spec_image)
    outcomes = ", ".join(f"{count:,} {what}" for what, count in figures.outcomes.most_common())
    spent = f"longest {figures.longest_seconds:.2f} s, {figures.grown_mb:.0f} MB beside the process"
    mirrored = judge_headers(empty_folder(), 1000, seed=seed, draw_sample=hostile, read=mirrored_image)
    control, found = f"a mirrored image: {len(mirrored.faults):,} faults of 1,000", len(mirrored.faults)
    tried = f"100,000: {outcomes}; {spent}"
    yield Row("MetaImage headers damaged", tried, len(figures.faults), figures.faults[:20], control, found)
