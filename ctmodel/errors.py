"""Everything that ctmodel refuses, under one base.

A message reads "subject: found, expected; way out". A child also inherits the builtin that a caller expects.
"""

from ctprep.errors import CTPrepError


class CTModelError(CTPrepError):
    """Base of every error that ctmodel raises on purpose; who catches `CTPrepError` catches those of both packages."""


class SettingsError(CTModelError, ValueError):
    """A training setting has a value that cannot be used."""


class SplitError(CTModelError, ValueError):
    """The scans cannot be divided into subsets that each hold every class."""


class ScoreError(CTModelError, ValueError):
    """A score is asked of numbers that do not define it."""


class NetworkError(CTModelError, ValueError):
    """A network is unknown, or does not fit the volumes or the weights."""


class TrainingDiverged(CTModelError, ArithmeticError):
    """The loss of a training became NaN or infinite."""


class BadVolume(CTModelError, ValueError):
    """A stored volume is missing or damaged, and must not be trained on."""


class StoreChanged(CTModelError, RuntimeError):
    """The store was replaced or edited while it was being read."""


class StoreMoved(CTModelError, FileNotFoundError):
    """The store that a run was trained on is no longer where it was."""


class RunError(CTModelError):
    """Base of what can be wrong with a run folder."""


class RunExists(RunError, FileExistsError):
    """A run folder is there already and would have been overwritten."""


class RunMissing(RunError, FileNotFoundError):
    """A folder is not a run, or lacks what a finished run holds."""


class RunDamaged(RunError, ValueError):
    """A file of a run cannot be read as what it should be."""


class RunLocked(RunError, BlockingIOError):
    """Another process is training in a run folder."""


class RunMismatch(RunError, ValueError):
    """A run does not belong to these settings, or to this store."""


class WorkerGone(CTModelError, ConnectionError):
    """Another machine of the same training has ended, or cannot be reached."""


class MissingTensorFlow(CTModelError, ImportError):
    """TensorFlow is not installed, and the task needs it."""
