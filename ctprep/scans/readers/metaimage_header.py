"""What the text of a MetaImage header says, judged before anything is allocated for it.

Fields mean what they mean to ITK, which writes them. Where it takes a default that may be wrong, such as the identity
for a missing orientation, or where other readers differ from it, the header is refused.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ctprep.errors import BadGeometry, NotHounsfield, NotThreeD, Unreadable, UnsupportedDtype
from ctprep.scans.readers.header import MAX_EXTENSION, ScanHeader, judge_affine, judge_dtype, judge_shape
from ctprep.volume.grid import Triple, VoxelGrid, affine_of_orientation

MAX_TEXT_BYTES = 64 << 10
"""Bytes of the text, and of a `.mhd`; ITK writes less than one KB."""

DTYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",  # of 32 bits on every machine
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}

ORIENTATION = ("TransformMatrix", "Rotation", "Orientation")
POSITION = ("Offset", "Position", "Origin")
BYTE_ORDER = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
"""Names of one thing each."""

SPACING = ("ElementSpacing", "ElementSize")
"""The second is the size of a voxel, and its distance from the next where only it is given."""

RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])

TRUTH = {"true": True, "false": False, "1": True, "0": False}

_END = re.compile(rb"^[ \t]*ElementDataFile[ \t]*[=:][^\n]*(\n|\Z)", re.MULTILINE)
_SEPARATOR = re.compile(r"[=:]")
_NAME = re.compile(r"\w+", re.ASCII)

Fields = Mapping[str, str]


@dataclass(frozen=True)
class MetaImageHeader(ScanHeader):
    """What a MetaImage header says that matters for reading its voxels.

    Parameters
    ----------
    voxel_file : str or None
        Name of the file beside the header that holds the voxels; None where they follow the header.
    compressed : bool
        They are a stream of zlib, or gzip.
    compressed_bytes : int or None
        Of that stream, where the header says it.
    voxels_start : int or None
        Byte of the file where they begin: 0 for right after the header, None for so many before the file's end.
    """

    voxel_file: str | None
    compressed: bool
    compressed_bytes: int | None
    voxels_start: int | None


def split_text(content: bytes, path: Path) -> tuple[bytes, bytes]:
    """Split the beginning of a file after the line `ElementDataFile`, which ends a header.

    Raises
    ------
    Unreadable
        If there is no such line within `MAX_TEXT_BYTES`.
    """
    if not content:
        raise Unreadable(f"{path.name}: is empty; copy it again or leave it out")
    if not (end := _END.search(content[:MAX_TEXT_BYTES])):
        raise Unreadable(
            f"{path.name}: is not MetaImage (no ElementDataFile in its first {MAX_TEXT_BYTES >> 10} KiB); "
            "convert it or leave it out"
        )
    return content[: end.end()], content[end.end() :]


def parse_text(text: bytes, path: Path, *, orientation: str = "") -> MetaImageHeader:
    """Judge a header; `orientation` is taken where it names no direction of its axes.

    Raises
    ------
    BadScan
        One child per reason.
    """
    fields = _fields_of(text, path)
    _judge_kind(fields, path)
    dtype = _dtype_of(fields, path)
    shape = _integers(fields, "DimSize", path)
    if fields.get("NDims") != "3" or len(shape) != 3:
        raise NotThreeD(
            f"{path.name}: has the shape {shape} and NDims {fields.get('NDims')}, expected one volume of three axes; "
            "split it or repair its header"
        )
    volume = judge_shape(shape, dtype, path)
    is_stated = orientation != "" and _one_of(fields, ORIENTATION, path) is None
    affine = _stated_affine(fields, volume, orientation, path) if is_stated else _affine_of(fields, path)
    compressed = _is_true(fields, "CompressedData", path, default=False)
    compressed_bytes = _integer(fields, "CompressedDataSize", path) if compressed else 0
    return MetaImageHeader(
        VoxelGrid(volume, affine),
        dtype,
        slope=1.0,
        inter=0.0,
        stated_orientation=orientation if is_stated else "",
        voxel_file=_voxel_file_of(fields, path),
        compressed=compressed,
        compressed_bytes=compressed_bytes or None,
        voxels_start=_voxels_start_of(fields, path, compressed=compressed),
    )


def _fields_of(text: bytes, path: Path) -> Fields:
    fields: dict[str, str] = {}
    try:
        lines = text.decode().split("\n")
    except UnicodeDecodeError:
        raise Unreadable(f"{path.name}: its MetaImage header is not text; copy it again or leave it out") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, *value = (part.strip() for part in _SEPARATOR.split(line.replace("\t", " "), maxsplit=1))
        if not _NAME.fullmatch(name) or not value or not value[0].isprintable():
            raise Unreadable(f"{path.name}: line {number} of its header is not 'name = value'; repair it")
        if name in fields:
            raise Unreadable(f"{path.name}: its header has {name} twice; leave one of them")
        fields[name] = value[0]
    return fields


def _judge_kind(fields: Fields, path: Path) -> None:
    """Raise where the header is of something else, or its voxels are not what its file holds."""
    if (kind := fields.get("ObjectType", "Image")) != "Image":
        raise Unreadable(f"{path.name}: is a MetaIO object of type {kind}, expected Image; leave it out")
    if not _is_true(fields, "BinaryData", path, default=True):
        raise Unreadable(f"{path.name}: its voxels are written as text; write them as binary data")
    if (channels := fields.get("ElementNumberOfChannels", "1")) != "1":
        raise UnsupportedDtype(f"{path.name}: has {channels} values a voxel, a CT has one; leave it out")
    if (unit := fields.get("DistanceUnits", "mm")) not in ("mm", "?"):
        raise BadGeometry(f"{path.name}: its lengths are in {unit}, expected mm; convert them")
    for name, neutral in (("ElementToIntensityFunctionSlope", 1.0), ("ElementToIntensityFunctionOffset", 0.0)):
        if name in fields and _numbers(fields, name, path) != [neutral]:
            raise NotHounsfield(
                f"{path.name}: its {name} is {fields[name]}, which ITK passes over; apply it and write {neutral:g}"
            )


def _dtype_of(fields: Fields, path: Path) -> np.dtype:
    name = _field(fields, "ElementType", path)
    if name not in DTYPES:
        raise UnsupportedDtype(f"{path.name}: voxels are {name}, a CT has one real number a voxel; leave it out")
    dtype = np.dtype(DTYPES[name])
    judge_dtype(dtype, path)
    order = _one_of(fields, BYTE_ORDER, path)
    if order is None and dtype.itemsize > 1:
        raise Unreadable(
            f"{path.name}: does not say the byte order of its voxels; add {BYTE_ORDER[0]} = False where it is that of "
            "most machines"
        )
    return dtype.newbyteorder(">" if order and _is_true(fields, order, path) else "<")


def _affine_of(fields: Fields, path: Path) -> np.ndarray:
    orientation, position = _one_of(fields, ORIENTATION, path), _one_of(fields, POSITION, path)
    if orientation is None:
        raise BadGeometry(
            f"{path.name}: has no {ORIENTATION[0]}, so left and right are unknown; add it, 1 0 0 0 1 0 0 0 1 where its "
            "axes run to the left, posterior and superior, or state which way they run with --orientation, as in LPS"
        )
    if position is None:
        raise BadGeometry(f"{path.name}: has no {POSITION[0]}, so its place is unknown; add it, 0 0 0 if it is")
    directions = _numbers(fields, orientation, path, count=9)
    spacing = _spacing_of(fields, path)
    lps_from_voxel = np.eye(4)
    with np.errstate(all="ignore"):  # what is not finite is judged below
        lps_from_voxel[:3, :3] = np.reshape(directions, (3, 3)).T * spacing  # a row of the text is an axis of the file
        lps_from_voxel[:3, 3] = _numbers(fields, position, path, count=3)
        affine = RAS_FROM_LPS @ lps_from_voxel
    judge_affine(affine, path)
    return affine


def _stated_affine(fields: Fields, shape: Triple, orientation: str, path: Path) -> np.ndarray:
    """Return the affine of axes of which only the orientation and the spacing are known: the centre is the origin."""
    affine = affine_of_orientation(orientation, _spacing_of(fields, path), shape)
    judge_affine(affine, path)
    return affine


def _spacing_of(fields: Fields, path: Path) -> list[float]:
    name = next((name for name in SPACING if name in fields), SPACING[0])
    spacing = _numbers(fields, name, path, count=3)
    if min(spacing) <= 0:
        raise BadGeometry(f"{path.name}: its {name} is {fields[name]}, expected mm above 0; repair it")
    return spacing


def _voxel_file_of(fields: Fields, path: Path) -> str | None:
    """Return the name of the voxels' file, which lies beside the header, or None."""
    name = fields["ElementDataFile"]
    if name.upper() == "LOCAL":
        return None
    if name.startswith("LIST") or "%" in name:
        raise Unreadable(f"{path.name}: its voxels are in a list of files ({name!r}); write them as one")
    if not name or name in (".", "..") or "/" in name or "\\" in name:
        raise Unreadable(f"{path.name}: its voxel file is {name!r}, expected a file in the same folder; move it there")
    if name == path.name:
        raise Unreadable(f"{path.name}: says that it is its own voxel file; write LOCAL where they follow the header")
    return name


def _voxels_start_of(fields: Fields, path: Path, *, compressed: bool) -> int | None:
    start = _integer(fields, "HeaderSize", path)
    if not -1 <= start <= MAX_EXTENSION or (compressed and start < 0):
        raise Unreadable(
            f"{path.name}: its HeaderSize is {start}, expected 0 to {MAX_EXTENSION:,}, or -1 where nothing is "
            "compressed; repair it"
        )
    return None if start < 0 else start


def _one_of(fields: Fields, names: tuple[str, ...], path: Path) -> str | None:
    """Return which of several names for one thing the header has, or None."""
    found = [name for name in names if name in fields]
    if len({fields[name] for name in found}) > 1:
        raise Unreadable(f"{path.name}: its {' and '.join(found)} differ, though they mean the same; leave one of them")
    return found[0] if found else None


def _field(fields: Fields, name: str, path: Path) -> str:
    if name not in fields:
        raise Unreadable(f"{path.name}: has no {name} in its header; repair it or leave it out")
    return fields[name]


def _is_true(fields: Fields, name: str, path: Path, *, default: bool | None = None) -> bool:
    if name not in fields and default is not None:
        return default
    value = _field(fields, name, path)
    if value.lower() not in TRUTH:
        raise Unreadable(f"{path.name}: its {name} is {value!r}, expected True or False; repair its header")
    return TRUTH[value.lower()]


def _numbers(fields: Fields, name: str, path: Path, *, count: int = 1) -> list[float]:
    values = _field(fields, name, path).split()
    try:
        if len(values) != count or not re.fullmatch(r"[-+.\w ]*", " ".join(values), re.ASCII) or "_" in fields[name]:
            raise ValueError(name)
        return list(map(float, values))
    except ValueError:
        wanted = "a number" if count == 1 else f"{count} numbers"
        raise BadGeometry(f"{path.name}: its {name} is {fields[name]!r}, expected {wanted}; repair it") from None


def _integer(fields: Fields, name: str, path: Path) -> int:
    return _integers(fields, name, path)[0] if name in fields else 0


def _integers(fields: Fields, name: str, path: Path) -> tuple[int, ...]:
    values = _field(fields, name, path).split()
    if not values or not all(re.fullmatch(r"[-+]?[0-9]{1,18}", value) for value in values):
        raise BadGeometry(f"{path.name}: its {name} is {fields[name]!r}, expected whole numbers; repair its header")
    return tuple(map(int, values))
