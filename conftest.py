"""A folder for the examples in docstrings, so that they read as a user types them."""

import shutil
from pathlib import Path

import pytest

KEPT = Path(__file__).parent / "tests/data/version_0.1"


@pytest.fixture(autouse=True)
def _home_of_an_example(request: pytest.FixtureRequest) -> None:
    """Run each example in a folder of its own with `raw`, its store `out.zarr`, and the run `run` trained on it."""
    if isinstance(request.node, pytest.Function):
        return  # a test, not an example
    home = request.getfixturevalue("tmp_path") / "home"
    shutil.copytree(KEPT, home)
    patch = request.getfixturevalue("monkeypatch")
    patch.chdir(home)
    patch.setenv("CUDA_VISIBLE_DEVICES", "-1")  # these networks are too small for a GPU
