"""The default network: a learned reading of the texture of the lungs."""

from typing import Any

from ctmodel.devices.backend import keras
from ctmodel.networks.blocks import Standardized
from ctmodel.networks.texture import LungTexture

MAX_DEVIATION = 3.0  # standard deviations; a number that is further out says no more
GAIN = 5.0  # so that weights which start at 0 come far enough in the steps of a default training


def lungs(inputs: Any) -> Any:
    """Describe the lungs by fixed filters, and standardize the numbers; the last layer learns to weigh them.

    From 140 scans a network does not find out where the lungs are, what gravity does to them and at which scale to
    look. Here all of it is arithmetic, and what is left to learn is a weight for each number.
    """
    dtype = "float32"  # at any precision: eight bits tell few volumes of the lungs apart
    numbers = Standardized(dtype=dtype, name="standardized")(LungTexture(name="texture")(inputs))
    within = keras.layers.ReLU(max_value=2 * MAX_DEVIATION, dtype=dtype)(numbers + MAX_DEVIATION) - MAX_DEVIATION
    return within * GAIN
