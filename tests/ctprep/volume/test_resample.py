import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ctprep.volume.grid import VoxelGrid, crop_or_pad, stretch
from ctprep.volume.resample import SlabResampler, axis_weights, file_axis_weights
from tests.strategies import affines

sides = st.integers(1, 24)


def stretch_weights(n_source, n_target):
    scale = n_source / n_target
    return axis_weights(n_source, n_target, scale=scale, offset=0.5 * scale - 0.5)


def pillow_along(volume, axis, n_target):
    """Resize one axis with Pillow's antialiased bilinear filter, which computes in double precision."""
    moved = np.moveaxis(volume, axis, 0).astype(np.float32)
    flat = moved.reshape(moved.shape[0], -1)
    image = Image.fromarray(flat).resize((flat.shape[1], n_target), Image.Resampling.BILINEAR)
    return np.moveaxis(np.asarray(image).reshape(n_target, *moved.shape[1:]), 0, axis)


def resample(volume, weights, slices_at_once, rows_at_once=None):
    resampler = SlabResampler(weights)
    stored = np.ascontiguousarray(volume.transpose(2, 1, 0))
    rows_at_once = rows_at_once or stored.shape[1]
    for start in range(0, len(stored), slices_at_once):
        for row in range(0, stored.shape[1], rows_at_once):
            resampler.add(stored[start : start + slices_at_once, row : row + rows_at_once])
    return resampler.result()


@given(st.tuples(sides, sides, sides), st.tuples(sides, sides, sides), st.integers(0, 2**32 - 1))
def test_resampling_equals_pillow_on_each_axis(shape, target, seed):
    volume = np.random.default_rng(seed).uniform(0, 1400, shape).astype(np.float32)
    expected = volume
    for axis in range(3):
        expected = pillow_along(expected, axis, target[axis])
    weights = tuple(stretch_weights(*pair) for pair in zip(shape, target, strict=True))
    assert np.abs(resample(volume, weights, 3) - expected).max() <= 1400 * 1e-6


@given(st.integers(1, 700), st.integers(1, 300))
def test_every_row_of_weights_sums_to_one(n_source, n_target):
    weights = stretch_weights(n_source, n_target)
    assert weights.shape == (n_target, n_source)
    assert np.abs(weights.toarray().sum(axis=1) - 1).max() < 1e-6
    assert weights.data.min() > 0


@pytest.mark.parametrize("n", [1, 2, 63, 64])
def test_the_same_shape_changes_nothing(n):
    assert np.array_equal(stretch_weights(n, n).toarray(), np.eye(n))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_the_number_of_slices_in_a_slab_changes_no_bit(first, second, seed):
    volume = np.random.default_rng(seed).uniform(0, 1400, (11, 7, 29)).astype(np.float32)
    weights = tuple(stretch_weights(*pair) for pair in ((11, 5), (7, 9), (29, 8)))
    assert np.array_equal(resample(volume, weights, first), resample(volume, weights, second))


@given(st.integers(1, 23), st.integers(0, 2**32 - 1))
def test_rows_of_a_slice_may_come_apart(rows_at_once, seed):
    volume = np.random.default_rng(seed).uniform(0, 1400, (11, 23, 9)).astype(np.float32)
    weights = tuple(stretch_weights(*pair) for pair in ((11, 5), (23, 7), (9, 4)))
    apart = resample(volume, weights, 1, rows_at_once)
    assert np.abs(apart - resample(volume, weights, 1)).max() <= 1400 * 1e-6


def test_only_the_planes_that_are_still_reached_are_kept():
    weights = tuple(stretch_weights(*pair) for pair in ((8, 4), (8, 4), (1000, 250)))
    resampler = SlabResampler(weights)
    for _ in range(1000):
        resampler.add(np.ones((1, 8, 8), np.float32))
        assert len(resampler._planes) <= 2
    assert np.allclose(resampler.result(), 1)


def test_a_zone_plate_shows_no_aliasing_that_pillow_does_not_show():
    radius_squared = ((np.indices((256, 256)) - 127.5) ** 2).sum(axis=0)
    plate = (0.5 + 0.5 * np.cos(np.pi * radius_squared / 256)).astype(np.float32)  # Nyquist at the border
    weights = (stretch_weights(256, 61), stretch_weights(256, 61), stretch_weights(1, 1))
    ours = resample(plate[:, :, None], weights, 1)[:, :, 0]
    pillow = pillow_along(pillow_along(plate, 0, 61), 1, 61)
    assert np.abs(ours - pillow).max() < 2e-6
    nearest = plate[2::4, 2::4][:61, :61]
    beyond_nyquist = ((np.indices((61, 61)) - 30) ** 2).sum(axis=0) > 22**2
    assert ours[beyond_nyquist].std() < 0.1 < nearest[beyond_nyquist].std()  # the null control aliases


def test_outside_the_scan_is_air_and_inside_is_not_dimmed():
    grid = VoxelGrid((4, 4, 4), np.eye(4))
    weights = file_axis_weights(grid.shape, grid.axis_order, crop_or_pad(grid, (8, 8, 8), spacing_mm=(1, 1, 1)))
    padded = resample(np.ones((4, 4, 4), np.float32), weights, 2)
    assert np.array_equal(padded[2:6, 2:6, 2:6], np.ones((4, 4, 4)))
    assert padded.sum() == 64


@given(affines(), st.tuples(sides, sides, sides), st.tuples(sides, sides, sides))
def test_file_axes_give_what_canonical_axes_give(affine, shape, target):
    volume = np.random.default_rng(0).uniform(0, 1400, shape).astype(np.float32)
    grid = VoxelGrid(shape, affine)
    order = grid.axis_order
    from_file = order.transpose(
        resample(volume, file_axis_weights(shape, order, stretch(grid.canonical().shape, target)), 4)
    )
    canonical = order.apply(volume)
    weights = tuple(stretch_weights(*pair) for pair in zip(canonical.shape, target, strict=True))
    assert np.abs(from_file - resample(canonical, weights, 4)).max() <= 1400 * 1e-6


@pytest.mark.parametrize("n_source", [33, 40, 48, 61, 191, 511])
def test_a_ramp_is_displaced_by_a_twentieth_of_a_voxel_at_most(n_source):
    """The discrete triangle is not exact where the shrink factor is not whole; Pillow's is the same."""
    scale = n_source / 32
    centre = scale * np.arange(32) + 0.5 * scale - 0.5
    displaced = stretch_weights(n_source, 32) @ np.arange(n_source, dtype=np.float64) - centre
    assert np.abs(displaced[3:-3]).max() / scale < 0.06
