"""Files that are no scans are called what they are."""

import pytest

from ctprep.errors import Unreadable
from ctprep.scans.readers.formats import read_header

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 31457280\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (LFS, "is a Git LFS pointer without its content; get it with: git lfs pull"),
        (b"/annex/objects/SHA256E-s31--4d7a.nii.gz\n", "is a git-annex pointer without its content"),
        (
            b"<!DOCTYPE html>\n<html><body>Sign in</body></html>",
            "is a web page, not the file that was to be downloaded",
        ),
        (b"\xef\xbb\xbf\n<html>", "is a web page"),
        (b"PK\x03\x04" + bytes(400), "is a ZIP archive"),
        (bytes(128) + b"DICM" + bytes(400), "is a DICOM file; convert its folder with: dcm2niix"),
        (b"something else" * 30, "is not NIfTI"),
    ],
)
@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_the_reader_says_what_a_file_is(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Unreadable, match=message):
        read_header(tmp_path / name)
