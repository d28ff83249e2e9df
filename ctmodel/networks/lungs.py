"""The default network: a learned reading of the texture of the lungs."""

from typing import Any

from ctmodel.devices.backend import keras
from ctmodel.networks.blocks import normalized
from ctmodel.networks.texture import LungTexture

LARGEST = 3.0  # standard deviations; a number that is further out says no more


def lungs(inputs: Any) -> Any:
    """Describe the lungs by fixed filters, and standardize the numbers; the last layer learns to weigh them.

    From 140 scans a network does not find out where the lungs are, what gravity does to them and at which scale to
    look. Here all of it is arithmetic, and what is left to learn is a weight for each number.
    """
    return keras.layers.ReLU(max_value=2 * LARGEST)(normalized(LungTexture(name="texture")(inputs)) + LARGEST) - LARGEST
