"""Every command and example of the README, of docs/ and of the cards runs as it is printed, on a smaller cohort."""

import doctest
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import click
import pytest
import yaml

import cli
import ctmodel
import ctprep
from ctprep.errors import REJECTION_CODES
from tests.test_inferences import rows, said

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "datasets/README.md", *DOCS]
NOTEBOOK = ROOT / "docs/notebook.ipynb"
CARDS = sorted((ROOT / "datasets").glob("*.toml"))
GROUPS = {"ctprep": cli.ctprep, "ctmodel": cli.ctmodel}

ADDED = {
    "ctprep phantom": ["--shape", "40", "40", "20", "--difficulty", "easy"],
    "ctmodel train": ["--epochs", "2"],
    "ctmodel crossval": ["--epochs", "2", "--folds", "2"],
}
"""What is added to a printed command so that it takes seconds; a cohort of 120 scans has 24 here."""

RUN_BY_OTHERS = {"other-tools.md": {"python", "js"}}
"""Pages whose examples another test runs: tests/test_reuse.py."""

FILE = re.compile(r"# (\w+\.py)\n")
"""How a block begins that is the content of a file."""

NOTEBOOK_LIMIT = 300_000
"""Bytes: its pictures are small."""


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


def fences(page: Path) -> Iterator[tuple[str, str]]:
    """Yield the language and the text of each fenced block of a page."""
    yield from re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    return re.findall(r"^\$ (.+)$", text, re.MULTILINE)


def has_examples(page: Path) -> bool:
    """Return whether this test runs anything of a page."""
    return page.name not in RUN_BY_OTHERS and any(language in ("console", "python") for language, _ in fences(page))


def run_page(page: Path, folder: Path, *, done: dict[str, str]) -> dict[str, str]:
    """Run the commands and examples of a page in their order; return what each command printed.

    What is in `done` was run in the folder before and is not run again.
    """
    names: dict[str, object] = {}
    printed = {}
    for language, text in fences(page):
        if language == "console":
            for line in commands(text):
                if line not in done:
                    printed[line] = run(line, folder).stdout
        elif named := FILE.match(text):
            (folder / named[1]).write_text(text)
        elif language == "python":
            names = run_examples(text, names, page.name)
    return printed


def run_examples(text: str, names: dict[str, object], name: str) -> dict[str, object]:
    """Run a block of Python examples; return the names that it leaves."""
    examples = doctest.DocTestParser().get_doctest(text, names, name, name, 0)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    runner.run(examples, clear_globs=False)
    assert (runner.tries > 0, runner.failures) == (True, 0), name
    return examples.globs


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Run the commands of the README; return their folder and what each printed; their messages lie beside it."""
    folder = tmp_path_factory.mktemp("readme")
    printed = {}
    for line in [line for language, text in fences(README) if language == "console" for line in commands(text)]:
        done = run(line, folder)
        printed[line] = done.stdout
        with open(f"{folder}-messages", "a") as messages:
            messages.write(done.stderr)
        if line.startswith("ctprep phantom"):
            for name, source in (("normal", "CT-0"), ("ill", "CT-1")):
                shutil.copytree(folder / "raw" / source, folder / "my-scans" / name)
    return folder, printed


def test_the_commands_of_the_readme_leave_what_it_says(session):
    folder, _ = session
    in_run = ["settings.json", "split.csv", "history.csv", "curves.png", "predictions.csv", "scores.json"]
    for name in ["scans.zarr/zarr.json", "mine.zarr/zarr.json", *(f"run/{name}" for name in in_run)]:
        assert (folder / name).exists(), name


def test_the_table_of_scores_in_the_readme_has_the_rows_that_evaluate_prints(session):
    row = re.compile(r"^  (\w+(?: \w+)*?) +\d\.\d{3}  \d", re.MULTILINE)
    rows, printed = row.findall(README.read_text()), row.findall(session[1]["ctmodel evaluate run"])
    undefined = {"ppv", "npv"} - set(printed)  # where every scan is called the same
    assert "auroc" in rows
    assert [name for name in rows if name not in undefined] == printed


def test_the_notes_of_the_page_of_inferences_are_those_of_a_training(session):
    folder, printed = session
    lines = [*Path(f"{folder}-messages").read_text().splitlines(), *"".join(printed.values()).splitlines()]
    assert [row[0] for row in rows("ctmodel") if not said(row[2], lines)] == []


@pytest.mark.parametrize("page", list(filter(has_examples, DOCS)), ids=lambda page: page.stem)
def test_the_commands_and_examples_of_a_page_run(page, session, tmp_path, monkeypatch):
    folder, printed = session
    shutil.copytree(folder, tmp_path / "home")
    monkeypatch.chdir(tmp_path / "home")
    run_page(page, tmp_path / "home", done=printed)


def test_the_example_of_the_cards_page_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert "card" in run_examples((ROOT / "datasets/README.md").read_text(), {}, "cards")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_has_a_language_that_a_test_knows(page):
    """A language that no test knows would hide an example that nobody runs."""
    for language, text in fences(page):
        if language in RUN_BY_OTHERS.get(page.name, ()):
            continue
        assert language in ("console", "python", "sh", ""), f"{page.name}: {language}"
        assert language != "console" or commands(text), text
        assert language != "python" or ">>>" in text or FILE.match(text), text
        assert language or not commands(text), f"{page.name}: commands in a block without a language: {text}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_that_are_not_run_name_existing_targets_and_options(page):
    """Blocks of the language sh: installation, other machines, what takes long."""
    extras = ConfigParser()
    extras.read(ROOT / "setup.cfg")
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in [line for language, text in fences(page) if language == "sh" for line in text.splitlines()]:
        words = shlex.split(line, comments=True)
        if words[0] == "make":
            assert words[1] in targets, line
        elif words[:3] == ["pip", "install", words[-1]] and "[" in words[-1]:
            assert words[-1].partition("[")[2].rstrip("]") in extras["options.extras_require"], line
        elif words[0] in GROUPS:
            command = GROUPS[words[0]].commands[words[1]]
            known = {name for one in command.params for name in one.opts}
            assert {word for word in words if word.startswith("--")} <= known, line
        else:
            assert words[0] in ("pip", "python", ".venv/bin/python", "jupyter", "export", "mkdir", "cp"), line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_an_option_or_target_named_in_the_text_exists(page):
    options = {
        name
        for group in GROUPS.values()
        for command in group.commands.values()
        for one in command.params
        for name in (*one.opts, *one.secondary_opts)
    }
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"`(?:ct\w+ \w+ )?(--[a-z-]+)", text)) <= options | {"--help"}
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= set(targets)


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_resolve(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)]+)\)", text) + re.findall(r'src="([^"]+)"', text):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_linked_from_the_readme():
    links = re.findall(r"\]\((docs/[^)#]+)", README.read_text())
    assert {page.relative_to(ROOT).as_posix() for page in [*DOCS, NOTEBOOK]} <= set(links)


def cells(kind: str) -> list[dict]:
    return [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == kind]


def test_the_notebook_runs(tmp_path):
    script = tmp_path / "notebook.py"
    script.write_text("\n".join("".join(cell["source"]) for cell in cells("code")))
    env = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1", "MPLBACKEND": "agg"}
    done = subprocess.run([sys.executable, script], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "auroc" in done.stdout


def test_the_notebook_holds_the_outputs_of_one_run_from_top_to_bottom():
    assert [cell["execution_count"] for cell in cells("code")] == list(range(1, len(cells("code")) + 1))
    outputs = [output for cell in cells("code") for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 2
    assert NOTEBOOK.stat().st_size < NOTEBOOK_LIMIT


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


def test_every_command_has_help_and_is_in_the_readme_or_in_the_docs():
    text = "".join(page.read_text() for page in [README, *DOCS])
    for group in GROUPS.values():
        for name, command in group.commands.items():
            assert command.help, name
            assert f"{group.name} {name}" in text, f"{group.name} {name}"
            undocumented = [one.name for one in command.params if isinstance(one, click.Option) and not one.help]
            assert not undocumented, f"{group.name} {name}: {undocumented}"


def test_every_rejection_code_is_explained():
    explained = re.findall(r"^\| `([a-z0-9-]+)` \|", (ROOT / "docs/faq.md").read_text(), re.MULTILINE)
    assert sorted(explained) == sorted(REJECTION_CODES)


@pytest.mark.parametrize("package", [ctprep, ctmodel], ids=lambda package: package.__name__)
def test_every_public_function_and_class_has_an_example(package):
    public = {name: getattr(package, name) for name in package.__all__}
    errors = {name for name, value in public.items() if isinstance(value, type) and issubclass(value, Exception)}
    assert [name for name in public.keys() - errors if ">>>" not in (public[name].__doc__ or "")] == []


def test_the_citation_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["cff-version"], citation["version"]) == ("1.2.0", ctprep.__version__)
    assert {"authors", "title", "message"} <= citation.keys()
