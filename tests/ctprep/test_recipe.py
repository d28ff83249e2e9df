import numpy as np
import pytest
from numcodecs.blosc import MAX_BUFFERSIZE

from ctprep.errors import RecipeError
from ctprep.recipe import LARGEST_VOLUME_BYTES, STORED_DTYPES, Recipe


@pytest.mark.parametrize("dtype", STORED_DTYPES)
def test_a_volume_may_be_as_large_as_a_chunk_can_be(dtype):
    side = 2048 // np.dtype(dtype).itemsize
    assert Recipe(shape=(1024, side, 1023), dtype=dtype).dtype == dtype
    with pytest.raises(RecipeError, match="makes volumes of 2,147,483,648 bytes, at most 2,147,483,631 can be"):
        Recipe(shape=(1024, side, 1024), dtype=dtype)
    assert LARGEST_VOLUME_BYTES == MAX_BUFFERSIZE
