"""Real NIfTI files and real stores for every test."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from ctprep.store.seal import ROOT, seal

settings.register_profile(
    "ctprep",
    deadline=None,  # the machines that run this are noisy
    derandomize="CI" in os.environ,  # a landing is no place for a discovery; everywhere else it looks further
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("ctprep")

LAS = np.diag([-1.5, 1.5, 5.0, 1.0])

MakeScan = Callable[..., Path]


def chest_hu(shape: tuple[int, int, int] = (24, 20, 12), seed: int = 0) -> np.ndarray:
    """Return int16 HU that look like a chest to a program: air around a body with two lungs."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    hu = np.full(shape, -1000.0)
    hu[(x / 0.9) ** 2 + (y / 0.8) ** 2 < 1] = 40
    hu[((np.abs(x) - 0.4) / 0.25) ** 2 + (y / 0.5) ** 2 + (z / 0.9) ** 2 < 1] = -850
    return np.rint(hu + np.random.default_rng(seed).normal(0, 10, shape)).astype(np.int16)


def write_scan(
    path: Path,
    array: np.ndarray | None = None,
    *,
    affine: np.ndarray = LAS,
    slope: float = 1.0,
    inter: float = 0.0,
    kind: type = nibabel.Nifti1Image,
    big_endian: bool = False,
    seed: int = 0,
) -> Path:
    """Write a NIfTI file with nibabel, which this project does not use for writing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = chest_hu(seed=seed) if array is None else array
    header = kind.header_class(endianness=">" if big_endian else "<")
    header.set_data_dtype(array.dtype)
    image = kind(array, affine, header)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    image.header.set_slope_inter(slope, inter)
    image.to_filename(path)
    return path


def reseal(store: Path) -> None:
    """Seal a store again whose metadata a test has changed, as a conversion that wrote it so would have."""
    files = {path.relative_to(store).as_posix(): path.read_bytes() for path in store.rglob("*") if path.is_file()}
    seal(files)
    (store / ROOT).write_bytes(files[ROOT])


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_arrives() -> Iterator[None]:
    """Let SIGINT raise here and end what is started, as in a terminal; in a script's background it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def make_scan(tmp_path: Path) -> MakeScan:
    """Return a function that writes a scan under `tmp_path`."""

    def make(name: str = "scan.nii.gz", array: np.ndarray | None = None, **kwargs: object) -> Path:
        return write_scan(tmp_path / name, array, **kwargs)  # type: ignore[arg-type]

    return make


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Return a folder with two classes of three scans."""
    for number in range(6):
        folder = "CT-0" if number < 3 else "CT-1"
        write_scan(tmp_path / "raw" / folder / f"study_{number:04}.nii.gz", seed=number)
    return tmp_path / "raw"


SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real and odd scans, where it lies beside the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real scans are not beside this checkout (shared/data)")
    return SHARED_DATA
