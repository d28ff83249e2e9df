"""Real chests through the whole program: accepted, upright, not mirrored, in their place in the world."""

import nibabel
import numpy as np
import pytest
from matplotlib.image import imread
from scipy import ndimage

import ctprep
from ctprep.phantom import CohortSettings, write_cohort
from ctprep.views.montage import draw, montage

NAMES = ["lidc_0001_slab", "lidc_0314_averaged", "lung1", "lung2", "thorax_cta"]
WHOLE = ["lung2", "thorax_cta"]  # both lungs and all of the heart are in them


@pytest.fixture(scope="module")
def store(shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    (folder / "raw").mkdir()
    write_cohort(folder / "phantoms", settings=CohortSettings(scans=4, shape=(48, 48, 20)))
    for number, path in enumerate(sorted((folder / "phantoms").rglob("*.nii.gz"))):
        (folder / "raw" / "phantom").mkdir(exist_ok=True)
        path.rename(folder / "raw" / "phantom" / f"{number}.nii.gz")
    (folder / "raw" / "real").mkdir()
    for path in (shared_data / "chest").glob("*.nii.gz"):
        (folder / "raw" / "real" / path.name).write_bytes(path.read_bytes())
    done = ctprep.convert(folder / "raw", folder / "out.zarr")
    assert not done.rejected
    return done.store


def lungs(volume):
    """Return what is dark and not connected to the air outside."""
    regions, _ = ndimage.label(volume < 0.3)
    outside = {*np.unique(regions[[0, -1]]), *np.unique(regions[:, [0, -1]])}
    return (regions > 0) & ~np.isin(regions, list(outside))


@pytest.mark.parametrize("name", WHOLE)
def test_the_patient_lies_as_the_axes_say(store, name):
    volume = store.unit(store.volume(store.row(f"real/{name}")))
    inside = lungs(volume)
    columns, rows, slices = (np.flatnonzero(inside.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    left, right, back, front, bottom, top = columns[0], columns[-1], rows[0], rows[-1], slices[0], slices[-1]
    lower_half = slice(bottom + 4, (bottom + top) // 2)
    chest = volume[left : right + 1, (back + front) // 2 : front, lower_half]
    heart = (chest > 0.68) & ~inside[left : right + 1, (back + front) // 2 : front, lower_half]
    assert ndimage.center_of_mass(heart)[0] < (right - left) / 2, "the heart lies to the left, where x is smaller"
    middle = slice((left + right) // 2 - 4, (left + right) // 2 + 5)
    between = np.flatnonzero(inside[middle].any(axis=(0, 2)))
    assert between[0] - back > front - between[-1], "the spine parts the lungs behind, little parts them in front"
    area = inside.sum(axis=(0, 1))
    assert area[top - 2 : top + 1].mean() < area.max() / 2, "the lungs narrow upwards"


@pytest.mark.parametrize("name", NAMES)
def test_an_exported_scan_shows_the_same_anatomy_at_the_same_world_coordinates(store, shared_data, tmp_path, name):
    exported = nibabel.load(ctprep.export(store, f"real/{name}", tmp_path / "back.nii.gz"))
    source = nibabel.load(shared_data / "chest" / f"{name}.nii.gz")
    hu = np.clip(source.get_fdata(dtype=np.float32), -1000, 400)
    source_from_exported = np.linalg.inv(source.affine) @ exported.affine
    shrink = np.abs(source_from_exported[:3, :3]).max(axis=1)
    smooth = ndimage.uniform_filter(hu, np.maximum(1, np.round(shrink)).astype(int))

    def agreement(shift):
        moved = source_from_exported @ np.block([[np.eye(3), np.reshape(shift, (3, 1))], [np.zeros(3), 1]])
        seen = ndimage.affine_transform(
            smooth, moved[:3, :3], moved[:3, 3], output_shape=exported.shape, order=1, mode="nearest"
        )
        return np.corrcoef(seen.ravel(), exported.get_fdata().ravel())[0, 1]

    here = agreement((0, 0, 0))
    assert here > 0.985
    for axis in range(3):
        for step in (-1, 1):
            assert agreement(step * np.eye(3)[axis]) < here


def test_the_montage_shows_the_patient_s_right_on_the_left(store):
    figure = draw(store, scans_per_class=5)
    titled = {axes.get_title(): axes for axes in figure.axes if axes.get_title()}
    axes = titled["real/thorax_cta"]
    volume = store.unit(store.volume(store.row("real/thorax_cta")))
    shown = axes.images[0].get_array()
    assert np.array_equal(shown, volume[::-1, :, 16].T)  # columns from right to left; rows from back to front
    assert axes.images[0].origin == "lower"


def test_the_montage_is_a_picture_with_contrast(store, tmp_path):
    picture = imread(montage(store, tmp_path / "out.png"))
    assert picture.shape[0] > 400
    assert picture[..., :3].std() > 0.1
