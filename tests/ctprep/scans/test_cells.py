"""Tables as spreadsheets and scripts leave them."""

import gzip
import zipfile

import pytest

from ctprep.errors import CatalogError
from ctprep.scans.catalog import find_scans
from tests.ctprep.scans.layouts import found, note, touch, write_table

ROWS = ["scan;label", "1;ill", "2;well"]


@pytest.fixture
def raw(tmp_path):
    return touch(tmp_path / "raw", "1.nii", "2.nii")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("first", [[], ["sep=;"], ["", "# made by hand"]])
def test_encodings_comments_and_excel_s_first_line_are_read(raw, tmp_path, encoding, first):
    table = write_table(tmp_path / "t.csv", *first, *ROWS, encoding=encoding)
    assert found(find_scans(raw, labels=table)) == {"1": "ill", "2": "well"}


def test_the_separator_that_excel_names_is_the_one(raw, tmp_path):
    table = write_table(tmp_path / "t.csv", "sep=|", "scan|label|age;years", "1|ill|5,5", "2|well|6,5")
    assert found(find_scans(raw, labels=table)) == {"1": "ill", "2": "well"}


def test_comments_are_counted(raw, tmp_path):
    table = write_table(tmp_path / "t.csv", "# one", *ROWS, "#3;ill")
    assert note(find_scans(raw, labels=table), "labels: ").startswith("labels: 2 lines of t.csv that begin with #")


def test_a_quoted_cell_may_begin_a_line_with_a_hash(raw, tmp_path):
    table = write_table(tmp_path / "t.csv", "scan,label,remark", '1,ill,"see', '# 7"', "2,well,none")
    assert dict(find_scans(raw, labels=table).scans[0].meta) == {"remark": "see\n# 7"}


def test_a_line_that_does_not_fit_is_named_by_its_number_in_the_file(raw, tmp_path):
    with pytest.raises(CatalogError, match=r"line 5 has 1 cells"):
        find_scans(raw, labels=write_table(tmp_path / "t.csv", "sep=;", "# x", "scan;label", "1;ill", "2"))


def as_workbook(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")


def as_old_workbook(path):
    path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500))


def as_gzip(path):
    path.write_bytes(gzip.compress(b"scan,label\n1,ill\n"))


def as_web_page(path):
    path.write_text("<!DOCTYPE html><html></html>")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (as_workbook, "is a workbook .*save its sheet as CSV UTF-8"),
        (as_old_workbook, "is a workbook .*save its sheet as CSV UTF-8"),
        (as_gzip, "is compressed; unpack it first"),
        (as_web_page, "is a web page or XML, not a table"),
    ],
)
def test_what_is_no_table_is_called_what_it_is(raw, tmp_path, write, message):
    write(tmp_path / "labels.xlsx")
    with pytest.raises(CatalogError, match=message):
        find_scans(raw, labels=tmp_path / "labels.xlsx")


def test_a_table_in_utf_16_without_its_mark_is_refused(raw, tmp_path):
    (tmp_path / "t.csv").write_bytes("scan,label\np0,a\n".encode("utf-16-le"))
    with pytest.raises(CatalogError, match=r"t\.csv: is not UTF-8 text; save it as UTF-8"):
        find_scans(raw, labels=tmp_path / "t.csv")
