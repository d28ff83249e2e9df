"""Which files are predicted: those that are named, and below the folders that are named those that `convert` takes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ctprep.scans.masks import masks_among
from ctprep.scans.raw_files import list_raw_files
from ctprep.scans.scan import Rejection


@dataclass(frozen=True)
class ScanFiles:
    """The files to predict.

    Attributes
    ----------
    paths : tuple of Path
        In the order in which they, or their folders, were named; those of a folder sorted by id.
    rejected : tuple of (Path, Rejection)
        Files below a folder that their names alone make unusable.
    notes : tuple of str
        What was left out.
    """

    paths: tuple[Path, ...]
    rejected: tuple[tuple[Path, Rejection], ...]
    notes: tuple[str, ...]


def find_scan_files(named: Iterable[Path]) -> ScanFiles:
    """List files, and the scans below folders.

    Masks, hidden files and what lies behind links out of a folder are passed over; name such a file to have it.

    Raises
    ------
    ctprep.errors.CatalogError
        If a folder cannot be listed, or holds no scan.

    Examples
    --------
    >>> [path.name for path in find_scan_files([Path("raw/CT-1/p01_0.nii.gz"), Path("raw/other")]).paths]
    ['p01_0.nii.gz', 'punlabelled.nii.gz']
    """
    paths: list[Path] = []
    rejected: list[tuple[Path, Rejection]] = []
    notes: list[str] = []
    for path in named:
        if not _is_folder(path):
            paths.append(path)
            continue
        files = list_raw_files(path)
        masks = masks_among(files.found, [], [])
        paths += [Path(file) for scan, file in sorted(files.found.items()) if scan not in masks]
        rejected += [(path / rejection.scan, rejection) for rejection in files.unusable]
        notes += _note_on_masks(path, masks)
    return ScanFiles(tuple(paths), tuple(rejected), tuple(notes))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # as where its name is too long; who reads it says why
        return False


def _note_on_masks(folder: Path, masks: Sequence[str]) -> list[str]:
    if not masks:
        return []
    return [
        f"{folder}: left out {len(masks)} files that look like masks, such as {masks[0]}; name those that are scans"
    ]
