"""Every bit of a stored chunk, of the metadata and of the tables flipped: who notices.

A chunk is read by `ctprep verify`, zarr-python, TensorStore and zarrs. The null controls are a volume in zarr-python's
default codecs, which have no checksum, and zarr-python on the metadata, which has none either.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tensorstore
import zarr

import ctprep
from ctprep.store.chunk import chunk_path
from ctprep.store.seal import is_sealed
from ctprep.store.verify import verify
from ctprep.volume.recipe import Recipe
from tests.conftest import chest_hu, write_scan
from tests.torture.report import Row

SHAPE = (8, 8, 4)
ROW = 1
Read = Callable[[Path], np.ndarray]


def make_store(folder: Path) -> Path:
    for number in range(3):
        write_scan(folder / "raw" / f"CT-{number % 2}" / f"s{number}.nii.gz", chest_hu(seed=number))
    return ctprep.convert(folder / "raw", folder / "out.zarr", recipe=Recipe(shape=SHAPE)).store.path


def flips(path: Path, every: int) -> Iterator[int]:
    """Flip bits of a file one after the other; what is there at the end is what was there before."""
    whole = path.read_bytes()
    try:
        for bit in range(0, len(whole) * 8, every):
            flipped = bytearray(whole)
            flipped[bit // 8] ^= 1 << bit % 8
            path.write_bytes(flipped)
            yield bit
    finally:
        path.write_bytes(whole)


def by_zarr(store: Path) -> np.ndarray:
    return np.asarray(zarr.open_array(store / "volume", mode="r")[ROW])


def by_tensorstore(store: Path) -> np.ndarray:
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(store / "volume")}}
    return tensorstore.open(spec, open=True).result()[ROW].read().result()


def by_zarrs(store: Path) -> np.ndarray:
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        return by_zarr(store)


READERS: dict[str, Read] = {"zarr-python": by_zarr, "TensorStore": by_tensorstore, "zarrs": by_zarrs}


def silent(read: Read, store: Path, expected: np.ndarray) -> bool:
    """Tell whether a reader gives another volume without a word."""
    try:
        return not np.array_equal(read(store), expected, equal_nan=True)
    except Exception:  # noqa: BLE001 - any error will do
        return False


def chunk_figures(store: Path, every: int) -> tuple[int, dict[str, int]]:
    """Return how many bits of a chunk were flipped, and how often each reader said nothing."""
    expected, unseen = by_zarr(store), dict.fromkeys(["verify", *READERS], 0)
    count = 0
    for _ in flips(store / chunk_path(ROW), every):
        count += 1
        unseen["verify"] += not verify(store).findings
        for name, read in READERS.items():
            unseen[name] += silent(read, store, expected)
    return count, unseen


def _metadata_and_tables(store: Path) -> list[Path]:
    return sorted(path for path in store.rglob("*") if path.is_file() and not path.name.startswith("c."))


def table_figures(store: Path, every: int) -> tuple[int, int]:
    """Return how many bits of metadata and tables were flipped, and how many of them changed nothing for `verify`."""
    count = unseen = 0
    for path in _metadata_and_tables(store):
        for _ in flips(path, every):
            count += 1
            unseen += is_sealed(store) and not verify(store).findings  # an unsealed store is a finding
    return count, unseen


def table_control_figures(store: Path, every: int) -> tuple[int, int]:
    """Return how many bits of metadata and tables were flipped, and how many zarr-python read otherwise in silence."""
    whole, count, changed = everything_in(store), 0, 0
    for path in _metadata_and_tables(store):
        for _ in flips(path, every):
            count += 1
            try:
                changed += everything_in(store) != whole
            except Exception:  # noqa: BLE001, S112 - any error will do
                continue
    return count, changed


def everything_in(store: Path) -> list[str]:
    """Return all that zarr-python reads of a store, as text."""
    group = zarr.open_group(store, mode="r")
    arrays = sorted(group.arrays())
    return [f"{dict(group.attrs)}", *(f"{name} {array[...]!r} {dict(array.attrs)}" for name, array in arrays)]


def control_figures(folder: Path, every: int) -> tuple[int, int]:
    """Return how many bits of a chunk in default codecs were flipped, and how often zarr-python said nothing."""
    volume = np.random.default_rng(0).normal(0.4, 0.2, (2, *SHAPE)).astype(np.float16)
    array = zarr.create_array(folder / "volume", shape=volume.shape, chunks=(1, *SHAPE), dtype=volume.dtype)
    array[...] = volume
    bits = [silent(by_zarr, folder, volume[ROW]) for _ in flips(folder / "volume" / "c" / str(ROW) / "0/0/0", every)]
    return len(bits), sum(bits)


def long_version(empty_folder: Callable[[], Path], _seed: int) -> Iterator[Row]:
    """Flip every bit."""
    store = make_store(empty_folder())
    count, unseen = chunk_figures(store, every=1)
    tried, wrong = control_figures(empty_folder(), every=1)
    yield Row(
        f"each bit of a chunk flipped; read by {', '.join(unseen)}",
        f"{count:,} bits",
        sum(unseen.values()),
        [f"{missed} unseen by {name}" for name, missed in unseen.items() if missed],
        f"zarr-python's default codecs: {wrong:,} of {tried:,} bits read wrong without a word",
        wrong,
    )
    count, missed = table_figures(store, every=1)
    tried, wrong = table_control_figures(store, every=31)
    control = f"zarr-python: {wrong:,} of {tried:,} bits read as something else without a word"
    yield Row(
        "each bit of metadata and tables flipped; looked at by verify", f"{count:,} bits", missed, (), control, wrong
    )
