"""Cross-validations killed at random instants and resumed: the same bytes as of one that was never killed.

Each training writes a checkpoint after every step, and logs the rows of a step before it takes it, as in
`training_kills`. A resumed one must repeat one step at most, and train no fold again. The null controls resume as a
naive loop would.
"""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.ctmodel.tiny_cohort import TINY
from tests.torture.report import Row
from tests.torture.training_kills import NAIVE, Trainings, naive_kills, random_kills

SETTINGS = dataclasses.replace(TINY, epochs=2, batch_size=3)
FOLDS = 2


def cross_validate_once(store: Path, run: Path) -> None:
    """Cross-validate with a checkpoint after each step."""
    from ctmodel.settings import Execution, FoldSettings
    from ctmodel.training.crossval import cross_validate

    how = {"folds": FoldSettings(folds=FOLDS), "execution": Execution(checkpoint_every=0)}
    cross_validate(store, run, SETTINGS, resume=True, **how)


def bytes_of(run: Path) -> dict[str, bytes]:
    """Return the bytes of every file of a run and of its folds."""
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in run.rglob("*") if path.is_file()}


def new_crossvals(folder: Path) -> Trainings:
    """Return cross-validations in a folder, with one that was never killed."""
    return Trainings(folder, cross_validate_once, bytes_of)


def long_version(empty_folder: Callable[[], Path], seed: int) -> Iterator[Row]:
    """Kill cross-validations 40 times."""
    crossvals = new_crossvals(empty_folder())
    found = {naive: naive_kills(crossvals, naive).problems.total() for naive in NAIVE}
    figures = random_kills(crossvals, 40, seed=seed)
    crossvals.close()
    yield Row(
        "a cross-validation killed at a random instant, then resumed",
        f"{figures.states:,} states",
        figures.problems.total(),
        figures.examples,
        "a loop that " + ", that ".join(f"{naive}: {count} problems" for naive, count in found.items()),
        min(found.values()),
    )
