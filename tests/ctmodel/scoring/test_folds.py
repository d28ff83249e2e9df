"""Cross-validation gives every scan one prediction, and its means intervals that know what folds share."""

import json

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from ctmodel.errors import ScoreError
from ctmodel.scoring import metrics
from ctmodel.scoring.folds import (
    Fold,
    FoldScores,
    average_scores,
    called_of_pooled,
    fold_auroc,
    mean_of_folds,
    pool,
    score_folds,
    score_pooled,
)
from ctmodel.scoring.intervals import auroc_interval
from ctmodel.scoring.scores import Predictions, Threshold, score


def predictions(scans, chances, labels=None, patients=None):
    chances = np.array(chances)
    labels = np.arange(len(scans)) % 2 if labels is None else np.array(labels)
    return Predictions(tuple(scans), tuple(patients or scans), labels, np.stack([1 - chances, chances], axis=1))


def test_pooled_folds_have_every_scan_once_in_order_with_repeats_averaged():
    found = pool([predictions("bd", [0.1, 0.9]), predictions("ac", [0.2, 0.4]), predictions("bd", [0.3, 0.7])])
    assert found.scans == found.patients == ("a", "b", "c", "d")
    assert found.labels.tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(found.probabilities[:, 1], [0.2, 0.2, 0.4, 0.8])


@pytest.mark.parametrize("other", [predictions("ab", [0.5, 0.5], labels=[1, 1]), predictions("a", [0.5], patients="z")])
def test_a_scan_that_changes_between_folds_is_refused(other):
    with pytest.raises(ScoreError, match="a: label or patient differs between folds"):
        pool([predictions("ab", [0.5, 0.5]), other])


def test_one_fold_has_the_auroc_of_its_scans_and_about_its_interval():
    generator = np.random.default_rng(0)
    positive = np.arange(200) % 2 == 0
    scores = generator.normal(size=200) + positive
    value, interval = fold_auroc(positive, scores, np.arange(200), np.zeros(200))
    assert value == pytest.approx(metrics.auroc(positive, scores))
    assert interval == pytest.approx(auroc_interval(positive, scores, np.arange(200)), abs=0.02)


def test_folds_on_different_scales_keep_their_mean_auroc_but_not_the_pooled_one():
    positive, folds = np.arange(40) % 2 == 0, np.arange(40) // 20
    scores = positive + 0.5 * np.arange(40) / 40 + 10 * folds
    assert fold_auroc(positive, scores, np.arange(40), folds)[0] == 1
    assert metrics.auroc(positive, scores) < 0.8


def test_a_fold_of_one_class_is_refused():
    with pytest.raises(ScoreError, match="fold 1: scans of one class only"):
        fold_auroc(np.array([True, False, True]), np.zeros(3), np.arange(3), np.array([0, 0, 1]))


def test_without_shared_scans_the_interval_is_students():
    values = [0.8, 0.85, 0.7, 0.9]
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean_of_folds(values, test_share=0)[1] == pytest.approx((expected.low, expected.high))


def test_shared_scans_widen_the_interval_by_the_published_factor():
    values = [0.8, 0.85, 0.7, 0.9, 0.75]
    (low, high), (low_of_shared, high_of_shared) = (mean_of_folds(values, test_share=share)[1] for share in (0, 1 / 4))
    # Nadeau and Bengio 2003: 1/5 + 1/4 in place of 1/5
    assert (high_of_shared - low_of_shared) / (high - low) == pytest.approx(1.5)


def test_one_fold_has_no_interval():
    with pytest.raises(ScoreError, match="1 folds, expected two or more"):
        mean_of_folds([0.9], test_share=0.25)


def test_scores_of_folds_are_averaged_where_every_fold_has_them():
    def fold(seed):
        chances = np.random.default_rng(seed).random(30)
        drawn = predictions([f"{seed}-{row}" for row in range(30)], chances)
        return score(drawn, classes=("normal", "abnormal"), subset="test", threshold=Threshold(0.5, "half"))

    folds = [fold(seed) for seed in range(3)]
    found = average_scores(folds, test_share=1 / 2)
    assert found["auroc"].value == pytest.approx(np.mean([one.scores["auroc"].value for one in folds]))
    assert (found["auroc"].n, found["auroc"].patients) == (90, 90)
    assert "mcc" in found


def test_pooled_scans_are_called_at_the_mean_threshold_of_the_networks_that_scored_them():
    folds = [predictions("ab", [0.3, 0.6]), predictions("cd", [0.6, 0.6]), predictions("ab", [0.3, 0.6])]
    thresholds = [Threshold(value, "validation") for value in (0.2, 0.7, 0.6)]
    assert called_of_pooled(folds, thresholds).tolist() == [0, 1, 0, 0]
    pooled = score_pooled(folds, thresholds, classes=("normal", "abnormal"), notes=["first"])
    assert pooled.confusion == ((2, 0), (1, 1))
    assert (pooled.subset, pooled.threshold) == ("cross-validated", Threshold(0.5, "validation"))
    assert pooled.notes[0] == "first"


def test_pooled_scans_of_three_classes_are_called_the_likeliest():
    chances = np.array([[0.2, 0.3, 0.5], [0.4, 0.3, 0.3], [0.1, 0.8, 0.1]])
    three = Predictions(("a", "b", "c"), ("a", "b", "c"), np.array([2, 0, 1]), chances)
    assert called_of_pooled([three], [Threshold(0.5, "likeliest")]).tolist() == [2, 0, 1]


def folds_of(*chances):
    said = [predictions([f"{fold}{row}" for row in range(len(one))], one) for fold, one in enumerate(chances)]
    scored = [score(one, classes=("a", "b"), subset="test", threshold=Threshold(0.5, "half")) for one in said]
    return score_folds([Fold(f"fold-{n + 1}", "", 9, n + 1, 8, one) for n, one in enumerate(scored)], said)


def test_scores_of_folds_come_back_from_json_and_are_shown_with_their_means():
    found = folds_of([0.1, 0.9, 0.6, 0.4], [0.3, 0.6, 0.2, 0.7])
    assert FoldScores.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    assert found.within.value == found.mean["auroc"].value == (0.75 + 1) / 2
    text = "\n".join(found.lines())
    assert "means over 2 folds" in text
    assert "2 of 9" in text


def test_a_score_that_is_the_same_in_every_fold_gives_no_interval():
    lines = folds_of([0.1, 0.9, 0.2, 0.8], [0.3, 0.6, 0.2, 0.7]).lines()
    assert next(line for line in lines if line.startswith("  auroc ")).endswith("so that they give no interval")
