"""Whether a conversion survives its workers: one of four is killed every few seconds, and the store must not show it.

Usage: python tests/benchmarks/killed_workers.py [--scans 400] [--every 3]

Needs 3 MB of disk for each scan, under the folder that TMPDIR names.
"""

import argparse
import gzip
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import dask
import numpy as np
from distributed import LocalCluster

from ctprep import convert
from ctprep.phantom import CohortSettings, make_scan
from ctprep.scans.readers.nifti_header import encode_header

WORKERS = 4
MARGIN = ((128, 128), (128, 128), (64, 64))
"""Air around a phantom: it makes the scan four times as slow to convert, and its file hardly larger."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=int, default=400)
    parser.add_argument("--every", type=float, default=3.0, help="seconds between two kills")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_cohort(folder / "raw" / "CT-0", arguments.scans)
        begin = time.perf_counter()
        plain = convert(folder / "raw", folder / "plain.zarr", scheduler="synchronous")
        print(f"plain loop: {len(plain.store)} scans in {time.perf_counter() - begin:.0f} s")
        with (
            dask.config.set(
                {"distributed.deploy.lost-worker-timeout": "1h"}
            ),  # or it forgets one that starts just then
            LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster,
            killing(cluster, arguments.every) as killed,
        ):
            begin = time.perf_counter()
            done = convert(folder / "raw", folder / "out.zarr", scheduler=cluster.scheduler_address)
            seconds = time.perf_counter() - begin
        same = done.store.digest() == plain.store.digest()
        print(
            f"cluster of {WORKERS}: {len(done.store)} scans in {seconds:.0f} s, "
            f"{len(killed)} workers killed, {len(done.rejected)} scans rejected, "
            f"digest {'equal to' if same else 'NOT equal to'} the plain loop's"
        )
    sys.exit(0 if same else "the digests differ")


def write_cohort(folder: Path, count: int) -> None:
    """Write scans that differ in their intercept, by a tenth of a HU: one stream of voxels is enough for all."""
    scan = make_scan(CohortSettings(shape=(256, 256, 64)), 0)
    stored = np.pad(scan.stored, MARGIN, constant_values=-1000).astype("<i2")
    voxels = gzip.compress(stored.tobytes("F"), mtime=0)
    folder.mkdir(parents=True)
    for number in range(count):
        header = encode_header(stored.dtype, stored.shape, scan.affine, slope=1.0, inter=number / 10)
        (folder / f"study_{number:04}.nii.gz").write_bytes(gzip.compress(header, mtime=0) + voxels)


@contextmanager
def killing(cluster: LocalCluster, every: float) -> Iterator[list[int]]:
    """Kill one worker after another, at random; give the list of those killed."""
    killed: list[int] = []
    over = threading.Event()
    choose = random.Random(0)

    def kill() -> None:
        while not over.wait(every):
            with suppress(TypeError, ProcessLookupError):  # this one is being started again
                pid = choose.choice(list(cluster.workers.values())).pid
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    main()
