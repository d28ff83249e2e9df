"""What is known of one scan: where it is and whose, what was learnt of it, or why it was rejected."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

NO_VALUE = ("", "n/a", "N/A", "NA", "nan", "NaN")
"""What tables hold where they have no value."""

UNLABELLED = -1
"""The label of a scan whose class is not known."""

UNKNOWN = -1
"""A number of voxels that nobody counted."""


NOT_CROPPED = ((-1, -1, -1), (-1, -1, -1))
"""The `crop_box` of a scan that is stored whole."""


@dataclass(frozen=True, slots=True)
class Scan:
    """One CT file with what is known of it.

    Parameters
    ----------
    id : str
        Path under the raw folder without suffix, `/` as separator.
    file : str
        Path of the file, or of that of the header.
    label : int
        Index into the classes; `UNLABELLED` where none is known.
    patient : str
        Whose scan it is; the scan's own id where nothing says otherwise.
    meta : tuple of (column, value)
        Further columns of the label table, as text.
    split : str
        The subset that the user's data put it into: train, validation or test; empty where they do not say.
    accept : tuple of str
        Codes of `errors.ACCEPTABLE_CODES` that do not reject this scan.
    orientation : str
        Three letters such as LPS: which way its axes run, should its file not say it.
    """

    id: str
    file: str
    label: int
    patient: str
    meta: tuple[tuple[str, str], ...] = ()
    split: str = ""
    accept: tuple[str, ...] = ()
    orientation: str = ""

    @property
    def path(self) -> Path:
        """The file, or that of the header."""
        return Path(self.file)


@dataclass(frozen=True, order=True)
class Rejection:
    """A scan that is left out, and why.

    Parameters
    ----------
    scan : str
        The scan's id.
    code : str
        One of `errors.REJECTION_CODES`.
    reason : str
        One line: what was found, what was expected, a way out.
    """

    scan: str
    code: str
    reason: str

    def __str__(self) -> str:
        return f"rejected  {self.code:<12}{self.scan}: {self.reason}"


@dataclass(frozen=True, slots=True)
class ScanRecord:
    """What is stored of one scan beside its volume.

    Parameters
    ----------
    affine : 4 x 4 nested tuple
        Stored voxel centre -> world RAS+ in mm.
    source_affine : 4 x 4 nested tuple
        Voxel centre of the file -> world RAS+ in mm.
    source_shape : tuple of int
        Voxels of the file, in its own axes.
    source_sha256 : str
        Of the file's bytes.
    hu_quantile : tuple of float
        The `intensity.HU_QUANTILES` before the window, in HU.
    nonfinite : int
        Voxels that were NaN or infinite within the field of view, and became air.
    padding : int
        Voxels outside the field of view, which became air; `UNKNOWN` in a store that was written before they were
        counted.
    accepted : str
        Codes of what would have rejected the scan, and was accepted, separated by blanks.
    stated_orientation : str
        The orientation that the user stated because the file does not; else empty.
    lung_ml : tuple of float
        Volume of the right and of the left lung; 0 where none was found, or nobody looked.
    crop_box : 2 x 3 nested tuple of int
        What was cropped to the lungs: its lower and upper edge in voxels of the file, along the canonical x, y and z;
        -1 where the whole scan is stored.
    """

    affine: tuple[tuple[float, ...], ...]
    source_affine: tuple[tuple[float, ...], ...]
    source_shape: tuple[int, int, int]
    source_sha256: str
    hu_quantile: tuple[float, ...]
    nonfinite: int
    padding: int = 0
    accepted: str = ""
    stated_orientation: str = ""
    lung_ml: tuple[float, float] = (0.0, 0.0)
    crop_box: tuple[tuple[int, int, int], tuple[int, int, int]] = NOT_CROPPED


def nested_tuple(value: Any) -> Any:
    """Return nested lists as nested tuples.

    Examples
    --------
    >>> nested_tuple([[1, 2], [3, 4]])
    ((1, 2), (3, 4))
    """
    return tuple(map(nested_tuple, value)) if isinstance(value, list | tuple) else value
