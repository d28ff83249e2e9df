"""The arithmetic below the phantom, against slow and obvious code."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctprep.phantom.acquisition import encode, reorient, reorient_affine, smear, table
from ctprep.phantom.appointments import appointment
from ctprep.phantom.patient import draw_patient
from ctprep.phantom.pose import body_from_voxel, draw_pose, field_of
from ctprep.phantom.shapes import Tube, compose, ellipsoid, ellipsoid_distance, tube, tube_distance
from ctprep.phantom.texture import smooth_noise
from ctprep.phantom.vessels import Cloud, collect, grow_tree

ORIENTATIONS = [
    "".join((a, b, c))
    for first, second, third in ("RAS", "RSA", "ARS", "ASR", "SRA", "SAR")
    for a in (first, {"R": "L", "A": "P", "S": "I"}[first])
    for b in (second, {"R": "L", "A": "P", "S": "I"}[second])
    for c in (third, {"R": "L", "A": "P", "S": "I"}[third])
]
coordinates = st.tuples(*[st.floats(-50, 50)] * 3)


def small_field(shape=(20, 18, 10), index=3):
    affine = body_from_voxel(draw_pose(0, index, expiration=0.0), draw_patient(0, index), shape, (12.0, 12.0, 24.0))
    return affine, field_of(affine, shape)


def test_a_field_says_where_its_affine_puts_each_voxel():
    affine, field = small_field()
    at = np.indices(field.shape).reshape(3, -1).T @ affine[:3, :3].T + affine[:3, 3]
    found = np.stack(np.broadcast_arrays(field.x, field.y, field.z), axis=-1).reshape(-1, 3)
    assert np.allclose(found, at, atol=1e-3)


@given(coordinates, coordinates)
def test_a_box_holds_every_voxel_between_its_corners(one, other):
    _, field = small_field()
    low, high = np.minimum(one, other), np.maximum(one, other)
    position = np.broadcast_arrays(field.x, field.y, field.z)
    inside = np.all([(p >= a) & (p <= b) for p, a, b in zip(position, low, high)], axis=0)
    boxed = np.zeros(field.shape, bool)
    boxed[field.box(tuple(low), tuple(high))] = True
    assert boxed[inside].all()


@given(coordinates, coordinates, coordinates, st.floats(1, 20))
def test_a_tubes_distance_is_that_of_its_nearest_cross_section(start, end, point, radius):
    along = np.linspace(0, 1, 4001)[:, None]
    axis = np.array(start) + along * (np.array(end) - start)
    nearest = np.linalg.norm(axis - point, axis=1).min()
    found = tube_distance(tuple(np.float64(p) for p in point), Tube(start, end, radius))
    assert found == pytest.approx(nearest - radius, abs=0.05)


@given(coordinates, st.tuples(*[st.floats(5, 40)] * 3))
def test_an_ellipsoids_distance_has_its_sign(point, radii):
    found = ellipsoid_distance(tuple(np.float64(p) for p in point), (0.0, 0.0, 0.0), radii)
    outside = sum((p / r) ** 2 for p, r in zip(point, radii)) - 1.0
    assert found * outside >= -1e-6


def test_a_layer_covers_what_lies_below_and_takes_its_room():
    _, field = small_field()
    over, under = (Tube((0.0, 0.0, -300.0), (0.0, 0.0, 300.0), r) for r in (30.0, 60.0))
    hu, room = compose(
        field, [tube(field, under, hu=7.0), tube(field, over, hu=50.0, carve_mm=5.0)], background_hu=-9.0
    )
    distance = np.broadcast_to(np.hypot(field.x, field.y), field.shape)
    assert (hu[distance < 20] == 50.0).all()
    assert (hu[(distance > 45) & (distance < 50)] == 7.0).all()
    assert (hu[distance > 75] == -9.0).all()
    assert (room[distance < 20] == 0.0).all()
    assert (room[distance > 50] == 1.0).all()


def test_a_shape_outside_the_field_paints_nothing():
    _, field = small_field()
    hu, _ = compose(field, [ellipsoid(field, (5e3, 0.0, 0.0), (9.0, 9.0, 9.0), hu=50.0)], background_hu=0.0)
    assert not hu.any()


@given(st.integers(0, 2**32 - 1))
def test_collecting_keeps_the_volume_of_a_cloud(seed):
    rng = np.random.default_rng(seed)
    cloud = Cloud(rng.uniform(2, 9, (50, 3)), rng.uniform(0.001, 0.01, 50))
    filled = collect(cloud, np.eye(4), (12, 12, 12), voxel_mm3=1.0)
    assert filled.sum() == pytest.approx(cloud.volume_mm3.sum(), rel=1e-5)
    centre = (np.indices(filled.shape).reshape(3, -1) * filled.ravel()).sum(axis=1) / filled.sum()
    assert np.allclose(centre, np.average(cloud.points, axis=0, weights=cloud.volume_mm3), atol=1e-4)


def test_a_tree_reaches_every_target_and_thins_at_each_fork():
    targets = np.random.default_rng(0).uniform(10, 90, (64, 3))
    tree = grow_tree(np.zeros(3), targets)
    assert {tuple(end) for end in tree.end[-64:]} == {tuple(target) for target in targets}
    starts = {tuple(start) for start in tree.start[1:]}
    assert starts == {tuple(end) for end in tree.end[:-64]}
    assert (np.diff(tree.radius) <= 0).all()


def test_a_pattern_belongs_to_the_body_and_not_to_the_grid():
    affine, field = small_field(shape=(41, 41, 31))
    coarse = field_of(affine @ np.diag([2.0, 2.0, 3.0, 1.0]), (21, 21, 11))
    fine, sampled = (smooth_noise(np.random.default_rng(5), f, length_mm=40.0) for f in (field, coarse))
    assert np.abs(fine[::2, ::2, ::3] - sampled).max() < 0.5  # the patient lies askew, the pattern does not
    assert fine.std() == pytest.approx(1.0, abs=0.25)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_every_voxel_keeps_its_world_position_on_other_axes(orientation):
    shape = (3, 4, 5)
    affine = np.diag([2.0, 3.0, 5.0, 1.0])
    affine[:3, 3] = (-7.0, 11.0, 13.0)
    position = np.indices(shape).transpose(1, 2, 3, 0) @ affine[:3, :3].T + affine[:3, 3]
    moved = np.stack([reorient(position[..., axis], orientation) for axis in range(3)], axis=-1)
    other = reorient_affine(affine, shape, orientation)
    found = np.indices(moved.shape[:3]).transpose(1, 2, 3, 0) @ other[:3, :3].T + other[:3, 3]
    assert np.allclose(found, moved)


@given(st.lists(st.floats(-5000, 5000, width=32), min_size=1))
def test_encoded_values_stay_within_their_dtype(hu):
    stored = encode(np.array(hu, np.float32), dtype="uint16", slope=0.5, inter=-1024.0)
    assert np.abs(stored * 0.5 - 1024.0 - np.maximum(hu, -1024.0)).max() <= 0.26


def test_motion_leaves_back_and_upper_chest_in_place():
    hu = np.random.default_rng(0).normal(size=(4, 40, 40)).astype(np.float32)
    moved = smear(hu, motion_mm=6.0, pixel_mm=3.0)
    assert np.array_equal(moved[:, :12], hu[:, :12])
    assert np.array_equal(moved[:, :, 22:], hu[:, :, 22:])
    assert np.allclose(moved[:, 25:, :10], 0.5 * (hu[:, 25:, :10] + hu[:, 23:-2, :10]), atol=1e-6)


def test_the_table_is_a_trough_of_two_walls_with_foam_between():
    x, y = np.arange(-250.0, 251.0).reshape(-1, 1, 1), np.arange(-150.0, 51.0).reshape(1, -1, 1)
    column = table(x, y, top_mm=0.0)[250, :, 0]
    assert np.count_nonzero(np.diff((column > -500).astype(int)) == 1) == 2
    assert (column[y.ravel() > 2] == -1000.0).all()
    assert table(x, y, top_mm=0.0)[:10].max() == -1000.0


def test_the_schedule_never_changes():
    booked = [appointment(0, index) for index in range(16)]
    assert [int(slot.positive) for slot in booked] == [1, 0, 0, 1, 0, 1, 0, 1, 0, 1, 1, 0, 1, 0, 0, 1]
    assert [slot.patient for slot in booked] == [0, 1, 2, 0, 4, 5, 4, 7, 8, 9, 10, 11, 9, 13, 8, 15]
