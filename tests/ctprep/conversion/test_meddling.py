"""What others lay, swap or link where a conversion reads and writes: it stops or mends, and destroys nothing."""

import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import google_crc32c
import nibabel
import numpy as np
import pytest
import zarr

import ctprep
from ctprep.conversion.planning.plan import Action
from ctprep.conversion.staging import Staging
from ctprep.errors import CatalogError, StoreError, TargetError
from ctprep.store.chunk import chunk_path, encode_chunk
from ctprep.store.seal import ROOT
from ctprep.store.store import _open, open_store
from ctprep.store.verify import verify
from ctprep.views.preview import plan_conversion
from ctprep.volume.recipe import Recipe
from tests.conftest import reseal, write_scan
from tests.torture.hostile_limits import no_hang

SMALL = Recipe(shape=(8, 8, 4))


def convert(raw, out, **kwargs):
    return ctprep.convert(raw, out, recipe=SMALL, scheduler="synchronous", **kwargs)


def digest_from_nothing(raw, tmp_path):
    return convert(raw, tmp_path / "nothing.zarr").store.digest()


def when_half_done(meddle, *, then=None):
    """Return a progress that meddles after the plan is made, and raises an error at the end."""

    @contextmanager
    def progress(_total, doing):
        if doing == "checking":
            yield lambda _count: None
            return
        meddle()
        yield lambda _count: None
        if then:
            raise then

    return progress


@pytest.fixture
def store(raw, tmp_path):
    return convert(raw, tmp_path / "out.zarr").store.path


def lay_file(out):
    out.write_text("thesis")


def lay_folder(out):
    (out / "thesis").mkdir(parents=True)


@pytest.mark.parametrize("lay", [lay_file, lay_folder])
def test_what_appears_in_the_target_s_place_stays(raw, tmp_path, lay):
    out = tmp_path / "out.zarr"
    with pytest.raises(TargetError, match="move away what appeared in its place"):
        convert(raw, out, progress=when_half_done(lambda: lay(out)))
    assert out.read_text() == "thesis" if out.is_file() else (out / "thesis").is_dir()


def test_what_takes_a_store_s_place_stays(raw, store, tmp_path):
    write_scan(raw / "CT-0" / "new.nii.gz", seed=9)

    def replace():
        shutil.rmtree(store)
        lay_folder(store)

    with pytest.raises(TargetError):
        convert(raw, store, progress=when_half_done(replace), rebuild=True)
    assert (store / "thesis").is_dir()


@pytest.mark.parametrize("exchanges", [True, False])
def test_what_takes_the_place_in_the_last_moment_comes_back(tmp_path, monkeypatch, exchanges):
    staging = Staging(tmp_path / "out.zarr")
    staging.target.mkdir()
    check = Staging._check_is_what_was_found

    def replaced_after_the_first(path):
        check(staging, path)
        if path == staging.target:
            shutil.rmtree(staging.target)
            lay_folder(staging.target)

    def unsupported(first, second):
        raise OSError(22, "no such operation")

    if not exchanges:
        monkeypatch.setattr("ctprep.conversion.staging.exchange", unsupported)
    with staging.locked():
        staging.next.mkdir()
        monkeypatch.setattr(staging, "_check_is_what_was_found", replaced_after_the_first)
        with pytest.raises(TargetError, match="is left alone; run it again"):
            staging.commit()
    assert (staging.target / "thesis").is_dir()


def swap(first, second):
    aside = first.with_name("aside")
    first.rename(aside)
    second.rename(first)
    aside.rename(second)


@pytest.mark.parametrize("meddle", ["another store", "swapped chunks"])
def test_chunks_are_those_that_were_planned_with(raw, store, tmp_path, meddle):
    for number in range(6):
        write_scan(tmp_path / "others" / f"CT-{number // 3}" / f"study_{number:04}.nii.gz", seed=100 + number)
    other = convert(tmp_path / "others", tmp_path / "other.zarr").store.path
    write_scan(raw / "CT-0" / "new.nii.gz", seed=9)

    def act():
        if meddle == "another store":
            swap(store, other)
        else:
            swap(store / chunk_path(2), store / chunk_path(3))

    with pytest.raises(TargetError, match="was changed by another program; run it again"):
        convert(raw, store, progress=when_half_done(act))
    assert convert(raw, store).store.digest() == digest_from_nothing(raw, tmp_path)


def test_finished_volumes_that_change_places_are_converted_again(raw, tmp_path):
    out = tmp_path / "out.zarr"
    with pytest.raises(KeyboardInterrupt):
        convert(raw, out, progress=when_half_done(lambda: None, then=KeyboardInterrupt()))
    first, second, *_ = sorted(Staging(out).folder.glob("work/*/*.chunk"))
    swap(first, second)
    plan = plan_conversion(raw, out, recipe=SMALL)
    assert (plan.count(Action.REUSE), plan.count(Action.CONVERT)) == (4, 2)
    assert convert(raw, out).store.digest() == digest_from_nothing(raw, tmp_path)


def pair_in(raw):
    return write_scan(raw / "CT-0" / "pair.hdr", kind=nibabel.Nifti1Pair)


def join(pair):
    pair.with_suffix(".nii").write_bytes(pair.read_bytes() + pair.with_suffix(".img").read_bytes())
    pair.unlink()
    pair.with_suffix(".img").unlink()


def shift_bytes(pair):
    header, img = pair.read_bytes(), pair.with_suffix(".img")
    pair.write_bytes(header[:-16])
    img.write_bytes(header[-16:] + img.read_bytes())


@pytest.mark.parametrize("change", [join, shift_bytes])
def test_a_pair_is_told_from_any_other_cut_of_its_bytes(raw, tmp_path, change):
    pair = pair_in(raw)
    pair.write_bytes(pair.read_bytes() + bytes(16))
    before = convert(raw, tmp_path / "out.zarr").store.digest()
    change(pair)
    assert before != convert(raw, tmp_path / "out.zarr").store.digest() == digest_from_nothing(raw, tmp_path)


def test_a_working_folder_that_is_a_link_is_not_followed(raw, tmp_path):
    (tmp_path / "docs" / "old").mkdir(parents=True)
    (tmp_path / "docs" / "thesis").write_text("dear")
    (tmp_path / ".out.zarr.ctprep").symlink_to(tmp_path / "docs")
    with pytest.raises(TargetError, match="is a link, and may be somebody else's folder"):
        convert(raw, tmp_path / "out.zarr")
    assert sorted(path.name for path in (tmp_path / "docs").iterdir()) == ["old", "thesis"]


def test_a_lock_that_is_a_link_is_not_followed(raw, tmp_path):
    (tmp_path / "thesis").write_text("dear")
    (tmp_path / ".out.zarr.ctprep").mkdir()
    (tmp_path / ".out.zarr.ctprep" / "lock").symlink_to(tmp_path / "thesis")
    with pytest.raises(TargetError):
        convert(raw, tmp_path / "out.zarr")
    assert (tmp_path / "thesis").read_text() == "dear"


def test_what_is_not_ours_in_the_working_folder_stays(raw, store):
    hidden = Staging(store).folder
    (hidden / "thesis").mkdir()
    (hidden / ".writing-7-sources.jsonl").write_text("killed")
    convert(raw, store)
    assert sorted(path.name for path in hidden.iterdir()) == ["lock", "sources.jsonl", "thesis"]


def test_the_raw_folder_is_not_replaced(raw, store):
    inside = store / "raw"
    shutil.copytree(raw, inside)
    with pytest.raises(TargetError, match="holds the raw folder"):
        convert(inside, store)
    assert len(list(inside.rglob("*.nii.gz"))) == 6


def test_a_target_within_a_store_is_refused(raw, store):
    before = open_store(store).digest()
    with pytest.raises(TargetError, match=r"lies in the store .*out\.zarr"):
        convert(raw, store / "inner.zarr")
    assert open_store(store).digest() == before


@pytest.mark.parametrize("rebuild", [False, True])
def test_what_others_keep_in_a_store_is_not_lost(raw, store, rebuild):
    (store / "run" / "deep").mkdir(parents=True)
    (store / "run" / "deep" / "model.keras").write_text("weights")
    (store / ".DS_Store").write_text("")
    with pytest.raises(TargetError, match=r"holds run/deep/model\.keras and perhaps more .* move it away"):
        convert(raw, store, rebuild=rebuild)
    shutil.rmtree(store / "run")
    convert(raw, store, rebuild=rebuild)
    assert verify(store).findings == ()


def test_the_voxels_of_a_pair_are_not_read_through_a_link_out_of_the_raw_folder(raw, tmp_path):
    img = pair_in(raw).with_suffix(".img")
    (tmp_path / "secret.img").write_bytes(img.read_bytes())
    img.unlink()
    img.symlink_to(tmp_path / "secret.img")
    (rejected,) = convert(raw, tmp_path / "out.zarr").rejected
    assert (rejected.scan, rejected.code) == ("CT-0/pair", "unreadable")
    way = "follow it with --follow-links, or copy its target there"
    assert rejected.reason == f"pair.img: is a link out of the raw folder; {way}"


def test_a_table_that_is_a_link_out_of_the_raw_folder_is_not_read(raw, tmp_path):
    (tmp_path / "secret").write_text("root:x:0:0")
    (raw / "participants.tsv").symlink_to(tmp_path / "secret")
    with pytest.raises(CatalogError, match=r"^participants\.tsv: is a link out of the raw folder"):
        convert(raw, tmp_path / "out.zarr")


def test_chunks_that_are_links_become_files(raw, store, tmp_path):
    chunk = store / chunk_path(1)
    chunk.rename(tmp_path / "annexed")
    chunk.symlink_to(tmp_path / "annexed")
    write_scan(raw / "CT-0" / "new.nii.gz", seed=9)
    assert convert(raw, store).store.digest() == digest_from_nothing(raw, tmp_path)
    assert not any(path.is_symlink() for path in store.rglob("*"))


@pytest.mark.parametrize("name", [chunk_path(2), "label/c/0", "label/zarr.json", ROOT, "volume/zarr.json", "notes"])
def test_a_pipe_in_a_store_is_waited_for_by_nobody(raw, store, tmp_path, name):
    (store / name).unlink(missing_ok=True)
    os.mkfifo(store / name)
    with no_hang(20):
        assert verify(store).findings
        if name == chunk_path(2):
            assert convert(raw, store).store.digest() == digest_from_nothing(raw, tmp_path)
        elif name == ROOT:
            with pytest.raises(TargetError, match="is not a ctprep store"):
                convert(raw, store)
        elif name != "notes":
            with pytest.raises(StoreError, match="--rebuild"):
                convert(raw, store)
            assert convert(raw, store, rebuild=True).store.digest() == digest_from_nothing(raw, tmp_path)


def test_a_pipe_among_what_is_remembered_is_waited_for_by_nobody(raw, store):
    sources = Staging(store).sources
    sources.unlink()
    os.mkfifo(sources)
    with no_hang(20):
        assert {row.reason for row in plan_conversion(raw, store, recipe=SMALL).rows} == {"same bytes"}


def test_an_edit_in_the_second_of_the_conversion_is_seen_where_files_have_whole_seconds(raw, tmp_path, monkeypatch):
    stat = Path.stat

    def whole_seconds(path, **how):
        found = list(stat(path, **how))
        times = {name: getattr(stat(path, **how), name) // 10**9 * 10**9 for name in ("st_mtime_ns", "st_ctime_ns")}
        return os.stat_result(found, times)

    path = write_scan(raw / "CT-0" / "edited.nii", seed=50)
    monkeypatch.setattr(Path, "stat", whole_seconds)
    convert(raw, tmp_path / "out.zarr")
    write_scan(path, seed=51)
    assert convert(raw, tmp_path / "out.zarr").store.digest() == digest_from_nothing(raw, tmp_path)


@pytest.mark.parametrize("content", ['["CT-0/study_0000", "x y z w", "5ca1e"]', "[" * 100_000, '["a", "' + "9" * 5000])
def test_damage_to_what_is_remembered_costs_time_and_nothing_else(raw, store, content):
    Staging(store).sources.write_text(content)
    assert convert(raw, store).reused == 6


def test_metadata_nested_without_end_is_no_store(raw, tmp_path):
    (tmp_path / "out.zarr").mkdir()
    (tmp_path / "out.zarr" / ROOT).write_text("[" * 100_000)
    with pytest.raises(TargetError, match="is not a ctprep store"):
        convert(raw, tmp_path / "out.zarr")
    with pytest.raises(StoreError, match="is not a readable ctprep store"):
        open_store(tmp_path / "out.zarr")


def test_a_chunk_beyond_any_size_is_found_and_converted_again(raw, store, tmp_path):
    whole = open_store(store).digest()
    os.truncate(store / chunk_path(1), 1 << 40)
    (finding,) = verify_volumes(store)
    assert finding == ("CT-0/study_0001", "is damaged (its checksum does not match); convert again to rebuild it")
    assert convert(raw, store).store.digest() == whole


def verify_volumes(path):
    store, out = open_store(path), np.empty(SMALL.shape, np.float16)
    problems = ((scan, store.read_or_say(row, out)) for row, scan in enumerate(store.scans))
    return [(scan, problem) for scan, problem in problems if problem]


@pytest.mark.parametrize("shape", [(8, 8, 5), (1, 1, 3)])
def test_a_chunk_of_another_size_is_found(store, shape):
    chunk = encode_chunk(np.zeros(shape, np.float16))
    (store / chunk_path(1)).write_bytes(chunk)
    zarr.open_array(store / "volume_crc32c", mode="r+")[1] = int.from_bytes(chunk[-4:], "little")
    reseal(store)
    assert verify_volumes(store) == [("CT-0/study_0001", "is of another size; convert again to rebuild it")]


def test_links_in_a_store_are_found(store, tmp_path):
    before = open_store(store).digest()
    (store / "volume" / "evil").symlink_to("/etc")
    assert [finding.where for finding in verify(store).findings] == ["volume/evil"]
    assert open_store(store).digest() != before


@pytest.mark.parametrize("read", [lambda store: store.digest(), lambda store: store.check_still_there()])
def test_what_was_read_of_two_stores_is_an_error(raw, store, read):
    opened = open_store(store)
    convert(raw, store, rebuild=True)
    with pytest.raises(StoreError, match="was replaced while it was read"):
        read(opened)


def test_verification_of_two_stores_in_turn_is_an_error(raw, store):
    with pytest.raises(StoreError, match="was replaced while it was read"):
        verify(store, progress=when_half_done(lambda: convert(raw, store, rebuild=True)))


@pytest.mark.parametrize("name", ["affine", "hu_quantile", "source_sha256"])
def test_a_table_of_another_shape_is_refused_before_it_is_read(store, name):
    path = store / name / ROOT
    shape = zarr.open_array(store / name).shape
    path.write_text(path.read_text().replace(f'"shape": [\n    {shape[0]}', '"shape": [\n    100000000'))
    assert "100000000" in path.read_text()
    reseal(store)
    with pytest.raises(StoreError, match=f"its array {name} has the shape"):
        open_store(store)


def change_metadata(store, name, **changed):
    path = store / name / ROOT
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    reseal(store)


@pytest.mark.parametrize(
    ("name", "changed", "said"),
    [
        ("volume", {"shape": [6, 8, 8, 5]}, r"its volumes are \(6, 8, 8, 5\) float16, its recipe says \(8, 8, 4\)"),
        ("label", {"dimension_names": ["patient"]}, "its array label is not one row a scan"),
    ],
)
def test_metadata_that_fits_nothing_else_is_refused(store, name, changed, said):
    change_metadata(store, name, **changed)
    with pytest.raises(StoreError, match=said):
        open_store(store)


@pytest.mark.parametrize("lost", ["label", "meta_age"])
def test_a_table_without_its_chunk_is_refused(raw, tmp_path, lost):
    lines = [f"{scan.id},{scan.id.split('/')[0]},{40 + row}" for row, scan in enumerate(ctprep.find_scans(raw).scans)]
    (tmp_path / "table.csv").write_text("\n".join(["scan,label,age", *lines]))
    store = convert(ctprep.find_scans(raw, labels=tmp_path / "table.csv"), tmp_path / "out.zarr").store.path
    (store / lost / "c" / "0").unlink()
    reseal(store)
    with pytest.raises(StoreError, match=f"its array {lost} is missing"):
        open_store(store)


def test_a_chunk_that_is_no_blosc_buffer_is_found(store):
    content = bytes(4) + (8 * 8 * 4 * 2).to_bytes(4, "little") + b"x" * 40
    chunk = content + google_crc32c.value(content).to_bytes(4, "little")
    (store / chunk_path(1)).write_bytes(chunk)
    zarr.open_array(store / "volume_crc32c", mode="r+")[1] = int.from_bytes(chunk[-4:], "little")
    reseal(store)
    assert verify_volumes(store) == [("CT-0/study_0001", "cannot be inflated; convert again to rebuild it")]


@pytest.mark.parametrize("damaged_first", [False, True])
def test_a_store_that_is_replaced_while_it_is_opened_is_opened_again(raw, store, monkeypatch, damaged_first):
    if damaged_first:
        (store / "label" / "c" / "0").unlink()
    opened = []

    def replaced_meanwhile(path, identity, first=_open):
        try:
            opened.append(first(path, identity))
        finally:
            if len(opened) == (not damaged_first):
                monkeypatch.undo()
                convert(raw, path, rebuild=True)
        return opened[-1]

    monkeypatch.setattr("ctprep.store.store._open", replaced_meanwhile)
    store = open_store(store)
    assert store.is_still_there()
    assert store not in opened
    assert store.digest()


def test_a_store_that_cannot_be_read_has_no_digest(store, monkeypatch):
    def refused(_path):
        raise PermissionError(13, "Permission denied", "label/c/0")

    opened = open_store(store)
    monkeypatch.setattr("ctprep.store.store.tree_digest", refused)
    with pytest.raises(StoreError, match=r"cannot be read \(Permission denied: label/c/0\)"):
        opened.digest()


def test_a_chunk_that_is_gone_belongs_to_no_row(store):
    opened = open_store(store)
    assert opened.holds_chunk_of(1)
    (store / chunk_path(1)).unlink()
    assert not opened.holds_chunk_of(1)
