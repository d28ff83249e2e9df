"""The level of chance is the mean score of networks that know nothing but the shares of the classes."""

import numpy as np
import pytest

from ctmodel.baselines.chance import scores_by_chance
from ctmodel.scoring.scores import Predictions, Threshold, score


def scores_of(labels, probabilities, classes):
    names = tuple(map(str, range(len(labels))))
    said = Predictions(names, names, labels, probabilities)
    return score(said, classes=classes, subset="test", threshold=Threshold(0.5, "half")).all_scores()


@pytest.mark.parametrize("counts", [[30, 10], [20, 30], [10, 20, 30]])
def test_a_constant_network_has_exactly_these_scores(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    shares = np.tile(np.array(counts) / sum(counts), (len(labels), 1))
    found, expected = scores_of(labels, shares, "abc"[: len(counts)]), scores_by_chance(counts)
    shared = {"auroc", "macro_auroc", "average_precision", "accuracy", "balanced_accuracy", "brier", "log_loss"}
    names = shared & found.keys()
    assert len(names) == (6 if len(counts) == 2 else 5)
    assert {name: found[name].value for name in names} == pytest.approx({name: expected[name] for name in names})


def test_random_calls_have_these_predictive_values_on_average():
    random, labels = np.random.default_rng(0), np.repeat([0, 1], [300, 100])
    rounds = [scores_of(labels, np.stack([1 - p, p], axis=1), "ab") for p in (random.random(400) for _ in range(100))]
    for name in ("ppv", "npv", "mcc", "lr_positive", "lr_negative", "partial_auroc"):
        mean = np.mean([one[name].value for one in rounds])
        assert mean == pytest.approx(scores_by_chance([300, 100])[name], abs=0.03), name
