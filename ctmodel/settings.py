"""The settings of a training: those that decide its result, and those of how it is run.

Nothing heavy is imported here, so that help is instant.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any

from ctmodel.errors import SettingsError
from ctprep.settings import check_settings, documented, setting

THRESHOLDS = ("half", "validation")
NETWORKS = ("compact", "founding", "lungs")
PRECISIONS = ("auto", "float32", "bfloat16")
STRATEGIES = ("auto", "none", "mirrored", "workers")
STRENGTHS = ("off", "light", "strong")
INTERPOLATIONS = ("nearest", "linear")
RESIDENCIES = ("auto", "stream", "host", "device")


BEFORE: dict[str, Any] = {"interpolation": "linear", "use_split": True}
"""What runs did whose settings lack a name."""


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
    seed: int = setting(
        0,
        "Random seed of the split, the initial weights, the order of the scans and their augmentation.",
        minimum=0,
        maximum=2**32 - 1,  # what NumPy's seeding takes
    )
    class_weights: bool = setting(True, "Give every class the same weight in the loss, whatever its number of scans.")
    threshold: str = setting(
        "half", "Decision threshold: half is 0.5, validation the best one on the validation subset.", choices=THRESHOLDS
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
        if self.folds == 1:
            raise SettingsError("folds: 1, expected 0 for no folds, or at least 2")
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


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Name the values that differ between two flat dictionaries, as "name: theirs, now ours".

    Examples
    --------
    >>> differences({"epochs": 9, "seed": 0}, {"epochs": 5, "seed": 0})
    ['epochs: 5, now 9']
    """
    return [f"{name}: {theirs.get(name)!r}, now {ours[name]!r}" for name in ours if ours[name] != theirs.get(name)]
