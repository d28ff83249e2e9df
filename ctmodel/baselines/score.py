"""From a store and a split to the scores of every baseline, in one pass over the volumes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from ctmodel.baselines import classifier, lung_histogram, lung_texture, metadata
from ctmodel.baselines.results import Baselines, BaselineScores
from ctmodel.data.batches import VolumeReader
from ctmodel.data.order import cut_batches
from ctmodel.data.split import SUBSETS, Split
from ctmodel.devices.prefetch import mapped
from ctmodel.errors import ScoreError
from ctmodel.scoring.folds import score_pooled
from ctmodel.scoring.scores import Predictions, choose_threshold, score
from ctprep.execution.cores import available_cores
from ctprep.store.store import Store
from ctprep.volume.intensity import hu_from_unit, unit_from_stored
from ctprep.volume.lungs import find_lungs

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
    return Baselines(tuple(scored for scored, _ in _score_each(store, split, features, threshold=threshold)))


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
    folds = [_score_each(store, split, features, threshold=threshold) for split in splits]
    return Baselines(tuple(_pooled(of_folds, store.classes) for of_folds in zip(*folds, strict=True)))


def _pooled(folds: Sequence[tuple[BaselineScores, Predictions | None]], classes: Sequence[str]) -> BaselineScores:
    first = folds[0][0]
    failure = next((scored.failure for scored, _ in folds if scored.failure), None)
    if failure:
        return replace(first, validation=None, test=None, failure=failure)
    thresholds = [scored.test.threshold for scored, _ in folds if scored.test]
    pooled = score_pooled([said for _, said in folds if said], thresholds, classes=classes)
    return replace(first, validation=None, test=pooled)


def _rows_of(split: Split) -> np.ndarray:
    return np.sort(np.concatenate([split.rows(subset) for subset in SUBSETS]))


def _score_each(
    store: Store, split: Split, features: Features, *, threshold: str
) -> list[tuple[BaselineScores, Predictions | None]]:
    with threadpool_limits(1, user_api="blas"):
        return [
            _scored(name, values, store, _rows_of(split), split, threshold=threshold)
            for name, values in features.items()
        ]


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
    name: str, features: np.ndarray, store: Store, rows: np.ndarray, split: Split, *, threshold: str
) -> tuple[BaselineScores, Predictions | None]:
    """Train one baseline on the rows that train, and score it on the others; return what it says of the test too."""
    n_features = features.shape[1]
    without = int(np.count_nonzero(np.isnan(features).all(axis=1))) if n_features else 0
    subset_of = np.array(split.subsets)[rows]
    learnt, chosen, tested = (np.flatnonzero(subset_of == subset) for subset in SUBSETS)
    try:
        fitted = classifier.fit(features[learnt], store.labels[rows[learnt]], n_classes=len(store.classes))
        validation, test = (
            Predictions(
                scans=tuple(store.scans[row] for row in rows[places]),
                patients=tuple(store.patients[row] for row in rows[places]),
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
        return BaselineScores(name, n_features, without, failure=str(error)), None
    return BaselineScores(name, n_features, without, validation=of_validation, test=of_test), test
