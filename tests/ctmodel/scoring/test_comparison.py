"""Two networks on the same scans are compared as published and by patient, and differ no more than chance lets."""

import dataclasses

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import t
from sklearn import metrics as oracle

from ctmodel.errors import ScoreError
from ctmodel.scoring import comparison
from ctmodel.scoring.comparison import Answers, compare_all, holm
from ctmodel.scoring.scores import Predictions, Threshold

HALF = Threshold(0.5, "half")
# Albumin, total protein, K-G score and whether surgery helps, of ovarian cancer patients (DeLong, DeLong and
# Clarke-Pearson 1988), as the manual of SAS/STAT has them.
OVARIAN = """
3.0 5.8 10 0 3.2 6.3 5 1 3.9 6.8 3 1 2.8 4.8 6 0 3.2 5.8 3 1 0.9 4.0 5 0 2.5 5.7 8 0 1.6 5.6 5 1 3.8 5.7 5 1
3.7 6.7 6 1 3.2 5.4 4 1 3.8 6.6 6 1 4.1 6.6 5 1 3.6 5.7 5 1 4.3 7.0 4 1 3.6 6.7 4 0 2.3 4.4 6 1 4.2 7.6 4 0
4.0 6.6 6 0 3.5 5.8 6 1 3.8 6.8 7 1 3.0 4.7 8 0 4.5 7.4 5 1 3.7 7.4 5 1 3.1 6.6 6 1 4.1 8.2 6 1 4.3 7.0 5 1
4.3 6.5 4 1 3.2 5.1 5 1 2.6 4.7 6 1 3.3 6.8 6 0 1.7 4.0 7 0 3.7 6.1 5 1 3.3 6.3 7 1 4.2 7.7 6 1 3.5 6.2 5 1
2.9 5.7 9 0 2.1 4.8 7 1 2.8 6.2 8 0 4.0 7.0 7 1 3.3 5.7 6 1 3.7 6.9 5 1 3.6 6.6 5 1
"""


def predictions(labels, chances, patients=None) -> Predictions:
    names = tuple(f"s{row}" for row in range(len(labels)))
    return Predictions(names, tuple(patients or names), np.array(labels), np.stack([1 - chances, chances], axis=1))


def compare(one: Predictions, other: Predictions, **how):
    return comparison.compare(Answers.at(one, HALF), Answers.at(other, HALF), **how)


def two_networks(*, n=80, gain=0.0, scans_each=1, seed=0):
    """Networks with errors in common, the first one better by a gain."""
    generator = np.random.default_rng(seed)
    patients = np.repeat(np.arange(n), scans_each)
    labels, hard = patients % 2, generator.normal(size=n)[patients]
    names = [f"p{patient}" for patient in patients]
    return [
        predictions(
            labels, expit(1.5 * (hard + generator.normal(size=len(labels)) + (more + 1) * (labels - 0.5))), names
        )
        for more in (gain, 0.0)
    ]


def by_name(differences):
    return {one.score: one for one in differences}


def delong(labels, one, other):
    """Return the difference of two AUROCs and its variance by the formulas of the paper, pair by pair."""
    placements = []
    for scores in (one, other):
        positives, negatives = scores[labels == 1], scores[labels == 0]
        kernel = np.array([[(x > y) + (x == y) / 2 for y in negatives] for x in positives], dtype=float)
        placements.append((kernel.mean(axis=1), kernel.mean(axis=0), kernel.mean()))
    (of_positives, of_negatives, area), (others_positives, others_negatives, others_area) = placements

    def covariance(x, y, x_area, y_area):
        return sum((a - x_area) * (b - y_area) for a, b in zip(x, y, strict=True)) / (len(x) - 1)

    variance = 0.0
    for x, y, n in (
        (of_positives, others_positives, np.sum(labels == 1)),
        (of_negatives, others_negatives, np.sum(labels == 0)),
    ):
        s = (covariance(x, x, area, area), covariance(y, y, others_area, others_area))
        variance += (s[0] + s[1] - 2 * covariance(x, y, area, others_area)) / n
    return area, others_area, variance


@pytest.mark.parametrize("pair", [("albumin", "score"), ("protein", "score"), ("albumin", "protein")])
def test_the_areas_of_ovarian_cancer_tests_differ_by_the_formula_of_delong(pair):
    albumin, protein, score, labels = np.array(OVARIAN.split(), dtype=float).reshape(-1, 4).T
    scores = {"albumin": albumin / 10, "protein": protein / 10, "score": 1 - score / 10}
    one, other = (scores[name] for name in pair)
    area, others_area, variance = delong(labels, one, other)
    labels = labels.astype(int)
    (found,) = [
        entry for entry in compare(predictions(labels, one), predictions(labels, other)) if "auroc" in entry.score
    ]
    assert (found.one, found.other) == pytest.approx((area, others_area))
    # Welch's freedom lies between that of the smaller group and that of both
    n = min(np.sum(labels == 1), np.sum(labels == 0))
    half, z = (found.high - found.low) / 2, abs(found.value) / np.sqrt(variance)
    assert t.ppf(0.975, len(labels) - 2) <= half / np.sqrt(variance) <= t.ppf(0.975, n - 1)
    assert 2 * t.sf(z, len(labels) - 2) <= found.p <= 2 * t.sf(z, n - 1)


def test_the_scores_compared_are_those_of_scikit_learn():
    one, other = two_networks()
    found = by_name(compare(one, other, n_resamples=10))
    chances, called = one.probabilities[:, 1], one.probabilities[:, 1] >= 0.5
    assert {name: difference.one for name, difference in found.items()} == pytest.approx(
        {
            "auroc": oracle.roc_auc_score(one.labels, chances),
            "average_precision": oracle.average_precision_score(one.labels, chances),
            "accuracy": oracle.accuracy_score(one.labels, called),
            "balanced_accuracy": oracle.balanced_accuracy_score(one.labels, called),
            "sensitivity": oracle.recall_score(one.labels, called),
            "specificity": oracle.recall_score(one.labels, called, pos_label=0),
            "brier": oracle.brier_score_loss(one.labels, chances),
            "log_loss": oracle.log_loss(one.labels, chances),
        }
    )


def test_a_network_does_not_differ_from_itself():
    one, _ = two_networks()
    for difference in compare(one, one):
        assert (difference.value, difference.low, difference.high, difference.p) == (0, 0, 0, 1)


def test_a_better_network_is_found_better_by_every_score():
    found = compare(*two_networks(n=400, gain=1.5))
    assert all(difference.p < 0.01 for difference in found)
    assert all(difference.low > 0 for difference in found if difference.score not in ("brier", "log_loss"))
    assert all(difference.high < 0 for difference in found if difference.score in ("brier", "log_loss"))


def test_the_order_of_scans_does_not_matter():
    one, other = two_networks()
    shuffled = other.taken(np.random.default_rng(1).permutation(len(other.scans)))
    assert compare(one, shuffled) == compare(one, other)


def test_swapped_networks_have_mirrored_differences():
    one, other = two_networks(gain=0.5)
    for forth, back in zip(compare(one, other), compare(other, one), strict=True):
        assert (forth.value, forth.low, forth.high) == pytest.approx((-back.value, -back.high, -back.low))
        assert forth.p == pytest.approx(back.p)


def test_copies_of_a_scan_do_not_make_a_difference_surer():
    once = compare(*two_networks(gain=0.5))
    copied = [network.taken(np.repeat(np.arange(80), 3)) for network in two_networks(gain=0.5)]
    copied = [dataclasses.replace(network, scans=tuple(map(str, range(240)))) for network in copied]
    for one, copies in zip(once, compare(*copied), strict=True):
        assert copies.value == pytest.approx(one.value)
        assert copies.high - copies.low == pytest.approx(one.high - one.low, rel=0.1), one.score


@pytest.mark.parametrize("scans_each", [1, 3])
def test_equal_networks_are_found_to_differ_1_time_of_20(scans_each):
    found = [compare(*two_networks(n=40, scans_each=scans_each, seed=seed), n_resamples=200) for seed in range(200)]
    for place, one in enumerate(found[0]):
        rate = np.mean([differences[place].p < 0.05 for differences in found])
        assert 0.005 <= rate <= 0.1, one.score


def test_several_classes_are_compared_by_their_macro_auroc():
    generator = np.random.default_rng(0)
    labels = np.arange(90) % 3
    names = tuple(map(str, range(90)))

    def network(strength):
        probabilities = generator.dirichlet(np.ones(3), 90) + strength * np.eye(3)[labels]
        return Predictions(names, names, labels, probabilities / probabilities.sum(axis=1, keepdims=True))

    found = by_name(compare(network(1.0), network(0.1)))
    assert set(found) == {"macro_auroc", "accuracy", "balanced_accuracy", "brier", "log_loss"}
    assert all(one.p < 0.05 for one in found.values())


def test_resamples_of_few_patients_have_the_variance_of_their_mean():
    values = np.array([0.1, 0.5, 0.9, 0.2])
    weights = comparison.resample_patients(np.zeros(4, dtype=int), np.arange(4), n_resamples=20_000, seed=0)
    means = weights @ values / weights.sum(axis=1)
    assert means.var() == pytest.approx(values.var(ddof=1) / 4, rel=0.05)


def test_several_networks_are_compared_with_the_first_and_adjusted():
    first, second = two_networks(gain=1.0)
    third = two_networks(seed=1)[0]
    third = dataclasses.replace(third, labels=first.labels)
    names = {"a": first, "b": second, "c": third}
    found = compare_all({name: Answers.at(network, HALF) for name, network in names.items()})
    assert list(found) == [("b", "a"), ("c", "a")]
    for one, other in zip(*found.values(), strict=True):
        assert [one.p_adjusted, other.p_adjusted] == holm([one.p, other.p])


def test_holms_p_values_are_those_of_his_procedure():
    # 4 x 0.01; 3 x 0.013; 2 x 0.03 and 0.04, each no less than the one before
    assert holm([0.03, 0.01, 0.04, 0.013]) == pytest.approx([0.06, 0.04, 0.06, 0.04])
    assert holm([0.7, 0.8]) == [1, 1]


def test_what_cannot_be_compared_is_refused():
    one, other = two_networks()
    few = np.arange(40)
    with pytest.raises(ScoreError, match="40 scans are scored by one network only"):
        compare(one, other.taken(few))
    with pytest.raises(ScoreError, match="labels or patients differ"):
        compare(one, dataclasses.replace(other, labels=1 - other.labels))
    with pytest.raises(ScoreError, match="one class only"):
        compare(*(network.taken(few[::2]) for network in (one, other)))
    with pytest.raises(ScoreError, match="one patient only of a class"):
        compare(*(network.taken(np.array([0, 1, 3, 5])) for network in (one, other)))
