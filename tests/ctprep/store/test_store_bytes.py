"""A store's bytes are a contract of our own: whichever versions of the libraries write it, these digests come out."""

import csv

import numpy as np
import pytest

from ctprep.conversion.convert import convert
from ctprep.scans.catalog import find_scans
from ctprep.scans.readers.nifti import write_nifti
from ctprep.volume.recipe import Recipe

SHAPE = (16, 12, 8)

DIGESTS = {
    "float16": "f5e04b6cc992442fadaa15231c5cb0d589fb7e0456abc7c0932fd6fd848f0fac",
    "float32": "6c11f7008433ee0ace9bf45f94e46f14a8df94ba90a199f0f6667a4757eb698f",
    "uint8": "7eea8e6917489d3f3b21deffc3b1e5491681a86450404ccd0926b8705517431a",
}


def write_cohort(raw):
    """Write three scans of the stored shape, whose voxels need no arithmetic that a processor could round otherwise."""
    x, y, z = np.indices(SHAPE)
    for number in range(3):
        hu = ((37 * x + 59 * y + 83 * z) * (number + 1)) % 1401 - 1000
        path = raw / f"CT-{number % 2}" / f"s{number}.nii"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_nifti(path, hu.astype(np.int16), np.diag([2.0, 2.0, 4.0, 1.0]))
    (raw / "rejected.nii").write_bytes(b"no scan")
    with (raw / "labels.csv").open("w", newline="") as table:
        rows = [("scan", "label", "patient", "age"), *((f"CT-{n % 2}/s{n}", n % 2, f"p{n}", 40 + n) for n in range(3))]
        csv.writer(table).writerows(rows)


@pytest.mark.parametrize("dtype", DIGESTS)
def test_the_bytes_of_a_store_are_the_contract(tmp_path, dtype):
    write_cohort(tmp_path / "raw")
    catalog = find_scans(tmp_path / "raw", labels=tmp_path / "raw" / "labels.csv")
    done = convert(catalog, tmp_path / "out.zarr", recipe=Recipe(shape=SHAPE, dtype=dtype), scheduler="synchronous")
    assert len(done.rejected) == 1
    assert done.store.digest() == DIGESTS[dtype]
