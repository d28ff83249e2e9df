"""The curves are drawn for any history, without a display."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from ctmodel.run.history import Epoch
from ctmodel.views.plots import BEST, write_curves


def history_of(n):
    return [Epoch(e, 0.001, 1 / e, 0.5, 0.5, 0.5 + abs(e - n // 2) / n, 0.6, 0.6) for e in range(1, n + 1)]


@pytest.mark.parametrize("n", [1, 2, 60])
def test_curves_are_a_picture_with_the_best_epoch_marked(tmp_path, n):
    write_curves(history_of(n), tmp_path / "curves.png")
    picture = imread(tmp_path / "curves.png")[..., :3]
    assert picture.shape == (480, 1440, 3)
    mark = np.all(np.abs(picture - to_rgb(BEST)) < 0.1, axis=-1)
    assert mark.sum() > 200  # three dashed lines; the one in the legend has a tenth of that
    assert list(tmp_path.iterdir()) == [tmp_path / "curves.png"]


def test_an_undefined_auroc_leaves_a_gap(tmp_path):
    history = [Epoch(1, 0.001, 0.7, float("nan"), 0.5, 0.7, float("nan"), 0.5)]
    write_curves(history, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000
