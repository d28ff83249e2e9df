"""Training from the store over training from tensors in memory: steps a second, and the time spent waiting for data.

Usage: python tests/benchmarks/training.py [--network founding] [--volumes 64] [--rounds 7] [--augmented]
                                              [--precision auto]

The same network takes an epoch from the store and one from memory in turn, in the same order and with the same loop;
the first round is not counted. As in a training, the pipeline of an epoch is set up while something else goes on: here
a pause. Memory holds the network's inputs, ready; with --augmented the store's are augmented as by default, which
memory's are not. Then steps in each precision in turn, over those in float32, and the cost of a
checkpoint, as a share of the time from one to the next.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ctmodel.data.augment import Augmentation, augmentation_of
from ctmodel.data.batches import open_volumes
from ctmodel.data.order import cut_batches, epoch_batches, epoch_order
from ctmodel.data.pipeline import to_input, training_epoch
from ctmodel.devices.backend import make_reproducible, tf
from ctmodel.devices.precision import choose_precision
from ctmodel.devices.prefetch import started
from ctmodel.networks.build import build
from ctmodel.run.checkpoint import Checkpoint, save_checkpoint
from ctmodel.run.history import Pace
from ctmodel.settings import Execution, TrainSettings
from ctmodel.training.fit import Trainer
from ctmodel.training.loop import timed
from ctprep import convert, find_scans
from ctprep.phantom import CohortSettings, write_cohort
from ctprep.volume.recipe import Recipe

BATCH = TrainSettings().batch_size
PRECISIONS = ("float32", "bfloat16")
SEED = 0
VALIDATION_SECONDS = 0.5


def make_store(folder: Path, volumes: int) -> Path:
    """Convert a cohort of small scans to volumes of the default shape."""
    write_cohort(folder / "raw", settings=CohortSettings(scans=volumes, shape=(32, 32, 16), seed=SEED))
    convert(find_scans(folder / "raw", labels=folder / "raw" / "truth.csv"), folder / "out.zarr", recipe=Recipe())
    return folder / "out.zarr"


def from_memory(inputs: Any, epoch: int) -> Iterator[tuple[np.ndarray, Any]]:
    """Yield an epoch of batches gathered from a tensor."""
    for rows in cut_batches(epoch_order(len(inputs), seed=SEED, epoch=epoch), BATCH):
        yield rows, tf.gather(inputs, rows)


def pace_of(trainer: Trainer, batches: Iterator[tuple[np.ndarray, Any]], shares: np.ndarray) -> Pace:
    """Train for an epoch as `ctmodel.training.loop` does, and return how it went."""
    pace, outputs = Pace(), None
    for rows, volumes in timed(batches, pace):
        before, outputs = outputs, trainer.step(volumes, shares[rows])
        if before is not None:
            before.numpy()
    return pace


def compare(trainer: Trainer, store: Path, rounds: int, augmentation: Augmentation) -> None:
    """Print the ratio of the paces, round by round."""
    opened, reader = open_volumes(store)
    rows = np.arange(len(opened))
    shares = np.eye(2)[(np.maximum(opened.labels, 0) > 0).astype(int)]
    inputs = to_input(np.concatenate([batch.volumes for batch in reader.read(cut_batches(rows, BATCH))]))
    ratios, waits, rates = [], [], []
    for epoch in range(rounds + 1):
        batches = epoch_batches(rows, batch_size=BATCH, seed=SEED, epoch=epoch)
        streamed = started(training_epoch(reader, batches, seed=SEED, epoch=epoch, augmentation=augmentation))
        time.sleep(VALIDATION_SECONDS)
        theirs = pace_of(trainer, from_memory(inputs, epoch), shares)
        ours = pace_of(trainer, streamed, shares)
        ratios.append(theirs.seconds / ours.seconds)
        waits.append(ours.waiting / ours.seconds)
        rates.append(ours.volumes / ours.seconds)
    ratios, waits, rates = ratios[1:], waits[1:], rates[1:]
    print(f"from the store           {statistics.median(rates):>8.1f} volumes/s")
    print(f"over tensors in memory   {statistics.median(ratios):>8.3f}  ({min(ratios):.3f} to {max(ratios):.3f})")
    print(f"waiting for data         {statistics.median(waits):>8.2%}  ({min(waits):.2%} to {max(waits):.2%})")


def compare_precisions(network: str, rounds: int) -> None:
    """Print how many steps each precision takes in the time of one in float32."""
    trainers = {precision: new_trainer(network, precision) for precision in PRECISIONS}
    volumes = tf.random.stateless_uniform((BATCH, *Recipe().shape, 1), seed=(0, 0))
    shares, seconds = np.eye(2)[np.arange(BATCH) % 2], {precision: [] for precision in PRECISIONS}
    for _ in range(rounds + 1):
        for precision, trainer in trainers.items():
            begun = time.perf_counter()
            trainer.step(volumes, shares).numpy()
            seconds[precision].append(time.perf_counter() - begun)
    whole = np.array(seconds["float32"][1:])
    print(f"a step in float32        {np.median(whole) * 1e3:>8.1f} ms")
    for precision in PRECISIONS[1:]:
        print(f"steps in {precision:<16}{np.median(whole / seconds[precision][1:]):>8.2f} of those in float32")


def new_trainer(network: str, precision: str) -> Trainer:
    make_reproducible(SEED)
    trainer = Trainer(build(network, Recipe().shape, 2, precision), np.ones(2))
    trainer.learn_at(1e-4)
    return trainer


def checkpoint_cost(trainer: Trainer, folder: Path, rounds: int) -> None:
    """Print what a checkpoint takes, and of what share of the time that is by default."""
    best, none = trainer.model.get_weights(), np.empty(0)
    path, seconds = folder / "checkpoint.npz", []
    for _ in range(rounds):
        begun = time.perf_counter()
        checkpoint = Checkpoint(trainer.state(), best, [], 0, none, none)
        save_checkpoint(path, checkpoint, former=path.with_name("former.npz"))
        seconds.append(time.perf_counter() - begun)
    took, every = statistics.median(seconds), Execution().checkpoint_every
    print(f"a checkpoint             {took * 1e3:>8.1f} ms for {path.stat().st_size / 1e6:.1f} MB")
    print(f"every {every:.0f} s               {took / every:>8.2%} of the time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="founding")
    parser.add_argument("--volumes", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--augmented", action="store_true")
    parser.add_argument("--precision", choices=["auto", *PRECISIONS], default="auto")
    given = parser.parse_args()
    precision = choose_precision(given.precision)
    trainer = new_trainer(given.network, precision)
    devices = tf.config.list_physical_devices("GPU") or [f"{os.cpu_count()} cores"]
    print(f"{given.network} in {precision}, batches of {BATCH}, {given.volumes} volumes, {devices[0]}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        store = make_store(folder, given.volumes)
        compare(trainer, store, given.rounds, augmentation_of("light" if given.augmented else "off"))
        checkpoint_cost(trainer, folder, given.rounds)
    compare_precisions(given.network, given.rounds)


if __name__ == "__main__":
    main()
