"""Augmentation depends on seed, epoch and row alone, and does what it drew."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, stats

from ctmodel.data.augment import PRESETS, Augmentation, Draws, Mixing, apply, augmentation_of, draw, draw_mixing, mix
from ctmodel.settings import STRENGTHS, TrainSettings

SHAPE = (9, 8, 5)
ALL = Augmentation(
    flip=True, rotation=40, tilt=20, scale=0.3, shift=0.3, intensity=0.2, noise=0.1, cutout=0.6, mixup=0.5
)

seeds = st.integers(0, 2**32 - 1)


def noisy_volumes(n=6, *, seed=0, shape=SHAPE):
    return np.random.default_rng(seed).random((n, *shape, 1), dtype=np.float32)


def changed(volume, **limits):
    """Return a volume changed as far as the limits allow, in the positive sense."""
    from ctmodel.data import augment

    fixed = {
        "flip": 0.0,
        "angle": 1.0,
        "size": 1.0,
        "step": 1.0,
        "tone": 1.0,
        "noise": 0.5,
        "hole": 1.0,
        "share": 1.0,
        "sharp": 0.5,
    }
    numbers = {name: np.full((1, count), fixed[name]) for name, count in augment.NUMBERS.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(augment, "_numbers", lambda *_, **__: numbers)
        draws = draw(Augmentation(**limits), np.arange(1), shape=volume.shape, seed=0, epoch=0)
    nearest = limits.get("nearest", False)
    return apply(volume[None, ..., None].astype(np.float32), draws, nearest=nearest).numpy()[0, ..., 0]


@given(seeds, st.integers(0, 1000), st.permutations(range(10)))
def test_a_scan_s_draws_do_not_depend_on_its_company(seed, epoch, rows):
    together = draw(ALL, np.array(rows), shape=SHAPE, seed=seed, epoch=epoch)
    for place, row in enumerate(rows):
        alone = draw(ALL, np.array([row]), shape=SHAPE, seed=seed, epoch=epoch)
        for name in set(Draws._fields):
            np.testing.assert_array_equal(getattr(together, name)[place], getattr(alone, name)[0])


def test_a_changed_scan_does_not_depend_on_its_company():
    volumes, rows = noisy_volumes(), np.array([3, 1, 4, 15, 9, 2])
    together = apply(volumes, draw(ALL, rows, shape=SHAPE, seed=0, epoch=0))
    for place, row in enumerate(rows):
        alone = apply(volumes[place : place + 1], draw(ALL, np.array([row]), shape=SHAPE, seed=0, epoch=0))
        np.testing.assert_allclose(alone[0], together[place], atol=1e-6)


def test_draws_fill_their_range_and_stay_in_it():
    draws = draw(ALL, np.arange(4000), shape=SHAPE, seed=0, epoch=0)
    assert (np.linalg.det(draws.source_from_target[:, :, :3]) < 0).mean() == pytest.approx(0.5, abs=0.04)
    size = np.abs(np.linalg.det(draws.source_from_target[:, :, :3])) ** (-1 / 3)
    assert (size.min(), size.max()) == pytest.approx((1 / 1.3, 1.3), abs=0.01)
    for values, bounds in ((draws.gain, (0.8, 1.2)), (draws.offset, (-0.2, 0.2)), (draws.noise, (0, 0.1))):
        assert (values.min(), values.max()) == pytest.approx(bounds, abs=0.01)
    share = draw_mixing(ALL, np.arange(4000), seed=0, epoch=0).share
    assert (share.min(), share.max()) == pytest.approx((0.5, 1), abs=0.01)
    sides = draws.hole[:, :, 1] - draws.hole[:, :, 0]
    assert (sides.min(axis=0).tolist(), sides.max(axis=0).tolist()) == ([0, 0, 0], [5, 5, 3])
    assert draws.hole[:, :, 0].min(axis=0).tolist() == [0, 0, 0]
    assert (draws.hole[:, :, 0].max(axis=0).tolist(), draws.hole[:, :, 1].max(axis=0).tolist()) == (
        [9, 8, 5],
        [9, 8, 5],
    )


def test_another_epoch_draws_anew():
    first, second = (draw(ALL, np.arange(50), shape=SHAPE, seed=0, epoch=epoch) for epoch in (0, 1))
    for name in set(Draws._fields):
        assert np.any(getattr(first, name) != getattr(second, name)), name


def test_draws_stay_what_they_were():
    """A run that is resumed with another version of this program must see the same scans."""
    draws = draw(ALL, np.array([7]), shape=SHAPE, seed=1, epoch=2)
    assert draws.source_from_target[0, 0].tolist() == pytest.approx([0.850201, 0.45371, 0.483878, -4.198042], abs=1e-6)
    assert (draws.gain[0], draws.offset[0], draws.noise[0]) == pytest.approx(
        (0.9244383, -0.1442125, 0.0447608), abs=1e-7
    )
    assert (draws.key[0], draws.hole[0].tolist()) == (749378677, [[2, 5], [5, 5], [3, 5]])
    assert draw_mixing(ALL, np.array([7]), seed=1, epoch=2).share[0] == pytest.approx(0.9908032, abs=1e-7)


def test_the_strengths_of_the_settings_are_the_presets():
    assert tuple(PRESETS) == STRENGTHS
    assert augmentation_of("off").changes_nothing
    assert not augmentation_of("off", flip=True).changes_nothing
    assert not augmentation_of(TrainSettings().augment).changes_nothing


@pytest.mark.parametrize("strength", [name for name in PRESETS if name != "strong"])
def test_hounsfield_units_are_absolute_unless_all_is_asked_for(strength):
    chosen = dataclasses.asdict(PRESETS[strength])
    assert not any(chosen[name] for name in ("flip", "intensity", "noise", "cutout", "mixup"))


@pytest.mark.parametrize("shape", [SHAPE, (7, 12, 3), (1, 1, 1)])
def test_nothing_asked_changes_nothing(shape):
    volumes = noisy_volumes(shape=shape)
    draws = draw(Augmentation(), np.arange(6), shape=shape, seed=0, epoch=0)
    for nearest in (False, True):
        np.testing.assert_array_equal(apply(volumes, draws, nearest=nearest), volumes)
    mixing = draw_mixing(Augmentation(), np.arange(6), seed=0, epoch=0)
    np.testing.assert_array_equal(mix(volumes, mixing), volumes)


def test_a_flip_mirrors_x():
    volume = noisy_volumes(1)[0, ..., 0]
    np.testing.assert_array_equal(changed(volume, flip=True), volume[::-1])


def test_a_shift_moves_whole_voxels_and_brings_in_air():
    volume = noisy_volumes(1)[0, ..., 0]
    expected = np.zeros(SHAPE, np.float32)
    expected[3:, 2:, 2:] = volume[:-3, :-2, :-2]
    np.testing.assert_array_equal(changed(volume, shift=0.3), expected)


def test_a_turn_about_z_goes_from_x_to_y():
    volume = noisy_volumes(1, shape=(9, 9, 5))[0, ..., 0]
    np.testing.assert_allclose(changed(volume, rotation=90), np.rot90(volume, axes=(0, 1)), atol=1e-5)


@pytest.mark.parametrize("degrees", [5, 17, -30])
def test_a_turn_about_z_is_scipy_s(degrees):
    volume = noisy_volumes(1, shape=(9, 9, 5))[0, ..., 0]
    expected = ndimage.rotate(volume, degrees, axes=(1, 0), reshape=False, order=1, mode="grid-constant")
    np.testing.assert_allclose(changed(volume, rotation=degrees), expected, atol=1e-5)


@pytest.mark.parametrize("degrees", [5, 17, -31])  # none that leaves a voxel half way between two
def test_the_nearest_voxel_is_scipy_s(degrees):
    volume = noisy_volumes(1, shape=(9, 9, 5))[0, ..., 0]
    expected = ndimage.rotate(volume, degrees, axes=(1, 0), reshape=False, order=0, mode="grid-constant")
    np.testing.assert_array_equal(changed(volume, rotation=degrees, nearest=True), expected)


def test_the_nearest_voxels_are_as_noisy_as_before_and_those_between_are_not():
    volume = 0.5 + 0.05 * np.random.default_rng(0).standard_normal((24, 24, 24)).astype(np.float32)
    sharp, blurred = (
        changed(volume, rotation=7, tilt=3, nearest=nearest)[6:-6, 6:-6, 6:-6] for nearest in (True, False)
    )
    assert sharp.std() == pytest.approx(0.05, rel=0.05)
    assert blurred.std() < 0.8 * 0.05


def test_a_box_is_turned_as_if_its_sides_were_equal():
    """Half of y becomes half of x by way of z, which has fewer voxels; a turn of the voxel grid would not do that."""
    anterior = np.zeros((8, 8, 4))
    anterior[:, 4:] = 1
    inside = changed(anterior, tilt=90)[1:-1, 1:-1, 1:-1]  # about x: y goes to z; then about y: z goes to x
    assert inside[3:].min() == pytest.approx(1, abs=1e-5)
    assert inside[:3].max() == pytest.approx(0, abs=1e-5)


def test_growth_keeps_the_middle_and_multiplies_the_size():
    x, y, z = np.meshgrid(*(np.arange(24) - 11.5,) * 3, indexing="ij")
    ball = (x**2 + y**2 + z**2 < 36).astype(np.float32)
    grown = changed(ball, scale=0.5)
    assert grown.sum() / ball.sum() == pytest.approx(1.5**3, rel=0.02)
    assert ndimage.center_of_mass(grown) == pytest.approx((11.5, 11.5, 11.5), abs=1e-3)


@given(st.integers(0, 10**6))
def test_a_shift_moves_the_mass_as_far_as_drawn(row):
    volume = np.zeros((1, 9, 9, 9, 1), np.float32)
    volume[0, 4, 4, 4] = 1
    draws = draw(Augmentation(shift=0.4), np.array([row]), shape=(9, 9, 9), seed=0, epoch=0)
    moved = apply(volume, draws).numpy()[0, ..., 0]
    step = -draws.source_from_target[0, :, 3]
    assert np.abs(step).max() <= 4
    assert (moved.sum(), ndimage.center_of_mass(moved)) == (1, tuple(4 + step))


def changed_in_numpy(volumes, draws: Draws, *, outside="grid-constant"):
    """Apply all but the noise, scan by scan, by SciPy."""
    results = []
    for volume, affine, gain, offset, hole in zip(
        volumes[..., 0], draws.source_from_target, draws.gain, draws.offset, draws.hole, strict=True
    ):
        moved = ndimage.affine_transform(volume, affine[:, :3], affine[:, 3], order=1, mode=outside)
        seen = np.clip(moved * gain + offset, 0, 1)
        seen[tuple(slice(*bounds) for bounds in hole)] = 0
        results.append(seen)
    return np.stack(results)[..., None]


@pytest.mark.parametrize("seed", range(4))
def test_a_batch_is_changed_as_scan_by_scan_in_scipy(seed):
    volumes = noisy_volumes(seed=seed)
    draws = draw(dataclasses.replace(ALL, noise=0.0), np.arange(6), shape=SHAPE, seed=seed, epoch=2)
    np.testing.assert_allclose(apply(volumes, draws), changed_in_numpy(volumes, draws), atol=2e-5)


def test_a_border_that_is_repeated_or_a_turn_that_is_left_out_is_noticed():
    """The null control of the test above."""
    volumes = noisy_volumes()
    draws = draw(dataclasses.replace(ALL, noise=0.0), np.arange(6), shape=SHAPE, seed=0, epoch=2)
    assert np.abs(apply(volumes, draws) - changed_in_numpy(volumes, draws, outside="nearest")).max() > 0.1
    unturned = draw(dataclasses.replace(ALL, noise=0.0, rotation=0.0), np.arange(6), shape=SHAPE, seed=0, epoch=2)
    assert np.abs(apply(volumes, draws) - changed_in_numpy(volumes, unturned)).max() > 0.1


def noise_of(rows, *, epoch=0, shape=(20, 20, 20)):
    """Return the noise of some scans, in units of the standard deviation that was drawn."""
    grey = np.full((len(rows), *shape, 1), 0.5, np.float32)
    draws = draw(Augmentation(noise=0.05), np.array(rows), shape=shape, seed=0, epoch=epoch)
    return (apply(grey, draws).numpy()[..., 0] - 0.5) / draws.noise[:, None, None, None]


def test_noise_is_normal_and_white():
    (noise,) = noise_of([3])
    assert stats.kstest(noise.ravel(), "norm").pvalue > 0.001
    for axis in range(3):
        first, second = np.delete(noise, -1, axis), np.delete(noise, 0, axis)
        assert np.corrcoef(first.ravel(), second.ravel())[0, 1] == pytest.approx(0, abs=0.04)


def test_noise_is_the_scan_s_and_the_epoch_s_own():
    first, other, again = noise_of([3, 4, 3])
    (later,) = noise_of([3], epoch=1)
    np.testing.assert_array_equal(first, again)
    for independent in (other, later):
        assert np.corrcoef(first.ravel(), independent.ravel())[0, 1] == pytest.approx(0, abs=0.04)


def test_mixing_shares_scan_and_label_alike():
    volumes, labels = noisy_volumes(5), np.eye(5, dtype=np.float32)
    mixing = draw_mixing(Augmentation(mixup=0.5), np.arange(5), seed=0, epoch=0)
    shares = mix(labels, mixing).numpy()
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(np.diag(shares)[:4], mixing.share[:4], atol=1e-6)
    assert shares[4].tolist() == [0, 0, 0, 0, 1]  # has no neighbour
    np.testing.assert_allclose(mix(volumes, mixing), np.tensordot(shares, volumes, axes=1), atol=1e-6)


@pytest.mark.parametrize("replicas", [2, 4])
def test_mixing_even_parts_of_a_batch_mixes_the_batch(replicas):
    volumes = noisy_volumes(8)
    mixing = draw_mixing(ALL, np.arange(8), seed=0, epoch=0)
    parts = zip(*(np.split(field, replicas) for field in (volumes, *mixing)), strict=True)
    np.testing.assert_array_equal(
        np.concatenate([mix(part, Mixing(*its_mixing)) for part, *its_mixing in parts]), mix(volumes, mixing)
    )
