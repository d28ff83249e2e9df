import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ctprep.volume.intensity import (
    HU_QUANTILES,
    StoredWindow,
    count_nonfinite,
    hounsfield,
    hu_from_unit,
    hu_quantiles,
    sorted_finite,
    stored_from_unit,
    unit_from_stored,
)

fractions = st.sampled_from([0.0, 0.25, 0.5])
windows = st.tuples(st.integers(-3000, 3000), st.integers(1, 70_000), fractions).map(
    lambda drawn: (drawn[0] + drawn[2], drawn[0] + drawn[1] + 2 * drawn[2])
)
DTYPES = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8", ">i2", ">f4"]


@given(st.data(), st.sampled_from(DTYPES), windows)
def test_clipping_what_is_stored_equals_clipping_hu_in_double(data, dtype, window):
    stored = data.draw(hnp.arrays(dtype, 20))
    slope, inter = data.draw(st.sampled_from([(1.0, 0.0), (1.0, -1024.0), (0.25, 7.5), (3.0, 0.1), (-1.0, 30.0)]))
    lower, upper = window
    with np.errstate(invalid="ignore", over="ignore"):
        hu = np.where(np.isfinite(stored.astype("f8")), stored.astype("f8") * slope + inter, lower)
        ours = StoredWindow.of(window, slope=slope, inter=inter).above_air(stored) * abs(slope)
    assert np.allclose(ours, np.clip(hu, lower, upper) - lower, atol=1e-2, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["i2", "u2", "i4", "f4", "f8", ">i2"])
def test_slope_and_intercept_are_applied(dtype):
    raw = np.array([0, 100, 2000], dtype)
    assert hounsfield(raw, slope=0.5, inter=-1024.0).tolist() == [-1024.0, -974.0, -24.0]
    assert hounsfield(raw, slope=1.0, inter=0.0) is raw


def test_large_integers_keep_their_low_bits_when_scaled():
    raw = np.array([2**30 + 1], np.int32)
    assert hounsfield(raw, slope=1.0, inter=-float(2**30)).tolist() == [1.0]


def test_nan_and_infinities_are_counted_and_become_air():
    hu = np.array([np.nan, np.inf, -np.inf, 0.0], np.float32)
    assert count_nonfinite(hu) == 3
    assert StoredWindow(-1000, 400).above_air(hu).tolist() == [0, 0, 0, 1000]
    assert StoredWindow(-400, 1000, is_falling=True).above_air(hu).tolist() == [0, 0, 0, 1000]


@given(hnp.arrays(np.float32, 30, elements=st.floats(0, 1, width=32)), st.sampled_from(["float16", "float32", "uint8"]))
def test_storing_loses_no_more_than_the_dtype(unit, dtype):
    step = {"float16": 2.0**-12, "float32": 0, "uint8": 0.5 / 254 + 1e-7}[dtype]
    restored = unit_from_stored(stored_from_unit(unit, dtype))
    assert restored.dtype == np.float32
    assert np.abs(restored - unit).max() <= step


def test_hu_come_back_from_the_unit_interval():
    assert hu_from_unit(np.array([0, 1], np.float32), lower=-1000, upper=400).tolist() == [-1000, 400]


def test_quantiles_ignore_what_is_not_finite():
    assert hu_quantiles(sorted_finite(np.array([np.nan, 3, 1, np.inf, 2], np.float32)))[5] == 2
    assert np.isnan(hu_quantiles(sorted_finite(np.array([np.nan], np.float32)))).all()


@given(st.lists(st.integers(-(2**15), 2**15 - 1), min_size=1), st.sampled_from(["int16", ">i2", "int32", "float32"]))
def test_quantiles_are_those_of_numpy(values, dtype):
    sample = np.array(values, dtype)
    assert np.allclose(hu_quantiles(sorted_finite(sample)), np.quantile(sample.astype(float), HU_QUANTILES), atol=2e-3)


def test_the_values_given_are_kept_unless_they_may_be_overwritten():
    for dtype in ("int16", "int8", "float32"):
        hu = np.array([-100, 0, 100], dtype)
        StoredWindow(-50, 50).above_air(hu)
        assert hu.tolist() == [-100, 0, 100]
