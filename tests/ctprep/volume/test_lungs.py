import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ctprep.phantom import CohortSettings, make_scan
from ctprep.preparation import prepare
from ctprep.volume.grid import VoxelGrid
from ctprep.volume.intensity import hu_from_unit
from ctprep.volume.lungs import LEFT, RIGHT, find_lungs
from ctprep.volume.recipe import Recipe

SHAPE, SPACING_MM = (56, 44, 30), (7.0, 7.0, 10.0)
AIR, LUNG, TISSUE, SOLID = -1000.0, -850.0, 40.0, 30.0

X, Y, Z = (
    ((np.arange(n) - (n - 1) / 2) * mm).reshape([-1 if other == axis else 1 for other in range(3)])
    for axis, (n, mm) in enumerate(zip(SHAPE, SPACING_MM, strict=True))
)
"""Millimetres from the middle to the right, front and head."""


def ellipsoid(centre, radii):
    return sum(((at - c) / r) ** 2 for at, c, r in zip((X, Y, Z), centre, radii, strict=True)) < 1


RIGHT_LUNG, LEFT_LUNG = (ellipsoid((side * 75, 0, 0), (50, 80, 115)) for side in (1, -1))
BODY = np.broadcast_to((X / 165) ** 2 + (Y / 115) ** 2 < 1, SHAPE)


def body(*, noise_hu=15.0, seed=0):
    """Return the HU of a body with two lungs in air."""
    hu = np.where(BODY, TISSUE, AIR)
    hu[RIGHT_LUNG | LEFT_LUNG] = LUNG
    return (hu + np.random.default_rng(seed).normal(0, noise_hu, SHAPE)).astype(np.float32)


def dice(found, truth):
    return 2 * np.count_nonzero(found & truth) / (np.count_nonzero(found) + np.count_nonzero(truth))


def find(hu, spacing_mm=SPACING_MM):
    return find_lungs(hu, spacing_mm=spacing_mm)


@pytest.mark.parametrize("noise_hu", [0.0, 40.0, 80.0])
def test_the_lungs_of_a_plain_body_are_found_and_nothing_else(noise_hu):
    lungs = find(body(noise_hu=noise_hu))
    assert dice(lungs.mask, RIGHT_LUNG | LEFT_LUNG) > 0.98
    assert (lungs.failure, lungs.doubts) == (None, ())


def test_the_right_lung_is_at_larger_x_and_each_voxel_is_of_one_side():
    lungs = find(body())
    assert dice(lungs.sides == RIGHT, RIGHT_LUNG) > 0.98
    assert dice(lungs.sides == LEFT, LEFT_LUNG) > 0.98
    assert np.array_equal(lungs.sides > 0, lungs.mask)


def test_volumes_are_those_of_the_mask():
    lungs = find(body())
    assert lungs.volume_ml == pytest.approx(lungs.mask.sum() * np.prod(SPACING_MM) / 1000)
    assert lungs.right_ml == pytest.approx(4 / 3 * np.pi * 5.0 * 8.0 * 11.5, rel=0.05)


def test_mirroring_a_body_mirrors_its_lungs():
    hu = body()
    hu[ellipsoid((75, -20, 20), (20, 20, 20))] = SOLID
    lungs, mirrored = find(hu), find(hu[::-1])
    assert dice(mirrored.mask[::-1], lungs.mask) > 0.99
    assert mirrored.left_ml == pytest.approx(lungs.right_ml, rel=0.01)


def test_a_window_that_holds_lung_and_tissue_changes_nothing():
    hu = body()
    assert np.array_equal(find(np.clip(hu, -1000, 400)).mask, find(hu).mask)


def test_nan_outside_the_body_is_air():
    hu = body()
    assert np.array_equal(find(np.where(BODY, hu, np.nan)).mask, find(hu).mask)


def test_the_input_is_not_changed():
    hu = body()
    before = hu.copy()
    find(hu)
    assert np.array_equal(hu, before)


def test_lungs_joined_before_the_heart_are_cut_in_the_middle():
    hu = body()
    bridge = ellipsoid((0, 40, 20), (40, 12, 25))
    hu[bridge] = LUNG
    lungs = find(hu)
    assert dice(lungs.mask, RIGHT_LUNG | LEFT_LUNG | bridge) > 0.97
    assert lungs.right_ml == pytest.approx(lungs.left_ml, rel=0.1)


def test_a_consolidation_inside_a_lung_belongs_to_it():
    hu = body()
    solid = ellipsoid((75, 0, 0), (22, 22, 25))
    hu[solid] = SOLID
    assert find(hu).mask[solid].mean() > 0.95


def test_a_consolidation_at_the_chest_wall_belongs_to_the_lung():
    hu = body()
    solid = ellipsoid((122, 0, 0), (25, 22, 30)) & RIGHT_LUNG
    hu[solid] = SOLID
    lungs = find(hu)
    assert lungs.mask[solid].mean() > 0.7
    assert dice(lungs.mask, RIGHT_LUNG | LEFT_LUNG) > 0.97


def test_ground_glass_belongs_to_the_lung():
    hu = body()
    hazy = ellipsoid((75, -30, -40), (60, 60, 60)) & RIGHT_LUNG
    hu[hazy] += 400
    assert find(hu).mask[hazy].mean() > 0.97


def test_windpipe_and_bowel_gas_are_left_out():
    hu = body()
    windpipe = np.broadcast_to((X**2 + Y**2 < 11**2) & (Z > 10), SHAPE)
    bronchus = ellipsoid((18, 0, 10), (22, 9, 12))
    bowel = ellipsoid((-60, 30, -140), (40, 30, 16))
    hu[windpipe | bronchus | bowel] = AIR
    mask = find(hu).mask
    assert not mask[windpipe & (Z > 25)].any()  # below, the bronchus joins it to the lung
    assert not mask[bowel].any()
    assert dice(mask, RIGHT_LUNG | LEFT_LUNG) > 0.96


def test_the_throat_above_a_closed_glottis_does_not_hide_the_windpipe():
    hu = body()
    windpipe = np.broadcast_to((X**2 + Y**2 < 11**2) & (Z > 10) & (Z < 110), SHAPE)
    throat = np.broadcast_to((X**2 + Y**2 < 14**2) & (Z > 130), SHAPE)
    hu[windpipe | throat] = AIR
    assert not find(hu).mask[windpipe | throat].any()


def test_air_between_an_arm_and_the_chest_is_no_lung():
    wide = np.pad(body(), ((12, 12), (0, 0), (0, 0)), constant_values=AIR)
    x = np.arange(wide.shape[0]) - (wide.shape[0] - 1) / 2
    arms = (np.abs(np.abs(x) - 28)[:, None] ** 2 + (np.arange(SHAPE[1]) - 21.5) ** 2) < 5**2
    wide[arms] = TISSUE
    expected = np.pad(RIGHT_LUNG | LEFT_LUNG, ((12, 12), (0, 0), (0, 0)))
    assert dice(find(wide).mask, expected) > 0.98


def test_a_collapsed_lung_raises_a_doubt_and_the_other_is_found():
    hu = body()
    hu[LEFT_LUNG & ~ellipsoid((-60, 20, 60), (22, 25, 35))] = SOLID
    lungs = find(hu)
    assert dice(lungs.sides == RIGHT, RIGHT_LUNG) > 0.98
    assert any(doubt.startswith("the left lung has") for doubt in lungs.doubts)


@pytest.mark.parametrize("margin", [0, 1, 3])
def test_lungs_that_touch_the_sides_of_a_cropped_volume_are_found(margin):
    truth = RIGHT_LUNG | LEFT_LUNG
    edges = [np.flatnonzero(truth.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    box = tuple(slice(edge[0] - margin, edge[-1] + 1 + margin) for edge in edges)
    lungs = find(body()[box])
    assert lungs.failure is None
    assert dice(lungs.mask, truth[box]) > 0.97


def test_a_slab_raises_a_doubt_and_its_lungs_are_found():
    slab = np.s_[..., 12:17]
    lungs = find(body()[slab])
    assert dice(lungs.mask, (RIGHT_LUNG | LEFT_LUNG)[slab]) > 0.97
    assert "the scan ends within the lungs at the bottom and the top" in lungs.doubts


@pytest.mark.parametrize(
    ("hu", "why"),
    [
        (np.full(SHAPE, AIR), "no voxel is soft tissue"),
        (np.full(SHAPE, np.nan), "no voxel is soft tissue"),
        (np.full(SHAPE, TISSUE), "the largest section of air in the body is 0 cm2"),
        (np.where(BODY, TISSUE, AIR), "the largest section of air in the body is 0 cm2"),
        (np.where(ellipsoid((0, 0, 0), (17, 17, 17)), AIR, TISSUE), "the largest section of air in the body is "),
    ],
    ids=["air", "nan", "tissue", "a body without lungs", "a bubble"],
)
def test_no_lungs_is_said_with_the_reason(hu, why):
    lungs = find(hu)
    assert lungs.failure is not None
    assert lungs.failure.startswith(why)
    assert (lungs.mask.any(), lungs.sides.any(), lungs.volume_ml) == (False, False, 0.0)


def test_a_single_slice_is_searched():
    lungs = find(body()[..., 14:15])
    assert dice(lungs.mask, (RIGHT_LUNG | LEFT_LUNG)[..., 14:15]) > 0.97


@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=3, max_dims=3, max_side=12),
        elements=st.sampled_from([AIR, LUNG, -500.0, TISSUE, 300.0, np.nan]),
    ),
    st.tuples(*[st.floats(0.5, 40.0)] * 3),
)
def test_whatever_the_volume_the_result_agrees_with_itself(hu, spacing_mm):
    lungs = find(hu, spacing_mm)
    assert lungs.mask.shape == lungs.sides.shape == hu.shape
    assert lungs.mask.any() == (lungs.failure is None)
    assert np.array_equal(lungs.sides > 0, lungs.mask)


@pytest.mark.parametrize(("difficulty", "index"), [("easy", 0), ("medium", 1), ("hard", 2), ("hard", 5)])
def test_the_lungs_of_a_phantom_are_found(difficulty, index):
    scan = make_scan(CohortSettings(shape=(80, 80, 28), seed=5, difficulty=difficulty), index)
    grid = VoxelGrid(scan.stored.shape, scan.affine)
    hu = grid.axis_order.apply(scan.stored * scan.slope + scan.inter)
    lungs = find_lungs(np.clip(hu, -1000, 400), spacing_mm=grid.canonical().spacing_mm)
    assert dice(lungs.mask, grid.axis_order.apply(scan.lung) > 0) > 0.94


@pytest.mark.parametrize(
    ("name", "litres", "doubt"),
    [
        ("lidc_0314_averaged", (2.6, 3.0), None),
        ("lung1", (2.7, 3.0), "the scan ends within the lungs at the bottom"),
        ("thorax_cta", (3.9, 4.2), None),
        ("lidc_0001_slab", (0.9, 1.0), "the scan ends within the lungs at the bottom and the top"),
    ],
)
def test_the_lungs_of_a_real_scan_are_found_as_stored(shared_data, name, litres, doubt):
    prepared = prepare(shared_data / "chest" / f"{name}.nii.gz", Recipe())
    hu = hu_from_unit(prepared.volume.astype(np.float32), lower=-1000, upper=400)
    lungs = find_lungs(hu, spacing_mm=VoxelGrid(hu.shape, np.array(prepared.record.affine)).spacing_mm)
    assert litres[0] < lungs.volume_ml / 1000 < litres[1]
    assert lungs.doubts == (() if doubt is None else (doubt,))
