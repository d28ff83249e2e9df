"""Which files below a raw folder are scans, judged by their names; of a header the other files are looked up."""

import fnmatch
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ctprep.errors import BadScan, CatalogError
from ctprep.files import open_regular
from ctprep.scans.readers.formats import SUFFIX, SUFFIXES, source_files
from ctprep.scans.readers.mistaken import advice_on, what_is
from ctprep.scans.scan import Rejection

NamedFile = tuple[str, Path]
"""A scan's id, and its file."""


@dataclass(frozen=True)
class RawFiles:
    """The files that may be scans.

    Parameters
    ----------
    found : mapping of str to str
        Paths by scan id.
    unusable : tuple of Rejection
        Files whose names alone make them unusable, and folders that are links.
    others : mapping of str to int
        How many other files there are of each suffix.
    excluded : mapping of str to int
        How many files and folders each pattern has left out.
    """

    found: Mapping[str, str]
    unusable: tuple[Rejection, ...]
    others: Mapping[str, int] = field(default_factory=dict)
    excluded: Mapping[str, int] = field(default_factory=dict)


def list_raw_files(raw: Path, *, exclude: Sequence[str] = (), follow_links: bool = False) -> RawFiles:
    """List the scan files below a folder.

    Hidden files, hidden folders and Zarr stores are passed over. Names that differ by case are two names; names that
    differ by how Unicode composes their letters look alike, so neither is taken.

    Parameters
    ----------
    raw : Path
    exclude : sequence of str
        Patterns of files and folders to pass over, see `Excluded`.
    follow_links : bool
        Follow links to folders, and links that lead out of `raw`.

    Raises
    ------
    CatalogError
        If a folder cannot be listed, or there is no scan.
    """
    found: dict[str, str] = {}
    unusable: list[Rejection] = []
    excluded = Excluded(exclude)
    try:
        alike, others, examples = _by_look(raw, excluded, follow_links=follow_links)
        for named in alike.values():
            if rejections := _judge(named, raw, follow_links=follow_links):
                unusable += rejections
            else:
                found.update((scan, str(path)) for scan, path in named)
    except OSError as error:
        raise CatalogError(
            f"{shown(str(error.filename))}: cannot be listed ({error.strerror}); "
            "make it readable, or take it out of the raw folder"
        ) from None
    if not found:
        raise CatalogError(f"{shown(str(raw))}: {_why_none(unusable, others, examples)}")
    return RawFiles(found, tuple(unusable), others, excluded.counts)


class Excluded:
    """What patterns leave out, and how much each of them did.

    Parameters
    ----------
    patterns : sequence of str
        With `*`, `?` and `[…]`. One without `/` is compared with the name of every file and folder, one with `/` with
        the path below the raw folder.

    Examples
    --------
    >>> excluded = Excluded(["*_mask*", "extra/old"])
    >>> [excluded.holds(path) for path in ("ill/a_mask.nii.gz", "extra/old", "ill/a.nii.gz")]
    [True, True, False]
    >>> excluded.counts
    {'*_mask*': 1, 'extra/old': 1}
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self.counts = dict.fromkeys(patterns, 0)
        self._matches = {
            pattern: re.compile(fnmatch.translate(pattern.removeprefix("./").rstrip("/"))).match for pattern in patterns
        }

    def holds(self, path: str) -> bool:
        """Tell whether a pattern leaves out a path below the raw folder."""
        name = path.rpartition("/")[2]
        for pattern, matches in self._matches.items():
            if matches(path if "/" in pattern.rstrip("/") else name):
                self.counts[pattern] += 1
                return True
        return False

    def holds_scan(self, scan: str) -> bool:
        """Tell whether a pattern leaves out the file of an id, or a folder above it."""
        parts = scan.split("/")
        folders = ["/".join(parts[:end]) for end in range(1, len(parts))]
        return any(map(self.holds, [*folders, scan, f"{scan}.nii", f"{scan}.nii.gz"]))


def scan_id(path: PurePosixPath) -> str:
    """Return the id of a file from its path under the raw folder.

    Examples
    --------
    >>> scan_id(PurePosixPath("CT-0/study_0001.nii.gz"))
    'CT-0/study_0001'
    """
    return str(path.with_name(SUFFIX.sub("", path.name) or path.name))


def shown(text: str) -> str:
    """Return a name as one line that is safe in a terminal.

    Examples
    --------
    >>> shown("CT-0/étude_1")
    'CT-0/étude_1'
    >>> print(shown("CT-0/new\\nline"))
    CT-0/new\\nline
    """
    return text if text.isprintable() else ascii(text)[1:-1]


def _by_look(
    raw: Path, excluded: Excluded, *, follow_links: bool
) -> tuple[Mapping[str, Sequence[NamedFile]], Counter[str], Mapping[str, Path]]:
    """Return files whose names are those of scans by the look of their ids; of all others the suffixes and a file."""
    alike: defaultdict[str, list[NamedFile]] = defaultdict(list)
    others: Counter[str] = Counter()
    examples: dict[str, Path] = {}
    for path in sorted(_visible(raw, excluded, follow_links=follow_links), key=str):
        if SUFFIX.search(path.name) or path.is_dir():
            scan = scan_id(PurePosixPath(path.relative_to(raw)))
            alike[unicodedata.normalize("NFC", shown(scan))].append((scan, path))
        else:
            suffix = shown(path.suffix.lower() or path.name)
            others[suffix] += 1
            if len(examples) < 3:
                examples.setdefault(suffix, path)
    return alike, others, examples


def _visible(raw: Path, excluded: Excluded, *, follow_links: bool) -> Iterator[Path]:
    """Yield files, and folders that are not entered: links, and those that are named like a scan."""
    folders = [(raw, frozenset[str]())]
    while folders:  # no recursion: folders may be nested deeper than calls
        folder, above = folders.pop()
        above |= {os.path.realpath(folder)} if follow_links else set()
        below = []
        with os.scandir(folder) as listed:
            for entry in listed:
                if entry.name.startswith(".") or entry.name.endswith(".zarr"):
                    continue
                if excluded.counts and excluded.holds(os.path.relpath(entry.path, raw)):
                    continue
                if _is_entered(entry, above, follow_links=follow_links):
                    below.append(Path(entry))
                else:
                    yield Path(entry)
        _refuse_folders_alike(below)
        folders += [(path, above) for path in below]


def _is_entered(entry: os.DirEntry[str], above: Collection[str], *, follow_links: bool) -> bool:
    """Tell whether something is a folder, or a link to one that is not above it, and not named like a scan."""
    if SUFFIX.search(entry.name):
        return False
    if follow_links and entry.is_symlink():
        return Path(entry).is_dir() and os.path.realpath(entry) not in above
    return entry.is_dir(follow_symlinks=False)


def _refuse_folders_alike(folders: Sequence[Path]) -> None:
    """Raise where two folders cannot be told apart, for they may be two classes."""
    by_look: dict[str, str] = {}
    for folder in folders:
        other = by_look.setdefault(unicodedata.normalize("NFC", folder.name), folder.name)
        if other != folder.name:
            both = " and ".join(map(ascii, sorted((folder.name, other))))
            raise CatalogError(
                f"{shown(str(folder.parent))}: holds two folders of one look ({both}); rename one of them"
            )


def _judge(named: Sequence[NamedFile], raw: Path, *, follow_links: bool) -> list[Rejection]:
    """Return why none of some files of one look can be used; nothing where it can."""
    ids = sorted({scan for scan, _ in named})
    if len(named) == 1:
        reason = _why_unusable(*named[0], raw, follow_links=follow_links)
        return [Rejection(shown(ids[0]), "unreadable", reason)] if reason else []
    if len(ids) == 1:
        why = f"two files have this id ({' and '.join(shown(path.name) for _, path in named)})"
    else:
        why = f"looks like another ({' and '.join(map(ascii, ids))})"
    looks = sorted(set(map(shown, ids)))
    return [Rejection(scan, "duplicate", f"{scan}: {why}; rename or remove one of them") for scan in looks]


def _why_unusable(scan: str, path: Path, raw: Path, *, follow_links: bool) -> str | None:
    if not scan.isprintable():
        return f"{shown(scan)}: its name holds characters that cannot be shown; rename it"
    if why := why_not_followed(path, raw, follow_links=follow_links):
        return why
    try:
        files = source_files(path)
    except BadScan:
        return None  # what is missing is said when it is read
    return next((why for file in files if (why := why_not_followed(file, raw, follow_links=follow_links))), None)


def why_not_followed(path: Path, raw: Path, *, follow_links: bool = False) -> str | None:
    """Return why a file is not read because of where it leads to, or None where it is no link, or may be followed."""
    if not path.is_symlink():
        return None
    try:
        inside = path.resolve(strict=True).is_relative_to(raw.resolve())
    except (OSError, RuntimeError):  # a loop is a RuntimeError before Python 3.13
        if "/annex/objects/" in os.fspath(path.readlink()):
            return f"{path.name}: is a git-annex link without its content; get it with: git annex get, or datalad get"
        return f"{path.name}: is a link to nothing; mend it or leave it out"
    if path.is_dir() and follow_links:
        return f"{path.name}: is a link to a folder that holds it; leave it out"
    if not inside and not follow_links:
        return f"{path.name}: is a link out of the raw folder; follow it with --follow-links, or copy its target there"
    if path.is_dir():
        return f"{path.name}: is a link to another folder of the raw folder; leave it out"
    return None


def _why_none(unusable: Sequence[Rejection], others: Counter[str], examples: Mapping[str, Path]) -> str:
    if unusable:
        return f"none of its {len(unusable)} scans can be used: {unusable[0].reason}"
    there = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(3))
    advice = advice_on(others) or [what for path in examples.values() if (what := _as_other(path))][:1]
    return "; ".join([f"holds no scans ({SUFFIXES}); there is: {there or 'nothing'}", *advice])


def _as_other(path: Path) -> str | None:
    """Return what a file is that has no suffix by which to know it."""
    try:
        with open_regular(path) as file:
            start = file.read(132)
    except OSError:
        return None
    return (what := what_is(start)) and f"{path.name} is {what}"
