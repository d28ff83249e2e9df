"""Several machines that train one network: where they meet, what they tell each other, and what if one is gone.

Each runs the same command in a process of its own, with `TF_CONFIG` as TensorFlow knows it. The first of them, the
chief, writes the run folder; the others write nothing.
"""

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ctmodel.backend import make_workers_strategy, tf
from ctmodel.errors import SettingsError, WorkerGone
from ctmodel.order import replica_part
from ctmodel.replicas import choose_strategy

MEETING_SECONDS = 300.0  # a machine waits for the others to be started
HEARTBEAT_SECONDS = 30.0  # without a sign of life after which a machine is gone
POLL_SECONDS = 0.2

EXAMPLE = '{"cluster": {"worker": ["one:9000", "two:9000"]}, "task": {"type": "worker", "index": 0}}'

GONE = (
    tf.errors.UnavailableError,
    tf.errors.DeadlineExceededError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.FailedPreconditionError,
)
"""What a step raises on one machine when another is gone."""


@dataclass(frozen=True)
class Cluster:
    """The machines of a training.

    Attributes
    ----------
    jobs : dict of str to tuple of str
        The addresses of each kind of task, the chief's first.
    task : str
        Of which kind this machine's is.
    index : int
        Which of its kind it is, from 0.
    """

    jobs: dict[str, tuple[str, ...]]
    task: str
    index: int

    @property
    def addresses(self) -> tuple[str, ...]:
        """Those of all machines, the chief's first."""
        return tuple(address for job in self.jobs.values() for address in job)

    @property
    def place(self) -> int:
        """Which of `addresses` is this machine's."""
        return self.index + (len(self.jobs["chief"]) if "chief" in self.jobs and self.task != "chief" else 0)


@dataclass(frozen=True)
class Team:
    """The machines that share each batch; one of one, where there are no workers.

    Attributes
    ----------
    strategy : tf.distribute.Strategy
    place : int
        Which one this is; 0 is the chief.
    size : int
        How many there are.
    """

    strategy: Any
    place: int = 0
    size: int = 1

    @property
    def is_chief(self) -> bool:
        """Whether this machine writes the run folder."""
        return self.place == 0

    def own(self, rows: np.ndarray) -> np.ndarray:
        """Return this machine's part of some rows."""
        return replica_part(rows, self.place, self.size)

    def gathered(self, values: np.ndarray) -> np.ndarray:
        """Return what all machines have of an (n, m) float64 array, in their order; each has to call it."""
        return values if self.size == 1 else self._gather(tf.constant(values, tf.float64)).numpy()

    @cached_property
    def _gather(self) -> Any:
        """Gather tensors whatever their length: machines that trace at different calls would wait for each other."""
        signature = [tf.TensorSpec((None, None), tf.float64)]
        return tf.function(lambda values: self.strategy.gather(values, axis=0), input_signature=signature)

    def words(self, text: str) -> list[str]:
        """Return what each machine says; each has to call it."""
        letters = np.frombuffer(text.encode(), np.uint8)[:, None]
        lengths = self.gathered(np.array([letters.shape[:1]]))
        ends = np.cumsum(lengths.astype(int))
        return [word.astype(np.uint8).tobytes().decode() for word in np.split(self.gathered(letters), ends[:-1])]

    def word_of_chief(self, make: Callable[[], Any]) -> Any:
        """Let the chief do something, and return on all machines what it returned there: what JSON can hold."""
        if self.size == 1:
            return make()
        return json.loads(self.words(json.dumps(make()) if self.is_chief else "")[0])

    def agree(self, facts: dict[str, Any]) -> None:
        """See that all machines know the same.

        Raises
        ------
        SettingsError
            On all of them, if one differs from the chief.
        """
        if self.size == 1:
            return
        chief, *others = map(json.loads, self.words(json.dumps(facts)))
        for place, other in enumerate(others, start=1):
            names = [name for name in chief if other.get(name) != chief[name]]
            if names:
                different = (f"{name}: {chief[name]!r} and {other.get(name)!r}" for name in names)
                raise SettingsError(
                    f"workers: the chief and worker {place} of {self.size} differ ({'; '.join(different)}); start all "
                    "with the same command, store and run folder"
                )

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Say of what a block does together with other machines that one of these is gone.

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


def gather_team(name: str) -> Team:
    """Return the team of a strategy's name; of "workers" when all machines of `TF_CONFIG` are there.

    Raises
    ------
    SettingsError
        If `TF_CONFIG` is missing or malformed, or TensorFlow is in use in this process already.
    WorkerGone
        If a machine is not there within MEETING_SECONDS.
    """
    if name != "workers":
        return Team(choose_strategy(name))
    cluster = read_cluster(os.environ.get("TF_CONFIG", ""))  # the variable that TensorFlow itself reads
    meet(cluster, within=MEETING_SECONDS)
    try:
        strategy = make_workers_strategy(cluster.jobs, within=MEETING_SECONDS, heartbeat=HEARTBEAT_SECONDS)
    except RuntimeError as error:
        raise SettingsError(
            f"strategy: workers, but TensorFlow is in use already ({error}); train in a process of its own"
        ) from error
    except tf.errors.OpError as error:
        raise WorkerGone(f"workers: could not begin ({_first_line(error)}); start all of them again") from error
    return Team(strategy, cluster.place, len(cluster.addresses))


def read_cluster(text: str) -> Cluster:
    """Return what `TF_CONFIG` says.

    Raises
    ------
    SettingsError
        If it says nothing that can be used.

    Examples
    --------
    >>> cluster = read_cluster(EXAMPLE)
    >>> cluster.addresses, cluster.place
    (('one:9000', 'two:9000'), 0)
    """
    try:
        return _cluster_of(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else error
        found = f"{text!r} ({reason})" if text else "is not set"
        raise SettingsError(
            f"TF_CONFIG: {found}, expected the machines and which one this is; set it as in {EXAMPLE}, or choose "
            "another --strategy"
        ) from error


def _cluster_of(said: dict[str, Any]) -> Cluster:
    jobs, task, index = said["cluster"], said["task"]["type"], int(said["task"]["index"])
    odd = sorted(jobs.keys() - {"chief", "worker"})
    if odd:
        raise ValueError(f"tasks of the kind {', '.join(odd)}")
    cluster = Cluster({job: tuple(jobs[job]) for job in ("chief", "worker") if job in jobs}, task, index)
    if not 0 <= index < len(cluster.jobs[task]):
        raise ValueError(f"no {task} {index}")
    if len(cluster.addresses) < 2 or len(cluster.jobs.get("chief", ())) > 1:
        raise ValueError("not two machines or more, of which one is the chief")
    if len(set(cluster.addresses)) < len(cluster.addresses):
        raise ValueError("an address that comes twice")
    for address in cluster.addresses:
        _host_and_port(address)
    return cluster


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not 0 < int(port) < 1 << 16:
        raise ValueError(f"{address!r} is no host:port")
    return host.strip("[]"), int(port)


def meet(cluster: Cluster, *, within: float) -> None:
    """Return when all machines are there.

    TensorFlow waits for them as well, but without an end, and nothing but SIGKILL stops it.

    Parameters
    ----------
    cluster : Cluster
    within : float
        Seconds.

    Raises
    ------
    SettingsError
        If this machine's port is in use.
    WorkerGone
        If one of the others is not there in time.
    """
    end = time.monotonic() + within
    _, port = _host_and_port(cluster.addresses[cluster.place])
    with _listening(port, backlog=len(cluster.addresses)):
        for address in cluster.addresses:
            if address != cluster.addresses[cluster.place]:
                _reach(address, until=end, within=within)


def _listening(port: int, *, backlog: int) -> socket.socket:
    """Return a socket that lets others see that this machine is there."""
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    try:
        return socket.create_server(("", port), family=family, backlog=backlog, dualstack_ipv6=dual)
    except OSError as error:
        raise SettingsError(
            f"TF_CONFIG: port {port} cannot be used ({error.strerror}); end what uses it, or choose another port"
        ) from error


def _reach(address: str, *, until: float, within: float) -> None:
    while True:
        try:
            left = max(until - time.monotonic(), POLL_SECONDS)
            socket.create_connection(_host_and_port(address), timeout=left).close()
            return
        except OSError as error:
            if time.monotonic() >= until:
                raise WorkerGone(
                    f"{address}: is not there after {within:g} s ({error}); start the same command on every machine "
                    "of TF_CONFIG, and see that they reach each other"
                ) from error
            time.sleep(POLL_SECONDS)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
