"""What a NIfTI header says, judged before anything is allocated for it.

nibabel's header classes know what the fields mean; what is trusted of them is decided here.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import nibabel
import numpy as np
from nibabel.spatialimages import HeaderDataError

from ctprep.errors import (
    BadGeometry,
    NotHounsfield,
    Truncated,
    Unreadable,
    UnsupportedDtype,
)
from ctprep.scans.readers.header import MAX_EXTENSION, ScanHeader, judge_affine, judge_dtype, judge_shape
from ctprep.scans.readers.mistaken import what_is
from ctprep.volume.grid import Triple, VoxelGrid, affine_of_orientation

MAX_FORM_CODE = 5
"""Of an sform or qform: NIFTI_XFORM_TEMPLATE_OTHER."""

SLOPE_RANGE = 1e-20, 1e20
"""HU of one stored unit; int64 that were scaled to fill their range have 1e-16."""

MAX_INTERCEPT = 1e6
"""HU; beyond it single precision cannot tell the steps of a window apart."""


@dataclass(frozen=True)
class NiftiHeader(ScanHeader):
    """What a NIfTI header says that matters for reading its voxels.

    Parameters
    ----------
    offset : int
        Bytes before the first voxel.
    header_bytes : int
        Bytes of the header itself.
    has_own_file : bool
        The voxels are in the `.img` file beside this `.hdr`.
    is_scaled : bool
        It has a slope; without one, its intercept says nothing.
    fields : nibabel.Nifti1Header
        All that it says.
    """

    offset: int
    header_bytes: int
    has_own_file: bool
    is_scaled: bool
    fields: nibabel.Nifti1Header = field(repr=False, compare=False)

    @property
    def conflict(self) -> str:
        """How the qform differs from the sform, which is taken, where a corner may lie a voxel or more elsewhere."""
        return _conflict_of(self.fields, self.grid.shape)

    def way_to_subtract(self, hu: float) -> str:
        slope = "" if self.is_scaled else "scl_slope = 1 and "
        return f"write {slope}scl_inter = {self.inter - hu:g} into it"


def parse_header(stream: BinaryIO, path: Path, *, orientation: str = "") -> NiftiHeader:
    """Read and judge the header at the beginning of a stream.

    Parameters
    ----------
    stream : binary file
    path : Path
        Names the scan in messages.
    orientation : str
        What is taken where the header has neither sform nor qform; see `stated_affine`.

    Raises
    ------
    BadScan
        One child per reason.
    """
    header = _nibabel_header(stream, path)
    dtype = _dtype_of(header, path)
    shape = _shape_of(header, path, dtype)
    is_stated = orientation != "" and not any(_form_codes(header, path))
    affine = _stated_affine(header, shape, orientation, path) if is_stated else _affine_of(header, path)
    grid = VoxelGrid(shape, affine)
    slope, inter, is_scaled = _scaling_of(header, path)
    has_own_file = header["magic"].item() == header.pair_magic
    offset = _offset_of(header, path, has_own_file)
    return NiftiHeader(
        grid,
        dtype,
        slope,
        inter,
        stated_orientation=orientation if is_stated else "",
        offset=offset,
        header_bytes=header.sizeof_hdr,
        has_own_file=has_own_file,
        is_scaled=is_scaled,
        fields=header,
    )


def _nibabel_header(stream: BinaryIO, path: Path) -> nibabel.Nifti1Header:
    start = stream.read(nibabel.Nifti1Header.sizeof_hdr)
    if not start:
        raise Unreadable(f"{path.name}: is empty; copy it again or leave it out")
    sizes = {int.from_bytes(start[:4], order) for order in ("little", "big")}  # type: ignore[arg-type]
    for kind in (nibabel.Nifti1Header, nibabel.Nifti2Header):
        if kind.sizeof_hdr in sizes:
            block = start + stream.read(kind.sizeof_hdr - len(start))
            if len(block) < kind.sizeof_hdr:
                raise Truncated(f"{path.name}: ends within its header; copy it again")
            return _with_magic(kind(block, check=False), path)
    if what := what_is(start):
        raise Unreadable(f"{path.name}: is {what}")
    raise Unreadable(f"{path.name}: is not NIfTI (no NIfTI header at its start); convert it or leave it out")


def _with_magic(header: nibabel.Nifti1Header, path: Path) -> nibabel.Nifti1Header:
    magic = bytes(header["magic"].item())
    if magic not in (header.single_magic, header.pair_magic):
        raise Unreadable(
            f"{path.name}: has the magic {magic!r}, NIfTI has {header.single_magic!r} or {header.pair_magic!r}; "
            "if it is an Analyze file, convert it to NIfTI"
        )
    if int(header["sizeof_hdr"]) != header.sizeof_hdr:
        raise Unreadable(f"{path.name}: its size and its axes are in different byte orders; repair its header")
    return header


def _dtype_of(header: nibabel.Nifti1Header, path: Path) -> np.dtype:
    try:
        dtype = header.get_data_dtype()
    except (HeaderDataError, KeyError):
        raise UnsupportedDtype(
            f"{path.name}: has the unknown data type {int(header['datatype'])}; repair its header"
        ) from None
    judge_dtype(dtype, path)
    return dtype


def _shape_of(header: nibabel.Nifti1Header, path: Path, dtype: np.dtype) -> Triple:
    n_axes, *sides = header["dim"].tolist()
    if not 1 <= n_axes <= 7:
        raise BadGeometry(f"{path.name}: declares {n_axes} axes, NIfTI has 1 to 7; repair its header")
    return judge_shape(sides[:n_axes], dtype, path)


def _form_codes(header: nibabel.Nifti1Header, path: Path) -> tuple[int, int]:
    codes = int(header["sform_code"]), int(header["qform_code"])
    if not all(0 <= code <= MAX_FORM_CODE for code in codes):  # which readers take for none, or for any
        raise BadGeometry(
            f"{path.name}: its sform and qform have the codes {codes[0]} and {codes[1]}, NIfTI has 0 to "
            f"{MAX_FORM_CODE}; repair its header"
        )
    return codes


def _affine_of(header: nibabel.Nifti1Header, path: Path) -> np.ndarray:
    if not any(_form_codes(header, path)):
        raise BadGeometry(
            f"{path.name}: has neither sform nor qform, so left and right are unknown; set one of them, or state which "
            "way its axes run with --orientation, as in LPS"
        )
    try:
        with np.errstate(all="ignore"):  # what is not finite is judged below
            affine = np.asarray(header.get_best_affine(), np.float64)
    except (HeaderDataError, ValueError, np.linalg.LinAlgError) as error:
        raise BadGeometry(f"{path.name}: has no usable affine ({error}); repair its header") from None
    judge_affine(affine, path)
    return affine


def _stated_affine(header: nibabel.Nifti1Header, shape: Triple, orientation: str, path: Path) -> np.ndarray:
    """Return the affine of axes of which only the orientation and the spacing are known: the centre is the origin."""
    spacing = [abs(float(mm)) for mm in header["pixdim"][1:4]]
    affine = affine_of_orientation(orientation, spacing, shape)
    judge_affine(affine, path)
    return affine


def _conflict_of(header: nibabel.Nifti1Header, shape: Triple) -> str:
    if not (int(header["sform_code"]) and int(header["qform_code"])):
        return ""
    try:
        with np.errstate(all="ignore"):
            sform, qform = header.get_sform(), np.asarray(header.get_qform(), np.float64)
    except (HeaderDataError, ValueError, np.linalg.LinAlgError):
        return "its qform is unusable"
    if not np.isfinite(qform).all() or abs(np.linalg.det(qform[:3, :3])) == 0:
        return "its qform is unusable"
    farthest = (*(side - 1 for side in shape), 1)
    pairs = zip(sform.tolist()[:3], qform.tolist()[:3], strict=True)
    apart = max(sum(abs(s - q) * n for s, q, n in zip(*pair, farthest, strict=True)) for pair in pairs)
    if apart < min(math.hypot(*column) for column in sform[:3, :3].T.tolist()):
        return ""
    names = VoxelGrid(shape, sform).orientation, VoxelGrid(shape, qform).orientation
    return f"{names[0]} and {names[1]}" if names[0] != names[1] else f"{names[0]}, up to {apart:.3g} mm apart"


def _scaling_of(header: nibabel.Nifti1Header, path: Path) -> tuple[float, float, bool]:
    """Return slope and intercept, and whether the header has any."""
    try:
        slope, inter = header.get_slope_inter()
        if math.isinf(header["scl_slope"]):  # which nibabel takes for no slope at all
            raise HeaderDataError("the slope is infinite")
    except HeaderDataError as error:
        raise NotHounsfield(f"{path.name}: has no usable slope and intercept ({error}); repair its header") from None
    if slope is None:
        return 1.0, 0.0, False
    if not SLOPE_RANGE[0] <= abs(slope) <= SLOPE_RANGE[1]:
        raise NotHounsfield(f"{path.name}: its slope is {slope:g}, which no CT has; repair its header")
    if abs(inter) > MAX_INTERCEPT:
        raise NotHounsfield(f"{path.name}: its intercept is {inter:g}, which no CT has; repair its header")
    return float(slope), float(inter), True


def _offset_of(header: nibabel.Nifti1Header, path: Path, has_own_file: bool) -> int:
    offset = float(header["vox_offset"])
    least = 0 if has_own_file else header.single_vox_offset
    if not (math.isfinite(offset) and least <= offset <= MAX_EXTENSION and offset == int(offset)):
        raise Unreadable(f"{path.name}: its voxels start at byte {offset:g}, expected {least} or later; repair it")
    return int(offset)


def encode_header(
    dtype: np.dtype, shape: Triple, affine: np.ndarray, *, slope: float = 1.0, inter: float = 0.0
) -> bytes:
    """Return the NIfTI-1 header of a single file with sform and qform code 1 (scanner), ready for its voxels.

    Parameters
    ----------
    dtype : numpy.dtype
        Of the stored values.
    shape : tuple of int
        Voxels along each axis.
    affine : (4, 4) array
        Voxel centre -> world RAS+ in mm.
    slope, inter : float
        HU is `stored * slope + inter`.
    """
    header = nibabel.Nifti1Header(endianness="<")
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header["scl_slope"], header["scl_inter"] = slope, inter
    header.set_xyzt_units("mm")
    header["vox_offset"] = header.single_vox_offset
    header["magic"] = header.single_magic
    header.set_qform(affine, code=1, strip_shears=True)
    header.set_sform(affine, code=1)
    no_extension = b"\0\0\0\0"
    return header.binaryblock + no_extension
