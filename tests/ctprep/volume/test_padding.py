import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from ctprep.volume.padding import PADDING_BELOW_HU, NanCounter, PaddingLimit, reached_from_edge

SCALES = [(1.0, 0.0), (1.0, -1024.0), (0.25, 7.5), (-1.0, 30.0), (2.0, -4000.0)]


@given(
    st.data(), st.sampled_from(["i1", "u1", "i2", "u2", "i4", "u8", "f4", "f8", ">i2", ">f4"]), st.sampled_from(SCALES)
)
def test_padding_is_what_lies_below_its_limit_in_hu(data, dtype, scale):
    stored = data.draw(hnp.arrays(dtype, 20))
    slope, inter = scale
    with np.errstate(invalid="ignore", over="ignore"):
        hu = stored.astype("f8") * slope + inter
        expected = (hu < PADDING_BELOW_HU) & np.isfinite(stored.astype("f8"))
        limit = PaddingLimit.of(slope=slope, inter=inter)
        assert limit.mask(stored).tolist() == expected.tolist()
        assert limit.count(stored) == expected.sum()


def nan_in(shape, *places):
    volume = np.zeros(shape, np.float32)
    for place in places:
        volume[place] = np.nan
    return volume


def counts(volume, *, rows_at_once=None):
    """Return the NaN outside and within, of a volume whose slices are its first axis, given in parts."""
    counter = NanCounter(rows=volume.shape[1])
    for one in volume[:, None]:
        for start in range(0, volume.shape[1], rows_at_once or volume.shape[1]):
            part = one[:, start : start + (rows_at_once or volume.shape[1])]
            counter.add(part, has_nan=bool(np.isnan(part).any()))
    return counter.outside, counter.within


OUTSIDE_CIRCLE = np.hypot(*np.meshgrid(np.linspace(-1, 1, 16), np.linspace(-1, 1, 16))) > 1


@pytest.mark.parametrize(
    ("name", "outside", "within", "volume"),
    [
        ("a rim", 800, 0, nan_in((10, 12, 30), (slice(None), [0, -1]), (slice(None), slice(None), [0, -1]))),
        ("a corner", 40, 0, nan_in((10, 8, 8), (slice(None), slice(2), slice(2)))),
        ("a band at one side", 160, 0, nan_in((10, 8, 8), (slice(None), slice(2)))),
        ("outside a circle", 10 * OUTSIDE_CIRCLE.sum(), 0, nan_in((10, 16, 16), (slice(None), OUTSIDE_CIRCLE))),
        ("corners in some slices", 12, 0, nan_in((10, 8, 8), (slice(3, 6), slice(2), slice(2)))),
        ("slices at both ends", 192, 0, nan_in((10, 8, 8), 0, slice(-2, None))),
        ("a hole", 0, 90, nan_in((10, 8, 8), (slice(None), slice(2, 5), slice(3, 6)))),
        ("lost rows", 0, 80, nan_in((10, 8, 8), (slice(None), 4))),
        ("lost columns", 0, 80, nan_in((10, 8, 8), (slice(None), slice(None), 4))),
        ("lost slices", 0, 128, nan_in((10, 8, 8), slice(4, 6))),
        ("lost rows and a band", 160, 60, nan_in((10, 8, 8), np.s_[:, 4], np.s_[:, :, :2])),
        ("a hole and slices at an end", 128, 1, nan_in((10, 8, 8), slice(2), (5, 4, 4))),
        ("nothing", 0, 0, nan_in((10, 8, 8))),
        ("all of it", 640, 0, nan_in((10, 8, 8), slice(None))),
    ],
)  # fmt: skip
@pytest.mark.parametrize("rows_at_once", [None, 1, 3])
def test_nan_is_padding_where_the_field_of_view_ends(name, outside, within, volume, rows_at_once):
    assert counts(volume, rows_at_once=rows_at_once) == (outside, within), name


@given(st.floats(0, 3.1), st.floats(0.3, 1.3), st.floats(0.3, 1.3), st.booleans(), st.permutations(range(3)))
def test_outside_any_box_or_cylinder_however_tilted_all_nan_is_padding(angle, width, height, is_round, order):
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in (14, 13, 12)], indexing="ij")
    u, v = np.cos(angle) * x + np.sin(angle) * z, np.cos(angle) * z - np.sin(angle) * x
    inside = np.hypot(u / width, y / height) < 1 if is_round else (abs(u) < width) & (abs(v) < height) & (abs(y) < 0.9)
    volume = np.where(inside, 0.0, np.nan).transpose(order)
    assert counts(volume) == (int((~inside).sum()), 0)


@given(hnp.arrays(bool, st.tuples(st.integers(1, 8), st.integers(1, 8))))
def test_what_is_reached_from_the_edge_is_connected_to_it(mask):
    reached = reached_from_edge(mask)
    around = np.pad(mask, 1, constant_values=True)
    connected = ndimage.binary_propagation(np.pad(np.zeros_like(mask), 1, constant_values=True), mask=around)[
        1:-1, 1:-1
    ]
    assert not (reached & ~connected).any()
