"""Other tools read a store as docs/other-tools.md says, by the recipes that are printed there."""

import re
from dataclasses import replace

import pytest

from tests.reuse import recipes
from tests.reuse.recipes import PAGE, TOOLS, judge, make_stores


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    return make_stores(tmp_path_factory.mktemp("reuse"))


def printed_table() -> dict[str, tuple[str, ...]]:
    """Return the rows of the page's table of tools."""
    rows = re.findall(r"^\| \[(\S+)\]\(#\S+\) \| (.+) \| (.+) \| (.+) \|$", PAGE, re.MULTILINE)
    return {tool: tuple(cells) for tool, *cells in rows}


def test_every_tool_has_a_recipe_and_a_row_in_the_table():
    assert list(recipes.recipes()) == list(TOOLS) == list(printed_table())


@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_reads_what_the_page_says(name, stores, tmp_path):
    if not TOOLS[name].is_installed:
        pytest.skip(f"{name} is not installed here: make interop")
    verdict = judge(name, stores, tmp_path)
    said = ("the same" if verdict.same else "other", verdict.missing, verdict.flipped)
    assert said == printed_table()[name], verdict.error


@pytest.mark.parametrize(
    ("volumes", "same", "missing"),
    [
        pytest.param("group['volume'][:][::-1]", False, "other voxels, in other scans", id="rows in another order"),
        pytest.param(
            "group['volume'][:].swapaxes(1, 2)", False, "other voxels, in other scans", id="axes in another order"
        ),
        pytest.param("numpy.nan_to_num(group['volume'][:])", True, "other voxels", id="air where nothing is"),
    ],
)
def test_a_tool_that_reads_otherwise_is_found_out(monkeypatch, stores, tmp_path, volumes, same, missing):
    """The null control."""
    monkeypatch.setitem(TOOLS, "zarr-python", replace(TOOLS["zarr-python"], volumes=volumes))
    verdict = judge("zarr-python", stores, tmp_path)
    assert (verdict.same, verdict.missing) == (same, missing), verdict.error
