"""Is any damage to the bytes of a scan passed over in silence?

Bits of a small `.nii.gz` are flipped one by one: it must be rejected, or give the very same volume and record, but for
the digest of its bytes. It is cut at every length: it must be rejected. nibabel is the null control.
"""

import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np

from ctprep.errors import BadScan
from ctprep.preparation import prepare
from ctprep.volume.recipe import Recipe
from tests.conftest import chest_hu, write_scan
from tests.torture.report import Row

SHAPE = (12, 11, 9)
RECIPE = Recipe(shape=(12, 11, 9), dtype="float32")  # every voxel of the file is one of the volume

Reading = tuple[bytes, object]
Reader = Callable[[Path], Reading]


def read_with_ctprep(path: Path) -> Reading:
    """Return a volume's bytes and its record, but for the digest."""
    prepared = prepare(path, RECIPE)
    return prepared.volume.tobytes(), replace(prepared.record, source_sha256="")


def read_plainly_with_nibabel(path: Path) -> Reading:
    """Return what the usual few lines would: the null control."""
    image = nibabel.load(path)
    return image.get_fdata().tobytes(), image.affine.tobytes()


def damaged(whole: bytes, bits: int | None, lengths: int | None, seed: int) -> Iterator[bytes]:
    """Yield copies with one bit flipped, then copies cut short; all that there are, or a sample of each."""
    draw = random.Random(seed)
    for bit in _some(draw, 8 * len(whole), bits):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)
    for length in _some(draw, len(whole), lengths):
        yield whole[:length]


def _some(draw: random.Random, total: int, count: int | None) -> list[int]:
    return list(range(total)) if count is None else draw.sample(range(total), min(count, total))


def judge_damage(
    folder: Path,
    *,
    bits: int | None = None,
    lengths: int | None = None,
    seed: int = 0,
    read: Reader = read_with_ctprep,
    refusals: type[Exception] = BadScan,
) -> Counter[str]:
    """Count what becomes of damaged copies of a scan: `rejected`, `identical` or `changed`.

    Parameters
    ----------
    folder : Path
        An empty one to work in.
    bits, lengths : int, optional
        How many to try; all where it is not given.
    seed : int
        Of the scan's noise and of the sample.
    read : callable
        What is judged.
    refusals : type of exception
        What it may raise; anything else is a crash and is raised.
    """
    path = write_scan(folder / "scan.nii.gz", chest_hu(SHAPE, seed))
    whole, expected = path.read_bytes(), read(path)
    outcomes: Counter[str] = Counter()
    for content in damaged(whole, bits, lengths, seed):
        path.write_bytes(content)
        try:
            outcomes["identical" if read(path) == expected else "changed"] += 1
        except refusals:
            outcomes["rejected"] += 1
    return outcomes


def long_version(empty_folder: Callable[[], Path], seed: int) -> Iterator[Row]:
    """Flip every bit and cut at every length, for ctprep and for nibabel."""
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # it would say a word about each of its repairs
    np.seterr(all="ignore")
    nibabel_reads = {"read": read_plainly_with_nibabel, "refusals": Exception}
    for what, only, harmless in (
        ("each bit of a .nii.gz flipped", {"lengths": 0}, ("rejected", "identical")),
        ("cut at each length", {"bits": 0}, ("rejected",)),
    ):
        outcomes = judge_damage(empty_folder(), seed=seed, **only)
        control = judge_damage(empty_folder(), seed=seed, **only, **nibabel_reads)  # type: ignore[arg-type]
        wrong, found = (each.total() - sum(each[one] for one in harmless) for each in (outcomes, control))
        yield Row(what, _counts(outcomes), wrong, control=f"nibabel: {_counts(control)}", control_found=found)


def _counts(outcomes: Counter[str]) -> str:
    return f"{outcomes.total():,}: " + ", ".join(f"{count:,} {what}" for what, count in sorted(outcomes.items()))
