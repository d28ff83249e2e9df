"""What is kept of a scan gives what a pass gives that knew before where the stored voxels lie."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctprep.volume.grid import Box, VoxelGrid, stretch
from ctprep.volume.intensity import StoredWindow
from ctprep.volume.kept import MIN_KEPT_PER_STORED, KeptVoxels, steps_to_keep
from ctprep.volume.resample import SlabResampler, file_axis_weights
from tests.strategies import affines, shapes

WINDOW = (-1000.0, 400.0)
STORED = [
    ("int16", 1, 0),
    ("uint16", 1, -1024),
    ("float32", 1, 0),
    ("float64", 0.5, 3),
    (">i2", 2, 7),
    ("int16", -1, 9),
]


def scan_of(shape, dtype, seed=0):
    values = np.random.default_rng(seed).uniform(0 if dtype == "uint16" else -1500, 3000, shape[::-1])
    return values.astype(dtype)


def slabs_of(scan, n_slices):
    return [scan[start : start + n_slices].copy() for start in range(0, len(scan), n_slices)]


def box_in(grid, draw):
    edges = [sorted(draw.choice(n + 1, 2, replace=False)) for n in grid.shape]
    return Box(*(tuple(int(edge[side]) for edge in edges) for side in range(2)))


def kept_of(scan, window, n_stored, n_slices=3):
    kept = KeptVoxels(scan.shape[::-1], n_stored, window, scan.dtype)
    for slab in slabs_of(scan, n_slices):
        kept.add(slab)
    return kept


def streamed(above_air, weights, n_slices=3):
    resampler = SlabResampler(weights)
    for slab in slabs_of(above_air, n_slices):
        resampler.add(slab)
    return resampler.result()


@given(shapes, shapes, affines(), st.sampled_from(STORED), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_what_is_kept_gives_the_bits_of_a_pass_that_knew_the_place(shape, target, affine, stored, n_slices, seed):
    dtype, slope, inter = stored
    scan, grid = scan_of(shape, dtype, seed), VoxelGrid(shape, affine)
    window = StoredWindow.of(WINDOW, slope=slope, inter=inter)
    box = box_in(grid.canonical(), np.random.default_rng(seed))
    weights = file_axis_weights(shape, grid.axis_order, box.within(stretch(box.shape, target)))
    kept = kept_of(scan, window, target, n_slices)
    assert np.array_equal(kept.resampled(weights), streamed(window.above_air(scan), weights))


@given(
    shape=shapes,
    target=shapes,
    affine=affines(),
    stored=st.sampled_from(STORED),
    max_kept=st.integers(1, 400),
    seed=st.integers(0, 2**32 - 1),
)
def test_sums_weigh_as_if_each_voxel_were_the_mean_of_its_neighbours(
    monkeypatch, shape, target, affine, stored, max_kept, seed
):
    """The oracle spreads the mean of each block over its voxels, and resamples all of them."""
    monkeypatch.setattr("ctprep.volume.kept.MAX_KEPT", max_kept)
    monkeypatch.setattr("ctprep.volume.kept.MIN_KEPT_PER_STORED", 0)
    dtype, slope, inter = stored
    scan, grid = scan_of(shape, dtype, seed), VoxelGrid(shape, affine)
    window = StoredWindow.of(WINDOW, slope=slope, inter=inter)
    weights = file_axis_weights(shape, grid.axis_order, stretch(grid.canonical().shape, target))
    kept = kept_of(scan, window, target)
    assert np.prod([-(-n // step) for n, step in zip(shape, kept.steps, strict=True)]) <= max_kept
    means = window.above_air(scan).astype(np.float64)
    for axis, step in zip((2, 1, 0), kept.steps, strict=True):
        starts = np.arange(0, means.shape[axis], step)
        sizes = np.diff(np.append(starts, means.shape[axis]))
        sums = np.add.reduceat(means, starts, axis) / np.expand_dims(sizes, [a for a in range(3) if a != axis])
        means = np.repeat(sums, sizes, axis)
    expected = streamed(means.astype(np.float32), weights)
    assert np.abs(kept.resampled(weights) - expected).max() < window.width * 1e-5


@pytest.mark.parametrize("rows", [1, 3, 5])
def test_slices_may_come_in_parts(rows, monkeypatch):
    monkeypatch.setattr("ctprep.volume.kept.MAX_KEPT", 100)
    monkeypatch.setattr("ctprep.volume.kept.MIN_KEPT_PER_STORED", 0)
    scan = scan_of((7, 11, 4), "int16")
    window = StoredWindow.of(WINDOW, slope=1, inter=0)
    weights = file_axis_weights((7, 11, 4), VoxelGrid((7, 11, 4), np.eye(4)).axis_order, stretch((7, 11, 4), (3, 3, 2)))
    parts = KeptVoxels((7, 11, 4), (3, 3, 2), window, scan.dtype)
    for one in scan:
        for start in range(0, 11, rows):
            parts.add(one[None, start : start + rows].copy())
    assert max(parts.steps) > 1
    assert np.array_equal(parts.resampled(weights), kept_of(scan, window, (3, 3, 2)).resampled(weights))


def test_a_glance_is_close_to_all_voxels():
    grid = VoxelGrid((96, 90, 40), np.eye(4))
    x, y, z = np.meshgrid(*(np.linspace(-3, 3, n) for n in grid.shape), indexing="ij")
    smooth = np.rint(300 * np.sin(x) * np.cos(y + z)).astype(np.int16).T
    noisy = smooth + np.random.default_rng(0).normal(0, 40, smooth.shape).astype(np.int16)
    window = StoredWindow.of((-1000, 1000), slope=1, inter=0)
    weights = file_axis_weights(grid.shape, grid.axis_order, stretch(grid.shape, (12, 12, 12)))
    expected = streamed(window.above_air(smooth), weights)
    found = kept_of(noisy, window, (12, 12, 12)).glance(weights)
    assert np.abs(found - expected).mean() < 10
    assert abs((found - expected).mean()) < 1


@given(shapes, st.integers(1, 400), st.sampled_from(STORED))
def test_a_glance_at_a_constant_is_that_constant(monkeypatch, shape, max_kept, stored):
    monkeypatch.setattr("ctprep.volume.kept.MAX_KEPT", max_kept)
    monkeypatch.setattr("ctprep.volume.kept.MIN_KEPT_PER_STORED", 0)
    dtype, slope, inter = stored
    window = StoredWindow.of(WINDOW, slope=slope, inter=inter)
    scan = np.full(shape[::-1], (-500 - inter) / slope).astype(dtype)
    target = tuple(max(1, n // 3) for n in shape)
    weights = file_axis_weights(shape, VoxelGrid(shape, np.eye(4)).axis_order, stretch(shape, target))
    expected = window.above_air(scan[:1, :1, :1].copy()).item()
    assert np.allclose(kept_of(scan, window, target).glance(weights), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("shape", "steps"),
    [
        ((512, 512, 128), (1, 1, 1)),  # 64 MB
        ((512, 512, 300), (1, 2, 2)),
        ((512, 512, 1200), (1, 2, 5)),
        ((300, 512, 512), (1, 1, 3)),
        ((2048, 2048, 2000), (5, 6, 10)),
    ],
)
def test_neighbours_are_added_up_where_a_scan_is_large(shape, steps):
    assert steps_to_keep(shape, (64, 64, 32)) == steps


@given(st.tuples(*[st.integers(1, 3000)] * 3), st.tuples(*[st.integers(1, 256)] * 3))
def test_no_axis_loses_what_the_stored_voxels_need(shape, n_stored):
    for n, stored, step in zip(shape, n_stored, steps_to_keep(shape, n_stored), strict=True):
        assert step == 1 or -(-n // step) >= MIN_KEPT_PER_STORED * stored
