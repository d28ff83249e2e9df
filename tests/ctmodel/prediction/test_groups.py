"""Each value of a column is scored as if it were alone, beside all other scans."""

import json

import numpy as np
import pytest
from sklearn.metrics import recall_score, roc_auc_score

from ctmodel.errors import ScoreError
from ctmodel.prediction.groups import NO_VALUE, groups_of, score_groups
from ctmodel.scoring.intervals import interval_of_difference
from ctmodel.scoring.scores import Predictions, Threshold

CLASSES = ("normal", "ill")


def drawn(*, n=120, seed=0, patients=None) -> Predictions:
    generator = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    chances = np.clip(0.25 * labels + 0.75 * generator.random(n), 0, 1)
    names = tuple(f"s{row}" for row in range(n))
    return Predictions(names, tuple(patients or names), labels, np.stack([1 - chances, chances], axis=1))


def grouped(predictions, values, *, column="scanner", classes=CLASSES):
    return score_groups(predictions, np.array(values), column=column, classes=classes, threshold=Threshold(0.5, "half"))


def test_the_scores_of_a_group_are_those_of_scikit_learn():
    predictions, values = drawn(), np.array(["A", "B", "C"])[np.arange(120) // 4 % 3]
    groups = grouped(predictions, values).groups
    assert [group.value for group in groups] == ["A", "B", "C"]
    for group in groups:
        own, others = values == group.value, values != group.value
        labels, chances = predictions.labels[own], predictions.probabilities[own, 1]
        assert group.scores["auroc"].value == pytest.approx(roc_auc_score(labels, chances))
        assert group.scores["sensitivity"].value == pytest.approx(recall_score(labels, chances >= 0.5))
        assert group.scores["specificity"].value == pytest.approx(recall_score(labels, chances >= 0.5, pos_label=0))
        rest = roc_auc_score(predictions.labels[others], predictions.probabilities[others, 1])
        assert group.differences["auroc"].value == pytest.approx(group.scores["auroc"].value - rest)


def test_a_group_of_one_class_has_what_can_be_computed():
    predictions = drawn()
    values = np.where(predictions.labels == 1, "A", "B")
    values[:40] = "C"
    of_ill, of_normal, _ = grouped(predictions, values).groups
    assert list(of_ill.scores) == ["sensitivity"]
    assert list(of_normal.scores) == ["specificity"]
    assert of_ill.notes == ("No scan is normal: what needs both classes is not scored.",)
    assert of_ill.differences.keys() == {"sensitivity"}
    assert not any("auroc" in line for line in of_ill.lines())


def test_few_patients_of_a_class_are_said():
    values = np.array(["many"] * 102 + ["few"] * 18)
    few, many = grouped(drawn(), values).groups
    assert [note[:25] for note in few.notes] == ["Only 9 patients are norma", "Only 9 patients are ill: "]
    assert many.notes == ()


def test_numbers_with_many_values_are_cut_into_quarters():
    ages = np.arange(120) + 20.0
    ages[0] = np.nan
    groups = grouped(drawn(), ages, column="age").groups
    assert [group.value for group in groups] == ["21 to 50", "51 to 80", "81 to 109", "110 to 139", NO_VALUE]
    assert [group.n for group in groups] == [30, 30, 29, 30, 1]


def test_equal_numbers_are_in_one_group():
    names, place = groups_of(np.array([1.0] * 60 + list(range(2, 42))), column="age")
    assert names[0] == "1 to 1"
    assert set(place[:60]) == {0}
    assert len(np.unique(place)) == len(names) < 4


def test_few_numbers_are_groups_of_their_own():
    assert groups_of(np.array([0.0, 2.5, 0.0, np.nan]), column="dose")[0] == ["0", "2.5", NO_VALUE]


def test_text_that_tells_scans_apart_is_refused():
    with pytest.raises(
        ScoreError, match=r"by: note has 120 values in 120 scans, such as s0 and s1, expected at most 20"
    ):
        grouped(drawn(), [f"s{row}" for row in range(120)], column="note")


def test_one_value_has_nothing_to_compare_with():
    found = grouped(drawn(), ["A"] * 120)
    assert found.groups[0].differences == {}
    assert found.notes == ("All scans have the same value: there is nothing to compare with.",)


def test_patients_in_several_groups_are_said():
    twice = [f"p{row // 2}" for row in range(120)]
    shared = grouped(drawn(patients=twice), ["A", "B"] * 60).notes
    apart = grouped(drawn(patients=twice), ["A", "A", "B", "B"] * 30).notes
    assert any("Some patients have scans in several groups" in note for note in shared)
    assert not any("several groups" in note for note in apart)


def test_a_difference_beyond_chance_is_counted():
    predictions = drawn()
    wrong = Predictions(
        predictions.scans, predictions.patients, predictions.labels, predictions.probabilities[:, ::-1].copy()
    )
    half = np.arange(120) < 60
    mixed = Predictions(
        predictions.scans,
        predictions.patients,
        predictions.labels,
        np.where(half[:, None], predictions.probabilities, wrong.probabilities),
    )
    assert "differences leave out 0" in grouped(mixed, np.where(half, "A", "B")).notes[0]
    assert grouped(predictions, np.where(half, "A", "B")).notes == ()


def test_the_interval_of_a_difference_holds_the_truth_19_times_of_20():
    """Of two independent shares, the simplest scores that there are, at sizes of a group and the rest."""
    generator = np.random.default_rng(0)
    labels, held, trials = np.ones(80, dtype=int), 0, 400
    values = np.array(["A"] * 20 + ["B"] * 60)
    for _ in range(trials):
        chances = (generator.random(80) < np.where(values == "A", 0.7, 0.9)).astype(float)
        names = tuple(map(str, range(80)))
        found = Predictions(names, names, labels, np.stack([1 - chances, chances], axis=1))
        gap = grouped(found, values).groups[0].differences["sensitivity"]
        held += gap.low <= -0.2 <= gap.high
    assert held / trials >= 0.93


def test_an_interval_of_a_difference_is_that_of_the_other_way_round():
    one, other = (0.9, 0.7, 0.95), (0.6, 0.5, 0.75)
    low, high = interval_of_difference(one, other)
    assert interval_of_difference(other, one) == pytest.approx((-high, -low))


def test_groups_of_several_classes_have_recalls():
    chances = np.tile([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7]], (20, 1))
    names = tuple(map(str, range(60)))
    predictions = Predictions(names, names, np.tile([0, 1, 2], 20), chances)
    one, other = grouped(predictions, ["A"] * 30 + ["B"] * 30, classes=("a", "b", "c")).groups
    assert one.scores["recall b"].value == 1
    assert any(line.startswith("    recall b") for line in other.lines())


def test_groups_are_strict_json_and_lines_fit():
    found = grouped(drawn(), np.array(["A", "B"])[np.arange(120) // 4 % 2])
    saved = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert saved["groups"][0]["differences"]["auroc"]["low"] == found.groups[0].differences["auroc"].low
    lines = found.lines()
    assert lines[0] == "by scanner, with 95 % intervals; difference to all other scans"
    assert lines[1] == "  A: 60 scans of 60 patients, 30 normal, 30 ill"
    assert max(map(len, lines)) <= 100
