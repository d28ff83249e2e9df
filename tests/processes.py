"""Which processes a program has left."""

import time
from contextlib import suppress
from pathlib import Path


def processes_in(session: int) -> list[int]:
    """Return the processes of a session that have not ended, in whatever group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            state, _, _, its_session = stat.read_text().rpartition(")")[2].split()[:4]
            if int(its_session) == session and state != "Z":
                found.append(int(stat.parent.name))
    return found


def session_ends(session: int, *, within: float = 20.0) -> bool:
    """Tell whether all processes of a session end in some seconds."""
    deadline = time.monotonic() + within
    while processes_in(session):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
