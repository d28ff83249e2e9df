"""A run's memory of a store tells it from every other, and not from its copy."""

import dataclasses
import shutil

import numpy as np
import pytest

from ctmodel.run_records import describe_store, fingerprint, store_differences
from ctprep.store import open_store


def test_a_copy_has_the_same_fingerprint(store_path, tmp_path):
    copy = shutil.copytree(store_path, tmp_path / "copy.zarr")
    ours, theirs = (describe_store(open_store(path), tmp_path / "run") for path in (copy, store_path))
    assert ours.fingerprint == theirs.fingerprint
    assert ours.path == "../copy.zarr"
    assert store_differences(ours, theirs) == []


@pytest.mark.parametrize("field", ["scans", "patients", "labels", "classes", "records"])
def test_any_change_of_what_decides_a_store_changes_the_fingerprint(store_path, field):
    store = open_store(store_path)
    changed = dataclasses.replace(store, **{field: _changed(getattr(store, field))})
    assert fingerprint(changed) != fingerprint(store)
    assert store_differences(describe_store(changed, store_path.parent), describe_store(store, store_path.parent))


def _changed(values):
    first, *others = values
    if isinstance(values, np.ndarray):
        return np.array([1 - first, *others])
    if isinstance(first, str):
        return (f"{first}x", *others)
    return (dataclasses.replace(first, source_sha256="0" * 64), *others)


def test_names_that_run_into_each_other_are_told_apart(store_path):
    store = open_store(store_path)
    first = dataclasses.replace(store, patients=("ab", "c", *store.patients[2:]))
    second = dataclasses.replace(store, patients=("a", "bc", *store.patients[2:]))
    assert fingerprint(first) != fingerprint(second)
