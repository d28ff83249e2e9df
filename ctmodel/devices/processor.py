"""What the CPU can do, and with which of its two libraries TensorFlow computes on it; decided before it is imported."""

from collections.abc import MutableMapping
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")

ONEDNN_SWITCH = "TF_ENABLE_ONEDNN_OPTS"
"""The variable by which TensorFlow is told, when it is imported, whether to compute with oneDNN."""

PAYS_WITH = "avx2"
"""The flag of CPUs from which on oneDNN is faster. On two cores, limited to AVX2, `ctmodel train` told 33 volumes a
second with it and 9.0 without for the compact network, 9.4 and 2.6 for the founding one. TensorFlow turns it on by
itself only where there is AVX-512."""


def cpu_flags() -> frozenset[str]:
    """Return the names of what the CPU has, as Linux gives them for x86; none elsewhere."""
    try:
        lines = CPU_INFO.read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())


def choose_onednn(environment: MutableMapping[str, str]) -> None:
    """Turn oneDNN on where it is faster; what the user has set stays, and elsewhere it is for TensorFlow to choose.

    Parameters
    ----------
    environment : mapping
        That of the process, which has not imported TensorFlow.
    """
    if PAYS_WITH in cpu_flags():
        environment.setdefault(ONEDNN_SWITCH, "1")
