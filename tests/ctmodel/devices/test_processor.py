"""What the CPU's flags say, and that TensorFlow heeds what was chosen from them."""

import os
import subprocess
import sys

import pytest

from ctmodel.devices import processor
from ctmodel.devices.processor import ONEDNN_SWITCH, choose_onednn, cpu_flags


@pytest.fixture
def cpu_with(tmp_path, monkeypatch):
    """Return a function that writes what Linux says of a CPU."""

    def write(text):
        (tmp_path / "cpuinfo").write_text(text)
        monkeypatch.setattr(processor, "CPU_INFO", tmp_path / "cpuinfo")

    return write


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        ("processor\t: 0\nflags\t\t: fpu sse avx avx2 fma\n\nprocessor\t: 1\nflags\t\t: fpu avx2\n", {}, "1"),
        ("processor\t: 0\nflags\t\t: fpu sse avx avx2 avx512f\n", {}, "1"),
        ("processor\t: 0\nflags\t\t: fpu sse avx avx2\n", {ONEDNN_SWITCH: "0"}, "0"),
        ("processor\t: 0\nflags\t\t: fpu sse avx\n", {}, None),
        ("processor\t: 0\nFeatures\t: fp asimd sve\n", {}, None),
        ("", {}, None),
    ],
)
def test_onednn_is_turned_on_where_it_pays_and_the_user_has_not_chosen(cpu_with, text, before, after):
    cpu_with(text)
    environment = dict(before)
    choose_onednn(environment)
    assert environment.get(ONEDNN_SWITCH) == after


def test_a_machine_that_does_not_say_has_no_flags(tmp_path, monkeypatch):
    monkeypatch.setattr(processor, "CPU_INFO", tmp_path / "cpuinfo")
    assert cpu_flags() == frozenset()


@pytest.mark.parametrize(("switch", "expected"), [("1", "oneDNN"), ("0", "Eigen")])
def test_tensorflow_heeds_the_choice(switch, expected):
    done = subprocess.run(
        [sys.executable, "-c", "from ctmodel.devices.backend import kernels; print(kernels())"],
        env=os.environ | {ONEDNN_SWITCH: switch, "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{expected}\n"


def test_tensorflow_keeps_to_the_cores_that_it_may_use():
    code = (
        "from ctprep.execution import cores; cores.available_cores = lambda: 1;"
        "from ctmodel.devices import backend;"
        "print(backend.tf.config.threading.get_intra_op_parallelism_threads())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
