"""What a worker does: one scan becomes a chunk in the working folder and a record, or a rejection."""

from dataclasses import dataclass
from pathlib import Path

from ctprep.errors import BadScan, reason_of
from ctprep.files import write_whole
from ctprep.preparation import prepare
from ctprep.scans.scan import Rejection, ScanRecord
from ctprep.store.chunk import encode_chunk
from ctprep.volume.recipe import Recipe

Outcome = tuple[str, ScanRecord | Rejection]
"""A scan's id, and what became of it."""


@dataclass(frozen=True, slots=True)
class ScanTask:
    """All that a worker needs to convert one scan; small, so that a cluster carries it cheaply.

    Parameters
    ----------
    scan : str
        The scan's id.
    path : Path
        Its file, absolute.
    recipe : Recipe
    chunk : Path
        Where the encoded volume is left.
    accept : tuple of str
        Codes that do not reject it.
    orientation : str
        Which way its axes run, should the file not say it.
    lung_chunk : Path, optional
        Where the encoded share of lung is left, by a recipe that stores it.
    """

    scan: str
    path: Path
    recipe: Recipe
    chunk: Path
    accept: tuple[str, ...] = ()
    orientation: str = ""
    lung_chunk: Path | None = None


def convert_scan(task: ScanTask) -> Outcome:
    """Convert one scan; nothing that is wrong with it is raised.

    Raises
    ------
    OSError
        If the working folder cannot be written.
    """
    try:
        prepared = prepare(task.path, task.recipe, accept=task.accept, orientation=task.orientation)
    except BadScan as error:
        return task.scan, Rejection(task.scan, error.code, reason_of(error, task.scan))
    except Exception as error:  # noqa: BLE001 - one scan must not stop a thousand others
        reason = f"{task.path.name}: could not be prepared ({type(error).__name__}: {error}); please report this"
        return task.scan, Rejection(task.scan, "unreadable", reason)
    write_whole(task.chunk, encode_chunk(prepared.volume))
    if task.lung_chunk and prepared.lung is not None:
        write_whole(task.lung_chunk, encode_chunk(prepared.lung))
    return task.scan, prepared.record


def lost_scan(task: ScanTask) -> Outcome:
    """Reject a scan that killed every worker that tried it."""
    reason = f"{task.path.name}: killed every worker that read it, of lack of memory perhaps; look at it by itself"
    return task.scan, Rejection(task.scan, "unreadable", reason)
