"""The threshold that each rule chooses, from which probability on a scan is called positive.

| rule              | chooses                                                                               |
|-------------------|---------------------------------------------------------------------------------------|
| `0.3`             | that probability; `half` is 0.5                                                       |
| `youden`          | the largest sum of sensitivity and specificity                                        |
| `sensitivity=0.9` | the highest specificity with a sensitivity of 0.9 or more                             |
| `specificity=0.9` | the highest sensitivity with a specificity of 0.9 or more                             |
| `cost=5:1`        | the least cost where a positive that is missed costs 5 and a negative that is called 1 |

Choose on scans that are not scored, such as those of validation: a threshold chosen on the scored ones flatters.
"""

import numpy as np

from ctmodel.settings import ThresholdRule


def find_threshold(rule: ThresholdRule, positive: np.ndarray, scores: np.ndarray) -> float:
    """Return the threshold that a rule chooses on some scans.

    Parameters
    ----------
    rule : ThresholdRule
    positive : (n,) bool array
        One at least is, and one is not.
    scores : (n,) float array
        Probabilities of the positive class.

    Returns
    -------
    float
        A scan at or above it is called positive. Halfway between two scores, or above the highest; of several as
        good, the one nearest to 0.5.

    Examples
    --------
    >>> from ctmodel.settings import parse_threshold
    >>> positive, scores = np.array([False, True, False, True]), np.array([0.125, 0.25, 0.5, 0.75])
    >>> [find_threshold(parse_threshold(rule), positive, scores) for rule in ("sensitivity=0.9", "specificity=0.9")]
    [0.1875, 0.625]
    """
    if rule.kind == "number":
        return rule.value
    candidates = _candidates(np.asarray(scores))
    sensitivity = _share_from(candidates, scores[positive])
    specificity = 1 - _share_from(candidates, scores[~positive])
    worth = {
        "youden": lambda: sensitivity + specificity,
        "sensitivity": lambda: np.where(sensitivity >= rule.value - 1e-12, specificity, -1),
        "specificity": lambda: np.where(specificity >= rule.value - 1e-12, sensitivity, -1),
        "cost": lambda: np.sum(positive) * rule.value * sensitivity + np.sum(~positive) * specificity,
    }[rule.kind]()
    best = candidates[worth >= worth.max() - 1e-9 * np.abs(worth).max()]
    return float(best[np.argmin(np.abs(best - 0.5))])


def _candidates(scores: np.ndarray) -> np.ndarray:
    """Return one threshold for each way of dividing the scans: the lowest score, those between, and one above all."""
    distinct = np.unique(scores)
    lower, upper = distinct[:-1], distinct[1:]
    middles = (lower + upper) / 2
    above = (distinct[-1:] + 1) / 2 if distinct[-1] < 1 else distinct[-1:]
    # no number lies between two floats that are neighbours
    between, above = np.where(middles > lower, middles, upper), np.maximum(above, np.nextafter(distinct[-1:], np.inf))
    return np.concatenate([distinct[:1], between, above])


def _share_from(thresholds: np.ndarray, scores: np.ndarray) -> np.ndarray:
    below = np.searchsorted(np.sort(scores), thresholds, side="left")
    return (len(scores) - below) / len(scores)
