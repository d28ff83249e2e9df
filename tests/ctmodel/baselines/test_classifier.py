import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ctmodel.baselines.classifier import REGULARIZATION, fit
from ctmodel.errors import ScoreError


def drawn(n, n_classes, *, k=5, seed=0):
    """Return features of which the first tells the classes apart, and labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % n_classes
    features = rng.normal(0, 1, (n, k)) * 10.0 ** np.arange(k)
    features[:, 0] += 2 * labels
    return features, labels


@pytest.mark.parametrize("n_classes", [2, 3, 4])
def test_it_is_the_logistic_regression_of_scikit_learn_on_standardized_features(n_classes):
    features, labels = drawn(120, n_classes)
    peer = make_pipeline(StandardScaler(), LogisticRegression(C=REGULARIZATION, max_iter=2000)).fit(features, labels)
    ours = fit(features, labels, n_classes=n_classes).probabilities(features)
    assert ours == pytest.approx(peer.predict_proba(features), abs=1e-6)


def test_without_features_every_scan_gets_the_share_of_each_class():
    fitted = fit(np.empty((8, 0)), np.array([0, 0, 0, 0, 1, 1, 2, 2]), n_classes=3)
    assert fitted.probabilities(np.empty((2, 0))) == pytest.approx(np.array([[0.5, 0.25, 0.25]] * 2))


def test_features_that_never_vary_are_no_features():
    features, labels = drawn(60, 2)
    constant = np.c_[features, np.full(60, 7.0)]
    shifted = np.c_[features, np.full(60, 8.0)]
    expected = fit(features, labels, n_classes=2).probabilities(features)
    assert fit(constant, labels, n_classes=2).probabilities(shifted) == pytest.approx(expected, abs=1e-6)


def test_a_missing_feature_counts_as_the_mean_of_the_training():
    features, labels = drawn(60, 2)
    fitted = fit(features, labels, n_classes=2)
    missing, mean = features[:3].copy(), features[:3].copy()
    missing[:, 0], mean[:, 0] = np.nan, features[:, 0].mean()
    assert fitted.probabilities(missing) == pytest.approx(fitted.probabilities(mean))


def test_training_scans_without_features_do_not_stop_the_others():
    features, labels = drawn(60, 2)
    features[::7] = np.nan
    probabilities = fit(features, labels, n_classes=2).probabilities(features)
    assert np.isfinite(probabilities).all()
    assert roc_auc_score(labels, probabilities[:, 1]) > 0.85


def test_a_class_without_training_scans_is_said():
    with pytest.raises(ScoreError, match="training subset: 1 of 3 classes have no scan"):
        fit(np.ones((4, 1)), np.array([0, 0, 1, 1]), n_classes=3)


def test_training_scans_that_all_lack_features_are_said():
    with pytest.raises(ScoreError, match="no scan has what the baseline is told"):
        fit(np.full((4, 2), np.nan), np.array([0, 0, 1, 1]), n_classes=2)


def test_permuted_labels_teach_nothing():
    rng = np.random.default_rng(1)
    features, labels = drawn(200, 2, k=30)
    features /= 10.0 ** np.arange(30)
    areas = []
    for _ in range(10):
        permuted = rng.permutation(labels)
        said = fit(features[:100], permuted[:100], n_classes=2).probabilities(features[100:])
        areas.append(roc_auc_score(permuted[100:], said[:, 1]))
    assert 0.42 < np.mean(areas) < 0.58
