"""What it costs that a store cannot lie: converting and reading with and without its checks, in turn.

Usage: python tests/benchmarks/integrity.py, or make bench

Converting goes without digests, checksums, seal and sync; reading without the checksum of each chunk. gzip's own CRC is
in both: no reader of gzip can leave it out. The scans are copies of the real scan lung1 where shared/data is, else of a
phantom, told apart by a time in gzip's header.
"""

import itertools
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from stores import write_store
from streaming import N_SCANS, SHAPE, Epoch, our_pipeline, our_reader

from ctprep import Recipe, convert
from ctprep.phantom import CohortSettings, make_scan
from ctprep.scans.readers.nifti import write_nifti
from ctprep.store.chunk import RESIDUE

LUNG1 = Path(__file__).parents[3] / "shared" / "data" / "chest" / "lung1.nii.gz"
SCANS = 24
CONVERTING_RUNS, READING_RUNS = 7, 25
MTIME = slice(4, 8)


class NoDigest:
    """Stands in for SHA-256: no work, and no two files alike."""

    _numbers = itertools.count()

    def update(self, content: bytes) -> None:
        """Pass over it."""

    def hexdigest(self) -> str:
        return f"{next(self._numbers):064x}"


@contextmanager
def without_integrity() -> Iterator[None]:
    with ExitStack() as patches:
        for name, stand_in in {
            "ctprep.scans.readers.byte_source.hashlib": SimpleNamespace(sha256=NoDigest),
            "ctprep.store.chunk.google_crc32c": SimpleNamespace(value=lambda _content: 0),
            "ctprep.conversion.work_folder._crc32": lambda _entry: 0,
            "ctprep.store.seal.seal_of": lambda _files: "0" * 64,
            "ctprep.conversion.staging.sync_file_system": lambda _path: None,
        }.items():
            patches.enter_context(mock.patch(name, stand_in))
        yield


def write_scans(raw: Path) -> None:
    raw.mkdir()
    source = LUNG1
    if not source.exists():
        scan = make_scan(CohortSettings(shape=(512, 512, 48)), 0)
        source = raw.with_name("phantom.nii.gz")
        write_nifti(source, scan.stored, scan.affine, slope=scan.slope, inter=scan.inter)
    content = bytearray(source.read_bytes())
    for number in range(SCANS):
        content[MTIME] = number.to_bytes(4, "little")
        (raw / f"{number:03}.nii.gz").write_bytes(content)


def cpu_and_wall_ms(raw: Path, out: Path) -> tuple[float, float]:
    """Return what a scan takes: CPU time, and time."""
    began, cpu_began = time.perf_counter(), time.process_time()
    convert(raw, out, recipe=Recipe(), scheduler="synchronous")
    spent = time.process_time() - cpu_began, time.perf_counter() - began
    shutil.rmtree(out)
    shutil.rmtree(out.with_name(f".{out.name}.ctprep"))
    return 1e3 * spent[0] / SCANS, 1e3 * spent[1] / SCANS


def compare_reading(folder: Path) -> None:
    store = write_store(folder / "scans.zarr", N_SCANS, SHAPE)
    print(f"reading volumes of 64 x 64 x 32, volumes a second, median of {READING_RUNS} (each in turn)")
    for name, prepare in {"before tf.data": our_reader, "into tf.data": our_pipeline("stream")}.items():
        epoch = prepare(store)
        epoch()  # the warm-up
        rates: dict[str, list[float]] = {"with": [], "without": []}
        for _ in range(READING_RUNS):
            rates["with"].append(rate_of(epoch))
            with mock.patch("ctprep.store.chunk.google_crc32c", SimpleNamespace(value=lambda _content: RESIDUE)):
                rates["without"].append(rate_of(epoch))
        checked, unchecked = (statistics.median(rates[kind]) for kind in ("with", "without"))
        cost = 1 - checked / unchecked
        print(f"{name:<16}{checked:>8,.0f} with{unchecked:>8,.0f} without: {cost:.1%} is integrity", flush=True)


def rate_of(epoch: Epoch) -> float:
    began = time.perf_counter()
    return epoch() / (time.perf_counter() - began)


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        raw, out = Path(temporary, "raw"), Path(temporary, "out.zarr")
        compare_reading(Path(temporary))
        write_scans(raw)
        cpu_and_wall_ms(raw, out)  # the warm-up
        spent: dict[str, list[tuple[float, float]]] = {"with": [], "without": []}
        for _ in range(CONVERTING_RUNS):
            spent["with"].append(cpu_and_wall_ms(raw, out))
            with without_integrity():
                spent["without"].append(cpu_and_wall_ms(raw, out))
    print(f"converting {SCANS} scans, ms a scan, median of {CONVERTING_RUNS} (each in turn)")
    for place, what in enumerate(("CPU", "time")):
        with_all, without = (statistics.median(run[place] for run in spent[kind]) for kind in ("with", "without"))
        print(f"{what:<6}{with_all:>8.1f} with{without:>8.1f} without: {1 - without / with_all:.1%} of it is integrity")


if __name__ == "__main__":
    main()
