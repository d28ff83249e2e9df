"""Finished runs with the predictions that a test wants, written in no time."""

from pathlib import Path

import numpy as np

from ctmodel.run.history import Epoch
from ctmodel.run.records import NetworkRecord, SplitRow, StoreRecord
from ctmodel.run.run_folder import Run
from ctmodel.scoring import metrics
from ctmodel.scoring.scores import Predictions, Threshold, score
from ctmodel.settings import TrainSettings
from ctprep.volume.recipe import Recipe


def write_run(path, labels, probabilities, *, classes=("normal", "abnormal"), scans_each=1, settings=None) -> Path:
    """Write a run whose test subset has these labels and probabilities."""
    run, names = Run(path), [f"scan{number}" for number in range(len(labels))]
    rows = [
        SplitRow(scan, f"patient{number // scans_each}", classes[label], "test", "0" * 64, str(number))
        for number, (scan, label) in enumerate(zip(names, labels, strict=True))
    ]
    recipe = Recipe(shape=(16, 16, 8)).to_dict()
    recipe = {name: list(value) if isinstance(value, tuple) else value for name, value in recipe.items()}
    store = StoreRecord("../out.zarr", recipe, tuple(classes), len(rows), "f" * 64)
    network = NetworkRecord("compact", (16, 16, 8), len(classes), "float32")
    run.begin(settings or TrainSettings(), store, network, rows)
    run.weights.write_bytes(b"weights")
    run.write_history([Epoch(epoch, 0.001, 1 / epoch, 0.5, 0.5, 0.6, 0.6, 0.6) for epoch in (1, 2, 3)])
    predictions = Predictions(
        tuple(names), tuple(row.patient for row in rows), np.array(labels), np.array(probabilities, dtype=float)
    )
    threshold = Threshold(0.5, "half" if len(classes) == 2 else "likeliest")
    called = metrics.predicted_classes(predictions.probabilities, threshold=threshold.value)
    run.write_predictions(predictions, subsets=["test"] * len(rows), called=called.tolist(), classes=classes)
    run.write_scores(score(predictions, classes=classes, subset="test", threshold=threshold))
    return run.path


def drawn(n, *, classes=2, skill=1.0, seed=0):
    """Return labels and probabilities of n scans of as many of each class."""
    labels = np.arange(n) % classes
    logits = np.random.default_rng(seed).normal(size=(n, classes)) + skill * np.eye(classes)[labels]
    chances = np.exp(logits)
    return labels, chances / chances.sum(axis=1, keepdims=True)
