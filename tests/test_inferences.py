"""The page of what is inferred: each option exists, and each note is one that the program prints."""

import re
from pathlib import Path

import nibabel
import numpy as np
import pytest

import cli
from ctprep.conversion.convert import convert
from ctprep.scans.catalog import find_scans
from ctprep.views.preview import plan_conversion
from ctprep.volume.recipe import Recipe
from tests.conftest import LAS, chest_hu, write_scan
from tests.ctprep.scans.layouts import touch, write_table

PAGE = Path(__file__).parents[1] / "docs/inferences.md"


def rows(program):
    """Return the cells of the table of one of the two programs."""
    section = PAGE.read_text().partition(f"## {program}\n")[2].partition("\n## ")[0]
    table = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    assert table[0][0].strip() == "what"
    return [[cell.strip() for cell in row] for row in table[1:]]


def padded():
    """Return a chest whose corners are padding."""
    hu = chest_hu(seed=7)
    hu[:2, :2] = -2000
    return hu


def said(note, lines):
    """Tell whether one of some lines is a note of the page, whose `…` stands for anything."""
    pattern = ".+".join(map(re.escape, note.strip("`").split("…")))
    return any(re.search(pattern, line) for line in lines)


@pytest.mark.parametrize("program", ["ctprep", "ctmodel"])
def test_every_option_that_decides_an_inference_exists(program):
    known = {
        name: {
            option
            for one in group.commands.values()
            for param in one.params
            for option in (*param.opts, *param.secondary_opts)
        }
        for name, group in (("ctprep", cli.ctprep), ("ctmodel", cli.ctmodel))
    }
    for *_, decides in rows(program):
        assert decides
        for span in re.findall(r"`([^`]+)`", decides):
            of = "ctprep" if span.startswith("ctprep ") else program
            assert span.split()[-1] in known[of], span


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """Return every note and line of the plans of small folders of every kind."""
    home = tmp_path_factory.mktemp("inferences")
    plans = []

    def found(raw, **options):
        return [f"note: {note}" for note in find_scans(raw, **options).notes]

    names = [f"{c}/{s}/{n}.nii" for c in ("ill", "well") for s in ("train", "test") for n in "ab"]
    classes = touch(home / "classes", *names)
    touch(classes, "ill/train/a_mask.nii")
    write_table(classes / "other.csv", "scan,label")
    plans += found(classes)
    studies = touch(home / "deep", *(f"studies/{c}/{n}.nii" for c in ("ill", "well") for n in "ab"))
    plans += found(studies, classes={"well": ["well"], "ill": ["ill"]})
    bids = touch(home / "bids", *(f"sub-{n}/ct/sub-{n}_ct.nii" for n in range(3)))
    plans += found(bids)
    write_table(bids / "participants.tsv", "participant_id\tlabel", "sub-0\ta", "sub-1\tb", "sub-2\ta")
    plans += found(bids)
    flat = touch(home / "flat", *(f"p{n}.nii" for n in range(4)), "deep/q.nii")
    table = write_table(
        home / "t.csv", "# made by hand", "filename,label,PatientID,MRN,split",
        "p0,0,1,7,train", "p1,0.0,2,8,test", "p2,1,3,9,train", "p3,1,4,9,train", "q,1,5,9,test",
    )  # fmt: skip
    plans += found(flat, labels=table)
    plans += found(flat, labels=write_table(home / "m.csv", "scan,label,MRN", "p0,a,1", "p1,b,2", "p2,a,2"))
    plans += found(flat, labels=write_table(home / "p.csv", "patient_id,label", "p0,a", "p1,b", "p2,a"))
    flags = write_table(home / "f.csv", "scan,well,ill", "p0,1,0", "p1,0,1", "p2,1,0")
    plans += found(flat, labels=flags, classes={"well": ["well"], "ill": ["ill"]})

    raw = home / "raw"
    turned = np.array([[-6.0, 3, 0, 0], [-3, -6, 0, 0], [0, 0, 8, 0], [0, 0, 0, 1]])
    write_scan(raw / "ill/a.nii", seed=1)
    write_scan(raw / "well/b.nii", seed=2, affine=turned)
    (raw / "ill/c.nii").write_bytes(b"text")
    write_scan(raw / "well/unscaled.nii", chest_hu(seed=4) + 1024)
    write_scan(raw / "well/padded.nii", padded(), affine=LAS)
    content = bytearray(write_scan(raw / "well/unsaid.nii", seed=5).read_bytes())
    content[252:256] = bytes(4)  # neither a qform nor an sform
    (raw / "well/unsaid.nii").write_bytes(content)
    image = nibabel.load(write_scan(raw / "well/two.nii", seed=6))
    image.set_qform(np.diag([1.5, 1.5, 5.0, 1.0]), 1)
    nibabel.save(nibabel.Nifti1Image(image.get_fdata(), image.affine, image.header), raw / "well/two.nii")
    choices = {"accept": {"well/unscaled": ["not-hu"]}, "orientation": {"": "LAS"}}
    near = Recipe(shape=(4, 4, 4), spacing_mm=(1, 1, 1))
    plans += convert(find_scans(raw, **choices), home / "near.zarr", recipe=near, scheduler="synchronous").notes
    plans += plan_conversion(raw, home / "out.zarr").lines()
    convert(raw, home / "out.zarr", recipe=Recipe(shape=(4, 4, 4)), scheduler="synchronous")
    plans += plan_conversion(raw, home / "out.zarr").lines()
    return plans


@pytest.mark.parametrize(("what", "note"), [(row[0], row[2]) for row in rows("ctprep")])
def test_every_note_of_the_page_is_printed(lines, what, note):
    assert said(note, lines), what


def test_a_note_that_nothing_prints_would_be_found(lines):
    assert not said("`classes: the last folders name them`", lines)
