"""What each score comes to without skill: where every scan is told no more than the share of each class."""

from collections.abc import Sequence

import numpy as np

from ctmodel.scoring import metrics


def scores_by_chance(counts: Sequence[int]) -> dict[str, float]:
    """Return each score of a network that gives every scan the share of each class among those scored.

    Parameters
    ----------
    counts : sequence of int
        Scans of each class; of two, the second is the positive one.

    Returns
    -------
    dict of str to float
        Under the names of `ctmodel.scoring.scores`. Calls are the larger class for the accuracy, and at random for
        PPV, NPV and the balanced accuracy. Sensitivity and specificity have no such level, as either can be had at
        the cost of the other.

    Examples
    --------
    >>> found = scores_by_chance([6, 2])
    >>> found["auroc"], found["average_precision"], found["accuracy"], found["brier"], round(found["log_loss"], 3)
    (0.5, 0.25, 0.75, 0.1875, 0.562)
    """
    numbers = np.asarray(counts, dtype=int)
    shares = numbers / numbers.sum()
    labels, probabilities = np.repeat(np.arange(len(numbers)), numbers), np.tile(shares, (numbers.sum(), 1))
    of_any = {
        "accuracy": float(shares.max()),
        "balanced_accuracy": 1 / np.count_nonzero(numbers),
        "brier": float(metrics.brier_scores(labels, probabilities).mean()),
        "log_loss": float(metrics.log_losses(labels, probabilities).mean()),
    }
    if len(numbers) > 2:
        return {"macro_auroc": 0.5} | of_any
    of_two = {"auroc": 0.5, "average_precision": float(shares[1]), "partial_auroc": 0.5, "mcc": 0.0}
    return of_two | of_any | {"ppv": float(shares[1]), "npv": float(shares[0]), "lr_positive": 1.0, "lr_negative": 1.0}
