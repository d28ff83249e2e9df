"""A forest plot shows every row, whatever its score."""

import numpy as np
import pytest

from ctmodel.scoring.scores import Score
from ctmodel.views.canvas import looks
from ctmodel.views.forest import ForestRow, draw_forest

ROWS = [
    ForestRow.of("fold 1", Score(0.9, 0.8, 0.95, n=40, patients=20), by_chance=0.5),
    ForestRow("fold 2", 0.7, -0.1, 1.2, n=1234),
    ForestRow("fold 3", np.nan, np.nan, np.nan, n=0),
]


@pytest.fixture
def axes():
    with looks():
        return draw_forest(ROWS, title=("AUROC", "by fold"), axis="AUROC").axes[0]


def test_each_row_has_its_name_numbers_and_interval(axes):
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "fold 1\nn = 40",
        "fold 2\nn = 1,234",
        "fold 3\nn = 0",
    ]
    right = [label.get_text() for label in axes.child_axes[0].get_yticklabels()]
    assert right == ["0.900 (0.800 to 0.950)", "0.700 (-0.100 to 1.200)", "not defined"]
    intervals = [one.get_segments()[0][:, 0].tolist() for one in axes.collections[:2]]
    assert intervals == [[0.8, 0.95], [0.0, 1.0]]


def test_an_interval_that_goes_on_beyond_the_axis_ends_in_arrows(axes):
    marks = [(line.get_marker(), line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines]
    assert marks == [("s", 0.9, 0), ("s", 0.7, 1), ("<", 0.0, 1), (">", 1.0, 1)]


def test_the_first_row_is_above_the_others(axes):
    bottom, top = axes.get_ylim()
    assert bottom > top
