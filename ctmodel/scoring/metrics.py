"""How well probabilities tell classes apart: scores as functions of labels and probabilities.

Where a score is undefined, as without positives, it is NaN.
"""

import numpy as np

# float32 rounds a very sure prediction to 0 or 1, whose log loss would be infinite
MIN_PROBABILITY = 1e-7


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


def partial_auroc(positive: np.ndarray, scores: np.ndarray, *, max_fpr: float) -> float:
    """Return the AUROC of the part of the curve up to a false positive rate, from 0.5 (guessing) to 1 (perfect).

    Parameters
    ----------
    positive, scores
        As in `auroc`.
    max_fpr : float
        Largest false positive rate, above 0 and at most 1.

    Returns
    -------
    float
        Standardized as McClish (1989, Medical Decision Making 9:190) did; the AUROC where `max_fpr` is 1.

    Examples
    --------
    >>> partial_auroc(np.array([False, False, True, True]), np.array([0.1, 0.4, 0.3, 0.8]), max_fpr=0.5)
    0.6666666666666666
    """
    positives, negatives = (numbers[::-1] for numbers in _numbers_by_score(positive, scores))
    if not positives.any() or not negatives.any():
        return np.nan
    tpr, fpr = (np.concatenate([[0], np.cumsum(numbers) / numbers.sum()]) for numbers in (positives, negatives))
    last = int(np.searchsorted(fpr, max_fpr, side="right"))
    within = np.append(fpr[:last], max_fpr)
    # past the last whole step the curve is the line to the next point
    area = float(np.trapezoid(np.append(tpr[:last], np.interp(max_fpr, fpr[last - 1 :], tpr[last - 1 :])), within))
    return standardized_area(area, max_fpr)


def standardized_area(area: float, max_fpr: float) -> float:
    """Return an area under the ROC curve up to a false positive rate on McClish's scale: 0.5 guessing, 1 perfect."""
    return (1 + (area - max_fpr**2 / 2) / (max_fpr - max_fpr**2 / 2)) / 2


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


def macro_f1(labels: np.ndarray, called: np.ndarray, n_classes: int) -> float:
    """Return the mean over classes of the F1 score of each class against all others.

    Parameters
    ----------
    labels, called : (n,) int array
        True and called class.
    n_classes : int

    Returns
    -------
    float
        NaN where a class is neither present nor called.
    """
    hits, is_own, is_called = (
        np.bincount(values, minlength=n_classes) for values in (labels[labels == called], labels, called)
    )
    return float(np.mean(2 * hits / (is_own + is_called))) if np.all(is_own + is_called) else np.nan


def quadratic_kappa(labels: np.ndarray, called: np.ndarray) -> float:
    """Return the agreement of called with true ordered classes: 1 is perfect, 0 that of chance (Cohen 1968).

    A call two classes off counts four times one that is one class off.

    Parameters
    ----------
    labels, called : (n,) int array
        True and called class, in the order of severity.

    Returns
    -------
    float
        NaN where all are the same class.

    Examples
    --------
    >>> quadratic_kappa(np.array([0, 1, 2, 3]), np.array([0, 1, 2, 2]))
    0.875
    """
    found, by_chance = _squared_distances(labels, called)
    return 1 - found / by_chance if by_chance else np.nan


def _squared_distances(labels: np.ndarray, called: np.ndarray) -> tuple[float, float]:
    """Return the mean squared distance of a scan's two classes, and that of any two scans' classes."""
    by_chance = labels.var() + called.var() + (labels.mean() - called.mean()) ** 2
    return float(np.mean((labels - called) ** 2.0)), float(by_chance)


def class_distances(labels: np.ndarray, called: np.ndarray) -> np.ndarray:
    """Return by how many classes each call is off, where classes are ordered."""
    return np.abs(labels - called)


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
    return -np.log(np.maximum(own, MIN_PROBABILITY))


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
