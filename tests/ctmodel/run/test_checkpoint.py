"""A checkpoint returns as it was saved, or is said to be damaged, and then the one before it is taken."""

import dataclasses
import errno
import io
import os
import zipfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from ctmodel.errors import RunDamaged, RunError
from ctmodel.run.checkpoint import DIGEST_BYTES, Checkpoint, load_checkpoint, load_latest, save_checkpoint
from ctmodel.run.history import Epoch


def a_checkpoint(**changes) -> Checkpoint:
    generator = np.random.default_rng(0)
    whole = Checkpoint(
        variables=[generator.random((3, 2), dtype=np.float32), np.array(7, np.int64)],
        best=[generator.random((3, 2), dtype=np.float32)],
        history=[Epoch(1, 0.01, 0.7, float("nan"), 0.5, 0.1 + 0.2, 0.5, 0.5)],
        steps=2,
        rows=np.array([5, 1, 4]),
        outputs=generator.random((3, 1), dtype=np.float32),
    )
    return dataclasses.replace(whole, **changes)


@pytest.fixture
def path(tmp_path) -> Path:
    save_checkpoint(tmp_path / "checkpoint.npz", a_checkpoint())
    return tmp_path / "checkpoint.npz"


def test_a_checkpoint_returns_as_it_was_saved(path):
    found, expected = load_checkpoint(path), a_checkpoint()
    for name in ("variables", "best"):
        for one, other in zip(getattr(found, name), getattr(expected, name), strict=True):
            assert (one.dtype, one.tobytes()) == (other.dtype, other.tobytes())
    assert repr(found.history) == repr(expected.history)  # to the last digit; a NaN is not equal to itself
    assert (found.steps, found.rows.tolist(), found.outputs.tolist()) == (2, [5, 1, 4], expected.outputs.tolist())


def test_numpy_reads_a_checkpoint_too(path):
    with np.load(path) as saved:
        assert saved["rows"].tolist() == [5, 1, 4]


def test_every_flipped_bit_and_every_missing_end_is_found(path):
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        with pytest.raises(RunDamaged, match="its checksum does not match"):
            load_checkpoint(path)
        path.write_bytes(whole[:place])
        with pytest.raises(RunDamaged, match="its checksum does not match"):
            load_checkpoint(path)


def sealed(content: bytes) -> bytes:
    return content + sha256(content).digest()


def packed_in_a_way_that_zipfile_does_not_know(whole: bytes) -> bytes:
    content = bytearray(whole[:-DIGEST_BYTES])
    for header, place in ((b"PK\x01\x02", 10), (b"PK\x03\x04", 8)):
        content[content.find(header) + place] = 99
    with pytest.raises(NotImplementedError), zipfile.ZipFile(io.BytesIO(content)) as saved:
        saved.read(saved.namelist()[0])
    return sealed(bytes(content))


def with_a_pickle(_: bytes) -> bytes:
    content = io.BytesIO()
    np.savez(content, said=np.array([{"a": 1}], dtype=object))
    return sealed(content.getvalue())


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda _: sealed(b"not a checkpoint"), "cannot be read"),
        (packed_in_a_way_that_zipfile_does_not_know, "compression"),
        (with_a_pickle, "Object arrays cannot be loaded"),
    ],
)
def test_what_is_sealed_but_no_checkpoint_is_damaged_too(path, spoil, reason):
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(RunDamaged, match=reason):
        load_checkpoint(path)


def test_the_one_before_is_kept_and_taken_where_the_latest_is_damaged(path):
    before, said = path.with_name("before.npz"), []
    save_checkpoint(path, a_checkpoint(steps=3), former=before)
    assert load_latest([path, before], say=said.append).steps == 3
    path.write_bytes(path.read_bytes()[:-1])
    assert load_latest([path, before], say=said.append).steps == 2
    assert said == [f"{path}: cannot be read (its checksum does not match); going on from the one before, before.npz"]


def test_the_one_before_is_taken_where_a_kill_left_no_other(path):
    assert load_latest([path.with_name("none.npz"), path], say=pytest.fail).steps == 2


def test_no_checkpoint_is_none_and_damaged_ones_alone_are_an_error(path):
    assert load_latest([path.with_name("none.npz")], say=pytest.fail) is None
    path.write_bytes(b"")
    with pytest.raises(RunDamaged, match="restore it, or delete the run folder and train again"):
        load_latest([path.with_name("none.npz"), path], say=pytest.fail)


def test_a_full_disk_leaves_the_checkpoint_that_is_there(path, monkeypatch):
    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(RunError, match=r"No space left on device.*--resume"):
        save_checkpoint(path, a_checkpoint(steps=3), former=path.with_name("before.npz"))
    assert load_checkpoint(path).steps == 2
    assert [file.name for file in path.parent.iterdir()] == [path.name]
