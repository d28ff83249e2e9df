"""What a user meets: exit codes, one clear line for each mistake, output for people and for programs."""

import contextlib
import csv
import fcntl
import inspect
import json
import os
import pty
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

import cli
from ctmodel.settings import OF_ONE_FOLD, EvaluationSettings, Execution, FoldSettings, TrainSettings
from ctprep.conversion.convert import convert
from ctprep.conversion.staging import Staging
from ctprep.phantom.settings import CohortSettings
from ctprep.settings import settings_of
from ctprep.volume.recipe import Recipe
from tests.conftest import chest_hu, write_scan
from tests.processes import session_ends

ROOT = Path(__file__).parents[1]
GROUPS = {"ctprep": cli.ctprep, "ctmodel": cli.ctmodel}


@pytest.fixture
def type_in(tmp_path, monkeypatch):
    """Return a function that types a command in `tmp_path`."""
    monkeypatch.chdir(tmp_path)

    def run(line, **kwargs):
        program, *words = line.split()
        return CliRunner().invoke(GROUPS[program], words, **kwargs)

    return run


def one_line(result):
    """Return the one line of an error on stderr."""
    lines = result.stderr.strip().splitlines()
    assert not any("Traceback" in line for line in lines)
    return lines[-1]


@pytest.fixture
def store(raw, type_in):
    assert type_in("ctprep convert raw out.zarr --shape 8 8 4").exit_code == 0
    return raw.parent / "out.zarr"


SETTINGS = {
    "ctprep convert": [Recipe],
    "ctprep plan": [Recipe],
    "ctprep phantom": [CohortSettings],
    "ctmodel train": [TrainSettings, Execution],
    "ctmodel evaluate": [EvaluationSettings],
    "ctmodel crossval": [FoldSettings, Execution],
}


@pytest.mark.parametrize("line", SETTINGS)
def test_a_command_has_an_option_for_every_setting_with_its_default_and_help(line):
    program, name = line.split()
    options = {option.name: option for option in GROUPS[program].commands[name].params}
    known = {name: one for settings in SETTINGS[line] for name, one in settings_of(settings).items() if not one.fixed}
    assert known.keys() <= options.keys()
    for name, one in known.items():
        assert (options[name].default, options[name].help) == (one.default, one.about)
        if one.beside:
            assert options[name].metavar == f"[{'|'.join([*one.choices, one.beside])}]"
        else:
            assert tuple(getattr(options[name].type, "choices", ())) == one.choices
        assert (getattr(options[name].type, "min", None), getattr(options[name].type, "max", None)) == (
            one.minimum,
            one.maximum,
        )


def test_a_cross_validation_has_the_options_of_a_training_but_for_those_of_one_fold():
    options = {option.name for option in cli.ctmodel.commands["crossval"].params}
    assert set(settings_of(TrainSettings)) - options == set(OF_ONE_FOLD) - {"folds", "leave_out"}


def test_an_option_accepts_what_its_setting_accepts(raw, type_in):
    for line in ("--learning-rate 0", "--validation 1", "--seed 4294967296", "--fold 0", "--checkpoint-every -1"):
        result = type_in(f"ctmodel train out.zarr --run run {line}")
        assert (result.exit_code, "is not in the range" in result.stderr) == (2, True), line
    assert "folds: 1, expected 0 for no folds" in type_in("ctmodel train out.zarr --run run --folds 1").stderr


def test_a_conversion_chooses_its_scheduler_in_the_same_way_from_python():
    (option,) = [one for one in cli.ctprep.commands["convert"].params if one.name == "scheduler"]
    assert inspect.signature(convert).parameters["scheduler"].default == option.default == "auto"


def test_a_class_may_be_named_twice(raw, type_in):
    shutil.copytree(raw / "CT-0", raw / "CT-2")
    line = (
        "ctprep convert raw out.zarr --classes a=CT-0 --classes b=CT-1 --classes a=CT-2 --shape 8 8 4 --allow-rejected"
    )
    assert type_in(line).exit_code == 0
    assert list(json.loads(type_in("ctprep info out.zarr --json").stdout)["classes"]) == ["a", "b"]


def test_a_conversion_says_what_it_did(raw, type_in):
    first = type_in("ctprep convert raw out.zarr")
    assert first.exit_code == 0
    assert first.stdout == (
        "out.zarr: 6 scans of 6 patients (3 CT-0, 3 CT-1); 6 converted, 0 reused, 0 removed, 0 rejected\n"
    )
    second = json.loads(type_in("ctprep convert raw out.zarr --json").stdout)
    assert "CT-1 is the positive class; if it is not, name both with --classes" in second.pop("notes")
    assert second == {"scans": 6, "patients": 6, "converted": 0, "reused": 6, "removed": 0, "rejected": []}


def test_rejected_scans_are_listed_and_change_the_exit_code(raw, type_in):
    (raw / "CT-0" / "bad.nii.gz").write_bytes(b"text")
    result = type_in("ctprep convert raw out.zarr")
    assert result.exit_code == 3
    assert "rejected  unreadable  CT-0/bad: bad.nii.gz: is not NIfTI" in result.stderr
    assert type_in("ctprep convert raw out.zarr --allow-rejected").exit_code == 0
    strict = type_in("ctprep convert raw other.zarr --strict")
    assert strict.exit_code == 1
    assert not (raw.parent / "other.zarr").exists()


def test_scans_whose_patient_nobody_named_are_told(raw, type_in):
    note = "note: no table or pattern names the patients of {} scans: each counts as a patient of its own\n"
    assert note.format(6) in type_in("ctprep convert raw out.zarr").stderr
    by_pattern = type_in(r"ctprep convert raw out.zarr --patient-pattern CT-\d")
    assert "patients of" not in by_pattern.stderr
    assert "6 scans of 2 patients (3 CT-0, 3 CT-1)" in by_pattern.stdout
    rows = ["scan,patient", *(f"CT-{n // 3}/study_{n:04},{'' if n else 'CT-0/study_0000'}" for n in range(6))]
    (raw.parent / "t.csv").write_text("\n".join(rows))
    assert note.format(5) in type_in("ctprep convert raw out.zarr --labels t.csv").stderr


def test_the_positive_class_is_named_where_nobody_chose_it(raw, type_in):
    note = "note: CT-1 is the positive class; if it is not, name both with --classes\n"
    assert note in type_in("ctprep plan raw out.zarr").stdout
    assert note in type_in("ctprep convert raw out.zarr").stderr
    assert note not in type_in("ctprep plan raw out.zarr --classes ill=CT-1 --classes well=CT-0").stdout
    shutil.copytree(raw / "CT-0", raw / "CT-2")
    assert "positive" not in type_in("ctprep plan raw out.zarr").stdout


def test_a_plan_is_for_people_and_for_programs(raw, type_in):
    (raw / "CT-0" / "bad.nii.gz").write_bytes(b"text")
    lines = type_in("ctprep plan raw out.zarr").stdout.splitlines()
    assert lines[-2].startswith("reject  CT-0/bad  class CT-0  unreadable")
    planned = json.loads(type_in("ctprep plan raw out.zarr --json").stdout)
    assert [row["action"] for row in planned["rows"]] == ["reject"] + ["convert"] * 6
    assert [f"note: {note}" for note in planned["notes"]] == lines[: len(planned["notes"])]
    table = type_in("ctprep plan raw out.zarr --csv")
    assert [row["scan"] for row in csv.DictReader(table.stdout.splitlines())] == [
        row["scan"] for row in planned["rows"]
    ]
    assert table.stderr.startswith("note: ")


def test_info_is_for_people_and_for_programs(store, type_in):
    summary = json.loads(type_in("ctprep info out.zarr --json").stdout)
    assert (summary["scans"], summary["classes"]) == (6, {"CT-0": 3, "CT-1": 3})
    text = type_in("ctprep info out.zarr").stdout
    assert summary["digest"] in text
    assert max(map(len, text.splitlines())) < 200


def test_verify_lists_what_it_finds_and_says_so_with_its_exit_code(raw, store, type_in):
    whole = type_in("ctprep verify out.zarr --raw raw --all")
    assert (whole.exit_code, whole.stdout.count("\n")) == (0, 1)
    assert "6 volumes read, 6 prepared again, 0 findings" in whole.stdout
    (store / "volume" / "c.2.0.0.0").unlink()
    damaged = type_in("ctprep verify out.zarr")
    assert damaged.exit_code == 1
    assert damaged.stdout.startswith("CT-0/study_0002  its volume is missing; convert again to rebuild it\n")
    findings = json.loads(type_in("ctprep verify out.zarr --json").stdout)["findings"]
    assert [finding["where"] for finding in findings] == ["CT-0/study_0002"]


def test_a_spacing_may_be_one_number_or_three(raw, type_in):
    for number, spacing in enumerate(("2", "2x2x5", "2,2,5")):
        assert type_in(f"ctprep convert raw {number}.zarr --spacing {spacing}").exit_code == 0
        recipe = json.loads(type_in(f"ctprep info {number}.zarr --json").stdout)["recipe"]
        assert recipe["spacing_mm"] == ([2, 2, 2], [2, 2, 5], [2, 2, 5])[number]


def test_export_and_montage_name_their_files_themselves_and_overwrite_none(store, type_in):
    for name in ("CT-0/study_0001", "CT-0/study_0001.nii.gz", "study_0001", "study_0001.nii"):
        result = type_in(f"ctprep export out.zarr {name}")
        assert (result.exit_code, result.stdout) == (0, "CT-0_study_0001.nii.gz\n")
        assert "CT-0_study_0001.nii.gz: exists already" in type_in(f"ctprep export out.zarr {name}").stderr
        (store.parent / "CT-0_study_0001.nii.gz").unlink()
    assert type_in("ctprep montage out.zarr").stdout == "out.png\n"
    again = type_in("ctprep montage out.zarr")
    assert (again.exit_code, "out.png: exists already" in again.stderr) == (1, True)


def test_a_picture_is_a_picture(store, type_in):
    assert type_in("ctprep montage out.zarr out.png --scans-per-class 2").exit_code == 0
    assert (store.parent / "out.png").read_bytes().startswith(b"\x89PNG")


WRONG = {
    "ctprep": (2, "Usage"),
    "ctprep nonsense": (2, "is not a command of ctprep"),
    "ctprep convert": (2, "Missing argument"),
    "ctprep convert missing out.zarr": (1, "missing: is not a folder"),
    "ctprep convert empty out.zarr": (1, "holds no scans"),
    "ctprep convert raw taken": (1, "is not a ctprep store"),
    "ctprep convert raw no/such/out.zarr": (1, "its parent folder does not exist"),
    "ctprep convert raw out.zarr": (1, "was made by another recipe"),
    "ctprep convert raw damaged.zarr --shape 8 8 8": (
        1,
        "make it anew from its sources with: ctprep convert --rebuild",
    ),
    "ctprep convert raw new.zarr --shape 0 64 32": (2, "is not three whole numbers"),
    "ctprep convert raw new.zarr --shape 1024 1024 1024": (2, "choose fewer voxels"),
    "ctprep convert raw new.zarr --shape 64 64": (2, "requires 3 arguments"),
    "ctprep convert raw new.zarr --window 400 -1000": (2, "is not a lower and a higher bound"),
    "ctprep convert raw new.zarr --spacing thick": (2, "is neither one size in mm"),
    "ctprep convert raw new.zarr --spacing -2": (2, "is not three sizes from"),
    "ctprep convert raw new.zarr --dtype int8": (2, "is not one of"),
    "ctprep convert raw new.zarr --workers 0": (2, "is not in the range"),
    "ctprep convert raw new.zarr --scheduler magic": (1, "is unknown"),
    "ctprep convert raw new.zarr --labels missing.csv": (1, "missing.csv: cannot be read"),
    "ctprep convert raw new.zarr --classes CT-0": (2, "is not NAME=FOLDER"),
    "ctprep convert raw new.zarr --classes a=CT-7": (1, "there is: CT-0, CT-1"),
    "ctprep convert raw new.zarr --patient-pattern (": (1, "is not a regular expression"),
    "ctprep hlep": (2, "'hlep' is not a command of ctprep. Did you mean: --help?"),
    "ctprep conver raw new.zarr": (2, "Did you mean: convert?"),
    "ctprep train out.zarr": (2, "Did you mean: ctmodel train?"),
    "ctmodel xyz": (2, "Did you mean: train, "),
    "ctprep plan missing out.zarr": (1, "missing: is not a folder"),
    "ctprep plan raw new.zarr --json --csv": (2, "exclude each other"),
    "ctprep info missing.zarr": (1, "no store is here"),
    "ctprep info taken": (1, "is not a readable ctprep store"),
    "ctprep verify missing.zarr": (1, "no store is here"),
    "ctprep verify old.zarr --all": (2, "add --raw RAW"),
    "ctprep verify old.zarr --raw missing": (1, "missing: is not a folder"),
    "ctprep verify old.zarr --raw raw --all --sample 2": (2, "exclude each other"),
    "ctprep info damaged.zarr": (1, "its array label is missing"),
    "ctprep export out.zarr nothing": (1, "no such scan"),
    "ctprep export out.zarr CT-0/study_0000 --out mine.nii": (1, "exists already"),
    "ctprep montage out.zarr picture.txt": (1, "is not named as a picture"),
    "ctprep montage out.zarr no/such/folder.png": (1, "cannot be written"),
    "ctprep phantom taken": (1, "taken"),
    "ctprep phantom new --scans 0": (2, "is not in the range"),
    "ctprep phantom new --difficulty absurd": (2, "is not one of"),
    "ctprep phantom new --shape 2 2 2": (2, "shape"),
    "ctmodel augment out.zarr nothing out.png": (1, "no such scan"),
    "ctmodel augment out.zarr CT-0/study_0000 out.png --augment weak": (2, "is not one of"),
    "ctmodel augment out.zarr CT-0/study_0000 picture.txt": (1, "is not named as a picture"),
    "ctmodel train missing.zarr --run run": (1, "no store is here"),
    "ctmodel train damaged.zarr --run run": (1, "its array label is missing"),
    "ctmodel train out.zarr": (2, "Missing option"),
    "ctmodel train out.zarr --run run --network resnet9000": (2, "expected one of compact, founding"),
    "ctmodel train out.zarr --run run --folds 9": (1, "9"),
    "ctmodel train out.zarr --run run --epochs 0": (2, "is not in the range"),
    "ctmodel train out.zarr --run run --fold 2": (2, "expected the number of folds"),
    "ctmodel train out.zarr --run out.zarr/run": (1, "lies in the store"),
    "ctmodel train one.zarr --run run": (1, "class"),
    "ctmodel train out.zarr --run taken": (1, "taken"),
    "ctmodel train out.zarr --run run --leave-out site": (2, "expected COLUMN=VALUE"),
    "ctmodel train out.zarr --run run --leave-out site=A": (1, "no such column"),
    "ctmodel crossval missing.zarr --run run": (1, "no store is here"),
    "ctmodel crossval out.zarr": (2, "Missing option"),
    "ctmodel crossval out.zarr --run run --folds 1": (2, "is not in the range"),
    "ctmodel crossval out.zarr --run run --folds 9": (1, "expected at least 9"),
    "ctmodel crossval out.zarr --run run --group site": (1, "no such column"),
    "ctmodel crossval out.zarr --run run --group site --leave-out site": (2, "leave out group"),
    "ctmodel crossval out.zarr --run run --fold 2": (2, "No such option"),
    "ctmodel crossval out.zarr --run out.zarr/run --folds 3": (1, "lies in the store"),
    "ctmodel crossval out.zarr --run taken --folds 3": (1, "taken"),
    "ctmodel evaluate missing": (1, "missing"),
    "ctmodel evaluate taken": (1, "taken"),
    "ctmodel evaluate missing --threshold best": (2, "expected half, a probability such as 0.3, youden"),
    "ctmodel evaluate missing --prevalence 5": (2, "prevalence: 5.0, expected more than 0 and less than 1"),
    "ctmodel train out.zarr --run run --threshold 2": (2, "threshold: '2', expected half"),
    "ctmodel evaluate taken --null-network": (2, "add --null N"),
    "ctmodel compare missing taken": (1, "missing"),
    "ctmodel compare taken": (1, "expected two or more"),
    "ctmodel predict missing scan.nii": (1, "missing"),
    "ctmodel predict missing scan.nii --out mine.nii": (1, "mine.nii: exists already and is left alone"),
    "ctmodel predict missing scan.nii --out no/such.csv": (1, "its parent folder does not exist"),
    "ctmodel report missing": (1, "is not a run"),
    "ctmodel report taken": (1, "taken"),
    "ctmodel report taken --format gif": (2, "is not one of"),
    "ctmodel predict taken": (2, "Missing argument"),
}


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    """Return a folder with everything that a wrong command could destroy."""
    folder = tmp_path_factory.mktemp("crowded")
    for number in range(6):
        write_scan(folder / "raw" / f"CT-{number % 2}" / f"study_{number:04}.nii.gz", seed=number)
    write_scan(folder / "one" / "CT-0" / "a.nii", seed=1)
    (folder / "empty").mkdir()
    (folder / "taken").mkdir()
    (folder / "taken" / "thesis.txt").write_text("mine")
    (folder / "mine.nii").write_text("mine")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for words in ("raw out.zarr", "raw damaged.zarr", "one one.zarr"):
        code = f"import cli; cli.ctprep('convert {words} --shape 8 8 8'.split())"
        subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, check=True, capture_output=True)
    (folder / "damaged.zarr" / "label" / "c" / "0").unlink()
    return folder


def snapshot(folder):
    """Return every file's bytes, but for the hidden folders beside stores, which hold nothing that is anyone's."""
    return {
        path: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not any(part.endswith(".ctprep") for part in path.parts)
    }


@pytest.mark.parametrize("line", WRONG)
def test_a_mistake_is_said_in_one_line_and_destroys_nothing(crowded, monkeypatch, line):
    monkeypatch.chdir(crowded)
    before = snapshot(crowded)
    program, *words = line.split()
    result = CliRunner().invoke(GROUPS[program], words)
    code, message = WRONG[line]
    assert result.exit_code == code, result.output
    assert message in (one_line(result) if code == 1 else result.output)
    if code == 1:
        assert one_line(result).startswith("Error: ")
    assert snapshot(crowded) == before


def test_runs_are_compared_as_a_table_or_as_json(type_in, tmp_path):
    shutil.copytree(ROOT / "tests/data/version_0.1", tmp_path, dirs_exist_ok=True)
    shutil.copytree("run", "same")
    shown, told = type_in("ctmodel compare run same"), type_in("ctmodel compare run same --json")
    assert (shown.exit_code, told.exit_code) == (0, 0)
    assert "run 2 - run 1" in shown.stdout.splitlines()
    assert json.loads(told.stdout)["n"] == 4


def test_scores_on_permuted_labels_are_shown_on_request(type_in, tmp_path):
    shutil.copytree(ROOT / "tests/data/version_0.1", tmp_path, dirs_exist_ok=True)
    told = type_in("ctmodel evaluate run --null 3 --json")
    assert told.exit_code == 0
    assert json.loads(told.stdout)["null"]["scores"]["metadata"]["log_loss"]["p"] in (0.25, 0.5, 0.75, 1)


def test_a_locked_target_is_said(raw, type_in):
    with Staging(raw.parent / "out.zarr").locked():
        result = type_in("ctprep convert raw out.zarr")
    holder = f"process {os.getpid()} on {os.uname().nodename}"
    said = f"Error: {raw.parent / 'out.zarr'}: {holder} is writing it; wait for it to end"
    assert (result.exit_code, one_line(result)) == (1, said)


def test_an_interruption_is_said_with_a_way_on(raw, type_in, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(import_module("ctprep.conversion.convert"), "run_all", interrupted)
    result = type_in("ctprep convert raw out.zarr")
    assert result.exit_code == 1
    assert "run the same command again" in one_line(result)


INTERRUPTED = """
import click, cli, contextlib, os, signal

@click.group(cls=cli.Group)


def program():
    pass

@program.command()


def train():
    with {context}:
        os.write(2, {noise})
        os.kill(os.getpid(), signal.{signal})

program(["train"])
"""


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize(
    ("context", "noise"), [("contextlib.nullcontext()", b""), ("cli._held_back_stderr()", b"TensorFlow says much")]
)
def test_a_signal_ends_a_command_in_one_line(tmp_path, context, noise, number):
    """Also while what TensorFlow writes to stderr is held back."""
    (tmp_path / "program.py").write_text(INTERRUPTED.format(context=context, noise=noise, signal=number))
    done = in_shell(f"{sys.executable} program.py", tmp_path)
    said = "Error: interrupted; finished steps are kept: add --resume to continue at the same step\n"
    assert (done.returncode, done.stderr) == (1, said)


def test_what_is_held_back_is_shown_when_it_explains_an_error(tmp_path):
    code = "import cli, os\nwith cli._held_back_stderr():\n    os.write(2, b'no such symbol ')\n    raise ImportError"
    done = in_shell(f'{sys.executable} -c "{code}"', tmp_path)
    assert done.stderr.startswith("no such symbol Traceback")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_phantom_leaves_nothing(tmp_path, number):
    command = [sys.executable, "-c", "import cli; cli.ctprep()", "phantom", "raw", "--scans", "500", "--workers", "2"]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        while not list(tmp_path.rglob("*.nii.gz")):
            assert process.poll() is None
            time.sleep(0.01)
        os.killpg(process.pid, number)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (1, "Error: interrupted\n")
    assert session_ends(process.pid)
    assert list(tmp_path.iterdir()) == []


def test_a_defect_is_one_line_too_unless_asked_for_more(raw, type_in, monkeypatch):
    def defect(*args, **kwargs):
        raise ZeroDivisionError("a\ndefect")

    monkeypatch.setattr(import_module("ctprep.conversion.convert"), "run_all", defect)
    result = type_in("ctprep convert raw out.zarr")
    assert result.exit_code == 1
    assert one_line(result).startswith(r"Error: unexpected ZeroDivisionError: a\ndefect; set CTPREP_DEBUG=1")
    debugged = type_in("ctprep convert raw out.zarr", env={"CTPREP_DEBUG": "1"})
    assert isinstance(debugged.exception, ZeroDivisionError)


@pytest.mark.parametrize(
    "line",
    ["ctprep info {}", "ctprep convert {} out.zarr", "ctprep convert raw {}", "ctprep phantom {} --scans 1"],
)
def test_what_the_system_refuses_is_no_defect(raw, type_in, line):
    (raw.parent / "loop").symlink_to("loop")
    for path in ("loop", "a" * 300):
        result = type_in(line.format(path))
        assert result.exit_code == 1
        assert path in one_line(result)
        assert "unexpected" not in one_line(result)


def test_names_of_files_cannot_write_to_the_terminal(tmp_path, type_in):
    write_scan(tmp_path / "raw" / "a" / "good.nii")
    (tmp_path / "raw" / "a" / "evil\x1b[2J\n.nii").write_bytes(b"")
    result = type_in("ctprep convert raw out.zarr")
    assert result.exit_code == 3
    assert "\x1b" not in result.output
    assert r"evil\x1b[2J\n" in result.stderr


def test_paths_that_are_typed_cannot_write_to_the_terminal(raw, tmp_path, type_in):
    evil = "e\x1b[2J\x07"
    shutil.copytree(raw, tmp_path / evil)
    for line in (
        f"ctprep convert {evil} {evil}.zarr",
        f"ctprep info {evil}.zarr",
        f"ctprep verify {evil}.zarr",
        f"ctprep montage {evil}.zarr {evil}.png",
        f"ctprep export {evil}.zarr CT-0/study_0000 --out {evil}.nii",
        f"ctprep phantom {evil}2 --scans 1 --shape 40 40 20 --workers 1",
        f"ctprep info {evil}.zarr {evil}.zarr",
        f"ctprep info {evil}.zarr/{evil}",
    ):
        result = type_in(line, color=True)
        assert result.exit_code in (0, 2 if line.endswith(".zarr") else 1), result.output
        assert result.output
        assert not {"\x1b", "\x07"}.intersection(result.output), line
    (tmp_path / evil / "CT-0" / "study_0000.nii.gz").unlink()
    planned = type_in(f"ctprep plan {evil} {evil}.zarr", color=True).output
    assert "remove  CT-0/study_0000  -  no longer in the raw folder" in planned


@pytest.mark.parametrize("words", [["", "out.zarr"], ["raw", ""], ["raw", "out.zarr", "--labels", ""]])
def test_an_empty_path_is_a_wrong_command_line(raw, type_in, words):
    result = CliRunner().invoke(cli.ctprep, ["convert", *words])
    assert (result.exit_code, "a path cannot be empty" in result.stderr) == (2, True)


def test_a_table_of_labels_reaches_the_store(raw, type_in):
    rows = [f"CT-{n // 3}/study_{n:04},{'ill' if n % 2 else 'well'},p{n // 2},{40 + n}" for n in range(6)]
    (raw.parent / "t.csv").write_text("\n".join(["scan,label,patient,age", *rows]))
    line = "ctprep convert raw out.zarr --labels t.csv --classes well=well --classes ill=ill"
    assert "(3 well, 3 ill)" in type_in(line).stdout
    summary = json.loads(type_in("ctprep info out.zarr --json").stdout)
    assert (summary["patients"], summary["columns"]) == (3, ["age"])


def test_every_option_of_the_source_reaches_the_catalog(tmp_path, raw, type_in):
    (raw.parent / "studies").mkdir()
    for subset in ("train", "test"):
        (raw.parent / "studies" / subset).symlink_to(raw)
    rows = [f"{s}/CT-{n // 3}/study_{n:04},{n % 2},p{n}{s},{s}" for n in range(6) for s in ("train", "test")]
    (raw.parent / "t.csv").write_text("\n".join(["which,what,whose,where", *rows]))
    columns = "--scan-column which --label-column what --patient-column whose --split-column where"
    line = f"ctprep plan studies out.zarr --labels t.csv {columns} --follow-links --exclude study_0005.nii.gz --json"
    result = type_in(line)
    planned = json.loads(result.stdout)
    assert len(planned["rows"]) == 10
    assert "left out: 2 by --exclude study_0005.nii.gz" in planned["notes"]
    assert any(note.startswith("split: 5 train, 5 test; a training uses it") for note in planned["notes"])
    folders = type_in("ctprep plan studies out.zarr --follow-links --split-folders")
    assert "note: split: the folders train, test are kept as one" in folders.stdout
    (raw / "CT-0/study_0000_mask.nii.gz").symlink_to("study_0000.nii.gz")
    assert "left out: 1 that look like masks" in type_in("ctprep plan raw out.zarr").stdout
    assert "7 to convert" in type_in("ctprep plan raw out.zarr --include-masks").stdout


def on_terminal(code, columns=80):
    """Run Python code on a terminal; return the lines that are on its screen in the end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = subprocess.Popen(
        [sys.executable, "-c", code], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    written = b""
    with contextlib.suppress(OSError):  # there is no more
        while part := os.read(ours, 1 << 16):
            written += part
    os.close(ours)
    assert command.wait() == 0, written
    return [as_shown(line) for line in written.decode().replace("\r\n", "\n").split("\n")]


def as_shown(line):
    """Return a line whose carriage returns have overwritten what was before them."""
    row = ""
    for part in line.split("\r"):
        row = part + row[len(part) :]
    return row.rstrip()


PREDICTING = """
import cli
from pathlib import Path
cli.own_process()
from ctmodel.prediction.predict import Prediction
with cli.progress_bar(3) as advance:
    for name in "ab":
        cli.show(Prediction(Path(name), {"ill": 1.0}, "ill"), as_json=False)
        advance(1)
    cli.show(Prediction(Path("c"), {}, code="truncated", reason="c: ends"), as_json=True)
    cli.show(Prediction(Path("c"), {}, code="truncated", reason="c: ends"), as_json=False)
"""

BARS = """
import cli
for doing in ("checking", "converting"):
    with cli.progress_bar(2, doing) as advance:
        advance(1)
        advance(1)
"""

TRAINING = """
import cli
from ctmodel.run.history import Epoch, EpochReport, Pace
with cli.training_bar(100) as report:
    for number in range(1, 12):
        epoch = Epoch(number, 0.001, 0.6931, 0.5, 0.5, 0.6931, 0.5, 0.5)
        report(EpochReport(epoch, 100, 12.3, Pace(1000, 10.0, 0.1), is_best=False))
"""


def test_a_rejection_says_the_option_that_accepts_it_and_the_option_works(raw, type_in):
    write_scan(raw / "CT-0" / "raw values.nii.gz", chest_hu() + 1024)
    write_scan(raw / "CT-1" / "slab.nii.gz", chest_hu((24, 20, 5)))
    convert = "ctprep convert raw out.zarr --shape 8 8 4"
    result = type_in(convert)
    assert result.exit_code == 3
    assert "--accept 'CT-0/raw values=not-hu'" in result.stderr
    assert "--accept CT-1/slab=coverage" in result.stderr
    result = type_in(f"{convert} --accept CT-1/slab=coverage")
    assert (result.exit_code, "1 converted, 6 reused" in result.stdout) == (3, True)
    assert "note: accepted: coverage of 1 scan" in result.stderr
    planned = type_in(f"{convert} --accept CT-1/slab=coverage".replace("convert", "plan")).stdout
    (line,) = [line for line in planned.splitlines() if line.startswith("reuse   CT-1/slab  ")]
    assert line.endswith("  unchanged, accepts coverage")
    assert "accepted            coverage 1" in type_in("ctprep info out.zarr").stdout


@pytest.mark.parametrize(
    ("typed", "exit_code", "said"),
    [
        ("--accept CT-0/study_0000", 2, "is not SCAN=CODE"),
        ("--accept CT-0/study_0000=geometry", 1, "only coverage, non-finite, not-hu can"),
        ("--accept CT-0/study_9999=not-hu", 1, "names no scan of raw"),
        ("--orientation LPS --orientation RAS", 2, "leave one out"),
        ("--orientation LLS", 1, "as in LPS"),
        ("--orientation CT-0/nobody=LPS", 1, "names no scan of raw"),
    ],
)
def test_a_choice_that_means_no_scan_is_refused(raw, type_in, typed, exit_code, said):
    result = type_in(f"ctprep plan raw out.zarr {typed}")
    assert result.exit_code == exit_code
    assert said in result.stderr


CROSS_VALIDATING = """
import cli
from ctmodel.run.history import Epoch, EpochReport, FoldReport, Pace
with cli.folds_bar() as report:
    for fold in (1, 2):
        for number in (1, 2, 3):
            epoch = Epoch(number, 0.001, 0.6931, 0.5, 0.5, 0.6931, 0.5, 0.5)
            report(FoldReport(fold, 2, EpochReport(epoch, 4, 12.3, Pace(1000, 10.0, 0.1), is_best=False)))
        cli.say(f"fold-{fold}", err=True)
"""


def test_a_cross_validation_on_a_terminal_has_a_line_for_each_fold_above_a_bar_of_all_epochs():
    *lines, bar, end = on_terminal(CROSS_VALIDATING)
    assert (lines, end) == (["fold-1", "fold-2"], "")
    assert "8/8" in bar
    assert "fold 2 of 2" in bar


def test_predictions_have_lines_of_their_own_beside_a_bar():
    shown = on_terminal(PREDICTING)
    assert shown[:2] == ["a: ill (ill 1.0000)", "b: ill (ill 1.0000)"]
    assert json.loads(shown[2])["code"] == "truncated"
    assert shown[3] == "c: rejected (truncated): ends"
    assert "2/3" in shown[4]


def test_a_training_on_a_terminal_keeps_its_lines_above_a_bar_that_fits():
    *lines, bar, end = on_terminal(TRAINING)
    assert [line.split()[1] for line in lines] == [f"{number}/100" for number in range(1, 12)]
    assert len(bar) < 80
    assert bar.endswith(", validation 0.693]")
    assert len(bar.split("|")[1]) >= 10
    assert not end


def in_shell(line, folder):
    return subprocess.run(  # noqa: S602 - the shell closes or pipes what is tested
        line,
        shell=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_command_without_stderr_has_no_bar(raw):
    done = in_shell(f'{sys.executable} -c "import cli; cli.ctprep()" convert raw out.zarr --workers 1 2>&-', raw.parent)
    assert (done.returncode, done.stdout.count("6 converted")) == (0, 1)


def test_output_into_a_closed_pipe_is_no_traceback(store):
    code = "import cli; cli.ctprep(['info', 'out.zarr'])"
    done = in_shell(f'{sys.executable} -c "{code}" | true', store.parent)
    assert "Traceback" not in done.stderr


def test_a_bar_says_what_is_done_with_the_scans_it_counts():
    lines = [line for line in on_terminal(BARS) if line]
    assert [line.partition(":")[0] for line in lines] == ["checking", "converting"]
    assert all("2/2" in line for line in lines)
