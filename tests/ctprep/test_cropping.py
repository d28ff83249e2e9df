"""Scans cropped to their lungs, through real files: what is kept, and where it lies."""

import tracemalloc

import nibabel
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from ctprep.preparation import prepare
from ctprep.scans.scan import NOT_CROPPED
from ctprep.volume.frame import MARGIN_MM
from ctprep.volume.grid import VoxelGrid
from ctprep.volume.recipe import Recipe
from tests.conftest import chest_hu, write_scan
from tests.reference import dense_weights
from tests.strategies import ORIENTATIONS, affine_of, affines

SHAPE, SPACING_MM = (48, 40, 24), (7.0, 7.0, 10.0)
RECIPE = Recipe(shape=(24, 20, 16), dtype="float32", crop="lungs")
WHOLE = Recipe(shape=(24, 20, 16), dtype="float32")
STRAIGHT = np.diag([*SPACING_MM, 1.0])


def chest(*, lungs=2, seed=0):
    """Return a chest of 336 x 280 x 240 mm in RAS with so many lungs, the left one first."""
    hu = chest_hu(SHAPE, seed)
    filled = {0: np.s_[:], 1: np.s_[SHAPE[0] // 2 :], 2: np.s_[:0]}[lungs]
    hu[filled] = np.where((hu[filled] < -500) & _in_body()[filled], 40, hu[filled])
    return hu


def _in_body():
    x, y = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE[:2]), indexing="ij")
    return np.broadcast_to(((x / 0.8) ** 2 + (y / 0.7) ** 2 < 1)[..., None], SHAPE)


def lungs_of(hu):
    return (hu < -500) & _in_body()


def edges_of(mask):
    """Return the lower and upper edge of what a mask holds along each axis."""
    return [
        (int(np.flatnonzero(line)[0]), int(np.flatnonzero(line)[-1]) + 1)
        for line in (mask.any(axis=axes) for axes in ((1, 2), (0, 2), (0, 1)))
    ]


def turned(hu, order, signs, tilt=(0.0, 0.0, 0.0)):
    """Return the same chest with file axis `a` along world axis `order[a]`, and its affine."""
    array = np.transpose(hu, order)
    array = array[tuple(slice(None, None, sign) for sign in signs)]
    spacing = [SPACING_MM[axis] for axis in order]
    return np.ascontiguousarray(array), affine_of(order, signs, spacing=spacing, tilt=tilt)


def test_the_box_is_that_of_both_lungs_and_the_margin(tmp_path):
    hu = chest()
    record = prepare(write_scan(tmp_path / "a.nii.gz", hu, affine=STRAIGHT), RECIPE).record
    for (lower, upper), n, found_lower, found_upper, mm in zip(
        edges_of(lungs_of(hu)), SHAPE, *record.crop_box, SPACING_MM, strict=True
    ):
        assert 0 <= found_lower < found_upper <= n
        assert (lower - found_lower) * mm == pytest.approx(MARGIN_MM, abs=9) or found_lower == 0
        assert (found_upper - upper) * mm == pytest.approx(MARGIN_MM, abs=9) or found_upper == n
    assert sum(record.lung_ml) == pytest.approx(lungs_of(hu).sum() * 0.49, rel=0.08)


def test_the_box_of_a_scan_never_changes_by_accident(tmp_path):
    """Whoever changes it on purpose raises the version of the arithmetic."""
    record = prepare(write_scan(tmp_path / "a.nii.gz", chest(), affine=STRAIGHT), RECIPE).record
    assert record.crop_box == ((7, 8, 1), (41, 32, 23))


def test_the_volume_is_the_resampled_box(tmp_path):
    """The oracle resamples the whole array with dense weights, in float64, at the places that the box says."""
    path = write_scan(tmp_path / "a.nii.gz", chest(), affine=np.diag([-7.0, 7.0, 10.0, 1.0]))
    prepared = prepare(path, RECIPE)
    volume = np.clip(nibabel.as_closest_canonical(nibabel.load(path)).get_fdata(), -1000, 400) + 1000
    lower, upper = np.array(prepared.record.crop_box)
    assert ((upper - lower) < volume.shape).any()
    for axis, (n_target, scale) in enumerate(zip(RECIPE.shape, (upper - lower) / RECIPE.shape, strict=True)):
        centre = lower[axis] + (np.arange(n_target) + 0.5) * scale - 0.5
        weights = dense_weights(centre, volume.shape[axis], max(scale, 1))
        volume = np.moveaxis(np.tensordot(weights, volume, (1, axis)), 0, axis)
    assert np.abs(prepared.volume - volume / 1400).max() < 1e-6


@pytest.mark.parametrize("spacing_mm", [None, (8.0, 8.0, 12.0)])
@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS[::5])
@pytest.mark.parametrize("tilt", [(0.0, 0.0, 0.0), (0.2, -0.15, 0.1)], ids=["straight", "oblique"])
def test_a_planted_point_keeps_its_place_in_the_world(tmp_path, order, signs, tilt, spacing_mm):
    hu, point = chest(), (34, 18, 13)
    hu[point] = 3000
    array, affine = turned(hu, order, signs, tilt)
    where = np.argwhere(array == 3000)[0]
    recipe = Recipe(shape=(32, 32, 24), dtype="float32", crop="lungs", spacing_mm=spacing_mm)
    prepared = prepare(write_scan(tmp_path / "a.nii", array, affine=affine), recipe)
    without = prepare(write_scan(tmp_path / "b.nii", *turned(chest(), order, signs, tilt)[:1], affine=affine), recipe)
    assert prepared.record.affine == without.record.affine
    centre = ndimage.center_of_mass(prepared.volume - without.volume)
    found = np.array(prepared.record.affine) @ [*centre, 1.0]
    assert np.abs(found - affine @ [*where, 1.0])[:3].max() < 1.0
    assert VoxelGrid(recipe.shape, np.array(prepared.record.affine)).orientation == "RAS"


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS[::7])
def test_every_orientation_of_one_chest_gives_one_cropped_volume(tmp_path, order, signs):
    expected = prepare(write_scan(tmp_path / "ras.nii", chest(), affine=STRAIGHT), RECIPE)
    array, affine = turned(chest(), order, signs)
    affine[:3, 3] = [0 if sign > 0 else (n - 1) * mm for sign, n, mm in signs_of(order, signs)]
    found = prepare(write_scan(tmp_path / "turned.nii", array, affine=affine), RECIPE)
    assert found.record.crop_box == expected.record.crop_box
    assert np.allclose(found.record.affine, expected.record.affine)
    assert np.abs(found.volume - expected.volume).max() < 1e-6


def signs_of(order, signs):
    """Return sign, size and spacing along each world axis."""
    by_world = dict(zip(order, signs, strict=True))
    return [(by_world[axis], SHAPE[axis], SPACING_MM[axis]) for axis in range(3)]


def test_voxels_of_a_fixed_size_lie_around_the_middle_of_the_box_and_air_around_the_scan(tmp_path):
    path = write_scan(tmp_path / "a.nii", chest(), affine=STRAIGHT)
    recipe = Recipe(shape=(64, 20, 16), spacing_mm=(7.0, 7.0, 10.0), crop="lungs")
    prepared = prepare(path, recipe)
    lower, upper = np.array(prepared.record.crop_box)
    middle = np.array(prepared.record.affine) @ [31.5, 9.5, 7.5, 1.0]
    assert np.allclose(middle[:3], ((lower + upper) / 2 - 0.5) * SPACING_MM)
    assert (prepared.volume[:4] == 0).all()


@pytest.mark.parametrize("lungs", [0, 1], ids=["no lung", "one lung"])
def test_a_scan_without_two_lungs_is_stored_whole(tmp_path, lungs):
    path = write_scan(tmp_path / "a.nii", chest(lungs=lungs), affine=STRAIGHT)
    found, whole = prepare(path, RECIPE), prepare(path, WHOLE)
    assert found.record.crop_box == NOT_CROPPED
    assert [ml > 300 for ml in found.record.lung_ml] == [False, lungs == 1]
    assert np.array_equal(found.volume, whole.volume)
    assert found.record.affine == whole.record.affine


@settings(max_examples=40)
@given(
    hnp.arrays(np.int16, hnp.array_shapes(min_dims=3, max_dims=3, max_side=9), elements=st.integers(-1100, 900)),
    affines(),
    st.none() | st.tuples(*[st.floats(0.5, 60.0)] * 3),
    st.sampled_from([1, 40, 1 << 20]),
)
def test_whatever_a_scan_holds_its_crop_is_whole_or_within_it(tmp_path, monkeypatch, hu, affine, spacing_mm, max_kept):
    assume(hu.min() < hu.max())
    monkeypatch.setattr("ctprep.volume.kept.MAX_KEPT", max_kept)
    path = write_scan(tmp_path / "a.nii", hu, affine=affine)
    recipe = Recipe(shape=(5, 4, 3), spacing_mm=spacing_mm, crop="lungs", lung=True, require_hu=False)
    prepared = prepare(path, recipe, accept=("coverage",))
    lower, upper = np.array(prepared.record.crop_box)
    shape = VoxelGrid(hu.shape, affine).canonical().shape
    assert (lower == -1).all() or ((lower >= 0) & (lower < upper) & (upper <= shape)).all()
    assert np.isfinite(prepared.volume).all()
    assert prepared.lung.shape == prepared.volume.shape == recipe.shape
    assert prepared.lung.any() <= (sum(prepared.record.lung_ml) > 0)


@pytest.mark.parametrize("dtype", ["int32", "float32", "float64"])
def test_the_dtype_of_the_file_changes_no_bit_of_the_crop(tmp_path, dtype):
    expected = prepare(write_scan(tmp_path / "a.nii", chest(), affine=STRAIGHT), RECIPE)
    found = prepare(write_scan(tmp_path / "b.nii", chest().astype(dtype), affine=STRAIGHT), RECIPE)
    assert np.array_equal(found.volume, expected.volume)
    assert found.record.crop_box == expected.record.crop_box


def test_a_crop_takes_no_more_memory_for_more_slices(tmp_path, monkeypatch):
    monkeypatch.setattr("ctprep.volume.kept.MAX_KEPT", 1 << 18)
    peaks = []
    for n_slices in (200, 1000):
        path = write_scan(tmp_path / f"{n_slices}.nii.gz", chest_hu((64, 64, n_slices)).astype(np.float32))
        tracemalloc.start()
        prepare(path, Recipe(shape=(16, 16, 16), crop="lungs"))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    few, many = peaks
    assert many < few + 1e6  # the larger file holds 16 MB


@pytest.mark.parametrize(
    ("name", "share"), [("lung1", 0.55), ("thorax_cta", 0.65), ("lidc_0001_slab", 0.4), ("lidc_0314_averaged", 0.3)]
)
def test_a_real_scan_is_cropped(shared_data, name, share):
    record = prepare(shared_data / "chest" / f"{name}.nii.gz", Recipe(crop="lungs")).record
    lower, upper = np.array(record.crop_box)
    assert np.prod(upper - lower) / np.prod(record.source_shape) == pytest.approx(share, abs=0.05)


def test_adding_up_neighbours_changes_a_real_scan_by_little(shared_data, monkeypatch):
    """A scan of 7 million voxels, as if no more than two million could be kept."""
    path = shared_data / "chest" / "thorax_cta.nii.gz"
    exact = prepare(path, Recipe(dtype="float32", crop="lungs"))
    monkeypatch.setattr("ctprep.volume.kept.MAX_KEPT", 2 << 20)
    found = prepare(path, Recipe(dtype="float32", crop="lungs"))
    assert found.record.lung_ml == pytest.approx(exact.record.lung_ml, rel=0.02)
    assert found.record.crop_box == exact.record.crop_box
    assert 0 < np.abs(found.volume - exact.volume).mean() * 1400 < 2  # HU
