"""The lungs are found and described by arithmetic alone, whatever the volume holds."""

import numpy as np
import pytest
from scipy import ndimage

from ctmodel.devices.backend import tf
from ctmodel.networks import texture
from ctprep.phantom import make_scan
from ctprep.phantom.settings import CohortSettings
from ctprep.preparation import prepare
from ctprep.scans.readers.nifti import write_nifti
from ctprep.volume.grid import VoxelGrid
from ctprep.volume.lungs import find_lungs
from ctprep.volume.recipe import Recipe

SHAPE = (64, 64, 32)


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    """Stored volumes of phantoms and the lungs that ctprep finds in them."""
    path, volumes, lungs = tmp_path_factory.mktemp("scans") / "scan.nii", [], []
    for index in range(4):
        scan = make_scan(CohortSettings(seed=3, difficulty="hard", shape=(96, 96, 32)), index)
        write_nifti(path, scan.stored, scan.affine, slope=scan.slope, inter=scan.inter)
        prepared = prepare(path, Recipe(shape=SHAPE))
        spacing = VoxelGrid(SHAPE, np.array(prepared.record.affine)).spacing_mm
        volumes.append(prepared.volume.astype(np.float32))
        lungs.append(find_lungs(volumes[-1] * 1400 - 1000, spacing_mm=spacing).mask)
    return np.stack(volumes), np.stack(lungs)


def noise(n=2, shape=(16, 12, 8), seed=0):
    return np.random.default_rng(seed).random((n, *shape), dtype=np.float32)


def test_the_lungs_are_those_that_ctprep_finds(phantoms):
    volumes, expected = phantoms
    found = texture.lungs_of(tf.constant(volumes)).numpy() > 0
    for ours, theirs in zip(found, expected):
        assert 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()) > 0.95


def test_the_lungs_of_a_cropped_volume_are_found_too(tmp_path):
    """They fill more of it, but not so much that the quantiles would leave some out."""
    scan = make_scan(CohortSettings(seed=3, difficulty="hard", shape=(96, 96, 32)), 1)
    write_nifti(tmp_path / "a.nii", scan.stored, scan.affine, slope=scan.slope, inter=scan.inter)
    prepared = prepare(tmp_path / "a.nii", Recipe(shape=SHAPE, crop="lungs", lung=True))
    ours = texture.lungs_of(tf.constant(prepared.volume[None].astype(np.float32))).numpy()[0] > 0
    theirs = prepared.lung >= 128
    assert prepared.record.crop_box[0][0] > 0
    assert 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()) > 0.85
    assert 0.1 < ours.mean() < texture.MAX_LUNG


def test_air_around_the_body_is_no_lung():
    body = np.zeros((1, *SHAPE), np.float32)
    body[:, 12:52, 12:52] = 0.75
    assert not texture.lungs_of(tf.constant(body)).numpy().any()
    body[:, 20:30, 20:44, 8:24] = 0.1
    found = texture.lungs_of(tf.constant(body)).numpy() > 0
    lung = body[0] == np.float32(0.1)
    assert not (found[0] & ~lung).any()
    assert found.sum() > 0.95 * lung.sum()  # but its edges


def test_windpipe_and_bowel_gas_are_no_lung():
    body = np.zeros((1, *SHAPE), np.float32)
    body[:, 6:58, 8:56] = 0.75
    body[:, 12:27, 16:48, 8:26] = body[:, 37:52, 16:48, 8:26] = 0.1
    only_lungs = texture.lungs_of(tf.constant(body)).numpy()
    body[:, 30:33, 28:31, 16:] = 0.0  # a windpipe
    body[:, 20:44, 20:40, 1:5] = 0.0  # gas in the bowel
    found = texture.lungs_of(tf.constant(body)).numpy()
    np.testing.assert_array_equal(found, only_lungs)


def test_depth_is_scipy_s_distance_up_to_the_deepest():
    lungs = ndimage.binary_dilation(noise(shape=(24, 20, 16)) < 0.004, np.ones((1, 3, 3, 3)), iterations=4)
    found = texture.depth_of(tf.constant(lungs.astype(np.float32))).numpy()
    expected = [ndimage.distance_transform_edt(one, sampling=(1, 1, texture.THICKNESS)) for one in lungs]
    np.testing.assert_allclose(found, np.minimum(expected, texture.MAX_DEPTH), atol=1e-6)
    assert found.max() > 4  # and what is compared is not only a rim


def test_a_trend_is_taken_away_and_an_opacity_stays():
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    lungs = ((x**2 + y**2 + z**2) < 0.6).astype(np.float32)[None]
    trend = (0.2 + 0.05 * y + 0.03 * x * y - 0.02 * z**2).astype(np.float32)[None]
    opacity = 0.07 * (((x - 0.3) ** 2 + y**2 + z**2) < 0.02)[None]
    depth = texture.depth_of(tf.constant(lungs))
    excess = texture.excess_of(tf.constant(trend + opacity.astype(np.float32)), depth, tf.constant(lungs))[0].numpy()
    inside = lungs > 0
    assert np.abs(excess[inside & (opacity == 0)]).mean() < 0.05  # of 50 HU, where the trend is up to 2.8
    assert excess[opacity > 0].mean() == pytest.approx(0.07 / texture.UNITS_PER_STEP, rel=0.15)


def test_a_blur_is_scipy_s_gaussian_filter_within_the_volume():
    field = noise()
    blurred = texture.blurred(tf.constant(field), (1.8, 1.0)).numpy()
    expected = ndimage.gaussian_filter(field.astype(float), (0, 1.8, 1.8, 1.0), mode="constant", truncate=9)
    np.testing.assert_allclose(blurred, expected, atol=1e-6)


def test_a_median_is_scipy_s_over_the_six_neighbours():
    field = noise()
    cross = ndimage.generate_binary_structure(3, 1)[None]
    expected = ndimage.median_filter(field, footprint=cross, mode="reflect")
    np.testing.assert_array_equal(texture.medians(tf.constant(field)).numpy(), expected)


def test_masks_grow_and_shrink_as_scipy_s():
    mask = noise() < 0.3
    cross = ndimage.generate_binary_structure(3, 1)[None]
    grown = texture.dilated(tf.constant(mask.astype(np.float32))).numpy() > 0
    np.testing.assert_array_equal(grown, ndimage.binary_dilation(mask, cross))
    shrunk = texture.eroded(tf.constant(mask.astype(np.float32))).numpy() > 0
    np.testing.assert_array_equal(shrunk, ndimage.binary_erosion(mask, cross, border_value=1))


def test_a_distribution_is_numpy_s():
    field, mask = noise(seed=1), noise(seed=2) < 0.3
    found = texture.distribution_of(tf.constant(field), tf.constant(mask.astype(np.float32))).numpy()
    for numbers, values in zip(found, (field[row][mask[row]] for row in range(len(field)))):
        quantiles = np.quantile(values, texture.QUANTILES, method="nearest")
        assert np.abs(numbers[: len(quantiles)] - quantiles).max() < 0.02  # a neighbour in rank, at most
        assert numbers[len(quantiles)] == pytest.approx(values.std(), abs=2e-3)


@pytest.mark.parametrize("content", [0.0, 0.2, 1.0, "noise"])
def test_a_volume_without_lungs_has_finite_numbers(content):
    volume = noise(shape=(16, 16, 8)) if content == "noise" else np.full((2, 16, 16, 8), content, np.float32)
    numbers = texture.texture_of(tf.constant(volume)).numpy()
    assert numbers.shape == (2, texture.N_NUMBERS)
    assert np.isfinite(numbers).all()


def test_a_scan_is_described_without_regard_to_its_company(phantoms):
    volumes, _ = phantoms
    together = texture.texture_of(tf.constant(volumes)).numpy()
    alone = np.concatenate([texture.texture_of(tf.constant(volume[None])).numpy() for volume in volumes])
    np.testing.assert_allclose(alone, together, rtol=2e-3, atol=2e-3)


def test_nothing_of_the_description_is_learnt():
    layer = texture.LungTexture()
    layer.build((None, 16, 16, 8, 1))
    assert layer.weights == []
