"""Procedural chest-CT cohorts with known truth; the heavy parts are imported when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ctprep.phantom.settings import CohortSettings

if TYPE_CHECKING:
    from ctprep.phantom.cohort import Cohort, write_cohort
    from ctprep.phantom.scan import PhantomScan, make_scan

__all__ = ["Cohort", "CohortSettings", "PhantomScan", "make_scan", "write_cohort"]

_HOMES = {"Cohort": "cohort", "write_cohort": "cohort", "PhantomScan": "scan", "make_scan": "scan"}


def __getattr__(name: str) -> Any:
    """Import a public name from its home (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
