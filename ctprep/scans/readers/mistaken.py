"""What a file is that was taken for a scan, and how scans of other formats are converted."""

from collections.abc import Mapping

_STARTS = (
    (b"version https://git-lfs", "a Git LFS pointer without its content; get it with: git lfs pull"),
    (b"/annex/objects/", "a git-annex pointer without its content; get it with: git annex get, or datalad get"),
    (b"PK\x03\x04", "a ZIP archive; unpack it first: unzip"),
    (b"\x89PNG", "a PNG picture; use the scan that it was made of"),
    (b"\xff\xd8\xff", "a JPEG picture; use the scan that it was made of"),
    (b"%PDF", "a PDF document; use the scan that it shows"),
    (b"ObjectType", "a MetaImage header; give its name the suffix .mhd, or .mha if it holds the voxels"),
    (b"NRRD", "an NRRD file; convert it to NIfTI"),
    (b"\x93NUMPY", "a NumPy array, which has no geometry; use the scan that it was made of"),
    (b"BZh", "compressed with bzip2; unpack it first: bunzip2"),
    (b"\xfd7zXZ", "compressed with xz; unpack it first: unxz"),
    (b"7z\xbc\xaf", "a 7-Zip archive; unpack it first: 7z x"),
    (b"Rar!", "a RAR archive; unpack it first: unrar x"),
)

DICOM_TO_NIFTI = "dcm2niix -z y -o raw FOLDER"


def what_is(start: bytes) -> str | None:
    """Return what a file that is not NIfTI is, judged by its first bytes, and the way out; None if that is unknown.

    Examples
    --------
    >>> what_is(b"<!DOCTYPE html><html>")
    'a web page, not the file that was to be downloaded; download it again, signed in where that is needed'
    >>> what_is(bytes(128) + b"DICM")
    'a DICOM file; convert its folder with: dcm2niix -z y -o raw FOLDER'
    """
    if start[128:132] == b"DICM":
        return f"a DICOM file; convert its folder with: {DICOM_TO_NIFTI}"
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:9].lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "a web page, not the file that was to be downloaded; download it again, signed in where that is needed"
    return next((what for magic, what in _STARTS if start.startswith(magic)), None)


_CONVERTED_WITH = {
    (".dcm", ".ima", ".dicom", "dicomdir"): ("DICOM files", f"convert them with: {DICOM_TO_NIFTI}"),
    (".nrrd", ".nhdr"): ("NRRD files", "convert them with: c3d FILE.nrrd -o raw/FILE.nii.gz"),
    (".zip", ".tar", ".tgz", ".7z", ".rar"): ("archives", "unpack them first: unzip ARCHIVE.zip -d raw"),
    (".gz", ".bz2", ".xz"): ("compressed files that are not .nii.gz", "unpack or rename them"),
    (".npy", ".npz"): ("NumPy arrays", "they have no geometry; use the scans that they were made of"),
    (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"): (
        "pictures",
        "a picture of a slice has neither HU nor geometry; use the scans that they were made of",
    ),
}


def advice_on(suffixes: Mapping[str, int]) -> list[str]:
    """Return how files that may hold scans of another format become readable, by their suffixes.

    Parameters
    ----------
    suffixes : mapping of str to int
        How many files there are of each suffix, in lower case.

    Examples
    --------
    >>> advice_on({".dcm": 200, ".txt": 1})
    ['200 DICOM files are not read; convert them with: dcm2niix -z y -o raw FOLDER']
    """
    said = []
    for group, (what, way) in _CONVERTED_WITH.items():
        if count := sum(suffixes.get(suffix, 0) for suffix in group):
            said.append(f"{count} {what} are not read; {way}")
    return said
