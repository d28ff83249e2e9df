"""Conversions that are killed, that fail and that meet; short versions of kills, faults and locks in tests/torture."""

import errno
import fcntl
from functools import partial

import pytest

import ctprep
from ctprep.conversion.staging import Staging, exchange
from ctprep.errors import TargetError
from ctprep.execution.pool import ProcessPool
from ctprep.volume.recipe import Recipe
from tests.torture import faults, interruptions, kills, locks
from tests.torture.cohort import write_by_naive_pool, write_naively


@pytest.fixture(scope="module")
def alone():
    """Give a function that calls another in a process that has no threads to fork, whatever was tested before."""
    with ProcessPool(1) as pool:
        yield lambda function, *args, **kwargs: pool.call(partial(function, *args, **kwargs))


def test_a_conversion_killed_at_any_instant_leaves_a_whole_store_and_resumes(alone, tmp_path):
    figures = alone(kills.random_kills, tmp_path, 15)
    assert figures.states >= 15
    assert not figures.problems, figures


def test_a_conversion_killed_before_any_step_leaves_a_whole_store_and_resumes(alone, tmp_path):
    figures = alone(kills.step_kills, tmp_path, every=97)
    assert figures.states > 25
    assert not figures.problems, figures


def test_a_conversion_survives_the_death_of_a_worker(alone, tmp_path):
    figures = alone(kills.worker_kills, tmp_path, 1)
    assert not figures.problems, figures


def test_a_step_that_fails_is_said_and_the_store_is_whole(alone, tmp_path):
    figures = alone(faults.step_faults, tmp_path, every=179)
    assert figures.states > 25
    assert not figures.problems, figures


def test_of_eight_conversions_at_once_one_works(alone, tmp_path):
    figures, seen = alone(locks.contention, tmp_path, 5, 20)
    assert seen.total() >= 20
    assert not figures.problems, figures
    assert seen.keys() <= {locks.ONE, locks.OTHER}


def test_an_interrupted_command_ends_in_one_line_and_resumes(tmp_path):
    figures, _ = interruptions.interruptions(tmp_path, 3)
    assert not figures.problems, figures


def found_by(harness, alone, folder, *args, **kwargs):
    """Return the problems of a naive writer that the first seed finds of some; at some instants a kill does no harm."""
    for seed in range(20):
        (folder / str(seed)).mkdir(parents=True)
        if problems := alone(harness, folder / str(seed), *args, seed=seed, **kwargs).problems:
            return problems
    return pytest.fail("found nothing")


def test_the_harnesses_report_what_a_naive_writer_leaves(alone, tmp_path):
    first = {"names": ["first"], "write": write_naively}
    killed = found_by(kills.random_kills, alone, tmp_path / "random", 10, **first)
    stopped = found_by(kills.step_kills, alone, tmp_path / "steps", every=7, **first)
    for problems in (killed, stopped):
        assert problems.keys() <= {"opens as complete and is not", "neither absent nor whole"}
    (tmp_path / "faults").mkdir()
    failed = alone(faults.step_faults, tmp_path / "faults", every=13, **first)
    assert failed.problems["opens as complete and is not"] > 0, failed
    assert failed.problems["ended in a traceback"] > 0


def test_the_harness_of_locks_reports_what_naive_writers_do_to_each_other(alone, tmp_path):
    met, seen = alone(locks.contention, tmp_path, 2, 40, write=write_naively, read=locks.look_naively)
    assert met.problems.total() >= 2  # writers that fall over each other's files, or all succeed
    assert seen[locks.INCOMPLETE] + seen[locks.FAILED] > 0


def test_a_naive_pool_does_not_survive_the_death_of_a_worker(alone, tmp_path):
    assert found_by(kills.worker_kills, alone, tmp_path, 1, write=write_by_naive_pool)


def test_an_interrupted_script_says_nothing_that_helps(tmp_path):
    figures, _ = interruptions.interruptions(tmp_path, 1, schedulers=interruptions.NAIVELY)
    assert figures.problems["did not say how to resume"] == 1


def test_a_store_that_is_replaced_while_it_is_opened_is_opened_again(raw, tmp_path, monkeypatch):
    recipes = Recipe(shape=(4, 4, 4)), Recipe(shape=(4, 4, 4), window=(-500, 500))
    old, new = (ctprep.convert(raw, tmp_path / name, recipe=recipe).store for name, recipe in zip("ab", recipes))
    tables, table = [], ctprep.store.store._table

    def replaced_at_the_third(group, name, n_scans):
        tables.append(name)
        if len(tables) == 3:
            exchange(old.path, new.path)
        return table(group, name, n_scans)

    monkeypatch.setattr("ctprep.store.store._table", replaced_at_the_third)
    assert locks.contents(ctprep.open_store(old.path)) == locks.contents(new)


def fill(folder, text):
    folder.mkdir(parents=True)
    (folder / "file").write_text(text)


def test_whatever_a_crash_leaves_beside_the_work_is_swept(tmp_path):
    staging = Staging(tmp_path / "out.zarr")
    fill(staging.work("key"), "volume")
    staging.sources.touch()
    (staging.folder / ".writing-17-sources.jsonl").write_text("half")
    fill(staging.folder / "next", "half")
    with staging.locked():
        assert sorted(path.name for path in staging.folder.iterdir()) == ["lock", "sources.jsonl", "work"]
        assert (staging.work("key") / "file").read_text() == "volume"


def test_a_replaced_store_half_deleted_does_not_come_back(tmp_path):
    """A crash while the old store is deleted, and a person who then deletes the new one."""
    staging = Staging(tmp_path / "out.zarr")
    fill(staging.folder / "ready", "half of the old store")
    with staging.locked():
        assert not staging.target.exists()


def test_the_old_store_stays_where_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    def cannot_exchange(first, second):
        raise OSError(errno.EINVAL, "no such operation")

    staging = Staging(tmp_path / "out.zarr")
    fill(staging.target, "old")
    rename = type(staging.target).rename

    def broken_rename(path, target):
        if path.name == "ready":
            raise OSError(errno.EIO, "broken")
        return rename(path, target)

    monkeypatch.setattr("ctprep.conversion.staging.exchange", cannot_exchange)
    with staging.locked():
        fill(staging.next, "new")
        monkeypatch.setattr(type(staging.target), "rename", broken_rename)
        with pytest.raises(TargetError, match="broken"):
            staging.commit()
    assert (staging.target / "file").read_text() == "old"


def test_a_file_system_without_locks_is_said(raw, tmp_path, monkeypatch):
    def no_locks(lock, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(TargetError, match="choose a target on a file system that has locks"):
        ctprep.convert(raw, tmp_path / "out.zarr", recipe=Recipe(shape=(4, 4, 4)))
