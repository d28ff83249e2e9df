"""A file is there whole or not at all, and JSON is strict both ways."""

import csv
import hashlib
import subprocess
import sys

import pytest

from ctmodel.errors import RunDamaged, RunMissing
from ctmodel.run.files import json_bytes, read_csv, read_json, sha256_of, whole_file, write_csv, write_json


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "scores.json"
    write_json(path, {"n": 1})
    with pytest.raises(KeyboardInterrupt), whole_file(path) as partial:
        partial.write_text("{")
        raise KeyboardInterrupt
    assert read_json(path) == {"n": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_two_processes_never_write_to_one_file(tmp_path):
    code = "import sys; from pathlib import Path; from ctmodel.run.files import whole_file as whole\n"
    code += "with whole(Path(sys.argv[1])) as partial: partial.touch(); print(partial.name, end='')"
    path = tmp_path / "model.weights.h5"
    with whole_file(path) as partial:
        partial.write_text("ours")
        done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout != partial.name
    assert {name.rpartition("model")[2] for name in (done.stdout, partial.name)} == {".weights.h5"}
    assert path.read_text() == "ours"
    assert list(tmp_path.iterdir()) == [path]


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "scores.json", {"auroc": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ['{"auroc": NaN}', '{"auroc": ', "[1]", "", "[" * 100_000])
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
    rows = [('a,"b"', 0.1 + 0.2), ("ü", 1 / 3), ("two\nlines", 0.0), ("a\u2028b\x0bc\x85d", 1.0)]
    write_csv(path, ("scan", "value"), rows)
    assert [(name, float(value)) for name, value in read_csv(path, ("scan", "value"))] == rows


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1", "-1", "@sum(a1)", "\t=1", "'quoted", "''"])
def test_no_name_is_a_formula_to_a_spreadsheet_and_each_comes_back(tmp_path, name):
    path = tmp_path / "table.csv"
    write_csv(path, ("scan", "value"), [(name, -1.5)])
    with path.open(newline="") as file:
        assert list(csv.reader(file))[1] == [f"'{name}", "-1.5"]
    assert read_csv(path, ("scan", "value")) == [[name, "-1.5"]]


def test_a_field_that_is_too_large_for_a_table_is_damage(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(f"scan,value\n{'x' * 200_000},1\n")
    with pytest.raises(RunDamaged, match=r"table\.csv: is not a table \(field larger than"):
        read_csv(path, ("scan", "value"))


@pytest.mark.parametrize("read", [read_json, lambda path: read_csv(path, ("scan",))])
def test_a_folder_in_the_place_of_a_file_is_damage(tmp_path, read):
    with pytest.raises(RunDamaged, match="cannot be read"):
        read(tmp_path)


def test_a_digest_is_that_of_the_bytes_written(tmp_path):
    path = tmp_path / "scores.json"
    write_json(path, {"näme": 1})
    assert sha256_of(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.read_bytes() == json_bytes({"näme": 1})


@pytest.mark.parametrize("text", ["", "scan,label\na,1\n", "scan,value\na\n"])
def test_another_table_is_damage(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(RunDamaged, match="the columns scan, value"):
        read_csv(path, ("scan", "value"))
