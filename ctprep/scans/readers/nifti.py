"""NIfTI files, `.nii`, `.nii.gz`, or a `.hdr` and its `.img`: read as slabs, and written."""

import os
import re
from pathlib import Path

import numpy as np
from isal import igzip

from ctprep.errors import Oversize, Unreadable
from ctprep.files import write_whole
from ctprep.scans.readers.byte_source import ByteSource, drain
from ctprep.scans.readers.header import MAX_EXTENSION, ScanHeader
from ctprep.scans.readers.nifti_header import NiftiHeader, encode_header, parse_header
from ctprep.scans.readers.slabs import SlabReader, VoxelPlace


class NiftiReader(SlabReader):
    """One pass over one NIfTI file, or over a `.hdr` and its `.img`.

    Whether a file is compressed is read from its first bytes, not from its name.
    """

    format_name = "NIfTI"

    def _find_voxels(self) -> tuple[ScanHeader, VoxelPlace]:
        source = self._open_inflated(self.path)
        header = parse_header(source.stream, self.path, orientation=self.orientation)
        _judge_kind(header, self.path)
        if not header.has_own_file:
            return header, VoxelPlace(source, header.offset, passed=header.header_bytes)
        source.allow(MAX_EXTENSION)
        if drain(source.stream, limit=MAX_EXTENSION) >= MAX_EXTENSION:
            raise Oversize(
                f"{self.path.name}: has {MAX_EXTENSION >> 20} MiB or more after its header; remove its extensions"
            )
        return header, VoxelPlace(self._open_inflated(voxel_file_of(self.path)), header.offset, passed=0)

    def _open_inflated(self, path: Path) -> ByteSource:
        source = self._open(path)
        source.inflate()
        return source


def nifti_files(path: Path) -> tuple[Path, ...]:
    """Return the files that make up a scan: one, or a `.hdr` and its `.img`.

    Raises
    ------
    Unreadable
        If there is no `.img`.
    """
    return (path, voxel_file_of(path)) if is_header_file(path) else (path,)


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


def _judge_kind(header: NiftiHeader, path: Path) -> None:
    """Raise where the header says one file and the name two, or the other way round."""
    if header.has_own_file != is_header_file(path):
        kind = "of a .hdr and .img pair" if header.has_own_file else "of a single file"
        raise Unreadable(f"{path.name}: has the header {kind}, which its name denies; rename it")


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
