"""A second conversion without its table strips nothing from the store in silence."""

import pytest

from ctprep.conversion.convert import convert
from ctprep.errors import CatalogError
from ctprep.scans.catalog import find_scans
from ctprep.views.preview import plan_conversion
from ctprep.volume.recipe import Recipe
from tests.conftest import write_scan
from tests.ctprep.scans.layouts import write_table

RECIPE = Recipe(shape=(8, 8, 4))


@pytest.fixture
def flat(tmp_path):
    for seed in range(4):
        write_scan(tmp_path / "raw" / f"{seed}.nii.gz", seed=seed)
    return tmp_path / "raw"


def make(catalog, out, **options):
    return convert(catalog, out, recipe=RECIPE, scheduler="synchronous", **options)


@pytest.mark.parametrize(
    ("header", "values", "lost"),
    [
        ("scan,label", "ab", "the labels of 4 scans"),
        ("scan,patient", "pq", "the patients of 4 scans"),
        ("scan,label,split", ["a,train", "b,test"], "the labels and the split of 4 scans"),
        ("scan,label,age", ["a,4", "b,5"], "the labels and the columns age of 4 scans"),
    ],
)
def test_a_forgotten_table_is_asked_for(flat, tmp_path, header, values, lost):
    table = write_table(tmp_path / "t.csv", header, *(f"{n},{values[n // 2]}" for n in range(4)))
    make(find_scans(flat, labels=table), tmp_path / "out.zarr")
    for attempt in (plan_conversion, make):
        options = {"recipe": RECIPE} if attempt is plan_conversion else {}
        with pytest.raises(CatalogError, match=rf"would lose {lost}.*--labels"):
            attempt(find_scans(flat), tmp_path / "out.zarr", **options)
    assert make(find_scans(flat, labels=table), tmp_path / "out.zarr").reused == 4
    assert set(make(find_scans(flat), tmp_path / "out.zarr", rebuild=True).store.labels) == {-1}


def test_forgotten_classes_are_asked_for(tmp_path):
    for seed in range(4):
        write_scan(tmp_path / f"raw/CT-{seed % 2}" / f"{seed}.nii.gz", seed=seed)
    make(find_scans(tmp_path / "raw", classes={"well": ["CT-0"], "ill": ["CT-1"]}), tmp_path / "out.zarr")
    with pytest.raises(CatalogError, match=r"would lose the classes ill, well of 4 scans.*--classes"):
        make(find_scans(tmp_path / "raw"), tmp_path / "out.zarr")
    renamed = find_scans(tmp_path / "raw", classes={"no": ["CT-0"], "yes": ["CT-1"]})
    assert make(renamed, tmp_path / "out.zarr").store.classes == ("no", "yes")


def test_a_table_may_change_and_scans_may_go(flat, tmp_path):
    rows = [f"{n},{'ab'[n % 2]},{n // 2}" for n in range(4)]
    make(find_scans(flat, labels=write_table(tmp_path / "t.csv", "scan,label,patient", *rows)), tmp_path / "out.zarr")
    table = write_table(tmp_path / "t.csv", "scan,label,patient", *rows[:3], "3,,9")
    assert make(find_scans(flat, labels=table), tmp_path / "out.zarr").store.labels.tolist() == [0, 1, 0, -1]
    for n in range(3):
        (flat / f"{n}.nii.gz").unlink()
    table = write_table(tmp_path / "t.csv", "scan,label,patient", "3,,9")
    assert len(make(find_scans(flat, labels=table), tmp_path / "out.zarr").store) == 1
