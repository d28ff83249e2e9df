import numpy as np
import pytest

from ctmodel.baselines import lung_histogram, lung_texture
from ctmodel.baselines.lung_texture import N_FEATURES, N_OF_LUNGS
from ctprep.phantom import CohortSettings, make_scan
from ctprep.volume.grid import VoxelGrid
from ctprep.volume.lungs import find_lungs

SPACING_MM = (6.0, 6.0, 9.0)
MAX_OF_A_SCALE = [N_OF_LUNGS + scale * 12 + 6 for scale in range(4)]


def chest(*, opacity_hu=0.0, slope_hu_mm=0.0, seed=0):
    """Return the HU of a body with two box-shaped lungs, with a trend from back to front and a round opacity."""
    x, y, z = np.meshgrid(*(np.arange(n) * mm for n, mm in zip((60, 44, 28), SPACING_MM, strict=True)), indexing="ij")
    hu = np.full(x.shape, -1000.0)
    hu[3:-3, 3:-3] = 40
    lung = np.zeros(x.shape, dtype=bool)
    lung[8:27, 8:36, 3:25] = lung[33:52, 8:36, 3:25] = True
    noise = np.random.default_rng(seed).normal(0, 12, x.shape)
    hu[lung] = (-850 - slope_hu_mm * (y - 130) + noise)[lung]
    hu[lung & ((x - 110) ** 2 + (y - 140) ** 2 + (z - 120) ** 2 < 28**2)] += opacity_hu
    return hu.astype(np.float32)


def texture(hu):
    return lung_texture.describe(hu, find_lungs(hu, spacing_mm=SPACING_MM), spacing_mm=SPACING_MM)


def histogram(hu):
    return lung_histogram.describe(hu, find_lungs(hu, spacing_mm=SPACING_MM))


def test_the_histogram_is_a_distribution_and_shows_lung_in_its_band():
    shares = histogram(chest())
    assert shares.sum() == pytest.approx(1)
    assert shares[2:4].sum() > 0.85  # -900 to -800 HU


def test_ground_glass_moves_lung_to_denser_bands():
    hazy, clear = histogram(chest(opacity_hu=300)), histogram(chest())
    assert hazy[6:9].sum() > clear[6:9].sum() + 0.01


def test_the_texture_forgets_a_linear_trend_and_reports_it():
    flat, tilted = texture(chest()), texture(chest(slope_hu_mm=0.5))
    assert tilted[N_OF_LUNGS:] == pytest.approx(flat[N_OF_LUNGS:], abs=1.5)
    assert (tilted - flat)[5] == pytest.approx(-0.5 * 50, abs=2)


@pytest.mark.parametrize("opacity_hu", [80.0, 150.0])
def test_an_opacity_stands_out_at_every_scale(opacity_hu):
    ill, healthy = texture(chest(opacity_hu=opacity_hu)), texture(chest())
    assert (ill[MAX_OF_A_SCALE] > healthy[MAX_OF_A_SCALE] + opacity_hu / 6).all()


def test_mirroring_a_chest_turns_one_slope_and_nothing_else():
    hu = chest(opacity_hu=120)
    turned = texture(hu[::-1])
    turned[4] = -turned[4]
    assert turned == pytest.approx(texture(hu), rel=1e-3, abs=0.05)


def test_no_lungs_gives_nan_and_no_error():
    hu = np.full((20, 20, 10), 40.0)
    assert np.isnan(texture(hu)).all()
    assert np.isnan(histogram(hu)).all()
    assert (len(texture(hu)), len(histogram(hu))) == (N_FEATURES, 14)


def test_the_texture_of_a_phantom_is_what_it_was():
    scan = make_scan(CohortSettings(shape=(64, 64, 24), seed=3, difficulty="medium"), 1)
    grid = VoxelGrid(scan.stored.shape, scan.affine)
    hu = np.clip(grid.axis_order.apply(scan.stored * scan.slope + scan.inter), -1000, 400).astype(np.float32)
    spacing_mm = grid.canonical().spacing_mm
    found = lung_texture.describe(hu, find_lungs(hu, spacing_mm=spacing_mm), spacing_mm=spacing_mm)
    assert np.isfinite(found).all()
    assert found[[0, 3, 13, 25, 37, 49]] == pytest.approx(PINNED, rel=0.02, abs=0.5)


PINNED = [-836.0, 18.29, 223.19, 168.41, 125.55, 83.54]
"""Median, spread, and the highest percentile of each scale."""
