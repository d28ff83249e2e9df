"""The learning curves are drawn for any history, without a display."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from ctmodel.baselines.results import Baselines, BaselineScores
from ctmodel.run.history import Epoch
from ctmodel.scoring.scores import Predictions, Threshold, score
from ctmodel.views.canvas import GREEN, looks
from ctmodel.views.learning import learning_curves, write_learning_curves


def history_of(n):
    return [Epoch(e, 0.001, 1 / e, 0.5, 0.5, 0.5 + abs(e - n // 2) / n, 0.6, 0.6) for e in range(1, n + 1)]


@pytest.mark.parametrize("n", [1, 2, 60])
def test_curves_are_a_picture_with_the_best_epoch_marked(tmp_path, n):
    write_learning_curves(history_of(n), tmp_path / "curves.png", n_classes=2)
    picture = imread(tmp_path / "curves.png")[..., :3]
    assert picture.shape == (1440, 1050, 3)  # 300 points an inch
    mark = np.all(np.abs(picture - to_rgb(GREEN)) < 0.1, axis=-1)
    assert mark.sum() > 1000  # two dashed lines; the one in the legend has a tenth of that
    assert list(tmp_path.iterdir()) == [tmp_path / "curves.png"]


def test_an_undefined_auroc_leaves_a_gap(tmp_path):
    history = [Epoch(1, 0.001, 0.7, float("nan"), 0.5, 0.7, float("nan"), 0.5)]
    write_learning_curves(history, tmp_path / "curves.png", n_classes=2)
    assert (tmp_path / "curves.png").stat().st_size > 1000


def lines_of(picture):
    """Return the y data of each labelled line of the AUROC."""
    return {line.get_label(): line.get_ydata() for line in picture.figure.axes[1].lines}


def test_the_curves_are_those_of_the_history_with_the_baselines_beside_them():
    predictions = Predictions(tuple("abcd"), tuple("abcd"), np.array([0, 0, 1, 1]), np.tile([0.4, 0.6], (4, 1)))
    scores = score(predictions, classes=("no", "yes"), subset="validation", threshold=Threshold(0.5, "half"))
    baselines = Baselines(tuple(BaselineScores(name, 1, 0, scores, scores) for name in ("prevalence", "texture")))
    history = history_of(5)
    with looks():
        lines = lines_of(learning_curves(history, n_classes=2, baselines=baselines))
    assert list(lines["training"]) == [epoch.auroc for epoch in history]
    assert list(lines["validation"]) == [epoch.val_auroc for epoch in history]
    assert list(lines["texture"]) == [0.5, 0.5]
    assert "prevalence" not in lines  # that is chance
    assert "by chance" in lines
