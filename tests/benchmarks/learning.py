"""How well networks and baselines tell abnormal phantoms from normal ones, by how many scans they were trained on.

Usage: python tests/benchmarks/learning.py [--difficulties medium,hard] [--sizes 70,140,350,700] [--seeds 101,102,…]
       [--networks lungs,compact,founding] [--keep FOLDER]

Writes LEARNING.md beside this file. FOLDER keeps cohorts and what was trained, so that an interrupted run goes on from
there: on two cores the default network takes some minutes for 140 scans, and all of it takes days.

Every network has its default settings. The seeds were never used to choose any of them. A size is that of the training
subset; the validation subset has a quarter as many scans, and the same unseen scans are scored at every size.
"""

import argparse
import csv
import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from ctmodel.settings import TrainSettings
from ctmodel.training.train import train
from ctprep import convert, find_scans
from ctprep.execution.cores import available_cores
from ctprep.phantom import CohortSettings, write_cohort

RESULTS = Path(__file__).with_name("LEARNING.md")
UNSEEN = 960
CLASSES = {"normal": ["CT-0"], "abnormal": ["CT-1", "CT-2", "CT-3", "CT-4"]}
SHOWN = {"auroc": "AUROC", "balanced_accuracy": "balanced accuracy", "log_loss": "log loss"}

Figures = dict[str, dict[str, float]]
"""Of a network and of each baseline: its scores on the unseen scans."""


def subsets_of(rows: list[dict[str, str]], size: int) -> Iterator[dict[str, str]]:
    """Yield the rows of a truth table with their subset: patients in order fill test, train and validation."""
    wanted = {"test": UNSEEN, "train": size, "validation": size // 4}
    subset_of: dict[str, str] = {}
    for row in rows:
        patient = row["patient"]
        if patient not in subset_of:
            subset_of[patient] = next((subset for subset, n in wanted.items() if n > 0), "")
        wanted[subset_of[patient]] = wanted.get(subset_of[patient], 0) - 1
        if subset_of[patient]:
            yield {name: row[name] for name in ("scan", "label", "patient")} | {"split": subset_of[patient]}


def cohort(folder: Path, difficulty: str, seed: int, *, scans: int) -> Path:
    """Return the raw folder of a cohort, drawn unless it is there."""
    raw = folder / f"{difficulty}-{seed}-{scans}"
    if not raw.exists():
        write_cohort(raw, settings=CohortSettings(scans, seed, difficulty), workers=available_cores())
    return raw


def figures_of(folder: Path, raw: Path, size: int, network: str, *, seed: int) -> Figures:
    """Return the scores on unseen scans, trained unless they are there."""
    cell = folder / f"{raw.name}-{size}-{network}"
    kept = cell.with_suffix(".json")
    if not kept.exists():
        store = _store(folder, raw, size)
        result = train(store, cell, TrainSettings(network=network, seed=seed), resume=True, progress=print)
        scored = {network: result.scores}
        if result.baselines:
            scored |= {one.name: one.test for one in result.baselines.baselines if one.test}
        values = {name: {key: one.value for key, one in scores.scores.items()} for name, scores in scored.items()}
        kept.write_text(json.dumps(values))
    figures: Figures = json.loads(kept.read_text())
    return figures


def _store(folder: Path, raw: Path, size: int) -> Path:
    table, store = folder / f"{raw.name}-{size}.csv", folder / f"{raw.name}-{size}.zarr"
    if not store.exists():
        rows = list(subsets_of(list(csv.DictReader((raw / "truth.csv").open())), size))
        with table.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
        convert(find_scans(raw, labels=table, classes=CLASSES), store)
    return store


def table_of(found: dict[tuple[str, int], dict[str, list[dict[str, float]]]]) -> Iterator[str]:
    """Yield the lines of the table: mean and standard deviation over the seeds."""
    yield "| cohort | trained on | classifier | seeds | " + " | ".join(SHOWN.values()) + " |"
    yield "|---" * (4 + len(SHOWN)) + "|"
    for (difficulty, size), classifiers in sorted(found.items()):
        for name, scores in classifiers.items():
            cells = [_mean_and_spread([one[key] for one in scores]) for key in SHOWN]
            yield f"| {difficulty} | {size} | {name} | {len(scores)} | {' | '.join(cells)} |"


def _mean_and_spread(values: list[float]) -> str:
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def main() -> None:
    args = arguments()
    found: dict[tuple[str, int], dict[str, list[dict[str, float]]]] = {}
    scans = UNSEEN + max(args.sizes) + max(args.sizes) // 4 + 20  # of patients who come again
    for seed, difficulty, size, network in product(args.seeds, args.difficulties, args.sizes, args.networks):
        raw = cohort(args.keep, difficulty, seed, scans=scans)
        for name, scores in figures_of(args.keep, raw, size, network, seed=seed).items():
            of_name = found.setdefault((difficulty, size), {}).setdefault(name, [])
            if name == network or network == args.networks[0]:  # the baselines once
                of_name.append(scores)
        text = (__doc__ or "").split("\n\n", 3)[3].strip()
        about = f"By `make bench-learning`. {text}\nMean ± standard deviation over seeds, {UNSEEN} unseen scans."
        RESULTS.write_text("\n".join(["# What is learnt from few scans", "", about, "", *table_of(found), ""]))
        print(f"{difficulty} {size} {network} seed {seed}: see {RESULTS.name}", flush=True)


def arguments() -> Any:
    def listed(kind: type) -> Any:
        return lambda text: [kind(one) for one in text.split(",")]

    parser = argparse.ArgumentParser(description="Train on few phantoms, and score on many.")
    parser.add_argument("--difficulties", type=listed(str), default=["medium", "hard"])
    parser.add_argument("--sizes", type=listed(int), default=[70, 140, 350, 700])
    parser.add_argument("--seeds", type=listed(int), default=[101, 102, 103, 104, 105])
    parser.add_argument("--networks", type=listed(str), default=["lungs", "compact", "founding"])
    parser.add_argument("--keep", type=Path, required=True)
    args = parser.parse_args()
    args.keep.mkdir(parents=True, exist_ok=True)
    return args


if __name__ == "__main__":
    main()
