"""Any history of a raw folder and its store, against a plain model: the store that a conversion from nothing gives."""

import shutil
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import format_exception_only
from unittest import mock

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import ctprep
from ctprep.conversion.observe import ExistingVolumes
from ctprep.conversion.planning.plan import FinishedVolume
from ctprep.store.store import open_store
from ctprep.store.verify import verify
from ctprep.volume.recipe import Recipe
from tests.conftest import chest_hu, write_scan
from tests.torture.report import Row

RECIPES = (
    Recipe(shape=(4, 4, 4)),
    Recipe(shape=(4, 4, 4), window=(-900.0, 300.0)),
    Recipe(shape=(5, 4, 3), dtype="uint8"),
)
NAMES = tuple(f"s{number}" for number in range(6))
CLASSES = ("CT-0", "CT-1")

steps_taken = 0
_digests: dict[object, str] = {}


class Killed(BaseException):
    """Ends a conversion where a signal would, without running what waits for it."""


class Histories(RuleBasedStateMachine):
    """A raw folder that changes, a store that follows, and what it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.raw, self.out = self.folder / "raw", self.folder / "out.zarr"
        self.scans: dict[str, tuple[str, int]] = {}  # name -> class, seed of the contents
        self.recipe = RECIPES[0]
        self.converted: object = None  # the state that the store should show

    @initialize()
    def begin(self) -> None:
        for name, class_name in zip(NAMES[:3], ("CT-0", "CT-1", "CT-0"), strict=True):
            self._write(name, class_name, seed=int(name[1:]))

    def _write(self, name: str, class_name: str, seed: int) -> None:
        write_scan(self.raw / class_name / f"{name}.nii.gz", chest_hu((10, 9, 8), seed=seed))
        self.scans[name] = class_name, seed

    @property
    def _state(self) -> object:
        return tuple(sorted(self.scans.items())), self.recipe

    @rule(name=st.sampled_from(NAMES), class_name=st.sampled_from(CLASSES), seed=st.integers(10, 200))
    def add_or_edit(self, name: str, class_name: str, seed: int) -> None:
        self._remove(name)
        self._write(name, class_name, seed)

    @precondition(lambda self: len(self.scans) > 1)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        self._remove(data.draw(st.sampled_from(sorted(self.scans))))

    def _remove(self, name: str) -> None:
        if name in self.scans:
            (self.raw / self.scans.pop(name)[0] / f"{name}.nii.gz").unlink()

    @rule(data=st.data())
    def relabel(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.scans)))
        old, seed = self.scans[name]
        new = CLASSES[1 - CLASSES.index(old)]
        (self.raw / new).mkdir(exist_ok=True)
        (self.raw / old / f"{name}.nii.gz").rename(self.raw / new / f"{name}.nii.gz")
        self.scans[name] = new, seed

    @rule(data=st.data())
    def touch(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.scans)))
        (self.raw / self.scans[name][0] / f"{name}.nii.gz").touch()

    @rule(recipe=st.sampled_from(RECIPES))
    def change_recipe(self, recipe: Recipe) -> None:
        self.recipe = recipe

    @rule()
    def forget_stamps(self) -> None:
        (self.folder / ".out.zarr.ctprep" / "sources.jsonl").unlink(missing_ok=True)

    @rule()
    def convert(self) -> None:
        self._convert()
        self.converted = self._state

    def _convert(self) -> None:
        is_other = self.out.exists() and open_store(self.out).recipe != self.recipe
        ctprep.convert(self.raw, self.out, recipe=self.recipe, rebuild=is_other, scheduler="synchronous")

    @rule(after=st.integers(0, 4))
    def kill(self, after: int) -> None:
        """Interrupt a conversion before one of its scans."""
        module = sys.modules["ctprep.conversion.convert"]
        real, done = module.convert_scan, []

        def killing(task):
            done.append(task)
            if len(done) > after:
                raise Killed
            return real(task)

        module.convert_scan = killing
        try:
            self._convert()
            self.converted = self._state  # fewer scans were left to convert
        except Killed:
            pass
        finally:
            module.convert_scan = real

    @precondition(lambda self: self.converted is not None)
    @rule(data=st.data())
    def corrupt_and_repair(self, data: st.DataObject) -> None:
        """Damage a volume: verify names it; a conversion of the same folder and recipe rebuilds exactly it."""
        store = open_store(self.out)
        row = data.draw(st.integers(0, len(store) - 1))
        chunk = self.out / "volume" / f"c.{row}.0.0.0"
        content = bytearray(chunk.read_bytes())
        chunk.unlink()  # it may be a link to a file that others have
        if data.draw(st.booleans()):
            bit = data.draw(st.integers(0, len(content) * 8 - 1))
            content[bit // 8] ^= 1 << bit % 8
            chunk.write_bytes(content)
        assert [finding.where for finding in verify(self.out).findings] == [store.scans[row]]
        self.convert()

    @invariant()
    def the_store_is_that_of_a_conversion_from_nothing(self) -> None:
        global steps_taken
        steps_taken += 1
        if self.converted is None:
            assert not self.out.exists()
        else:
            assert open_store(self.out).digest() == digest_of(self.converted)

    def teardown(self) -> None:
        if self.converted is not None:
            assert verify(self.out).findings == ()
        shutil.rmtree(self.folder)


def digest_of(state: tuple[tuple[tuple[str, tuple[str, int]], ...], Recipe]) -> str:
    """Return the digest of the store that a conversion from nothing gives."""
    if state not in _digests:
        scans, recipe = state
        with tempfile.TemporaryDirectory() as temporary:
            for name, (class_name, seed) in scans:
                write_scan(Path(temporary, "raw", class_name, f"{name}.nii.gz"), chest_hu((10, 9, 8), seed=seed))
            done = ctprep.convert(
                Path(temporary, "raw"), Path(temporary, "out.zarr"), recipe=recipe, scheduler="synchronous"
            )
            _digests[state] = done.store.digest()
    return _digests[state]


def run_histories(examples: int, steps: int, *, phases: Collection[Phase] = tuple(Phase)) -> int:
    """Run the machine, always on the same histories; return how many steps were taken.

    Raises
    ------
    AssertionError
        If a store is not what it should be; without `Phase.shrink`, after the first history that leads there.
    """
    global steps_taken
    before = steps_taken
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        phases=phases,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Histories, settings=chosen)
    return steps_taken - before


@contextmanager
def trusting() -> Iterator[None]:
    """Let conversions keep every volume that is there, whatever became of its scan: the null control."""
    with mock.patch.object(ExistingVolumes, "stored", lambda _stock, row, why: FinishedVolume(why, row)):
        yield


def steps_of_the_naive_way() -> int | None:
    """Return after how many steps a conversion that trusts what is there is found out; None if it is not."""
    before = steps_taken
    try:
        with trusting():
            run_histories(examples=100, steps=30, phases=[Phase.generate])
    except (AssertionError, ExceptionGroup):
        return steps_taken - before
    return None


def long_version(_empty_folder: Callable[[], Path], _seed: int) -> Iterator[Row]:
    """Take some 3,000 steps through some 100 histories, always the same ones."""
    before, faults = steps_taken, []
    try:
        run_histories(examples=100, steps=30)
    except Exception as error:  # noqa: BLE001 - a store that differs, or a conversion that fails
        faults = ["".join(format_exception_only(error))]  # with the history that led there
    tried = f"{steps_taken - before:,} steps, {len(_digests)} stores"
    naively = steps_of_the_naive_way()
    found_out = f"found out after {naively} steps" if naively is not None else "not found out"
    control = f"a conversion that trusts what is there: {found_out}"
    yield Row(
        "any history of edits, kills, damage and repair", tried, len(faults), faults, control, int(naively is not None)
    )
