import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctprep.volume.grid import VoxelGrid, stretch
from tests.strategies import ORIENTATIONS, affine_of, affines, shapes, spacings


@given(affines(), shapes)
def test_canonical_axes_are_those_of_nibabel(affine, shape):
    array = np.arange(np.prod(shape)).reshape(shape)
    expected = nibabel.as_closest_canonical(nibabel.Nifti1Image(array.astype(np.int32), affine))
    grid = VoxelGrid(shape, affine)
    assert np.array_equal(grid.axis_order.apply(array), np.asarray(expected.dataobj))
    assert grid.canonical().shape == expected.shape
    assert np.allclose(grid.canonical().affine, expected.affine, atol=1e-9)


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_the_orientation_has_the_letters_of_nibabel(order, signs):
    affine = affine_of(order, signs, tilt=(0.2, -0.1, 0.15))
    assert VoxelGrid((3, 4, 5), affine).orientation == "".join(nibabel.aff2axcodes(affine))


@given(affines(), shapes)
def test_spacing_is_that_of_nibabel(affine, shape):
    assert np.allclose(VoxelGrid(shape, affine).spacing_mm, nibabel.affines.voxel_sizes(affine))


@given(affines(), shapes, shapes)
def test_resizing_keeps_the_field_of_view(affine, shape, target_shape):
    grid = VoxelGrid(shape, affine)
    resized = grid.resized(target_shape)
    for corner in np.ndindex(2, 2, 2):
        edges = [np.array([*(np.array(corner) * n - 0.5), 1.0]) for n in (shape, target_shape)]
        assert np.allclose(grid.affine @ edges[0], resized.affine @ edges[1], atol=1e-6)


@given(affines(), shapes, shapes, spacings)
def test_cropping_keeps_the_centre_and_has_the_spacing(affine, shape, target_shape, spacing_mm):
    grid = VoxelGrid(shape, affine)
    cropped = grid.cropped(target_shape, spacing_mm=spacing_mm)
    assert np.allclose(cropped.spacing_mm, spacing_mm)
    centres = [
        g.affine @ np.array([*((np.array(s) - 1) / 2), 1.0]) for g, s in ((grid, shape), (cropped, target_shape))
    ]
    assert np.allclose(*centres, atol=1e-6)


def test_a_grid_is_a_value():
    grid = VoxelGrid((2, 3, 4), np.eye(4))
    assert grid == VoxelGrid((2, 3, 4), np.eye(4))
    assert hash(grid) == hash(VoxelGrid((2, 3, 4), np.eye(4)))
    assert grid != VoxelGrid((2, 3, 4), np.diag([1, 1, 2, 1]))
    with pytest.raises(ValueError, match="read-only"):
        grid.affine[0, 0] = 2


@given(st.integers(1, 600), st.integers(1, 128))
def test_target_centres_lie_where_the_formula_says(n_source, n_target):
    sampling = stretch((n_source,) * 3, (n_target,) * 3)
    expected = (np.arange(n_target) + 0.5) * n_source / n_target - 0.5
    assert np.allclose(sampling.scale[0] * np.arange(n_target) + sampling.offset[0], expected)


def test_equal_grids_have_equal_hashes():
    """A zero has two signs in an affine."""
    positive, negative = np.diag([1.0, 1.0, 1.0, 1.0]), np.diag([1.0, 1.0, 1.0, 1.0])
    negative[0, 1] = -0.0
    one, other = VoxelGrid((4, 4, 4), positive), VoxelGrid((4, 4, 4), negative)
    assert one == other
    assert hash(one) == hash(other)
