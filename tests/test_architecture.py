"""Who may import what: the picture of the design, held true."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("ctprep", "ctmodel")

OWNERS = {
    "dask": {"ctprep/execution/schedule.py"},
    "distributed": {"ctprep/execution/cluster.py"},
    "google_crc32c": {"ctprep/store/chunk.py"},
    "isal": {"ctprep/scans/readers/byte_source.py", "ctprep/scans/readers/nifti.py"},
    "nibabel": {"ctprep/scans/readers/nifti_header.py"},
    "numcodecs": {"ctprep/store/chunk.py"},
    "sklearn": {"ctmodel/baselines/classifier.py"},
    "zarr": {"ctprep/store/store.py", "ctprep/store/format.py"},
    "tensorflow": {"ctmodel/devices/backend.py"},
    "keras": {"ctmodel/devices/backend.py"},
    "click": {"cli.py"},
    "tqdm": {"cli.py"},
}
"""Heavy or replaceable libraries, and the only files that know them."""

LAYERS = {
    "ctprep": (
        ("views",),
        ("conversion", "phantom"),
        ("store",),
        ("preparation",),
        ("scans",),
        ("execution",),
        ("volume",),
        ("files",),
        ("settings", "text"),
        ("errors",),
    ),
    "ctmodel": (
        ("training",),
        ("views",),
        ("prediction",),
        ("run",),
        ("baselines",),
        ("networks",),
        ("data",),
        ("scoring",),
        ("devices",),
        ("settings",),
        ("errors",),
    ),
}
"""The rooms of each package, from the roof to the ground: each imports only from itself and from rooms below it."""

MAX_FILES = 10
"""In a room, beside its `__init__`; in the one that draws phantoms there may be more."""

CTPREP_FOR_CTMODEL = {
    "errors",
    "execution.cores",
    "execution.progress",
    "execution.stopping",
    "files",
    "preparation",
    "scans.choices",
    "scans.masks",
    "scans.raw_files",
    "scans.scan",
    "settings",
    "store.find",
    "store.store",
    "text",
    "volume.grid",
    "volume.intensity",
    "volume.lungs",
    "volume.recipe",
}
"""The bridge: what ctmodel may know of ctprep."""

OF_THE_PROCESS = {
    "signal.signal(": {"ctprep/execution/stopping.py"},
    "pthread_sigmask": set(),
    "sys.unraisablehook": set(),
    "faulthandler.": {"cli.py"},
    "os.dup2(": {"cli.py", "ctprep/execution/isolation.py"},
    "mallopt": {"ctmodel/devices/memory.py"},
    "keep_freed_memory()": {"cli.py", "ctmodel/devices/memory.py"},
    "os.environ": {
        "cli.py",
        "ctmodel/devices/backend.py",
        "ctmodel/devices/workers.py",
        "ctprep/execution/cores.py",
        "ctprep/execution/isolation.py",
    },
}
"""What belongs to the process that a library is used in, and the only files that touch it.

`stopping` installs handlers in a context that the command line alone enters, `isolation` is a process of its own, and
`backend` sets what TensorFlow and Keras read when they are imported; `workers`, `cores` and `isolation` read.
"""

LIGHT = (
    "ctprep.volume.recipe",
    "ctprep.errors",
    "ctprep.settings",
    "ctprep.text",
    "ctprep.phantom.settings",
    "ctmodel.settings",
    "ctmodel.errors",
    "cli",
)
"""What help needs; it must import nothing heavy."""


def sources() -> list[Path]:
    return [ROOT / "cli.py", *(path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))]


def imported(path: Path) -> set[str]:
    """Return the modules that a file imports anywhere, but for type checking alone."""
    names: set[str] = set()
    for node in ast.walk(_without_type_checking(ast.parse(path.read_text()))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def _without_type_checking(tree: ast.Module) -> ast.Module:
    tree.body = [
        node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
    ]
    return tree


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_heavy_libraries_are_known_to_their_owners_only(path):
    name = path.relative_to(ROOT).as_posix()
    roots = {module.partition(".")[0] for module in imported(path)}
    assert not {library for library, owners in OWNERS.items() if library in roots and name not in owners}


@pytest.mark.parametrize("path", sorted((ROOT / "ctprep").rglob("*.py")), ids=lambda path: path.stem)
def test_ctprep_knows_neither_ctmodel_nor_tensorflow_nor_click(path):
    roots = {module.partition(".")[0] for module in imported(path)}
    assert not roots & {"ctmodel", "tensorflow", "keras", "tensorstore", "sklearn", "click", "cli"}


@pytest.mark.parametrize("path", sorted((ROOT / "ctmodel").rglob("*.py")), ids=lambda path: path.stem)
def test_ctmodel_reaches_ctprep_over_the_bridge_only(path):
    known = {module.partition("ctprep.")[2] for module in imported(path) if module.startswith("ctprep")}
    assert known <= CTPREP_FOR_CTMODEL


def room_of(module: str) -> str:
    """Return the room of a module: of `ctprep.store.chunk` it is `store`."""
    return module.split(".")[1]


def modules_of(package: str) -> dict[str, Path]:
    """Return the modules of a package by their names, without the packages themselves."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for path in sorted((ROOT / package).rglob("*.py"))
        if path.name != "__init__.py"
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_every_room_stands_on_a_floor(package):
    floors = [room for floor in LAYERS[package] for room in floor]
    assert sorted(floors) == sorted({room_of(module) for module in modules_of(package)})


@pytest.mark.parametrize("package", PACKAGES)
def test_no_import_runs_upwards(package):
    floor_of = {room: floor for floor, rooms in enumerate(LAYERS[package]) for room in rooms}
    upwards = [
        f"{module} -> {other}"
        for module, path in modules_of(package).items()
        for other in sorted(imported(path))
        if other.startswith(f"{package}.") and room_of(module) != room_of(other)
        if floor_of[room_of(other)] <= floor_of[room_of(module)]
    ]
    assert upwards == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_room_is_crowded(package):
    rooms = Counter(path.parent.relative_to(ROOT).as_posix() for path in modules_of(package).values())
    crowded = {room: n for room, n in rooms.items() if n > MAX_FILES and room != "ctprep/phantom"}
    assert crowded == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_modules_form_no_circle(package):
    graph = {module: imported(path) for module, path in modules_of(package).items()}
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join((*above, module))
        if module not in done:
            for other in sorted(graph[module] & graph.keys()):
                visit(other, (*above, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_only_the_table_of_formats_knows_the_readers():
    """A new format is its own modules, and one row of the table."""
    readers = "ctprep/scans/readers"
    names = {"NiftiReader": "nifti", "MetaImageReader": "metaimage"}
    knowing = {
        name: {path.relative_to(ROOT).as_posix() for path in sources() if name in path.read_text()} for name in names
    }
    assert knowing == {name: {f"{readers}/{of}.py", f"{readers}/formats.py"} for name, of in names.items()}


@pytest.mark.parametrize("module", LIGHT)
def test_help_imports_nothing_heavy(module):
    heavy = "{'numpy', 'scipy', 'zarr', 'dask', 'nibabel', 'tensorflow', 'keras', 'matplotlib'}"
    code = f"import sys, {module}; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("touch", OF_THE_PROCESS)
def test_a_library_leaves_the_process_alone(touch):
    found = {path.relative_to(ROOT).as_posix() for path in sources() if touch in path.read_text()}
    assert found == OF_THE_PROCESS[touch]


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_library_code_has_no_assert_and_no_print(path):
    for node in ast.walk(ast.parse(path.read_text())):
        assert not isinstance(node, ast.Assert), f"line {node.lineno}: an assert on input disappears under -O"
        assert not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"), f"line {node.lineno}"


def test_the_heavy_libraries_really_are_found():
    """The null control: the parser sees the imports that the rules speak of."""
    for library, owners in OWNERS.items():
        for owner in owners:
            assert library in {module.partition(".")[0] for module in imported(ROOT / owner)}, (library, owner)
