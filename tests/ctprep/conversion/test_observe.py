"""Looking at scans: the same is seen however many threads look."""

import hashlib
import os
import threading
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctprep.conversion import observe
from ctprep.conversion.convert import convert
from ctprep.conversion.observe import ExistingVolumes, observe_all
from ctprep.conversion.planning.remarks import remarks_on_grid
from ctprep.conversion.staging import Staging
from ctprep.conversion.stamps import Remembered, load_remembered
from ctprep.conversion.work_folder import WorkFolder
from ctprep.scans.catalog import find_scans
from ctprep.scans.scan import UNKNOWN, Scan, ScanRecord
from ctprep.store.chunk import chunk_path
from ctprep.store.records import Records
from ctprep.store.store import open_store
from ctprep.views.preview import plan_conversion
from ctprep.volume.grid import VoxelGrid
from ctprep.volume.intensity import HU_QUANTILES
from ctprep.volume.recipe import Recipe
from tests.conftest import write_scan
from tests.strategies import affines

RECIPE = Recipe(shape=(4, 4, 4))
SCANS = 100


WHOLE_CHEST = np.diag([-14.0, 14.0, 25.0, 1.0])
"""Of a scan of which there is nothing to remark."""


@contextmanager
def counted(counts, total, doing):
    counts.append((doing, total))
    yield counts.append


@pytest.fixture
def stock(tmp_path):
    """Return what is known of a store whose scans were removed, renamed, edited, touched, damaged and added to."""
    raw, out = tmp_path / "raw", tmp_path / "out.zarr"
    for number in range(SCANS):
        write_scan(raw / f"{number:03}.nii", seed=number, affine=WHOLE_CHEST)
    convert(raw, out, recipe=RECIPE, scheduler="synchronous")
    for number in range(0, SCANS, 7):
        (raw / f"{number:03}.nii").unlink()
    for number in range(1, SCANS, 7):
        (raw / f"{number:03}.nii").rename(raw / f"{number:03}-renamed.nii")
        write_scan(raw / f"{number:03}-new.nii", seed=SCANS + number, affine=WHOLE_CHEST)
    for number in range(2, SCANS, 7):
        write_scan(raw / f"{number:03}.nii", seed=SCANS + number, affine=WHOLE_CHEST)
    for number in range(3, SCANS, 7):
        os.utime(raw / f"{number:03}.nii", (1, 1))
    for number in range(4, SCANS, 7):
        (raw / f"{number:03}.nii").write_bytes(b"not NIfTI")
    for number in range(5, SCANS, 7):
        (out / chunk_path(number)).unlink()
    staging = Staging(out)
    work = WorkFolder(staging.work(RECIPE.digest))
    return ExistingVolumes(open_store(out), work, load_remembered(staging.sources), RECIPE)


@pytest.mark.parametrize("workers", [2, 5, 64])
def test_the_same_is_seen_in_the_same_order_however_many_threads_look(tmp_path, stock, workers):
    scans = find_scans(tmp_path / "raw").scans
    alone = observe_all(scans, stock, workers=1)
    together = observe_all(scans, stock, workers=workers)
    for kind in ("observations", "stamps"):
        assert list(getattr(together, kind).items()) == list(getattr(alone, kind).items())
    assert list(together.headers) == list(alone.headers)
    seen = alone.observations.values()
    assert {each.finished.why.split(" ")[0] for each in seen if each.finished} == {"unchanged", "same", "was"}
    assert {each.rejection.code for each in seen if each.rejection} == {"unreadable"}
    assert len(alone.observations) < len(alone.stamps) == len(scans)


def test_several_threads_look_at_once(tmp_path, stock, monkeypatch):
    """Two scans are looked at, and each waits for the other."""
    meeting = threading.Barrier(2, timeout=30)
    monkeypatch.setattr(observe, "SCANS_AT_ONCE", 1)
    monkeypatch.setattr(
        observe, "stamp_of", lambda path, stamp_of=observe.stamp_of: (meeting.wait(), stamp_of(path))[1]
    )
    seen = observe_all(find_scans(tmp_path / "raw").scans[:2], stock, workers=2)  # each a batch
    assert len(seen.stamps) == 2


def test_every_scan_is_counted_once(tmp_path, stock):
    counts = []
    scans = find_scans(tmp_path / "raw").scans
    observe_all(scans, stock, workers=3, progress=lambda *what: counted(counts, *what))
    assert counts == [("checking", len(scans))] + [1] * len(scans)


def test_an_error_that_is_no_scan_s_ends_the_look(tmp_path, stock, monkeypatch):
    def fail(_path):
        raise RuntimeError("no scan's fault")

    monkeypatch.setattr(observe, "stamp_of", fail)
    for workers in (1, 3):
        with pytest.raises(RuntimeError, match="no scan's fault"):
            observe_all(find_scans(tmp_path / "raw").scans, stock, workers=workers)


def test_contents_decide_where_nothing_is_remembered(tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "out.zarr"
    for number in range(40):
        write_scan(raw / f"{number:03}.nii.gz", seed=number, affine=WHOLE_CHEST)
    convert(raw, out, recipe=RECIPE)
    remembered = load_remembered(Staging(out).sources)
    Staging(out).sources.unlink()
    plan = plan_conversion(raw, out, recipe=RECIPE)
    assert {row.reason for row in plan.rows} == {"same bytes"}
    convert(raw, out, recipe=RECIPE)
    assert load_remembered(Staging(out).sources) == remembered
    assert remembered["007"] == Remembered(
        remembered["007"].stamp, hashlib.sha256((raw / "007.nii.gz").read_bytes()).hexdigest()
    )


@given(
    shape=st.tuples(*[st.sampled_from([5, 8, 20, 100, 400])] * 3),
    affine=affines(),
    scale=st.sampled_from([1.0, 4.0, 10.0]),
    choice=st.sampled_from([{}, {}, {"accepted": "not-hu"}, {"stated_orientation": "LPS"}, {"padding": UNKNOWN}]),
    spacing_mm=st.sampled_from([None, None, (9.0, 9.0, 9.0)]),
)
def test_of_a_plain_record_there_is_nothing_to_say(shape, affine, scale, choice, spacing_mm):
    affine = affine @ np.diag([scale, scale, scale, 1])
    affine = tuple(map(tuple, affine.tolist()))
    record = ScanRecord(affine, affine, shape, "0" * 64, (-1000.0,) * len(HU_QUANTILES), 0, **choice)
    table, recipe = Records.of([record]).table, Recipe(spacing_mm=spacing_mm)
    if observe.plain_rows(table, recipe)[0]:
        assert observe.why_outdated(Scan("a", "a.nii", 0, "a"), table[0]) is None
        assert remarks_on_grid(VoxelGrid(shape, np.array(affine)), recipe) == ()


def test_a_record_of_a_whole_chest_is_plain():
    affine = tuple(map(tuple, np.diag([-0.7, 0.7, 8.0, 1.0]).tolist()))
    record = ScanRecord(affine, affine, (512, 512, 40), "0" * 64, (-1000.0,) * len(HU_QUANTILES), 0, padding=5)
    assert observe.plain_rows(Records.of([record]).table, Recipe()).tolist() == [True]
