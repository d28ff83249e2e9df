"""Five ways in which people keep their scans, from the folder to the store."""

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import cli
from ctprep.conversion.convert import convert
from ctprep.errors import CatalogError
from ctprep.scans.catalog import find_scans
from ctprep.store.store import open_store
from ctprep.volume.recipe import Recipe
from tests.conftest import write_scan
from tests.ctprep.scans.layouts import write_table

RECIPE = Recipe(shape=(8, 8, 4))
CHEST = np.diag([-14.0, 14.0, 16.0, 1.0])  # as wide and as high as one
PAGE = Path(__file__).parents[3] / "docs/faq.md"


def command_of(which):
    """Return one of the commands that the docs give for the five layouts."""
    section = PAGE.read_text().partition("## How are my folders converted?")[2].partition("\n## ")[0]
    return re.findall(r"^ctprep convert raw scans.zarr (.*)$", section, re.MULTILINE)[which].split()


def surprises(which, folder, monkeypatch):
    """Run the command that the docs give for a layout; return its messages."""
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(
        cli.ctprep, ["convert", "raw", "scans.zarr", "--shape", "8", "8", "4", *command_of(which)]
    )
    assert done.exit_code == 0, done.output
    return done.stderr.splitlines()


def write_scans(raw, *names):
    for seed, name in enumerate(names):
        write_scan(raw / name, seed=seed, affine=CHEST)
    return raw


def stored(catalog, out):
    """Convert, and return what the store says of each scan: class, patient, subset."""
    convert(catalog, out, recipe=RECIPE, scheduler="synchronous")
    store = open_store(out)
    names = (*store.classes, None)
    subsets = store.splits or [""] * len(store)
    return {
        scan: (names[label], patient, subset)
        for scan, label, patient, subset in zip(store.scans, store.labels, store.patients, subsets, strict=True)
    }


def test_a_folder_for_each_class(tmp_path):
    raw = write_scans(tmp_path / "raw", "ill/a.nii.gz", "ill/b.nii.gz", "normal/c.nii", "normal/d.nii.gz")
    catalog = find_scans(raw, classes={"normal": ["normal"], "ill": ["ill"]})
    assert stored(catalog, tmp_path / "out.zarr") == {
        "ill/a": ("ill", "ill/a", ""),
        "ill/b": ("ill", "ill/b", ""),
        "normal/c": ("normal", "normal/c", ""),
        "normal/d": ("normal", "normal/d", ""),
    }
    assert open_store(tmp_path / "out.zarr").names_patients is False


def test_mosmeddata_as_it_is_unpacked(tmp_path):
    raw = write_scans(tmp_path / "raw", *(f"studies/CT-{n % 3}/study_{n:04}.nii.gz" for n in range(6)))
    write_scan(raw / "masks/study_0004_mask.nii.gz", np.ones((24, 20, 12), np.uint8))
    catalog = find_scans(raw, classes={"normal": ["CT-0"], "abnormal": ["CT-1", "CT-2"]})
    labels = [label for label, _, _ in stored(catalog, tmp_path / "out.zarr").values()]
    assert labels == ["normal"] * 2 + ["abnormal"] * 4
    assert "masks/study_0004_mask" in catalog.notes[0]
    with pytest.raises(CatalogError, match=r"the folders below are CT-0 \(2 scans\), CT-1 \(2 scans\), CT-2"):
        find_scans(raw)


def test_a_flat_folder_and_a_table_from_excel(tmp_path):
    raw = write_scans(tmp_path / "raw", *(f"scan {n}.NII.GZ" for n in range(4)))
    rows = [f"scan {n}.nii.gz;{n // 2}.0;{n // 2:03};{40 + n}" for n in range(3)]
    table = write_table(
        tmp_path / "labels.csv",
        "sep=;",
        "FileName;Label;PatientID;Age",
        *rows,
        "scan 3.nii.gz;1;001;",
        encoding="utf-16",
    )
    catalog = find_scans(raw, labels=table, classes={"normal": ["0"], "ill": ["1"]})
    assert stored(catalog, tmp_path / "out.zarr") == {
        "scan 0": ("normal", "000", ""),
        "scan 1": ("normal", "000", ""),
        "scan 2": ("ill", "001", ""),
        "scan 3": ("ill", "001", ""),
    }
    assert open_store(tmp_path / "out.zarr").meta["Age"][:3].tolist() == [40, 41, 42]


def test_bids_with_sessions(tmp_path):
    names = [f"sub-{s}/ses-{v}/ct/sub-{s}_ses-{v}_ct" for s in (1, 2) for v in (1, 2)]
    raw = write_scans(tmp_path / "raw", *(f"{name}.nii.gz" for name in names))
    write_scan(raw / "derivatives/lungs/sub-1/ct/sub-1_ses-1_mask.nii.gz", np.ones((24, 20, 12), np.uint8))
    rows = ["sub-1\tses-1\tnormal", "sub-1\tses-2\till", "sub-2\tses-1\tnormal", "sub-2\tses-2\tnormal"]
    write_table(raw / "participants.tsv", "participant_id\tsession_id\tdiagnosis", *rows)
    catalog = find_scans(raw, label_column="diagnosis", classes={"normal": ["normal"], "ill": ["ill"]})
    said = stored(catalog, tmp_path / "out.zarr")
    assert list(said) == names
    assert [label for label, _, _ in said.values()] == ["normal", "ill", "normal", "normal"]
    assert [patient for _, patient, _ in said.values()] == ["sub-1", "sub-1", "sub-2", "sub-2"]


def test_folders_of_a_split_with_links_to_the_scans(tmp_path):
    cache = write_scans(tmp_path / "cache", *(f"{n}.nii.gz" for n in range(6)))
    raw = tmp_path / "raw"
    for n, folder in enumerate(f"{subset}/{label}" for subset in ("train", "val", "test") for label in ("ill", "well")):
        (raw / folder).mkdir(parents=True)
        (raw / folder / f"{n}.nii.gz").symlink_to(cache / f"{n}.nii.gz")
    with pytest.raises(CatalogError, match="--follow-links"):
        find_scans(raw)
    with pytest.raises(CatalogError, match="--split-folders"):
        find_scans(raw, follow_links=True)
    catalog = find_scans(raw, follow_links=True, split_folders=True)
    assert stored(catalog, tmp_path / "out.zarr") == {
        "test/ill/4": ("ill", "test/ill/4", "test"),
        "test/well/5": ("well", "test/well/5", "test"),
        "train/ill/0": ("ill", "train/ill/0", "train"),
        "train/well/1": ("well", "train/well/1", "train"),
        "val/ill/2": ("ill", "val/ill/2", "validation"),
        "val/well/3": ("well", "val/well/3", "validation"),
    }


NOBODY = "note: no table or pattern names the patients of {} scans: each counts as a patient of its own"


def test_one_command_converts_folders_of_classes(tmp_path, monkeypatch):
    write_scans(tmp_path / "raw", "ill/a.nii.gz", "ill/b.nii.gz", "normal/c.nii", "normal/d.nii.gz")
    assert surprises(0, tmp_path, monkeypatch) == [NOBODY.format(4)]
    assert open_store(tmp_path / "scans.zarr").classes == ("normal", "ill")


def test_one_command_converts_mosmeddata(tmp_path, monkeypatch):
    write_scans(tmp_path / "raw", *(f"studies/CT-{n}/study_{n:04}.nii.gz" for n in range(5)))
    write_scan(tmp_path / "raw/masks/study_0004_mask.nii.gz", np.ones((24, 20, 12), np.uint8))
    assert surprises(1, tmp_path, monkeypatch) == [
        "left out: 1 that look like masks or derivatives by their names (masks/study_0004_mask); --include-masks takes "
        "them",
        "note: classes: their folders lie below studies",
        NOBODY.format(5),
    ]
    assert open_store(tmp_path / "scans.zarr").labels.tolist() == [0, 1, 1, 1, 1]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_one_command_converts_a_flat_folder_and_a_table_from_excel(tmp_path, monkeypatch, encoding):
    write_scans(tmp_path / "raw", *(f"scan {n}.nii.gz" for n in range(4)))
    rows = [f"scan {n}.nii.gz;{n // 2},0;{n:03}" for n in range(4)]
    write_table(tmp_path / "labels.csv", "FileName;Label;PatientID", *rows, encoding=encoding)
    said = surprises(2, tmp_path, monkeypatch)
    assert [line.split(" ")[1] for line in said] == ["scans:", "patients:", "labels:"]
    store = open_store(tmp_path / "scans.zarr")
    assert (store.labels.tolist(), store.patients) == ([0, 0, 1, 1], ("000", "001", "002", "003"))


def test_one_command_converts_bids_with_sessions(tmp_path, monkeypatch):
    names = [f"sub-{s}/ses-{v}/ct/sub-{s}_ses-{v}_ct.nii.gz" for s in (1, 2) for v in (1, 2)]
    raw = write_scans(tmp_path / "raw", *names)
    rows = ["sub-1\tses-1\tnormal", "sub-1\tses-2\till", "sub-2\tses-1\tnormal", "sub-2\tses-2\tnormal"]
    write_table(raw / "participants.tsv", "participant_id\tsession_id\tdiagnosis", *rows)
    said = surprises(3, tmp_path, monkeypatch)
    assert [line.split(" ")[1] for line in said] == ["labels:", "patients:"]
    store = open_store(tmp_path / "scans.zarr")
    assert (store.labels.tolist(), len(set(store.patients))) == ([0, 1, 0, 0], 2)


def test_one_command_converts_folders_of_a_split_with_links(tmp_path, monkeypatch):
    cache = write_scans(tmp_path / "cache", *(f"{n}.nii.gz" for n in range(6)))
    folders = [f"{subset}/{label}" for subset in ("train", "val", "test") for label in ("ill", "normal")]
    for n, folder in enumerate(folders):
        (tmp_path / "raw" / folder).mkdir(parents=True)
        (tmp_path / "raw" / folder / f"{n}.nii.gz").symlink_to(cache / f"{n}.nii.gz")
    said = surprises(4, tmp_path, monkeypatch)
    assert said[0] == "note: split: the folders train, val, test are kept as one"
    assert open_store(tmp_path / "scans.zarr").splits == ("test", "test", "train", "train", "validation", "validation")
