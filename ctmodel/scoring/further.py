"""Every score of called classes and probabilities beside the few that are always shown."""

from collections.abc import Sequence

import numpy as np

from ctmodel.scoring import metrics
from ctmodel.scoring.calibration import recalibrate
from ctmodel.scoring.diagnostic import Estimate, diagnostic_estimates
from ctmodel.scoring.influence import kappa_influence, macro_f1_influence, partial_auroc_interval
from ctmodel.scoring.intervals import (
    auroc_interval,
    effective_number,
    influence_interval,
    interval_of_mean_share,
    mean_interval,
)

MAX_FPR = 0.1  # of the partial AUROC: more false alarms than one in ten normal scans are of little use


def estimates_of_two(
    positive: np.ndarray, scores: np.ndarray, called: np.ndarray, patients: np.ndarray, *, prevalence: float | None
) -> dict[str, Estimate]:
    """Return the further scores of two classes; those that are undefined are left out.

    Parameters
    ----------
    positive : (n,) bool array
        One at least is, and one is not.
    scores : (n,) float array
        Probabilities of the positive class.
    called : (n,) bool array
        Which were called positive.
    patients : (n,) array of str
        Whose scan it is.
    prevalence : float or None
        As in `diagnostic_estimates`.

    Returns
    -------
    dict of str to Estimate
        Those of `diagnostic_estimates`, partial_auroc (false positive rates up to 0.1), calibration_slope and
        calibration_intercept.
    """
    every = np.ones(len(positive), dtype=bool)
    found = diagnostic_estimates(positive, called, patients, prevalence=prevalence)
    partial = metrics.partial_auroc(positive, scores, max_fpr=MAX_FPR)
    interval = partial_auroc_interval(positive, scores, patients, max_fpr=MAX_FPR)
    found["partial_auroc"] = Estimate(partial, *interval, every)
    calibration = recalibrate(positive, scores, patients)
    if calibration:
        found["calibration_slope"] = Estimate(*calibration.slope, every)
        found["calibration_intercept"] = Estimate(*calibration.intercept, every)
    return found


def estimates_of_more(
    labels: np.ndarray, probabilities: np.ndarray, called: np.ndarray, patients: np.ndarray, classes: Sequence[str]
) -> dict[str, Estimate]:
    """Return the further scores of more than two classes; those that are undefined are left out.

    Parameters
    ----------
    labels, called : (n,) int array
        True and called class; two classes at least are present.
    probabilities : (n, classes) float array
    patients : (n,) array of str
        Whose scan it is.
    classes : sequence of str

    Returns
    -------
    dict of str to Estimate
        balanced_accuracy, the mean recall of the classes present; macro_f1; and of each class against all others
        "auroc NAME" and the scores of `diagnostic_estimates`, as "ppv NAME".
    """
    every, shares = np.ones(len(labels), dtype=bool), []
    of_classes: dict[str, Estimate] = {}
    for label in np.unique(labels):
        own, is_called = labels == label, called == label
        whose = np.unique(patients[own], return_inverse=True)[1]
        shares.append((float(is_called[own].mean()), effective_number(is_called[own].astype(float), whose)))
        area = metrics.auroc(own, probabilities[:, label])
        interval = auroc_interval(own, probabilities[:, label], patients)
        estimates = {"auroc": Estimate(area, *interval, every)} | diagnostic_estimates(own, is_called, patients)
        of_classes |= {f"{name} {classes[label]}": estimate for name, estimate in estimates.items()}
    recalls, numbers = zip(*shares, strict=True)
    found = {"balanced_accuracy": Estimate(float(np.mean(recalls)), *interval_of_mean_share(recalls, numbers), every)}
    f1 = metrics.macro_f1(labels, called, len(classes))
    if not np.isnan(f1):
        interval = influence_interval(f1, macro_f1_influence(labels, called, len(classes)), patients)
        found["macro_f1"] = Estimate(f1, *interval, every)
    return found | of_classes


def ordinal_estimates(
    labels: np.ndarray, called: np.ndarray, patients: np.ndarray, *, n_classes: int
) -> dict[str, Estimate]:
    """Return the scores of classes that are in the order of severity.

    Parameters
    ----------
    labels, called : (n,) int array
        True and called class; two classes at least are present.
    patients : (n,) array of str
        Whose scan it is.
    n_classes : int

    Returns
    -------
    dict of str to Estimate
        quadratic_kappa, and class_distance, the mean number of classes that a call is off.
    """
    every = np.ones(len(labels), dtype=bool)
    kappa, influences = metrics.quadratic_kappa(labels, called), kappa_influence(labels, called)
    distances = metrics.class_distances(labels, called).astype(float)
    off = mean_interval(distances, patients, largest=n_classes - 1)
    return {
        "quadratic_kappa": Estimate(kappa, *influence_interval(kappa, influences, patients, lowest=-1.0), every),
        "class_distance": Estimate(float(distances.mean()), *off, every),
    }
