"""What a conversion would do, shown before it is run: the plan, and all that the headers say."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from ctprep.conversion.convert import existing_volumes, own_target, plan_scans
from ctprep.conversion.observe import ExistingVolumes, Observed, batches_of
from ctprep.conversion.planning.forgotten import check_nothing_forgotten
from ctprep.conversion.planning.plan import Action, Plan
from ctprep.conversion.staging import Staging
from ctprep.errors import BadScan
from ctprep.execution.cores import available_cores
from ctprep.execution.progress import Progress, silent
from ctprep.execution.schedule import run_in_threads
from ctprep.scans.catalog import Catalog, find_scans
from ctprep.scans.readers.formats import read_header
from ctprep.scans.readers.header import ScanHeader
from ctprep.scans.scan import Scan
from ctprep.volume.recipe import Recipe


def plan_conversion(
    raw: Catalog | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    recipe: Recipe | None = None,
    rebuild: bool = False,
    progress: Progress | None = None,
) -> Plan:
    """Decide what `convert` would do to each scan, from the headers; nothing is written.

    Parameters and errors are those of `convert`; a store of another recipe is a note, not an error.

    Examples
    --------
    >>> plan = plan_conversion("raw", "scans.zarr")
    >>> str(plan.rows[0].action), plan.rows[0].scan.id, plan.rows[0].reason
    ('convert', 'CT-0/p00_0', 'new')
    """
    recipe = recipe or Recipe()
    catalog = raw if isinstance(raw, Catalog) else find_scans(raw)
    target = own_target(out, catalog.raw)
    stock = existing_volumes(Staging(target), recipe, rebuild=rebuild)
    check_nothing_forgotten(catalog, stock.store)
    plan, seen = plan_scans(catalog, stock, None, progress or silent)
    notes = [*_notes_on_store(stock, recipe, plan, rebuild=rebuild), *plan.notes]
    headers = seen.headers | _missing_headers(plan, seen, progress or silent)
    return replace(plan, notes=tuple(notes), headers=headers, rejected_before=stock.rejected_before)


def _notes_on_store(stock: ExistingVolumes, recipe: Recipe, plan: Plan, *, rebuild: bool) -> list[str]:
    """Say in what the store in the target's place differs from what is asked, and which scans it rejected."""
    if stock.replaced is None:
        return []
    notes = []
    name = stock.replaced.path.name
    if differing := changes(stock.replaced.recipe, recipe):
        way = "" if rebuild else ", which takes --rebuild; to keep its recipe, give the options that it was made with"
        notes.append(
            f"recipe: differs from that of {name} ({', '.join(differing)}): all {plan.count(Action.CONVERT):,} scans "
            f"are converted again{way}"
        )
    if stock.rejected_before:
        codes = Counter(rejection.code for rejection in stock.rejected_before.values())
        counts = ", ".join(f"{count:,} {code}" for code, count in sorted(codes.items()))
        count = len(stock.rejected_before)
        were = "scans that were" if count > 1 else "scan that was"
        notes.append(f"rejected: {name} lacks {count:,} {were} rejected ({counts})")
    return notes


def changes(before: Recipe, now: Recipe) -> list[str]:
    """Name the fields in which a recipe differs from the one before, each with both values.

    Examples
    --------
    >>> changes(Recipe(), Recipe(shape=(32, 32, 16), dtype="uint8"))
    ['shape 64x64x32 -> 32x32x16', 'dtype float16 -> uint8']
    """
    new = asdict(now)
    return [f"{name} {_shown(old)} -> {_shown(new[name])}" for name, old in asdict(before).items() if old != new[name]]


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return "x".join(f"{number:g}" for number in value)
    return "none" if value is None else str(value)


def _missing_headers(plan: Plan, seen: Observed, progress: Progress) -> dict[str, ScanHeader]:
    """Read the headers of scans whose volumes exist, so that nothing had to be read of them, and of rejected ones."""
    scans = [row.scan for row in plan.rows if row.scan.id not in seen.headers]
    headers: dict[str, ScanHeader] = {}
    if not scans:
        return headers
    with progress(len(scans), "reading headers") as advance:

        def keep(some: Mapping[str, ScanHeader | None]) -> None:
            headers.update({scan: header for scan, header in some.items() if header is not None})
            for _ in some:
                advance(1)

        run_in_threads(_headers_of, batches_of(scans, available_cores()), keep)
    return headers


def _headers_of(scans: Sequence[Scan]) -> dict[str, ScanHeader | None]:
    return {scan.id: _header_of(scan) for scan in scans}


def _header_of(scan: Scan) -> ScanHeader | None:
    with suppress(BadScan):
        return read_header(scan.path, orientation=scan.orientation)
    return None
