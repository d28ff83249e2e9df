"""What folders say: the class, unless they cannot be classes; a split, once that is affirmed; masks are left out."""

import pytest

from ctprep.errors import CatalogError
from ctprep.scans.catalog import find_scans
from tests.ctprep.scans.layouts import found, note, splits, touch, write_table


def in_folders(tmp_path, *folders, each=2):
    return touch(
        tmp_path / "raw", *(f"{folder}/{n}{k}.nii.gz" for n, folder in enumerate(folders) for k in range(each))
    )


def test_folders_that_hold_the_classes_are_asked_about(tmp_path):
    raw = in_folders(tmp_path, "studies/CT-0", "studies/CT-1")
    with pytest.raises(CatalogError) as error:
        find_scans(raw)
    assert "its folders studies (4 scans) do not look like classes" in str(error.value)
    assert "the folders below are CT-0 (2 scans), CT-1 (2 scans)" in str(error.value)
    assert f"--classes CT-0=CT-0 --classes CT-1=CT-1, or give {raw}/studies instead" in str(error.value)
    assert set(found(find_scans(raw / "studies")).values()) == {"CT-0", "CT-1"}


def test_classes_name_folders_at_any_depth(tmp_path):
    raw = in_folders(tmp_path, "studies/CT-0", "studies/CT-1", "studies/CT-2")
    catalog = find_scans(raw, classes={"well": ["CT-0"], "ill": ["CT-1"]})
    assert list(found(catalog).values()) == ["well", "well", "ill", "ill"]
    assert catalog.left_out == {"studies": 2}
    assert note(catalog, "classes: ") == "classes: their folders lie below studies"


def test_a_folder_that_looks_like_no_class_is_one_when_it_is_named(tmp_path):
    raw = in_folders(tmp_path, "studies/a", "studies/b", "other")
    catalog = find_scans(raw, classes={"x": ["other"], "y": ["studies"]})
    assert list(found(catalog).values()) == ["x", "x", "y", "y", "y", "y"]


def test_a_scan_in_the_folders_of_two_classes_is_asked_about(tmp_path):
    raw = in_folders(tmp_path, "ill/normal", "normal")
    classes = {"normal": ["normal"], "ill": ["ill"]}
    with pytest.raises(CatalogError, match=r"ill/normal: lies in folders of two classes, ill and normal"):
        find_scans(raw, classes=classes)
    catalog = find_scans(raw, classes={"normal": ["normal"], "ill": ["ill", "ill/normal"]})
    assert list(found(catalog).values()) == ["ill", "ill", "normal", "normal"]


def test_one_folder_of_others_is_asked_about_whatever_it_is_called(tmp_path):
    with pytest.raises(CatalogError, match=r"--classes CT-0=CT-0 --classes CT-1=CT-1, or give .*mosmed instead"):
        find_scans(in_folders(tmp_path, "mosmed/CT-0", "mosmed/CT-1"))


def test_folders_of_patients_below_a_class_are_not_asked_about(tmp_path):
    raw = in_folders(tmp_path, *(f"{name}/{n:03}" for name in ("ill", "well") for n in range(5)))
    assert set(found(find_scans(raw)).values()) == {"ill", "well"}


def test_the_same_folders_below_each_folder_are_asked_about(tmp_path):
    raw = in_folders(tmp_path, "north/ill", "north/well", "south/ill", "south/well")
    with pytest.raises(CatalogError, match=r"each hold the same folders \(ill \(4 scans\), well \(4 scans\)\)"):
        find_scans(raw)
    assert set(found(find_scans(raw, classes={"well": ["well"], "ill": ["ill"]})).values()) == {"ill", "well"}
    assert set(found(find_scans(raw, classes={"s": ["south"], "n": ["north"]})).values()) == {"s", "n"}


def test_bids_subjects_are_no_classes(tmp_path):
    raw = touch(tmp_path / "raw", "sub-1/sub-1_ct.nii", "sub-2/sub-2_ct.nii")
    catalog = find_scans(raw)
    assert catalog.classes == ()
    assert "the names sub-… are BIDS subjects" in note(catalog, "classes: the")
    with pytest.raises(CatalogError, match=r"raw holds a BIDS data set; give"):
        find_scans(tmp_path)


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Training", "Validation", "Testing"), ("1_train", "2_valid", "3_holdout"),
              ("imagesTr", "imagesVal", "imagesTs"), ("train_set", "dev_set", "test_set")]
)  # fmt: skip
def test_folders_of_a_split_are_asked_about_and_kept_when_affirmed(tmp_path, names):
    raw = in_folders(tmp_path, *(f"{name}/{label}" for name in names for label in ("ill", "well")))
    with pytest.raises(CatalogError, match=rf"{', '.join(names)} look like a split.*ill \(6.*add --split-folders"):
        find_scans(raw)
    catalog = find_scans(raw, split_folders=True)
    assert catalog.classes == ("ill", "well")
    for scan, subset in splits(catalog).items():
        assert subset == dict(zip(names, ("train", "validation", "test"), strict=True))[scan.split("/")[0]]
    assert "split: 4 train, 4 validation, 4 test" in note(catalog, "split: 4")


def test_a_split_below_the_classes_is_said_and_kept_when_affirmed(tmp_path):
    raw = in_folders(tmp_path, "ill/train", "ill/test", "well/train", "well/test")
    silent = find_scans(raw)
    assert silent.classes == ("ill", "well")
    assert "train, test look like one and it is not kept; --split-folders" in note(silent, "split: ")
    assert set(splits(find_scans(raw, split_folders=True)).values()) == {"train", "test"}


def test_a_folder_beside_those_of_a_split_has_no_subset(tmp_path):
    raw = in_folders(tmp_path, "train/ill", "train/well", "test/ill", "test/well", "extra/ill")
    catalog = find_scans(raw, split_folders=True, classes={"well": ["well"], "ill": ["ill"]})
    assert sorted(set(splits(catalog).values())) == ["", "test", "train"]
    assert note(catalog, "split: 2") == "split: 2 scans are in no subset"


def test_folders_of_a_split_need_to_be_there_and_to_be_alone(tmp_path):
    with pytest.raises(CatalogError, match=r"no folders such as train, val and test"):
        find_scans(in_folders(tmp_path, "ill", "well"), split_folders=True)
    raw = touch(tmp_path / "other", "train/1.nii", "test/2.nii")
    table = write_table(tmp_path / "t.csv", "scan,label,split", "train/1,a,train", "test/2,b,test")
    with pytest.raises(CatalogError, match=r"folders and a column both say the split"):
        find_scans(raw, labels=table, split_folders=True)
    assert set(splits(find_scans(raw, labels=table)).values()) == {"train", "test"}


MASKS = ["ill/a_mask", "ill/mask_a", "ill/a_seg", "well/b-segmentation", "ill/a_lungs", "ill/a_lesion_1", "masks/a",
         "lung_mask/b", "ill/masks/a", "labelsTr/a", "derivatives/x/a", "case/segmentation", "ill/a_label"]  # fmt: skip
SCANS = ["ill/a", "well/b", "well/lung_001", "well/c_lungs", "lesion/d", "ill/unmasked"]


def test_masks_are_known_by_their_names_and_left_out_with_a_note(tmp_path):
    raw = touch(tmp_path / "raw", *(f"{name}.nii.gz" for name in MASKS + SCANS))
    catalog = find_scans(raw)
    assert sorted(found(catalog)) == sorted(SCANS)
    assert note(catalog, "left out: ").startswith(f"left out: {len(MASKS)} that look like masks")
    assert "--include-masks takes them" in note(catalog, "left out: ")
    classes = {"well": ["well"], "ill": ["ill", "masks", "lung_mask", "labelsTr", "derivatives", "case"]}
    assert set(MASKS) <= set(found(find_scans(raw, include_masks=True, classes=classes)))


def test_what_a_table_or_a_class_names_is_no_mask(tmp_path):
    raw = touch(tmp_path / "raw", "ill/a_mask.nii", "well/b.nii", "masks/c.nii")
    table = write_table(tmp_path / "t.csv", "scan,label", "ill/a_mask.nii,x", "well/b,y")
    assert found(find_scans(raw, labels=table)) == {"ill/a_mask": "x", "well/b": "y"}
    assert set(found(find_scans(raw, classes={"a": ["well"], "b": ["masks"]}))) == {"well/b", "masks/c"}
    table = write_table(tmp_path / "t.csv", "scan,label", "a_mask,x", "b,y")
    assert found(find_scans(raw, labels=table)) == {"ill/a_mask": "x", "well/b": "y"}


def test_a_column_of_masks_names_no_scans(tmp_path):
    raw = touch(tmp_path / "raw", "images/1.nii", "images/2.nii", "masks/1.nii", "masks/2.nii", "images/1_seg.nii")
    rows = ["images/1.nii,images/1_seg.nii,x", "2.nii,masks/2.nii,y"]
    catalog = find_scans(raw, labels=write_table(tmp_path / "t.csv", "image,mask,label", *rows))
    assert found(catalog) == {"images/1": "x", "images/2": "y"}


def test_a_table_of_patients_leaves_the_classes_to_folders_that_are_named(tmp_path):
    raw = touch(tmp_path / "raw", "studies/CT-0/1.nii", "studies/CT-1/2.nii")
    table = write_table(tmp_path / "t.csv", "scan,patient,age", "1,p,50", "2,q,60")
    catalog = find_scans(raw, labels=table, classes={"well": ["CT-0"], "ill": ["CT-1"]})
    assert list(found(catalog).values()) == ["well", "ill"]


def test_a_folder_of_nothing_but_masks_is_asked_about(tmp_path):
    with pytest.raises(CatalogError, match=r"2 files, all that there are, look like masks.*--include-masks"):
        find_scans(touch(tmp_path, "ill/a_mask.nii", "well/b_mask.nii"))


def test_lungs_and_lesions_of_scans_that_are_elsewhere_are_masks(tmp_path):
    raw = touch(tmp_path / "raw", *(f"{n % 2}/{n}_{what}.nii" for n in range(4) for what in ("lung", "lesion")))
    with pytest.raises(CatalogError, match=r"8 files, all that there are, look like masks"):
        find_scans(raw)


def test_patterns_leave_files_and_folders_out_and_say_how_many(tmp_path):
    raw = touch(tmp_path / "raw", "ill/a.nii", "ill/a_old.nii", "well/b.nii", "extra/x/c.nii", "well/x/d.nii")
    catalog = find_scans(raw, exclude=["*_old*", "extra/x", "nothing"])
    assert list(found(catalog)) == ["ill/a", "well/b", "well/x/d"]
    assert [line for line in catalog.notes if "--exclude" in line] == [
        "left out: 1 by --exclude *_old*",
        "left out: 1 by --exclude extra/x",
        "no file or folder fits --exclude nothing",
    ]
    assert list(found(find_scans(raw, exclude="x"))) == ["ill/a", "ill/a_old", "well/b"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.dcm", b"", "1 DICOM files are not read; convert them with: dcm2niix -z y -o raw FOLDER"),
        ("IM0001", bytes(128) + b"DICM", "IM0001 is a DICOM file; convert its folder with: dcm2niix"),
        ("all.zip", b"", "1 archives are not read; unpack them first: unzip"),
        ("slice.png", b"", "1 pictures are not read"),
    ],
)
def test_folders_of_other_formats_are_told_what_converts_them(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CatalogError, match=r"holds no scans") as error:
        find_scans(tmp_path)
    assert message in str(error.value)
    touch(tmp_path, "ill/1.nii", "well/2.nii")
    if "not read" in message:
        assert message in find_scans(tmp_path).notes[0]


@pytest.mark.parametrize(("above", "named"), [("dataset", "dataset"), ("COVID19/images", "COVID19/images")])
def test_a_split_below_another_folder_is_asked_about(tmp_path, above, named):
    touch(
        tmp_path, *(f"{above}/{s}/{c}/{s}{n}.nii" for s in ("train", "test") for c in ("ill", "normal") for n in "ab")
    )
    with pytest.raises(CatalogError, match="which look like a split") as refused:
        find_scans(tmp_path)
    assert f"its folder {named} holds the folders train, test" in str(refused.value)
    assert f"give {tmp_path / above} instead of {tmp_path}, and add --split-folders" in str(refused.value)
    inner = find_scans(tmp_path / above, split_folders=True, classes={"normal": ["normal"], "ill": ["ill"]})
    assert set(splits(inner).values()) == {"train", "test"}


def test_classes_below_folders_that_all_scans_share_are_asked_about(tmp_path):
    touch(tmp_path, *(f"COVID19/COVID-CT-MD/{c}/P{n:03}/scan.nii" for c in ("Normal", "COVID") for n in range(3)))
    with pytest.raises(CatalogError, match="all its scans lie in COVID19/COVID-CT-MD, which does not"):
        find_scans(tmp_path)
    assert find_scans(tmp_path / "COVID19/COVID-CT-MD").classes == ("COVID", "Normal")


def test_classes_are_offered_with_the_negative_one_first(tmp_path):
    touch(tmp_path, *(f"studies/{c}/{n}.nii" for c in ("covid", "normal") for n in range(3)))
    with pytest.raises(CatalogError, match="--classes normal=normal --classes covid=covid"):
        find_scans(tmp_path)


@pytest.mark.parametrize(
    "mask",
    ["a_seg", "a-label", "a_roi", "a.seg", "a_GT", "a_Mask", "a_bodymask", "a_lungmask_R231", "a_segmentation_lung",
     "a_totalseg", "a_lung_lobes", "lesion_a", "mask", "lung_mask", "deeper/mask"],
)  # fmt: skip
def test_a_mask_beside_its_scan_is_left_out_however_it_is_called(tmp_path, mask):
    touch(tmp_path, "ill/a.nii.gz", "ok/b.nii.gz", f"ill/{mask}.nii.gz")
    catalog = find_scans(tmp_path)
    assert list(found(catalog)) == ["ill/a", "ok/b"]
    assert f"(ill/{mask})" in note(catalog, "left out: 1 that look like masks")


@pytest.mark.parametrize("folder", ["segmentations", "lung_mask", "labelsTr", "annotations"])
def test_folders_of_masks_are_left_out(tmp_path, folder):
    touch(tmp_path, "ill/a.nii.gz", "ok/b.nii.gz", f"{folder}/a.nii.gz")
    assert list(found(find_scans(tmp_path))) == ["ill/a", "ok/b"]


@pytest.mark.parametrize("name", ["a_soft", "a_lung_kernel", "a_1", "lung_7", "a_manual", "tumour_board"])
def test_a_scan_whose_name_says_no_mask_stays(tmp_path, name):
    touch(tmp_path, "ill/a.nii.gz", "ok/b.nii.gz", f"ill/{name}.nii.gz")
    assert f"ill/{name}" in found(find_scans(tmp_path))
