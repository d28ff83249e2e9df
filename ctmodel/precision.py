"""How many bits a network computes with: weights are always float32, what flows between its layers may be shorter.

There is no float16: TensorFlow has no 3D pooling in it on CPUs, so that such a run would predict on GPUs only.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ctmodel.backend import keras, tf

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}

AMPERE = (8, 0)
"""The compute capability from which on GPUs multiply bfloat16 in hardware."""

MATRIX_UNIT = "amx_bf16"
"""The flag of CPUs that do. With it the founding network takes 1.7 times as many steps a second as in float32, the
compact one 1.3 times (tests/benchmarks/training.py); without it TensorFlow emulates bfloat16, and it does not pay."""


def choose_precision(name: str) -> str:
    """Return the precision of a name; of "auto", bfloat16 where all devices multiply it in hardware, else float32.

    The choice follows from the kind of device and from nothing measured, so that it is the same each time.
    """
    if name != "auto":
        return name
    gpus = tf.config.list_physical_devices("GPU")
    is_fast = all(map(_multiplies_bfloat16, gpus)) if gpus else _cpu_multiplies_bfloat16()
    return "bfloat16" if is_fast else "float32"


def _multiplies_bfloat16(gpu: object) -> bool:
    return tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) >= AMPERE


def _cpu_multiplies_bfloat16() -> bool:
    try:
        return MATRIX_UNIT in Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux
        return False


@contextlib.contextmanager
def layers_of(precision: str) -> Iterator[None]:
    """Let the layers that are made in the block compute with a precision, one of `POLICIES`."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(POLICIES[precision])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
