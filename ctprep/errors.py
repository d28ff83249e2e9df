"""What can go wrong in ctprep, as one family of exceptions.

A `BadScan` speaks of one scan and becomes a rejection; every other error stops the command.
"""

import shlex


class CTPrepError(Exception):
    """Base of every error that ctprep and ctmodel raise on purpose; its text is one line for a person."""


class RecipeError(CTPrepError, ValueError):
    """A recipe that cannot be followed: an empty window, a shape of zero, an unknown dtype."""


class CatalogError(CTPrepError, ValueError):
    """Folders, tables or class mappings that do not say which scans there are."""


class PhantomError(CTPrepError, ValueError):
    """A phantom cohort that cannot be drawn or written."""


class SchedulerError(CTPrepError, ValueError):
    """A scheduler or a number of workers that cannot be had."""


class StoreError(CTPrepError, ValueError):
    """A store that is damaged, or is not what was asked for."""


class StoreNotFound(StoreError, FileNotFoundError):
    """No store is at this path."""


class ScanNotFound(StoreError, KeyError):
    """The store holds no scan of this id."""

    __str__ = Exception.__str__  # KeyError would print the message in quotes


class RecipeMismatch(StoreError):
    """The target holds a store of another recipe."""


class StoreLocked(StoreError, BlockingIOError):
    """Another conversion is writing this store."""


class TargetError(CTPrepError, OSError):
    """The target cannot be written, or is something that ctprep must not touch."""


class NothingConverted(CTPrepError, ValueError):
    """Every scan was rejected, or a strict conversion met the first one; nothing was committed."""

    def __init__(self, message: str, rejected: tuple = ()) -> None:
        super().__init__(message)
        self.rejected = rejected


class BadScan(CTPrepError, ValueError):
    """A scan that cannot be trusted; `code` is one of the rejection codes.

    Parameters
    ----------
    message : str
    acceptable : bool
        Whether the scan can be prepared nevertheless, where its code is accepted.
    """

    code = "unreadable"

    def __init__(self, message: str, *, acceptable: bool = False) -> None:
        super().__init__(message)
        self.acceptable = acceptable


class Unreadable(BadScan):
    """Of no known format, empty, or not permitted."""

    code = "unreadable"


class Truncated(BadScan):
    """The file ends before its voxels do."""

    code = "truncated"


class ChecksumMismatch(BadScan):
    """The gzip or zlib stream is damaged: its structure, CRC or length does not match."""

    code = "checksum"


class BadGeometry(BadScan):
    """No usable affine, zero or non-finite spacing, or an absurd size."""

    code = "geometry"


class NotThreeD(BadScan):
    """The file holds something other than one volume."""

    code = "not-3d"


class UnsupportedDtype(BadScan):
    """Voxels that are not real numbers: RGB, complex."""

    code = "dtype"


class Oversize(BadScan):
    """The header declares more than the limit, or more than the file can hold."""

    code = "oversize"


class NonFinite(BadScan):
    """Too many voxels are NaN or infinite."""

    code = "non-finite"


class NotHounsfield(BadScan):
    """The values cannot be Hounsfield units."""

    code = "not-hu"


class Constant(BadScan):
    """Every voxel has the same value."""

    code = "constant"


class Coverage(BadScan):
    """Too few slices, or too few millimetres, to be a chest."""

    code = "coverage"


class Duplicate(BadScan):
    """The same bytes as another scan."""

    code = "duplicate"


class Vanished(BadScan):
    """The file disappeared or changed while it was read."""

    code = "vanished"


def message_of(error: Exception) -> str | None:
    """Return the one line that a user is told of an error; None where the error is a defect of the program."""
    if isinstance(error, CTPrepError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        named = error.filename2 or error.filename
        return f"{named}: {error.strerror}" if named else error.strerror
    if isinstance(error, RuntimeError) and "Symlink loop" in str(error):  # an OSError from Python 3.13 on
        return str(error)
    return None


REJECTION_CODES = tuple(child.code for child in BadScan.__subclasses__())

ACCEPTABLE_CODES = (Coverage.code, NonFinite.code, NotHounsfield.code)
"""What can be accepted of one scan, for it can be prepared nevertheless."""


def reason_of(error: BadScan, scan: str) -> str:
    """Return why a scan is rejected, with the option that accepts it where there is one.

    Examples
    --------
    >>> reason_of(Coverage("a.nii: has 3 slices", acceptable=True), "CT-0/a")
    'a.nii: has 3 slices, or accept it with --accept CT-0/a=coverage'
    """
    option = f"--accept {shlex.quote(f'{scan}={error.code}')}"
    return f"{error}, or accept it with {option}" if error.acceptable else str(error)
