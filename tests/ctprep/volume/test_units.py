import numpy as np
import pytest

from ctprep.volume.units import Offset, missing_offset, why_not_hu

CHEST = np.array([-1000.0] * 50 + [-850.0] * 20 + [40.0] * 28 + [700.0] * 2)  # ascending


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda hu: hu + 1024, "no air"),  # the intercept was lost
        (lambda hu: hu - 1024, "no soft tissue"),  # it was applied twice
        (lambda hu: (hu + 1000) / 1400, "no air"),  # already scaled
        (lambda hu: hu * 100, "values reach"),
    ],
)
def test_values_that_cannot_be_hu_are_told_apart(change, why):
    chest = np.array([-1000.0] * 50 + [-850.0] * 20 + [40.0] * 30)  # ascending
    assert why_not_hu(chest) is None
    assert why_not_hu(change(chest)).startswith(why)


@pytest.mark.parametrize("padding", [[], [-2000.0] * 30, [-32768.0] * 30, [-3024.0] * 20 + [-2000.0] * 9])
def test_padding_is_no_air(padding):
    assert why_not_hu(np.array([*padding, *CHEST])) is None
    unscaled = np.array([*padding, *(CHEST + 1024)])
    assert why_not_hu(unscaled).startswith("no air")
    assert missing_offset(unscaled) == Offset(1024.0, 24.0)


@pytest.mark.parametrize("offset", [1000.0, 1024.0, -1000.0, -1024.0])
def test_the_offset_that_was_added_is_found_where_the_air_shows_it(offset):
    noise = np.random.default_rng(0).normal(0, 12, (100, CHEST.size))
    found = missing_offset(np.sort(np.ravel(CHEST + noise + offset)))
    assert found.hu == offset
    assert found.air == pytest.approx(-1000 + offset, abs=3)


@pytest.mark.parametrize("padding", [0.0, -1024.0, -1000.0])
def test_padding_at_the_level_of_air_does_not_hide_an_offset(padding):
    """Of 0, which is where 1000 would put air, or of -1024, which is air in HU."""
    noise = np.random.default_rng(0).normal(0, 10, (30, CHEST.size))
    unscaled = np.sort(np.concatenate([np.full(900, padding), np.ravel(CHEST + noise + 1024)]))
    assert why_not_hu(unscaled) is not None
    found = missing_offset(unscaled)
    assert found.hu == 1024
    assert found.air == pytest.approx(24, abs=3)


def test_without_air_around_the_offset_is_still_found_but_not_where_air_lies():
    lungs_only = CHEST[50:]
    assert why_not_hu(lungs_only) is None
    assert missing_offset(lungs_only + 1024) == Offset(1024.0, None)


@pytest.mark.parametrize(
    ("name", "hu"),
    [
        ("a masked background", np.concatenate([np.full(70, -1024.0), CHEST[50:]])),
        ("a body without lungs in clean air", np.array([-1000.0] * 50 + [40.0] * 50)),
        ("metal and contrast", np.concatenate([CHEST, np.full(5, 3071.0), np.full(3, 30_000.0)])),
        ("noise", np.sort(np.ravel(CHEST + np.random.default_rng(0).normal(0, 150, (50, CHEST.size))))),
        (
            "a filling with ringing",
            np.sort(np.concatenate([CHEST, np.full(40, -3024.0), np.linspace(-3600, -1100, 30)])),
        ),
    ],
)
def test_what_is_in_hu_is_not_refused(name, hu):
    assert why_not_hu(hu) is None, name


def test_noise_far_below_air_is_no_padding():
    assert why_not_hu(np.linspace(-32768, 32767, 5000)).startswith("values reach")
