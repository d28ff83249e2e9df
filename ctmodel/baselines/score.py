"""From a store and a split to the scores of every baseline, in one pass over the volumes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from ctmodel.baselines import classifier, lung_histogram, lung_texture, metadata
from ctmodel.baselines.results import Baselines, BaselineScores
from ctmodel.data.batches import VolumeReader
from ctmodel.data.order import cut_batches
from ctmodel.data.split import SUBSETS, Split, merge_patients, split_by_folds
from ctmodel.devices.prefetch import mapped
from ctmodel.errors import ScoreError, SplitError
from ctmodel.scoring.comparison import Answers
from ctmodel.scoring.folds import called_of_pooled, fold_auroc, pool, score_pooled
from ctmodel.scoring.scores import Predictions, Score, choose_threshold, score
from ctprep.execution.cores import available_cores
from ctprep.store.store import Store
from ctprep.volume.intensity import hu_from_unit, unit_from_stored
from ctprep.volume.lungs import find_lungs

FOLDS, FEW_FOR_FOLDS = 5, 40
"""Of the cross-validation in which metadata are searched for a shortcut, as a test subset alone is often too small; and
the fewest patients for it."""
WIDER = (1 + FOLDS / (FOLDS - 1)) ** 0.5
"""Times the interval for patients drawn anew is that for baselines trained anew as well: the correction of Nadeau and
Bengio (2003, Machine Learning 52:239). Without it 9 % of clean cohorts got the note, make bench-statistics."""
BATCH = 8
"""Volumes that a thread describes at once; a few times this many are in memory."""

Features = dict[str, np.ndarray]


@dataclass(frozen=True)
class _Case:
    """One volume, to be described."""

    volume: np.ndarray
    window: tuple[float, float]
    spacing_mm: tuple[float, float, float]


def score_baselines(store: Store, split: Split, features: Features, *, threshold: str = "half") -> Baselines:
    """Train every baseline on the training subset of a store, and score it on the others.

    Parameters
    ----------
    store : Store
    split : Split
        The subset of each row.
    features : dict of str to array
        What `describe_rows` returned for the rows of all subsets.
    threshold : {"half", "validation"}
        What chooses the threshold of a baseline, as that of a network.

    Returns
    -------
    Baselines
        One that cannot be trained or scored says why.
    """
    scored = score_each(store, split, features, threshold=threshold)
    return Baselines(tuple(scored), _shortcut_of(store, labelled_rows(split), features))


def pool_baselines(store: Store, splits: Sequence[Split], features: Features, *, threshold: str = "half") -> Baselines:
    """Cross-validate every baseline, and score the test subsets of all folds as one.

    Parameters
    ----------
    store, threshold
        As in `score_baselines`.
    splits : sequence of Split
        The folds.
    features : dict of str to array
        What `describe_rows` returned for the labelled rows.

    Returns
    -------
    Baselines
        Without scores of validation. One that cannot be trained or scored in a fold says why.
    """
    folds = [score_each(store, split, features, threshold=threshold) for split in splits]
    pooled = tuple(_pooled(of_folds, store.classes) for of_folds in zip(*folds, strict=True))
    return Baselines(pooled, _shortcut_of(store, labelled_rows(splits[0]), features))


def _pooled(folds: Sequence[BaselineScores], classes: Sequence[str]) -> BaselineScores:
    failure = next((scored.failure for scored in folds if scored.failure), None)
    if failure:
        return replace(folds[0], validation=None, test=None, failure=failure, answers=None)
    thresholds = [scored.test.threshold for scored in folds if scored.test]
    said = [scored.answers.predictions for scored in folds if scored.answers]
    together = Answers(pool(said), called_of_pooled(said, thresholds))
    scores = score_pooled(said, thresholds, classes=classes)
    return replace(folds[0], validation=None, test=scores, answers=together)


def labelled_rows(split: Split) -> np.ndarray:
    """Return the rows that are in a subset, in order."""
    return np.sort(np.concatenate([split.rows(subset) for subset in SUBSETS]))


def score_each(store: Store, split: Split, features: Features, *, threshold: str) -> list[BaselineScores]:
    """Return what becomes of each baseline, as `score_baselines`."""
    rows = labelled_rows(split)
    patients = _patients_of(store, rows)
    with threadpool_limits(1, user_api="blas"):
        return [
            _scored(name, values, store, rows, patients, split, threshold=threshold)
            for name, values in features.items()
        ]


def _patients_of(store: Store, rows: np.ndarray) -> np.ndarray:
    """Return the patient of each row, merged as in a split."""
    return np.array(merge_patients(store.patients, store.checksums.tolist()))[rows]


def _shortcut_of(store: Store, rows: np.ndarray, features: Features) -> Score | None:
    with threadpool_limits(1, user_api="blas"):
        return find_shortcut(
            features[metadata.NAME], store.labels[rows], _patients_of(store, rows).tolist(), classes=store.classes
        )


def find_shortcut(
    features: np.ndarray, labels: np.ndarray, patients: Sequence[str], *, classes: Sequence[str]
) -> Score | None:
    """Return how well metadata alone tell the classes apart, in a cross-validation of all scans.

    Parameters
    ----------
    features : (n, k) array
        Of `ctmodel.baselines.metadata`.
    labels : (n,) int array
    patients : sequence of n str
    classes : sequence of str

    Returns
    -------
    Score or None
        The mean AUROC over folds, and over classes where there are more than two, with an interval that knows that
        folds share what they learn from; None of fewer than 40 patients, or
        where a class has too few for folds.
    """
    names = np.array(patients)
    if len(np.unique(names)) < FEW_FOR_FOLDS:
        return None
    folds, chances = np.zeros(len(labels), dtype=int), np.empty((len(labels), len(classes)))
    numbers = np.arange(1 if len(classes) == 2 else 0, len(classes))
    try:
        for fold in range(1, FOLDS + 1):
            division = split_by_folds(
                labels, names.tolist(), classes=classes, validation=1 / FOLDS, folds=FOLDS, fold=fold, seed=0
            )
            tested = division.rows("test")
            learnt = np.setdiff1d(np.arange(len(labels)), tested)
            fitted = classifier.fit(features[learnt], labels[learnt], n_classes=len(classes))
            folds[tested], chances[tested] = fold, fitted.probabilities(features[tested])
        found = [fold_auroc(labels == label, chances[:, label], names, folds) for label in numbers]
    except (ScoreError, SplitError):
        return None
    low, high = np.mean([interval for _, interval in found], axis=0).tolist()
    value = float(np.mean([value for value, _ in found]))
    low, high = max(0.0, value - WIDER * (value - low)), min(1.0, value + WIDER * (high - value))
    return Score(value, low, high, n=len(labels), patients=len(np.unique(names)))


def describe_rows(store: Store, reader: VolumeReader, rows: np.ndarray) -> Features:
    """Return the (n, k) features of some rows for each baseline, in the order in which the baselines are shown.

    Threads describe some volumes while the next are read, so that few are in memory.

    Raises
    ------
    BadVolume, StoreChanged
        If a volume is missing or damaged, or the store is replaced meanwhile.
    """
    # Matrices this small are 20 times as slow where BLAS shares them among threads, and rounded by their number.
    with threadpool_limits(1, user_api="blas"):
        return _described(store, reader, rows)


def _described(store: Store, reader: VolumeReader, rows: np.ndarray) -> Features:
    described: list[tuple[np.ndarray, ...]] = []
    for batch in mapped(_describe_batch, _batches(store, reader, rows), ahead=available_cores()):
        described += batch
    sizes = (len(lung_histogram.EDGES_HU) + 1, lung_texture.N_FEATURES, metadata.N_OF_VOLUME)
    histogram, texture, of_volume = (
        np.array([row[place] for row in described]).reshape(-1, size) for place, size in enumerate(sizes)
    )
    return {
        "prevalence": np.empty((len(rows), 0)),
        "lung histogram": histogram,
        "lung texture": texture,
        metadata.NAME: np.concatenate([metadata.describe_records(store, rows), of_volume], axis=1),
    }


def _batches(store: Store, reader: VolumeReader, rows: np.ndarray) -> Iterator[list[_Case]]:
    window = store.recipe.window
    for batch in reader.read(cut_batches(rows, BATCH)):
        spacings = [store.spacing_mm(row) for row in batch.rows.tolist()]
        yield [_Case(volume, window, spacing) for volume, spacing in zip(batch.volumes, spacings, strict=True)]


def _describe_batch(cases: list[_Case]) -> list[tuple[np.ndarray, ...]]:
    return [_describe(case) for case in cases]


def _describe(case: _Case) -> tuple[np.ndarray, ...]:
    lower, upper = case.window
    hu = hu_from_unit(unit_from_stored(case.volume), lower=lower, upper=upper)
    lungs = find_lungs(hu, spacing_mm=case.spacing_mm)
    return (
        lung_histogram.describe(hu, lungs),
        lung_texture.describe(hu, lungs, spacing_mm=case.spacing_mm),
        metadata.describe_volume(hu),
    )


def _scored(
    name: str,
    features: np.ndarray,
    store: Store,
    rows: np.ndarray,
    patients: np.ndarray,
    split: Split,
    *,
    threshold: str,
) -> BaselineScores:
    """Train one baseline on the rows that train, and score it on the others."""
    n_features = features.shape[1]
    without = int(np.count_nonzero(np.isnan(features).all(axis=1))) if n_features else 0
    subset_of = np.array(split.subsets)[rows]
    learnt, chosen, tested = (np.flatnonzero(subset_of == subset) for subset in SUBSETS)
    try:
        fitted = classifier.fit(features[learnt], store.labels[rows[learnt]], n_classes=len(store.classes))
        validation, test = (
            Predictions(
                scans=tuple(store.scans[row] for row in rows[places]),
                patients=tuple(patients[places].tolist()),
                labels=store.labels[rows[places]],
                probabilities=fitted.probabilities(features[places]),
            )
            for places in (chosen, tested)
        )
        at = choose_threshold(validation, by=threshold)
        of_validation, of_test = (
            score(predictions, classes=store.classes, subset=subset, threshold=at)
            for subset, predictions in (("validation", validation), ("test", test))
        )
    except ScoreError as error:
        return BaselineScores(name, n_features, without, failure=str(error))
    answers = Answers.at(test, at)
    return BaselineScores(name, n_features, without, validation=of_validation, test=of_test, answers=answers)
