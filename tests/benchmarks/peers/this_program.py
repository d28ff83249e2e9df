"""ctprep, everything included: read, hash, judge, resample, encode, write the chunk, enter it in the journal."""

import itertools
import sys
import tempfile
from pathlib import Path

import numcodecs.blosc
import numpy as np
from timing import report

from ctprep.conversion.scan_task import ScanTask, convert_scan
from ctprep.conversion.work_folder import WorkFolder
from ctprep.scans.scan import Rejection
from ctprep.store.chunk import CHECKSUM_BYTES, VOLUME, stated_checksum
from ctprep.volume.recipe import Recipe

RECIPE = Recipe()


def written_volume(chunk: Path) -> np.ndarray:
    packed = chunk.read_bytes()[:-CHECKSUM_BYTES]
    return np.frombuffer(numcodecs.blosc.decompress(packed), RECIPE.dtype).reshape(RECIPE.shape)


with tempfile.TemporaryDirectory() as temporary:
    work = WorkFolder(Path(temporary))
    numbers = itertools.count()  # each volume has a name of its own: replacing a file would wait for the disk

    with work.open_journal() as journal:

        def convert(scan: Path) -> Path:
            """Convert a scan; a rejection, which is quick, must not pass for one."""
            name = f"{next(numbers):032}"
            _, outcome = convert_scan(ScanTask("scan", scan, RECIPE, work.chunk(name)))
            if isinstance(outcome, Rejection):
                sys.exit(outcome.reason)
            journal.append(name, outcome, {VOLUME: stated_checksum(work.chunk(name))})
            return work.chunk(name)

        report({"ctprep": convert}, packages=["numpy"], volume_of=written_volume)
