"""How many bits a network computes with: weights are always float32, what flows between its layers may be shorter.

There is no float16: TensorFlow has no 3D pooling in it on CPUs, so that such a run would predict on GPUs only.
"""

import contextlib
from collections.abc import Iterator

from ctmodel.devices.backend import keras, kernels, tf
from ctmodel.devices.processor import ONEDNN_SWITCH, cpu_flags
from ctmodel.errors import SettingsError

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}

AMPERE = (8, 0)
"""The compute capability from which on GPUs multiply bfloat16 in hardware."""

MATRIX_UNIT = "amx_bf16"
"""The flag of CPUs that do. With it the founding network takes 1.7 times as many steps a second as in float32, the
compact one 1.3 times (tests/benchmarks/training.py); without it TensorFlow emulates bfloat16, and it does not pay."""


def choose_precision(name: str) -> str:
    """Return the precision of a name; of "auto", bfloat16 where all devices multiply it in hardware, else float32.

    The choice follows from the kind of device and from nothing measured, so that it is the same each time.

    Raises
    ------
    SettingsError
        If it would be computed wrongly.
    """
    if name == "bfloat16" and _is_garbled(name):
        raise SettingsError(
            "precision: oneDNN computes bfloat16 wrongly on this CPU, which has it in software only; choose float32, "
            f"which is faster too, or set {ONEDNN_SWITCH}=0"
        )
    if name != "auto":
        return name
    gpus = tf.config.list_physical_devices("GPU")
    is_fast = all(map(_multiplies_bfloat16, gpus)) if gpus else MATRIX_UNIT in cpu_flags()
    return "bfloat16" if is_fast else "float32"


def precision_for_predictions(trained: str) -> str:
    """Return what a trained network computes with here: what it was trained in, unless that comes out wrongly."""
    return "float32" if _is_garbled(trained) else trained


def _is_garbled(precision: str) -> bool:
    """Return whether a precision comes out wrongly, or not at all: bfloat16, where oneDNN has no AMX for it.

    In TensorFlow 2.21 with AVX-512 alone, its 3D convolutions of 3 x 3 x 3 leave memory that nobody wrote in the
    results where the grid is less than three voxels wide: forwards from one channel on a single voxel, else in the
    filters' gradient. With AVX2 alone there are no convolutions in bfloat16.
    """
    return precision == "bfloat16" and kernels() == "oneDNN" and MATRIX_UNIT not in cpu_flags()


def _multiplies_bfloat16(gpu: object) -> bool:
    return tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) >= AMPERE


@contextlib.contextmanager
def layers_of(precision: str) -> Iterator[None]:
    """Let the layers that are made in the block compute with a precision, one of `POLICIES`."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(POLICIES[precision])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
