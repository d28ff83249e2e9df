"""A file is there whole or not at all, and JSON is strict both ways."""

import pytest

from ctmodel.errors import RunDamaged, RunMissing
from ctmodel.files import read_csv, read_json, whole_file, write_csv, write_json


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "scores.json"
    write_json(path, {"n": 1})
    with pytest.raises(KeyboardInterrupt), whole_file(path) as partial:
        partial.write_text("{")
        raise KeyboardInterrupt
    assert read_json(path) == {"n": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "scores.json", {"auroc": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ['{"auroc": NaN}', '{"auroc": ', "[1]", ""])
def test_what_is_not_a_strict_json_object_is_damage(tmp_path, text):
    path = tmp_path / "scores.json"
    path.write_text(text)
    with pytest.raises(RunDamaged, match=r"scores\.json"):
        read_json(path)


def test_bytes_that_are_no_text_are_damage(tmp_path):
    path = tmp_path / "scores.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RunDamaged, match="is not text"):
        read_json(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RunMissing, match=r"split\.csv: is not there"):
        read_csv(tmp_path / "split.csv", ("scan",))


def test_a_table_keeps_every_digit_and_odd_name(tmp_path):
    path = tmp_path / "table.csv"
    rows = [('a,"b"', 0.1 + 0.2), ("ü", 1 / 3)]
    write_csv(path, ("scan", "value"), rows)
    assert [(name, float(value)) for name, value in read_csv(path, ("scan", "value"))] == rows


@pytest.mark.parametrize("text", ["", "scan,label\na,1\n", "scan,value\na\n"])
def test_another_table_is_damage(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(RunDamaged, match="the columns scan, value"):
        read_csv(path, ("scan", "value"))
