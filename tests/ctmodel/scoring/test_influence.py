"""Influences are the slopes of a score, and make variances that are right."""

from functools import partial

import numpy as np
import pytest

from ctmodel.scoring import influence, metrics
from ctmodel.scoring.influence import average_precision_interval, partial_auroc_interval, two_group_variance


def experiment(n=400):
    generator = np.random.default_rng(3)
    positive = generator.random(n) < 0.4
    return positive, np.round(generator.normal(size=n) + positive, 1)


def mean_sensitivity(positive, scores, *, max_fpr):
    lowest = metrics.standardized_area(0, max_fpr)
    return (metrics.partial_auroc(positive, scores, max_fpr=max_fpr) - lowest) / (1 - lowest)


TWO_CLASSES = [
    (metrics.auroc, influence.auroc_influence),
    (metrics.average_precision, influence._average_precision_influence),
    (partial(mean_sensitivity, max_fpr=0.2), partial(influence._partial_auroc_influence, max_fpr=0.2)),
]


@pytest.mark.parametrize(("score", "of_scans"), TWO_CLASSES, ids=["auroc", "precision", "partial auroc"])
def test_the_variance_of_two_class_scores_is_that_of_a_bootstrap_within_classes(score, of_scans):
    positive, scores = experiment()
    generator, groups = np.random.default_rng(4), [np.flatnonzero(positive), np.flatnonzero(~positive)]
    rows = [np.concatenate([generator.choice(own, len(own)) for own in groups]) for _ in range(400)]
    spread = np.std([score(positive[row], scores[row]) for row in rows])
    variance = two_group_variance(of_scans(positive, scores), positive, np.arange(len(positive)))
    assert np.sqrt(variance) == pytest.approx(spread, rel=0.15)


CALLS = [
    (metrics.quadratic_kappa, influence.kappa_influence),
    (partial(metrics.macro_f1, n_classes=3), partial(influence.macro_f1_influence, n_classes=3)),
]


@pytest.mark.parametrize(("score", "of_scans"), CALLS, ids=["kappa", "f1"])
def test_the_influence_of_a_scan_is_what_one_more_of_it_changes(score, of_scans):
    generator = np.random.default_rng(7)
    labels = generator.integers(0, 3, 2000)
    called = np.clip(labels + generator.integers(-1, 2, 2000), 0, 2)
    found, before = of_scans(labels, called), score(labels, called)
    assert found.sum() == pytest.approx(0, abs=1e-12)
    for row in range(20):
        after = score(np.append(labels, labels[row]), np.append(called, called[row]))
        assert after - before == pytest.approx(found[row], rel=0.02, abs=1e-6)


def delong_variance(positive, scores):
    """The textbook's way: the covariance of a table of every positive with every negative."""
    pairs = scores[positive][:, None] - scores[~positive]
    wins = (pairs > 0) + (pairs == 0) / 2
    return wins.mean(axis=1).var(ddof=1) / len(wins) + wins.mean(axis=0).var(ddof=1) / wins.shape[1]


def test_with_one_scan_each_the_variance_is_delongs():
    positive, scores = experiment()
    found = two_group_variance(influence.auroc_influence(positive, scores), positive, np.arange(len(positive)))
    assert found == pytest.approx(delong_variance(positive, scores))


def test_the_macro_influence_of_two_classes_is_that_of_one():
    positive, scores = experiment()
    chances = np.stack([-scores, scores], axis=1)
    found = influence.macro_auroc_influence(positive.astype(int), chances)
    assert found == pytest.approx(influence.auroc_influence(positive, scores))


@pytest.mark.parametrize("interval", [average_precision_interval, partial(partial_auroc_interval, max_fpr=0.1)])
def test_a_perfect_ranking_of_few_scans_is_not_sure(interval):
    positive = np.arange(20) >= 10
    low, high = interval(positive, np.arange(20.0), np.arange(20))
    assert 0.5 < low < 0.9
    assert high == pytest.approx(1)


@pytest.mark.parametrize("interval", [average_precision_interval, partial(partial_auroc_interval, max_fpr=0.1)])
def test_copies_of_a_scan_do_not_make_a_ranking_surer(interval):
    positive, scores = experiment(60)
    low, high = interval(positive, scores, np.arange(60))
    low_of_copies, high_of_copies = interval(np.repeat(positive, 4), np.repeat(scores, 4), np.repeat(np.arange(60), 4))
    assert high_of_copies - low_of_copies > 0.85 * (high - low)
