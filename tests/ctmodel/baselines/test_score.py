from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ctmodel.baselines.classifier import fit
from ctmodel.baselines.results import Baselines
from ctmodel.baselines.score import describe_rows, find_shortcut, score_baselines
from ctmodel.data.batches import open_volumes
from ctmodel.data.split import Split, split_by_shares
from ctmodel.scoring.scores import Score

NAMES = ["prevalence", "lung histogram", "lung texture", "metadata"]


@pytest.fixture(scope="module")
def opened(cohort, tmp_path_factory):
    return open_volumes(cohort.store(tmp_path_factory.mktemp("baselines") / "out.zarr", shape=(24, 24, 12)))


def split_of(store, *, test=0.25):
    return split_by_shares(store.labels, store.patients, classes=store.classes, validation=0.25, test=test, seed=1)


@pytest.fixture(scope="module")
def scored(opened):
    return score_of(*opened, split_of(opened[0]))


def score_of(store, reader, split):
    rows = np.flatnonzero(store.labels >= 0)
    return score_baselines(store, split, describe_rows(store, reader, rows))


def by_name(baselines):
    return {baseline.name: baseline for baseline in baselines.baselines}


def test_every_baseline_is_scored_on_the_subsets_of_the_split(opened, scored):
    store, _ = opened
    assert [baseline.name for baseline in scored.baselines] == NAMES
    for baseline in scored.baselines:
        assert (baseline.failure, baseline.without) == (None, 0)
        assert baseline.test.n == len(split_of(store).rows("test"))
        assert baseline.validation.n == len(split_of(store).rows("validation"))
        assert baseline.test.subset == "test"


def test_dense_patches_are_seen_by_the_lungs_and_not_by_what_sees_none(scored):
    area = {name: baseline.area.value for name, baseline in by_name(scored).items()}
    assert area["lung histogram"] == 1
    assert area["lung texture"] == 1
    assert area["prevalence"] == 0.5
    assert scored.best().name == "lung histogram"


def test_permuted_labels_give_half(opened):
    store, reader = opened
    rows = np.flatnonzero(store.labels >= 0)
    features, rng = describe_rows(store, reader, rows)["lung texture"], np.random.default_rng(0)
    learnt, tested = np.arange(0, len(rows), 2), np.arange(1, len(rows), 2)
    areas = []
    for _ in range(15):
        labels = rng.permutation(store.labels[rows])
        said = fit(features[learnt], labels[learnt], n_classes=2).probabilities(features[tested])
        areas.append(roc_auc_score(labels[tested], said[:, 1]))
    assert 0.35 < np.mean(areas) < 0.65


def test_unlabelled_scans_are_left_out(opened, scored):
    store, _ = opened
    assert (store.labels < 0).sum() == 1
    baseline = scored.baselines[0]
    assert baseline.test.n + baseline.validation.n + len(split_of(store).rows("train")) == len(store) - 1


def test_three_classes_are_scored(opened):
    store, reader = opened
    labels = np.where(store.labels < 0, -1, np.arange(len(store)) % 3).astype(np.int16)
    three = replace(store, labels=labels, classes=("a", "b", "c"), patients=store.scans)
    scored = score_of(three, reader, split_of(three))
    assert [baseline.failure for baseline in scored.baselines] == [None] * 4
    assert scored.baselines[0].area.value == 0.5
    assert "macro AUROC" in scored.lines()[1]


def test_a_missing_class_is_said_instead_of_a_crash(opened):
    store, reader = opened
    subsets = np.array(split_of(store).subsets)
    subsets[(subsets == "train") & (store.labels == 1)] = "test"
    scored = score_of(store, reader, Split(tuple(subsets.tolist())))
    assert {baseline.failure for baseline in scored.baselines} == {
        "training subset: 1 of 2 classes have no scan; add scans of each class"
    }
    assert scored.best() is None
    assert "not scored" in scored.lines()[1]


def test_scans_without_lungs_are_counted_and_the_rest_is_scored(cohort, tmp_path):
    store, reader = open_volumes(cohort.store(tmp_path / "out.zarr", shape=(24, 24, 12), window=(-100.0, 300.0)))
    scored = by_name(score_of(store, reader, split_of(store)))
    assert "no scan has what the baseline is told" in scored["lung texture"].failure
    assert scored["lung texture"].without == len(store) - 1
    assert scored["metadata"].failure is None


def test_scores_do_not_depend_on_the_number_of_threads(opened, scored, monkeypatch):
    monkeypatch.setattr("ctmodel.baselines.score.available_cores", lambda: 5)
    assert score_of(*opened, split_of(opened[0])) == scored


def test_they_come_back_from_json_as_they_were(scored):
    assert Baselines.from_dict(scored.to_dict()) == scored


def test_the_table_has_a_line_for_each(scored):
    lines = scored.lines()
    assert [line.split("  ")[1].strip() for line in lines[1:]] == NAMES
    assert "AUROC 1.000" in lines[2]
    assert all("log loss" in line for line in lines[1:])


def network_with(scores, value):
    return replace(scores, scores=scores.scores | {"auroc": Score(value, 0.0, 1.0, n=8, patients=8)})


def test_a_network_below_the_best_baseline_gets_a_note(scored):
    network = network_with(scored.baselines[1].test, 0.9)
    (note,) = scored.notes_about(network)
    assert note.startswith("The network's AUROC, 0.900, is below 1.000, that of the baseline lung histogram")


def test_a_network_as_good_as_the_best_baseline_gets_none(scored):
    assert scored.notes_about(network_with(scored.baselines[1].test, 1.0)) == []


def test_metadata_that_tell_the_classes_apart_are_a_warning(opened):
    store, reader = opened
    scanners = np.where(store.labels == 1, "A", "B")
    confounded = score_of(replace(store, meta={"scanner": scanners}), reader, split_of(store, test=0.5))
    assert confounded.notes()[0].startswith("The metadata alone reach an AUROC of 1.00 (")


def told_of(labels, strength, seed=0):
    """Features of which one tells a class by as many standard deviations, and nine tell nothing."""
    features = np.random.default_rng(seed).normal(size=(len(labels), 10))
    features[:, 0] += strength * labels
    return features


def test_a_cross_validation_finds_a_shortcut_that_a_test_subset_is_too_small_for():
    labels, patients = np.arange(140) % 2, [f"p{row}" for row in range(140)]
    found = find_shortcut(told_of(labels, 1.2), labels, patients, classes=("a", "b"))
    assert (found.n, found.patients) == (140, 140)
    assert found.low > 0.5
    assert "in a cross-validation of 140 scans" in Baselines((), found).notes()[0]


def test_metadata_that_tell_nothing_are_a_shortcut_in_few_cohorts():
    labels, patients = np.arange(140) % 2, [f"p{row}" for row in range(140)]
    found = [find_shortcut(told_of(labels, 0, seed), labels, patients, classes=("a", "b")) for seed in range(60)]
    assert sum(one.low > 0.5 for one in found) <= 5


def test_scans_of_a_patient_are_in_one_fold():
    """Features that name the patient, and nothing else, tell nothing of others."""
    patients = np.repeat(np.arange(60), 3)
    random = np.random.default_rng(0)
    labels, features = random.permutation(np.arange(60) % 2)[patients], random.normal(size=(60, 10))[patients]
    found = find_shortcut(features, labels, patients.astype(str).tolist(), classes=("a", "b"))
    assert found.patients == 60
    assert found.low < 0.5


def test_several_classes_have_a_mean_and_few_patients_none():
    labels, patients = np.arange(150) % 3, [f"p{row}" for row in range(150)]
    assert find_shortcut(told_of(labels, 2), labels, patients, classes="abc").low > 0.5
    assert find_shortcut(told_of(labels[:39], 2), labels[:39], patients[:39], classes="abc") is None


def test_a_cross_validated_auroc_comes_back_from_json(scored):
    with_one = replace(scored, shortcut=Score(0.7, 0.6, 0.8, n=140, patients=140))
    assert Baselines.from_dict(with_one.to_dict()) == with_one
    older = {"baselines": with_one.to_dict()["baselines"]}
    assert Baselines.from_dict(older).shortcut is None
