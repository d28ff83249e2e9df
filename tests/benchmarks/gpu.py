"""What a GPU is fed, and what it waits for; says so and ends where there is none.

Usage: python tests/benchmarks/gpu.py [--cpu] [--steps N], or make bench-gpu

First the volumes of 64 x 64 x 32 float16 a second that arrive as a network's input, batches of 16, augmented as
by default, for each residency. Then the founding network in float32 and in bfloat16, without and
with XLA: its steps a second and the share of the time that it waits for data. --cpu measures the processor instead.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from stores import write_store

from ctmodel.data.augment import augmentation_of
from ctmodel.data.batches import open_volumes
from ctmodel.data.order import epoch_batches
from ctmodel.data.pipeline import training_epoch
from ctmodel.data.residency import Volumes, settle
from ctmodel.devices.backend import accelerator, keras, tf
from ctmodel.devices.precision import POLICIES
from ctmodel.networks.build import build
from ctmodel.settings import TrainSettings
from ctmodel.training.fit import Trainer

SHAPE = (64, 64, 32)
N_SCANS, DISTINCT = 2048, 512
BATCH = 16
ROUNDS = 5
AUGMENTATION = augmentation_of(TrainSettings().augment)
RESIDENCIES = ("stream", "host", "device")
WAYS = [(precision, xla) for xla in (False, True) for precision in POLICIES]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu", action="store_true", help="measure the processor")
    parser.add_argument("--steps", type=int, default=200, help="of each training")
    arguments = parser.parse_args()
    if accelerator() is None and not arguments.cpu:
        print("no GPU is found: nothing is measured (tests/benchmarks/gpu.py --cpu tries the processor)")
        return
    with tempfile.TemporaryDirectory() as folder:
        opened, reader = open_volumes(write_store(Path(folder) / "scans.zarr", N_SCANS, SHAPE, distinct=DISTINCT))
        rows = np.arange(len(opened))
        held = {residency: settle(reader, rows, residency) for residency in RESIDENCIES}
        print(f"{device_name()}; TensorFlow {tf.__version__}, Keras {keras.__version__}; batches of {BATCH}")
        print_rates(held, rows)
        print_trainings(held, rows, arguments.steps)


def device_name() -> str:
    for gpu in tf.config.list_physical_devices("GPU")[:1]:
        return tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
    return "processor"


def epoch_of(volumes: Volumes, rows: np.ndarray, epoch: int) -> Iterator[tuple[np.ndarray, Any]]:
    batches = epoch_batches(rows, batch_size=BATCH, seed=0, epoch=epoch)
    return training_epoch(volumes, batches, seed=0, epoch=epoch, augmentation=AUGMENTATION)


def print_rates(held: dict[str, Volumes], rows: np.ndarray) -> None:
    rates: dict[str, list[float]] = {residency: [] for residency in held}
    for epoch in range(ROUNDS + 1):
        for residency, volumes in held.items():
            begin = time.perf_counter()
            for _, arrived in epoch_of(volumes, rows, epoch):
                last = arrived
            float(last[0, 0, 0, 0, 0])  # what was queued on a GPU is done when this number is here
            rates[residency].append(len(rows) / (time.perf_counter() - begin))
    print(f"\n{'residency':<24}{'volumes/s':>12}")
    for residency, of_residency in rates.items():
        print(f"{residency:<24}{statistics.median(of_residency[1:]):>12,.0f}", flush=True)


def print_trainings(held: dict[str, Volumes], rows: np.ndarray, steps: int) -> None:
    print(f"\n{'founding network':<24}{'residency':<10}{'steps/s':>10}{'volumes/s':>12}{'waiting':>10}")
    for precision, xla in WAYS:
        trainer = new_trainer(precision, xla=xla)
        way = f"{precision}{', XLA' if xla else ''}"
        for residency, volumes in held.items():
            rate, waiting = train(trainer, volumes, rows, steps)
            print(f"{way:<24}{residency:<10}{rate:>10.1f}{rate * BATCH:>12,.0f}{waiting:>10.1%}", flush=True)


def new_trainer(precision: str, *, xla: bool) -> Trainer:
    trainer = Trainer(build("founding", SHAPE, 2, precision), np.ones(2), xla=xla)
    trainer.learn_at(1e-4)
    return trainer


def train(trainer: Trainer, volumes: Volumes, rows: np.ndarray, steps: int) -> tuple[float, float]:
    """Return steps a second, and the share of the time in which the next batch was not there yet."""
    batches = endless(volumes, rows)
    run(trainer, batches, 3)  # traces, compiles, fills the queues
    begin = time.perf_counter()
    waited = run(trainer, batches, steps)
    taken = time.perf_counter() - begin
    return steps / taken, waited / taken


def run(trainer: Trainer, batches: Iterator, steps: int) -> float:
    """Train some steps; return the seconds that went by until batches came."""
    waited = 0.0
    for _ in range(steps):
        begin = time.perf_counter()
        rows, volumes = next(batches)
        waited += time.perf_counter() - begin
        np.asarray(trainer.step(volumes, np.eye(2)[rows % 2]))  # waits for the step
    return waited


def endless(volumes: Volumes, rows: np.ndarray) -> Iterator[tuple[np.ndarray, Any]]:
    epoch = 0
    while True:
        yield from epoch_of(volumes, rows, epoch)
        epoch += 1


if __name__ == "__main__":
    main()
