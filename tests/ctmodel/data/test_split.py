"""No patient is in two subsets, every class is in each, and a new scan moves few others."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctmodel.data.split import (
    SUBSETS,
    UNLABELLED,
    Split,
    merge_patients,
    split_as_given,
    split_by_folds,
    split_by_groups,
    split_by_shares,
    split_leaving_out,
)
from ctmodel.errors import SplitError

NAMES = ("a", "b", "c", "d")


@st.composite
def cohorts(draw, fewest=3, most=12):
    """Labels, patients and classes: each patient of one class with one to three scans, some unlabelled."""
    n_classes = draw(st.integers(2, 4))
    labels, patients = [], []
    for label in range(n_classes):
        for patient in range(draw(st.integers(fewest, most))):
            n_scans = draw(st.integers(1, 3))
            labels += [label] * n_scans
            patients += [f"{label}-{patient}"] * n_scans
    n_open = draw(st.integers(0, 4))
    labels, patients = [*labels, *[-1] * n_open], [*patients, *patients[:n_open]]
    order = draw(st.permutations(range(len(labels))))
    return np.array(labels, dtype=np.int16)[order], [patients[place] for place in order], NAMES[:n_classes]


shares = st.tuples(st.floats(0.05, 0.45), st.floats(0.05, 0.45))
seeds = st.integers(0, 2**32 - 1)


def assert_is_a_split(split: Split, labels, patients, classes):
    for label, subset in zip(labels, split.subsets, strict=True):
        assert (subset == UNLABELLED) == (label < 0)
    subsets_of = {}
    for patient, subset in zip(patients, split.subsets, strict=True):
        subsets_of.setdefault(patient, set()).add(subset)
    assert all(len(subsets - {UNLABELLED}) <= 1 for subsets in subsets_of.values())
    for subset in SUBSETS:
        assert set(labels[split.rows(subset)]) == set(range(len(classes)))


@given(cohorts(), shares, seeds)
def test_a_split_by_shares_separates_patients_and_has_every_class_in_every_subset(cohort, asked, seed):
    labels, patients, classes = cohort
    split = split_by_shares(labels, patients, classes=classes, validation=asked[0], test=asked[1], seed=seed)
    assert_is_a_split(split, labels, patients, classes)


@given(cohorts(fewest=5, most=30), shares, seeds)
def test_shares_are_met_to_a_patient_of_each_class_and_a_rounding(cohort, asked, seed):
    labels, patients, classes = cohort
    split = split_by_shares(labels, patients, classes=classes, validation=asked[0], test=asked[1], seed=seed)
    for label in range(len(classes)):
        of_class = {patient for patient, own in zip(patients, labels, strict=True) if own == label}
        for subset, share in zip(("validation", "test"), asked, strict=True):
            found = {patients[row] for row in split.rows(subset)} & of_class
            # A test subset that must have its one patient takes it from validation, which is rounded after that.
            assert abs(len(found) - share * len(of_class)) < (1.5 if subset == "validation" else 1)


@given(cohorts(fewest=6), st.integers(2, 4), st.floats(0.05, 0.4), seeds)
def test_over_all_folds_every_patient_is_tested_once(cohort, folds, validation, seed):
    labels, patients, classes = cohort
    common = {"classes": classes, "validation": validation, "seed": seed, "folds": folds}
    splits = [split_by_folds(labels, patients, fold=fold, **common) for fold in range(1, folds + 1)]
    for split in splits:
        assert_is_a_split(split, labels, patients, classes)
    tested = np.concatenate([split.rows("test") for split in splits])
    assert sorted(tested) == np.flatnonzero(labels >= 0).tolist()
    sizes = [len({patients[row] for row in split.rows("test")}) for split in splits]
    assert max(sizes) - min(sizes) <= len(classes)


@st.composite
def grouped(draw, fewest=3, most=9):
    """A cohort and the group of each scan; a few patients have scans in two groups."""
    labels, patients, classes = draw(cohorts(fewest=fewest, most=most))
    n_groups = draw(st.integers(2, 12))
    group_of = {patient: draw(st.integers(0, n_groups - 1)) for patient in sorted(set(patients))}
    groups = [str(group_of[patient]) for patient in patients]
    for row in draw(st.lists(st.integers(0, len(labels) - 1), max_size=2)):
        groups[row] = str(draw(st.integers(0, n_groups - 1)))
    return labels, patients, classes, groups


def assert_no_group_is_in_two_subsets(split: Split, groups):
    subsets_of = {}
    for group, subset in zip(groups, split.subsets, strict=True):
        subsets_of.setdefault(group, set()).add(subset)
    assert all(len(subsets - {UNLABELLED}) <= 1 for subsets in subsets_of.values())


@given(grouped(), st.integers(2, 5), st.floats(0.05, 0.6), seeds)
def test_no_patient_and_no_group_is_in_two_subsets_of_a_fold_and_each_is_tested_once(cohort, folds, validation, seed):
    labels, patients, classes, groups = cohort
    how = {"classes": classes, "shares": (validation, 0.2), "folds": folds, "seed": seed}
    try:
        splits = [split_by_groups(labels, patients, groups, fold=fold, **how) for fold in range(1, folds + 1)]
    except SplitError as error:
        assert re.match(r"class '[a-d]': (in \d+ groups|no scan in the)", str(error))
        return
    for split in splits:
        assert_is_a_split(split, labels, patients, classes)
        assert_no_group_is_in_two_subsets(split, groups)
    tested = np.concatenate([split.rows("test") for split in splits])
    assert sorted(tested) == np.flatnonzero(labels >= 0).tolist()


@given(grouped(), shares, seeds)
def test_no_patient_and_no_group_is_in_two_subsets_by_shares(cohort, asked, seed):
    labels, patients, classes, groups = cohort
    try:
        split = split_by_groups(labels, patients, groups, classes=classes, shares=asked, seed=seed)
    except SplitError as error:
        assert re.match(r"class '[a-d]': (in \d+ groups|no scan in the)", str(error))
        return
    assert_is_a_split(split, labels, patients, classes)
    assert_no_group_is_in_two_subsets(split, groups)


@given(st.integers(2, 5), st.integers(1, 4), st.floats(0.05, 0.4), seeds)
def test_groups_of_each_class_in_numbers_that_suffice_are_always_divided(folds, more, validation, seed):
    n_groups = max(folds, 4) + more - 1
    labels = np.repeat([0, 1], n_groups)
    patients, groups = [f"p{row}" for row in range(2 * n_groups)], [f"g{row}" for row in range(2 * n_groups)]
    for fold in range(1, folds + 1):
        split = split_by_groups(
            labels, patients, groups, classes=("a", "b"), shares=(validation, 0.2), folds=folds, fold=fold, seed=seed
        )
        assert_is_a_split(split, labels, patients, ("a", "b"))


@given(st.integers(2, 5), seeds)
def test_folds_by_equal_groups_of_both_classes_differ_by_one_group_at_most(folds, seed):
    groups = np.repeat([f"site{site}" for site in range(2 * folds + 1)], 6)
    labels, patients = np.arange(len(groups)) % 2, [f"p{row}" for row in range(len(groups))]
    how = {"classes": ("a", "b"), "shares": (0.2, 0.2), "folds": folds, "seed": seed}
    sizes = [len(split_by_groups(labels, patients, groups, fold=fold, **how).rows("test")) for fold in range(1, folds)]
    assert set(sizes) <= {12, 18}


def test_scans_without_a_label_join_no_groups():
    labels = np.array([*[0, 1] * 6, -1, -1])
    patients = [*(f"p{row}" for row in range(12)), "p0", "p2"]
    groups = [*(f"g{row // 2}" for row in range(12)), "", ""]
    split = split_by_groups(labels, patients, groups, classes=("a", "b"), shares=(0.2, 0.2), folds=6, seed=0)
    assert len(split.rows("test")) == 2


def test_a_class_in_too_few_groups_is_named():
    labels, groups = np.arange(12) % 2, np.repeat(["A", "B"], 6)
    with pytest.raises(SplitError, match="class 'a': in 2 groups that share no patient, expected at least 3"):
        split_by_groups(labels, list("pqrstuvwxyz_"), groups, classes=("a", "b"), shares=(0.2, 0.2), folds=2, seed=0)


@given(cohorts(fewest=3), st.data(), st.floats(0.05, 0.6), seeds)
def test_what_is_left_out_is_tested_and_no_patient_of_it_is_learnt_from(cohort, data, validation, seed):
    labels, patients, classes = cohort
    left_out = {f"{label}-{data.draw(st.integers(0, 2))}" for label in range(len(classes))}
    is_left_out = np.isin(patients, sorted(left_out))
    how = {"classes": classes, "validation": validation, "seed": seed}
    try:
        split = split_leaving_out(labels, patients, is_left_out, **how)
    except SplitError as error:
        assert "expected at least 2" in str(error)
        return
    assert_is_a_split(split, labels, patients, classes)
    assert split.rows("test").tolist() == np.flatnonzero(is_left_out & (labels >= 0)).tolist()


def test_a_patient_with_scans_at_two_sites_is_named_where_one_site_is_left_out():
    labels, is_left_out = np.arange(12) % 2, np.arange(12) < 4
    with pytest.raises(SplitError, match=r"p: has scans, .* --group"):
        split_leaving_out(labels, list("pqrstuvpxyz_"), is_left_out, classes=("a", "b"), validation=0.2, seed=0)


def test_a_site_of_one_class_cannot_be_left_out():
    labels, is_left_out = np.array([0, 0, *[0, 1] * 5]), np.arange(12) < 2
    with pytest.raises(SplitError, match="class 'b': no scan in the test subset"):
        split_leaving_out(labels, list("pqrstuvwxyz_"), is_left_out, classes=("a", "b"), validation=0.2, seed=0)


@given(cohorts(), shares, seeds, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(cohort, asked, seed, random):
    labels, patients, classes = cohort
    order = list(range(len(labels)))
    random.shuffle(order)
    settings = {"classes": classes, "validation": asked[0], "test": asked[1], "seed": seed}
    split = split_by_shares(labels, patients, **settings)
    shuffled = split_by_shares(labels[order], [patients[place] for place in order], **settings)
    assert shuffled.subsets == tuple(split.subsets[place] for place in order)


@given(st.integers(20, 60), seeds)
def test_one_more_patient_moves_few_others(n_patients, seed):
    def subsets(n):
        labels = np.arange(n) % 2
        patients = [f"p{patient}" for patient in range(n)]
        split = split_by_shares(labels, patients, classes=("a", "b"), validation=0.2, test=0.2, seed=seed)
        return np.array(split.subsets)

    moved = np.sum(subsets(n_patients + 1)[:-1] != subsets(n_patients))
    assert moved <= 2  # one over each boundary of the new patient's class


def test_a_split_is_the_same_today_as_when_it_was_first_made():
    split = split_by_shares(np.arange(8) % 2, list("abcdefgh"), classes=("x", "y"), validation=0.25, test=0.25, seed=1)
    assert split.subsets == (*["validation", "test"], *["train"] * 4, *["test", "validation"])


def test_another_seed_gives_another_split():
    labels, patients = np.arange(40) % 2, [f"p{patient}" for patient in range(40)]
    first, second = (
        split_by_shares(labels, patients, classes=("a", "b"), validation=0.2, test=0.2, seed=seed) for seed in (0, 1)
    )
    assert first != second


def test_a_patient_with_scans_of_two_classes_stays_in_one_subset():
    labels = np.array([0, 1] * 6 + [0] * 6)
    patients = [f"both{scan // 2}" for scan in range(12)] + [f"a{scan}" for scan in range(6)]
    split = split_by_shares(labels, patients, classes=("a", "b"), validation=0.2, test=0.2, seed=0)
    assert_is_a_split(split, labels, patients, ("a", "b"))


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        ([0, 0, 0, 0], ("a",), "expected two or more"),
        ([0, 0, 0, 0], ("a", "b"), "class 'b': 0 patients"),
        ([0, 0, 0, 1, 1], ("a", "b"), "class 'b': 2 patients with a label, expected at least 3"),
        ([], ("a", "b"), "class 'a': 0 patients"),
    ],
)
def test_too_few_patients_of_a_class_are_named(labels, classes, message):
    patients = [f"p{row}" for row in range(len(labels))]
    with pytest.raises(SplitError, match=message):
        split_by_shares(np.array(labels), patients, classes=classes, validation=0.2, test=0.2, seed=0)


def test_more_folds_than_patients_of_the_rarest_class_are_refused():
    labels, patients = np.array([0] * 10 + [1] * 4), [f"p{row}" for row in range(14)]
    with pytest.raises(SplitError, match="class 'b': 4 patients with a label, expected at least 5"):
        split_by_folds(labels, patients, classes=("a", "b"), folds=5, fold=1, validation=0.2, seed=0)


def test_a_class_that_mixed_patients_leave_out_of_a_subset_is_named():
    labels = np.array([0] * 6 + [1] * 6)  # patients 0 to 4 have scans of both classes, 5 and 6 of one
    patients = [f"p{row}" for row in (0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 6)]
    refused = 0
    for seed in range(20):
        try:
            split = split_by_shares(labels, patients, classes=("a", "b"), validation=0.2, test=0.2, seed=seed)
        except SplitError as error:
            assert "class 'b': no scan in the" in str(error)
            refused += 1
        else:
            assert_is_a_split(split, labels, patients, ("a", "b"))
    assert 0 < refused < 20


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 6)), max_size=12))
def test_equal_volumes_and_equal_patients_end_up_with_one_patient(pairs):
    patients, volumes = [patient for patient, _ in pairs], [volume for _, volume in pairs]
    merged = merge_patients(patients, volumes)
    linked = {(i, j) for i, a in enumerate(pairs) for j, b in enumerate(pairs) if a[0] == b[0] or a[1] == b[1]}
    for _ in pairs:  # the transitive closure, slowly
        linked |= {(i, k) for i, j in linked for m, k in linked if j == m}
    assert {(i, j) for i, a in enumerate(merged) for j, b in enumerate(merged) if a == b} == linked
    assert set(merged) <= set(patients)


GIVEN = {"classes": ("a", "b"), "validation": 0.25, "test": 0.25, "seed": 3}


def test_a_split_that_is_given_is_kept_as_it_is():
    labels = np.array([0, 1, 0, 1, 0, 1, -1])
    subsets = ["train", "train", "validation", "validation", "test", "test", "train"]
    split = split_as_given(labels, list("pqrstuv"), subsets, **GIVEN)
    assert split.subsets == (*subsets[:6], UNLABELLED)
    assert split.notes == ("split: that of the store is used; --no-use-split divides the patients anew",)


@given(cohorts(fewest=4), st.sampled_from(["validation", "test"]), seeds)
def test_a_subset_that_is_missing_is_taken_from_the_training_subset(cohort, there, seed):
    labels, patients, classes = cohort
    given_subset = {patient: there if patient.endswith("-0") else "train" for patient in patients}
    subsets = [given_subset[patient] for patient in patients]
    split = split_as_given(labels, patients, subsets, classes=classes, validation=0.3, test=0.3, seed=seed)
    assert_is_a_split(split, labels, patients, classes)
    assert all(
        subset == there
        for subset, subset in zip(split.subsets, subsets, strict=True)
        if subset == there and subset != UNLABELLED
    )
    missing = {"validation": "test", "test": "validation"}[there]
    assert any(f"it has no {missing} subset" in note for note in split.notes)


@pytest.mark.parametrize(
    ("patients", "subsets", "message"),
    [
        (
            "pqrstp",
            ["train", "train", "validation", "validation", "test", "test"],
            "p has scans, .* in train and in test",
        ),
        ("pqrstu", ["train", "train", "validation", "validation", "test", ""], "scan of u is in no subset"),
        ("pqrstu", ["train", "train", "validation", "train", "test", "test"], "'b': no scan in the validation subset"),
    ],
)
def test_a_given_split_that_cannot_be_used_is_refused(patients, subsets, message):
    labels = np.array([0, 1, 0, 1, 0, 1])
    with pytest.raises(SplitError, match=rf"{message}.*--no-use-split"):
        split_as_given(labels, list(patients), subsets, **GIVEN)
