"""Conversions that are killed, that fail and that meet."""

import errno
import fcntl

import pytest

import ctprep
from ctprep.errors import TargetError
from ctprep.recipe import Recipe
from ctprep.staging import Staging


def fill(folder, text):
    folder.mkdir(parents=True)
    (folder / "file").write_text(text)


def test_whatever_a_crash_leaves_beside_the_work_is_swept(tmp_path):
    staging = Staging(tmp_path / "out.zarr")
    fill(staging.work("key"), "volume")
    staging.sources.touch()
    (staging.folder / ".sources.jsonl.17.writing").write_text("half")
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

    monkeypatch.setattr("ctprep.staging.exchange", cannot_exchange)
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
