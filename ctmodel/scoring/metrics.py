"""How well probabilities tell classes apart: scores as functions of labels and probabilities.

Where a score is undefined, as without positives, it is NaN.
"""

import numpy as np

# float32 rounds a very sure prediction to 0 or 1, whose log loss would be infinite
SMALLEST_PROBABILITY = 1e-7


def auroc(positive: np.ndarray, scores: np.ndarray) -> float:
    """Return the area under the ROC curve: how often a positive scores above a negative, ties counting half.

    Parameters
    ----------
    positive : (n,) bool array
        Which scans are positive.
    scores : (n,) float array
        Higher means more likely positive.

    Returns
    -------
    float

    Examples
    --------
    >>> auroc(np.array([False, True, True]), np.array([0.3, 0.2, 0.9]))
    0.5
    """
    positives, negatives = _numbers_by_score(positive, scores)
    below = np.cumsum(negatives) - negatives / 2
    pairs = positives.sum() * negatives.sum()
    return float(positives @ below / pairs) if pairs else np.nan


def average_precision(positive: np.ndarray, scores: np.ndarray) -> float:
    """Return the mean of the precision at each positive, from the highest score down.

    Parameters
    ----------
    positive, scores
        As in `auroc`.

    Returns
    -------
    float
        Its value for guessing is the share of positives.
    """
    positives, negatives = (numbers[::-1] for numbers in _numbers_by_score(positive, scores))
    found = np.cumsum(positives)
    precision = found / (found + np.cumsum(negatives))
    return float(positives @ precision / found[-1]) if found[-1] else np.nan


def _numbers_by_score(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count positives and negatives at each distinct score, lowest first."""
    place = np.unique(scores, return_inverse=True)[1]
    n_scores = int(place.max()) + 1
    return np.bincount(place[positive], minlength=n_scores), np.bincount(place[~positive], minlength=n_scores)


def macro_auroc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean over classes of the AUROC of each class against all others.

    Parameters
    ----------
    labels : (n,) int array
    probabilities : (n, classes) float array

    Returns
    -------
    float
        For two classes their AUROC; NaN where a class is absent.
    """
    n_classes = probabilities.shape[1]
    return float(np.mean([auroc(labels == label, probabilities[:, label]) for label in range(n_classes)]))


def log_losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return minus the logarithm of the probability given to each scan's own class.

    Parameters
    ----------
    labels : (n,) int array
    probabilities : (n, classes) float array
        Raised to 1e-7 where smaller.

    Returns
    -------
    (n,) float array
        In nats; ln 2 for a coin between two classes.
    """
    own = probabilities[np.arange(len(labels)), labels]
    return -np.log(np.maximum(own, SMALLEST_PROBABILITY))


def brier_scores(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the squared error of each scan's probabilities.

    Parameters
    ----------
    labels : (n,) int array
    probabilities : (n, classes) float array

    Returns
    -------
    (n,) float array
        For two classes that of the second class, 0 to 1; for more the sum over classes, 0 to 2.
    """
    squares = (probabilities - np.eye(probabilities.shape[1])[labels]) ** 2
    return squares[:, 1] if probabilities.shape[1] == 2 else squares.sum(axis=1)


def largest_brier_score(n_classes: int) -> float:
    """Return the Brier score of a scan whose wrong class was sure."""
    return 1.0 if n_classes == 2 else 2.0


def predicted_classes(probabilities: np.ndarray, *, threshold: float) -> np.ndarray:
    """Return the class called for each scan.

    Parameters
    ----------
    probabilities : (n, classes) float array
    threshold : float
        Of two classes, the probability from which the second is called; more classes call the likeliest.

    Returns
    -------
    (n,) int64 array
    """
    if probabilities.shape[1] == 2:
        return (probabilities[:, 1] >= threshold).astype(np.int64)
    return np.argmax(probabilities, axis=1)


def best_threshold(positive: np.ndarray, scores: np.ndarray) -> float:
    """Return the threshold with the largest sum of sensitivity and specificity (Youden 1950).

    Parameters
    ----------
    positive : (n,) bool array
    scores : (n,) float array
        Probabilities of the positive class.

    Returns
    -------
    float
        Halfway between two scores; of several as good, the one nearest to 0.5.

    Examples
    --------
    >>> best_threshold(np.array([False, False, True]), np.array([0.125, 0.25, 0.75]))
    0.5
    """
    distinct = np.unique(scores)
    middles = np.concatenate([[distinct[0]], (distinct[:-1] + distinct[1:]) / 2])
    youden = _share_from(middles, scores[positive]) - _share_from(middles, scores[~positive])
    best = np.flatnonzero(youden >= youden.max() - 1e-12)
    return float(middles[best[np.argmin(np.abs(middles[best] - 0.5))]])


def _share_from(thresholds: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the share of scores at or above each threshold."""
    below = np.searchsorted(np.sort(scores), thresholds, side="left")
    return (len(scores) - below) / len(scores)
