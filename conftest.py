"""A folder for the examples in docstrings, so that they read as a user types them."""

import shutil
from pathlib import Path

import pytest
from _pytest.doctest import DoctestItem

KEPT = Path(__file__).parent / "tests/data/version_0.1"


@pytest.fixture(autouse=True)
def _home_of_an_example(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run an example in a folder of its own with `raw`, its store `out.zarr`, and the run `run` that learnt from it."""
    if isinstance(request.node, DoctestItem):
        shutil.copytree(KEPT, tmp_path / "home")
        monkeypatch.chdir(tmp_path / "home")
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")  # these networks are too small for a GPU
