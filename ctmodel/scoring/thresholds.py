"""Which probability calls a scan positive: rules in words, and the threshold that each chooses.

| rule              | chooses                                                                               |
|-------------------|---------------------------------------------------------------------------------------|
| `0.3`             | that probability                                                                      |
| `youden`          | the largest sum of sensitivity and specificity                                        |
| `sensitivity=0.9` | the highest specificity with a sensitivity of 0.9 or more                             |
| `specificity=0.9` | the highest sensitivity with a specificity of 0.9 or more                             |
| `cost=5:1`        | the least cost where a positive that is missed costs 5 and a negative that is called 1 |

Choose on scans that are not scored, such as those of validation: a threshold chosen on the scored ones flatters.
"""

from dataclasses import dataclass

import numpy as np

from ctmodel.errors import ScoreError

EXPECTED = "a probability such as 0.3, youden, sensitivity=0.9, specificity=0.9 or cost=5:1"


@dataclass(frozen=True)
class ThresholdRule:
    """What a threshold is chosen for.

    Attributes
    ----------
    kind : {"number", "youden", "sensitivity", "specificity", "cost"}
    value : float
        The number, the least rate, or how many times as much a missed positive costs as a negative that is called.
    """

    kind: str
    value: float


def parse_threshold(text: str) -> ThresholdRule:
    """Return the rule that a text names.

    Raises
    ------
    ScoreError
        If it names none, or its number is out of range.

    Examples
    --------
    >>> parse_threshold("cost=5:1")
    ThresholdRule(kind='cost', value=5.0)
    """
    name, _, argument = text.strip().partition("=")
    try:
        match name:
            case "youden" if not argument:
                return ThresholdRule("youden", np.nan)
            case "sensitivity" | "specificity":
                return ThresholdRule(name, _in_unit(float(argument), above_0=True))
            case "cost":
                missed, called = (float(cost) for cost in argument.split(":"))
                if missed > 0 and called > 0 and np.isfinite(missed / called):
                    return ThresholdRule("cost", missed / called)
            case _ if not argument:
                return ThresholdRule("number", _in_unit(float(name), above_0=False))
    except ValueError:
        pass
    raise ScoreError(f"threshold: {text!r}, expected {EXPECTED}")


def _in_unit(number: float, *, above_0: bool) -> float:
    if not 0 <= number <= 1 or (above_0 and number == 0):
        raise ValueError
    return number


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
