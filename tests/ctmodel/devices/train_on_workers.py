"""Train as `train_on_replicas` does, as one of the machines of TF_CONFIG, or alone without it.

Usage: python -m tests.ctmodel.devices.train_on_workers STORE RUN LOG [die_at=LINE] [batch_size=SCANS]

LOG.log gets the rows of each step, LOG.read those that were read from the store, LOG.written what was written.
"""

import dataclasses
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ctmodel.data.batches import VolumeReader
from ctmodel.devices import workers
from ctmodel.errors import CTModelError
from ctmodel.settings import Execution
from ctmodel.training.train import train
from tests.torture.training_kills import SETTINGS, log_rows

HEARTBEAT_SECONDS, MEETING_SECONDS = 12.0, 60.0  # a busy machine is not gone


def log_reads(log: Path) -> None:
    """Let the reader log the rows of every batch that it is asked for."""
    read = VolumeReader.read

    def logged(reader: VolumeReader, batches: Iterable[np.ndarray], **how: Any) -> Iterator[Any]:
        rows = list(batches)
        with log.with_suffix(".read").open("a") as file:
            file.writelines(f"{sorted(batch.tolist())}\n" for batch in rows)
        return read(reader, rows, **how)

    VolumeReader.read = logged


def log_writes(run: Path, log: Path) -> None:
    """Let what changes the run folder be logged by name."""
    changing = {"os.mkdir", "os.rename", "os.remove"}

    def watch(event: str, found: tuple) -> None:
        writes = event in changing or (event == "open" and found[2] & (os.O_WRONLY | os.O_RDWR))
        if writes and str(found[0]).startswith(str(run)):
            os.write(file, f"{event} {found[0]}\n".encode())

    file = os.open(log.with_suffix(".written"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sys.addaudithook(watch)


def main() -> None:
    store, run, log = map(Path, sys.argv[1:4])
    given = {"die_at": -1, "batch_size": 7}
    given |= {name: int(number) for name, number in (word.split("=") for word in sys.argv[4:])}
    workers.HEARTBEAT_SECONDS, workers.MEETING_SECONDS = HEARTBEAT_SECONDS, MEETING_SECONDS
    log_rows(log, die_at=given["die_at"])
    log_reads(log)
    log_writes(run, log)
    settings = dataclasses.replace(SETTINGS, batch_size=given["batch_size"])
    strategy = "workers" if "TF_CONFIG" in os.environ else "none"
    execution = Execution(strategy=strategy, residency="stream", checkpoint_every=0)
    try:
        train(store, run, settings, execution=execution, resume=True)
    except CTModelError as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
