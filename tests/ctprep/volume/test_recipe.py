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

    crop: str = "lungs"


def test_a_recipe_of_an_older_version_means_what_it_meant_and_keeps_its_digest(monkeypatch):
    older = Recipe(shape=(32, 32, 16))
    monkeypatch.setattr("ctprep.volume.recipe.BEFORE", {"crop": "none"})
    read = NewerRecipe.from_dict(older.to_dict())
    assert read == NewerRecipe(shape=(32, 32, 16), crop="none")
    assert read.to_dict() == older.to_dict()
    assert read.digest == older.digest
    newer = NewerRecipe(shape=(32, 32, 16))
    assert newer.digest != older.digest
    assert NewerRecipe.from_dict(newer.to_dict()) == newer


def test_a_recipe_of_a_newer_version_is_refused_by_name():
    with pytest.raises(RecipeError, match="recipe: crop is unknown here; use the ctprep that wrote it"):
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
