"""What each tool reads of a store when it runs the example of docs/other-tools.md."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import ctprep
from ctprep.store.store import Store
from ctprep.volume.recipe import Recipe
from tests.conftest import write_scan

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
THIS = Path(sys.executable)
PYTHON = ROOT / ".venv/interop/bin/python"
NODE = ROOT / ".venv/node/node_modules/.bin/node"
INSTALLED = {PYTHON: ROOT / ".venv/interop/ready", NODE: ROOT / ".venv/node/ready"}
"""The files that `make interop` leaves where it could install an environment."""

PAGE = (ROOT / "docs/other-tools.md").read_text()
SHAPE = (12, 14, 18)
GONE, FLIPPED = 1, 3
"""The rows whose chunk is deleted, and has one bit flipped, in a copy of the store."""


@dataclass(frozen=True)
class Tool:
    """A tool with a recipe in docs/other-tools.md, and how to get all that it reads once the recipe ran.

    Attributes
    ----------
    package : str
        The distribution whose version is told.
    runs_in : Path
        The interpreter.
    volumes, labels : str
        Expressions, in the recipe's names, for the volumes and the labels of all scans.
    """

    package: str
    runs_in: Path
    volumes: str
    labels: str

    @property
    def is_installed(self) -> bool:
        """Whether its environment is there."""
        return self.runs_in == THIS or INSTALLED[self.runs_in].exists()

    @property
    def version(self) -> str:
        """The package's version, and for JavaScript that of what runs it."""
        if self.runs_in == NODE:
            files = [NODE.parents[1] / name / "package.json" for name in (self.package, "node")]
            package, node = (json.loads(file.read_text()) for file in files)
            return f"{package['version']}, Node {node['version']}"
        code = f"from importlib.metadata import version; print(version({self.package!r}))"
        return subprocess.run([self.runs_in, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


TOOLS = {
    "xarray": Tool("xarray", THIS, "dataset.volume", "labels"),
    "zarr-python": Tool("zarr", THIS, "group['volume'][:]", "labels"),
    "TensorStore": Tool("tensorstore", THIS, "volume.read().result()", "labels"),
    "zarrs": Tool("zarrs", THIS, "group['volume'][:]", "labels"),
    "PyTorch": Tool(
        "torch",
        PYTHON,
        "torch.cat([volumes[:, 0] for volumes, _ in DataLoader(scans, batch_size=3, num_workers=2)])",
        "[label for _, label in scans]",
    ),
    "JAX": Tool("jax", PYTHON, "volumes", "labels"),
    "zarrita.js": Tool("zarrita", NODE, "(await zarr.get(volume)).data", "labels.data"),
}

KEPT = {
    ".py": """
import numpy
numpy.asarray({volumes}, "<f4").tofile("volumes")
numpy.asarray({labels}, "<i4").tofile("labels")
""",
    ".mjs": """
import {{ writeFileSync }} from "node:fs";
writeFileSync("volumes", new Float32Array({volumes}));
writeFileSync("labels", new Int32Array({labels}));
""",
}
"""What is added to a recipe, so that what it read can be compared."""


def recipes() -> dict[str, str]:
    """Return the code of each recipe of the page, by the tool's name."""
    return dict(re.findall(r"^## (\S+)\n.*?^```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))


@dataclass(frozen=True)
class Stores:
    """A store, and copies of it without a chunk and with a flipped bit, each in a folder of its own."""

    store: Store
    whole: Path
    gone: Path
    flipped: Path


def make_stores(folder: Path) -> Stores:
    """Convert a few scans, and damage copies of the store."""
    for number in range(2, 7):  # among them CT-0/study_0002, which the page reads
        write_scan(folder / "raw" / f"CT-{number % 2}" / f"study_{number:04}.nii.gz", seed=number)
    whole, gone, flipped = (folder / name for name in ("whole", "gone", "flipped"))
    whole.mkdir()
    store = ctprep.convert(folder / "raw", whole / "scans.zarr", recipe=Recipe(shape=SHAPE)).store
    for damaged in (gone, flipped):
        shutil.copytree(whole, damaged)
    _chunk(gone, GONE).unlink()
    content = bytearray(_chunk(flipped, FLIPPED).read_bytes())
    content[len(content) // 2] ^= 1
    _chunk(flipped, FLIPPED).write_bytes(content)
    return Stores(store, whole, gone, flipped)


def _chunk(folder: Path, row: int) -> Path:
    return folder / "scans.zarr" / "volume" / f"c.{row}.0.0.0"


@dataclass(frozen=True)
class Reading:
    """What a tool made of a store: all volumes and labels, or an error."""

    volumes: np.ndarray
    labels: np.ndarray
    error: str


@dataclass(frozen=True)
class Verdict:
    """What came of a tool's recipe.

    Attributes
    ----------
    same : bool
        Whether it read the same voxels and labels as we do.
    missing, flipped : str
        What it gives for a chunk that is missing, and for one with a flipped bit: "NaN", "an error", "other voxels".
    error : str
        What went wrong with the undamaged store.
    """

    same: bool
    missing: str
    flipped: str
    error: str


def judge(name: str, stores: Stores, scratch: Path) -> Verdict:
    """Run a tool's recipe on the store and on its damaged copies."""
    ours = np.stack([stores.store.volume(row) for row in range(len(stores.store))]).astype(np.float32)
    whole, gone, flipped = read(name, [stores.whole, stores.gone, stores.flipped], scratch)
    same = np.array_equal(whole.volumes, ours) and np.array_equal(whole.labels, stores.store.labels)
    return Verdict(same, _found(gone, ours, GONE), _found(flipped, ours, FLIPPED), whole.error)


def _found(reading: Reading, ours: np.ndarray, row: int) -> str:
    """Name what a tool gave for a damaged row; the other rows must be as they were."""
    if reading.error:
        return "an error"
    others = np.arange(len(ours)) != row
    if not np.array_equal(reading.volumes[others], ours[others]):
        return "other voxels, in other scans"
    return "NaN" if np.isnan(reading.volumes[row]).all() else "other voxels"


def read(name: str, folders: list[Path], scratch: Path) -> list[Reading]:
    """Run a tool's recipe in every folder, in a process of its own."""
    tool, suffix = TOOLS[name], ".mjs" if TOOLS[name].runs_in == NODE else ".py"
    if suffix == ".mjs" and not (scratch / "node_modules").exists():
        (scratch / "node_modules").symlink_to(NODE.parents[1])  # Node seeks packages beside the file that asks
    recipe = scratch / f"{name}{suffix}"
    recipe.write_text(recipes()[name] + KEPT[suffix].format(volumes=tool.volumes, labels=tool.labels))
    runner = HERE / f"run_recipe{suffix}"
    quiet = {"MPLBACKEND": "agg", "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "-1"}
    command = [tool.runs_in, runner, recipe, *folders]
    done = subprocess.run(command, env=os.environ | quiet, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise RuntimeError(f"{name}: exit code {done.returncode}\n{done.stderr}")
    return [_reading(folder) for folder in folders]


def _reading(folder: Path) -> Reading:
    """Take away what a recipe left in a folder, and return it."""
    left = {name: folder / name for name in ("volumes", "labels", "error.txt")}
    found = {name: path.read_bytes() for name, path in left.items() if path.exists()}
    for path in left.values():
        path.unlink(missing_ok=True)
    volumes = np.frombuffer(found.get("volumes", b""), "<f4").reshape(-1, *SHAPE)
    return Reading(volumes, np.frombuffer(found.get("labels", b""), "<i4"), found.get("error.txt", b"").decode())
