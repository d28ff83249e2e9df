"""What each epoch showed, and what follows from it: which epoch is best, and when to stop.

The judge is the validation loss, not the AUROC: on few scans an AUROC takes few values and is soon 1, while
the loss still tells a sure network from a lucky one.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Epoch:
    """One pass over the training subset.

    Attributes
    ----------
    epoch : int
        From 1.
    learning_rate : float
    loss, auroc, accuracy : float
        Of the training subset as it was trained on: weighted cross-entropy, with dropout and augmentation.
    val_loss, val_auroc, val_accuracy : float
        Of the validation subset after the epoch; the AUROC of more than two classes is the mean over classes.
    """

    epoch: int
    learning_rate: float
    loss: float
    auroc: float
    accuracy: float
    val_loss: float
    val_auroc: float
    val_accuracy: float


@dataclass
class Pace:
    """How fast the steps of an epoch went.

    Attributes
    ----------
    volumes : int
        That were trained on.
    seconds : float
        That the steps took, with what they waited for.
    waiting : float
        Seconds of these in which the next batch was not ready.
    """

    volumes: int = 0
    seconds: float = 0.0
    waiting: float = 0.0

    @property
    def rate(self) -> float:
        """Volumes a second."""
        return self.volumes / max(self.seconds, 1e-9)

    @property
    def waiting_share(self) -> float:
        """Share of the time in which the next batch was not ready."""
        return self.waiting / max(self.seconds, 1e-9)


@dataclass(frozen=True)
class EpochReport:
    """What a training tells its caller after each epoch.

    Attributes
    ----------
    epoch : Epoch
    epochs : int
        Most epochs there will be.
    seconds : float
        Duration of the epoch, or of what was left of it after an interruption, with its validation.
    pace : Pace
        Of its steps.
    is_best : bool
        Whether no epoch so far was better on validation.
    """

    epoch: Epoch
    epochs: int
    seconds: float
    pace: Pace
    is_best: bool

    @property
    def seconds_left(self) -> float:
        """How long all epochs that may come take if each takes as long as this one."""
        return self.seconds * (self.epochs - self.epoch.epoch)

    def __str__(self) -> str:
        epoch = self.epoch
        left = f", {_duration(self.seconds_left)} left" if self.epochs > epoch.epoch else ""
        return (
            f"epoch {epoch.epoch:>{len(str(self.epochs))}}/{self.epochs}  "
            f"loss {_digits(epoch.loss)} AUROC {epoch.auroc:.3f}  "
            f"validation {_digits(epoch.val_loss)} AUROC {epoch.val_auroc:.3f}  "
            f"{_duration(self.seconds)}{left}{'  best' if self.is_best else ''}"
        )


def _digits(loss: float) -> str:
    return f"{loss:.3f}" if loss < 10 else f"{loss:.3g}"


def _duration(seconds: float) -> str:
    """Return a duration in the largest unit of which there are two or more."""
    for name, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


@dataclass(frozen=True)
class FoldReport:
    """What a cross-validation tells its caller after each epoch.

    Attributes
    ----------
    fold, folds : int
        Which training it is, from 1, and how many there are in all repeats.
    report : EpochReport
        Of this training.
    """

    fold: int
    folds: int
    report: EpochReport

    @property
    def done(self) -> int:
        """Epochs of all trainings that are over, those among them that were not needed."""
        return (self.fold - 1) * self.report.epochs + self.report.epoch.epoch

    @property
    def total(self) -> int:
        """Most epochs there will be in all trainings."""
        return self.folds * self.report.epochs


def best_epoch(history: Sequence[Epoch]) -> Epoch:
    """Return the first epoch with the lowest validation loss."""
    return min(history, key=lambda epoch: epoch.val_loss)


def is_over(history: Sequence[Epoch], *, epochs: int, patience: int) -> bool:
    """Return whether a training has come to its end.

    Parameters
    ----------
    history : sequence of Epoch
        All epochs so far.
    epochs : int
        The most there may be.
    patience : int
        Epochs without a better one after which there is no point in going on.

    Returns
    -------
    bool
    """
    if not history:
        return False
    return len(history) >= epochs or len(history) - best_epoch(history).epoch >= patience
