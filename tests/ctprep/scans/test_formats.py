"""Every format keeps the same promises."""

from pathlib import PurePosixPath

import nibabel
import numpy as np
import pytest

from ctprep.conversion.stamps import sha256_of
from ctprep.errors import Unreadable
from ctprep.scans.raw_files import list_raw_files, scan_id
from ctprep.scans.readers.formats import FORMATS, SUFFIXES, open_reader, read_header, source_files
from tests.conftest import LAS, chest_hu, write_scan
from tests.metaimage import write_metaimage

SUFFIX_OF_ANY = sorted(suffix for each in FORMATS for suffix in each.suffixes)


def write_any(path):
    """Write the same scan in the format of a path's name."""
    if path.suffix in (".mha", ".mhd"):
        return write_metaimage(path)
    return write_scan(path, kind=nibabel.Nifti1Pair if ".hdr" in path.name else nibabel.Nifti1Image)


@pytest.mark.parametrize("suffix", SUFFIX_OF_ANY)
def test_every_suffix_names_a_scan_in_any_case(tmp_path, suffix):
    (tmp_path / f"a{suffix}").touch()
    (tmp_path / f"b{suffix.upper()}").touch()
    assert sorted(list_raw_files(tmp_path).found) == ["a", "b"]
    assert scan_id(PurePosixPath(f"folder/a{suffix}")) == "folder/a"
    assert suffix in SUFFIXES or suffix == ".hdr.gz"


@pytest.mark.parametrize("suffix", SUFFIX_OF_ANY)
def test_a_reader_gives_header_voxels_files_and_their_digest(tmp_path, suffix):
    path = write_any(tmp_path / f"a{suffix}")
    with open_reader(path) as reader:
        header = reader.header
        stored = np.concatenate([slab.flatten() for slab in reader.slabs()]).reshape(header.grid.shape, order="F")
        digest, files = reader.sha256, reader.files
    assert np.array_equal(stored * header.slope + header.inter, chest_hu())
    assert np.array_equal(header.grid.affine, LAS)
    assert files == source_files(path)
    assert digest == sha256_of(path)


def test_a_file_of_another_name_is_judged_by_its_bytes(tmp_path):
    assert read_header(write_scan(tmp_path / "a.nii").rename(tmp_path / "scan.bin")).grid.shape == (24, 20, 12)
    with pytest.raises(Unreadable, match="is a MetaImage header"):
        read_header(write_metaimage(tmp_path / "a.mha").rename(tmp_path / "b.bin"))
