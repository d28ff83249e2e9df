"""What the user decides of single scans: which rejections are accepted, and which way the axes run."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches

from ctprep.errors import ACCEPTABLE_CODES, CatalogError
from ctprep.scans.readers.formats import SUFFIX
from ctprep.scans.scan import Rejection, Scan
from ctprep.volume.grid import is_orientation

EVERY_SCAN = ""
"""Stands for all scans that are not named."""


def choose_per_scan(
    scans: Sequence[Scan],
    *,
    accept: Mapping[str, str | Sequence[str]],
    orientation: str | Mapping[str, str],
    known: Collection[Rejection] = (),
    where: str,
) -> list[Scan]:
    """Return the scans with what is chosen for each.

    Parameters
    ----------
    scans : sequence of Scan
    accept : mapping of str to str or sequence of str
        Codes by scan id.
    orientation : str or mapping of str to str
        Of all scans, or by scan id.
    known : collection of Rejection
        Scans that may be named, too, but cannot be used.
    where : str
        What holds the scans, as a message says it.

    Raises
    ------
    CatalogError
        If an id names no scan, a code cannot be accepted, or letters are no orientation.
    """
    orientations = {EVERY_SCAN: orientation} if isinstance(orientation, str) else orientation
    ids = dict.fromkeys([*(scan.id for scan in scans), *(rejection.scan for rejection in known)])
    codes = {
        _id_of(scan, ids, "accept", where): check_codes([codes] if isinstance(codes, str) else codes, scan)
        for scan, codes in accept.items()
    }
    letters = {
        scan and _id_of(scan, ids, "orientation", where): _checked_letters(letters)
        for scan, letters in orientations.items()
    }
    everywhere = letters.get(EVERY_SCAN, "")
    return [
        replace(scan, accept=codes.get(scan.id, ()), orientation=letters.get(scan.id, everywhere)) for scan in scans
    ]


def check_codes(codes: Sequence[str], scan: str) -> tuple[str, ...]:
    """Return the codes that are accepted of a scan, sorted, each once.

    Raises
    ------
    CatalogError
        If one cannot be accepted.
    """
    for code in codes:
        if code not in ACCEPTABLE_CODES:
            raise CatalogError(
                f"accept: {code!r} of {scan} cannot be accepted, only {', '.join(ACCEPTABLE_CODES)} can; repair the "
                "scan or leave it out"
            )
    return tuple(sorted(set(codes)))


def _id_of(named: str, ids: Collection[str], option: str, where: str) -> str:
    """Return the id of a scan that was named by it, or by its file."""
    for scan in (named, SUFFIX.sub("", named)):
        if scan in ids:
            return scan
    near = get_close_matches(named, ids, n=3, cutoff=0.4) or list(ids)[:3]
    raise CatalogError(f"{option}: {named!r} names no scan of {where}; did you mean {' or '.join(near)}?")


def _checked_letters(letters: str) -> str:
    if not is_orientation(letters.upper()):
        raise CatalogError(
            f"orientation: {letters!r} is not one of L and R, of P and A, and of I and S, in the order of the file's "
            "axes, as in LPS"
        )
    return letters.upper()
