"""Which scans of a store train, choose and test, as the settings of a training ask for."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from ctmodel.data.split import (
    Split,
    merge_patients,
    split_as_given,
    split_by_folds,
    split_by_groups,
    split_by_shares,
    split_leaving_out,
)
from ctmodel.errors import SplitError
from ctmodel.settings import SEED_OF_TRAINING, TrainSettings
from ctprep.store.store import Store


def divide(store: Store, settings: TrainSettings) -> Split:
    """Return the split of a store that the settings ask for.

    Raises
    ------
    SplitError
        If it cannot be made, or the store has one of its own and another is asked for.
    """
    patients = merge_patients(store.patients, store.checksums.tolist())
    seed = settings.seed if settings.split_seed == SEED_OF_TRAINING else settings.split_seed
    known: dict[str, Any] = {"classes": store.classes, "seed": seed}
    if settings.use_split and any(store.splits):
        _check_only_given(settings)
        shares: dict[str, Any] = {"validation": settings.validation, "test": settings.test}
        return split_as_given(store.labels, patients, store.splits, **shares, **known)
    if settings.leave_out:
        column, _, value = settings.leave_out.partition("=")
        is_left_out = np.array(values_of(store, column)) == value
        if not np.any(is_left_out & (store.labels >= 0)):
            raise SplitError(f"leave_out: no labelled scan has {value!r} in {column}; check its values")
        return split_leaving_out(store.labels, patients, is_left_out, validation=settings.validation, **known)
    if settings.group:
        groups = values_of(store, settings.group)
        shares_of_two = (settings.validation, settings.test)
        how: dict[str, Any] = {"shares": shares_of_two, "folds": settings.folds, "fold": settings.fold}
        return split_by_groups(store.labels, patients, groups, **how, **known)
    cut = (
        partial(split_by_folds, folds=settings.folds, fold=settings.fold)
        if settings.folds
        else partial(split_by_shares, test=settings.test)
    )
    return cut(store.labels, patients, validation=settings.validation, **known)


def _check_only_given(settings: TrainSettings) -> None:
    for name in ("folds", "group", "leave_out"):
        if value := getattr(settings, name):
            raise SplitError(
                f"{name}: {value}, but the store has a split of its own; divide the patients anew with "
                f"--no-use-split, or use the split without --{name.replace('_', '-')}"
            )


def values_of(store: Store, column: str) -> tuple[str, ...]:
    """Return the value of each scan in a column of the label table, as text.

    Raises
    ------
    SplitError
        If there is no such column, or it is empty for a labelled scan.
    """
    if column not in store.meta:
        known = ", ".join(sorted(store.meta)) or "none"
        raise SplitError(f"{column}: the store has no such column, but {known}; choose one, or add it to --labels")
    values = tuple(_text(value) for value in store.meta[column].tolist())
    for scan, label, value in zip(store.scans, store.labels.tolist(), values, strict=True):
        if label >= 0 and not value:
            raise SplitError(f"{scan}: has no value in {column}; complete the table and convert again")
    return values


def labelled_values(store: Store, column: str) -> Sequence[str]:
    """Return the different values of the labelled scans in a column, sorted; raises what `values_of` does."""
    values = values_of(store, column)
    return sorted({values[row] for row in np.flatnonzero(store.labels >= 0)})


def _text(value: object) -> str:
    text = str(value).strip()
    return "" if text == "nan" else text
