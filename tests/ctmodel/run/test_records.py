"""A run's memory of a store tells it from every other, and not from its copy."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from ctmodel.run.records import CrossvalRecord, NetworkRecord, SplitRow, describe_store, fingerprint, store_differences
from ctmodel.settings import FoldSettings
from ctprep.store.records import Records
from ctprep.store.store import open_store


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


def test_a_split_changes_the_fingerprint_and_none_leaves_it_as_it_was(store_path):
    store = open_store(store_path)
    divided = dataclasses.replace(store, splits=("train",) * len(store))
    assert fingerprint(divided) != fingerprint(store)
    assert fingerprint(dataclasses.replace(store, splits=("",) * len(store))) == fingerprint(store)


def _changed(values):
    first, *others = values
    if isinstance(values, np.ndarray):
        return np.array([1 - first, *others])
    if isinstance(first, str):
        return (f"{first}x", *others)
    return Records.of([dataclasses.replace(first, source_sha256="0" * 64), *others])


def test_names_that_run_into_each_other_are_told_apart(store_path):
    store = open_store(store_path)
    first = dataclasses.replace(store, patients=("ab", "c", *store.patients[2:]))
    second = dataclasses.replace(store, patients=("a", "bc", *store.patients[2:]))
    assert fingerprint(first) != fingerprint(second)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("path", 5),
        ("path", ""),
        ("recipe", []),
        ("recipe", {"shape": 16}),
        ("classes", 5),
        ("classes", (1, 2)),
        ("scans", 2.0),
        ("fingerprint", None),
    ],
)
def test_a_record_of_a_store_has_the_types_it_says(store_path, field, value):
    record = describe_store(open_store(store_path), store_path.parent)
    with pytest.raises(ValueError, match=f"{field}.*: .*, expected"):
        dataclasses.replace(record, **{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ["compact"]),
        ("input_shape", 5),
        ("input_shape", (16.0, 16, 8)),
        ("input_shape", (16, 16, 0)),
        ("input_shape", (16, 16)),
        ("n_classes", "2"),
        ("n_classes", None),
        ("n_classes", True),
    ],
)
def test_a_record_of_a_network_has_the_types_it_says(field, value):
    with pytest.raises(ValueError, match=f"{field}: .*, expected"):
        dataclasses.replace(NetworkRecord("compact", (16, 16, 8), 2, "float32"), **{field: value})


def test_a_row_of_a_split_is_in_a_subset_that_there_is():
    with pytest.raises(ValueError, match="subset of a: 'Test', expected one of train, validation, test, unlabelled"):
        SplitRow("a", "p", "normal", "Test", "0" * 64, "0")


def test_a_record_of_folds_names_each_training_once_and_comes_back_from_json():
    record = CrossvalRecord(FoldSettings(leave_out="site", repeats=2), ("A", "B", "C"))
    assert record.names == [f"repeat-{repeat}-fold-{fold}" for repeat in (1, 2) for fold in (1, 2, 3)]
    assert record.left_out == ["A", "B", "C"] * 2
    assert CrossvalRecord.from_dict(json.loads(json.dumps(record.to_dict()))) == record
    assert CrossvalRecord(FoldSettings(folds=2)).names == ["fold-1", "fold-2"]


@pytest.mark.parametrize(
    ("settings", "values"),
    [(FoldSettings(), ("A",)), (FoldSettings(leave_out="site"), ()), (FoldSettings(leave_out="site"), (1, 2))],
)
def test_a_record_of_folds_has_values_where_a_column_is_left_out(settings, values):
    with pytest.raises(ValueError, match="values: "):
        CrossvalRecord(settings, values)
