"""A logistic regression on standardized features: every baseline learns by it."""

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression

from ctmodel.errors import ScoreError

REGULARIZATION = 0.2
"""The inverse strength, C. Chosen once for the lung texture, on eight splits of one cohort of hard phantoms (seed 77),
where 0.1 to 1 differ by less than the splits do; tests/benchmarks/learning.py judges it on other seeds."""
MAX_ITERATIONS = 2000


@dataclass(frozen=True, eq=False)
class Classifier:
    """A fitted baseline.

    Attributes
    ----------
    centre, scale : (k,) float64 array
        Mean and standard deviation of each feature; the centre stands in where a feature is missing.
    slopes : (k, classes) float64 array
    intercepts : (classes,) float64 array
        Logits of a scan at the centre.
    """

    centre: np.ndarray
    scale: np.ndarray
    slopes: np.ndarray
    intercepts: np.ndarray

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Return the (n, classes) probabilities of scans with (n, k) features; NaN is the mean of the training."""
        logits = _standardized(features, self.centre, self.scale) @ self.slopes + self.intercepts
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)


def fit(features: np.ndarray, labels: np.ndarray, *, n_classes: int) -> Classifier:
    """Fit a baseline; without any feature it gives every scan the share of each class.

    Parameters
    ----------
    features : (n, k) array
        NaN where one is missing.
    labels : (n,) int array
        Index into the classes.
    n_classes : int

    Returns
    -------
    Classifier

    Raises
    ------
    ScoreError
        If a class has no scan, or every feature of every scan is missing.
    """
    counts = np.bincount(labels, minlength=n_classes)
    if not counts.all():
        n_missing = n_classes - np.count_nonzero(counts)
        raise ScoreError(f"training subset: {n_missing} of {n_classes} classes have no scan; add scans of each class")
    is_known = np.isfinite(features)
    if features.shape[1] and not is_known.any():
        raise ScoreError("training subset: no scan has what the baseline is told, such as lungs; look at the scans")
    total = is_known.sum(axis=0)
    centre = np.where(is_known, features, 0).sum(axis=0) / np.maximum(total, 1)
    deviation = np.sqrt((np.where(is_known, features - centre, 0) ** 2).sum(axis=0) / np.maximum(total, 1))
    scale = np.where(deviation > 1e-9 * np.maximum(np.abs(centre), 1), deviation, np.inf)  # one that never varies is 0
    if not np.isfinite(scale).any():
        n_features = features.shape[1]
        return Classifier(centre, scale, np.zeros((n_features, n_classes)), np.log(counts / counts.sum()))
    regression = LogisticRegression(C=REGULARIZATION, max_iter=MAX_ITERATIONS)
    regression.fit(_standardized(features, centre, scale), labels)
    slopes, intercepts = regression.coef_.T, regression.intercept_
    if n_classes == 2:  # of two classes, the second one's logit alone
        slopes, intercepts = np.c_[np.zeros_like(slopes), slopes], np.r_[0.0, intercepts]
    return Classifier(centre, scale, slopes, intercepts)


def _standardized(features: np.ndarray, centre: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.nan_to_num((features - centre) / scale, nan=0.0, posinf=0.0, neginf=0.0)
