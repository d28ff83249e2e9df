"""Whether probabilities mean what they say, and how to make them."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, log_softmax, logit, softmax, stdtrit

from ctmodel.scoring.intervals import effective_number, wilson_interval
from ctmodel.scoring.metrics import MIN_PROBABILITY

# The range of inverse temperatures that is searched: a network 100 times too sure, and one 100 times too unsure.
MIN_SHARPNESS, MAX_SHARPNESS = 0.01, 100.0
SCANS_PER_BIN = 15
MAX_BINS = 10
N_DRAWS = 1000
# Newton's method doubles its digits with each step; more are needed only where classes do not overlap and none will do.
MAX_STEPS = 50
MAX_SLOPE = 1e3


@dataclass(frozen=True)
class Temperature:
    """By what the logits of a network are divided so that its probabilities mean what they say.

    Attributes
    ----------
    value : float
        Above 1 where the network was too sure.
    low, high : float
        Its 95 % interval.
    log_loss_before, log_loss_after : float
        Of the scans that it was fitted on.
    """

    value: float
    low: float
    high: float
    log_loss_before: float
    log_loss_after: float

    @property
    def helps(self) -> bool:
        """Whether the temperature differs from 1 beyond chance."""
        return not self.low <= 1 <= self.high

    @property
    def applied(self) -> float:
        """The temperature that a run scales by: 1, which changes nothing, unless another helps."""
        return self.value if self.helps else 1.0

    def to_dict(self) -> dict[str, Any]:
        """Return every field and what is applied, ready for JSON; a bound that is infinite is None."""
        return {"applied": self.applied} | asdict(self) | {"high": self.high if np.isfinite(self.high) else None}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "Temperature":
        """Return the temperature that `to_dict` described."""
        return cls(
            **{name: value for name, value in saved.items() if name != "applied"}
            | {"high": np.inf if saved["high"] is None else saved["high"]}
        )

    def __str__(self) -> str:
        found = f"Temperature {self.value:.2f} (95 % interval {self.low:.2f} to {self.high:.2f})"
        if not self.helps:
            return f"{found}: the interval includes 1, so that scaling does not help."
        return f"{found}: the log loss falls from {self.log_loss_before:.3f} to {self.log_loss_after:.3f}."


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray, patients: np.ndarray) -> Temperature:
    """Return the temperature with the least log loss (Guo and others 2017, ICML).

    Parameters
    ----------
    labels : (n,) int array
    probabilities : (n, classes) float array
        Of validation scans, not of those that are scored. Raised to 1e-7 where smaller.
    patients : (n,) array of str
        Whose scan it is.

    Returns
    -------
    Temperature
        Between 0.01 and 100. The interval takes the scans of a patient together, and is infinite above where the
        probabilities may tell nothing.
    """
    logits = _logits(probabilities)
    own = logits[np.arange(len(labels)), labels]

    def slopes(sharpness: float) -> np.ndarray:
        """Return the derivative of each scan's log loss, which grows with the sharpness."""
        return np.sum(softmax(sharpness * logits, axis=1) * logits, axis=1) - own

    def log_loss(sharpness: float) -> float:
        return -float(np.mean(log_softmax(sharpness * logits, axis=1)[np.arange(len(labels)), labels]))

    if slopes(MIN_SHARPNESS).mean() >= 0:
        best = MIN_SHARPNESS
    elif slopes(MAX_SHARPNESS).mean() <= 0:
        best = MAX_SHARPNESS
    else:
        best = float(brentq(lambda sharpness: slopes(sharpness).mean(), MIN_SHARPNESS, MAX_SHARPNESS))
    chances = softmax(best * logits, axis=1)
    curvature = np.sum(chances * logits**2, axis=1) - np.sum(chances * logits, axis=1) ** 2
    half = _half_width(slopes(best)[:, None], np.array([[curvature.sum()]]), patients)[0]
    low, high = best - half, best + half
    return Temperature(1 / best, 1 / high, 1 / low if low > 0 else np.inf, log_loss(1.0), log_loss(best))


def with_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return the probabilities that a network gives when its logits are divided by a temperature.

    Parameters
    ----------
    probabilities : (n, classes) float array
    temperature : float
        Above 0. The likeliest class stays the likeliest; 1 changes nothing.

    Returns
    -------
    (n, classes) float array

    Examples
    --------
    >>> with_temperature(np.array([[0.1, 0.9]]), 2.0).round(3).tolist()
    [[0.25, 0.75]]
    """
    return softmax(_logits(probabilities) / temperature, axis=1) if temperature != 1 else probabilities


def _logits(probabilities: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(np.asarray(probabilities, dtype=float), MIN_PROBABILITY))


@dataclass(frozen=True)
class Recalibration:
    """What a logistic regression of the classes on the logits finds (Cox 1958, Biometrika 45:562).

    Attributes
    ----------
    slope : (float, float, float)
        The value and its 95 % interval: 1 is calibrated, less means too sure.
    intercept : (float, float, float)
        With the slope held at 1, "calibration in the large": 0 is calibrated, above 0 means that positives are more
        frequent than the probabilities say.
    """

    slope: tuple[float, float, float]
    intercept: tuple[float, float, float]


def recalibrate(positive: np.ndarray, probabilities: np.ndarray, patients: np.ndarray) -> Recalibration | None:
    """Return calibration slope and intercept (Van Calster and others 2019, BMC Medicine 17:230).

    Parameters
    ----------
    positive : (n,) bool array
        One at least is, and one is not.
    probabilities : (n,) float array
        Of the positive class; kept within 1e-7 of 0 and 1.
    patients : (n,) array of str
        Whose scan it is; the intervals take the scans of a patient together (Liang and Zeger 1986).

    Returns
    -------
    Recalibration or None
        None where there is no slope: all probabilities are equal, or positives and negatives do not overlap.
    """
    logits = logit(np.clip(probabilities, MIN_PROBABILITY, 1 - MIN_PROBABILITY))
    ones = np.ones((len(logits), 1))
    both = _logistic_fit(positive, np.column_stack([ones, logits]), 0.0, patients)
    shift = _logistic_fit(positive, ones, logits, patients)
    return Recalibration(both[1], shift[0]) if both and shift else None


def _logistic_fit(
    positive: np.ndarray, design: np.ndarray, offset: float | np.ndarray, patients: np.ndarray
) -> list[tuple[float, float, float]] | None:
    """Return each coefficient with its interval by Newton's method; None where it does not converge."""
    found = np.zeros(design.shape[1])
    for _ in range(MAX_STEPS):
        chances = expit(design @ found + offset)
        information = (design * (chances * (1 - chances))[:, None]).T @ design
        if np.linalg.cond(information) > 1e12:
            return None
        step = np.linalg.solve(information, design.T @ (positive - chances))
        # a step of a logistic regression can overshoot where probabilities are extreme
        found = found + step / max(1.0, float(np.abs(step).max()))
        if np.abs(found).max() > MAX_SLOPE:
            return None
        if np.abs(step).max() < 1e-9:
            half = _half_width(design * (positive - chances)[:, None], information, patients)
            return [(float(one), float(one - wide), float(one + wide)) for one, wide in zip(found, half, strict=True)]
    return None


def _half_width(scores: np.ndarray, information: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Return half the 95 % interval of each coefficient from the variance between patients."""
    patient = np.unique(patients, return_inverse=True)[1]
    n = int(patient.max()) + 1
    if n < 2 or not np.all(np.isfinite(information)) or np.linalg.cond(information) > 1e12:
        return np.full(len(information), np.inf)
    by_patient = np.stack([np.bincount(patient, weights=column) for column in scores.T], axis=1)
    inverse = np.linalg.inv(information)
    variance = np.diag(n / (n - 1) * inverse @ (by_patient.T @ by_patient) @ inverse)
    # that between few patients is too small as often as not; that of independent scans bounds it below
    return np.asarray(stdtrit(n - 1, 0.975) * np.sqrt(np.maximum(variance, np.diag(inverse))))


@dataclass(frozen=True)
class Reliability:
    """A reliability curve, one entry for each bin of about as many scans.

    Attributes
    ----------
    probability : (bins,) float array
        Mean probability of the positive class.
    observed : (bins,) float array
        Share of positives.
    low, high : (bins,) float array
        Its 95 % interval.
    expected_low, expected_high : (bins,) float array
        Where the share of positives lies 95 times of 100 if the probabilities are right and scans independent.
    n : (bins,) int array
        Scans.
    """

    probability: np.ndarray
    observed: np.ndarray
    low: np.ndarray
    high: np.ndarray
    expected_low: np.ndarray
    expected_high: np.ndarray
    n: np.ndarray


def reliability_curve(
    positive: np.ndarray, probabilities: np.ndarray, patients: np.ndarray, *, bins: int | None = None, seed: int = 0
) -> Reliability:
    """Return how often scans of about a probability are positive, with bands.

    Parameters
    ----------
    positive : (n,) bool array
    probabilities : (n,) float array
        Of the positive class.
    patients : (n,) array of str
        Whose scan it is; the intervals take the scans of a patient together.
    bins : int, optional
        Most bins; one for 15 scans, and 10 at most, where it is not given.
    seed : int
        Of the consistency bands: the range of the shares in 1,000 draws of classes from the probabilities
        (Bröcker and Smith 2007, Weather and Forecasting 22:651).

    Returns
    -------
    Reliability
    """
    place = _bins(probabilities, bins)
    patient = np.unique(patients, return_inverse=True)[1]
    n = np.bincount(place)
    observed = np.bincount(place, weights=positive) / n
    intervals = np.array([_share_of_bin(positive[place == one], patient[place == one]) for one in range(len(n))])
    draws = np.random.default_rng(seed).random((N_DRAWS, len(place))) < probabilities
    membership = place[:, None] == np.arange(len(n))
    bands = np.quantile(draws @ membership.astype(float) / n, [0.025, 0.975], axis=0)
    mean = np.bincount(place, weights=probabilities) / n
    return Reliability(mean, observed, intervals[:, 0], intervals[:, 1], bands[0], bands[1], n)


def _share_of_bin(positive: np.ndarray, patient: np.ndarray) -> tuple[float, float]:
    own = np.unique(patient, return_inverse=True)[1]
    return wilson_interval(float(positive.mean()), effective_number(positive.astype(float), own))


def _bins(probabilities: np.ndarray, bins: int | None) -> np.ndarray:
    """Number the bin of each scan: as many scans in each as equal probabilities, which stay together, allow."""
    wanted = bins or min(MAX_BINS, max(1, len(probabilities) // SCANS_PER_BIN))
    _, place, n = np.unique(probabilities, return_inverse=True, return_counts=True)
    middle = np.cumsum(n) - n / 2  # the bin of tied scans is that of the middle one
    bin_of = np.minimum(wanted - 1, (middle * wanted / len(probabilities)).astype(int))
    return np.unique(bin_of, return_inverse=True)[1][place]


def calibration_error(positive: np.ndarray, probabilities: np.ndarray, *, bins: int | None = None) -> float:
    """Return the expected calibration error: the mean distance of probability and share of positives, over bins.

    Parameters
    ----------
    positive : (n,) bool array
    probabilities : (n,) float array
        Of the positive class.
    bins : int, optional
        As in `reliability_curve`.

    Returns
    -------
    float
        Too large for few scans: chance alone moves shares away from probabilities. See `debiased_calibration_error`.

    Examples
    --------
    >>> calibration_error(np.array([False, True, True, True]), np.array([0.25, 0.25, 0.75, 0.75]), bins=2)
    0.25
    """
    gaps, _, n = _gaps(positive, probabilities, bins)
    return float(np.abs(gaps) @ n / n.sum())


def debiased_calibration_error(positive: np.ndarray, probabilities: np.ndarray, *, bins: int | None = None) -> float:
    """Return the root mean square calibration error without what chance adds (Kumar, Liang and Ma 2019, NeurIPS).

    Parameters
    ----------
    positive, probabilities, bins
        As in `calibration_error`.

    Returns
    -------
    float
        0 where the distances are no larger than chance makes them. NaN where no bin has two scans.
    """
    gaps, spread, n = _gaps(positive, probabilities, bins)
    many = n > 1
    if not many.any():
        return np.nan
    squares = gaps[many] ** 2 - spread[many] / (n[many] - 1)
    return float(np.sqrt(max(0.0, squares @ n[many] / n[many].sum())))


def _gaps(
    positive: np.ndarray, probabilities: np.ndarray, bins: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return of each bin: probability minus share of positives, the variance of a scan, the number of scans."""
    place = _bins(probabilities, bins)
    n = np.bincount(place)
    observed = np.bincount(place, weights=positive) / n
    return np.bincount(place, weights=probabilities) / n - observed, observed * (1 - observed), n


@dataclass(frozen=True)
class BrierParts:
    """What a Brier score is made of: reliability - resolution + uncertainty + within.

    Attributes
    ----------
    reliability : float
        Mean squared distance of probability and share of positives: 0 is calibrated.
    resolution : float
        How far the shares of positives of the bins lie apart: the more, the better.
    uncertainty : float
        The Brier score of giving every scan the share of positives.
    within : float
        What the differences of scans within a bin leave; 0 where each bin holds one probability.
    """

    reliability: float
    resolution: float
    uncertainty: float
    within: float


def decompose_brier(positive: np.ndarray, probabilities: np.ndarray, *, bins: int | None = None) -> BrierParts:
    """Return the parts of the Brier score (Murphy 1973; within bins: Stephenson and others 2008).

    Parameters
    ----------
    positive, probabilities, bins
        As in `calibration_error`.

    Returns
    -------
    BrierParts

    Examples
    --------
    >>> decompose_brier(np.array([False, True, True, True]), np.array([0.25, 0.25, 0.75, 0.75]), bins=2)
    BrierParts(reliability=0.0625, resolution=0.0625, uncertainty=0.1875, within=0.0)
    """
    gaps, spread, n = _gaps(positive, probabilities, bins)
    total, share = float(np.mean((probabilities - positive) ** 2)), float(np.mean(positive))
    weight = n / n.sum()
    reliability, uncertainty = float(gaps**2 @ weight), share * (1 - share)
    resolution = uncertainty - float(spread @ weight)
    return BrierParts(reliability, resolution, uncertainty, total - (reliability - resolution + uncertainty))


def calibration_parts(positive: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return what is known of a calibration without an interval; what is undefined is left out.

    Parameters
    ----------
    positive, probabilities
        As in `calibration_error`.

    Returns
    -------
    dict of str to float
        calibration_error, without what chance adds; brier_reliability, brier_resolution, brier_uncertainty and
        brier_within, of which the Brier score is made.

    Examples
    --------
    >>> calibration_parts(np.array([False, True, True, True]), np.array([0.25, 0.25, 0.75, 0.75]))["brier_uncertainty"]
    0.1875
    """
    error, parts = debiased_calibration_error(positive, probabilities), decompose_brier(positive, probabilities)
    known = {} if np.isnan(error) else {"calibration_error": error}
    return known | {f"brier_{name}": value for name, value in asdict(parts).items()}
