"""Does any name, or any thing that is no file, hang the listing, lose a scan in silence, or reach the terminal raw?

Each case is a folder with one thing in it and a good scan beside it. The good one must be found, and the thing must
have the one outcome that is said here. The null control lists a folder and reads what is there as a script would; any
refusal of its is as good as ours.
"""

import os
import socket
import stat
import subprocess
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path

import nibabel

from ctprep.errors import BadScan, CatalogError
from ctprep.preparation import prepare
from ctprep.scans.catalog import find_scans
from ctprep.volume.recipe import Recipe
from tests.conftest import chest_hu, write_scan
from tests.torture.hostile_limits import Hanging, no_hang
from tests.torture.report import Row

RECIPE = Recipe(shape=(4, 4, 4))
GOOD = "CT-0/good"
MAX_NAME = 255  # bytes, of most file systems

Making = Callable[[Path], object]
Judge = Callable[[Path], tuple[str, list[str]]]

NAMES = {
    "newline": "new\nline",
    "tab": "a\tb",
    "escape": "\x1b[2J\x1b]0;owned\x07",
    "carriage return": "good\rbad",
    "8-bit control": "\x9b31m",
    "bidi override": "\u202egnp",
    "bidi isolate": "a\u2066b",
    "no width": "stu\u200bdy",
    "line separator": "a\u2028b",
    "private use": "\ue000",
    "not UTF-8": os.fsdecode(b"caf\xe9"),
    "not UTF-8, surrogate": os.fsdecode(b"\xed\xa0\x80"),
}
"""Letters that are not shown: their scans are rejected, by a name in which they are escaped."""

ODD_BUT_GOOD = {
    "255 bytes": "x" * (MAX_NAME - len(".nii")),
    "255 bytes of UTF-8": "ä" * ((MAX_NAME - len(".nii")) // 2),
    "dots within": "a..b...c",
    "dots at the end": "a..",
    "backslashes": "a\\..\\b",
    "blanks": "  a  b ",
    "an option": "--help",
    "quotes": "a'b\"c`d$(e)%s{0}",
    "right to left": "\u05d0\u05d1",
    "many accents": "e" + "\u0301" * 40,
    "two suffixes": "a.nii",
}
"""Names that are unwise, and can be told apart all the same."""


def cases() -> Iterator[tuple[str, Making, str]]:
    """Yield what it is, what makes it in a class folder, and its outcome.

    An outcome is a code, `converted`, `catalog` (the whole folder is refused) or `passed over`.
    """
    for what, name in NAMES.items():
        yield what, _scan(f"{name}.nii"), "unreadable"
        yield f"folder, {what}", _scan(f"{name}/1.nii"), "unreadable"
    for what, name in ODD_BUT_GOOD.items():
        yield what, _scan(f"{name}.nii"), "converted"
    yield "hidden, two dots", _scan("..nii"), "passed over"
    yield "Turkish letters as in nii", _scan("a.n\u0131\u0131"), "passed over"
    yield "a letter that grows in lower case", _pair("\u0130"), "converted"
    yield "case differs", _scans("Study.nii", "study.nii"), "converted"
    yield "case of the suffix differs", _scans("a.nii", "a.NII"), "duplicate"
    yield "composition differs", _scans("\u00e9.nii", "e\u0301.nii"), "duplicate"
    yield "composition of a folder differs", _scans("\u00e9/1.nii", "e\u0301/2.nii"), "catalog"
    yield "what an escape is shown as", _scans("a\n.nii", "a\\n.nii"), "duplicate"
    yield "FIFO", lambda folder: os.mkfifo(folder / "a.nii.gz"), "unreadable"
    yield "FIFO as voxels", _fifo_as_voxels, "unreadable"
    yield "socket", _socket, "unreadable"
    yield "null device", lambda folder: _device(folder, 1, 3), "unreadable"
    yield "endless device", lambda folder: _device(folder, 1, 5), "unreadable"
    yield "folder named as a scan", lambda folder: (folder / "a.nii.gz").mkdir(), "unreadable"
    yield "dangling link", _link("nothing.nii"), "unreadable"
    yield "link to itself", _link("a.nii"), "unreadable"
    yield "link out of the folder", _link("/etc/passwd"), "unreadable"
    yield "link to an endless device", _link("/dev/zero"), "unreadable"
    yield "link up to the raw folder", lambda folder: (folder / "up").symlink_to(".."), "unreadable"
    yield "loop of links", _loop, "unreadable"
    yield "1500 folders deep", lambda folder: _deep(folder, 1500), "converted"
    yield "deeper than a path can be", lambda folder: _deep(folder, 2500), "catalog"


def _scan(name: str) -> Making:
    return _scans(name)


def _scans(*names: str) -> Making:
    def make(folder: Path) -> None:
        for seed, name in enumerate(names, 1):
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(write_scan(folder.parents[1] / "any.nii", seed=seed).read_bytes())

    return make


def _pair(stem: str) -> Making:
    def make(folder: Path) -> None:
        write_scan(folder / f"{stem}.hdr", seed=1, kind=nibabel.Nifti1Pair)

    return make


def _fifo_as_voxels(folder: Path) -> None:
    _pair("a")(folder)
    (folder / "a.img").unlink()
    os.mkfifo(folder / "a.img")


def _socket(folder: Path) -> None:
    with chdir(folder), socket.socket(socket.AF_UNIX) as listener:  # an address has 108 bytes at most
        listener.bind("a.nii")


def _device(folder: Path, major: int, minor: int) -> None:
    os.mknod(folder / "a.nii", 0o600 | stat.S_IFCHR, os.makedev(major, minor))


def _link(target: str) -> Making:
    return lambda folder: (folder / "a.nii").symlink_to(target)


def _loop(folder: Path) -> None:
    (folder / "a.nii").symlink_to("b.nii")
    (folder / "b.nii").symlink_to("a.nii")


def _deep(folder: Path, depth: int) -> None:
    scan = write_scan(folder.parents[1] / "any.nii", seed=1).read_bytes()
    with chdir(folder):
        for _ in range(depth):
            os.mkdir("d")  # noqa: PTH102 - a whole path would be too long
            os.chdir("d")
        Path("a.nii").write_bytes(scan)


def outcome_of(make: Making, raw: Path, *, judge: Judge | None = None) -> tuple[str, list[str]]:
    """Return what became of a thing in a new raw folder, and every line that is said of it.

    Raises
    ------
    PermissionError
        If this user may not make such a thing.
    """
    write_scan(raw / f"{GOOD}.nii", chest_hu(seed=0))
    (raw / "CT-1").mkdir()
    make(raw / "CT-1")
    try:
        with no_hang():
            return (judge or _outcome)(raw)
    except Hanging:
        return "hung", []
    finally:
        subprocess.run(["rm", "-rf", raw], check=True)  # which, unlike shutil, goes as deep as there are folders


def _outcome(raw: Path) -> tuple[str, list[str]]:
    try:
        catalog = find_scans(raw)
    except CatalogError as error:
        return "catalog", [str(error)]
    outcomes = {rejection.code for rejection in catalog.rejected}
    said = [text for rejection in catalog.rejected for text in (rejection.scan, rejection.reason)]
    for scan in catalog.scans:
        try:
            prepare(scan.path, RECIPE)
            outcomes |= {"converted"} if scan.id != GOOD else set()
        except BadScan as error:
            outcomes.add(error.code)
            said.append(str(error))
        said.append(scan.id)
    if GOOD not in said:
        outcomes.add("the good scan is lost")
    return " and ".join(sorted(outcomes)) or "passed over", said


def read_naively(raw: Path) -> tuple[str, list[str]]:
    """Return what a script makes of a folder: it globs, and names scans by their files."""
    volumes, names, refusals = {}, [], []
    for path in sorted(raw.rglob("*.nii*")):
        name = path.name.split(".nii")[0]
        try:
            volumes[name] = nibabel.load(path).get_fdata()  # type: ignore[attr-defined]
            names.append(name)
        except Exception as error:  # noqa: BLE001 - any refusal will do
            refusals.append(str(error))
    said = names + refusals
    if len(volumes) < len(names):
        return "lost in silence", said
    return "refused" if refusals else "converted" if len(volumes) > 1 else "passed over", said


def naive_faults(empty_folder: Callable[[], Path]) -> Counter[str]:
    """Return what is wrong with the naive way, and how often."""
    faults: Counter[str] = Counter()
    for _, make, expected in cases():
        try:
            outcome, said = outcome_of(make, empty_folder() / "raw", judge=read_naively)
        except PermissionError:
            continue
        except Exception as error:  # noqa: BLE001 - a script would end with it
            faults[f"ended in {type(error).__name__}"] += 1
            continue
        if outcome not in ("refused", expected):
            faults[f"{outcome}, not {expected}"] += 1
        elif not all(map(is_safe, said)):
            faults["reach the terminal raw"] += 1
    return faults


def is_safe(line: str) -> bool:
    """Tell whether a terminal shows a line as it is: no control character, nothing that turns the text round."""
    return not any(unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") for letter in line)


def long_version(empty_folder: Callable[[], Path], _seed: int) -> Iterator[Row]:
    """Try every name and every thing that this user may make."""
    tried, faults = 0, []
    for what, make, expected in cases():
        try:
            outcome, said = outcome_of(make, empty_folder() / "raw")
        except PermissionError:
            continue
        tried += 1
        if outcome != expected or not all(map(is_safe, said)):
            faults.append(f"{what}: {outcome}, not {expected}: {said!a}")
    naive = naive_faults(empty_folder)
    control = "a script that globs: " + ", ".join(f"{count} {fault}" for fault, count in naive.most_common())
    yield Row("names, links and things that are no files", str(tried), len(faults), faults, control, naive.total())
