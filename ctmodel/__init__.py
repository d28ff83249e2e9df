"""Train and evaluate 3D CNNs on a store of prepared chest CTs.

Importing the package imports nothing heavy: each public name is loaded on its first use.
"""

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ctmodel.errors import CTModelError as CTModelError
    from ctmodel.evaluate import Evaluation as Evaluation
    from ctmodel.evaluate import evaluate as evaluate
    from ctmodel.predict import Prediction as Prediction
    from ctmodel.predict import predict as predict
    from ctmodel.settings import TrainSettings as TrainSettings
    from ctmodel.train import RunResult as RunResult
    from ctmodel.train import train as train

_MODULE_OF = {
    "CTModelError": "ctmodel.errors",
    "Evaluation": "ctmodel.evaluate",
    "Prediction": "ctmodel.predict",
    "RunResult": "ctmodel.train",
    "TrainSettings": "ctmodel.settings",
    "evaluate": "ctmodel.evaluate",
    "predict": "ctmodel.predict",
    "train": "ctmodel.train",
}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(types.ModuleType):
    """A package whose functions keep their names when submodules of the same name are imported.

    Importing `ctmodel.train` from anywhere binds that module to the package's attribute `train`, where users
    expect the function.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _MODULE_OF and isinstance(value, types.ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
