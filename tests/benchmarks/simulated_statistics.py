"""How often 95 % intervals hold the truth, and how often comparisons find a difference, in simulated experiments.

Usage: python tests/benchmarks/simulated_statistics.py [--trials 2000] [--keep FOLDER] [--tables two,size]
       [--finished]

Writes STATISTICS.md beside this file. FOLDER keeps what has been simulated, so that an interrupted run goes on from
there. Half an hour on one core.

The scans of an experiment are those of normal and abnormal patients, whose places on one axis are normally distributed
with standard deviation 1 in each class, and the distance between classes gives the AUROC. Half of the variance of a
scan is its patient's where a patient has several. A network gives the probability expit(1.5 x), x being the place from
the middle between the classes, which calls positive beyond the middle and is not calibrated. The truth is integrated.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, softmax
from scipy.stats import norm
from simulated_shortcuts import note_rate

from ctmodel.scoring import metrics
from ctmodel.scoring.comparison import Answers, compare
from ctmodel.scoring.diagnostic import (
    matthews_correlation,
    negative_likelihood_ratio,
    negative_predictive_value,
    positive_likelihood_ratio,
    positive_predictive_value,
)
from ctmodel.scoring.folds import fold_auroc, mean_of_folds
from ctmodel.scoring.further import MAX_FPR
from ctmodel.scoring.intervals import auroc_interval, placements
from ctmodel.scoring.scores import Predictions, Score, Threshold, score

RESULTS = Path(__file__).with_name("STATISTICS.md")
HALF = Threshold(0.5, "half")
SURENESS = 1.5
SHARED = 0.5
PREVALENCE = 0.05
PATIENTS, SHARES, AREAS, SCANS_EACH = (40, 140, 1000), (0.5, 0.1), (0.5, 0.75, 0.95), (1, 3)
# resamples in a simulated comparison, for speed; `compare` itself takes more
N_RESAMPLES = 300

Found = dict[str, list[int]]
"""Of each score: how many intervals held the truth, and of how many."""


def distance_of(area: float) -> float:
    """Return the distance between two classes, in standard deviations."""
    return float(np.sqrt(2) * norm.ppf(area))


def places(random: np.random.Generator, patients: np.ndarray, *, shared: float) -> np.ndarray:
    """Draw one standard normal number for each scan, of whose variance a share is the patient's."""
    own, common = random.normal(size=len(patients)), random.normal(size=patients.max() + 1)[patients]
    return np.sqrt(1 - shared) * own + np.sqrt(shared) * common


def patients_of(n: int, scans_each: int) -> np.ndarray:
    return np.repeat(np.arange(n), scans_each)


def predictions_of(patients: np.ndarray, labels: np.ndarray, probabilities: np.ndarray) -> Predictions:
    names = tuple(map(str, range(len(labels))))
    return Predictions(names, tuple(patients.tolist()), labels, probabilities)


def two_columns(chances: np.ndarray) -> np.ndarray:
    return np.stack([1 - chances, chances], axis=1)


def draw(
    random: np.random.Generator, *, n: int, share: float, areas: Sequence[float], scans_each: int, fixed: bool = True
) -> list[Predictions]:
    """Draw the predictions of a network for each AUROC; those of several have half their errors in common.

    The number of positive patients is the same each time where it is fixed, and random as in a cohort where it is not.
    """
    patients = patients_of(n, scans_each)
    is_positive = np.arange(n) < round(n * share) if fixed else random.random(n) < share
    labels, shared = is_positive[patients].astype(int), SHARED if scans_each > 1 else 0.0
    common, same = places(random, patients, shared=shared), 0.5 if len(areas) > 1 else 0.0
    drawn = []
    for distance in map(distance_of, areas):
        noise = np.sqrt(same) * common + np.sqrt(1 - same) * places(random, patients, shared=shared)
        chances = expit(SURENESS * (noise + distance * (labels - 0.5)))
        drawn.append(predictions_of(patients, labels, two_columns(chances)))
    return drawn


def truth_of_two(share: float, area: float) -> dict[str, float]:
    """Return every score of the network on infinitely many scans with a share of positives."""
    distance = distance_of(area)
    rate = float(norm.cdf(distance / 2))
    rates = np.array(rate), np.array(rate)
    x, step = np.linspace(-9, 9, 36_001, retstep=True)
    of_positive, of_negative = norm.pdf(x - distance / 2) * step, norm.pdf(x + distance / 2) * step
    chances = two_columns(expit(SURENESS * x))
    above, above_of_negative = norm.sf(x - distance / 2), norm.sf(x + distance / 2)
    precision = share * above / (share * above + (1 - share) * above_of_negative)

    def expected(loss: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> float:
        ones, zeros = np.ones(len(x), dtype=int), np.zeros(len(x), dtype=int)
        return float(share * of_positive @ loss(ones, chances) + (1 - share) * of_negative @ loss(zeros, chances))

    def excess(shift: float) -> float:
        return share - float((share * of_positive + (1 - share) * of_negative) @ expit(shift + SURENESS * x))

    fpr = (np.arange(10_000) + 0.5) / 10_000 * MAX_FPR
    partial = float(np.mean(norm.cdf(distance + norm.ppf(fpr)))) * MAX_FPR
    return {
        "auroc": area,
        "average_precision": float(of_positive @ precision),
        "partial_auroc": metrics.standardized_area(partial, MAX_FPR),
        **dict.fromkeys(("accuracy", "balanced_accuracy", "sensitivity", "specificity"), rate),
        "ppv": float(positive_predictive_value(*rates, share)),
        "npv": float(negative_predictive_value(*rates, share)),
        "ppv_at_prevalence": float(positive_predictive_value(*rates, PREVALENCE)),
        "npv_at_prevalence": float(negative_predictive_value(*rates, PREVALENCE)),
        "f1": 2 * rate * share / (rate * share + (1 - rate) * (1 - share) + share),
        "mcc": float(matthews_correlation(*rates, share)),
        "lr_positive": float(positive_likelihood_ratio(*rates)),
        "lr_negative": float(negative_likelihood_ratio(*rates)),
        "brier": expected(metrics.brier_scores),
        "log_loss": expected(metrics.log_losses),
        "calibration_slope": distance / SURENESS,
        "calibration_intercept": float(brentq(excess, -10, 10)),
    }


def coverage_of_two(
    random: np.random.Generator, trials: int, *, n: int, share: float, area: float, scans_each: int, fixed: bool = True
) -> Found:
    """Return how often the interval of each score of two classes holds the truth."""
    truth = truth_of_two(share, area)
    found: Found = {name: [0, 0] for name in truth}
    for _ in range(trials):
        (drawn,) = draw(random, n=n, share=share, areas=[area], scans_each=scans_each, fixed=fixed)
        scores = score(drawn, classes=("normal", "abnormal"), subset="test", threshold=HALF, prevalence=PREVALENCE)
        count_held(found, truth, scores.all_scores())
    return found


def count_held(found: Found, truth: dict[str, float], scores: dict[str, Score]) -> None:
    for name in truth.keys() & scores.keys():
        found[name][0] += scores[name].low - 1e-12 <= truth[name] <= scores[name].high + 1e-12
        found[name][1] += 1


def draw_grades(random: np.random.Generator, *, n: int, area: float, scans_each: int) -> Predictions:
    """Draw predictions of three grades on one axis, as many patients of each, neighbours with an AUROC between them."""
    patients, distance = patients_of(n, scans_each), distance_of(area)
    labels = patients % 3
    x = places(random, patients, shared=SHARED if scans_each > 1 else 0.0) + distance * (labels - 1)
    chances = softmax(SURENESS * (distance * np.outer(x, [-1, 0, 1]) - distance**2 / 2 * np.array([1, 0, 1])), axis=1)
    return predictions_of(patients, labels, chances)


def coverage_of_grades(random: np.random.Generator, trials: int, *, n: int, area: float, scans_each: int) -> Found:
    """Return how often the interval of each score of three grades holds that of 300,000 scans."""
    how = {"classes": ("a", "b", "c"), "subset": "test", "threshold": HALF, "ordered": True}
    many = score(draw_grades(np.random.default_rng(1), n=300_000, area=area, scans_each=1), **how).all_scores()
    truth = {name: entry.value for name, entry in many.items()}
    found: Found = {name: [0, 0] for name in truth}
    for _ in range(trials):
        count_held(found, truth, score(draw_grades(random, n=n, area=area, scans_each=scans_each), **how).all_scores())
    return found


def coverage_of_folds(random: np.random.Generator, trials: int, *, n: int, area: float) -> Found:
    """Return how often intervals of a five-fold cross-validation hold the AUROC expected of a network trained anew.

    The network is a linear discriminant of ten features, one of which tells the classes apart.
    """
    labels, distance, features, k = np.arange(n) % 2, distance_of(area), 10, 5
    folds = np.arange(n) // 2 % k

    def trained(rows: np.ndarray, data: np.ndarray) -> np.ndarray:
        return data[rows & (labels == 1)].mean(axis=0) - data[rows & (labels == 0)].mean(axis=0)

    def draw_features() -> np.ndarray:
        return random.normal(size=(n, features)) + distance * labels[:, None] * np.eye(features)[0]

    def area_of(weights: np.ndarray) -> float:
        return float(norm.cdf(distance * weights[0] / np.linalg.norm(weights) / np.sqrt(2)))

    truth = float(np.mean([area_of(trained(folds != 0, draw_features())) for _ in range(4000)]))
    names = ("mean over folds, Nadeau and Bengio", "mean over folds, by influence", "pooled")
    found: Found = {name: [0, 0] for name in names}
    patients = np.arange(n)
    for _ in range(trials):
        data, scores = draw_features(), np.empty(n)
        for fold in range(k):
            scores[folds == fold] = data[folds == fold] @ trained(folds != fold, data)
        of_folds = [metrics.auroc(labels[folds == fold] == 1, scores[folds == fold]) for fold in range(k)]
        intervals = (
            mean_of_folds(of_folds, test_share=1 / (k - 1))[1],
            fold_auroc(labels == 1, scores, patients, folds)[1],
            auroc_interval(labels == 1, scores, patients),
        )
        for name, (low, high) in zip(names, intervals, strict=True):
            found[name][0] += low <= truth <= high
            found[name][1] += 1
    return found


def rejections(
    random: np.random.Generator, trials: int, *, n: int, share: float, areas: Sequence[float], scans_each: int
) -> Found:
    """Return how often two networks are found to differ at 5 %."""
    found: Found = {}
    for _ in range(trials):
        one, other = draw(random, n=n, share=share, areas=areas, scans_each=scans_each)
        for difference in compare(Answers.at(one, HALF), Answers.at(other, HALF), n_resamples=N_RESAMPLES):
            counts = found.setdefault(difference.score, [0, 0])
            counts[0] += difference.p < 0.05
            counts[1] += 1
    return found


def power(random: np.random.Generator, trials: int, **how: Any) -> Found:
    """Return how often two networks that differ are found to, and how often the theory of large samples says."""
    found = rejections(random, trials, **how)
    expected = power_by_theory(n=how["n"], share=how["share"], areas=how["areas"])
    return found | {f"{name}, by theory": [round(trials * rate), trials] for name, rate in expected.items()}


def power_by_theory(*, n: int, share: float, areas: Sequence[float]) -> dict[str, float]:
    """Return the power of a normal test at 5 %, with the variances within classes of 200,000 scans.

    Of the AUROC those of placements (DeLong and others 1988), of the other scores those of the scans' own values.
    """
    large = 200_000
    one, other = draw(np.random.default_rng(1), n=large, share=0.5, areas=areas, scans_each=1)
    positive, sizes = one.labels == 1, {1: n * share, 0: n * (1 - share)}
    values = {"accuracy": [], "brier": [], "log_loss": []}  # type: dict[str, list[np.ndarray]]
    placed = [placements(said.probabilities[positive, 1], said.probabilities[~positive, 1]) for said in (one, other)]
    for said in (one, other):
        values["accuracy"].append((said.probabilities[:, 1] >= 0.5) == positive)
        values["brier"].append(metrics.brier_scores(said.labels, said.probabilities))
        values["log_loss"].append(metrics.log_losses(said.labels, said.probabilities))
    by_class = {"auroc": {1: placed[0][0] - placed[1][0], 0: placed[0][1] - placed[1][1]}}
    for name, (ours, theirs) in values.items():
        difference = ours.astype(float) - theirs
        by_class[name] = {1: difference[positive], 0: difference[~positive]}
    found = {}
    for name, groups in by_class.items():
        weights = {1: 1.0, 0: 1.0} if name == "auroc" else {1: share, 0: 1 - share}
        variance = sum(weights[label] ** 2 * groups[label].var() / sizes[label] for label in (0, 1))
        value = groups[1].mean() if name == "auroc" else sum(weights[label] * groups[label].mean() for label in (0, 1))
        found[name] = float(norm.cdf(abs(value) / np.sqrt(variance) - norm.ppf(0.975)))
    return found


Cell = tuple[str, Callable[..., Found], int, dict[str, Any]]


def cells(trials: int) -> Iterator[Cell]:
    """Name every simulated experiment: its table, its function, its trials and its arguments."""
    for n, share, area, each in product(PATIENTS, SHARES, AREAS, SCANS_EACH):
        how = {"n": n, "share": share, "area": area, "scans_each": each}
        yield "two", coverage_of_two, trials // 4 if n == 1000 else trials, how
    for share, area in product(SHARES, AREAS):
        yield (
            "cohort",
            coverage_of_two,
            trials,
            {"n": 140, "share": share, "area": area, "scans_each": 1, "fixed": False},
        )
    for n, area, each in product((42, 141), AREAS[1:], SCANS_EACH):
        fewer = trials // 4
        yield "grades", coverage_of_grades, fewer, {"n": n, "area": area, "scans_each": each}
    for n, area in product((40, 140, 1000), AREAS[1:]):
        yield "folds", coverage_of_folds, trials // 4, {"n": n, "area": area}
    for n, each, share, area in [*product((40, 140), (1,), SHARES, AREAS), *product((40,), (3,), SHARES, AREAS)]:
        yield "size", rejections, trials, {"n": n, "share": share, "areas": (area, area), "scans_each": each}
    for share, area in product(SHARES, AREAS):
        fewer = trials // 4
        yield "size", rejections, fewer, {"n": 1000, "share": share, "areas": (area, area), "scans_each": 1}
    for n, share in product(PATIENTS, SHARES):
        fewer = trials // 4 if n == 1000 else trials
        yield "power", power, fewer, {"n": n, "share": share, "areas": (0.85, 0.75), "scans_each": 1}
    for confound, table in product((0.0, 0.3, 0.6, 1.0), (False, True)):
        cohorts = trials // 2 if confound == 0 else trials // 10
        yield "shortcuts", note_rate, cohorts, {"n": 140, "confound": confound, "table": table}


def kept_as(cell: Cell, folder: Path) -> Path:
    """Return the file that an experiment is kept in."""
    table, _, trials, how = cell
    return folder / ("-".join([table, str(trials), *map(str, how.values())]).replace(" ", "") + ".json")


def simulate(cell: Cell, folder: Path) -> Found:
    """Return what an experiment found, from the folder if it was simulated before."""
    _, function, trials, how = cell
    kept = kept_as(cell, folder)
    if not kept.exists():
        found = function(np.random.default_rng(2026), trials, **how)
        partial = kept.with_suffix(".partial")
        partial.write_text(json.dumps(found))
        partial.replace(kept)
        print(kept.stem, flush=True)
    return json.loads(kept.read_text())


TABLES = {
    "two": "Two classes: how often, in per cent, the 95 % interval holds the truth",
    "cohort": "The same where the number of positives is random, as in a cohort",
    "grades": "Three grades, as many patients of each",
    "folds": "Five-fold cross-validation of a discriminant: the AUROC expected of a network trained anew",
    "size": "Comparison of two networks that are equally good: how often, in per cent, p is below 0.05",
    "power": "Comparison of a network with an AUROC of 0.85 to one of 0.75: how often, in per cent, p is below 0.05",
    "shortcuts": "Cohorts of phantoms: how often, in per cent, a note says that the metadata give the classes away",
}


def report(found: list[tuple[Cell, Found]]) -> str:
    """Return the tables of all experiments in Markdown."""
    lines = [
        "# Intervals and comparisons in simulated experiments",
        "",
        "Written by `make bench-statistics`. A column is a number of patients, the ratio of negatives to positives,",
        "and the scans of each patient; an entry is the range over AUROCs of "
        f"{', '.join(map(str, AREAS))}. What is undefined in an experiment is not",
        "counted. With 2,000 experiments an entry of 95 is right to 1, one of 5 to 1; with 500 to 2.",
    ]
    for table, title in TABLES.items():
        of_table = [(cell, counts) for cell, counts in found if cell[0] == table]
        if of_table:
            lines += ["", f"## {title}", "", *_rows(of_table)]
    return "\n".join(lines) + "\n"


def _rows(found: list[tuple[Cell, Found]]) -> list[str]:
    columns = list(dict.fromkeys(_column(cell) for cell, _ in found))
    names = list(dict.fromkeys(name for _, counts in found for name in counts))
    rows = [["", *columns], ["---"] * (len(columns) + 1)]
    for name in names:
        of_name = [(_column(cell), 100 * counts[name][0] / counts[name][1]) for cell, counts in found if name in counts]
        entries = [[value for own, value in of_name if own == column] for column in columns]
        rows.append([name.replace("_", " "), *(_range(entry) for entry in entries)])
    return ["| " + " | ".join(row) + " |" for row in rows]


def _column(cell: Cell) -> str:
    _, _, trials, how = cell
    ratio = {0.5: "1:1", 0.1: "9:1"}.get(how.get("share"))
    scans = f"{how['scans_each']} scan" + "s" * (how["scans_each"] > 1) if "scans_each" in how else None
    counted = f"{how['n']} scans" if "confound" in how else f"{how['n']} patients"
    confound = f"confound {how['confound']}" if "confound" in how else None
    table = {True: "scanners in the table", False: "files only", None: None}[how.get("table")]
    return ", ".join(filter(None, [counted, ratio, scans, confound, table, f"{trials:,} times"]))


def _range(values: list[float]) -> str:
    low, high = f"{min(values):.0f}", f"{max(values):.0f}"
    return low if low == high else f"{low}–{high}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--keep", type=Path, help="folder of what has been simulated")
    parser.add_argument("--tables", default=",".join(TABLES), help="simulate these only")
    parser.add_argument("--finished", action="store_true", help="simulate nothing, and write what the folder holds")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.keep or Path(temporary)
        folder.mkdir(exist_ok=True, parents=True)
        wanted = [cell for cell in cells(chosen.trials) if cell[0] in chosen.tables.split(",")]
        if chosen.finished:
            wanted = [cell for cell in wanted if kept_as(cell, folder).exists()]
        found = [(cell, simulate(cell, folder)) for cell in wanted]
    RESULTS.write_text(report(found))
    print(RESULTS)


if __name__ == "__main__":
    main()
