from dataclasses import replace

import numpy as np
import pytest

from ctmodel.baselines.metadata import MAX_CATEGORIES, describe_records, describe_volume, scanner_columns
from ctprep.store.records import Records
from ctprep.store.store import open_store


@pytest.fixture
def store(store_path):
    return open_store(store_path)


def rows_of(store):
    return np.arange(len(store))


def test_the_file_is_described_without_its_table(store):
    described = describe_records(store, rows_of(store))
    assert described[:, :6].tolist() == [[20, 20, 30, 20, 20, 10]] * len(store)
    assert np.isfinite(described).all()


def test_a_scanner_is_a_category_and_the_answer_is_left_out(store):
    scanners = np.array(["A", "B"] * len(store))[: len(store)]
    told = replace(store, meta={"scanner": scanners, "severity": rows_of(store).astype(float), "age": scanners})
    plain, described = describe_records(store, rows_of(store)), describe_records(told, rows_of(store))
    assert described[:, plain.shape[1] :].T.tolist() == [(scanners == "A").tolist(), (scanners == "B").tolist()]


def test_padding_tells_scanners_apart(store):
    table = store.records.table.copy()
    table["padding"] = np.arange(len(store)) % 2 * 1000
    plain = describe_records(store, rows_of(store))
    padded = describe_records(replace(store, records=Records(table)), rows_of(store))
    assert np.unique(np.flatnonzero(plain != padded) % plain.shape[1]).tolist() == [7]
    assert padded[:2, 7].tolist() == [0, np.log1p(1000)]


def test_a_number_stays_a_number_and_an_empty_one_is_missing(store):
    volts = np.array(["120", "", *["100"] * (len(store) - 2)])
    described = describe_records(replace(store, meta={"kvp": volts}), rows_of(store))
    assert described[[0, 2], -1].tolist() == [120, 100]
    assert np.isnan(described[1, -1])


def test_many_categories_are_bounded(store):
    names = np.array([f"station {row}" for row in rows_of(store)])
    plain = describe_records(store, rows_of(store)).shape[1]
    assert describe_records(replace(store, meta={"station": names}), rows_of(store)).shape[1] == plain + MAX_CATEGORIES


def test_orientation_and_lowest_value_together_are_a_kind_of_file(store):
    """Which differs between scanners that share one of them."""
    records = [
        replace(
            record,
            source_affine=np.diag([(-1.0) ** (row % 2), 1, 1, 1]),
            hu_quantile=(-1000.0 * (1 + row // 2 % 2),) * 11,
        )
        for row, record in enumerate(store.records[row] for row in range(8))
    ]
    described = describe_records(replace(store, records=records), np.arange(8))
    kinds = described[:, -4:]
    assert kinds.sum(axis=1).tolist() == [1] * 8
    assert np.argmax(kinds, axis=1)[:4].tolist() == np.argmax(kinds, axis=1)[4:].tolist()
    assert len(set(np.argmax(kinds, axis=1)[:4].tolist())) == 4


@pytest.mark.parametrize("name", ["manufacturer", "Slice thickness", "kernel_name", "KVP", "meta_site"])
def test_columns_about_the_scanner_are_known(name):
    assert scanner_columns([name]) == [name]


@pytest.mark.parametrize("name", ["age", "severity", "lesion_voxels", "pattern", "website_of", "requisite", "label"])
def test_other_columns_are_not(name):
    assert scanner_columns([name]) == []


@pytest.mark.parametrize("noise_hu", [4.0, 15.0])
def test_the_noise_is_estimated_whatever_the_anatomy(noise_hu):
    hu = np.where(np.arange(60)[:, None, None] < 30, 20.0, -900.0) + np.zeros((60, 30, 12))
    noisy = hu + np.random.default_rng(0).normal(0, noise_hu, hu.shape)
    assert describe_volume(noisy)[0] == pytest.approx(noise_hu, rel=0.1)


def test_without_soft_tissue_there_is_no_estimate():
    assert np.isnan(describe_volume(np.full((10, 10, 10), -900.0))).all()
