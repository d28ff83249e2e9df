from dataclasses import dataclass

import numpy as np
import pytest
from numcodecs.blosc import MAX_BUFFERSIZE

from ctprep.errors import RecipeError
from ctprep.volume.recipe import MAX_VOLUME_BYTES, STORED_DTYPES, Recipe


@pytest.mark.parametrize("dtype", STORED_DTYPES)
def test_a_volume_may_be_as_large_as_a_chunk_can_be(dtype):
    side = 2048 // np.dtype(dtype).itemsize
    assert Recipe(shape=(1024, side, 1023), dtype=dtype).dtype == dtype
    with pytest.raises(RecipeError, match="makes volumes of 2,147,483,648 bytes, at most 2,147,483,631 can be"):
        Recipe(shape=(1024, side, 1024), dtype=dtype)
    assert MAX_VOLUME_BYTES == MAX_BUFFERSIZE


@dataclass(frozen=True, kw_only=True)
class NewerRecipe(Recipe):
    """A recipe of a version to come."""

    sharpness: str = "high"


def test_a_recipe_of_an_older_version_means_what_it_meant_and_keeps_its_digest(monkeypatch):
    older = Recipe(shape=(32, 32, 16))
    monkeypatch.setattr("ctprep.volume.recipe.BEFORE", {"crop": "none", "sharpness": "low"})
    read = NewerRecipe.from_dict(older.to_dict())
    assert read == NewerRecipe(shape=(32, 32, 16), sharpness="low")
    assert read.to_dict() == older.to_dict()
    assert read.digest == older.digest
    newer = NewerRecipe(shape=(32, 32, 16))
    assert newer.digest != older.digest
    assert NewerRecipe.from_dict(newer.to_dict()) == newer


def test_a_recipe_of_a_newer_version_is_refused_by_name():
    with pytest.raises(RecipeError, match="recipe: sharpness is unknown here; use the ctprep that wrote it"):
        Recipe.from_dict(NewerRecipe().to_dict())


def test_a_recipe_that_lacks_what_every_version_wrote_is_refused_by_name():
    saved = Recipe().to_dict()
    del saved["window"]
    with pytest.raises(RecipeError, match="recipe: window is missing"):
        Recipe.from_dict(saved)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"window": None}, "window: None is not a lower"),
        ({"window": ("a", "b")}, "window: .* is not a lower"),
        ({"window": 5}, "window: 5 is not a lower"),
        ({"spacing_mm": 5}, "spacing: 5 is not three sizes"),
        ({"spacing_mm": ("a", 1, 1)}, "spacing: .* is not three sizes"),
    ],
)
def test_what_is_no_row_of_numbers_is_refused_as_any_other_value(wrong, named):
    with pytest.raises(RecipeError, match=named):
        Recipe(**wrong)


def test_a_crop_changes_the_digest_and_no_crop_keeps_that_of_version_0_1():
    assert "crop" not in Recipe().to_dict()
    assert Recipe(crop="lungs").digest != Recipe().digest
    assert Recipe.from_dict(Recipe(crop="lungs").to_dict()) == Recipe(crop="lungs")


@pytest.mark.parametrize("window", [(-1000.0, 150.0), (-1350.0, 150.0), (-1000.0, 400.0)])
def test_lungs_are_found_through_a_window_that_holds_them(window):
    assert Recipe(crop="lungs", window=window).window == window


@pytest.mark.parametrize("window", [(-900.0, 400.0), (-1000.0, 100.0), (-160.0, 240.0)])
def test_a_window_that_hides_the_lungs_is_refused(window):
    with pytest.raises(RecipeError, match="hides the lungs, which are found in -1000 to 150 HU"):
        Recipe(crop="lungs", window=window)
    assert Recipe(window=window).crop == "none"
