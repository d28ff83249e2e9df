import numpy as np
import pytest

import ctprep
from ctprep.views.montage import draw, montage
from ctprep.views.summary import summarize
from ctprep.volume.recipe import Recipe
from tests.conftest import chest_hu, write_scan


def test_a_summary_counts_what_is_there(raw, tmp_path):
    hu = chest_hu().astype(np.float32)
    hu[12, 10, 6] = np.nan
    hu[0, 0] = np.nan
    write_scan(raw / "loose.nii", hu, affine=np.diag([-2.0, -2.0, 9.0, 1.0]))
    (raw / "CT-0" / "bad.nii").write_bytes(b"text")
    summary = summarize(ctprep.convert(raw, tmp_path / "out.zarr", recipe=Recipe(shape=(8, 8, 4))).store)
    assert summary["scans"] == summary["patients"] == 7
    assert summary["classes"] == {"CT-0": 3, "CT-1": 3}
    assert summary["unlabelled"] == 1
    assert summary["rejected"] == {"unreadable": 1}
    assert summary["source_spacing_mm"] == [[1.5, 1.5, 5.0], [2.0, 2.0, 9.0]]
    assert summary["source_orientation"] == {"LAS": 6, "LPS": 1}
    assert (summary["nonfinite_voxels"], summary["padding_voxels"]) == (1, 12)
    assert summary["unusual_coverage"] == {"narrow": 7, "short": 7}
    assert "accepted" not in summary
    assert len(summary["digest"]) == 64


def test_a_montage_has_a_band_for_every_class_and_for_the_unlabelled(raw, tmp_path):
    write_scan(raw / "loose.nii", seed=9)
    store = ctprep.convert(raw, tmp_path / "out.zarr", recipe=Recipe(shape=(8, 8, 4))).store
    figure = draw(store, scans_per_class=2)
    assert [text.get_text() for text in figure.texts if text.get_text() in (*store.classes, "unlabelled")] == [
        "CT-0",
        "CT-1",
        "unlabelled",
    ]
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["CT-0/study_0000", "CT-0/study_0002", "CT-1/study_0003", "CT-1/study_0005", "loose"]


@pytest.mark.filterwarnings("error")
def test_a_montage_draws_names_as_they_are(raw, tmp_path):
    """A dollar begins a formula for matplotlib, and it warns of letters that its font lacks."""
    for number, name in enumerate(("a$^b$", "胸部")):
        write_scan(raw / "$CT^$" / f"{name}.nii", seed=10 + number)
    store = ctprep.convert(raw, tmp_path / "$^$\x1b.zarr", recipe=Recipe(shape=(8, 8, 4))).store
    montage(store, tmp_path / "out.png", scans_per_class=2)
    figure = draw(store, scans_per_class=2)
    assert [text.get_text() for text in figure.texts][1] == "$CT^$"
    assert figure.get_suptitle().startswith(r"$^$\x1b.zarr: 8 scans")
