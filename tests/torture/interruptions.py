"""`ctprep convert` interrupted at random instants, as by Ctrl-C and by `kill`, on every scheduler of one machine.

It ends in one line that says how to resume, soon, and leaves no process; the target is absent or whole; the same
command once more gives the store that is made from nothing. The instants begin when the first file is written. The null
control is a script that writes straight into the target.
"""

import itertools
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ctprep.conversion.staging import Staging
from ctprep.execution.stopping import SIGNALS
from tests.conftest import chest_hu, write_scan
from tests.processes import session_ends
from tests.torture.cohort import NAME, Figures, opens_as_complete, tree
from tests.torture.report import Row

MANY, FEW = 24, 2
"""Scans of a conversion: most of the time of many goes into them, most of the time of few into the rest."""

SCHEDULERS = ("synchronous", "threads", "processes")
NAIVELY = ("a script",)
NAIVE = "import sys; from pathlib import Path; from tests.torture.cohort import write_naively; "
MAX_SECONDS = 2.0
MAX_SECONDS_OF_LEAVING = 0.05
"""How long a process that is done takes signals without an effect, while the system takes its memory back."""

WAY_ON = "run the same command again to resume"
ROOT = Path(__file__).parents[2]


def interruptions(
    folder: Path,
    count: int,
    *,
    seed: int = 0,
    scans: int = MANY,
    most_seconds: float = math.inf,
    schedulers: Sequence[str] = SCHEDULERS,
) -> tuple[Figures, list[float]]:
    """Interrupt conversions; return what was wrong, and the seconds that each took to end."""
    rng, figures, seconds = np.random.default_rng(seed), Figures(), []
    for number in range(scans):
        write_scan(folder / "raw" / f"CT-{number % 2}" / f"s{number}.nii.gz", chest_hu((256, 256, 24), seed=number))
    started = time.monotonic()
    _finish(_start(folder, "fresh", schedulers[-1]))
    whole, lasts = tree(folder / "fresh" / NAME), time.monotonic() - started
    places = itertools.count()
    while figures.states < count:
        scheduler, what = str(rng.choice(schedulers)), SIGNALS[rng.integers(len(SIGNALS))]
        place = str(next(places))
        process = _start(folder, place, scheduler)
        out = folder / place / NAME
        while process.poll() is None and not (Staging(out).folder.exists() or out.exists()):
            time.sleep(0.001)
        time.sleep(rng.uniform(0, lasts))
        began = time.monotonic()
        struck = _signal(process, what)
        status, said = _finish(process)
        took, found = time.monotonic() - began, tree(out)
        where = f"{scheduler}, {what.name}"
        leaving = status == -what or (status == 0 and took < MAX_SECONDS_OF_LEAVING)
        if not struck or (leaving and found == whole):  # it was done before
            figures.note(f"{where}, which said {said!r}", ["printed a traceback"] if "Traceback" in said else [])
            continue
        seconds.append(took)
        figures.states += 1
        figures.note(f"{where}, which said {said!r}", [*_judge(process.pid, status, said)])
        if found not in (None, whole):
            figures.note(
                where, ["opens as complete and is not" if opens_as_complete(out) else "neither absent nor whole"]
            )
        figures.note(where, ["took too long"] if took > most_seconds else [])
        status, said = _finish(_start(folder, place, scheduler))
        resumed = status == 0 and tree(out) == whole
        figures.note(f"{where}, resumed", [] if resumed else ["differs from one made from nothing"])
    return figures, seconds


def _start(folder: Path, place: str, scheduler: str) -> subprocess.Popen[str]:
    out = folder / place / NAME
    out.parent.mkdir(exist_ok=True)
    if scheduler in NAIVELY:
        command = [sys.executable, "-c", f"{NAIVE}write_naively(*map(Path, sys.argv[1:]))", folder / "raw", out]
    else:
        command = [sys.executable, "-c", "import cli; cli.ctprep()", "convert", folder / "raw", out]
        command += ["--scheduler", scheduler, "--workers", "2", "--shape", "8", "8", "8"]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_heed_ctrl_c,
    )


def _heed_ctrl_c() -> None:
    """Undo what a shell does to what it starts in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _signal(process: subprocess.Popen[str], what: signal.Signals) -> bool:
    """Ctrl-C goes to the foreground group of a terminal, `kill` to one process; tell whether there still was one."""
    if process.poll() is not None:
        return False
    send = os.killpg if what is signal.SIGINT else os.kill
    send(process.pid, what)
    return True


def _finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = process.communicate(timeout=60)
    return process.returncode, said


def _judge(session: int, status: int, said: str) -> Iterator[str]:
    if status != 1:
        yield f"ended with {status}"
    if "Traceback" in said or WAY_ON not in said:
        yield "did not say how to resume"
    if not session_ends(session):
        yield "left a process"


def long_version(empty_folder: Callable[[], Path], seed: int) -> Iterator[Row]:
    """Interrupt 100 conversions of many scans, and 100 of few."""
    for scans in (MANY, FEW):
        figures, seconds = interruptions(empty_folder(), 100, seed=seed, scans=scans, most_seconds=MAX_SECONDS)
        spent = f"median {np.median(seconds):.2f} s, longest {max(seconds):.2f} s to end"
        control, _ = interruptions(empty_folder(), 20, seed=seed, scans=scans, schedulers=NAIVELY)
        row = figures.row(f"{scans} scans, interrupted by SIGINT or SIGTERM, then resumed", control)
        yield replace(row, tried=f"{figures.states} conversions, {spent}")
