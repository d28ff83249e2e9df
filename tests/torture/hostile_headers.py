"""Does any header crash, hang or bloat the reader, or make it say something that the file does not?

Headers of tiny scans, NIfTI-1 and -2, in `.nii`, `.nii.gz` and `.hdr` with `.img`, are damaged with knowledge of their
fields. Each must be rejected, or give what `spec_image` reads, which follows nifti1.h with `struct` and nothing else.
"""

import gzip
import logging
import math
import random
import struct
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError, SpatialImage

from ctprep.errors import BadScan
from ctprep.preparation import prepare
from ctprep.volume.recipe import Recipe
from tests.conftest import LAS, chest_hu
from tests.reference import reference_volume_of
from tests.torture.hostile_limits import Hanging, Peak, Stopwatch, no_hang
from tests.torture.report import Row

SHAPE = (4, 4, 4)
RECIPES = tuple(Recipe(shape=SHAPE, dtype="float32", require_hu=require_hu) for require_hu in (True, False))
TOLERANCE = 1e-4

KINDS = {1: nibabel.Nifti1Header, 2: nibabel.Nifti2Header}
SUFFIXES = (".nii", ".nii.gz", ".hdr")
DTYPES = ("u1", "i2", "u2", "i4", "f4", "f8", "i8")
STRUCT_CODES = {2: "B", 4: "h", 8: "i", 16: "f", 64: "d", 256: "b", 512: "H", 768: "I", 1024: "q", 1280: "Q"}

LIKELY = {
    "sizeof_hdr": (348, 540, 0, 347),
    "datatype": (*STRUCT_CODES, 0, 1, 32, 128, 1536, 1792, 2048, 2304, 4096),
    "sform_code": (-1, 0, 1, 2, 5, 6),
    "qform_code": (-1, 0, 1, 2, 5, 6),
    "scl_slope": (0.0, 1.0, -1.0, 0.5, 1e-19, 1e19, 1e-30),
    "scl_inter": (0.0, -1024.0, 1e6, -1e5, 1e30, -3e38),
    "vox_offset": (0, 348, 352, 353, 544, 560, -1, 1 << 20, 1 << 26, 1 << 30),
    "magic": (b"n+1", b"ni1", b"n+2", b"ni2", b"", b"n+1x"),
}
SIDES = (1, 2, 4, 8, 16, 3, 5, 0, -1, 8192, 8193, 32767, 65535, 1 << 31, 1 << 40, -(1 << 62))
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-3, 0.01, 100.0, 1e30, -1e30, 1e-45, math.nan, math.inf, -math.inf)


@dataclass(frozen=True)
class Sample:
    """One damaged scan: the bytes of its header, and those of its voxels."""

    suffix: str
    header: bytes
    voxels: bytes

    def write(self, folder: Path) -> Path:
        """Write it over the one before."""
        path = folder / f"scan{self.suffix}"
        whole = self.header + (b"" if self.suffix == ".hdr" else self.voxels)
        path.write_bytes(gzip.compress(whole, 1) if self.suffix == ".nii.gz" else whole)
        if self.suffix == ".hdr":
            path.with_suffix(".img").write_bytes(self.voxels)
        return path


@cache
def intact(version: int, order: str, dtype: str, suffix: str) -> Sample:
    """Return the scan that others are made of."""
    header = KINDS[version](endianness=order)
    header.set_data_dtype(dtype)
    header.set_data_shape(SHAPE)
    header.set_sform(LAS, 1)
    header.set_qform(LAS, 1)
    header["scl_slope"], header["scl_inter"] = (8.0, -1100.0) if dtype == "u1" else (1.0, -1100.0)
    header["vox_offset"] = 0 if suffix == ".hdr" else header.single_vox_offset
    header["magic"] = header.pair_magic if suffix == ".hdr" else header.single_magic
    stored = np.rint((chest_hu(SHAPE) + 1100) / (8 if dtype == "u1" else 1)).clip(0, 2000)
    voxels = stored.astype(np.dtype(dtype).newbyteorder(order)).tobytes("F")
    return Sample(suffix, header.binaryblock + b"\0\0\0\0", voxels)


def hostile(draw: random.Random) -> Sample:
    """Return a scan whose header is damaged in one to three ways."""
    version, order = draw.choice((1, 1, 2)), draw.choice("<>")
    whole = intact(version, order, draw.choice(DTYPES), draw.choice(SUFFIXES))
    header = bytearray(whole.header)
    layout = KINDS[version].template_dtype.newbyteorder(order)
    for _ in range(draw.choice((1, 1, 2, 3))):
        damage = draw.choices((_set_fields, _swap_bytes, _set_bytes, _cut), (12, 1, 3, 1))[0]
        header = damage(draw, header, layout)
    return Sample(whole.suffix, bytes(header), whole.voxels)


def _set_fields(draw: random.Random, header: bytearray, layout: np.dtype) -> bytearray:
    """Give one to three fields values that are extreme, or likely and wrong here."""
    if len(header) < layout.itemsize:
        return header
    fields = np.frombuffer(header, layout, count=1)  # shares the memory
    for name in draw.choices(layout.names, k=draw.choice((1, 1, 2, 3))):
        if name == "dim" and draw.random() < 0.5:  # a shape that the voxels may fill
            fields[name][0] = _whole(draw.choice(((3, 2, 8, 4), (3, 64, 1, 1), (4, 4, 4, 4, 1), (7, 1, 8, 8))), layout)
            continue
        values = fields[name].reshape(-1)
        with np.errstate(over="ignore"):
            values[draw.randrange(values.size)] = _value(draw, name, values.dtype)
        fields[name] = values.reshape(fields[name].shape)
    return header


def _whole(start: tuple[int, ...], layout: np.dtype) -> np.ndarray:
    return np.array([*start, *[1] * (8 - len(start))], layout["dim"].base)


def _value(draw: random.Random, name: str, dtype: np.dtype) -> object:
    if name in LIKELY and draw.random() < 0.7:
        return np.array(LIKELY[name][draw.randrange(len(LIKELY[name]))]).astype(dtype)
    if dtype.kind == "S":
        return draw.randbytes(dtype.itemsize)
    if dtype.kind == "f":
        return draw.choice(FLOATS)
    return np.array(draw.choice(SIDES)).astype(dtype)


def _swap_bytes(draw: random.Random, header: bytearray, layout: np.dtype) -> bytearray:
    """Turn the bytes of one field, or of all, or of the size alone, which says the order of all."""
    if len(header) < layout.itemsize:
        return header
    fields = np.frombuffer(header, layout, count=1)
    names = draw.choice((layout.names, ["sizeof_hdr"], [draw.choice(layout.names)]))
    for name in names:
        if layout[name].base.kind != "S":
            fields[name] = fields[name].byteswap()
    return header


def _set_bytes(draw: random.Random, header: bytearray, layout: np.dtype) -> bytearray:
    """Put noise into some bytes."""
    for _ in range(draw.choice((1, 1, 4, 40))):
        if header:
            header[draw.randrange(len(header))] = draw.randrange(256)
    return header


def _cut(draw: random.Random, header: bytearray, layout: np.dtype) -> bytearray:
    """Leave out the end of the header; the voxels follow at once."""
    return header[: draw.randrange(len(header) + 1)]


def spec_image(sample: Sample) -> SpatialImage:
    """Read a scan that was accepted by the letter of nifti1.h and nifti2.h: HU in float64, and the affine."""
    content = sample.header if sample.suffix == ".hdr" else sample.header + sample.voxels
    order = "<" if int.from_bytes(content[:4], "little") in (348, 540) else ">"
    if struct.unpack_from(f"{order}i", content)[0] == 348:
        places = {"dim": "40/8h", "type": "70/h", "pixdim": "76/8f", "offset": "108/f", "scale": "112/2f"}
        places |= {"codes": "252/2h", "quaternion": "256/6f", "sform": "280/12f"}
    else:
        places = {"dim": "16/8q", "type": "12/h", "pixdim": "104/8d", "offset": "168/q", "scale": "176/2d"}
        places |= {"codes": "344/2i", "quaternion": "352/6d", "sform": "400/12d"}
    said = {name: struct.unpack_from(order + at.partition("/")[2], content, int(at.partition("/")[0]))
            for name, at in places.items()}  # fmt: skip
    shape = said["dim"][1:4]
    source = sample.voxels if sample.suffix == ".hdr" else content
    form = f"{order}{math.prod(shape)}{STRUCT_CODES[said['type'][0]]}"
    hu = np.array(struct.unpack_from(form, source, int(said["offset"][0])), np.float64)
    slope, inter = said["scale"]
    if slope != 0 and not math.isnan(slope):
        hu = hu * slope + inter
    affine = _sform(said) if said["codes"][1] > 0 else _qform(said)
    return SpatialImage(hu.reshape(shape, order="F"), affine)


def _sform(said: dict[str, tuple]) -> np.ndarray:
    return np.vstack([np.array(said["sform"]).reshape(3, 4), [0, 0, 0, 1]])


def _qform(said: dict[str, tuple]) -> np.ndarray:
    b, c, d, *origin = said["quaternion"]
    a = math.sqrt(max(0.0, 1 - b * b - c * c - d * d))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    spacing = np.array(said["pixdim"][1:4]) * (1, 1, -1 if said["pixdim"][0] < 0 else 1)
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = rotation * spacing, origin
    return affine


@dataclass
class Figures:
    """What became of many headers."""

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    longest_seconds: float = 0.0
    grown_mb: float = 0.0


def judge_headers(
    folder: Path,
    count: int,
    *,
    seed: int = 0,
    draw_sample: Callable[[random.Random], Any] | None = None,
    read: Callable[[Any], SpatialImage] | None = None,
) -> Figures:
    """Prepare `count` damaged scans; what is neither rejected in one printable line nor right is a fault.

    Parameters
    ----------
    folder : Path
        An empty one to work in.
    count : int
    seed : int
    draw_sample : callable, optional
        Gives a damaged scan, which can `write` itself; `hostile` where it is not given.
    read : callable, optional
        Gives the image that the format's description makes of it; `spec_image` where it is not given.
    """
    draw_sample, read = draw_sample or hostile, read or spec_image
    figures, watch, peak = Figures(), Stopwatch(), Peak()
    for number in range(count):
        draw = random.Random(f"{seed} {number}")
        sample, recipe = draw_sample(draw), draw.choice(RECIPES)
        outcome = _outcome(sample, recipe, folder, watch, read)
        figures.outcomes[outcome.partition(":")[0]] += 1
        if ":" in outcome:
            figures.faults.append(f"seed {seed}, header {number}: {outcome}")
    figures.longest_seconds, figures.grown_mb = watch.longest, peak.grown_mb()
    return figures


def _outcome(sample: Any, recipe: Recipe, folder: Path, watch: Stopwatch, read: Callable[[Any], SpatialImage]) -> str:
    """Return a rejection's code, `accepted`, or a fault and what it is after a colon."""
    path = sample.write(folder)
    try:
        with watch.turn(), no_hang(), warnings.catch_warnings():
            warnings.simplefilter("error")
            prepared = prepare(path, recipe, accept=["coverage"])
    except BadScan as error:
        said = str(error)
        return error.code if said.isprintable() and said.startswith("scan.") else f"unprintable: {said!r}"
    except Hanging:
        return "hang: longer than it may take"
    except Exception as error:  # noqa: BLE001 - that there is none is what is judged
        return f"crash: {error!r}"
    try:
        image = read(sample)
    except (struct.error, ValueError, KeyError) as error:
        return f"trusting: accepted what the standard cannot read ({error})"
    with np.errstate(all="ignore"):
        if not np.allclose(prepared.record.source_affine, image.affine, atol=1e-6, rtol=1e-6):
            return f"affine: {prepared.record.source_affine} is not {image.affine.tolist()}"
        off = np.abs(prepared.volume - reference_volume_of(image, recipe)).max()
    return "accepted" if off <= TOLERANCE else f"voxels: off by {off:g}"


def judge_nibabel(folder: Path, count: int, *, seed: int = 0) -> Counter[str]:
    """Read the same scans as a script would, with nibabel alone: the null control."""
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # it would say a word about each of its repairs
    outcomes: Counter[str] = Counter()
    for number in range(count):
        sample = hostile(random.Random(f"{seed} {number}"))
        with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
            outcomes[_outcome_with_nibabel(sample, sample.write(folder))] += 1
    return outcomes


def _outcome_with_nibabel(sample: Sample, path: Path) -> str:
    try:
        with no_hang():
            image = nibabel.load(path)
            hu = image.get_fdata()
    except Hanging:
        return "hung"
    except (ImageFileError, HeaderDataError):
        return "refused"
    except Exception:  # noqa: BLE001 - any other
        return "ended in another error"
    try:
        expected = spec_image(sample)
    except (struct.error, ValueError, KeyError):
        return "accepted though the standard cannot read them"
    same = np.array_equal(hu, expected.get_fdata(), equal_nan=True) and np.allclose(image.affine, expected.affine)
    return "right" if same else "read as something else"


def long_version(empty_folder: Callable[[], Path], seed: int) -> Iterator[Row]:
    """Judge 100,000 headers."""
    figures = judge_headers(empty_folder(), 100_000, seed=seed)
    outcomes = ", ".join(f"{count:,} {what}" for what, count in figures.outcomes.most_common())
    spent = f"longest {figures.longest_seconds:.2f} s, {figures.grown_mb:.0f} MB beside the process"
    tried = f"100,000: {outcomes}; {spent}"
    naively = judge_nibabel(empty_folder(), 10_000, seed=seed)
    control = "nibabel: 10,000: " + ", ".join(f"{count:,} {what}" for what, count in naively.most_common())
    found = naively.total() - naively["right"] - naively["refused"]
    yield Row("headers damaged in one to three ways", tried, len(figures.faults), figures.faults[:20], control, found)
