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

from ctprep.files import read_regular
from ctprep.scans.scan import ScanRecord
from ctprep.store.chunk import LUNG, VOLUME
from ctprep.store.records import RECORD, Records

ENTRY = np.dtype(
    [
        ("name", "S32"),
        ("record", RECORD),
        (f"{VOLUME}_crc32c", "<u4"),
        (f"{LUNG}_crc32c", "<u4"),
        ("crc32", "<u4"),
    ]
)
"""One entry of the journal: a volume's name, its record, the checksums of its chunks (0 of an array that the recipe
does not have), and the CRC-32 of all of these."""


MAX_JOURNAL_BYTES = 1 << 32


@dataclass(frozen=True)
class Finished:
    """What a journal says.

    Attributes
    ----------
    place : mapping of str to int
        Where in the following the volume of a name is.
    records : Records
    checksums : mapping of str to (n,) uint32 array
        CRC-32C of each scan's chunk, by array.
    """

    place: Mapping[str, int]
    records: Records
    checksums: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class WorkFolder:
    """The finished volumes of one recipe; one process writes the journal, any process the chunks.

    Parameters
    ----------
    path : Path
    """

    path: Path

    def chunk(self, name: str, array: str = VOLUME) -> Path:
        """Return where the chunk of a volume's name, 32 ASCII characters, lies, or its chunk of another array."""
        return self.path / (f"{name}.chunk" if array == VOLUME else f"{name}.{array}.chunk")

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

    def finished(self) -> Finished:
        """Return what the journal says; nothing where there is none."""
        try:
            content = read_regular(self._journal, MAX_JOURNAL_BYTES)
        except OSError:
            content = b""
        entries = np.frombuffer(content, ENTRY, count=len(content) // ENTRY.itemsize)
        stated = zip(entries["name"].tolist(), entries["crc32"].tolist(), strict=True)
        place = {
            name.decode("ascii"): row
            for row, (name, crc32) in enumerate(stated)
            if _crc32(content[row * ENTRY.itemsize : (row + 1) * ENTRY.itemsize]) == crc32
        }
        checksums = {array: entries[f"{array}_crc32c"] for array in (VOLUME, LUNG)}
        return Finished(place, Records(entries["record"]), checksums)


class Journal:
    """A journal, open for appending.

    Parameters
    ----------
    descriptor : int
        Of a file opened for appending.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def append(self, name: str, record: ScanRecord, checksums: Mapping[str, int]) -> None:
        """Say that a volume is finished, and the checksum of its chunk of each array; the chunks must be there.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        entry = np.zeros(1, ENTRY)
        entry["name"], entry["record"] = name.encode(), Records.of([record]).table
        for array, checksum in checksums.items():
            entry[f"{array}_crc32c"] = checksum
        entry["crc32"] = _crc32(entry.tobytes())
        content = entry.tobytes()
        while content:
            content = content[os.write(self._descriptor, content) :]


def _crc32(entry: bytes) -> int:
    return zlib.crc32(entry[: -ENTRY["crc32"].itemsize])
