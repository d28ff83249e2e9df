"""What converting one scan costs beside inflating it, and beside the procedure of a notebook.

Usage: python tests/benchmarks/conversion.py [SCAN.nii.gz …]

Without scans it takes the real ones of shared/data where they are, else a phantom of 512 x 512 x 48. CPU time of one
thread, best of some runs after a first: this program with everything included (read, hash, judge, resample, encode,
write), ISA-L inflating the same bytes, and, from wall time, the Keras example's procedure (nibabel, window,
`ndimage.rotate`, `ndimage.zoom` of order 1).
"""

import hashlib
import io
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
from isal import igzip
from scipy import ndimage

from ctprep.nifti import write_nifti
from ctprep.phantom import CohortSettings, make_scan
from ctprep.recipe import Recipe
from ctprep.scan_task import ScanTask, convert_scan

RUNS = 7
REAL = Path(__file__).parents[3] / "shared" / "data" / "chest"
MILLISECONDS = 1e3


def best_cpu_ms(function: Callable[[], object]) -> float:
    function()
    spent = []
    for _ in range(RUNS):
        start = time.process_time()
        function()
        spent.append(time.process_time() - start)
    return min(spent) * MILLISECONDS


def inflate(content: bytes, buffer: bytearray) -> None:
    with igzip.IGzipFile(fileobj=io.BytesIO(content)) as stream:
        while stream.readinto(buffer):
            pass


def keras_example(path: Path) -> np.ndarray:
    """Load, window, turn and zoom as the example for 3D image classification of CT scans does."""
    volume = np.asarray(nibabel.load(path).get_fdata())
    volume = ((np.clip(volume, -1000, 400) + 1000) / 1400).astype("float32")
    volume = ndimage.rotate(volume, 90, reshape=False)
    factors = [target / n for target, n in zip((64, 64, 32), volume.shape, strict=True)]
    return ndimage.zoom(volume, factors, order=1)


def measure(path: Path, folder: Path) -> dict[str, float]:
    content = path.read_bytes()
    task = ScanTask("scan", path, Recipe(), folder / "chunk", folder / "record")
    buffer = bytearray(512 << 10)
    start = time.perf_counter()
    keras_example(path)
    notebook = (time.perf_counter() - start) * MILLISECONDS
    return {
        "inflate": best_cpu_ms(lambda: inflate(content, buffer)),
        "hash": best_cpu_ms(lambda: hashlib.sha256(content).digest()),
        "convert": best_cpu_ms(lambda: convert_scan(task)),
        "keras": notebook,
    }


def scans(folder: Path) -> list[Path]:
    if sys.argv[1:]:
        return [Path(name) for name in sys.argv[1:]]
    if REAL.is_dir():
        return sorted(REAL.glob("*.nii.gz"))
    scan = make_scan(CohortSettings(shape=(512, 512, 48)), 0)
    write_nifti(folder / "phantom.nii.gz", scan.stored, scan.affine, slope=scan.slope, inter=scan.inter)
    return [folder / "phantom.nii.gz"]


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        print(f"{'scan':<24}{'inflate':>9}{'hash':>7}{'convert':>9}{'/ inflate':>11}{'notebook':>10}{'/ convert':>11}")
        for path in scans(Path(temporary)):
            ms = measure(path, Path(temporary))
            print(
                f"{path.name.removesuffix('.nii.gz'):<24}{ms['inflate']:>6.1f} ms{ms['hash']:>7.1f}"
                f"{ms['convert']:>6.1f} ms{ms['convert'] / ms['inflate']:>11.2f}"
                f"{ms['keras']:>7.0f} ms{ms['keras'] / ms['convert']:>11.1f}"
            )


if __name__ == "__main__":
    main()
