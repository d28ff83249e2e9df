"""A shorter precision is chosen by the device alone, kept by the run, and trains and predicts much as float32 does."""

import dataclasses
import json
import os
import subprocess
import sys

import pytest
from tiny_cohort import SHAPE, TINY

from ctmodel.devices.backend import keras, kernels
from ctmodel.devices.precision import choose_precision, precision_for_predictions
from ctmodel.devices.processor import ONEDNN_SWITCH
from ctmodel.errors import NetworkError, RunMismatch, SettingsError
from ctmodel.networks.build import NETWORKS, build
from ctmodel.prediction.evaluate import evaluate
from ctmodel.run.run_folder import Run
from ctmodel.training.train import train

OUTPUTS = """
import json, sys
import numpy as np
from ctmodel.devices.backend import make_reproducible
from ctmodel.training.fit import Trainer
from ctmodel.networks.build import NETWORKS, build

def outputs_of(name, precision):
    make_reproducible(1)
    trainer = Trainer(build(name, (16, 16, 16), 2, precision), np.ones(2))
    trainer.learn_at(1e-3)
    volumes = np.random.default_rng(0).random((4, 16, 16, 16, 1), dtype=np.float32)
    for _ in range(2):
        trainer.step(volumes, np.eye(2)[[0, 1, 0, 1]])
    assert {weight.dtype for weight in trainer.model.weights} <= {"float32", "uint32", "int64"}
    outputs = trainer.model(volumes, training=False).numpy()
    assert outputs.dtype == np.float32
    return outputs.ravel().tolist()

json.dump({name: [outputs_of(name, one) for one in ("bfloat16", "float32")] for name in NETWORKS}, sys.stdout)
"""
"""What each network says of four volumes after two steps, in each precision."""


@pytest.fixture(scope="module")
def outputs():
    """Compute `OUTPUTS` with Eigen, which has bfloat16 on every processor."""
    environment = os.environ | {ONEDNN_SWITCH: "0", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run([sys.executable, "-c", OUTPUTS], env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16_says_much_the_same_in_float32(outputs, name):
    short, whole = outputs[name]
    assert (short == whole) == (name == "lungs")  # which computes in float32 at any precision
    assert short == pytest.approx(whole, abs=0.05)


def test_the_precision_of_other_layers_is_left_alone():
    with pytest.raises(NetworkError):
        build("compact", (16, 16, 8), 1, "bfloat16")
    build("compact", SHAPE, 2, "bfloat16")
    assert keras.config.dtype_policy().name == "float32"


def given(monkeypatch, library, *, has_matrix_unit):
    """Pretend a CPU."""
    monkeypatch.setattr("ctmodel.devices.precision.kernels", lambda: library)
    monkeypatch.setattr("ctmodel.devices.precision.cpu_flags", lambda: {"avx2", *["amx_bf16"] * has_matrix_unit})


@pytest.mark.parametrize(("has_it", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_auto_follows_from_the_device(monkeypatch, has_it, expected):
    given(monkeypatch, "oneDNN", has_matrix_unit=has_it)
    assert choose_precision("auto") == expected


@pytest.mark.parametrize(
    ("library", "has_it", "is_right"),
    [("oneDNN", False, False), ("oneDNN", True, True), ("Eigen", False, True), ("GPU", False, True)],
)
def test_bfloat16_is_refused_where_it_comes_out_wrongly(monkeypatch, library, has_it, is_right):
    given(monkeypatch, library, has_matrix_unit=has_it)
    assert precision_for_predictions("bfloat16") == ("bfloat16" if is_right else "float32")
    assert precision_for_predictions("float32") == choose_precision("float32") == "float32"
    if is_right:
        assert choose_precision("bfloat16") == "bfloat16"
    else:
        with pytest.raises(SettingsError, match="choose float32, which is faster too, or set TF_ENABLE_ONEDNN_OPTS=0"):
            choose_precision("bfloat16")


def test_a_run_keeps_its_precision_on_another_device(store_path, tmp_path, monkeypatch):
    def stop(report):
        raise KeyboardInterrupt

    auto, said = dataclasses.replace(TINY, epochs=2, precision="auto"), []
    monkeypatch.setattr("ctmodel.devices.precision.cpu_flags", lambda: set())
    with pytest.raises(KeyboardInterrupt):
        train(store_path, tmp_path / "run", auto, progress=stop, say=said.append)
    given(monkeypatch, "oneDNN", has_matrix_unit=True)
    assert choose_precision("auto") == "bfloat16"
    resumed = train(store_path, tmp_path / "run", auto, resume=True, say=said.append)
    assert Run(tmp_path / "run").network().precision == "float32"
    assert said.count(f"training the compact network in float32 on one CPU with {kernels()}") == 2
    assert evaluate(tmp_path / "run").scores == resumed.scores
    with pytest.raises(RunMismatch, match="precision: 'auto', now 'bfloat16'"):
        train(store_path, tmp_path / "run", dataclasses.replace(auto, precision="bfloat16"), resume=True)


def test_a_finished_run_is_finished_whatever_this_machine_can_compute(finished, store_path, monkeypatch):
    def refuse(name):
        raise SettingsError(name)

    monkeypatch.setattr(sys.modules["ctmodel.training.train"], "choose_precision", refuse)
    assert train(store_path, finished.run, TINY, resume=True).status == "already finished"
