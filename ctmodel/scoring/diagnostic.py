"""What a call of one class is worth: scores of a two by two table, with their intervals.

All are functions of sensitivity, specificity and the share of positives. The intervals of those that do not depend much
on that share come from the intervals of sensitivity and specificity, for as many independent scans as the positives and
the negatives are worth. Predictive values and F1 do: theirs are those of shares of scans, which hold for scans taken as
they come, and are a little too wide where the numbers of positives and negatives were chosen.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ctmodel.errors import ScoreError
from ctmodel.scoring.intervals import (
    Interval,
    effective_number,
    interval_of_mean_share,
    propagated_interval,
    share_interval,
)

Formula = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Estimate:
    """One score of a set of scans.

    Attributes
    ----------
    value, low, high : float
        The score and its 95 % interval; likelihood ratios may be infinite.
    rows : (n,) bool array
        The scans that it rests on.
    """

    value: float
    low: float
    high: float
    rows: np.ndarray


@dataclass(frozen=True)
class Table:
    """A two by two table as rates, each with its number of independent scans.

    Attributes
    ----------
    sensitivity, specificity : (float, float)
        The share, and of how many scans.
    prevalence : float
        Share of positives, above 0 and below 1.
    """

    sensitivity: tuple[float, float]
    specificity: tuple[float, float]
    prevalence: float

    @classmethod
    def of(cls, positive: np.ndarray, called: np.ndarray, patients: np.ndarray) -> "Table":
        """Count the positives that were called, and the negatives that were not."""

        def share(hits: np.ndarray, whose: np.ndarray) -> tuple[float, float]:
            patient = np.unique(whose, return_inverse=True)[1]
            return float(hits.mean()), effective_number(hits.astype(float), patient)

        return cls(
            share(called[positive], patients[positive]),
            share(~called[~positive], patients[~positive]),
            float(positive.mean()),
        )

    def value(self, formula: Formula) -> float:
        """Return a formula of sensitivity and specificity; NaN where it is undefined."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(formula(np.array(self.sensitivity[0]), np.array(self.specificity[0])))

    def interval(self, formula: Formula) -> Interval:
        """Return the interval of a formula of sensitivity and specificity, which holds its value."""
        value = self.value(formula)
        low, high = propagated_interval(formula, self.sensitivity, self.specificity)
        return min(low, value), max(high, value)


def positive_predictive_value(sensitivity: np.ndarray, specificity: np.ndarray, prevalence: float) -> np.ndarray:
    """Return the share of positives among those called positive (Bayes), also known as precision.

    Examples
    --------
    Nine in ten found, one in ten called wrongly, one in a hundred ill:

    >>> round(float(positive_predictive_value(np.array(0.9), np.array(0.9), prevalence=0.01)), 4)
    0.0833
    """
    true = sensitivity * prevalence
    return true / (true + (1 - specificity) * (1 - prevalence))


def negative_predictive_value(sensitivity: np.ndarray, specificity: np.ndarray, prevalence: float) -> np.ndarray:
    """Return the share of negatives among those called negative (Bayes)."""
    return positive_predictive_value(specificity, sensitivity, 1 - prevalence)


def matthews_correlation(sensitivity: np.ndarray, specificity: np.ndarray, prevalence: float) -> np.ndarray:
    """Return the correlation of true and called class (Matthews 1975); NaN where all are called alike.

    Examples
    --------
    >>> round(float(matthews_correlation(np.array(0.9), np.array(0.8), prevalence=0.5)), 4)
    0.7035
    """
    called = sensitivity * prevalence + (1 - specificity) * (1 - prevalence)
    spread = np.sqrt(prevalence * (1 - prevalence)) / np.sqrt(called * (1 - called))
    return (sensitivity + specificity - 1) * spread


def positive_likelihood_ratio(sensitivity: np.ndarray, specificity: np.ndarray) -> np.ndarray:
    """Return by how much a positive call raises the odds of being positive; infinite without a false alarm."""
    return sensitivity / (1 - specificity)


def negative_likelihood_ratio(sensitivity: np.ndarray, specificity: np.ndarray) -> np.ndarray:
    """Return by how much a negative call changes the odds of being positive: 0 is best, 1 says nothing."""
    return (1 - sensitivity) / specificity


def diagnostic_estimates(
    positive: np.ndarray, called: np.ndarray, patients: np.ndarray, *, prevalence: float | None = None
) -> dict[str, Estimate]:
    """Return the scores of a two by two table; those that are undefined are left out.

    Parameters
    ----------
    positive : (n,) bool array
        Which scans are positive; one at least is, and one is not.
    called : (n,) bool array
        Which were called positive.
    patients : (n,) array of str
        Whose scan it is.
    prevalence : float, optional
        A share of positives, above 0 and below 1, for which to give the predictive values as well.

    Returns
    -------
    dict of str to Estimate
        balanced_accuracy, ppv, npv, f1, mcc, lr_positive, lr_negative, and with a prevalence ppv_at_prevalence
        and npv_at_prevalence. Undefined are ppv and lr_positive where nothing was called positive, npv and
        lr_negative where everything was, and mcc in both cases.

    Raises
    ------
    ScoreError
        If the prevalence is not between 0 and 1.
    """
    if prevalence is not None and not 0 < prevalence < 1:
        raise ScoreError(f"prevalence: {prevalence:g}, expected more than 0 and less than 1; 5 % is 0.05")
    table, every = Table.of(positive, called, patients), np.ones(len(positive), dtype=bool)
    found = {"balanced_accuracy": _balanced_accuracy(table, every)}
    for name, hits, rows in (("ppv", positive, called), ("npv", ~positive, ~called)):
        if rows.any():
            found[name] = Estimate(float(hits[rows].mean()), *share_interval(hits[rows], patients[rows]), rows)
    found["f1"] = _f1(positive, called, patients)
    formulas: dict[str, tuple[Formula, np.ndarray]] = {
        "mcc": (_at(matthews_correlation, table.prevalence), every),
        "lr_positive": (positive_likelihood_ratio, every),
        "lr_negative": (negative_likelihood_ratio, every),
    }
    if prevalence is not None:
        formulas["ppv_at_prevalence"] = _at(positive_predictive_value, prevalence), every
        formulas["npv_at_prevalence"] = _at(negative_predictive_value, prevalence), every
    for name, (formula, rows) in formulas.items():
        value = table.value(formula)
        if not np.isnan(value):
            found[name] = Estimate(value, *table.interval(formula), rows)
    return found


def _at(formula: Callable[[np.ndarray, np.ndarray, float], np.ndarray], prevalence: float) -> Formula:
    return lambda sensitivity, specificity: formula(sensitivity, specificity, prevalence)


def _f1(positive: np.ndarray, called: np.ndarray, patients: np.ndarray) -> Estimate:
    """Return the harmonic mean of sensitivity and positive predictive value (van Rijsbergen 1979).

    It is 2 J / (1 + J), J being the share of scans called rightly among those positive or called so (Hand, Christen and
    Kirielle 2021, Machine Learning 110:451).
    """
    rows = positive | called
    hits = (positive & called)[rows]
    value, low, high = (
        2 * share / (1 + share) for share in (float(hits.mean()), *share_interval(hits, patients[rows]))
    )
    return Estimate(value, low, high, rows)


def _balanced_accuracy(table: Table, every: np.ndarray) -> Estimate:
    rates, numbers = zip(table.sensitivity, table.specificity, strict=True)
    return Estimate(float(np.mean(rates)), *interval_of_mean_share(rates, numbers), every)
