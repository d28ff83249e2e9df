"""What the folders below the raw folder say of a scan: its class, its subset, its subject.

The first folder is the class, unless it cannot be one: then an error shows the folders below, and how to name them.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path, PurePosixPath

from ctprep.errors import CatalogError
from ctprep.scans.classes import is_negative
from ctprep.scans.subsets import SUBSETS, subset_of
from ctprep.scans.tables.matching import subject_of
from ctprep.scans.tables.values import MANY_CLASSES

_CONTAINER = re.compile(
    "(raw|source|sub)?data|datasets?|stud(y|ies)|series|cases|patients|subjects|bids|files|inputs?|images?(tr|ts)?|imgs?|"
    "scans?|volumes?|niftis?|nii|chest|ct|cts|ctscans?|raw"
)
"""Names of folders that hold the folders of the classes, in lower case and without blanks and dashes."""


@dataclass(frozen=True)
class Folders:
    """What the folders say.

    Parameters
    ----------
    labels : mapping of str to str
        The folder that names each scan's class, by scan id; none for a scan without one.
    splits : mapping of str to str
        The subset of each scan, where the folders are a split that the user affirmed.
    notes : tuple of str
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    splits: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def split_of_folders(scans: Iterable[str], raw: Path, *, is_affirmed: bool, other: bool) -> Folders:
    """Return the subsets that folders such as train, val and test name, if the user affirmed that they are a split.

    Parameters
    ----------
    scans : iterable of str
        Ids.
    raw : Path
        For messages.
    is_affirmed : bool
    other : bool
        Whether something else says the split.

    Raises
    ------
    CatalogError
        If they are affirmed and not there, or the split is said twice.
    """
    depth, names = _split_level(list(map(_folders, scans)))
    if not is_affirmed:
        if depth is None or other:
            return Folders()
        return Folders(
            notes=(f"split: the folders {', '.join(names)} look like one and it is not kept; --split-folders keeps it",)
        )
    if depth is None:
        raise CatalogError(f"{raw}: has no folders such as train, val and test; leave out --split-folders")
    if other:
        raise CatalogError(
            f"{raw}: folders and a column both say the split; add --split-column none, or leave out --split-folders"
        )
    splits = {}
    for scan in scans:
        parts = _folders(scan)
        subset = subset_of(parts[depth]) if len(parts) > depth else None
        if subset:
            splits[scan] = subset
    said = f"split: the folders {', '.join(names)} are kept as one"
    return Folders(splits=splits, notes=(said,))


def labels_of_folders(
    scans: Collection[str], raw: Path, *, class_of: Mapping[str, str] | None, without_split: bool
) -> Folders:
    """Return the folder that names the class of each scan.

    Parameters
    ----------
    scans : collection of str
        Ids.
    raw : Path
        For messages.
    class_of : mapping of str to str, optional
        The folders that the user's classes name, at any depth, and the class of each; a folder may be a path.
    without_split : bool
        Whether folders such as train and test are a split, so that the class is the folder below.

    Raises
    ------
    CatalogError
        If the first folders do not look like classes, or a scan lies in folders of two.
    """
    parts = {scan: _folders(scan) for scan in scans}
    if without_split:
        depth = _split_level(list(parts.values()))[0] or 0
        parts = {scan: _without_subset(path, depth) for scan, path in parts.items()}
    if class_of is not None:
        return _named_folders(parts, class_of)
    if parts and all(subject_of(scan) for scan in scans) and not any(_below_subject(path) for path in parts.values()):
        return Folders(
            notes=("classes: the names sub-… are BIDS subjects, so no scan has a label; give a table: --labels",)
        )
    _ask_about_split(parts, raw, without_split=without_split)
    _ask_about_containers(parts, raw)
    labels = {scan: path[0] for scan, path in parts.items() if path}
    level, names = _split_level([*map(_folders, scans)])
    which = f"the folders below {', '.join(names)}" if without_split and level == 0 else "the first folders"
    return Folders(labels, notes=(f"classes: {which} name them",) if labels else ())


def _folders(scan: str) -> list[str]:
    return list(PurePosixPath(scan).parts[:-1])


def _below_subject(path: Sequence[str]) -> bool:
    """Return whether a folder that is no subject comes first, as that of a class would."""
    return bool(path) and not path[0].startswith("sub-")


def _split_level(paths: Sequence[Sequence[str]]) -> tuple[int | None, list[str]]:
    """Return the first depth at which the folders are subsets, and their names."""
    for depth in range(max(map(len, paths), default=0)):
        there = [path[depth] for path in paths if len(path) > depth]
        subsets = {name: subset_of(name) for name in dict.fromkeys(there)}
        known = {name: subset for name, subset in subsets.items() if subset}
        if len(set(known.values())) > 1 and (depth == 0 or len(known) == len(subsets)):
            return depth, sorted(known, key=lambda name: SUBSETS.index(known[name]))
    return None, []


def _without_subset(path: list[str], depth: int) -> list[str]:
    return [*path[:depth], *path[depth + 1 :]] if len(path) > depth and subset_of(path[depth]) else path


def _named_folders(parts: Mapping[str, Sequence[str]], class_of: Mapping[str, str]) -> Folders:
    """Return the folder of each scan that the classes name; the first folder where they name none of them."""
    wanted = {member: tuple(PurePosixPath(member).parts) for member in class_of}
    of_path: dict[tuple[str, ...], str] = {}
    deeper: set[str] = set()
    for path in {tuple(path) for path in parts.values() if path}:
        found = [
            (len(member), start, name)
            for name, member in wanted.items()
            for start in range(len(path) - len(member) + 1)
            if path[start : start + len(member)] == member
        ]
        longest = [(start, name) for size, start, name in found if size == max(found)[0]]
        if len({class_of[name] for _, name in longest}) > 1:
            both = " and ".join(sorted({name for _, name in longest}))
            raise CatalogError(
                f"{'/'.join(path)}: lies in folders of two classes, {both}; name its path, as in "
                f"--classes NAME={'/'.join(path)}"
            )
        of_path[path] = min(longest)[1] if longest else path[0]
        deeper |= {"/".join(path[:start]) for start, _ in sorted(longest)[:1] if start}
    notes = (f"classes: their folders lie below {', '.join(sorted(deeper)[:4])}",) if deeper else ()
    return Folders({scan: of_path[tuple(path)] for scan, path in parts.items() if path}, notes=notes)


def _ask_about_split(parts: Mapping[str, Sequence[str]], raw: Path, *, without_split: bool) -> None:
    depth, names = _split_level(list(parts.values()))
    if depth is None or without_split:
        return
    below = Counter(path[depth + 1] for path in parts.values() if len(path) > depth + 1)
    if depth == 0:
        raise CatalogError(
            f"{raw}: its folders {', '.join(names)} look like a split, not like classes; {_shown_below(below)}; "
            "add --split-folders to keep the split"
            + (f" and take those as classes, or name the classes: {_as_classes(below)}" if below else "")
            + f". If they are classes, name them: {_as_classes(names)}"
        )
    above = _shared_folders(parts)[:depth]
    if len(above) == depth and below:
        raise CatalogError(
            f"{raw}: its folder {'/'.join(above)} holds the folders {', '.join(names)}, which look like a split; "
            f"{_shown_below(below)}; give {raw.joinpath(*above)} instead of {raw}, and add --split-folders to keep the "
            f"split, or name the classes: {_as_classes(below)}"
        )


def _shared_folders(parts: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the folders that all scans lie in, one below the other."""
    paths = list(map(list, parts.values()))
    first, last = min(paths, default=[]), max(paths, default=[])
    return [one for one, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last))]


def _ask_about_containers(parts: Mapping[str, Sequence[str]], raw: Path) -> None:
    first = Counter(path[0] for path in parts.values() if path)
    below: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for path in parts.values():
        if len(path) > 1:
            below[path[0]][path[1]] += 1
    containers = [name for name in sorted(first) if below[name] and _is_container(name)]
    if not containers and len(first) == 1 and _look_like_classes(below[only := next(iter(first))]):
        containers = [only]
    if len(first) == 1 and all(path[1].startswith("sub-") for path in parts.values() if len(path) > 1) and containers:
        raise CatalogError(f"{raw}: {containers[0]} holds a BIDS data set; give {raw / containers[0]} instead of {raw}")
    shared_folders = _shared_folders(parts)
    if len(shared_folders) > 1:
        deepest = Counter(path[len(shared_folders)] for path in parts.values() if len(path) > len(shared_folders))
        if _look_like_classes(deepest):
            inner = raw.joinpath(*shared_folders)
            raise CatalogError(
                f"{raw}: all its scans lie in {'/'.join(shared_folders)}, which does not look like a class; "
                f"{_shown_below(deepest)}; name the classes: {_as_classes(deepest)}, or give {inner} instead of {raw}"
            )
    if containers:
        deeper = sum((below[name] for name in containers), Counter[str]())
        instead = f", or give {raw / containers[0]} instead of {raw}" if len(first) == 1 else ""
        raise CatalogError(
            f"{raw}: its folders {_counted(first)} do not look like classes; {_shown_below(deeper)}; name the "
            f"classes: {_as_classes(deeper)}{instead}. If they are classes, name them: {_as_classes(first)}"
        )
    shared = set.intersection(*(set(names) for names in below.values())) if len(below) == len(first) > 1 else set()
    if (
        len(shared) > 1
        and not all(map(subset_of, shared))
        and all(set(names) == shared and _look_like_classes(names) for names in below.values())
    ):
        deeper = sum(below.values(), Counter[str]())
        raise CatalogError(
            f"{raw}: its folders {_counted(first)} each hold the same folders ({_counted(deeper)}); say which are the "
            f"classes: {_as_classes(deeper)}, or {_as_classes(first)}"
        )


def _is_container(name: str) -> bool:
    return _CONTAINER.fullmatch(re.sub(r"[\W_]", "", name.casefold())) is not None or subset_of(name) is not None


def _look_like_classes(folders: Mapping[str, int]) -> bool:
    """Return whether folders are few and full, as those of classes are and those of patients are not."""
    return (
        2 <= len(folders) <= MANY_CLASSES
        and sum(folders.values()) >= 2 * len(folders)
        and not all(re.fullmatch(r"\d+", name) for name in folders)
    )


def _shown_below(below: Mapping[str, int]) -> str:
    return f"the folders below are {_counted(below)}" if below else "there are no folders below"


def _counted(folders: Mapping[str, int], most: int = 5) -> str:
    named = [f"{name} ({folders[name]} scan{'s' * (folders[name] != 1)})" for name in sorted(folders)]
    return ", ".join(named[:most]) + (f" and {len(named) - most} more" if len(named) > most else "")


def _as_classes(names: Iterable[str], most: int = 4) -> str:
    named = sorted(names, key=lambda name: (not is_negative(name), name))
    return " ".join(f"--classes {name}={name}" for name in named[:most]) + (" …" if len(named) > most else "")
