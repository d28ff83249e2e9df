"""Which machines train together, as `TF_CONFIG` says, and when all of them are there."""

import json
import socket
import time
from dataclasses import dataclass
from typing import Any

from ctmodel.errors import SettingsError, WorkerGone

POLL_SECONDS = 0.2

EXAMPLE = '{"cluster": {"worker": ["one:9000", "two:9000"]}, "task": {"type": "worker", "index": 0}}'


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
