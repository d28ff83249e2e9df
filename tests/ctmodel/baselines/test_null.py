"""Permuted labels keep what is known of patients and classes, and place a score among those that luck gives."""

import json
from collections import Counter

import numpy as np
import pytest

from ctmodel.baselines.null import NullScores, judge, permuted_labels
from ctmodel.errors import ScoreError
from ctmodel.scoring.scores import Score

PATIENTS = [f"p{row // 2}" for row in range(40)]
LABELS = np.repeat(np.arange(20) % 2, 2)
SUBSETS = ["train"] * 24 + ["validation"] * 8 + ["test"] * 8


def permutations(n=50, *, labels=LABELS, patients=PATIENTS, seed=0):
    return list(permuted_labels(labels, patients, SUBSETS, n=n, seed=seed))


def test_labels_of_the_test_subset_stay_and_the_others_are_permuted_together():
    drawn = permutations()
    for labels in drawn:
        assert labels[32:].tolist() == LABELS[32:].tolist()
        assert Counter(labels[:32].tolist()) == Counter(LABELS[:32].tolist())
        assert {0, 1} == set(labels[:24].tolist()) == set(labels[24:32].tolist())
    assert len({labels.tobytes() for labels in drawn}) == 50
    assert len({labels[:24].sum() for labels in drawn}) > 1


def test_scans_of_a_patient_keep_one_label():
    for labels in permutations():
        assert (labels[::2] == labels[1::2]).all()


def test_a_patient_with_scans_of_two_classes_gives_both_to_another():
    labels = LABELS.copy()
    labels[1] = 1 - labels[0]
    for permuted in permutations(labels=labels):
        assert (permuted[:32:2] != permuted[1:32:2]).sum() == 1


def test_patients_with_different_numbers_of_scans_are_permuted_too():
    patients = ["p0"] * 3 + [f"p{row}" for row in range(3, 40)]
    for permuted in permutations(patients=patients, labels=np.arange(40) // 3 % 2):
        assert len(set(permuted[:3].tolist())) == 1


def test_a_seed_gives_the_same_permutations():
    assert [one.tolist() for one in permutations(3)] == [one.tolist() for one in permutations(3)]
    assert permutations(1)[0].tolist() != permutations(1, seed=1)[0].tolist()


def test_too_few_patients_are_an_error_and_not_an_endless_search():
    subsets, labels = ["train", "train", "validation", "test", "test"], np.array([0, 1, 0, 0, 1])
    with pytest.raises(ScoreError, match="score a run of more patients"):
        next(permuted_labels(labels, list("abcde"), subsets, n=1, seed=0))


def scores(**values):
    return {name: Score(value, 0, 1, n=10, patients=10) for name, value in values.items()}


def test_p_counts_the_permutations_at_least_as_good_and_one():
    drawn = [scores(auroc=auroc, log_loss=loss) for auroc, loss in [(0.5, 0.7), (0.8, 0.6), (0.9, 0.5), (0.4, 0.9)]]
    found = judge(scores(auroc=0.8, log_loss=0.55, accuracy=1.0), drawn)
    assert set(found) == {"auroc", "log_loss"}
    assert (found["auroc"].value, found["auroc"].p) == (0.8, 3 / 5)
    assert found["log_loss"].p == 2 / 5
    assert found["auroc"].mean == pytest.approx(0.65)
    assert 0.4 <= found["auroc"].low < found["auroc"].high <= 0.9


def test_the_table_and_the_dictionary_say_the_same():
    shown = NullScores(2, {"lung texture": judge(scores(auroc=0.9), [scores(auroc=0.4), scores(auroc=0.6)])})
    assert shown.lines()[1] == "  lung texture  auroc              0.900  permuted 0.500, 0.405 to 0.595  p = 0.333"
    assert json.loads(json.dumps(shown.to_dict()))["scores"]["lung texture"]["auroc"]["p"] == pytest.approx(1 / 3)
