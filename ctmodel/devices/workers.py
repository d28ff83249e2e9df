"""How a training is distributed over devices and machines: who computes what, and what machines tell each other.

Each runs the same command in a process of its own, with `TF_CONFIG` as TensorFlow knows it. The first of them, the
chief, writes the run folder; the others write nothing.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ctmodel.devices.backend import is_in_use, make_workers_strategy, tf
from ctmodel.devices.cluster import meet, read_cluster
from ctmodel.devices.parts import replica_part
from ctmodel.devices.replicas import choose_strategy
from ctmodel.errors import SettingsError, WorkerGone

MEETING_SECONDS = 300.0  # a machine waits for the others to be started
HEARTBEAT_SECONDS = 30.0  # without a sign of life after which a machine is gone

GONE = (
    tf.errors.UnavailableError,
    tf.errors.DeadlineExceededError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.FailedPreconditionError,
)
"""What a step raises on one machine when another is gone."""


@dataclass(frozen=True)
class Distribution:
    """How each batch is distributed; over one machine, where there are no workers.

    Attributes
    ----------
    strategy : tf.distribute.Strategy
    place : int
        Which machine this is; 0 is the chief.
    size : int
        How many machines there are.
    """

    strategy: Any
    place: int = 0
    size: int = 1

    @property
    def is_chief(self) -> bool:
        """Whether this machine writes the run folder."""
        return self.place == 0

    def shard(self, rows: np.ndarray) -> np.ndarray:
        """Return this machine's shard of some rows."""
        return replica_part(rows, self.place, self.size)

    def all_gather(self, values: np.ndarray) -> np.ndarray:
        """Return what all machines have of an (n, m) float64 array, in their order; each has to call it."""
        return values if self.size == 1 else self._gather(tf.constant(values, tf.float64)).numpy()

    @cached_property
    def _gather(self) -> Any:
        """Gather tensors whatever their length: machines that trace at different calls would wait for each other."""
        signature = [tf.TensorSpec((None, None), tf.float64)]
        return tf.function(lambda values: self.strategy.gather(values, axis=0), input_signature=signature)

    def all_gather_text(self, text: str) -> list[str]:
        """Return what each machine says; each has to call it."""
        letters = np.frombuffer(text.encode(), np.uint8)[:, None]
        lengths = self.all_gather(np.array([letters.shape[:1]]))
        ends = np.cumsum(lengths.astype(int))
        return [word.astype(np.uint8).tobytes().decode() for word in np.split(self.all_gather(letters), ends[:-1])]

    def from_chief(self, make: Callable[[], Any]) -> Any:
        """Let the chief do something, and return on all machines what it returned there: what JSON can hold."""
        if self.size == 1:
            return make()
        return json.loads(self.all_gather_text(json.dumps(make()) if self.is_chief else "")[0])

    def from_chief_at_last(self, make: Callable[[], Any]) -> Any:
        """Return what the chief did on all machines that are still there; the chief needs none of them any more."""
        if not self.is_chief:
            return self.from_chief(make)
        made = make()
        with contextlib.suppress(*GONE):
            self.from_chief(lambda: made)
        return made

    def check_equal(self, facts: dict[str, Any]) -> None:
        """Check that all machines know the same.

        Raises
        ------
        SettingsError
            On all of them, if one differs from the chief.
        """
        if self.size == 1:
            return
        chief, *others = map(json.loads, self.all_gather_text(json.dumps(facts)))
        for place, other in enumerate(others, start=1):
            names = [name for name in chief if other.get(name) != chief[name]]
            if names:
                different = (f"{name}: {chief[name]!r} and {other.get(name)!r}" for name in names)
                raise SettingsError(
                    f"workers: the chief and worker {place} of {self.size} differ ({'; '.join(different)}); start all "
                    "with the same command, store and run folder"
                )

    @contextlib.contextmanager
    def translate_errors(self) -> Iterator[None]:
        """Raise, of what a block does together with other machines, that one of these is gone.

        Raises
        ------
        WorkerGone
            Within two times HEARTBEAT_SECONDS, mostly at once.
        """
        try:
            yield
        except GONE as error:
            if self.size == 1:
                raise
            raise WorkerGone(
                f"worker {self.place} of {self.size}: another machine is gone; see what it said, and start all of them "
                "again with --resume"
            ) from error


def distribute(name: str) -> Distribution:
    """Return the distribution of a strategy's name; of "workers" when all machines of `TF_CONFIG` are there.

    TensorFlow may wait for a machine that is gone after that without an end, and cannot be interrupted: a program that
    trains on several machines sets itself a time limit, as `ctmodel train` does.

    Raises
    ------
    SettingsError
        If `TF_CONFIG` is missing or malformed, or TensorFlow is in use in this process already.
    WorkerGone
        If a machine is not there within MEETING_SECONDS.
    """
    if name != "workers":
        return Distribution(choose_strategy(name))
    cluster = read_cluster(os.environ.get("TF_CONFIG", ""))  # the variable that TensorFlow itself reads
    if is_in_use():
        raise SettingsError("strategy: workers, but TensorFlow is in use already; train in a process of its own")
    meet(cluster, within=MEETING_SECONDS)
    try:
        strategy = make_workers_strategy(cluster.jobs, within=MEETING_SECONDS, heartbeat=HEARTBEAT_SECONDS)
    except tf.errors.OpError as error:
        raise WorkerGone(f"workers: could not begin ({_first_line(error)}); start all of them again") from error
    return Distribution(strategy, cluster.place, len(cluster.addresses))


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
