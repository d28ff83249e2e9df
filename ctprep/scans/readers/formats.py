"""Which formats there are: the suffixes of a format, its reader, and the files of its scans."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from ctprep.scans.readers.header import ScanHeader
from ctprep.scans.readers.metaimage import MetaImageReader, metaimage_files
from ctprep.scans.readers.nifti import NiftiReader, nifti_files


class ScanReader(Protocol):
    """One pass over the voxels of one scan; `SlabReader` is one for what is a file of bytes.

    Attributes
    ----------
    path : Path
        Names the scan in messages.
    header : ScanHeader
        Known, and judged, before any voxel is read.
    """

    path: Path
    header: ScanHeader

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: type[BaseException] | BaseException | TracebackType | None) -> None: ...

    def slabs(self) -> Iterator[np.ndarray]:
        """Yield the stored values once, as consecutive (slices, rows, first) parts, each valid until the next."""
        ...

    @property
    def sha256(self) -> str:
        """The digest of all bytes of the scan, once every slab has passed."""
        ...

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the scan."""
        ...


@dataclass(frozen=True)
class Format:
    """How the scans of one format are found and read.

    Parameters
    ----------
    suffixes : tuple of str
        Of the file that names a scan; their case does not matter.
    shown : str
        The suffixes as a message says them.
    reader : callable
        Opens a scan, given its path and an orientation should it say none, or raises the `BadScan` that says why not.
    files : callable
        Gives the files of a scan in the order in which they are hashed, or raises `BadScan`.
    """

    suffixes: tuple[str, ...]
    shown: str
    reader: Callable[[Path, str], ScanReader]
    files: Callable[[Path], tuple[Path, ...]]


FORMATS = (
    Format((".nii", ".nii.gz", ".hdr", ".hdr.gz"), ".nii, .nii.gz, .hdr with .img", NiftiReader, nifti_files),
    Format((".mha", ".mhd"), ".mha, .mhd with its voxel file", MetaImageReader, metaimage_files),
)
"""Whatever has none of their suffixes is read as the first, whose header says whether it is."""

SUFFIX = re.compile(
    "(" + "|".join(re.escape(suffix) for each in FORMATS for suffix in each.suffixes) + ")$",
    re.ASCII | re.IGNORECASE,
)
SUFFIXES = ", ".join(each.shown for each in FORMATS)


def open_reader(path: str | os.PathLike[str], *, orientation: str = "") -> ScanReader:
    """Open a scan with the reader of its format.

    Raises
    ------
    BadScan
        One child per reason, see `ctprep.errors`.
    """
    return format_of(Path(path)).reader(Path(path), orientation)


def read_header(path: str | os.PathLike[str], *, orientation: str = "") -> ScanHeader:
    """Return the judged header of a scan, reading no voxel.

    Raises
    ------
    BadScan
        One child per reason, see `ctprep.errors`.
    """
    with open_reader(path, orientation=orientation) as reader:
        return reader.header


def source_files(path: Path) -> tuple[Path, ...]:
    """Return the files that make up a scan: one, or that of the header and that of the voxels.

    Raises
    ------
    BadScan
        If the voxels' file is missing, or the header does not name it.
    """
    return format_of(path).files(path)


def format_of(path: Path) -> Format:
    """Return the format of a file, judged by its name."""
    name = path.name.lower()
    return next((each for each in FORMATS if name.endswith(each.suffixes)), FORMATS[0])
