"""Whether a conversion would strip a store of what an earlier one was told: labels, patients, a split, columns."""

from collections.abc import Mapping

from ctprep.errors import CatalogError
from ctprep.scans.catalog import Catalog
from ctprep.scans.scan import UNLABELLED, Scan
from ctprep.store.store import Store


def check_nothing_forgotten(catalog: Catalog, store: Store | None) -> None:
    """Refuse a catalog that knows nothing of a kind that the store knows of the same scans: its table was forgotten.

    Parameters
    ----------
    catalog : Catalog
    store : Store, optional
        What the conversion would replace; nothing where it is rebuilt.

    Raises
    ------
    CatalogError
        Naming what would be lost, and the options that keep it.
    """
    if store is None:
        return
    now = {scan.id: scan for scan in catalog.scans}
    rows = [row for row, scan in enumerate(store.scans) if scan in now]
    lost = [
        what
        for what, is_lost in _lost(store, rows, now, catalog.without_patient < len(catalog.scans)).items()
        if is_lost
    ] + _lost_classes(catalog, store, rows)
    if lost:
        raise CatalogError(
            f"{store.path.name}: would lose {' and '.join(lost)} of {len(rows)} scans, which nothing names any more; "
            "give the table (--labels) and the options of the conversion before (--classes, --patient-pattern, "
            "--split-folders), or convert without them with --rebuild"
        )


def _lost(store: Store, rows: list[int], now: Mapping[str, Scan], names_patients: bool) -> dict[str, bool]:
    """Return of what kinds the store says something of these rows, and the catalog nothing."""
    scans = [now[store.scans[row]] for row in rows]
    known = {
        "the labels": (
            any(store.labels[row] != UNLABELLED for row in rows),
            any(scan.label != UNLABELLED for scan in scans),
        ),
        "the patients": (
            any(store.patients[row] != store.scans[row] for row in rows),
            names_patients,
        ),
        "the split": (bool(store.splits) and any(store.splits[row] for row in rows), any(scan.split for scan in scans)),
        f"the columns {', '.join(sorted(store.meta))}": (bool(store.meta and rows), any(scan.meta for scan in scans)),
    }
    return {what: before and not after for what, (before, after) in known.items()}


def _lost_classes(catalog: Catalog, store: Store, rows: list[int]) -> list[str]:
    """Return the classes of the store, where the user named none this time and nothing is left of them."""
    before = sorted({store.classes[store.labels[row]] for row in rows if store.labels[row] != UNLABELLED})
    if catalog.has_named_classes or not catalog.classes or not set(before).isdisjoint(catalog.classes):
        return []
    return [f"the classes {', '.join(before)}"] * bool(before)
