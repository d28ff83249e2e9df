"""Where a conversion leaves finished volumes until they are in a store: their chunks, and a journal of their records.

A torn or damaged entry of the journal is as if it had never been written: its scan is converted again.
"""

import contextlib
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ctprep.records import RECORD, Records
from ctprep.scan import ScanRecord

ENTRY = np.dtype([("name", "S32"), ("record", RECORD), ("crc32", "<u4")])
"""One entry of the journal: a volume's name, its record, and the CRC-32 of both."""


@dataclass(frozen=True)
class WorkFolder:
    """The finished volumes of one recipe; one process writes the journal, any process the chunks.

    Parameters
    ----------
    path : Path
    """

    path: Path

    def chunk(self, name: str) -> Path:
        """Return where the chunk of a volume's name, 32 ASCII characters, lies."""
        return self.path / f"{name}.chunk"

    @property
    def attempts(self) -> Path:
        """The folder for the marks of workers, see `ctprep.attempts`."""
        return self.path / "attempts"

    @property
    def _journal(self) -> Path:
        return self.path / "journal"

    @contextlib.contextmanager
    def open_journal(self) -> Iterator["Journal"]:
        """Open the journal for appending; the folder is created, and what follows the last whole entry is cut off.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with open(self._journal, "ab", buffering=0) as file:
            file.truncate(file.tell() // ENTRY.itemsize * ENTRY.itemsize)
            yield Journal(file.fileno())

    def finished(self) -> tuple[Mapping[str, int], Records]:
        """Return which record of the journal belongs to each name, and the records; nothing where there is none."""
        try:
            content = self._journal.read_bytes()
        except OSError:
            content = b""
        entries = np.frombuffer(content, ENTRY, count=len(content) // ENTRY.itemsize)
        stated = zip(entries["name"].tolist(), entries["crc32"].tolist(), strict=True)
        rows = {
            name.decode("ascii"): row
            for row, (name, crc32) in enumerate(stated)
            if _crc32(content[row * ENTRY.itemsize : (row + 1) * ENTRY.itemsize]) == crc32
        }
        return rows, Records(entries["record"])


class Journal:
    """A journal, open for appending.

    Parameters
    ----------
    descriptor : int
        Of a file opened for appending.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def append(self, name: str, record: ScanRecord) -> None:
        """Say that a volume is finished; its chunk must be there.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        entry = np.zeros(1, ENTRY)
        entry["name"], entry["record"] = name.encode(), Records.of([record]).table
        entry["crc32"] = _crc32(entry.tobytes())
        content = entry.tobytes()
        while content:
            content = content[os.write(self._descriptor, content) :]


def _crc32(entry: bytes) -> int:
    return zlib.crc32(entry[: -ENTRY["crc32"].itemsize])
