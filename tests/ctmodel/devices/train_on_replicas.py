"""Train as `training_kills` does, but on some virtual CPU devices, in a process of its own: they come before the rest.

Usage: python -m tests.ctmodel.devices.train_on_replicas STORE RUN REPLICAS [naive]

The naive way normalizes each part of a batch by its own statistics.
"""

import dataclasses
import sys
from pathlib import Path

from ctmodel.devices.backend import keras, tf
from ctmodel.networks import blocks, compact
from ctmodel.settings import Execution
from ctmodel.training.train import train
from tests.torture.training_kills import SETTINGS, log_rows


def main() -> None:
    store, run, replicas = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)
    if sys.argv[4:]:
        compact.normalized = lambda x: keras.layers.BatchNormalization(momentum=blocks.BATCH_NORM_MOMENTUM)(x)
    log_rows(run)
    settings = dataclasses.replace(SETTINGS, batch_size=7)  # which two or four replicas share unequally
    train(store, run, settings, execution=Execution(strategy="mirrored"))


if __name__ == "__main__":
    main()
