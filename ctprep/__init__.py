"""From folders of chest CTs to one store of prepared volumes.

>>> import ctprep
>>> ctprep.Recipe(shape=(64, 64, 32)).dtype
'float16'
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ctprep.catalog import Catalog, find_scans
    from ctprep.convert import Conversion, convert, plan_conversion
    from ctprep.errors import CTPrepError
    from ctprep.export import export
    from ctprep.prepare import prepare
    from ctprep.recipe import Recipe
    from ctprep.store import Store, open_store

_HOMES = {
    "CTPrepError": "errors",
    "Catalog": "catalog",
    "Conversion": "convert",
    "Recipe": "recipe",
    "Store": "store",
    "convert": "convert",
    "export": "export",
    "find_scans": "catalog",
    "open_store": "store",
    "plan_conversion": "convert",
    "prepare": "prepare",
}
"""Public names and the modules they live in, imported on first use: `ctprep --help` needs none of them."""

__all__ = [
    "CTPrepError",
    "Catalog",
    "Conversion",
    "Recipe",
    "Store",
    "convert",
    "export",
    "find_scans",
    "open_store",
    "plan_conversion",
    "prepare",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ctprep' has no attribute {name!r}")
    value = getattr(import_module(f"ctprep.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


class _Package(ModuleType):
    """A package whose public functions are not hidden by submodules of the same name when those are imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
