"""MetaImage files for tests, written by the letter of ITK's description and with nothing of the package."""

import zlib
from pathlib import Path

import numpy as np

from tests.conftest import LAS, chest_hu

TYPES = {
    "i1": "MET_CHAR",
    "u1": "MET_UCHAR",
    "i2": "MET_SHORT",
    "u2": "MET_USHORT",
    "i4": "MET_INT",
    "u4": "MET_UINT",
    "i8": "MET_LONG_LONG",
    "u8": "MET_ULONG_LONG",
    "f4": "MET_FLOAT",
    "f8": "MET_DOUBLE",
}


def fields_of(array: np.ndarray, affine: np.ndarray = LAS) -> dict[str, object]:
    """Return what ITK writes of a volume in file axes whose voxels are not compressed, but for `ElementDataFile`."""
    lps = np.diag([-1, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    axes = (lps[:3, :3] / spacing).T  # one row an axis of the file
    return {
        "ObjectType": "Image",
        "NDims": 3,
        "BinaryData": True,
        "BinaryDataByteOrderMSB": array.dtype.str[0] == ">",
        "CompressedData": False,
        "TransformMatrix": _text(axes.ravel()),
        "Offset": _text(lps[:3, 3]),
        "CenterOfRotation": "0 0 0",
        "AnatomicalOrientation": "RAI",
        "ElementSpacing": _text(spacing),
        "DimSize": _text(array.shape),
        "ElementType": TYPES[array.dtype.str[1:]],
    }


def text_of(fields: dict[str, object], voxel_file: str = "LOCAL") -> bytes:
    """Return a header; a field of None is left out."""
    lines = [f"{name} = {value}" for name, value in fields.items() if value is not None]
    return "\n".join([*lines, f"ElementDataFile = {voxel_file}", ""]).encode()


def write_metaimage(
    path: Path,
    array: np.ndarray | None = None,
    *,
    affine: np.ndarray = LAS,
    compressed: bool = False,
    seed: int = 0,
    voxels: bytes | None = None,
    voxel_file: str | None = None,
    **changed: object,
) -> Path:
    """Write a `.mha`, or a `.mhd` and its `.raw` or `.zraw`; given fields and voxels are written as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = chest_hu(seed=seed) if array is None else array
    content = array.tobytes("F") if voxels is None else voxels
    fields = fields_of(array, affine)
    if compressed:
        content = zlib.compress(content)
        fields |= {"CompressedData": True, "CompressedDataSize": len(content)}
    fields |= changed
    if path.suffix == ".mha":
        path.write_bytes(text_of(fields, voxel_file or "LOCAL") + content)
    else:
        beside = path.with_suffix(".zraw" if compressed else ".raw")
        beside.write_bytes(content)
        path.write_bytes(text_of(fields, voxel_file or beside.name))
    return path


def _text(values: np.ndarray | tuple[int, ...]) -> str:
    return " ".join(repr(value) for value in np.asarray(values).tolist())
