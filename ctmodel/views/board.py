"""The history of a training as TensorBoard shows it, epoch by epoch."""

from pathlib import Path

from ctmodel.devices.backend import tf
from ctmodel.run.history import EpochReport
from ctprep.errors import TargetError

SUBSETS = {"training": "", "validation": "val_"}  # each a curve of its own in the same chart

_SCALARS = tf.compat.v1.SummaryMetadata(
    plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars")
)  # `tf.summary.scalar` writes it too, but is there only where TensorBoard is installed


class Board:
    """Writes what a training reports into a folder that TensorBoard reads; it is what `train` takes as `progress`.

    Parameters
    ----------
    folder : Path
        What former trainings wrote there stays, so that a resumed one goes on.

    Raises
    ------
    ctprep.errors.TargetError
        If it cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._make(folder)
        self._writers: dict[str, tf.summary.SummaryWriter] = {}

    def __call__(self, report: EpochReport) -> None:
        """Write one epoch: loss, AUROC and accuracy of both subsets, the step size, and the pace.

        Raises
        ------
        ctprep.errors.TargetError
            If the folder cannot be written.
        """
        epoch, pace = report.epoch, report.pace
        speed = {
            "learning rate": epoch.learning_rate,
            "volumes per second": pace.rate,
            "share of the time waiting for data": pace.waiting_share,
        }
        for subset, prefix in SUBSETS.items():
            scores = {name: getattr(epoch, prefix + name) for name in ("loss", "auroc", "accuracy")}
            self._write(subset, scores | (speed if subset == "training" else {}), step=epoch.epoch)

    def _write(self, subset: str, values: dict[str, float], *, step: int) -> None:
        try:
            if subset not in self._writers:
                self._make(self._folder / subset)
                self._writers[subset] = tf.summary.create_file_writer(str(self._folder / subset))
            with self._writers[subset].as_default(step=step):
                for name, value in values.items():
                    tf.summary.write(name, tf.constant(value, tf.float32), metadata=_SCALARS)
            self._writers[subset].flush()
        except tf.errors.OpError as error:
            raise TargetError(f"{self._folder}: cannot be written ({error.message}); choose another folder") from None

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TargetError(
                f"{self._folder}: cannot be made ({error.strerror}); choose another folder for TensorBoard"
            ) from None
