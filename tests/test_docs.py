"""Every command and every example of the README and of the cards runs as it is printed, on a smaller cohort."""

import doctest
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

import cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CARDS = sorted((ROOT / "datasets").glob("*.toml"))

ADDED = {
    "ctprep phantom": ["--shape", "40", "40", "20", "--difficulty", "easy"],
    "ctmodel train": ["--epochs", "2"],
}
"""What is added to a printed command so that it takes seconds; a cohort of 120 scans has 24 here."""


def run(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a printed command in a folder, on the smaller sizes; it must succeed."""
    words = ["24" if word == "120" else word for word in shlex.split(line)]
    words += ADDED.get(" ".join(words[:2]), [])
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, cli; sys.argv[0] = {words[0]!r}; cli.{words[0]}()", *words[1:]],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done


def commands(text: str) -> list[str]:
    return re.findall(r"^\$ (.+)$", text, re.MULTILINE)


def section(title: str) -> str:
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Type the session of the README; give its folder and what each command printed."""
    folder = tmp_path_factory.mktemp("readme")
    return folder, {line: run(line, folder) for line in commands(section("A session"))}


def test_the_session_leaves_what_the_readme_says(session):
    folder, printed = session
    in_run = ["settings.json", "split.csv", "history.csv", "curves.png", "predictions.csv", "scores.json"]
    for name in ["scans.zarr/zarr.json", "montage.png", "study_0002.nii.gz", *(f"run/{name}" for name in in_run)]:
        assert (folder / name).exists(), name
    assert "auroc" in printed["ctmodel evaluate run"].stdout


def test_two_commands_are_all_it_takes(session, tmp_path):
    folder, _ = session
    for name, source in (("normal", "CT-0"), ("ill", "CT-1")):
        shutil.copytree(folder / "raw" / source, tmp_path / "raw" / name)
    assert len(commands(section("Two commands"))) == 2
    for line in commands(section("Two commands")):
        run(line, tmp_path)
    assert (tmp_path / "run" / "scores.json").exists()


def test_every_command_of_the_readme_is_in_a_section_that_is_run():
    run_here = commands(section("A session")) + commands(section("Two commands"))
    assert run_here
    assert sorted(commands(README)) == sorted(run_here)


def test_the_python_examples_of_the_readme_run(session, monkeypatch):
    monkeypatch.chdir(session[0])
    examples = doctest.DocTestParser().get_doctest(README, {}, "README.md", "README.md", 0)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    runner.run(examples)
    assert (runner.tries > 5, runner.failures) == (True, 0)


def test_the_example_of_the_cards_page_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    examples = doctest.DocTestParser().get_doctest((ROOT / "datasets/README.md").read_text(), {}, "cards", None, 0)
    runner = doctest.DocTestRunner()
    runner.run(examples)
    assert (runner.tries, runner.failures) == (3, 0)


@pytest.mark.parametrize("card", CARDS, ids=lambda path: path.stem)
def test_a_card_says_all_that_its_page_promises(card):
    fields = tomllib.loads(card.read_text())
    promised = "name summary source licence licence_allows licence_forbids citation layout studies folders classes"
    assert set(promised.split()) | {"convert", "train"} <= set(fields)
    assert card.name in (ROOT / "datasets" / "README.md").read_text()


def test_the_folders_of_mosmeddata_add_up():
    card = tomllib.loads((ROOT / "datasets" / "mosmeddata.toml").read_text())
    assert sum(card["folders"].values()) == card["studies"]


def test_the_commands_of_the_cards_run(session, tmp_path):
    """MosMedData itself is not here: phantoms lie in its folders."""
    shutil.copytree(session[0] / "raw", tmp_path / "studies", ignore=shutil.ignore_patterns("truth.csv"))
    for card in CARDS:
        fields = tomllib.loads(card.read_text())
        for line in (fields["convert"] + fields["train"]).strip().splitlines():
            run(line, tmp_path)


def test_every_command_line_has_help_and_is_in_the_readme():
    for group in (cli.ctprep, cli.ctmodel):
        for name, command in group.commands.items():
            assert command.help, name
            assert f"{group.name} {name}" in README, f"{group.name} {name}"
            undocumented = [one.name for one in command.params if isinstance(one, click.Option) and not one.help]
            assert not undocumented, f"{group.name} {name}: {undocumented}"
