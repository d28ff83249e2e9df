"""A cohort of phantom scans on disk, as MosMedData lays its studies out, with the table of what was planted."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ctprep.errors import PhantomError
from ctprep.execution.isolation import ProcessDied
from ctprep.execution.pool import ProcessPool
from ctprep.execution.stopping import in_steps, stop_if_asked
from ctprep.phantom.scan import make_scan
from ctprep.phantom.settings import CohortSettings
from ctprep.phantom.shapes import Array
from ctprep.scans.readers.nifti import write_nifti

TRUTH = "truth.csv"
DECIMALS = 6  # of the numbers in the truth table
SUFFIX = ".nii.gz"

Row = dict[str, str | int | float]


@dataclass(frozen=True)
class Cohort:
    """What was written: the folder, its truth table, and the table's rows in the order of the scans."""

    raw: Path
    truth: Path
    rows: tuple[Row, ...]


def write_cohort(
    raw: str | Path,
    *,
    settings: CohortSettings,
    workers: int = 1,
    masks: str | Path | None = None,
    progress: Callable[[int], object] | None = None,
) -> Cohort:
    """Write a cohort: `CT-0/study_0001.nii.gz` and so on, and `truth.csv`. It appears whole or not at all.

    Parameters
    ----------
    raw : path
        Folder to write into; made if missing, refused if not empty.
    settings : CohortSettings
        The scans.
    workers : int
        Processes; the files do not depend on it.
    masks : path, optional
        Folder, outside `raw` and missing or empty, for the masks `CT-1/study_0007_lesion.nii.gz` and
        `CT-1/study_0007_lung.nii.gz`; none are written without it.
    progress : callable, optional
        Called with 1 after each scan.

    Returns
    -------
    Cohort

    Raises
    ------
    PhantomError
        If a folder is not empty or cannot be one, if `workers` is below 1, or if a process dies. Nothing is ever
        deleted or replaced.

    Examples
    --------
    >>> cohort = write_cohort("phantoms", settings=CohortSettings(scans=2, shape=(24, 24, 12)))
    >>> [row["scan"] for row in cohort.rows]
    ['CT-3/study_0001', 'CT-0/study_0002']
    """
    raw, masks = Path(raw), None if masks is None else Path(masks)
    _check_targets(raw, masks, workers)
    rows = []
    with in_steps(), ExitStack() as targets, _mapper(workers) as run:
        drawing = targets.enter_context(_whole_folder(raw))
        drawing_masks = None if masks is None else targets.enter_context(_whole_folder(masks))
        for row in run(partial(_write_scan, drawing, drawing_masks, settings), range(settings.scans)):
            stop_if_asked()
            rows.append(row)
            if progress is not None:
                progress(1)
        _write_truth(drawing / TRUTH, rows)
    return Cohort(raw=raw, truth=raw / TRUTH, rows=tuple(rows))


@contextmanager
def _whole_folder(target: Path) -> Iterator[Path]:
    """Give a hidden folder beside the target that takes its place at the end; an interruption leaves neither."""
    drawing = target.absolute().with_name(f".{target.absolute().name}.drawing")
    shutil.rmtree(drawing, ignore_errors=True)  # of a run that was killed
    drawing.mkdir(parents=True)
    try:
        yield drawing
        drawing.rename(target)
    finally:
        shutil.rmtree(drawing, ignore_errors=True)


def _check_targets(raw: Path, masks: Path | None, workers: int) -> None:
    if workers < 1:
        raise PhantomError(f"workers: found {workers}, expected at least 1; 1 needs no other process")
    _check_empty(raw)
    if masks is None:
        return
    _check_empty(masks)
    if masks.resolve().is_relative_to(raw.resolve()) or raw.resolve().is_relative_to(masks.resolve()):
        raise PhantomError(
            f"{masks}: found one folder inside the other, expected masks apart from {raw}; choose another"
        )


def _check_empty(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise PhantomError(f"{folder}: found a file, expected a new or empty folder; choose another name")
    if folder.is_dir() and any(folder.iterdir()):
        raise PhantomError(f"{folder}: found a folder with files in it, expected a new or empty one; choose another")


@contextmanager
def _mapper(workers: int) -> Iterator[Callable]:
    """Give a `map` that keeps order, over processes where more than one is wanted."""
    if workers == 1:
        yield map
        return
    threads = ThreadPoolExecutor(workers)
    try:
        with ProcessPool(workers) as processes:
            yield lambda function, items: threads.map(partial(processes.call, function), items)
    except ProcessDied as error:
        found = f"workers: found that one of {workers} died"
        raise PhantomError(f"{found}, expected all to finish; ask for fewer, or free memory") from error
    finally:
        threads.shutdown(cancel_futures=True)


def _write_scan(raw: Path, masks: Path | None, settings: CohortSettings, index: int) -> Row:
    """Make a scan, write its files and return its row of the truth table."""
    scan = make_scan(settings, index)
    name = str(scan.truth["scan"])
    _write_volume(raw / (name + SUFFIX), scan.stored, scan.affine, slope=scan.slope, inter=scan.inter)
    if masks is not None:
        for kind, mask in (("lesion", scan.lesion), ("lung", scan.lung)):
            _write_volume(masks / f"{name}_{kind}{SUFFIX}", mask, scan.affine)
    return scan.truth


def _write_volume(path: Path, volume: Array, affine: Array, *, slope: float = 1.0, inter: float = 0.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(path, volume, affine, slope=slope, inter=inter)  # appears under its name when it is whole


def _write_truth(path: Path, rows: list[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows({name: _plain(value) for name, value in row.items()} for row in rows)


def _plain(value: str | int | float) -> str | int:
    """Return a number in plain decimals, without an exponent and without trailing zeros."""
    return np.format_float_positional(value, DECIMALS, trim="-") if isinstance(value, float) else value
