"""A report tells all of a run, from its files alone, and the same run has the same report."""

import re
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.image import imread
from written_runs import drawn, write_run

import cli
from ctmodel.errors import RunDamaged, RunError, RunMissing, SettingsError
from ctmodel.run.run_folder import Run
from ctmodel.settings import TrainSettings
from ctmodel.views.canvas import looks
from ctmodel.views.card import card
from ctmodel.views.content import read_content
from ctmodel.views.figures import draw_figures
from ctmodel.views.forest import score_title
from ctmodel.views.report import report

ROOT = Path(__file__).parents[3]
KEPT = ROOT / "tests/data/version_0.1/run"
OF_TEST = {"scores", "confusion", "roc", "precision-recall", "probabilities", "calibration", "learning-curves"}


@pytest.fixture
def kept(tmp_path):
    """A copy of a run that version 0.1 trained, without its store."""
    return shutil.copytree(KEPT, tmp_path / "kept")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A run of two classes, four scans of each patient."""
    return write_run(tmp_path_factory.mktemp("runs") / "run", *drawn(80), scans_each=4)


@pytest.fixture(scope="module")
def reported(written, tmp_path_factory):
    return report(written, tmp_path_factory.mktemp("out"))


def test_figures_are_pictures_of_both_formats(reported):
    assert {path.stem for path in reported.figures} == OF_TEST
    for path in reported.figures:
        if path.suffix == ".png":
            assert imread(path).shape[1] == 1050  # a column of a journal, at 300 points an inch
        else:
            assert parsed(path).tag == "{http://www.w3.org/2000/svg}svg"


def parsed(path):
    return ElementTree.fromstring(path.read_bytes())  # noqa: S314 - written by the test itself


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_run_has_the_same_bytes_elsewhere_and_with_other_settings_of_matplotlib(reported, written, tmp_path):
    moved = shutil.copytree(written, tmp_path / "moved")
    with matplotlib.rc_context({"font.size": 20, "svg.hashsalt": "mine", "savefig.dpi": 50, "axes.grid": False}):
        again = report(moved, tmp_path / "again")
    assert contents(again.card.parent) == contents(reported.card.parent)


def test_no_file_of_a_report_says_when_where_or_by_what_it_was_made(reported, tmp_path_factory):
    everything = b"".join(contents(reported.card.parent).values())
    for trace in (str(tmp_path_factory.getbasetemp()), str(ROOT), f"v{matplotlib.__version__}", "matplotlib version"):
        assert trace.encode() not in everything
    assert not re.search(rb"20\d\d-\d\d-\d\dT|<dc:date>", everything)


def test_the_card_has_every_score_with_its_interval(reported, written):
    text = reported.card.read_text()
    every = Run(written).scores().all_scores()
    assert len(every) > 12
    for name, score in every.items():
        title = score_title(name)
        assert f"| {title} | {score.value:.3f} | {score.low:.3f} to {score.high:.3f} | {score.n} |" in text, name
    for note in Run(written).scores().notes:
        assert f"- {note}\n" in text
    assert "not a medical device" in text


def test_the_card_shows_every_figure_that_is_there(reported):
    shown = re.findall(r"!\[.+\]\((.+)\)", reported.card.read_text())
    assert {f"figures/{path.name}" for path in reported.figures if path.suffix == ".png"} == set(shown)
    assert all((reported.card.parent / name).is_file() for name in shown)


def test_the_card_counts_scans_and_patients_of_each_subset(kept):
    text = report(kept, formats=["svg"]).card.read_text()
    assert "| test | 4 | 4 | 2 | 2 |" in text
    assert "| unlabelled | 1 | 1 |  |  |" in text
    assert "figures/roc.svg" in text


def test_the_commands_of_the_card_give_the_settings_of_the_run(tmp_path):
    settings = TrainSettings(epochs=7, learning_rate=1e-4, class_weights=False, flip=True, folds=5, fold=2)
    text = card(read_content(write_run(tmp_path / "run", *drawn(12), settings=settings)), [], suffix="png")
    commands = text.partition("```sh\n")[2].partition("```")[0]
    convert, train = re.findall(r"^(ct\w+ .+?[^\\])$", commands, re.MULTILINE | re.DOTALL)
    for line, group, expected in (
        (train, cli.ctmodel, settings.to_dict() | {"precision": "float32"}),
        (convert, cli.ctprep, {"shape": (16, 16, 8), "window": (-1000, 400), "dtype": "float16", "require_hu": True}),
    ):
        words = shlex.split(line.replace("\\\n", ""))
        typed = group.commands[words[1]].make_context(words[1], words[2:]).params
        assert {name: typed[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("n", "classes", "skill"),
    [
        (6, ("normal", "abnormal"), 1.0),
        (40, ("normal", "abnormal"), 99.0),
        (20, ("normal", "abnormal"), 0.0),
        (12, ("a class of $many$ words | and_letters", "肺炎", "<b>severe\x1b[2J</b>", "x" * 90), 2.0),
    ],
    ids=["few", "perfect", "all called the same", "odd names"],
)
def test_every_run_can_be_reported(tmp_path, n, classes, skill):
    labels, probabilities = drawn(n, classes=len(classes), skill=skill)
    if skill == 0:
        probabilities = np.tile([0.7, 0.3], (n, 1))
    done = report(write_run(tmp_path / "run", labels, probabilities, classes=classes), formats=["svg"])
    for path in done.figures:
        assert parsed(path).findtext(".//{http://purl.org/dc/elements/1.1/}title")
    for table in re.findall(r"(?:^\|.+\n)+", done.card.read_text(), re.MULTILINE):
        assert len({len(re.split(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1, table
    assert "<b>" not in done.card.read_text()


def test_the_operating_point_is_that_of_the_scores(written):
    scores = Run(written).scores().scores
    with looks():
        figures = {picture.name: picture.figure for picture in draw_figures(read_content(written))}
    sensitivity, specificity, precision = (scores[name].value for name in ("sensitivity", "specificity", "ppv"))
    for name, point in (("roc", (1 - specificity, sensitivity)), ("precision-recall", (sensitivity, precision))):
        (container,) = figures[name].axes[0].containers
        assert container.lines[0].get_xydata()[0] == pytest.approx(point)


def test_a_finished_run_with_baselines_has_their_figure(finished, tmp_path):
    done = report(finished.run, tmp_path / "out", formats=["png"])
    assert {path.stem for path in done.figures} == OF_TEST | {"baselines"}
    text = done.card.read_text()
    for baseline in finished.baselines.baselines:
        assert f"| {baseline.name} |" in text
    assert not (finished.run / "card.md").exists()


def damage(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


DAMAGES = {
    "is not there": lambda run: (run / "predictions.csv").unlink(),
    "not those of split.csv": lambda run: damage(run / "predictions.csv", "p00,test,normal", "p00,test,abnormal"),
    "do not sum to 1": lambda run: damage(run / "predictions.csv", "0.59", "0.19"),
    "not between 0 and 1": lambda run: damage(run / "predictions.csv", "0.5942601263523102", "nan"),
    "could not convert": lambda run: damage(run / "predictions.csv", "0.5942601263523102", "much"),
    "table with the columns": lambda run: damage(run / "predictions.csv", "predicted", "called"),
    "another table": lambda run: damage(
        run / "predictions.csv", "0.5942601263523102,0.4057398736476898", "0.4057398736476898,0.5942601263523102"
    ),
    "has changed": lambda run: damage(run / "scores.json", "1.0", "0.9"),
    "history.csv": lambda run: (run / "history.csv").write_text("epoch\n"),
}


@pytest.mark.parametrize("message", DAMAGES)
def test_a_damaged_run_is_said_in_one_line_and_nothing_is_written(kept, message):
    DAMAGES[message](kept)
    before = contents(kept)
    result = CliRunner().invoke(cli.ctmodel, ["report", str(kept)])
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert message.strip() in result.stderr
    assert contents(kept) == before


def test_what_cannot_be_reported_is_refused(tmp_path, kept):
    with pytest.raises(RunMissing, match="is not a run"):
        report(tmp_path / "nothing")
    with pytest.raises(SettingsError, match="format: gif, expected png or svg"):
        report(kept, formats=["png", "gif"])
    with pytest.raises(SettingsError, match="format: none"):
        report(kept, formats=[])
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="cannot be written"):
        report(kept, tmp_path / "file")
    (kept / "scores.json").unlink()
    with pytest.raises(RunMissing, match="not finished"):
        report(kept)


def test_a_changed_prediction_is_damage(kept):
    damage(kept / "predictions.csv", "0.5942601263523102,0.4057398736476898", "0.1,0.9")
    with pytest.raises(RunDamaged):
        report(kept)


def test_a_report_needs_no_tensorflow_and_prints_its_files(kept):
    code = (
        "import sys; sys.modules['tensorflow'] = sys.modules['keras'] = sys.modules['tensorstore'] = None\n"
        f"import cli; cli.ctmodel(['report', {str(kept)!r}, '--format', 'png', '--json'])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f'{{"card": "{kept}/card.md", "figures": ["{kept}/figures/scores.png"')
