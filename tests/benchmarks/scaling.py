"""How conversion grows: with the size of a scan, with workers, and with the number of scans.

Usage: python tests/benchmarks/scaling.py [memory] [workers] [start] [many] [--scans N]

Without a name all four are measured, which takes about a quarter of an hour. Everything is generated in a temporary
folder and removed; `workers` takes copies of the real scan lung1 where shared/data is, else a phantom.

memory   peak of a process that converts 512 x 512 x 200 and x 2,000 float32, gzipped, with the slices along each axis
         of the file, above the process before it starts
workers  scans a second of 1 and of 2 workers, in turn
start    `ctprep --help` and `ctprep convert` of ten phantoms, from start to end
many     tiny scans: rate and peak memory of 2,000 and of N (100,000), an unchanged conversion, and ten more scans
"""

import argparse
import io
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from isal import igzip

from ctprep.conversion.scan_task import ScanTask, convert_scan, lost_scan
from ctprep.execution.schedule import run_all
from ctprep.phantom import CohortSettings, make_scan, write_cohort
from ctprep.scans.readers.nifti import write_nifti
from ctprep.scans.readers.nifti_header import encode_header
from ctprep.volume.recipe import Recipe

CTPREP = Path(sys.executable).with_name("ctprep")
LUNG1 = Path(__file__).parents[3] / "shared" / "data" / "chest" / "lung1.nii.gz"
MIB = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--scans", type=int, default=100_000, help="how many are many")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(unknown)}; choose from {', '.join(PARTS)}")
    for part in arguments.parts or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            PARTS[part](Path(folder), arguments.scans)
        print(flush=True)


def measure_memory(folder: Path, _scans: int) -> None:
    print("memory: peak above the process before it starts, MB")
    print(f"{'slices along':<16}{'200 slices':>12}{'2,000 slices':>14}")
    for axis, name in enumerate(("first axis", "second axis", "third axis")):
        peaks = []
        for n_slices in (200, 2000):
            path = folder / "scan.nii.gz"
            write_large(path, axis, n_slices)
            command = [sys.executable, __file__, "--peak-of", path]
            peaks.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
            path.unlink()
        print(f"{name:<16}{peaks[0]:>12.0f}{peaks[1]:>14.0f}", flush=True)


def write_large(path: Path, axis: int, n_slices: int) -> None:
    """Write a float32 scan with its slices along one axis of the file, without ever holding it."""
    shape = [512, 512, 512]
    shape[axis] = n_slices
    shape[(axis + 1) % 3] = shape[(axis + 2) % 3] = 512
    affine = np.zeros((4, 4))
    for column, (world, spacing) in enumerate(
        zip(np.roll([2, 0, 1], axis), np.roll([0.5, 0.7, 0.7], axis), strict=True)
    ):
        affine[world, column] = spacing
    affine[3, 3] = 1
    body = np.where(np.arange(shape[1])[:, None] + np.arange(shape[0]) < (shape[0] + shape[1]) // 2, 40, -1000)
    noise = np.random.default_rng(0).normal(0, 20, (7, shape[1], shape[0])).round()
    with igzip.open(path, "wb", compresslevel=1) as file:
        file.write(encode_header(np.dtype("<f4"), tuple(shape), affine))
        for index in range(shape[2]):
            file.write((body + noise[index % 7]).astype("<f4").tobytes())


def print_peak(path: Path) -> None:
    """Print the growth of this process, in MB, while it converts one scan."""
    with tempfile.TemporaryDirectory() as folder:
        before = memory_bytes("VmRSS")
        outcome = convert_scan(ScanTask("scan", path, Recipe(), Path(folder) / "chunk"))[1]
        assert not hasattr(outcome, "code"), outcome
    print((memory_bytes("VmHWM") - before) / 1e6)


def memory_bytes(field: str, process: int | str = "self") -> int:
    """Return VmRSS, what a process has in memory, or VmHWM, the most it had since its program was started."""
    status = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith(f"{field}:")) * 1024


def measure_workers(folder: Path, _scans: int) -> None:
    source = LUNG1
    if not source.exists():
        scan = make_scan(CohortSettings(shape=(512, 512, 48)), 0)
        source = folder / "phantom.nii.gz"
        write_nifti(source, scan.stored, scan.affine, slope=scan.slope, inter=scan.inter)
    print(f"workers: 64 scans of {source.name}, scans a second, median of 5 (each in turn)")
    for scheduler in ("threads", "processes"):
        rates: dict[int, list[float]] = {1: [], 2: []}
        for run in range(5):
            for workers, measured in rates.items():
                # Each volume has a name of its own: replacing a file would wait for the disk.
                chunks = [folder / f"{scheduler} {run} {workers} {n}" for n in range(64)]
                tasks = [ScanTask(chunk.name, source, Recipe(), chunk) for chunk in chunks]
                measured.append(len(tasks) / seconds_for(tasks, scheduler, workers))
        one, two = (statistics.median(measured) for measured in rates.values())
        print(f"{scheduler:<12}{one:>8.1f}{two:>8.1f}{two / one:>8.2f}x", flush=True)


def seconds_for(tasks: list[ScanTask], scheduler: str, workers: int) -> float:
    start = time.perf_counter()
    run_all(convert_scan, tasks, lambda _outcome: None, when_lost=lost_scan, scheduler=scheduler, workers=workers)
    return time.perf_counter() - start


def timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def measure_start(folder: Path, _scans: int) -> None:
    write_cohort(folder / "raw", settings=CohortSettings(scans=10))
    files = sorted((folder / "raw").rglob("*.nii.gz"))
    inflate = timed(lambda: [io.BytesIO(igzip.decompress(path.read_bytes())) for path in files])
    help_seconds = statistics.median(timed(lambda: run(CTPREP, "--help")) for _ in range(5))
    convert_seconds = []
    for _ in range(5):
        shutil.rmtree(folder / "out.zarr", ignore_errors=True)
        convert_seconds.append(timed(lambda: run(CTPREP, "convert", folder / "raw", folder / "out.zarr")))
    print("start: seconds from start to end, median of 5")
    print(f"ctprep --help                 {help_seconds:>8.2f}")
    print(f"ctprep convert, ten phantoms  {statistics.median(convert_seconds):>8.2f}   ({inflate:.2f} of it inflate)")


def run(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True)


def measure_many(folder: Path, scans: int) -> None:
    print("many: scans of 16 x 16 x 12 to 8 x 8 x 8, all workers; the peak is that of the main process")
    print(f"{'':<32}{'seconds':>10}{'scans/s':>10}{'peak MB':>10}")
    for n_scans in (2000, 10_000, scans):
        raw, out = folder / f"raw{n_scans}", folder / f"{n_scans}.zarr"
        write_tiny(raw, 0, n_scans)
        report(f"{n_scans:,} scans", n_scans, *converted(raw, out))
        if n_scans == 10_000:
            report("  again, unchanged", n_scans, *converted(raw, out))
            write_tiny(raw, n_scans, n_scans + 10)
            report("  ten more", 10, *converted(raw, out))
        shutil.rmtree(raw)
        shutil.rmtree(out)


def write_tiny(raw: Path, start: int, stop: int) -> None:
    shape = (16, 16, 12)
    header = encode_header(np.dtype("<i2"), shape, np.diag([20.0, 20.0, 25.0, 1.0]))
    for number in range(start, stop):
        folder = raw / f"class-{number % 2}" / f"{number // 1000:03}"
        folder.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(number).integers(-1000, 400, shape, dtype=np.int16)
        (folder / f"{number:06}.nii").write_bytes(header + values.tobytes())


def converted(raw: Path, out: Path) -> tuple[float, float]:
    """Run a conversion; return its seconds and the peak memory, in MB, of its main process."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [CTPREP, "convert", raw, out, "--shape", "8", "8", "8"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    peak = 0
    while process.poll() is None:  # its peak, and not what it was forked from, is known only while it runs
        with suppress(OSError, StopIteration):
            peak = max(peak, memory_bytes("VmHWM", process.pid))
        time.sleep(0.01)
    assert process.returncode == 0, "the conversion failed"
    return time.perf_counter() - start, peak / 1e6


def report(name: str, n_scans: int, seconds: float, peak_mb: float) -> None:
    print(f"{name:<32}{seconds:>10.2f}{n_scans / seconds:>10.0f}{peak_mb:>10.0f}", flush=True)


PARTS = {"memory": measure_memory, "workers": measure_workers, "start": measure_start, "many": measure_many}

if __name__ == "__main__":
    if sys.argv[1:2] == ["--peak-of"]:
        print_peak(Path(sys.argv[2]))
    else:
        main()
