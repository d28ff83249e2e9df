"""A cohort on disk: layout, truth table, workers, and what is refused."""

from __future__ import annotations

import csv
import subprocess
import sys

import nibabel
import numpy as np
import pytest

from ctprep.errors import PhantomError
from ctprep.phantom import CohortSettings, make_scan, write_cohort

TINY = CohortSettings(scans=20, shape=(20, 20, 10), difficulty="easy")


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom")
    return write_cohort(folder / "raw", settings=TINY, masks=folder / "masks"), folder / "masks"


def test_the_truth_table_names_every_file_and_no_other(cohort):
    written, _ = cohort
    with written.truth.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:3] == ["scan", "label", "patient"]
    assert [row["index"] for row in rows] == [str(index) for index in range(20)]
    assert {row["scan"] + ".nii.gz" for row in rows} | {"truth.csv"} == set(files_of(written.raw))
    assert all(row["scan"] == f"{row['label']}/study_{int(row['index']) + 1:04d}" for row in rows)
    assert sum(row["label"] == "CT-0" for row in rows) == 10


def test_the_truth_table_holds_plain_decimals(cohort):
    written, _ = cohort
    cells = [cell for line in written.truth.read_text().splitlines()[1:] for cell in line.split(",")[7:13]]
    assert all(cell.replace(".", "", 1).isdigit() for cell in cells if cell not in ("none", "peripheral", "diffuse"))


def test_masks_lie_on_their_scans_grid_and_give_the_severity(cohort):
    written, masks = cohort
    for row in written.rows:
        scan = nibabel.load(written.raw / f"{row['scan']}.nii.gz")
        lesion, lung = (nibabel.load(masks / f"{row['scan']}_{kind}.nii.gz") for kind in ("lesion", "lung"))
        assert lesion.get_data_dtype() == lung.get_data_dtype() == np.uint8
        assert scan.shape == lesion.shape == lung.shape
        assert np.array_equal(scan.affine, lesion.affine)
        assert row["severity"] == np.asarray(lesion.dataobj).sum() / np.asarray(lung.dataobj).sum()
    assert len(files_of(masks)) == 40


def test_a_file_holds_the_scan_that_its_index_makes(cohort):
    written, _ = cohort
    scan = make_scan(TINY, 17)
    image = nibabel.load(written.raw / f"{scan.truth['scan']}.nii.gz")
    assert np.array_equal(image.dataobj.get_unscaled(), scan.stored)
    assert np.allclose(image.affine, scan.affine, atol=1e-3)
    assert image.header["sform_code"] == image.header["qform_code"] == 1


def test_workers_change_no_byte(cohort, tmp_path):
    written, _ = cohort
    write_cohort(tmp_path / "raw", settings=TINY, workers=2)
    assert files_of(tmp_path / "raw") == files_of(written.raw)


def test_progress_counts_the_scans(tmp_path):
    steps = []
    write_cohort(tmp_path, settings=CohortSettings(scans=3, shape=(16, 16, 8)), progress=steps.append)
    assert steps == [1, 1, 1]


def test_an_interrupted_cohort_leaves_nothing_and_can_be_drawn_again(tmp_path):
    def stop(_):
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            write_cohort(tmp_path / "raw", settings=TINY, masks=tmp_path / "masks", progress=stop)
        assert not list(tmp_path.iterdir())
    assert write_cohort(tmp_path / "raw", settings=TINY).truth.exists()


def test_a_folder_with_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(PhantomError, match="expected a new or empty one"):
        write_cohort(tmp_path, settings=TINY)
    with pytest.raises(PhantomError, match="expected a new or empty one"):
        write_cohort(tmp_path / "raw", settings=TINY, masks=tmp_path)
    assert files_of(tmp_path) == {"notes.txt": b"mine"}


def test_a_file_in_the_folders_place_is_refused(tmp_path):
    (tmp_path / "raw").write_text("mine")
    with pytest.raises(PhantomError, match="found a file"):
        write_cohort(tmp_path / "raw", settings=TINY)


@pytest.mark.parametrize("masks", ["raw", "raw/masks", "."])
def test_masks_among_the_scans_are_refused(tmp_path, masks):
    with pytest.raises(PhantomError, match="expected masks apart"):
        write_cohort(tmp_path / "raw", settings=TINY, masks=tmp_path / masks)
    assert not files_of(tmp_path)


def test_no_worker_is_refused(tmp_path):
    with pytest.raises(PhantomError, match="workers: found 0"):
        write_cohort(tmp_path / "raw", settings=TINY, workers=0)


def test_the_defaults_are_read_without_heavy_imports():
    code = "import sys, ctprep.phantom.settings as s; s.CohortSettings(); print({'numpy', 'scipy'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
