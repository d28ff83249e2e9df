import errno
import subprocess
import sys

import pytest

from ctprep.conversion.staging import Staging, exchange, link_or_copy
from ctprep.errors import StoreLocked, TargetError
from ctprep.files import as_target_error


def fill(folder, text):
    folder.mkdir(parents=True)
    (folder / "file").write_text(text)


def assemble(staging, text):
    fill(staging.next, text)
    staging.commit()


def content(staging):
    return (staging.target / "file").read_text()


@pytest.fixture(params=["exchange", "two-renames"])
def staging(tmp_path, request, monkeypatch):
    if request.param == "two-renames":

        def unsupported(first, second):
            raise OSError(errno.EINVAL, "no such operation")

        monkeypatch.setattr("ctprep.conversion.staging.exchange", unsupported)
    return Staging(tmp_path / "out.zarr")


def test_a_commit_creates_and_then_replaces_the_target(staging):
    for text in ("first", "second"):
        with staging.locked():
            assemble(staging, text)
        assert content(staging) == text
        assert [path.name for path in staging.folder.iterdir()] == ["lock"]


def test_work_survives_until_a_commit(staging):
    with staging.locked():
        fill(staging.work("key"), "volume")
    with staging.locked():
        assert (staging.work("key") / "file").read_text() == "volume"
        assemble(staging, "store")
    assert not staging.work("key").exists()


def test_a_tree_half_assembled_is_swept_away(staging):
    with staging.locked():
        assemble(staging, "old")
        fill(staging.next, "half")
    with staging.locked():
        assert content(staging) == "old"
        assert not staging.next.exists()


def test_a_crash_between_the_two_renames_is_finished(tmp_path):
    staging = Staging(tmp_path / "out.zarr")
    with staging.locked():
        fill(staging.folder / "old", "old")
        fill(staging.folder / "ready", "new")
    with staging.locked():
        assert content(staging) == "new"
    assert [path.name for path in staging.folder.iterdir()] == ["lock"]


def test_a_crash_after_the_exchange_keeps_the_new_tree(tmp_path):
    staging = Staging(tmp_path / "out.zarr")
    fill(staging.target, "new")
    with staging.locked():
        fill(staging.folder / "ready", "old")
    with staging.locked():
        assert content(staging) == "new"


HOLDER = """
import sys, time
from pathlib import Path
from ctprep.conversion.staging import Staging
with Staging(Path(sys.argv[1])).locked():
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_lock_dies_with_its_holder(tmp_path):
    staging = Staging(tmp_path / "out.zarr")
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, staging.target], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(StoreLocked), staging.locked():
        pass
    holder.kill()
    holder.wait()
    with staging.locked():
        pass


def test_two_folders_are_exchanged_in_one_step(tmp_path):
    fill(tmp_path / "a", "a")
    fill(tmp_path / "b", "b")
    exchange(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a" / "file").read_text() == "b"
    assert (tmp_path / "b" / "file").read_text() == "a"
    with pytest.raises(OSError, match="No such file"):
        exchange(tmp_path / "a", tmp_path / "missing")


def test_a_file_is_copied_where_it_cannot_be_linked(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("a")
    link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").stat().st_nlink == 2

    def other_file_system(source, target):
        raise OSError(errno.EXDEV, "cross-device link")

    monkeypatch.setattr("os.link", other_file_system)
    link_or_copy(tmp_path / "a", tmp_path / "c")
    assert (tmp_path / "c").read_text() == "a"
    assert (tmp_path / "c").stat().st_nlink == 1


@pytest.mark.parametrize(
    ("number", "way_out"), [(errno.ENOSPC, "free some space"), (errno.EROFS, "choose a target"), (errno.EIO, "choose")]
)
def test_faults_of_the_machine_are_said_with_a_way_out(tmp_path, number, way_out):
    with pytest.raises(TargetError, match=way_out), as_target_error(tmp_path / "out.zarr"):
        raise OSError(number, "fault")
