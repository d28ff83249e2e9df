"""From a store and a split to the scores of every baseline, in one pass over the volumes."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from ctmodel.baselines import classifier, lung_histogram, lung_texture, metadata
from ctmodel.baselines.results import Baselines, BaselineScores
from ctmodel.data.batches import VolumeReader
from ctmodel.data.order import cut_batches
from ctmodel.data.prefetch import mapped
from ctmodel.data.split import SUBSETS, Split
from ctmodel.errors import ScoreError
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


def score_baselines(store: Store, reader: VolumeReader, split: Split, *, threshold: str = "half") -> Baselines:
    """Train every baseline on the training subset of a store, and score it on the others.

    Parameters
    ----------
    store : Store
    reader : VolumeReader
        Of the same store.
    split : Split
        The subset of each row.
    threshold : {"half", "validation"}
        What chooses the threshold of a baseline, as that of a network.

    Returns
    -------
    Baselines
        One that cannot be trained or scored says why.

    Raises
    ------
    BadVolume, StoreChanged
        If a volume is missing or damaged, or the store is replaced meanwhile.
    """
    rows = np.sort(np.concatenate([split.rows(subset) for subset in SUBSETS]))
    # Matrices this small are 20 times as slow where BLAS shares them among threads, and rounded by their number.
    with threadpool_limits(1, user_api="blas"):
        features = describe_rows(store, reader, rows)
        scored = [_scored(name, values, store, rows, split, threshold=threshold) for name, values in features.items()]
    return Baselines(tuple(scored))


def describe_rows(store: Store, reader: VolumeReader, rows: np.ndarray) -> Features:
    """Return the (n, k) features of some rows for each baseline, in the order in which the baselines are shown.

    Threads describe some volumes while the next are read, so that few are in memory.
    """
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
        return BaselineScores(name, n_features, without, failure=str(error))
    return BaselineScores(name, n_features, without, validation=of_validation, test=of_test)
