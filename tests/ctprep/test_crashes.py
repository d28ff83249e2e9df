"""Conversions that are killed, that fail and that meet."""

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
