"""Which files look like masks or other derivatives of scans, judged by their names alone."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import PurePosixPath

_MASK = re.compile(
    "[a-z]*masks?|(d|prob|total)?segs?|segm|segmentations?|labels?|labelmaps?|annotations?|rois?|gt|groundtruth|contours?"
)
"""First or last words in the names of masks."""

_ORGAN = re.compile(
    "lungs?|lesions?|infections?|lobes?|vessels?|airways?|heart|nodules?|tumou?rs?|gtv|ptv|pred|predictions?"
)
"""Last words in the names of masks that lie beside the scan that they were drawn on."""

_MASK_FOLDER = re.compile(
    "masks?|segs?|segm|segmentations?|labels|labels(tr|ts|val)|labelmaps?|annotations?|rois?|gt|groundtruth|contours?|"
    "derivatives"
)
_WORD = re.compile(r"[^\W\d_]+")


def looks_like_mask(scan: str, others: Collection[str]) -> bool:
    """Return whether a scan's name is a mask's.

    Parameters
    ----------
    scan : str
        The id.
    others : collection of str
        All ids.

    Examples
    --------
    >>> looks_like_mask("masks/study_1", ()), looks_like_mask("ill/study_1_mask", ()), looks_like_mask("lung_1", ())
    (True, True, False)
    >>> looks_like_mask("ill/a_lungs", {"ill/a"}), looks_like_mask("ill/a_lungs", {"ill/b"})
    (True, False)
    """
    path = PurePosixPath(scan)
    if any(is_mask_folder(folder) for folder in path.parts[:-1]):
        return True
    words = _WORD.findall(path.name.casefold())
    if not words:
        return False
    if _MASK.fullmatch(words[0]) or _MASK.fullmatch(words[-1]):
        return True
    return any(scan in others for scan in _drawn_on(path))


def is_mask_folder(name: str) -> bool:
    """Return whether a folder's name is that of masks.

    Examples
    --------
    >>> [is_mask_folder(name) for name in ("masks", "lung_mask", "labelsTr", "derivatives", "lesion", "CT-0")]
    [True, True, True, True, False, False]
    """
    words = _WORD.findall(name.casefold())
    return any(map(_MASK_FOLDER.fullmatch, ["".join(words), *words[-1:]]))


def masks_among(scans: Collection[str], named: Iterable[str], folders: Collection[str]) -> list[str]:
    """Return the ids that look like masks, sorted; not those that the user named.

    Parameters
    ----------
    scans : collection of str
        All ids.
    named : iterable of str
        What a table calls its scans; one without folders does not name what lies in a folder of masks.
    folders : collection of str
        The folders that the user's classes name.
    """
    wanted = {re.sub(r"\.(nii|hdr)(\.gz)?$", "", cell.replace("\\", "/"), flags=re.IGNORECASE) for cell in named}
    drawn_on = Counter(stem for scan in scans for stem in set(_drawn_on(PurePosixPath(scan))))
    everything = {*scans, *(stem for stem, count in drawn_on.items() if count > 1)}  # lungs and lesions of one scan
    masks = []
    for scan in sorted(scans):
        above, _, name = scan.rpartition("/")
        parts = above.split("/")
        is_named = scan in wanted or (name in wanted and not any(map(is_mask_folder, parts)))
        if not is_named and looks_like_mask(scan, everything) and not any(part in folders for part in parts):
            masks.append(scan)
    return masks


def _drawn_on(path: PurePosixPath) -> Iterator[str]:
    """Yield the ids of the scans that a mask of this name would be drawn on: `NAME` for `NAME_lungs`, `lesion_NAME`."""
    for separator in re.finditer(r"[\W_]+", path.name):
        before, after = path.name[: separator.start()], path.name[separator.end() :]
        if before and _says_mask(after):
            yield str(path.with_name(before))
        if after and _says_mask(before):
            yield str(path.with_name(after))


def _says_mask(text: str) -> bool:
    """Tell whether some words say mask, or nothing but organs."""
    words = _WORD.findall(text.casefold())
    return any(map(_MASK.fullmatch, words)) or (bool(words) and all(map(_ORGAN.fullmatch, words)))
