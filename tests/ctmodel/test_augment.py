"""Augmentation depends on seed, epoch and row alone, and does what it drew."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctmodel.augment import Augmentation, Draws, apply, draw

SHAPE = (8, 6, 4)
STRONG = Augmentation(flip=True, shift=0.3, intensity=0.2)

seeds = st.integers(0, 2**32 - 1)


@given(seeds, st.integers(0, 1000), st.permutations(range(10)))
def test_a_scan_s_draws_do_not_depend_on_its_company(seed, epoch, rows):
    together = draw(STRONG, np.array(rows), shape=SHAPE, seed=seed, epoch=epoch)
    for place, row in enumerate(rows):
        alone = draw(STRONG, np.array([row]), shape=SHAPE, seed=seed, epoch=epoch)
        for of_all, of_one in zip(together, alone, strict=True):
            np.testing.assert_array_equal(of_all[place], of_one[0])


def test_draws_fill_their_range_and_stay_in_it():
    draws = draw(STRONG, np.arange(4000), shape=SHAPE, seed=0, epoch=0)
    assert draws.flip.mean() == pytest.approx(0.5, abs=0.04)
    assert np.abs(draws.shift).max(axis=0).tolist() == [2, 2, 1]
    assert (draws.gain.min(), draws.gain.max()) == pytest.approx((0.8, 1.2), abs=0.01)
    assert (draws.offset.min(), draws.offset.max()) == pytest.approx((-0.2, 0.2), abs=0.01)


def test_another_epoch_draws_anew():
    first, second = (draw(STRONG, np.arange(50), shape=SHAPE, seed=0, epoch=epoch) for epoch in (0, 1))
    assert all(np.any(a != b) for a, b in zip(first, second, strict=True))


def test_nothing_asked_changes_nothing():
    assert Augmentation().changes_nothing
    volumes = np.random.default_rng(0).random((3, *SHAPE, 1), dtype=np.float32)
    draws = draw(Augmentation(), np.arange(3), shape=SHAPE, seed=0, epoch=0)
    np.testing.assert_array_equal(apply(volumes, draws), volumes)


def augmented_in_numpy(volumes, draws: Draws):
    """Apply the draws scan by scan, in plain NumPy."""
    results = []
    for volume, flip, shift, gain, offset in zip(volumes, *draws, strict=True):
        changed = volume[::-1] if flip else volume
        for axis, by in enumerate(shift):
            source = np.clip(np.arange(changed.shape[axis]) - by, 0, changed.shape[axis] - 1)
            changed = np.take(changed, source, axis=axis)
        results.append(np.clip(changed * gain + offset, 0, 1))
    return np.stack(results)


@pytest.mark.parametrize("seed", range(3))
def test_a_batch_is_changed_as_scan_by_scan_in_numpy(seed):
    volumes = np.random.default_rng(seed).random((6, *SHAPE, 1), dtype=np.float32)
    draws = draw(STRONG, np.arange(6), shape=SHAPE, seed=seed, epoch=2)
    np.testing.assert_allclose(apply(volumes, draws), augmented_in_numpy(volumes, draws), atol=1e-6)
