"""Geometry, intensity and judgement of whole scans, through real files."""

import tracemalloc

import nibabel
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ctprep.errors import ACCEPTABLE_CODES, BadScan, Constant, Coverage, NonFinite, NotHounsfield
from ctprep.preparation import prepare
from ctprep.volume.grid import VoxelGrid
from ctprep.volume.intensity import HU_QUANTILES
from ctprep.volume.recipe import Recipe
from tests.conftest import LAS, chest_hu, write_scan
from tests.reference import reference_volume
from tests.strategies import ORIENTATIONS, affine_of, affines, origins, shapes, spacings, tilts

WIDE = (-700.0, 700.0)  # mm; a wider window would cost float32 the last digits


def coordinate_volumes(shape, affine):
    """Return three volumes that hold the world x, y and z of each voxel's centre."""
    voxels = np.stack([*np.indices(shape), np.ones(shape)], axis=-1)
    return np.moveaxis((voxels @ affine.T)[..., :3], -1, 0)


def displacement(tmp_path, shape, affine, recipe):
    """Return how far, in stored voxels, each stored value lies from the coordinate its affine gives, and air's mask."""
    stored, grid = [], None
    for axis, volume in enumerate(coordinate_volumes(shape, affine)):
        path = write_scan(tmp_path / f"{axis}.nii", volume.astype(np.float32), affine=affine)
        prepared = prepare(path, recipe, accept=ACCEPTABLE_CODES)
        lower, upper = recipe.window
        stored.append(prepared.volume.astype(np.float64) * (upper - lower) + lower)
        grid = VoxelGrid(recipe.shape, np.array(prepared.record.affine))
    world = np.stack(stored, axis=-1)
    voxel_from_world = np.linalg.inv(grid.affine)
    voxels = world @ voxel_from_world[:3, :3].T + voxel_from_world[:3, 3]
    return np.abs(voxels - np.moveaxis(np.indices(recipe.shape), 0, -1)).max(axis=-1), grid


def inner(array, margin):
    return array[tuple(slice(m, n - m) for m, n in zip(margin, array.shape, strict=True))]


def coordinates(shape):
    """A recipe under which the coordinates of a volume survive: float32, no clipping, no judgement."""
    return Recipe(shape=shape, window=WIDE, dtype="float32", require_hu=False)


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
@pytest.mark.parametrize("shape", [(8, 10, 4), (32, 30, 24), (8, 30, 12)], ids=["down", "up", "both"])
def test_a_volume_of_its_own_coordinates_still_holds_them(tmp_path, order, signs, shape):
    canonical_shape = (16, 20, 12)
    file_shape = tuple(canonical_shape[order[axis]] for axis in range(3))
    affine = affine_of(order, signs, spacing=(0.8, 1.7, 5.0), tilt=(0.2, -0.15, 0.1), origin=(-90.0, 40.0, 7.0))
    off, grid = displacement(tmp_path, file_shape, affine, coordinates(shape))
    margin = [1 + round(n / m) for n, m in zip(shape, canonical_shape, strict=True)]
    assert inner(off, margin).size
    assert inner(off, margin).max() < 1e-3
    assert grid.orientation == "RAS"


@settings(max_examples=30)
@given(st.sampled_from(ORIENTATIONS), spacings, tilts, origins)
def test_coordinates_survive_any_affine(tmp_path_factory, orientation, spacing, tilt, origin):
    affine = affine_of(*orientation, spacing=spacing, tilt=tilt, origin=origin)
    off, _ = displacement(tmp_path_factory.mktemp("any"), (12, 12, 12), affine, coordinates((6, 6, 6)))
    assert inner(off, (2, 2, 2)).max() < 1e-3


@pytest.mark.parametrize("spacing_mm", [(2.0, 2.0, 5.0), (4.0, 4.0, 10.0)])
def test_coordinates_survive_a_fixed_spacing_and_air_surrounds_them(tmp_path, spacing_mm):
    recipe = Recipe(shape=(20, 20, 20), window=WIDE, dtype="float32", require_hu=False, spacing_mm=spacing_mm)
    affine = np.diag([-2.0, 2.0, 5.0, 1.0])
    off, grid = displacement(tmp_path, (16, 16, 16), affine, recipe)
    assert np.allclose(grid.spacing_mm, spacing_mm)
    width = round(16 * 2.0 / spacing_mm[0])
    border = (20 - width) // 2
    assert inner(off, (border + 1,) * 3).max() < 1e-3
    ones = write_scan(tmp_path / "a.nii", np.ones((16, 16, 16), "f4") + np.eye(16)[0], affine=affine)
    air = prepare(ones, recipe)
    assert (air.volume[:border] == 0).all()
    assert (air.volume[border:-border, border:-border, border:-border] > 0).all()


def test_every_orientation_of_one_chest_gives_one_volume(tmp_path):
    hu = chest_hu()
    expected = prepare(write_scan(tmp_path / "ras.nii", hu, affine=np.diag([2.0, 2.0, 5.0, 1.0])), Recipe())
    image = nibabel.load(tmp_path / "ras.nii")
    for letters in ("LAS", "LPS", "RPI", "SAR", "PIL", "IRA"):
        transform = nibabel.orientations.ornt_transform(
            nibabel.orientations.axcodes2ornt("RAS"), nibabel.orientations.axcodes2ornt(letters)
        )
        image.as_reoriented(transform).to_filename(tmp_path / "turned.nii")
        turned = prepare(tmp_path / "turned.nii", Recipe())
        assert np.allclose(turned.volume, expected.volume, atol=1e-3)
        assert np.allclose(turned.record.affine, expected.record.affine)


def test_the_window_comes_before_the_resampling(tmp_path):
    """Metal must not brighten its surroundings by more than the window's upper end."""
    hu = chest_hu((16, 16, 16)).astype(np.int16)
    hu[8, 8, 8] = 30_000
    volume = prepare(write_scan(tmp_path / "a.nii", hu), Recipe(shape=(8, 8, 8), dtype="float32")).volume
    hu[8, 8, 8] = 400
    assert np.array_equal(
        volume, prepare(write_scan(tmp_path / "b.nii", hu), Recipe(shape=(8, 8, 8), dtype="float32")).volume
    )


@pytest.mark.parametrize("dtype", ["int16", "int32", "float32", "float64"])
def test_the_dtype_of_the_file_changes_no_bit(make_scan, dtype):
    expected = prepare(make_scan("a.nii"), Recipe()).volume
    assert np.array_equal(prepare(make_scan("b.nii", chest_hu().astype(dtype)), Recipe()).volume, expected)


def test_slope_and_intercept_change_no_bit(make_scan):
    expected = prepare(make_scan("a.nii"), Recipe()).volume
    shifted = make_scan("b.nii", (chest_hu() + 1100).astype(np.uint16), slope=1.0, inter=-1100.0)
    assert np.array_equal(prepare(shifted, Recipe()).volume, expected)


def test_a_few_non_finite_voxels_become_air_and_are_counted(make_scan):
    hu = chest_hu((30, 30, 30)).astype(np.float32)
    hu[15, 15, :5] = np.nan
    prepared = prepare(make_scan(array=hu), Recipe(shape=(30, 30, 30)))
    assert prepared.record.nonfinite == 5
    assert (prepared.volume[::-1][15, 15, :5] == 0).all()  # the file runs right to left


def test_what_cannot_be_trusted_is_rejected(make_scan):
    holes = chest_hu().astype(np.float32)
    holes[:2] = np.inf
    with pytest.raises(NonFinite):
        prepare(make_scan("a.nii", holes), Recipe())
    with pytest.raises(NonFinite):
        prepare(make_scan("b.nii", np.full((9, 9, 9), np.nan, np.float32)), Recipe())
    with pytest.raises(Constant):
        prepare(make_scan("c.nii", np.full((9, 9, 9), 3, np.int16)), Recipe())
    lost_intercept = make_scan("d.nii", (chest_hu() + 1024).astype(np.int16))
    with pytest.raises(NotHounsfield, match="no air"):
        prepare(lost_intercept, Recipe())
    assert prepare(lost_intercept, Recipe(require_hu=False)).volume.max() == 1


def test_voxels_beyond_single_precision_are_not_hu(make_scan):
    hu = chest_hu().astype(np.float64)
    hu[0, 0, 0] = 1e300
    with pytest.raises(NotHounsfield, match="values reach"):
        prepare(make_scan(array=hu), Recipe())


def test_a_scan_whose_sampled_voxels_are_all_nan_is_rejected(make_scan):
    hu = chest_hu((100, 100, 100)).astype(np.float32)
    hu[::2, ::2, ::2] = np.nan
    hu[::5] = chest_hu((20, 100, 100))
    with pytest.raises(NonFinite):
        prepare(make_scan(array=hu), Recipe())


def test_the_record_says_what_the_file_was(make_scan):
    record = prepare(make_scan(), Recipe()).record
    assert record.source_shape == (24, 20, 12)
    assert np.array_equal(record.source_affine, LAS)
    assert record.hu_quantile[0] < -990
    assert record.hu_quantile == tuple(sorted(record.hu_quantile))


@pytest.mark.parametrize("name", ["lung1", "lung2", "thorax_cta", "lidc_0001_slab", "lidc_0314_averaged"])
def test_a_real_scan_equals_the_reference(shared_data, name):
    path = shared_data / "chest" / f"{name}.nii.gz"
    recipe = Recipe(dtype="float32")
    assert np.abs(prepare(path, recipe).volume - reference_volume(path, recipe)).max() < 3e-6


windows = st.builds(
    lambda lower, width: (lower, lower + width),
    st.floats(-1200, 0) | st.integers(-1200, 0).map(float),
    st.floats(50, 3000) | st.integers(50, 3000).map(float),
)


@settings(max_examples=150)
@given(
    shape=shapes,
    target=shapes,
    affine=affines(),
    window=windows,
    spacing_mm=st.none() | st.tuples(*[st.floats(0.5, 9.0)] * 3),
    stored=st.sampled_from(
        [
            ("int16", 1, 0),
            ("uint16", 1, -1024),
            ("float32", 1, 0),
            ("float64", 0.5, 3),
            (">i2", 2, 7),
            ("int16", -1, 99),
        ]
    ),
    slab_voxels=st.sampled_from([1, 30, 300, 1 << 17]),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_scan_equals_the_reference(
    tmp_path, monkeypatch, shape, target, affine, window, spacing_mm, stored, slab_voxels, seed
):
    """Whatever the shape, the orientation, the window and the target, and however the file is cut into slabs."""
    dtype, slope, inter = stored
    values = np.random.default_rng(seed).uniform(0 if dtype == "uint16" else -1500, 3000, shape).astype(dtype)
    if dtype == "float32" and values.size >= 100:
        values.flat[0] = np.inf
    path = write_scan(
        tmp_path / "scan.nii", values, affine=affine, slope=slope, inter=inter, big_endian=dtype.startswith(">")
    )
    recipe = Recipe(shape=target, window=window, spacing_mm=spacing_mm, dtype="float32", require_hu=False)
    monkeypatch.setattr("ctprep.scans.readers.slabs.SLAB_VOXELS", slab_voxels)
    assume(values.size > 1)
    found = prepare(path, recipe, accept=ACCEPTABLE_CODES).volume
    assert np.abs(found - reference_volume(path, recipe)).max() < 1e-5


def test_every_error_names_the_file_and_a_code(make_scan):
    path = make_scan("x.nii", np.full((9, 9, 9), 3, np.int16))
    with pytest.raises(BadScan) as caught:
        prepare(path, Recipe())
    assert str(caught.value).startswith("x.nii: ")
    assert caught.value.code == "constant"


@pytest.mark.parametrize("axis", range(3))
def test_the_number_of_slices_takes_no_memory(tmp_path, axis):
    """Whichever axis of the file the slices lie along."""
    peaks = []
    for n_slices in (200, 1000):
        shape = [64, 64, 64]
        shape[axis] = n_slices
        path = write_scan(tmp_path / f"{n_slices}.nii.gz", chest_hu(tuple(shape)).astype(np.float32))
        tracemalloc.start()
        prepare(path, Recipe())
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    few, many = peaks
    assert many < few + 1e6  # the larger file holds 16 MB


def fields_of_view(shape):
    """Return masks of what lies outside a field of view, by its form."""
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    return {
        "cylinder": np.hypot(x, y) > 1,
        "rim": (abs(x) > 0.93) | (abs(y) > 0.93),
        "corners": (abs(x) > 0.9) & (abs(y) > 0.9),
        "tilted": abs(y + 0.3 * z) > 1.05,
        "some slices": (np.hypot(x, y) > 1) & (abs(z) < 0.4),
        "end slices": z > 0.85,
    }


SHAPE = (24, 20, 12)
STORED_PADDING = [
    ("int16", 1.0, 0.0, -2000.0),
    ("int16", 1.0, 0.0, -3024.0),
    ("int16", 1.0, 0.0, -32768.0),
    ("int16", 1.0, -1024.0, -3024.0),
    ("int16", 2.0, -24.0, -2048.0),
    ("int16", -1.0, 0.0, -2000.0),
    ("uint16", 1.0, -3024.0, -3024.0),
    ("float32", 1.0, 0.0, -2000.5),
    ("float32", 1.0, 0.0, np.nan),
    ("float64", 0.5, -1000.0, np.nan),
]


@pytest.mark.parametrize("form", fields_of_view(SHAPE))
@pytest.mark.parametrize(("dtype", "slope", "inter", "filling"), STORED_PADDING)
def test_padding_is_counted_and_stored_as_air_and_changes_nothing_else(make_scan, form, dtype, slope, inter, filling):
    outside = fields_of_view(SHAPE)[form]
    hu = chest_hu(SHAPE).astype(np.float64) // 2 * 2
    hu[outside] = -1000
    recipe = Recipe(shape=(12, 10, 6))
    expected = prepare(make_scan("air.nii", ((hu - inter) / slope).astype(dtype), slope=slope, inter=inter), recipe)
    hu[outside] = filling
    found = prepare(make_scan("a.nii", ((hu - inter) / slope).astype(dtype), slope=slope, inter=inter), recipe)
    assert (found.record.padding, found.record.nonfinite) == (outside.sum(), 0)
    assert found.volume.tobytes() == expected.volume.tobytes()
    assert found.record.hu_quantile[0] > -1100
    assert expected.record.padding == 0


def test_the_quantiles_are_those_of_what_the_scanner_measured(make_scan):
    outside = fields_of_view(SHAPE)["cylinder"]
    hu = chest_hu(SHAPE)
    expected = np.quantile(hu[~outside], HU_QUANTILES)
    hu[outside] = -2000
    assert prepare(make_scan(array=hu), Recipe()).record.hu_quantile == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("slab_voxels", [1, 50, 700, 1 << 17])
def test_padding_is_counted_the_same_however_the_file_is_cut_into_slabs(make_scan, monkeypatch, slab_voxels):
    masks = fields_of_view(SHAPE)
    hu = chest_hu(SHAPE).astype(np.float32)
    hu[masks["cylinder"]] = -2000
    hu[masks["end slices"]] = np.nan
    hu[10:12, 8:10, 5] = np.nan
    hu[masks["rim"]] = np.nan
    monkeypatch.setattr("ctprep.scans.readers.slabs.SLAB_VOXELS", slab_voxels)
    record = prepare(make_scan(array=hu), Recipe()).record
    assert record.nonfinite == 4
    assert record.padding == (masks["cylinder"] | masks["end slices"] | masks["rim"]).sum()


def test_a_window_that_reaches_below_padding_holds_no_padding(make_scan):
    hu = chest_hu(SHAPE)
    hu[:2] = -2000
    volume = prepare(make_scan(array=hu), Recipe(shape=SHAPE, window=(-3000, 400))).volume
    assert (volume[-2:] == 0).all()  # the file runs right to left
    assert volume[:-2].min() > 0.5


@pytest.mark.parametrize("lost", [np.s_[8:12, 8:12, 3:9], np.s_[:, :, 5], np.s_[:, 10], np.s_[10]], ids=str)
def test_nan_within_the_field_of_view_rejects_a_scan_unless_it_is_accepted(make_scan, lost):
    hu = chest_hu(SHAPE).astype(np.float32)
    hu[lost] = np.nan
    path = make_scan(array=hu)
    with pytest.raises(NonFinite, match="NaN or infinite"):
        prepare(path, Recipe())
    record = prepare(path, Recipe(), accept=["non-finite"]).record
    assert (record.nonfinite, record.padding) == (np.isnan(hu).sum(), 0)
    assert record.accepted == "non-finite"


@pytest.mark.parametrize("filling", [None, -2000, -3024, -32768, -1024, 0])
@pytest.mark.parametrize("offset", [1000, 1024])
def test_a_missing_intercept_is_named_whatever_the_padding(make_scan, offset, filling):
    hu = chest_hu((48, 40, 24)) + offset
    if filling is not None:
        hu[fields_of_view(hu.shape)["cylinder"]] = filling
    path = make_scan(array=hu.astype(np.int16))
    air = r"-?\d" if offset == 1000 else r"2\d"
    with pytest.raises(
        NotHounsfield,
        match=rf"air lies at {air}, expected near -1000: .*missing {offset}\); write scl_inter = -{offset} ",
    ):
        prepare(path, Recipe())
    assert prepare(path, Recipe(), accept=["not-hu"]).record.accepted == "not-hu"


def test_the_intercept_that_is_named_mends_the_scan(make_scan):
    hu = chest_hu((48, 40, 24))
    expected = prepare(make_scan("hu.nii", hu), Recipe())
    with pytest.raises(NotHounsfield, match="write scl_inter = -1024 into it"):
        prepare(make_scan("a.nii", (hu * 2 + 2048).astype(np.int16), slope=0.5), Recipe())
    mended = prepare(make_scan("b.nii", (hu * 2 + 2048).astype(np.int16), slope=0.5, inter=-1024.0), Recipe())
    assert np.array_equal(mended.volume, expected.volume)


def test_an_intercept_applied_twice_is_named(make_scan):
    with pytest.raises(NotHounsfield, match=r"air lies at -20.*write scl_inter = 1024 into it"):
        prepare(make_scan(array=chest_hu((48, 40, 24)) - 1024), Recipe())


def test_a_scan_of_few_slices_or_millimetres_is_rejected(make_scan):
    for name, slices, thickness in (("one", 1, 8.0), ("five thin", 5, 1.0), ("seven", 7, 8.0), ("a slab", 20, 0.1)):
        affine = np.diag([-1.5, 1.5, thickness, 1.0])
        path = make_scan(f"{name}.nii", chest_hu((24, 20, slices)), affine=affine)
        with pytest.raises(Coverage, match=f"over {slices * thickness:.3g} mm from feet to head in {slices} slice"):
            prepare(path, Recipe())
    coronal = np.array([[-1.5, 0, 0, 0], [0, 0, 1.5, 0], [0, 2.0, 0, 0], [0, 0, 0, 1]])
    with pytest.raises(Coverage):
        prepare(make_scan("coronal.nii", chest_hu((24, 4, 60)), affine=coronal), Recipe())
    whole = make_scan("short.nii", chest_hu((24, 20, 8)), affine=np.diag([-1.5, 1.5, 5.0, 1.0]))
    assert prepare(whole, Recipe()).record.accepted == ""
    one = make_scan("accepted.nii", chest_hu((24, 20, 1)))
    assert prepare(one, Recipe(), accept=["coverage", "not-hu"]).record.accepted == "coverage"
