"""Trainings killed at random instants and resumed: the same rows in the same order, and the same run, as never killed.

Each training writes a checkpoint after every step, so that kills meet half-written ones, and logs the rows of a step
before it takes it. A resumed training must repeat one step at most. The null controls resume as a naive loop would.
"""

import dataclasses
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from tests.ctmodel.tiny_cohort import TINY, make_cohort
from tests.torture.cohort import Figures
from tests.torture.report import Row

SETTINGS = dataclasses.replace(TINY, epochs=4, batch_size=3)
MAX_IN_A_ROW = 3
MAX_SECONDS = 240
BEGUN = "begun"

SPAWN = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
Order = Callable[..., list[np.ndarray]]
Work = Callable[[Path, Path], None]
Outcome = Callable[[Path], dict[str, Any]]


class Worker:
    """A process that trains one run after the other, as it is told to."""

    def __init__(self, store: Path, work: Work) -> None:
        self._ours, theirs = SPAWN.Pipe()
        self._process = SPAWN.Process(target=_serve, args=(theirs, store, work))
        self._process.start()
        theirs.close()

    def begin(self, run: Path, **how: Any) -> None:
        """Begin a training, or resume it; first wait until TensorFlow is there."""
        self._answer(MAX_SECONDS)
        self._ours.send((run, how))

    def is_finished(self, *, within: float = MAX_SECONDS) -> bool:
        """Wait for the end of the training, some seconds long at most; tell whether it has ended."""
        return self._ours.poll(within) and self._ours.recv() == "finished"

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self._ours.close()

    @property
    def was_killed(self) -> bool:
        self._process.join(MAX_SECONDS)
        return self._process.exitcode == -signal.SIGKILL

    def _answer(self, within: float) -> None:
        if not self._ours.poll(within) or self._ours.recv() != "ready":
            raise TimeoutError(f"no training could begin within {within} s")


def _serve(orders: Connection, store: Path, work: Work) -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    multiprocessing.set_start_method("fork", force=True)  # for locks of libraries: others' outlive a kill, by name
    while True:
        orders.send("ready")
        try:
            run, how = orders.recv()
        except EOFError:
            return
        log_rows(run, **how)
        work(store, run)
        orders.send("finished")


def train_one(store: Path, run: Path) -> None:
    """Train one run, with a checkpoint after each step."""
    from ctmodel.settings import Execution
    from ctmodel.training.train import train

    train(store, run, SETTINGS, execution=Execution(checkpoint_every=0), resume=True)


def log_rows(run: Path, *, naive: str = "", die_at: int = -1) -> None:
    """Let the trainings of this process log the rows of each step to a file beside their run, before they take it."""
    import ctmodel.training.train  # noqa: F401 - whose loop is replaced
    from ctmodel.data.order import epoch_batches
    from ctmodel.training.loop import Loop

    log = os.open(_log_of(run), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(log, f"{BEGUN}\n".encode())

    class LoggedLoop(Loop):
        def _take_step(self, rows: np.ndarray, volumes: Any) -> None:
            os.write(log, f"epoch {len(self.history)}, step {self._steps}: {rows.tolist()}\n".encode())
            if len(lines_of(run)) == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            super()._take_step(rows, volumes)

    sys.modules["ctmodel.training.train"].Loop = LoggedLoop  # type: ignore[attr-defined]
    if naive:
        sys.modules["ctmodel.training.loop"].epoch_batches = NAIVE[naive](epoch_batches)  # type: ignore[attr-defined]


def _log_of(run: Path) -> Path:
    return run.with_suffix(".log")


def lines_of(run: Path) -> list[str]:
    return _log_of(run).read_text().splitlines()


def forgetting(order: Order) -> Order:
    """Begin an epoch from its first batch, wherever it was."""

    def naive(*args: Any, first_step: int, **kwargs: Any) -> list[np.ndarray]:
        return order(*args, first_step=0, **kwargs)

    return naive


def reshuffling(order: Order) -> Order:
    """Shuffle what is left of an epoch anew, as a shuffle buffer does."""

    def naive(*args: Any, seed: int, first_step: int, **kwargs: Any) -> list[np.ndarray]:
        return order(*args, seed=seed + first_step, first_step=first_step, **kwargs)

    return naive


NAIVE = {"forgets the step": forgetting, "shuffles anew": reshuffling}


def run_problems(run: Path, reference: Path, outcome: Outcome) -> list[str]:
    """Say how a run that was killed and resumed differs from the one that was not."""
    problems = row_problems(lines_of(run), lines_of(reference))
    ours, theirs = outcome(run), outcome(reference)
    return problems + [f"another {name}" for name in sorted(ours | theirs) if ours.get(name) != theirs.get(name)]


def row_problems(log: list[str], reference: list[str]) -> list[str]:
    """Say where a log of rows leaves the order of a training that was never killed.

    After a beginning, the step that was logged last may come again; everything else comes once.
    """
    order = [line for line in reference if line != BEGUN]
    place, may_repeat = -1, False
    for line in log:
        if line == BEGUN:
            may_repeat = True
            continue
        expected = order[max(place, 0) if may_repeat else place + 1 : place + 2]
        if line not in expected:
            return ["other rows"]
        place, may_repeat = order.index(line), False
    return [] if place == len(order) - 1 else ["missing rows"]


def outcome_of(run: Path) -> dict[str, Any]:
    """Return what a run holds: files by bytes, weights by value; pictures and digests follow from these."""
    found: dict[str, Any] = {path.name: path.read_bytes() for path in run.iterdir()}
    weights = {name: value.tobytes() for name, value in weights_of(run).items()}
    return found | {"model.weights.h5": weights, "curves.png": "", "digests.json": ""}


def weights_of(run: Path) -> dict[str, np.ndarray]:
    """Return the weights that a run kept, by the layer's place in the network."""
    import h5py

    weights: dict[str, np.ndarray] = {}
    with h5py.File(run / "model.weights.h5") as saved:
        saved.visititems(lambda name, at: weights.update({name: at[()]} if hasattr(at, "dtype") else {}))
    return weights


class Trainings:
    """Trainings on one tiny store, with one that was never killed to compare them to."""

    def __init__(self, folder: Path, work: Work = train_one, outcome: Outcome = outcome_of) -> None:
        self.folder, self._work, self._outcome = folder, work, outcome
        self._store = make_cohort(folder / "raw", n_patients=20).store(folder / "out.zarr")
        self._worker, self._next = Worker(self._store, work), Worker(self._store, work)
        self.reference = folder / "reference"
        self._worker.begin(self.reference)
        started = time.monotonic()
        if not self._worker.is_finished():
            raise TimeoutError("the training that is not killed did not end")
        self.seconds = time.monotonic() - started

    def begin(self, run: Path, **how: Any) -> None:
        self._worker.begin(run, **how)

    def kill_after(self, seconds: float) -> bool:
        """Kill a training some seconds after it was begun; tell whether it was still under way."""
        if self._worker.is_finished(within=seconds):
            return False
        self._replace_worker()
        return True

    def finishes(self, run: Path, **how: Any) -> bool:
        """Resume a training and let it end; tell whether it did."""
        self.begin(run, **how)
        try:
            if self._worker.is_finished():
                return True
        except EOFError:  # it died of an error, which it has printed
            pass
        self._replace_worker()
        return False

    def dies_at(self, run: Path, line: int) -> None:
        """Let a training kill itself when its log has so many lines."""
        self.begin(run, die_at=line)
        if not self._worker.was_killed:
            raise TimeoutError("a training did not kill itself")
        self._replace_worker()

    def problems(self, run: Path, **how: Any) -> list[str]:
        """Resume a training and let it end; say how it differs from the one that was never killed."""
        return run_problems(run, self.reference, self._outcome) if self.finishes(run, **how) else ["did not resume"]

    def _replace_worker(self) -> None:
        self._worker.kill()
        self._worker, self._next = self._next, Worker(self._store, self._work)

    def close(self) -> None:
        self._worker.kill()
        self._next.kill()


def random_kills(trainings: Trainings, kills: int, *, seed: int = 0) -> Figures:
    """Kill trainings, and up to two resumptions of each, at random instants; then let them end."""
    rng, figures, number = np.random.default_rng(seed), Figures(), 0
    while figures.states < kills:
        number += 1
        run, instants = trainings.folder / f"run-{number}", []
        for _ in range(min(rng.integers(1, MAX_IN_A_ROW + 1), kills - figures.states)):
            instants.append(f"{rng.uniform(0, trainings.seconds):.3f}")
            trainings.begin(run)
            figures.states += trainings.kill_after(float(instants[-1]))
        where = f"killed after {', '.join(instants)} s"
        figures.note(where, trainings.problems(run))
    return figures


def naive_kills(trainings: Trainings, naive: str) -> Figures:
    """Kill one training in the middle of an epoch, and resume it as a naive loop would: what must be found."""
    run, figures = trainings.folder / naive.replace(" ", "-"), Figures(states=1)
    trainings.dies_at(run, 1 + 6)  # four steps are an epoch
    figures.note(naive, trainings.problems(run, naive=naive))
    return figures


def long_version(empty_folder: Callable[[], Path], seed: int) -> Iterator[Row]:
    """Kill trainings 100 times."""
    trainings = Trainings(empty_folder())
    found = {naive: naive_kills(trainings, naive).problems.total() for naive in NAIVE}
    figures = random_kills(trainings, 100, seed=seed)
    trainings.close()
    yield Row(
        "a training killed at a random instant, then resumed",
        f"{figures.states:,} states",
        figures.problems.total(),
        figures.examples,
        "a loop that " + ", that ".join(f"{naive}: {count} problems" for naive, count in found.items()),
        min(found.values()),
    )
