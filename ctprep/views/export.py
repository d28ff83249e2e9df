"""One volume of a store back to NIfTI, in its place in the world."""

import os
from pathlib import Path

import numpy as np

from ctprep.errors import TargetError
from ctprep.files import as_target_error
from ctprep.scans.readers.nifti import write_nifti
from ctprep.store.find import find_row
from ctprep.store.store import Store, open_store
from ctprep.volume.intensity import hu_from_unit, unit_from_stored


def export(store: Store | str | os.PathLike[str], scan: str, out: str | os.PathLike[str] | None = None) -> Path:
    """Write one stored volume as NIfTI: float32 HU within the window, on the stored grid.

    Parameters
    ----------
    store : Store or path
    scan : str
        The scan's id, with or without a suffix, or the end of an id that no other scan has.
    out : path, optional
        A new file; compressed where it ends in `.gz`. Without it, the id with `_` for `/`, in the current folder.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ScanNotFound
        If the store holds no such scan, or several.
    StoreError
        If its volume is damaged.
    TargetError
        If `out` exists, cannot be written, or does not end in `.nii` or `.nii.gz`.

    Examples
    --------
    >>> export("out.zarr", "CT-0/p00_0", "p00.nii.gz").name
    'p00.nii.gz'
    """
    store = store if isinstance(store, Store) else open_store(store)
    row = find_row(store, scan)
    out = Path(store.scans[row].replace("/", "_") + ".nii.gz" if out is None else out)
    if not out.name.endswith((".nii", ".nii.gz")):
        raise TargetError(f"{out}: is not named as NIfTI; end it in .nii or .nii.gz")
    if out.exists():
        raise TargetError(f"{out}: exists already and is left alone; choose another name")
    lower, upper = store.recipe.window
    hu = hu_from_unit(unit_from_stored(store.volume(row)), lower=lower, upper=upper)
    with as_target_error(out):
        write_nifti(out, hu, np.array(store.records[row].affine))
    return out
