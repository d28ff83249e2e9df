"""The curves are those of scikit-learn, and their bands hold the truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import norm
from sklearn import metrics as oracle

from ctmodel.scoring import metrics
from ctmodel.views import curves
from ctmodel.views.curves import precision_recall_curve, roc_curve


@st.composite
def scored_scans(draw):
    """Return positives, scores with ties, and patients with several scans of one class each or of both."""
    n = draw(st.integers(2, 30))
    positive = draw(arrays.arrays(bool, n))
    positive[:2] = [True, False]
    scores = draw(arrays.arrays(float, n, elements=st.integers(0, 8).map(lambda number: number / 8)))
    return positive, scores, draw(arrays.arrays(np.int64, n, elements=st.integers(0, n))).astype(str)


@pytest.fixture(scope="module", autouse=True)
def _few_resamples():
    patch = pytest.MonkeyPatch()
    patch.setattr(curves, "N_RESAMPLES", 100)
    yield
    patch.undo()


@given(scored_scans())
def test_the_roc_curve_is_that_of_scikit_learn(scans):
    positive, scores, patients = scans
    curve = roc_curve(positive, scores, patients)
    fpr, tpr, _ = oracle.roc_curve(positive, scores, drop_intermediate=False)
    np.testing.assert_allclose(curve.x, fpr)
    np.testing.assert_allclose(curve.y, tpr)
    assert np.trapezoid(curve.y, curve.x) == pytest.approx(metrics.auroc(positive, scores))


@given(scored_scans())
def test_the_precision_recall_curve_is_that_of_scikit_learn(scans):
    positive, scores, patients = scans
    curve = precision_recall_curve(positive, scores, patients)
    precision, recall, _ = (values[::-1] for values in oracle.precision_recall_curve(positive, scores))
    is_new = np.diff(recall, prepend=0) > 0  # scikit-learn also has the thresholds that find no further positive
    np.testing.assert_allclose(curve.x, recall[is_new])
    np.testing.assert_allclose(curve.y, precision[is_new])
    steps = np.diff(curve.x, prepend=0)
    assert steps @ curve.y == pytest.approx(metrics.average_precision(positive, scores))


@given(scored_scans())
def test_a_band_lies_around_its_curve_within_the_square(scans):
    roc, precision_recall = (curve(*scans) for curve in (roc_curve, precision_recall_curve))
    on_roc = np.interp(roc.places, roc.x, roc.y)
    steps = precision_recall
    on_steps = steps.y[np.minimum(np.searchsorted(steps.x, steps.places - 1e-8), len(steps.x) - 1)]
    for curve, on_curve in ((roc, on_roc), (steps, on_steps)):
        assert np.all((curve.low >= 0) & (curve.low <= on_curve + 1e-9))
        assert np.all((on_curve - 1e-9 <= curve.high) & (curve.high <= 1))


def test_the_band_of_a_perfect_curve_has_a_width():
    positive, patients = np.arange(20) < 10, np.arange(20).astype(str)
    scores = np.arange(20)[::-1] / 20
    roc = roc_curve(positive, scores, patients)
    assert roc.low[-1] == pytest.approx(0.7225, abs=1e-4)  # Wilson's lower bound of 10 of 10
    assert roc.low[0] == 0  # of a false positive rate below 1/10 nothing is known
    precision_recall = precision_recall_curve(positive, scores, patients)
    assert precision_recall.low[-1] == roc.low[-1]
    assert precision_recall.low[0] < 0.25  # that of the first scan alone


def test_scans_of_the_same_patients_widen_the_band():
    generator = np.random.default_rng(0)
    positive = np.arange(120) < 60
    scores = np.repeat(generator.normal(size=30), 4) + positive + generator.normal(size=120) / 10
    ours = roc_curve(positive, scores, np.repeat(np.arange(30), 4).astype(str))
    apart = roc_curve(positive, scores, np.arange(120).astype(str))
    assert (ours.high - ours.low).mean() > 1.4 * (apart.high - apart.low).mean()


def test_the_same_scans_have_the_same_band():
    scans = np.arange(20) < 10, np.random.default_rng(1).normal(size=20), np.arange(20).astype(str)
    assert roc_curve(*scans).low.tobytes() == roc_curve(*scans).low.tobytes()
    assert roc_curve(*scans).low.tobytes() != roc_curve(*scans, seed=1).low.tobytes()


def coverage(draw_curve, truth, *, n=20, skill=1.2, cohorts=60):
    """Return how often a band holds the true curve of normal scores, from 0.05 to 0.95 along x."""
    generator = np.random.default_rng(2)
    positive, patients = np.arange(2 * n) < n, np.arange(2 * n).astype(str)
    bands = [draw_curve(positive, generator.normal(size=2 * n) + skill * positive, patients) for _ in range(cohorts)]
    held = [(band.low <= truth(band.places)) & (truth(band.places) <= band.high) for band in bands]
    return np.mean(held, axis=0)[5:96].mean()


def test_bands_hold_the_truth():
    def sensitivity(fpr):
        return norm.cdf(1.2 + norm.ppf(fpr))

    def precision(recall):
        return recall / (recall + norm.sf(1.2 - norm.ppf(recall)))

    with np.errstate(invalid="ignore"):
        assert coverage(roc_curve, sensitivity) > 0.92
        assert coverage(precision_recall_curve, precision) > 0.92


def test_bands_do_not_hold_another_curve():
    """The null control of the test above."""
    with np.errstate(invalid="ignore"):
        assert coverage(roc_curve, lambda fpr: norm.cdf(2.2 + norm.ppf(fpr))) < 0.8
