"""Which row of a store a person means by a name."""

from ctprep.errors import ScanNotFound
from ctprep.scans.readers.formats import SUFFIX
from ctprep.store.store import Store
from ctprep.text import printable

MAX_SHOWN = 5
"""Ids that an error names."""


def find_row(store: Store, name: str) -> int:
    """Return the row of a scan by its id, its id with a suffix, or the end of an id that no other scan has.

    Parameters
    ----------
    store : Store
    name : str

    Raises
    ------
    ScanNotFound
        If the store holds no such scan, or several; then they are named.

    Examples
    --------
    >>> from ctprep.store.store import open_store
    >>> [find_row(open_store("out.zarr"), name) for name in ("CT-1/p01_0", "CT-1/p01_0.nii.gz", "p01_0")]
    [8, 8, 8]
    """
    known = set(store.scans)
    plain = SUFFIX.sub("", name)
    for exact in (name, plain):
        if exact in known:
            return store.row(exact)
    wanted = f"/{plain.removeprefix('./').lstrip('/')}"
    found = [scan for scan in store.scans if f"/{scan}".endswith(wanted)]
    if len(found) > 1:
        shown = ", ".join(found[:MAX_SHOWN]) + ", …" * (len(found) > MAX_SHOWN)
        raise ScanNotFound(printable(f"{name}: {len(found)} scans of {store.path.name} end so ({shown}); give the id"))
    return store.row(found[0] if found else plain if plain in {bad.scan for bad in store.rejected} else name)
