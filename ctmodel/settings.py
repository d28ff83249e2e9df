"""What decides a training beside the store, and how it is carried out: every setting, with default and limits.

Nothing heavy is imported here, so that the command line reads its defaults at once.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

from ctmodel.errors import SettingsError

THRESHOLDS = ("half", "validation")
PRECISIONS = ("auto", "float32", "bfloat16")
STRATEGIES = ("auto", "none", "mirrored", "workers")
STRENGTHS = ("off", "light", "strong")
INTERPOLATIONS = ("nearest", "linear")
RESIDENCIES = ("auto", "stream", "host", "device")


BEFORE = {"interpolation": "linear"}
"""What runs did whose settings lack a name."""


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """The settings of one training; saved beside every run.

    Attributes
    ----------
    network : str
        Name of the network, one of `ctmodel.networks.build.NETWORKS`.
    precision : {"auto", "float32", "bfloat16"}
        What the network computes with, in training and ever after; auto is bfloat16 where the device has it in
        hardware, else float32. The run keeps which it was.
    epochs : int
        Most passes over the training part; the learning rate falls to zero along them.
    batch_size : int
        Scans per step.
    learning_rate : float
        The highest step size of Adam.
    patience : int
        Epochs without a better validation loss after which the training stops.
    validation, test : float
        Shares of the patients that choose the epoch, and that are scored at the end.
    folds : int
        Parts of a cross-validation; 0 for one split by shares.
    fold : int
        Which of the folds is the test part, from 1; it takes the place of `test`.
    seed : int
        Decides the split, the first weights, the order of the scans and their augmentation.
    class_weights : bool
        Give every class the same weight in the loss, however many scans it has.
    threshold : {"half", "validation"}
        The probability from which a scan is called positive: 0.5, or the one that is best on validation.
    augment : {"off", "light", "strong"}
        How far a scan is changed at random in each epoch; `ctmodel.data.augment.PRESETS` has the numbers.
    flip : bool
        Mirror left and right at random; off, because lungs are not symmetrical.
    interpolation : {"nearest", "linear"}
        Whether a turned or scaled scan takes each voxel from the nearest one, or from between all around. That blurs,
        and a network that has seen blurred scans alone is wrong about how sure it may be of those that it predicts.
    xla : bool
        Let XLA compile each step; it rounds otherwise, and dropout draws other numbers. Off, because it is slower on
        CPUs (tests/benchmarks/gpu.py).

    Raises
    ------
    SettingsError
        If a value is outside its limits.

    Examples
    --------
    >>> TrainSettings(epochs=5).network
    'compact'
    >>> TrainSettings(epochs=0)
    Traceback (most recent call last):
        ...
    ctmodel.errors.SettingsError: epochs: 0, expected a whole number of at least 1
    """

    network: str = "compact"
    precision: str = "auto"
    epochs: int = 40
    batch_size: int = 8
    learning_rate: float = 2e-3
    patience: int = 20
    validation: float = 0.2
    test: float = 0.2
    folds: int = 0
    fold: int = 1
    seed: int = 0
    class_weights: bool = True
    threshold: str = "half"
    augment: str = "light"
    flip: bool = False
    interpolation: str = "nearest"
    xla: bool = False

    def __post_init__(self) -> None:
        _check(self, _LIMITS)
        if self.validation + self.test >= 1 and not self.folds:
            raise SettingsError(
                f"validation and test: {self.validation} + {self.test}, expected less than 1; leave scans to train on"
            )
        if self.fold != 1 and not self.folds:
            raise SettingsError(f"fold: {self.fold}, expected the number of folds as well; add folds, as in --folds 5")
        if self.folds and self.fold > self.folds:
            raise SettingsError(f"fold: {self.fold}, expected 1 to {self.folds}, the number of folds")

    def to_dict(self) -> dict[str, Any]:
        """Return every setting by name, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "TrainSettings":
        """Return the settings that `to_dict` wrote, in this version or an older one.

        Raises
        ------
        SettingsError
            If a setting is unknown or outside its limits, or one is missing that every version wrote.
        """
        names, saved = {field.name for field in fields(cls)}, BEFORE | saved
        odd = sorted(names ^ set(saved))
        if odd:
            raise SettingsError(
                f"settings: {', '.join(odd)} missing or unknown; a newer version wrote them; use that version, or "
                "train again"
            )
        return cls(**saved)


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How a training is carried out, which does not decide what comes out; a run may be resumed with another.

    Attributes
    ----------
    checkpoint_every : float
        Seconds of training from one checkpoint to the next, 0 for one after each step; what a kill costs at most. At
        the default, checkpoints of the founding network take 0.3 % of the time (tests/benchmarks/training.py).
    strategy : {"auto", "none", "mirrored", "workers"}
        Which devices share each batch: one; or all GPUs of the machine, or all logical CPUs where there is none; or
        all GPUs of several machines, or one CPU of each, see `workers`; by default all GPUs of the machine where there
        are several. It changes the outcome by rounding alone.
    residency : {"auto", "stream", "host", "device"}
        Where the training part is meanwhile, see `residency.settle`.

    Raises
    ------
    SettingsError
        If a value is outside its limits.
    """

    checkpoint_every: float = 60.0
    strategy: str = "auto"
    residency: str = "auto"

    def __post_init__(self) -> None:
        _check(self, _EXECUTION_LIMITS)


def _check(settings: Any, limits: dict[str, tuple[Callable[[Any], bool], str]]) -> None:
    for name, (accepts, expected) in limits.items():
        value = getattr(settings, name)
        if not accepts(value):
            raise SettingsError(f"{name}: {value!r}, expected {expected}")


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Name the values that differ between two flat dictionaries, as "name: theirs, now ours".

    Examples
    --------
    >>> differences({"epochs": 9, "seed": 0}, {"epochs": 5, "seed": 0})
    ['epochs: 5, now 9']
    """
    return [f"{name}: {theirs.get(name)!r}, now {ours[name]!r}" for name in ours if ours[name] != theirs.get(name)]


def _whole(lowest: int) -> tuple[Callable[[Any], bool], str]:
    return (
        lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= lowest,
        f"a whole number of at least {lowest}",
    )


def _number(accepts: Callable[[float], bool], expected: str) -> tuple[Callable[[Any], bool], str]:
    def is_accepted(value: Any) -> bool:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and math.isfinite(value) and accepts(value)

    return is_accepted, expected


def _flag() -> tuple[Callable[[Any], bool], str]:
    return lambda value: isinstance(value, bool), "true or false"


_SHARE = _number(lambda value: 0 < value < 1, "a share above 0 and below 1")

_LIMITS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "network": (lambda value: isinstance(value, str), "the name of a network"),
    "precision": (lambda value: value in PRECISIONS, f"one of {', '.join(PRECISIONS)}"),
    "epochs": _whole(1),
    "batch_size": _whole(1),
    "learning_rate": _number(lambda value: value > 0, "a number above 0"),
    "patience": _whole(1),
    "validation": _SHARE,
    "test": _SHARE,
    "folds": (
        lambda value: _whole(0)[0](value) and value != 1,
        "0 for no folds, or a whole number of at least 2",
    ),
    "fold": _whole(1),
    "seed": (
        lambda value: _whole(0)[0](value) and value < 2**32,
        "a whole number from 0 to 4294967295",  # what NumPy's seeding takes
    ),
    "class_weights": _flag(),
    "threshold": (lambda value: value in THRESHOLDS, f"one of {', '.join(THRESHOLDS)}"),
    "augment": (lambda value: value in STRENGTHS, f"one of {', '.join(STRENGTHS)}"),
    "flip": _flag(),
    "interpolation": (lambda value: value in INTERPOLATIONS, f"one of {', '.join(INTERPOLATIONS)}"),
    "xla": _flag(),
}

_EXECUTION_LIMITS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "checkpoint_every": _number(lambda value: value >= 0, "seconds, 0 or more"),
    "strategy": (lambda value: value in STRATEGIES, f"one of {', '.join(STRATEGIES)}"),
    "residency": (lambda value: value in RESIDENCIES, f"one of {', '.join(RESIDENCIES)}"),
}
