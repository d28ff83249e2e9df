"""What converting a scan costs beside the physical limit and beside its peers, in one table.

Usage: python tests/benchmarks/conversion.py [--full] [SCAN.nii.gz …], or make bench, make bench FULL=1.

Every contender is a script of peers/, run by itself, one after another, with one thread, on the same files, in the
interpreter of its own environment (.venv/peers/NAME, which make builds). What is compared is CPU time with the file in
the page cache. Without scans it takes real ones of shared/data where they are, else a phantom.
"""

import argparse
import gzip
import json
import os
import platform
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from ctprep.phantom import CohortSettings, make_scan
from ctprep.scans.readers.nifti import write_nifti

PEERS = Path(__file__).parent / "peers"
ENVIRONMENTS = Path(__file__).parents[2] / ".venv" / "peers"
REAL = Path(__file__).parents[3] / "shared" / "data" / "chest"
QUICK = ("lung1.nii.gz", "lidc_0314_averaged.nii.gz")
STACKED, COPIES = "lung1.nii.gz", 6
GZIP_LEVEL = 6
"""What most tools write."""

THREAD_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
HU_OF_UNIT = 1400
"""The width of the window, in HU."""

WIDTH = 100
NOTES = """\
ISA-L: called as a program would, and from memory without a copy, which is the limit; both verify the CRC. ctprep
includes reading, hashing, judging, encoding and writing; its peers end with a volume in memory. differs by: mean
absolute difference from ctprep's volume, axes RAS; r: correlation with it. The Keras example turns every scan by 90
degrees whatever its axes are, so there is nothing to compare. MONAI averages boxes; the Keras example and TorchIO's
Resize do not antialias."""


@dataclass(frozen=True)
class Contender:
    """A script of peers/ and the environment it needs; none is the project's own."""

    name: str
    script: str
    environment: str | None = None

    @property
    def python(self) -> Path | None:
        """Its interpreter, or None where the environment could not be made."""
        if self.environment is None:
            return Path(sys.executable)
        folder = ENVIRONMENTS / self.environment
        return folder / "bin" / "python" if (folder / "ready").exists() else None


LIMIT = Contender("ISA-L inflate", "limit.py")
CTPREP = Contender("ctprep", "this_program.py")
RIVALS = (
    Contender("Keras example", "keras_example.py"),
    Contender("MONAI", "monai_area.py", "monai"),
    Contender("TorchIO", "torchio_resize.py", "torchio"),
)


@dataclass
class Findings:
    """What a contender's script printed."""

    versions: dict[str, str] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)
    problem: str = ""

    def of(self, scan: Path) -> dict[str, dict[str, Any]]:
        """The lines of a scan, by way."""
        return {line["way"]: line for line in self.lines if line["scan"] == str(scan)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="all scans, and one of 512 x 512 x 288")
    parser.add_argument("scans", nargs="*", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        scans = arguments.scans or (all_scans(folder) if arguments.full else quick_scans(folder))
        found = {contender: measure(contender, scans, folder) for contender in (LIMIT, CTPREP)}
        if any(findings.problem for findings in found.values()):
            sys.exit("so there is nothing to compare with; mend the scan, or leave it out")
        found |= {contender: measure(contender, scans, folder) for contender in RIVALS}
        command = "conversion.py" if arguments.scans else "make bench FULL=1" if arguments.full else "make bench"
        print_table(scans, found, command=command)


def quick_scans(folder: Path) -> list[Path]:
    return [REAL / name for name in QUICK] if REAL.is_dir() else [write_phantom(folder)]


def all_scans(folder: Path) -> list[Path]:
    return [*sorted(REAL.glob("*.nii.gz")), write_stack(folder)] if REAL.is_dir() else [write_phantom(folder)]


def write_phantom(folder: Path) -> Path:
    scan = make_scan(CohortSettings(shape=(512, 512, 48)), 0)
    path = folder / "phantom.nii.gz"
    write_nifti(path, scan.stored, scan.affine, slope=scan.slope, inter=scan.inter)
    return path


def write_stack(folder: Path) -> Path:
    """Write a real scan several times over along z: the size of a thin-slice study."""
    image = nibabel.load(REAL / STACKED)
    stored = np.tile(np.asarray(image.dataobj, image.get_data_dtype()), (1, 1, COPIES))
    stacked = nibabel.Nifti1Image(stored, image.affine, image.header)
    path = folder / f"{COPIES}x_{STACKED}"
    path.write_bytes(gzip.compress(stacked.to_bytes(), GZIP_LEVEL, mtime=0))
    return path


def measure(contender: Contender, scans: list[Path], folder: Path) -> Findings:
    """Run a contender's script on the scans; what goes wrong is in its findings."""
    if contender.python is None:
        return Findings(problem="not installed")
    print(f"measuring {contender.name} …", file=sys.stderr)
    done = subprocess.run(
        [contender.python, PEERS / contender.script, folder, *scans],
        env=os.environ | dict.fromkeys(THREAD_COUNTS, "1"),
        capture_output=True,
        text=True,
        check=False,
    )
    said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    problem = ""
    if done.returncode:
        last_words = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        problem = f"failed: {last_words}"
        print(f"{contender.name} {problem}", file=sys.stderr)
    return Findings(versions=said[0]["versions"] if said else {}, lines=said[1:], problem=problem)


def print_table(scans: list[Path], found: dict[Contender, Findings], *, command: str) -> None:
    versions = {name: number for findings in found.values() for name, number in findings.versions.items()}
    named = "; ".join(f"{name} {number}" for name, number in versions.items())
    print(f"{command}: CPU time of one thread, median of 3 to 9 runs after a warm-up, page cache warm")
    print_wrapped(f"{os.cpu_count()} cores; Python {platform.python_version()}; {named}")
    print(f"\n{'':<34}{'CPU time':>12}{'/ inflate':>12}{'/ ctprep':>12}{'differs by':>14}{'r':>9}")
    for scan in scans:
        print(f"\n{described(scan)}")
        for line in rows(scan, found):
            print(line[:WIDTH])
    print()
    print_wrapped(NOTES)


def print_wrapped(text: str) -> None:
    print(textwrap.fill(text, WIDTH, break_on_hyphens=False))


def described(scan: Path) -> str:
    shape = " x ".join(map(str, nibabel.load(scan).shape))
    return f"{stem(scan)}: {shape}, {scan.stat().st_size / 1e6:.1f} MB"


def stem(scan: Path) -> str:
    return scan.name.removesuffix(".gz").removesuffix(".nii")


def rows(scan: Path, found: dict[Contender, Findings]) -> Iterator[str]:
    """Yield the table's lines of one scan."""
    limit, ctprep = found[LIMIT].of(scan), found[CTPREP].of(scan)["ctprep"]
    hashing = limit.pop("SHA-256")
    base = (min(line["ms"] for line in limit.values()), ctprep["ms"])
    for way, line in limit.items():
        yield row(way, line["ms"], base)
    yield row("SHA-256", hashing["ms"], base)
    yield row(CTPREP.name, ctprep["ms"], base)
    for rival in RIVALS:
        lines = found[rival].of(scan)
        for way, line in lines.items():
            yield row(way, line["ms"], base) + agreement(line["volume"], ctprep["volume"])
        if not lines:
            yield f"  {rival.name:<32}    {found[rival].problem}"


def row(name: str, ms: float, base: tuple[float, float]) -> str:
    """Format a time and its ratios to those of the limit and of ctprep."""
    return f"  {name:<32}{ms:>9.1f} ms" + "".join(f"{ratio(ms / other):>12}" for other in base)


def ratio(value: float) -> str:
    return f"{value:.2f}x" if value < 10 else f"{value:.0f}x"


def agreement(volume: str | None, reference: str) -> str:
    if volume is None:
        return f"{'turned':>14}"
    ours, theirs = (np.load(path).astype(np.float64) for path in (reference, volume))
    difference = np.abs(ours - theirs).mean() * HU_OF_UNIT
    return f"{difference:>11.1f} HU{np.corrcoef(ours.ravel(), theirs.ravel())[0, 1]:>9.4f}"


if __name__ == "__main__":
    main()
