"""However many machines share a batch, they come to the same weights; where one is gone, the others end and say so."""

import ast
import json
import os
import socket
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ctmodel.devices.backend import tf
from ctmodel.devices.cluster import EXAMPLE, Cluster, meet, read_cluster
from ctmodel.devices.parts import replica_part
from ctmodel.devices.workers import Distribution, distribute
from ctmodel.errors import SettingsError, WorkerGone
from ctmodel.settings import Execution
from ctmodel.training.train import train
from tests.ctmodel.devices.test_replicas import ROOT, TO_ROUNDING, distance
from tests.ctmodel.tiny_cohort import TINY
from tests.torture.training_kills import lines_of, outcome_of, row_problems

MAX_SECONDS = 200


def free_addresses(n: int) -> list[str]:
    """Return addresses of this machine that nobody uses."""
    sockets = [socket.create_server(("localhost", 0)) for _ in range(n)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return [f"localhost:{port}" for port in ports]


def begin(store: Path, folder: Path, *words: str, config: str | None = None) -> subprocess.Popen[str]:
    """Begin a training in a process of its own, as one of several machines or alone."""
    place = json.loads(config)["task"]["index"] if config else 0
    module = "tests.ctmodel.devices.train_on_workers"
    return subprocess.Popen(
        [sys.executable, "-m", module, store, folder / "run", folder / str(place), *words],
        cwd=ROOT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1"} | ({"TF_CONFIG": config} if config else {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def begin_two(store: Path, folder: Path, *, second: tuple[str, ...] = ()) -> list[subprocess.Popen[str]]:
    """Begin a training of two machines, the second with words of its own."""
    folder.mkdir(exist_ok=True)
    cluster = {"worker": free_addresses(2)}
    tasks = [{"cluster": cluster, "task": {"type": "worker", "index": index}} for index in (0, 1)]
    words: tuple[tuple[str, ...], ...] = ((), second)
    return [begin(store, folder, *own, config=json.dumps(task)) for own, task in zip(words, tasks)]


def ends(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """Wait for processes; return their exit codes, and what they printed."""
    said = [process.communicate(timeout=MAX_SECONDS) for process in processes]
    return [(process.returncode, out + errors) for process, (out, errors) in zip(processes, said)]


@pytest.fixture(scope="module")
def folders(store_path, tmp_path_factory) -> dict[str, Path]:
    """Where trainings of one machine and of two lie, which have ended, and where others may be."""
    home = tmp_path_factory.mktemp("workers")
    names = {name: home / name for name in ("alone", "two", "killed", "different")}
    names["alone"].mkdir()
    alone, two = begin(store_path, names["alone"]), begin_two(store_path, names["two"])
    assert [code for code, _ in ends([alone, *two])] == [0, 0, 0]
    return names


@pytest.mark.parametrize("place", ["0", "1"])
def test_workers_see_the_same_rows_and_come_to_the_same_weights(folders, place):
    assert lines_of(folders["two"] / place) == lines_of(folders["alone"] / "0")
    assert distance(folders["two"] / "run", folders["alone"] / "run") < TO_ROUNDING


def numbers_of(path: Path) -> list[list[int]]:
    """Return the list that ends each line of a log, where there is one."""
    return [ast.literal_eval(line[line.index("[") :]) for line in path.read_text().splitlines() if "[" in line]


@pytest.mark.parametrize("place", [0, 1])
def test_a_worker_reads_its_own_part_of_each_batch(folders, place):
    steps = numbers_of(folders["two"] / f"{place}.log")
    expected = Counter(row for rows in steps for row in replica_part(np.array(rows), place, 2).tolist())
    trained_on = {row for rows in steps for row in rows}
    if place == 0:  # predicts them all at the end, and describes them for the baselines
        expected += Counter(list(trained_on) * 2)
    read = Counter(row for rows in numbers_of(folders["two"] / f"{place}.read") for row in rows if row in trained_on)
    assert read == expected


def test_the_chief_alone_writes_the_run(folders):
    written = [(folders["two"] / f"{place}.written").read_text() for place in (0, 1)]
    assert "checkpoint.npz" in written[0]
    assert written[1] == ""


def test_a_worker_that_is_killed_ends_the_others_and_all_go_on(folders, store_path):
    (gone, said), (killed, _) = ends(begin_two(store_path, folders["killed"], second=("die_at=7",)))
    assert (gone, killed) == (1, -9)
    assert "WorkerGone: worker 0 of 2: another machine is gone" in said
    assert "start all of them again with --resume" in said
    resumed = ends(begin_two(store_path, folders["killed"]))
    assert [code for code, _ in resumed] == [0, 0], resumed
    reference = lines_of(folders["alone"] / "0")
    assert row_problems(lines_of(folders["killed"] / "0"), reference) == []
    assert outcome_of(folders["killed"] / "run") == outcome_of(folders["two"] / "run")


def test_workers_with_other_settings_find_out(folders, store_path):
    different = ends(begin_two(store_path, folders["different"], second=("batch_size=6",)))
    assert [code for code, _ in different] == [1, 1]
    for _, said in different:
        assert "SettingsError: workers: the chief and worker 1 of 2 differ (batch_size: 7 and 6)" in said
    assert not (folders["different"] / "run").exists()


class Deserted(Distribution):
    """A training whose other machine is gone."""

    def all_gather_text(self, _text: str) -> list[str]:
        raise tf.errors.UnavailableError(None, None, "Socket closed")


def test_the_chief_does_not_need_the_others_once_the_run_is_finished():
    assert Deserted(None, place=0, size=2).from_chief_at_last(lambda: "finished") == "finished"
    with pytest.raises(WorkerGone, match="worker 1 of 2: another machine is gone"):
        deserted = Deserted(None, place=1, size=2)
        with deserted.translate_errors():
            deserted.from_chief_at_last(lambda: "finished")


def test_an_error_of_tensorflow_on_one_machine_stays_what_it_is():
    with pytest.raises(tf.errors.UnavailableError), Distribution(None).translate_errors():
        raise tf.errors.UnavailableError(None, None, "of the disk")


def two_of(addresses: list[str]) -> list[Cluster]:
    return [Cluster({"worker": tuple(addresses)}, "worker", index) for index in (0, 1)]


def test_a_machine_waits_for_the_others():
    first, _ = two_of(free_addresses(2))
    waiting = threading.Thread(target=meet, args=(first,), kwargs={"within": 20})
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive()
    with socket.create_server(("localhost", int(first.addresses[1].rpartition(":")[2]))):
        waiting.join(10)
        assert not waiting.is_alive()


def test_a_machine_that_never_comes_is_not_waited_for_for_ever():
    first, second = two_of(free_addresses(2))
    with pytest.raises(WorkerGone, match=rf"{second.addresses[1]}: is not there after 0.5 s"):
        meet(first, within=0.5)


def test_a_port_in_use_is_said_to_be():
    first, _ = two_of(free_addresses(2))
    port = int(first.addresses[0].rpartition(":")[2])
    with socket.create_server(("", port)), pytest.raises(SettingsError, match=f"port {port} cannot be used"):
        meet(first, within=0.5)


def config(cluster: object = None, **task: object) -> str:
    cluster = {"worker": ["one:9000", "two:9000"]} if cluster is None else cluster
    return json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 0} | task})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "is not set"),
        ("{", "Expecting property name"),
        ("[]", "list indices"),
        ("{}", "lacks 'cluster'"),
        (json.dumps({"cluster": {"worker": ["one:1", "two:2"]}}), "lacks 'task'"),
        (config(index=2), "no worker 2"),
        (config(index=-1), "no worker -1"),
        (config(index="first"), "invalid literal"),
        (config(type="chief"), "lacks 'chief'"),
        (config({"worker": ["one:9000"]}), "not two machines or more"),
        (config({"worker": ["one:1"], "ps": ["two:1"]}), "tasks of the kind ps"),
        (config({"worker": ["one:1"], "chief": ["two:1", "three:1"]}), "not two machines or more, of which one is"),
        (config({"worker": ["one:1", "one:1"]}), "an address that comes twice"),
        (config({"worker": ["one:1", "two"]}), "'two' is no host:port"),
        (config({"worker": ["one:1", "two:99999"]}), "'two:99999' is no host:port"),
        (config({"worker": ["one:1", 2]}), "no attribute 'rpartition'"),
    ],
)
def test_a_malformed_configuration_is_refused_with_the_way_to_write_it(text, found):
    with pytest.raises(SettingsError) as caught:
        read_cluster(text)
    assert found in str(caught.value)
    assert f"set it as in {EXAMPLE}, or choose another --strategy" in str(caught.value)


def test_the_chief_comes_first():
    cluster = {"worker": ["one:1", "two:1"], "chief": ["three:1"]}
    found = [read_cluster(config(cluster, type=kind, index=at)) for kind, at in [("chief", 0), ("worker", 0)]]
    assert [one.place for one in found] == [0, 1]
    assert found[0].addresses == ("three:1", "one:1", "two:1")


def test_workers_without_a_configuration_are_refused(store_path, tmp_path, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(SettingsError, match="TF_CONFIG: is not set, expected the machines"):
        train(store_path, tmp_path / "run", TINY, execution=Execution(strategy="workers"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"xla": True}, "xla: compiles for one device, not for workers; leave --xla out"),
        (
            {"augment": "strong"},
            "augment: strong mixes scans of a batch, .*; choose light",
        ),
    ],
)
def test_settings_that_workers_cannot_follow_are_refused(store_path, tmp_path, settings, said):
    chosen = type(TINY)(**TINY.to_dict() | settings)
    with pytest.raises(SettingsError, match=said):
        train(store_path, tmp_path / "run", chosen, execution=Execution(strategy="workers"))


def test_workers_need_a_process_of_their_own(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", EXAMPLE)
    tf.constant(0)
    with pytest.raises(SettingsError, match="TensorFlow is in use already"):
        distribute("workers")


@pytest.mark.parametrize("name", ["auto", "none", "mirrored"])
def test_nothing_else_chooses_workers(name, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", EXAMPLE)
    assert distribute(name).size == 1
