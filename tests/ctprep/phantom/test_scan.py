"""The phantom's scans: a body that is right in the world, findings as promised, no hint of the class elsewhere."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import nibabel
import numpy as np
import pytest
from scipy import ndimage, stats

from ctprep.errors import PhantomError
from ctprep.phantom import CohortSettings, PhantomScan, make_scan
from ctprep.phantom.findings import NORMAL, grade_of
from ctprep.phantom.pose import body_from_voxel
from ctprep.phantom.scan import Script, render, write_script
from ctprep.phantom.scanner import MACHINES
from ctprep.phantom.settings import DIFFICULTIES, GRADES
from ctprep.phantom.vessels import lung_vessels
from ctprep.scans.readers.nifti import write_nifti

SMALL = CohortSettings(shape=(32, 32, 14))
SHARPER = CohortSettings(shape=(72, 72, 28), difficulty="easy")
ORIENTATIONS = ("RAS", "LAS", "LPS", "SPL", "IRP", "AIL")


def hu_of(scan: PhantomScan) -> np.ndarray:
    return scan.stored.astype(np.float64) * scan.slope + scan.inter


def on_machine(script: Script, **changes: object) -> Script:
    machine = replace(script.protocol.machine, **changes)
    return replace(script, protocol=replace(script.protocol, machine=machine))


def plain(settings: CohortSettings, index: int) -> Script:
    """A healthy scan, at full inspiration and without mimics, axes right-front-head and whole HU."""
    script = on_machine(write_script(settings, index), orientation="RAS", dtype="int16", slope=1.0, inter=0.0)
    script = on_machine(script, padding_hu=None)
    calm = replace(script.mimics, atelectasis=0.0, expiration=0.0, motion_mm=0.0)
    return replace(script, mimics=calm, finding=NORMAL, pose=replace(script.pose, inflation=1.0))


def first_script(settings: CohortSettings, *, grade: str) -> Script:
    scripts = (write_script(settings, index) for index in range(400))
    return next(script for script in scripts if grade_of(script.finding.severity) == grade)


def world(scan: PhantomScan, chosen: np.ndarray) -> np.ndarray:
    """World positions, (n, 3) in mm, of chosen voxels."""
    return np.argwhere(chosen) @ scan.affine[:3, :3].T + scan.affine[:3, 3]


@pytest.fixture(scope="module")
def healthy() -> tuple[Script, PhantomScan]:
    script = plain(SHARPER, 1)
    return script, render(script)


# --- determinism


def test_a_scan_is_the_same_in_a_small_and_in_a_large_cohort():
    few, many = (make_scan(replace(SMALL, scans=scans), 17) for scans in (20, 200))
    assert few.stored.tobytes() == many.stored.tobytes()
    assert few.truth == many.truth


def test_seeds_and_indices_give_other_scans():
    scans = [make_scan(SMALL, 4), make_scan(SMALL, 6), make_scan(replace(SMALL, seed=1), 4)]
    assert len({scan.stored.tobytes() for scan in scans}) == 3


# --- the body


@pytest.mark.parametrize(
    ("place_mm", "low", "high"),
    [
        ((-22.0, 22.0, -66.0), 10, 80),  # heart
        ((75.0, 0.0, -125.0), 20, 100),  # liver, under the right dome
        ((0.0, -62.0, -60.0), 120, 700),  # vertebral body
        ((75.0, -10.0, 10.0), -960, -700),  # right lung
        ((-80.0, -20.0, 0.0), -960, -700),  # left lung
    ],
)
def test_tissues_have_their_attenuation(healthy, place_mm, low, high):
    script, scan = healthy
    body = body_from_voxel(script.pose, script.patient, script.protocol.shape, script.protocol.spacing_mm)
    at = np.linalg.solve(body, [*place_mm, 1.0])[:3]
    near = tuple(slice(int(i), int(i) + 2) for i in at)
    assert low < np.median(hu_of(scan)[near]) < high


def test_air_fat_and_muscle_are_the_commonest_values_outside_the_lung(healthy):
    _, scan = healthy
    smooth = ndimage.uniform_filter(hu_of(scan), 3)[scan.lung == 0]
    peaks = []
    for low, high in ((-1024, -900), (-200, -30), (-10, 120)):
        count, edges = np.histogram(smooth, bins=40, range=(low, high))
        peaks.append(edges[count.argmax()])
    assert peaks == pytest.approx([-1000, -100, 52], abs=14)


def test_the_lung_is_as_large_and_as_dense_as_in_life(healthy):
    _, scan = healthy
    litres = scan.lung.sum() * abs(np.linalg.det(scan.affine)) / 1e6
    assert 2.5 < litres < 7.5
    assert -900 < hu_of(scan)[scan.lung > 0].mean() < -700


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_body_lies_right_in_the_world_whatever_the_files_axes(orientation):
    scan = render(on_machine(plain(SHARPER, 1), orientation=orientation))
    hu = hu_of(scan)
    lung, bone = world(scan, scan.lung > 0), world(scan, hu > 250)
    middle = np.array([np.median(world(scan, hu > -200)[:, 0]), *np.median(lung, axis=0)[1:]])
    at_heart = lung[np.abs(lung[:, 2] - middle[2] + 25.0) < 25.0, 0] - middle[0]
    assert (at_heart > 0).sum() > 1.1 * (at_heart < 0).sum()  # the heart takes room on the left, at negative x
    spine = bone[np.abs(bone[:, 0] - middle[0]) < 20.0]
    assert np.median(spine[:, 1]) < middle[1] - 30.0
    airway = world(scan, (hu < -600) & (scan.lung == 0)) - middle
    airway = airway[(np.abs(airway[:, 0]) < 15.0) & (np.abs(airway[:, 1]) < 40.0)]
    assert airway[:, 2].mean() > 30.0
    assert nibabel.aff2axcodes(scan.affine) == tuple(orientation)


def test_the_windpipe_runs_up_from_between_the_lungs(healthy):
    script, scan = healthy
    body = body_from_voxel(script.pose, script.patient, script.protocol.shape, script.protocol.spacing_mm)
    slices_with_airway = [
        hu_of(scan)[:, :, k][near_middle(body, k, scan.stored.shape)].min() < -700 for k in range(scan.stored.shape[2])
    ]
    highest_lung = np.flatnonzero(scan.lung.any(axis=(0, 1))).max()
    assert slices_with_airway[highest_lung]
    assert not any(slices_with_airway[: scan.stored.shape[2] // 4])


def near_middle(body: np.ndarray, k: int, shape: tuple[int, ...]) -> np.ndarray:
    """Voxels of a slice within 14 mm of the windpipe's line."""
    i, j = np.indices(shape[:2])
    x, y = (body[row, 0] * i + body[row, 1] * j + body[row, 3] for row in (0, 1))
    return np.hypot(x, y + 8.0) < 14.0


def test_the_patient_lies_on_a_table(healthy):
    _, scan = healthy
    solid, count = ndimage.label(hu_of(scan) > -780)
    sizes = ndimage.sum_labels(np.ones_like(solid), solid, range(1, count + 1))
    body, couch = (world(scan, solid == label) for label in np.argsort(sizes)[::-1][:2] + 1)
    assert np.ptp(couch[:, 0]) > 150.0
    assert np.ptp(couch[:, 2]) > 250.0
    assert np.median(couch[:, 1]) < np.percentile(body[:, 1], 1)


# --- files


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_orientations_hold_the_same_volume_in_the_world(tmp_path, orientation):
    reference, scan = (render(on_machine(plain(SMALL, 2), orientation=name)) for name in ("RAS", orientation))
    write_nifti(tmp_path / "scan.nii.gz", scan.stored, scan.affine, slope=scan.slope, inter=scan.inter)
    canonical = nibabel.as_closest_canonical(nibabel.load(tmp_path / "scan.nii.gz"))
    assert np.array_equal(canonical.get_fdata(), hu_of(reference))
    assert np.allclose(canonical.affine, reference.affine, atol=1e-3)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_each_machine_keeps_hounsfield_units_through_its_file(tmp_path, machine):
    script = on_machine(plain(SMALL, 2), dtype="float32")
    exact = hu_of(render(script))
    scan = render(on_machine(script, dtype=machine.dtype, slope=machine.slope, inter=machine.inter))
    write_nifti(tmp_path / "scan.nii", scan.stored, scan.affine, slope=scan.slope, inter=scan.inter)
    image = nibabel.load(tmp_path / "scan.nii")
    assert image.get_data_dtype() == np.dtype(machine.dtype)
    assert np.abs(image.get_fdata() - exact).max() <= 0.5 * machine.slope + 1e-3


def test_padding_fills_the_corners_alone():
    script = on_machine(plain(SMALL, 2), padding_hu=-2048.0)
    hu = hu_of(render(script))
    assert (hu[0, 0] == -2048).all()
    assert hu[8:24, 8:24].min() >= -1024


# --- findings


@pytest.mark.parametrize("grade", GRADES[1:])
def test_the_grade_is_the_measured_share_of_the_lung(grade):
    scan = render(first_script(replace(SMALL, difficulty="easy"), grade=grade))
    assert scan.truth["label"] == grade == grade_of(scan.lesion.sum() / scan.lung.sum())
    assert not (scan.lesion & ~(scan.lung > 0)).any()


def test_a_normal_scan_holds_no_lesion():
    assert not render(plain(SMALL, 2)).lesion.any()


def test_a_finding_changes_its_place_and_nothing_else():
    script = first_script(SMALL, grade="CT-1")
    ill, well = render(script), render(replace(script, finding=NORMAL))
    difference = hu_of(ill) - hu_of(well)
    far = ndimage.distance_transform_edt(ill.lesion == 0) > 8
    assert far.any()
    assert not difference[far].any()
    assert difference[ill.lesion > 0].mean() > 0.3 * script.finding.contrast_hu
    assert {key: ill.truth[key] for key in ("scanner", "noise_hu", "table_shift_mm", "atelectasis", "slices")} == {
        key: well.truth[key] for key in ("scanner", "noise_hu", "table_shift_mm", "atelectasis", "slices")
    }


def test_vessels_show_through_ground_glass():
    script = first_script(SHARPER, grade="CT-3")
    script = replace(script, finding=replace(script.finding, core=0.0))
    scan = render(script)
    inside = hu_of(scan)[ndimage.binary_erosion(scan.lesion > 0, iterations=2)]
    assert np.percentile(inside, 99) > np.median(inside) + 150


def test_most_opacities_are_peripheral_and_behind():
    scripts = (write_script(replace(SMALL, difficulty="medium"), index) for index in range(60))
    depths, behind = [], []
    for script in scripts:
        if not 0.0 < script.finding.severity < 0.25:
            continue
        scan = render(on_machine(script, orientation="RAS"))
        rim = ndimage.distance_transform_edt(scan.lung, sampling=np.abs(np.diag(scan.affine)[:3]))
        depths.append(rim[scan.lesion > 0].mean() < rim[scan.lung > 0].mean())
        behind.append(np.nonzero(scan.lesion)[1].mean() < np.nonzero(scan.lung)[1].mean())
    assert np.mean(depths) > 0.6
    assert np.mean(behind) > 0.6


def test_findings_stand_out_less_where_it_is_harder():
    contrast = [
        np.mean([write_script(replace(SMALL, difficulty=name), i).finding.contrast_hu for i in range(100)])
        for name in ("easy", "medium", "hard")
    ]
    assert all(easier > harder for easier, harder in pairwise(contrast))


# --- classes, patients, scanners


@pytest.mark.parametrize("seed", range(5))
def test_half_of_any_even_cohort_is_normal(seed):
    severe = [write_script(replace(SMALL, seed=seed), index).finding.severity > 0 for index in range(40)]
    assert all(sum(severe[:scans]) == scans // 2 for scans in range(2, 41, 2))
    assert severe[::2] != severe[1::2]


def test_mild_grades_are_the_commonest():
    grades = [grade_of(write_script(SMALL, index).finding.severity) for index in range(1200)]
    counts = [grades.count(grade) for grade in GRADES[1:]]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 2 * counts[1] > 4 * counts[3] > 0


def test_some_patients_come_twice_with_the_same_body():
    scripts = [write_script(SMALL, index) for index in range(40)]
    pairs = [(a, b) for a in scripts for b in scripts if a.index < b.index and a.patient.index == b.patient.index]
    assert 4 <= len(pairs) <= 12
    first, second = pairs[0]
    assert first.protocol != second.protocol
    assert first.pose != second.pose
    once_more = replace(second, index=first.index, pose=first.pose, protocol=first.protocol, mimics=first.mimics)
    a, b = (render(replace(script, finding=NORMAL)) for script in (first, once_more))
    assert a.stored.tobytes() == b.stored.tobytes()
    assert np.array_equal(lung_vessels(0, first.patient).points, lung_vessels(0, second.patient).points)


def test_scanner_and_mimics_tell_nothing_of_the_class():
    scripts = [write_script(SMALL, index) for index in range(1600)]
    ill = np.array([script.finding.severity > 0 for script in scripts])
    machine = np.array([script.protocol.machine.name for script in scripts])
    table = [[np.sum(ill[machine == each.name] == state) for each in MACHINES] for state in (True, False)]
    assert stats.chi2_contingency(table).pvalue > 0.01
    for kind in ("atelectasis", "expiration", "motion_mm"):
        amount = np.array([getattr(script.mimics, kind) for script in scripts])
        assert np.array_equal(np.sort(amount[ill]), np.sort(amount[~ill]))
        assert amount.max() > 0


def test_a_confounded_cohort_gives_the_class_away_by_its_scanner():
    scripts = [write_script(replace(SMALL, confound=1.0), index) for index in range(60)]
    halves = [{s.protocol.machine.name for s in scripts if (s.finding.severity > 0) == ill} for ill in (True, False)]
    assert halves[0].isdisjoint(halves[1])
    plain_scripts = [write_script(SMALL, index) for index in range(60)]
    assert [s.finding for s in scripts] == [s.finding for s in plain_scripts]


# --- settings


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"scans": 0}, "scans: 0"),
        ({"seed": -1}, "seed: -1"),
        ({"difficulty": "trivial"}, "easy, medium, hard"),
        ({"shape": (128, 128)}, "expected three sizes"),
        ({"shape": (8, 128, 40)}, "expected three sizes"),
        ({"shape": (4096, 4096, 400)}, "voxels"),
        ({"confound": 1.5}, "confound: 1.5"),
    ],
)
def test_impossible_settings_are_refused(wrong, said):
    with pytest.raises(PhantomError, match=said):
        CohortSettings(**wrong)


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_the_smallest_shape_makes_a_scan(difficulty):
    scan = make_scan(CohortSettings(shape=(16, 16, 8), difficulty=difficulty), 0)
    assert scan.lung.any()
