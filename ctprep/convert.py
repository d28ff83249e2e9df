"""From a folder of scans to a store: plan, run the plan, commit it."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ctprep.catalog import Catalog, find_scans
from ctprep.errors import NothingConverted, RecipeMismatch, StoreError, TargetError
from ctprep.observe import Stock, observe_all
from ctprep.plan import Action, Plan, duplicates, make_plan
from ctprep.recipe import Recipe, differences
from ctprep.scan import Rejection, Scan, ScanRecord
from ctprep.scan_task import Outcome, ScanTask, convert_scan, lost_scan
from ctprep.schedule import check_scheduler, run_all
from ctprep.sources import Remembered, Stamp, load_remembered, save_remembered
from ctprep.staging import Staging, link_or_copy, said_of_target
from ctprep.store import Store, is_ctprep_store, open_store
from ctprep.store_format import StoreContents, chunk_path, stated_checksum, write_tables

Progress = Callable[[int], AbstractContextManager[Callable[[int], object]]]
"""Given a number of scans, a context whose value is called with 1 after each of them."""


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


@dataclass(frozen=True)
class _Job:
    """All that stays the same during a conversion."""

    catalog: Catalog
    recipe: Recipe
    staging: Staging
    plan: Plan
    stamps: Mapping[str, Stamp]
    strict: bool

    def places(self, scan: str) -> tuple[Path, Path]:
        """Return where the chunk and the record of a scan are left."""
        return Stock.places(self.staging.work(self.recipe.digest), scan, self.stamps[scan])


Results = Mapping[str, ScanRecord | Rejection]
"""What became of each scan that was converted, by id."""


def convert(
    raw: Catalog | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    recipe: Recipe | None = None,
    scheduler: str = "threads",
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
        `threads`, `processes`, `synchronous` (a plain loop) or the address of a Dask cluster that sees both folders.
    workers : int, optional
        Threads or processes; one for each core where it is not given.
    rebuild : bool
        Convert every scan again, and replace a store of another recipe or a damaged one.
    strict : bool
        Stop at the first scan that must be rejected, and commit nothing.
    progress : callable, optional
        See `Progress`.

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
    """
    recipe = recipe or Recipe()
    check_scheduler(scheduler, workers)
    catalog = raw if isinstance(raw, Catalog) else find_scans(raw)
    target = _own_target(out)
    staging = Staging(target)
    with staging.locked():
        existing = None if rebuild else _existing(target, recipe)
        job = _Job(catalog, recipe, staging, *_plan(catalog, recipe, staging, existing), strict)
        results = _run(
            job, partial(run_all, when_lost=lost_scan, scheduler=scheduler, workers=workers), progress or _silent
        )
        return _commit(job, results)


def plan_conversion(
    raw: Catalog | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    recipe: Recipe | None = None,
    rebuild: bool = False,
) -> Plan:
    """Decide what `convert` would do to each scan; nothing is written.

    Parameters and errors are those of `convert`.
    """
    recipe = recipe or Recipe()
    catalog = raw if isinstance(raw, Catalog) else find_scans(raw)
    target = _own_target(out)
    existing = None if rebuild else _existing(target, recipe)
    return _plan(catalog, recipe, Staging(target), existing)[0]


def _own_target(out: str | os.PathLike[str]) -> Path:
    """Return the target's real path, after making sure that it is free or a store."""
    target = Path(out).resolve()
    if target.exists() and not is_ctprep_store(target):
        raise TargetError(f"{out}: exists and is not a ctprep store, so it is left alone; choose another target")
    if not target.parent.is_dir():
        raise TargetError(f"{out}: its parent folder does not exist; create it first")
    return target


def _existing(target: Path, recipe: Recipe) -> Store | None:
    if not target.exists():
        return None
    try:
        store = open_store(target)
    except StoreError as error:
        raise StoreError(f"{error}; it is left alone: replace it with --rebuild") from None
    if store.recipe != recipe:
        raise RecipeMismatch(
            f"{target.name}: was made by another recipe ({'; '.join(differences(store.recipe, recipe))}); "
            "choose another target, or replace it with --rebuild"
        )
    return store


def _plan(
    catalog: Catalog, recipe: Recipe, staging: Staging, existing: Store | None
) -> tuple[Plan, Mapping[str, Stamp]]:
    remembered = load_remembered(staging.sources)
    observations, stamps = observe_all(catalog.scans, Stock(existing, staging.work(recipe.digest), remembered))
    return make_plan(catalog.scans, observations, existing=existing.scans if existing else ()), stamps


def _run(job: _Job, run: Callable[..., None], progress: Progress) -> Results:
    """Convert what the plan says, leaving each finished volume in the working folder."""
    _stop_if_strict(job, [*job.catalog.rejected, *_by_header(job.plan)])
    rows = [row for row in job.plan.rows if row.action is Action.CONVERT]
    results: dict[str, ScanRecord | Rejection] = {}
    with said_of_target(job.staging.target), progress(len(rows)) as advance:
        job.staging.work(job.recipe.digest).mkdir(parents=True, exist_ok=True)

        def keep(outcome: Outcome) -> None:
            scan, result = outcome
            if isinstance(result, Rejection):
                _stop_if_strict(job, [result])
            results[scan] = result
            advance(1)

        run(convert_scan, (_task(job, row.scan) for row in rows), keep)
    return results


def _silent(_total: int) -> AbstractContextManager[Callable[[int], object]]:
    return nullcontext(lambda _count: None)


def _task(job: _Job, scan: Scan) -> ScanTask:
    return ScanTask(scan.id, scan.path.absolute(), job.recipe, *job.places(scan.id))


def _by_header(plan: Plan) -> list[Rejection]:
    return [row.rejection for row in plan.rows if row.rejection]


def _stop_if_strict(job: _Job, rejected: Sequence[Rejection]) -> None:
    if job.strict and rejected:
        first = rejected[0]
        raise NothingConverted(f"{first.scan}: {first.code}: {first.reason} (nothing was committed)")


def _commit(job: _Job, results: Results) -> Conversion:
    """Put the store of all that succeeded into the target's place."""
    catalog, staging = job.catalog, job.staging
    records, chunks = _finished(job, results)
    rejected = _all_rejections(job, results, records)
    _stop_if_strict(job, rejected)
    bad = {rejection.scan for rejection in rejected}
    kept = tuple(scan for scan in catalog.scans if scan.id not in bad)
    if not kept:
        raise NothingConverted(f"{catalog.raw}: all {len(rejected)} scans were rejected; no store was made", rejected)
    with said_of_target(staging.target):
        checksums = _gather(staging.next, [chunks[scan.id] for scan in kept])
        kept_records = tuple(records[scan.id] for scan in kept)
        write_tables(staging.next, StoreContents(job.recipe, catalog.classes, kept, kept_records, checksums, rejected))
    staging.commit()
    with suppress(OSError):  # what is remembered saves time, and nothing else
        save_remembered(staging.sources, _to_remember(job.stamps, records))
    return Conversion(open_store(staging.target), job.plan, rejected)


def _finished(job: _Job, results: Results) -> tuple[dict[str, ScanRecord], dict[str, Path]]:
    """Return the record and the chunk of every scan that has them."""
    records: dict[str, ScanRecord] = {}
    chunks: dict[str, Path] = {}
    for row in job.plan.rows:
        scan, result = row.scan.id, results.get(row.scan.id)
        if row.finished:
            records[scan], chunks[scan] = row.finished.record, row.finished.chunk
        elif isinstance(result, ScanRecord):
            records[scan], chunks[scan] = result, job.places(scan)[0]
    return records, chunks


def _all_rejections(job: _Job, results: Results, records: Mapping[str, ScanRecord]) -> tuple[Rejection, ...]:
    by_voxels = [result for result in results.values() if isinstance(result, Rejection)]
    good = [scan for scan in job.catalog.scans if scan.id in records]
    alike = duplicates(good, {scan.id: records[scan.id].source_sha256 for scan in good})
    return tuple(sorted([*job.catalog.rejected, *_by_header(job.plan), *by_voxels, *alike]))


def _gather(folder: Path, chunks: list[Path]) -> tuple[int, ...]:
    """Put the chunks of all rows into a new tree; return their checksums."""
    (folder / chunk_path(0)).parent.mkdir(parents=True)
    for row, chunk in enumerate(chunks):
        link_or_copy(chunk, folder / chunk_path(row))
    return tuple(stated_checksum(folder / chunk_path(row)) for row in range(len(chunks)))


def _to_remember(stamps: Mapping[str, Stamp], records: Mapping[str, ScanRecord]) -> dict[str, Remembered]:
    return {scan: Remembered(stamps[scan], record.source_sha256) for scan, record in records.items()}
