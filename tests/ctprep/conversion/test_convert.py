"""Conversion as a whole: whatever the history and the scheduler, the same bytes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import nibabel
import numpy as np
import pytest

import ctprep
from ctprep.conversion.staging import Staging
from ctprep.errors import (
    NothingConverted,
    RecipeMismatch,
    SchedulerError,
    StoreError,
    StoreLocked,
    TargetError,
)
from ctprep.store.chunk import chunk_path
from ctprep.views.preview import plan_conversion
from ctprep.volume.recipe import Recipe
from tests.conftest import chest_hu, write_scan

SMALL = Recipe(shape=(8, 8, 4))


def convert(raw, out, **kwargs):
    return ctprep.convert(raw, out, recipe=kwargs.pop("recipe", SMALL), **kwargs)


def digest_from_nothing(raw, tmp_path, **kwargs):
    """Convert with a plain loop into a fresh place: what every other history must equal."""
    fresh = tmp_path / f"fresh-{time.monotonic_ns()}.zarr"
    return convert(raw, fresh, scheduler="synchronous", **kwargs).store.digest()


def actions(plan):
    return {row.scan.id: (str(row.action), row.reason) for row in plan.rows}


@pytest.mark.parametrize(
    ("scheduler", "workers"), [("threads", 1), ("threads", 2), ("processes", 2), ("cluster", None)]
)
def test_every_scheduler_equals_the_plain_loop(raw, tmp_path, scheduler, workers, request):
    address = request.getfixturevalue("cluster") if scheduler == "cluster" else scheduler
    (raw / "CT-1" / "bad.nii.gz").write_bytes(b"not NIfTI")
    done = convert(raw, tmp_path / "out.zarr", scheduler=address, workers=workers)
    assert done.store.digest() == digest_from_nothing(raw, tmp_path)
    assert [bad.scan for bad in done.rejected] == ["CT-1/bad"]


def kill_the_worker(task):
    """A test double of `convert_scan`: one scan kills whatever touches it."""
    from ctprep.conversion.scan_task import convert_scan

    if "study_0002" in task.scan:
        os.kill(os.getpid(), signal.SIGKILL)
    return convert_scan(task)


@pytest.mark.parametrize("scheduler", ["processes", "cluster"])
def test_a_scan_that_kills_every_worker_is_rejected_by_name(raw, tmp_path, scheduler, request, monkeypatch):
    address = request.getfixturevalue("cluster") if scheduler == "cluster" else scheduler
    monkeypatch.setattr(sys.modules["ctprep.conversion.convert"], "convert_scan", kill_the_worker)
    done = convert(raw, tmp_path / "out.zarr", scheduler=address, workers=2)
    assert [(bad.scan, bad.code) for bad in done.rejected] == [("CT-0/study_0002", "unreadable")]
    assert len(done.store) == 5
    monkeypatch.undo()
    assert convert(raw, tmp_path / "out.zarr").store.digest() == digest_from_nothing(raw, tmp_path)


def convert_slowly(task):
    """A test double of `convert_scan`: there is always a scan in work to be hit."""
    from ctprep.conversion.scan_task import convert_scan

    time.sleep(0.05)
    return convert_scan(task)


def test_killed_workers_change_no_byte(tmp_path, local_cluster, monkeypatch):
    monkeypatch.setattr(sys.modules["ctprep.conversion.convert"], "convert_scan", convert_slowly)
    raw = tmp_path / "raw"
    for number in range(60):
        write_scan(raw / "CT-0" / f"study_{number:04}.nii.gz", seed=number)
    workers = list(local_cluster.workers.values())
    finished = []

    @contextmanager
    def kill_a_worker_every_ten_scans(_total, doing):
        def advance(count):
            if doing != "converting":
                return
            finished.append(count)
            if len(finished) % 10 == 5:
                with suppress(TypeError, ProcessLookupError):  # it is being started again
                    os.kill(workers[len(finished) % 20 // 10].pid, signal.SIGKILL)

        yield advance

    address = local_cluster.scheduler_address
    done = convert(raw, tmp_path / "out.zarr", scheduler=address, progress=kill_a_worker_every_ten_scans)
    assert not done.rejected
    assert done.store.digest() == digest_from_nothing(raw, tmp_path)


def test_the_order_in_which_files_lie_changes_no_byte(raw, tmp_path):
    shuffled = tmp_path / "shuffled"
    files = sorted(raw.rglob("*.nii.gz"))
    for number in np.random.default_rng(0).permutation(len(files)):
        target = shuffled / files[number].relative_to(raw)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(files[number], target)
    assert digest_from_nothing(shuffled, tmp_path) == digest_from_nothing(raw, tmp_path)


KILLED_CONVERSION = """
import os, signal, sys
import ctprep, ctprep.conversion.convert
from ctprep.volume.recipe import Recipe
module = sys.modules["ctprep.conversion.convert"]
done = []
convert_scan = module.convert_scan
def killing(task):
    result = convert_scan(task)
    done.append(task)
    if len(done) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    return result
module.convert_scan = killing
ctprep.convert(sys.argv[1], sys.argv[2], recipe=Recipe(shape=(8, 8, 4)), scheduler="synchronous")
"""


@pytest.mark.parametrize("after", [1, 3, 6])
def test_a_killed_conversion_leaves_nothing_and_resumes(raw, tmp_path, after):
    """The last volume's chunk is there, but nobody has said so in the journal."""
    out = tmp_path / "out.zarr"
    killed = subprocess.run([sys.executable, "-c", KILLED_CONVERSION, raw, out, str(after)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not out.exists()
    plan = plan_conversion(raw, out, recipe=SMALL)
    assert sum(reason == "finished before an interruption" for _, reason in actions(plan).values()) == after - 1
    done = convert(raw, out)
    assert done.reused == after - 1
    assert done.store.digest() == digest_from_nothing(raw, tmp_path)
    assert sorted(path.name for path in Staging(out).folder.iterdir()) == ["lock", "sources.jsonl"]


def test_a_second_conversion_reuses_everything_without_reading_a_voxel(raw, tmp_path, monkeypatch):
    first = convert(raw, tmp_path / "out.zarr")
    digest = first.store.digest()
    monkeypatch.setattr("ctprep.scans.readers.slabs.SlabReader.slabs", lambda _: pytest.fail("voxels were read"))
    second = convert(raw, tmp_path / "out.zarr", scheduler="synchronous")
    assert second.reused == 6
    assert second.store.digest() == digest


def change_nothing(raw):
    return {}


def touch_one(raw):
    os.utime(raw / "CT-0" / "study_0000.nii.gz", (1, 1))
    return {"CT-0/study_0000": "reuse"}


def edit_one(raw):
    write_scan(raw / "CT-0" / "study_0000.nii.gz", seed=99)
    return {"CT-0/study_0000": "convert"}


def add_one(raw):
    write_scan(raw / "CT-0" / "study_0000b.nii.gz", seed=99)
    return {"CT-0/study_0000b": "convert"}


def remove_one(raw):
    (raw / "CT-0" / "study_0001.nii.gz").unlink()
    return {"CT-0/study_0001": None}


def rename_one(raw):
    (raw / "CT-0" / "study_0001.nii.gz").rename(raw / "CT-0" / "study_9.nii.gz")
    return {"CT-0/study_0001": None, "CT-0/study_9": "reuse"}


def relabel_one(raw):
    (raw / "CT-0" / "study_0001.nii.gz").rename(raw / "CT-1" / "study_0001.nii.gz")
    return {"CT-0/study_0001": None, "CT-1/study_0001": "reuse"}


def recompress_one(raw):
    path = raw / "CT-0" / "study_0001.nii.gz"
    image = nibabel.load(path)
    voxels, affine = np.asarray(image.dataobj), image.affine
    path.unlink()
    write_scan(raw / "CT-0" / "study_0001.nii", voxels, affine=affine)
    return {"CT-0/study_0001": "convert"}


def copy_one(raw):
    shutil.copy(raw / "CT-0" / "study_0001.nii.gz", raw / "CT-0" / "study_0001_copy.nii.gz")
    return {"CT-0/study_0001_copy": "convert"}


def copy_one_under_another_label(raw):
    shutil.copy(raw / "CT-0" / "study_0001.nii.gz", raw / "CT-1" / "study_0001_copy.nii.gz")
    return {"CT-1/study_0001_copy": "convert"}


HISTORIES = [
    change_nothing,
    touch_one,
    edit_one,
    add_one,
    remove_one,
    rename_one,
    relabel_one,
    recompress_one,
    copy_one,
    copy_one_under_another_label,
]


@pytest.mark.parametrize("forget", [False, True], ids=["remembered", "forgotten"])
@pytest.mark.parametrize("change", HISTORIES, ids=lambda change: change.__name__)
def test_any_history_equals_a_conversion_from_nothing(raw, tmp_path, change, forget):
    convert(raw, tmp_path / "out.zarr")
    expected = change(raw)
    if forget:
        shutil.rmtree(Staging(tmp_path / "out.zarr").folder)
    planned = actions(plan_conversion(raw, tmp_path / "out.zarr", recipe=SMALL))
    assert {scan: planned.get(scan, (None,))[0] for scan in expected} == expected
    assert all(action == "reuse" for scan, (action, _) in planned.items() if scan not in expected)
    assert convert(raw, tmp_path / "out.zarr").store.digest() == digest_from_nothing(raw, tmp_path)


def test_equal_bytes_under_two_labels_are_both_rejected(raw, tmp_path):
    copy_one_under_another_label(raw)
    done = convert(raw, tmp_path / "out.zarr")
    assert [(bad.scan, bad.code) for bad in done.rejected] == [
        ("CT-0/study_0001", "duplicate"),
        ("CT-1/study_0001_copy", "duplicate"),
    ]
    assert len(done.store) == 5


def test_a_damaged_or_lost_volume_is_converted_again(raw, tmp_path):
    out = tmp_path / "out.zarr"
    digest = convert(raw, out).store.digest()
    (out / chunk_path(1)).unlink()
    (out / chunk_path(4)).write_bytes(b"damaged")
    planned = actions(plan_conversion(raw, out, recipe=SMALL))
    assert [scan for scan, (action, _) in planned.items() if action == "convert"] == [
        "CT-0/study_0001",
        "CT-1/study_0004",
    ]
    assert convert(raw, out).store.digest() == digest


def test_a_store_of_another_recipe_is_left_alone_unless_rebuilt(raw, tmp_path):
    out = tmp_path / "out.zarr"
    digest = convert(raw, out).store.digest()
    other = Recipe(shape=(8, 8, 4), window=(-500, 500))
    with pytest.raises(RecipeMismatch, match=r"window: \(-1000.0, 400.0\), not \(-500.0, 500.0\)"):
        convert(raw, out, recipe=other)
    assert ctprep.open_store(out).digest() == digest
    rebuilt = convert(raw, out, recipe=other, rebuild=True)
    assert rebuilt.store.digest() == digest_from_nothing(raw, tmp_path, recipe=other)
    assert convert(raw, out, rebuild=True).store.digest() == digest


@pytest.mark.parametrize("recipe", [SMALL, Recipe(shape=(8, 8, 6))], ids=["same-recipe", "other-recipe"])
def test_a_rebuilt_store_says_which_scans_it_holds_no_more(raw, tmp_path, recipe):
    out = tmp_path / "out.zarr"
    convert(raw, out)
    (raw / "CT-0" / "study_0001.nii.gz").unlink()
    (raw / "CT-1" / "study_0004.nii.gz").unlink()
    gone = ("CT-0/study_0001", "CT-1/study_0004")
    assert plan_conversion(raw, out, recipe=recipe, rebuild=True).removed == gone
    done = convert(raw, out, recipe=recipe, rebuild=True)
    assert done.removed == gone
    assert done.reused == 0


def test_a_damaged_store_is_left_alone_unless_rebuilt(raw, tmp_path):
    out = tmp_path / "out.zarr"
    digest = convert(raw, out).store.digest()
    (out / "label" / "c" / "0").unlink()
    with pytest.raises(StoreError, match="--rebuild"):
        convert(raw, out)
    assert (out / chunk_path(0)).exists()
    assert convert(raw, out, rebuild=True).store.digest() == digest


@pytest.mark.parametrize("kind", ["file", "folder", "empty-folder", "other-zarr"])
def test_a_target_that_is_no_store_is_never_touched(raw, tmp_path, kind):
    out = tmp_path / "out.zarr"
    if kind == "file":
        out.write_text("mine")
    else:
        out.mkdir()
        if kind == "folder":
            (out / "thesis.txt").write_text("mine")
        if kind == "other-zarr":
            (out / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    before = sorted(path.name for path in tmp_path.rglob("*"))
    for rebuild in (False, True):
        with pytest.raises(TargetError, match="is not a ctprep store"):
            convert(raw, out, rebuild=rebuild)
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_a_target_without_a_parent_is_refused(raw, tmp_path):
    with pytest.raises(TargetError, match="its parent folder does not exist"):
        convert(raw, tmp_path / "no" / "out.zarr")


def test_one_conversion_at_a_time(raw, tmp_path):
    with Staging(tmp_path / "out.zarr").locked(), pytest.raises(StoreLocked, match=f"process {os.getpid()} on"):
        convert(raw, tmp_path / "out.zarr")
    assert len(convert(raw, tmp_path / "out.zarr").store) == 6


def test_rejected_scans_are_named_and_the_rest_is_converted(raw, tmp_path):
    (raw / "CT-0" / "empty.nii.gz").touch()
    whole = (raw / "CT-0" / "study_0000.nii.gz").read_bytes()
    (raw / "CT-0" / "half.nii.gz").write_bytes(whole[: len(whole) // 2])
    (raw / "CT-0" / "flip.nii.gz").write_bytes(whole[:3000] + bytes([whole[3000] ^ 16]) + whole[3001:])
    (raw / "CT-0" / "folder.nii.gz").mkdir()
    write_scan(raw / "CT-0" / "lost.nii.gz", (chest_hu() + 1024).astype(np.int16))
    write_scan(raw / "CT-0" / "series.nii.gz", np.stack([chest_hu()] * 2, axis=-1))
    done = convert(raw, tmp_path / "out.zarr")
    assert {bad.scan.removeprefix("CT-0/"): bad.code for bad in done.rejected} == {
        "empty": "unreadable",
        "half": "truncated",
        "flip": "checksum",
        "folder": "unreadable",
        "lost": "not-hu",
        "series": "not-3d",
    }
    assert done.store.rejected == done.rejected
    assert len(done.store) == 6
    assert not any(str(tmp_path) in bad.reason for bad in done.rejected)


def test_strict_commits_no_duplicate(raw, tmp_path):
    copy_one(raw)
    with pytest.raises(NothingConverted, match="has the same bytes"):
        convert(raw, tmp_path / "out.zarr", strict=True)
    assert not (tmp_path / "out.zarr").exists()


def test_volumes_that_changed_places_are_converted_again(raw, tmp_path):
    out = tmp_path / "out.zarr"
    digest = convert(raw, out).store.digest()
    first, second = out / chunk_path(0), out / chunk_path(1)
    whole = first.read_bytes()
    first.unlink()
    second.rename(first)
    second.write_bytes(whole)
    assert convert(raw, out).store.digest() == digest


@pytest.mark.parametrize(
    ("damage", "resumed"),
    [
        (lambda journal: journal[:-1], 1),  # the machine stopped while the last entry was written
        (lambda journal: journal + b"torn", 2),
        (lambda journal: bytes([journal[0] ^ 1]) + journal[1:], 1),
        (lambda journal: journal[:100] + bytes([journal[100] ^ 8]) + journal[101:], 1),  # within a record
        (lambda journal: journal[:0], 0),
        (lambda journal: b'{"affine": []}' * len(journal), 0),  # of another version
    ],
)
def test_a_damaged_journal_costs_time_and_nothing_else(raw, tmp_path, damage, resumed):
    out = tmp_path / "out.zarr"
    subprocess.run([sys.executable, "-c", KILLED_CONVERSION, raw, out, "3"], check=False)
    journal = Staging(out).work(SMALL.digest) / "journal"
    journal.write_bytes(damage(journal.read_bytes()))
    done = convert(raw, out)
    assert done.reused == resumed
    assert done.store.digest() == digest_from_nothing(raw, tmp_path)


def test_a_journal_that_somebody_deletes_is_said(raw, tmp_path, monkeypatch):
    module = sys.modules["ctprep.conversion.convert"]
    run_all = module.run_all

    def run_and_delete(*args, **kwargs):
        run_all(*args, **kwargs)
        next(Staging(tmp_path / "out.zarr").folder.rglob("journal")).unlink()

    monkeypatch.setattr(module, "run_all", run_and_delete)
    with pytest.raises(TargetError, match="was changed by another program; run it again"):
        convert(raw, tmp_path / "out.zarr")
    monkeypatch.undo()
    assert convert(raw, tmp_path / "out.zarr").store.digest() == digest_from_nothing(raw, tmp_path)


def test_removed_counts_what_the_store_lost(raw, tmp_path):
    convert(raw, tmp_path / "out.zarr")
    (raw / "CT-0" / "study_0000.nii.gz").write_bytes(b"damaged")
    (raw / "CT-0" / "study_0001.nii.gz").unlink()
    assert convert(raw, tmp_path / "out.zarr").removed == ("CT-0/study_0000", "CT-0/study_0001")


@pytest.mark.parametrize("scheduler", ["synchronous", "threads", "processes"])
def test_strict_stops_at_the_first_bad_scan_and_commits_nothing(raw, tmp_path, scheduler):
    whole = (raw / "CT-0" / "study_0000.nii.gz").read_bytes()
    (raw / "CT-0" / "half.nii.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(NothingConverted, match="half: truncated"):
        convert(raw, tmp_path / "out.zarr", strict=True, scheduler=scheduler)
    assert not (tmp_path / "out.zarr").exists()


def test_nothing_but_bad_scans_is_an_error(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.nii").write_bytes(b"text")
    with pytest.raises(NothingConverted, match="all 1 scans were rejected") as caught:
        convert(tmp_path / "raw", tmp_path / "out.zarr")
    assert [bad.code for bad in caught.value.rejected] == ["unreadable"]
    assert not (tmp_path / "out.zarr").exists()


def test_an_unforeseen_failure_of_one_scan_does_not_stop_the_others(raw, tmp_path, monkeypatch):
    module = sys.modules["ctprep.conversion.scan_task"]
    prepare = module.prepare

    def failing(path, recipe, **choices):
        if path.name == "study_0002.nii.gz":
            raise ZeroDivisionError("a defect")
        return prepare(path, recipe, **choices)

    monkeypatch.setattr(module, "prepare", failing)
    done = convert(raw, tmp_path / "out.zarr")
    assert [bad.scan for bad in done.rejected] == ["CT-0/study_0002"]
    assert "please report" in done.rejected[0].reason


def test_planning_writes_nothing(raw, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    assert set(actions(plan_conversion(raw, tmp_path / "out.zarr")).values()) == {("convert", "new")}
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"scheduler": "magic"}, "is unknown; choose auto, threads"),
        ({"workers": 0}, "is not from 1"),
        ({"scheduler": "tcp://127.0.0.1:1"}, "no Dask cluster answers"),
    ],
)
def test_a_scheduler_that_cannot_be_had_is_refused(raw, tmp_path, kwargs, message, monkeypatch):
    monkeypatch.setattr("ctprep.execution.cluster.CONNECT_SECONDS", 1)
    with pytest.raises(SchedulerError, match=message):
        convert(raw, tmp_path / "out.zarr", **kwargs)
    assert not (tmp_path / "out.zarr").exists()


def test_a_read_only_parent_is_said(raw, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    if os.access(locked, os.W_OK):
        pytest.skip("this user may write everywhere")
    with pytest.raises(TargetError, match="cannot be written"):
        convert(raw, locked / "out.zarr")


def test_progress_counts_what_is_checked_and_what_is_converted(raw, tmp_path):
    from contextlib import contextmanager

    seen = []

    @contextmanager
    def progress(total, doing):
        seen.append((doing, total))
        yield seen.append

    plan_conversion(raw, tmp_path / "out.zarr", progress=progress)
    assert seen == [("checking", 6)] + [1] * 6
    convert(raw, tmp_path / "out.zarr", progress=progress)
    assert seen[7:] == [("checking", 6)] + [1] * 6 + [("converting", 6)] + [1] * 6


def test_the_store_says_nothing_of_where_and_when_it_was_made(raw, tmp_path):
    out = convert(raw, tmp_path / "out.zarr").store.path
    texts = [path.read_text() for path in out.rglob("zarr.json")]
    assert not any(str(tmp_path) in text or os.uname().nodename in text for text in texts)


def test_an_exported_scan_lies_where_its_source_lies(raw, tmp_path):
    store = convert(raw, tmp_path / "out.zarr", recipe=Recipe(shape=(24, 20, 12))).store
    exported = nibabel.load(ctprep.export(store, "CT-0/study_0001", tmp_path / "back.nii.gz"))
    source = nibabel.as_closest_canonical(nibabel.load(raw / "CT-0" / "study_0001.nii.gz"))
    assert np.allclose(exported.affine, source.affine, atol=1e-5)
    assert np.abs(exported.get_fdata() - np.clip(source.get_fdata(), -1000, 400)).max() < 1
    with pytest.raises(TargetError, match="exists already"):
        ctprep.export(store, "CT-0/study_0001", tmp_path / "back.nii.gz")
    with pytest.raises(TargetError, match="is not named as NIfTI"):
        ctprep.export(store, "CT-0/study_0001", tmp_path / "back.txt")


def test_a_link_to_a_store_stays_a_link(raw, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    convert(raw, tmp_path / "elsewhere" / "out.zarr")
    (tmp_path / "link.zarr").symlink_to(tmp_path / "elsewhere" / "out.zarr")
    add_one(raw)
    convert(raw, tmp_path / "link.zarr")
    assert (tmp_path / "link.zarr").is_symlink()
    assert len(ctprep.open_store(tmp_path / "elsewhere" / "out.zarr")) == 7


def test_the_public_names_are_there():
    assert ctprep.__version__
    for name in ctprep.__all__:
        assert callable(getattr(ctprep, name)), name
        assert name in dir(ctprep)


@pytest.mark.parametrize(
    ("seconds_per_scan", "expected"), [(1e-3, "synchronous"), (0.1, "threads"), (10.0, "processes")]
)
def test_auto_takes_what_is_fastest(raw, tmp_path, monkeypatch, seconds_per_scan, expected):
    module = sys.modules["ctprep.conversion.convert"]
    taken = []

    def run_all(function, tasks, on_result, *, scheduler, **_):
        taken.append(scheduler)
        for task in tasks:
            on_result(function(task))

    monkeypatch.setattr(module, "SECONDS_PER_SCAN", seconds_per_scan)
    monkeypatch.setattr(module, "run_all", run_all)
    convert(raw, tmp_path / "out.zarr", scheduler="auto", workers=2)
    assert taken == [expected]


UNGUARDED = """
import ctprep
recipe = ctprep.Recipe(shape=(8, 8, 4))
print(len(ctprep.convert("raw", "out.zarr", recipe=recipe, scheduler="processes", workers=2).store))
"""


def test_a_script_needs_no_guard_around_a_conversion_in_processes(raw):
    (raw.parent / "script.py").write_text(UNGUARDED)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=raw.parent, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "6\n"), done.stderr
