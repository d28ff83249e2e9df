"""A tiny cohort, what may have happened to its store before a conversion, and what must be there after it."""

import errno
import multiprocessing
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import zarr

import ctprep
from ctprep.conversion import staging
from ctprep.conversion.scan_task import Outcome, ScanTask, convert_scan
from ctprep.preparation import prepare
from ctprep.scans.catalog import find_scans
from ctprep.store.chunk import chunk_path
from ctprep.store.verify import verify
from ctprep.volume.recipe import Recipe
from tests.conftest import chest_hu, write_scan
from tests.torture.report import Row
from tests.torture.steps import AtStep, in_child, kill_at, watch

RECIPE = Recipe(shape=(4, 4, 4))
OTHER_RECIPE = Recipe(shape=(4, 4, 4), window=(-900.0, 300.0))
SCANS = 5
NAME = "out.zarr"
STEP_OF_INTERRUPTION = 25  # within the third of the five scans

Write = Callable[..., object]
Tree = dict[str, bytes | None]


@dataclass
class Figures:
    """How many states were looked at, and what was wrong with them."""

    states: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def note(self, where: str, problems: list[str]) -> None:
        self.problems.update(problems)
        self.examples += [f"{where}: {problem}" for problem in problems][: 20 - len(self.examples)]

    def row(self, what: str, control: "Figures") -> Row:
        """Return what a report says of them, and of those of the null control."""
        found, count = str(control).partition("\n")[0], control.problems.total()
        return Row(what, f"{self.states:,} states", self.problems.total(), self.examples, found, count)

    def __str__(self) -> str:
        problems = ", ".join(f"{count} {problem}" for problem, count in self.problems.items())
        return "\n  ".join([f"{self.states} states: {problems or 'nothing wrong'}", *self.examples])


@dataclass(frozen=True)
class History:
    """What happened before a conversion, and the stores that may be there during and after it."""

    name: str
    folder: Path
    write: Write
    limit: Callable[[], None]
    old: Tree | None
    new: Tree

    @property
    def place(self) -> Path:
        """Where the conversion under test writes."""
        return self.folder / "now"

    @property
    def out(self) -> Path:
        return self.place / NAME

    def restore(self) -> None:
        """Make the place what it was before the conversion; the scans stay, or their stamps would change."""
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.folder / "before", self.place)

    def run(self, **kwargs: object) -> None:
        """Convert; in a process of its own, whose file system is limited from then on."""
        self.limit()
        self.write(self.folder / "raw", self.out, **kwargs)

    def run_watched(self, at_step: AtStep) -> None:
        """Convert as `run` does, with something that happens before every step."""
        watch(at_step)
        self.run()

    def judge(self, *, killed: bool) -> list[str]:
        """Say what is wrong with the target now; only a kill, and only between two renames, may leave none."""
        found = tree(self.out)
        if found in (self.old, self.new) or (found is None and killed and self.limit is cannot_exchange):
            return []
        return ["opens as complete and is not" if opens_as_complete(self.out) else "neither absent nor whole"]

    def judge_resumed(self) -> list[str]:
        """Convert again, without any fault; say what is wrong then."""
        finished = in_child(lambda: self.run(scheduler="synchronous") or True)
        return ([] if finished else ["did not resume"]) + self.judge_finished()

    def judge_finished(self) -> list[str]:
        problems = [] if tree(self.out) == self.new else ["differs from one made from nothing"]
        hidden = staging.Staging(self.out).folder
        left = {path.name for path in (*self.place.iterdir(), *(hidden.iterdir() if hidden.exists() else ()))}
        return problems + (["leftovers"] if left - {NAME, hidden.name, "lock", "sources.jsonl"} else [])


def tree(folder: Path) -> Tree | None:
    """Return every file's bytes, and None for a folder, by relative path; None if nothing is there."""
    if not folder.exists():
        return None
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def opens_as_complete(store: Path) -> bool:
    """Tell whether zarr-python reads every volume without a word."""
    try:
        return zarr.open_group(store, mode="r")["volume"][...].shape[0] > 0  # type: ignore[index, union-attr]
    except Exception:  # noqa: BLE001 - any error will do
        return False


def write_naively(raw: Path, out: Path, **_: object) -> None:
    """Write volumes as a script would, the null control: into the target, metadata first."""
    scans = find_scans(raw).scans
    group = zarr.open_group(out, mode="w")
    shape = (len(scans), *RECIPE.shape)
    volume = group.create_array("volume", shape=shape, chunks=(1, *RECIPE.shape), dtype="f2", fill_value=np.nan)
    for row, scan in enumerate(scans):
        volume[row] = prepare(scan.path, RECIPE).volume


def write_by_naive_pool(raw: Path, out: Path, **_: object) -> None:
    """Write volumes as a script with a pool of processes would, the null control of killed workers."""
    scans = find_scans(raw).scans
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        volumes = np.stack(list(pool.map(prepare_slowly, [scan.path for scan in scans])))
    zarr.save_array(out, volumes)


def prepare_slowly(path: Path) -> np.ndarray:
    time.sleep(0.1)
    return prepare(path, RECIPE).volume


def convert(raw: Path, out: Path, **kwargs: object) -> None:
    ctprep.convert(raw, out, **{"recipe": RECIPE, "scheduler": "synchronous"} | kwargs)  # type: ignore[arg-type]


def convert_slowly(task: ScanTask) -> Outcome:
    """Stand in for `convert_scan`, so that there is always a scan in work when a worker is killed."""
    time.sleep(0.1)
    return convert_scan(task)


def nothing(raw: Path, out: Path) -> None:
    """Begin without a store."""


def edit(raw: Path, out: Path) -> None:
    convert(raw, out)
    add_scan(raw, 9)
    add_scan(raw, 1, seed=77)
    (raw / "CT-0" / "s0.nii.gz").unlink()


def another_recipe(raw: Path, out: Path) -> None:
    convert(raw, out, recipe=OTHER_RECIPE)


def interruption(raw: Path, out: Path) -> None:
    in_child(lambda: (watch(kill_at(STEP_OF_INTERRUPTION)), convert(raw, out)))


def damage(raw: Path, out: Path) -> None:
    convert(raw, out)
    (out / chunk_path(0)).unlink()
    (out / chunk_path(3)).write_bytes(b"damaged")


def no_limit() -> None:
    """Let the file system do all it can."""


def cannot_exchange() -> None:
    staging.exchange = partial(_fail, errno.EINVAL)  # type: ignore[assignment]


def cannot_link() -> None:
    os.link = partial(_fail, errno.EPERM)


def _fail(number: int, *_: object) -> None:
    raise OSError(number, os.strerror(number))


HISTORIES: dict[str, tuple[Callable[[Path, Path], None], Callable[[], None]]] = {
    "first": (nothing, no_limit),
    "edited": (edit, no_limit),
    "rebuilt": (another_recipe, no_limit),
    "resumed": (interruption, no_limit),
    "damaged": (damage, no_limit),
    "edited, cannot exchange": (edit, cannot_exchange),
    "edited, cannot link": (edit, cannot_link),
}


def make_history(parent: Path, name: str, *, write: Write = convert) -> History:
    """Let a history happen in a folder of its own."""
    begin, limit = HISTORIES[name]
    folder = parent / name.replace(" ", "-")
    raw, before, fresh = folder / "raw", folder / "before", folder / "fresh" / NAME
    if begin is another_recipe:
        write = partial(write, rebuild=True)
    for number in range(SCANS):
        add_scan(raw, number)
    before.mkdir()
    begin(raw, before / NAME)
    fresh.parent.mkdir()
    write(raw, fresh)
    if write not in (write_naively, write_by_naive_pool) and verify(fresh).findings:
        raise AssertionError(f"{fresh}: is not even whole when nothing happens")
    return History(name, folder, write, limit, tree(before / NAME), tree(fresh) or {})


def add_scan(raw: Path, number: int, *, seed: int | None = None) -> None:
    seed = number if seed is None else seed
    write_scan(raw / f"CT-{number % 2}" / f"s{number}.nii.gz", chest_hu((8, 8, 8), seed=seed))
