"""The settings of a training, of how it is run, and of an evaluation.

Nothing heavy is imported here, so that help is instant.
"""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from ctmodel.errors import SettingsError
from ctprep.settings import check_settings, documented, setting

NETWORKS = ("compact", "founding", "lungs")
THRESHOLDS = "half, a probability such as 0.3, youden, sensitivity=0.9, specificity=0.9 or cost=5:1"
"""What a decision threshold can be chosen by, as an error and help say it."""
KEPT = "kept"
"""The threshold of a run: the one that an evaluation kept in it, else that of its training."""
PRECISIONS = ("auto", "float32", "bfloat16")
STRATEGIES = ("auto", "none", "mirrored", "workers")
STRENGTHS = ("off", "light", "strong")
INTERPOLATIONS = ("nearest", "linear")
RESIDENCIES = ("auto", "stream", "host", "device")
SEED_OF_TRAINING = -1
MAX_SEED = 2**32 - 1  # what NumPy's seeding takes

OF_ONE_FOLD = ("test", "folds", "fold", "leave_out", "split_seed")
"""The training settings that a cross-validation decides itself."""

BEFORE: dict[str, Any] = {
    "interpolation": "linear",
    "use_split": True,
    "calibrate": False,
    "group": "",
    "leave_out": "",
    "split_seed": SEED_OF_TRAINING,
}
"""What runs did whose settings lack a name."""

GROUP = "Column of the store, such as the site or the scanner: no value of it is in two subsets."


@dataclass(frozen=True)
class ThresholdRule:
    """What a threshold is chosen for.

    Attributes
    ----------
    kind : {"number", "youden", "sensitivity", "specificity", "cost"}
    value : float
        The number, the least rate, or how many times as much a missed positive costs as a negative that is called.
    """

    kind: str
    value: float


def parse_threshold(text: str) -> ThresholdRule:
    """Return the rule that a text names.

    Parameters
    ----------
    text : str
        half, which is 0.5; a probability; youden, or validation as version 0.1 called it; or a rule with a number.

    Raises
    ------
    SettingsError
        If it names none, or its number is out of range.

    Examples
    --------
    >>> parse_threshold("cost=5:1")
    ThresholdRule(kind='cost', value=5.0)
    """
    name, _, argument = text.strip().partition("=")
    try:
        match name:
            case "half" if not argument:
                return ThresholdRule("number", 0.5)
            case "youden" | "validation" if not argument:
                return ThresholdRule("youden", math.nan)
            case "sensitivity" | "specificity":
                return ThresholdRule(name, _in_unit(float(argument), above_0=True))
            case "cost":
                missed, called = (float(cost) for cost in argument.split(":"))
                if missed > 0 and called > 0 and 0 < missed / called < math.inf:
                    return ThresholdRule("cost", missed / called)
            case _ if not argument:
                return ThresholdRule("number", _in_unit(float(name), above_0=False))
    except ValueError:
        pass
    raise SettingsError(f"threshold: {text!r}, expected {THRESHOLDS}")


def _in_unit(number: float, *, above_0: bool) -> float:
    if not 0 <= number <= 1 or (above_0 and number == 0):
        raise ValueError
    return number


@documented
@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """The settings of one training; saved beside every run.

    Raises
    ------
    SettingsError
        If a value is outside its limits.

    Examples
    --------
    >>> TrainSettings(epochs=5).network
    'lungs'
    >>> TrainSettings(epochs=0)
    Traceback (most recent call last):
        ...
    ctmodel.errors.SettingsError: epochs: 0, expected a whole number of at least 1
    """

    network: str = setting(
        "lungs",
        "The network: lungs, which weighs fixed numbers of lung texture; compact, a small residual network; or "
        "founding, the network of the founding study. Or a function of your own that returns a Keras model.",
        choices=NETWORKS,
        beside="MODULE:FUNCTION",
    )
    precision: str = setting(
        "auto",
        "Number format in which the network computes; auto is bfloat16 where the device has it in hardware, "
        "else float32. A run keeps the format that it was trained in.",
        choices=PRECISIONS,
    )
    epochs: int = setting(40, "Maximum number of epochs; the learning rate falls to zero over them.", minimum=1)
    batch_size: int = setting(8, "Scans per training step.", minimum=1)
    learning_rate: float = setting(2e-3, "Maximum learning rate of the Adam optimizer.", minimum=0, exclusive=True)
    patience: int = setting(20, "Stop after this many epochs without a lower validation loss.", minimum=1)
    validation: float = setting(
        0.2,
        "Share of the patients in the validation subset, which selects the best epoch.",
        minimum=0,
        maximum=1,
        exclusive=True,
    )
    test: float = setting(
        0.2,
        "Share of the patients in the test subset, which is scored once, at the end.",
        minimum=0,
        maximum=1,
        exclusive=True,
    )
    folds: int = setting(
        0, "Number of folds of a cross-validation; 0 for one split by the shares of the patients.", minimum=0
    )
    fold: int = setting(1, "The fold that is the test subset, from 1; it replaces the test share.", minimum=1)
    group: str = setting("", GROUP)
    leave_out: str = setting(
        "",
        "COLUMN=VALUE: the scans with this value in a column of the store are the test subset, such as those of one "
        "site; it replaces the test share.",
    )
    seed: int = setting(
        0,
        "Random seed of the split, the initial weights, the order of the scans and their augmentation.",
        minimum=0,
        maximum=MAX_SEED,
    )
    split_seed: int = setting(
        SEED_OF_TRAINING, "Random seed of the split alone; -1 for the seed above.", minimum=-1, maximum=MAX_SEED
    )
    class_weights: bool = setting(True, "Give every class the same weight in the loss, whatever its number of scans.")
    threshold: str = setting(
        "half",
        "Decision threshold: half is 0.5; a number is taken as it is; youden, sensitivity=0.9, specificity=0.9 and "
        "cost=5:1 choose it on the validation subset.",
    )
    calibrate: bool = setting(
        True,
        "Scale the probabilities by a temperature that is fitted on the validation subset, where that helps beyond "
        "chance.",
    )
    augment: str = setting(
        "light",
        "Data augmentation: each time, a scan is rotated, scaled and shifted by a small random amount; strong also "
        "changes its intensity, cuts a box out of it, and mixes it and its label with another.",
        choices=STRENGTHS,
    )
    flip: bool = setting(False, "Mirror scans at random, left to right; off because lungs are not symmetric.")
    interpolation: str = setting(
        "nearest",
        "Interpolation of rotated and scaled scans; linear blurs them, and a network that was trained on blurred "
        "scans is poorly calibrated on others.",
        choices=INTERPOLATIONS,
    )
    use_split: bool = setting(
        True, "Use the split that the data came with, if there is one; it replaces the shares of the patients."
    )
    xla: bool = setting(  # off, because it is slower on CPUs (tests/benchmarks/gpu.py)
        False, "Compile each training step with XLA, for one GPU; it is slower on CPUs, and rounds differently."
    )

    def __post_init__(self) -> None:
        check_settings(self, SettingsError)
        parse_threshold(self.threshold)
        if self.folds == 1:
            raise SettingsError("folds: 1, expected 0 for no folds, or at least 2")
        if self.validation + self.test >= 1 and not (self.folds or self.leave_out):
            raise SettingsError(
                f"validation and test: {self.validation} + {self.test}, expected less than 1; leave scans to train on"
            )
        if self.fold != 1 and not self.folds:
            raise SettingsError(f"fold: {self.fold}, expected the number of folds as well; add folds, as in --folds 5")
        if self.folds and self.fold > self.folds:
            raise SettingsError(f"fold: {self.fold}, expected 1 to {self.folds}, the number of folds")
        if self.leave_out and not all(self.leave_out.partition("=")):
            raise SettingsError(f"leave_out: {self.leave_out!r}, expected COLUMN=VALUE, as in site=B")
        if self.leave_out and (self.folds or self.group):
            raise SettingsError("leave_out: chooses the test subset by itself; leave out folds and group")

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


@documented
@dataclass(frozen=True, kw_only=True)
class Execution:
    """How a training is run, which does not change its result; a run may be resumed with another.

    Raises
    ------
    SettingsError
        If a value is outside its limits.

    Examples
    --------
    >>> Execution(strategy="none").residency
    'auto'
    """

    checkpoint_every: float = setting(
        60.0,  # which takes 0.3 % of the time of the founding network (tests/benchmarks/training.py)
        "Seconds from one checkpoint to the next, 0 for one after each step. If the machine dies, you lose at most the "
        "training since the last one; Ctrl-C and SIGTERM lose nothing.",
        minimum=0,
    )
    strategy: str = setting(
        "auto",
        "The devices that share each batch. none: one device; mirrored: all GPUs of the machine, or its logical CPUs "
        "where it has no GPU; workers: the machines of TF_CONFIG, on each of which this command is started; auto: "
        "all GPUs where there are several, else one device. The result differs by rounding only.",
        choices=STRATEGIES,
    )
    residency: str = setting(
        "auto",
        "Where the training subset is kept. stream: read from the store in every epoch; host: in memory; device: in "
        "the memory of the GPU; auto: the fastest that fits.",
        choices=RESIDENCIES,
    )

    def __post_init__(self) -> None:
        check_settings(self, SettingsError)


@documented
@dataclass(frozen=True, kw_only=True)
class FoldSettings:
    """How a cross-validation divides the scans into folds; saved beside its runs.

    Raises
    ------
    SettingsError
        If a value is outside its limits.

    Examples
    --------
    >>> FoldSettings(folds=3).repeats
    1
    >>> FoldSettings(leave_out="site", group="scanner")
    Traceback (most recent call last):
        ...
    ctmodel.errors.SettingsError: leave_out: divides by a column itself; leave out group
    """

    folds: int = setting(5, "Number of folds; --leave-out has one for each value instead.", minimum=2)
    repeats: int = setting(1, "How often to cross-validate, each time with other folds and other seeds.", minimum=1)
    group: str = setting("", GROUP)
    leave_out: str = setting(
        "", "Column of the store, such as the site: each fold tests on the scans of one of its values."
    )

    def __post_init__(self) -> None:
        check_settings(self, SettingsError)
        if self.leave_out and self.group:
            raise SettingsError("leave_out: divides by a column itself; leave out group")

    def to_dict(self) -> dict[str, Any]:
        """Return every setting by name, ready for JSON."""
        return asdict(self)


@documented
@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """What an evaluation computes.

    Raises
    ------
    SettingsError
        If a value is outside its limits.

    Examples
    --------
    >>> EvaluationSettings(threshold="sensitivity=0.9").prevalence is None
    True
    >>> EvaluationSettings(threshold="best")
    Traceback (most recent call last):
        ...
    ctmodel.errors.SettingsError: threshold: 'best', expected half, a probability such as 0.3, youden, \
sensitivity=0.9, specificity=0.9 or cost=5:1
    """

    threshold: str = setting(
        KEPT,
        "Decision threshold: kept is that of the run; half is 0.5; a number is taken as it is; youden, "
        "sensitivity=0.9, specificity=0.9 and cost=5:1 choose it on the validation subset of the run.",
    )
    by: str | None = setting(
        None,
        "Also score each value of this column of the store, and compare it with all other scans; of a number with "
        "many values, each quarter of the scans.",
    )
    prevalence: float | None = setting(
        None, "Also give the predictive values for this share of positives, such as 0.05 of a screening."
    )
    ordered: bool = setting(
        False, "The classes are in the order of severity: also give quadratic kappa and the mean distance of classes."
    )

    def __post_init__(self) -> None:
        check_settings(self, SettingsError)
        if self.threshold != KEPT:
            parse_threshold(self.threshold)
        if self.prevalence is not None and not 0 < self.prevalence < 1:
            raise SettingsError(f"prevalence: {self.prevalence!r}, expected more than 0 and less than 1; 5 % is 0.05")


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Name the values that differ between two flat dictionaries, as "name: theirs, now ours".

    Examples
    --------
    >>> differences({"epochs": 9, "seed": 0}, {"epochs": 5, "seed": 0})
    ['epochs: 5, now 9']
    """
    return [f"{name}: {theirs.get(name)!r}, now {ours[name]!r}" for name in ours if ours[name] != theirs.get(name)]
