"""From a folder of scans to a store: plan, run the plan, commit it."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ctprep.conversion.assemble import FinishedVolumes, assemble
from ctprep.conversion.observe import ExistingVolumes, Observed, observe_all
from ctprep.conversion.planning.forgotten import check_nothing_forgotten
from ctprep.conversion.planning.plan import Action, Plan, PlanRow, make_plan
from ctprep.conversion.planning.remarks import notes_on_accepted, notes_on_crops, notes_on_lungs, notes_on_padding
from ctprep.conversion.scan_task import Outcome, ScanTask, convert_scan, lost_scan
from ctprep.conversion.staging import Staging
from ctprep.conversion.stamps import Remembered, Stamp, load_remembered, save_remembered
from ctprep.conversion.work_folder import WorkFolder
from ctprep.errors import CTPrepError, NothingConverted, RecipeMismatch, TargetError
from ctprep.execution.progress import Progress, silent
from ctprep.execution.schedule import AUTO, check_scheduler, fastest_scheduler, run_all
from ctprep.files import as_target_error
from ctprep.scans.catalog import Catalog, find_scans
from ctprep.scans.scan import NOT_CROPPED, Rejection, Scan
from ctprep.store.chunk import LUNG, chunked_arrays, stated_checksum
from ctprep.store.format import files_of_others
from ctprep.store.store import Store, is_ctprep_store, open_store
from ctprep.volume.recipe import Recipe, differences

SECONDS_PER_SCAN = 1e-3
SECONDS_PER_BYTE = 5e-9
"""What converting costs, roughly: a tiny scan takes a millisecond, 200 MB of compressed ones a second."""


@dataclass(frozen=True)
class Conversion:
    """What a conversion did.

    Parameters
    ----------
    store : Store
        What is there now.
    plan : Plan
        What was decided before any voxel was read.
    rejected : tuple of Rejection
        Scans that were left out, by header, voxels or comparison.

    Examples
    --------
    >>> conversion = convert("raw", "scans.zarr")
    >>> (conversion.store.path.name, conversion.plan.removed, conversion.removed)
    ('scans.zarr', (), ())
    """

    store: Store
    plan: Plan
    rejected: tuple[Rejection, ...]

    @property
    def reused(self) -> int:
        """Count the stored scans whose volumes existed before."""
        reused = {row.scan.id for row in self.plan.rows if row.action is Action.REUSE}
        return len(reused.intersection(self.store.scans))

    @property
    def removed(self) -> tuple[str, ...]:
        """Ids that the store held before and does not hold any more."""
        return tuple(sorted(set(self.plan.existing).difference(self.store.scans)))

    @property
    def notes(self) -> tuple[str, ...]:
        """Those of the plan, and what is remarkable of the voxels."""
        store, accept = self.store, {row.scan.id: row.scan.accept for row in self.plan.rows}
        return (
            *self.plan.notes,
            *notes_on_padding(store.scans, store.records),
            *notes_on_accepted(store.scans, store.records, accept),
            *notes_on_crops(store.not_cropped),
            *notes_on_lungs(store.without_lungs),
        )

    def __str__(self) -> str:
        done = f"{len(self.store) - self.reused} converted, {self.reused} reused"
        return f"{self.store}; {done}, {len(self.removed)} removed, {len(self.rejected)} rejected"

    def lines(self) -> list[str]:
        """Return a line for each rejected scan and each note, and one with the numbers of scans."""
        return [*map(str, self.rejected), *(f"note: {note}" for note in self.notes), str(self)]

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers of scans and what was rejected, ready for JSON."""
        return {
            "scans": len(self.store),
            "patients": len(set(self.store.patients)),
            "converted": len(self.store) - self.reused,
            "reused": self.reused,
            "removed": len(self.removed),
            **({} if self.store.recipe.crop == "none" else {"not_cropped": list(self.store.not_cropped)}),
            "rejected": [asdict(rejection) for rejection in self.rejected],
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class _Job:
    """All that stays the same during a conversion."""

    catalog: Catalog
    recipe: Recipe
    staging: Staging
    stock: ExistingVolumes
    plan: Plan
    stamps: Mapping[str, Stamp]
    strict: bool

    def name(self, scan: str) -> str:
        """Return the name of a scan's volume in the working folder."""
        return self.stamps[scan].name_for(scan)


def convert(
    raw: Catalog | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    recipe: Recipe | None = None,
    scheduler: str = AUTO,
    workers: int | None = None,
    rebuild: bool = False,
    strict: bool = False,
    progress: Progress | None = None,
) -> Conversion:
    """Make `out` the store of the scans in `raw`: the same bytes whatever was there before, and however it is run.

    Parameters
    ----------
    raw : Catalog or path
        What `find_scans` found, or the folder to look in.
    out : path
        The store; it appears, or is replaced, in one step.
    recipe : Recipe, optional
        How a scan becomes a volume.
    scheduler : str
        `threads`, `processes`, `synchronous` (a plain loop), the address of a Dask cluster that sees both folders, or
        `auto`, which is the fastest of the first three.
    workers : int, optional
        Threads or processes; one for each core where it is not given.
    rebuild : bool
        Take nothing from the store, and replace it though it is damaged or of another recipe. What an interrupted
        conversion by the same recipe finished is not done again.
    strict : bool
        Stop at the first scan that must be rejected, and commit nothing.
    progress : callable, optional
        See `ctprep.execution.progress`.

    Returns
    -------
    Conversion

    Raises
    ------
    CatalogError
        If there are no scans, or their labels do not fit.
    RecipeMismatch
        If `out` was made by another recipe and `rebuild` is not given.
    StoreLocked
        If another conversion is writing `out`.
    TargetError
        If `out` cannot be written, or is not a store.
    NothingConverted
        If every scan was rejected, or one was and `strict` is given.

    Examples
    --------
    >>> conversion = convert("raw", "scans.zarr", recipe=Recipe(shape=(16, 16, 8)))
    >>> len(conversion.store), conversion.reused, conversion.rejected
    (17, 0, ())
    >>> convert("raw", "scans.zarr", recipe=Recipe(shape=(16, 16, 8))).reused
    17
    """
    recipe = recipe or Recipe()
    check_scheduler(scheduler, workers)
    catalog = raw if isinstance(raw, Catalog) else find_scans(raw)
    target = own_target(out, catalog.raw)
    staging = Staging(target)
    with staging.locked():
        stock = existing_volumes(staging, recipe, rebuild=rebuild)
        if stock.replaced and not rebuild and stock.replaced.recipe != recipe:
            raise _recipe_mismatch(stock.replaced, recipe)
        check_nothing_forgotten(catalog, stock.store)
        threads = 1 if scheduler == "synchronous" else workers
        plan, seen = plan_scans(catalog, stock, threads, progress or silent)
        job = _Job(catalog, recipe, staging, stock, plan, seen.stamps, strict)
        del seen  # its headers, of perhaps a hundred thousand scans
        chosen = _fastest_scheduler(job, workers) if scheduler == AUTO else scheduler
        run = partial(run_all, when_lost=lost_scan, scheduler=chosen, workers=workers)
        rejected = _commit(job, _run(job, run, progress or silent))
        return Conversion(open_store(target), job.plan, rejected)


def own_target(out: str | os.PathLike[str], raw: Path) -> Path:
    """Return the target's real path, after making sure that it is free, or a store and nothing else."""
    try:
        target = Path(out).resolve()
    except (OSError, RuntimeError) as error:  # a loop of links is a RuntimeError before Python 3.13
        raise TargetError(f"{out}: leads nowhere ({error}); choose another target") from None
    if target.exists() and not is_ctprep_store(target):
        raise TargetError(f"{out}: exists and is not a ctprep store, so it is left alone; choose another target")
    if raw.resolve().is_relative_to(target):
        raise TargetError(f"{out}: holds the raw folder, which must stay as it is; choose another target")
    if outer := next(filter(is_ctprep_store, target.parents), None):
        raise TargetError(f"{out}: lies in the store {outer}, which must stay as it is; choose another target")
    if strangers := files_of_others(target):
        raise TargetError(
            f"{out}: holds {strangers[0]} and perhaps more that ctprep did not write and would remove; move it away"
        )
    if not target.parent.is_dir():
        raise TargetError(f"{out}: its parent folder does not exist; create it first")
    return target


def existing_volumes(staging: Staging, recipe: Recipe, *, rebuild: bool) -> ExistingVolumes:
    """Return what is known of finished volumes: those of the store that is replaced only if it has the recipe."""
    replaced = _replaced(staging.target, is_optional=rebuild)
    is_usable = replaced is not None and not rebuild and replaced.recipe == recipe
    return ExistingVolumes(
        store=replaced if is_usable else None,
        work=WorkFolder(staging.work(recipe.digest)),
        remembered=load_remembered(staging.sources),
        recipe=recipe,
        replaced=replaced,
        why_all="" if is_usable else "--rebuild" if rebuild else "another recipe",
    )


def _replaced(target: Path, *, is_optional: bool) -> Store | None:
    """Open the store in the target's place, if there is one; where it is only to be rebuilt, it may be damaged."""
    if not target.exists():
        return None
    try:
        return open_store(target)
    except CTPrepError:
        if is_optional:
            return None
        raise


def _recipe_mismatch(store: Store, recipe: Recipe) -> RecipeMismatch:
    return RecipeMismatch(
        f"{store.path.name}: was made by another recipe ({'; '.join(differences(store.recipe, recipe))}); "
        "choose another target, or replace it with --rebuild"
    )


def plan_scans(
    catalog: Catalog, stock: ExistingVolumes, workers: int | None, progress: Progress
) -> tuple[Plan, Observed]:
    """Look at all scans, and decide what becomes of each; return what was seen, too."""
    seen = observe_all(catalog.scans, stock, workers=workers, progress=progress)
    plan = make_plan(catalog.scans, seen.observations, existing=stock.replaced.scans if stock.replaced else ())
    not_cropped = tuple(row.scan.id for row in plan.rows if _is_left_whole(row, stock, seen.stamps))
    notes = (*catalog.notes, *plan.notes)
    plan = replace(plan, unusable=catalog.rejected, notes=notes, classes=catalog.classes, not_cropped=not_cropped)
    return plan, seen


def _is_left_whole(row: PlanRow, stock: ExistingVolumes, stamps: Mapping[str, Stamp]) -> bool:
    """Tell whether a finished volume is one that could not be cropped."""
    if stock.recipe.crop == "none" or row.finished is None:
        return False
    if stock.store and row.finished.row is not None:
        return stock.store.records[row.finished.row].crop_box == NOT_CROPPED
    return stock.left.records[stock.left.place[stamps[row.scan.id].name_for(row.scan.id)]].crop_box == NOT_CROPPED


def _run(job: _Job, run: Callable[..., None], progress: Progress) -> list[Rejection]:
    """Convert what the plan says, leaving each finished volume in the working folder; return what was rejected."""
    _stop_if_strict(job, [*job.catalog.rejected, *_by_header(job.plan)])
    rejected: list[Rejection] = []
    tasks = (_task(job, row.scan) for row in job.plan.rows if row.action is Action.CONVERT)
    with (
        as_target_error(job.staging.target),
        progress(job.plan.count(Action.CONVERT), "converting") as advance,
        job.stock.work.open_journal() as journal,
    ):

        def keep(outcome: Outcome) -> None:
            scan, result = outcome
            if isinstance(result, Rejection):
                _stop_if_strict(job, [result])
                rejected.append(result)
            else:
                name = job.name(scan)
                chunks = {array: job.stock.work.chunk(name, array) for array in chunked_arrays(job.recipe)}
                journal.append(name, result, {array: stated_checksum(chunk) for array, chunk in chunks.items()})
            advance(1)

        run(convert_scan, tasks, keep)
    return rejected


def _rejected_files(job: _Job, rejected: Iterable[str]) -> Iterator[tuple[str, Remembered]]:
    """Yield what is to be remembered of scans that were rejected, so that a plan can say whether they have changed."""
    for scan in sorted(rejected):
        if scan in job.stamps:
            yield scan, Remembered(job.stamps[scan], "")


def _fastest_scheduler(job: _Job, workers: int | None) -> str:
    stamps = [job.stamps[row.scan.id] for row in job.plan.rows if row.action is Action.CONVERT]
    core_seconds = len(stamps) * SECONDS_PER_SCAN + sum(stamp.size for stamp in stamps) * SECONDS_PER_BYTE
    return fastest_scheduler(len(stamps), core_seconds, workers)


def _task(job: _Job, scan: Scan) -> ScanTask:
    work, name = job.stock.work, job.name(scan.id)
    lung_chunk = work.chunk(name, LUNG) if job.recipe.lung else None
    return ScanTask(
        scan.id, scan.path.absolute(), job.recipe, work.chunk(name), scan.accept, scan.orientation, lung_chunk
    )


def _by_header(plan: Plan) -> list[Rejection]:
    return [row.rejection for row in plan.rows if row.rejection]


def _stop_if_strict(job: _Job, rejected: Sequence[Rejection]) -> None:
    if job.strict and rejected:
        first = rejected[0]
        raise NothingConverted(f"{first.scan}: {first.code}: {first.reason} (nothing was committed)")


def _commit(job: _Job, by_voxels: Sequence[Rejection]) -> tuple[Rejection, ...]:
    """Put the store of all that succeeded into the target's place; return what is not in it."""
    catalog, staging = job.catalog, job.staging
    rejected = [*catalog.rejected, *_by_header(job.plan), *by_voxels]
    bad = {rejection.scan for rejection in rejected}
    volumes = FinishedVolumes.of([row for row in job.plan.rows if row.scan.id not in bad], job.stock, job.stamps)
    alike = volumes.duplicates()
    everything = tuple(sorted([*rejected, *alike]))
    _stop_if_strict(job, everything)
    kept = volumes.without({rejection.scan for rejection in alike})
    if not kept.rows:
        raise NothingConverted(
            f"{catalog.raw}: all {len(everything)} scans were rejected; no store was made", everything
        )
    with as_target_error(staging.target):
        assemble(staging.next, kept, recipe=job.recipe, classes=catalog.classes, rejected=everything)
    staging.commit()
    with suppress(OSError):  # what is remembered saves time, and nothing else
        save_remembered(staging.sources, [*volumes.to_remember(), *_rejected_files(job, bad)])
    return everything
