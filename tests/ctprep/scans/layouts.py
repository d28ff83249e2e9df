"""Files and tables as people have them, for the tests of the catalog."""

from pathlib import Path


def touch(raw: Path, *names: str) -> Path:
    """Make empty files below a folder."""
    for name in names:
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        (raw / name).touch()
    return raw


def write_table(path: Path, *rows: str, encoding: str = "utf-8") -> Path:
    """Write the lines of a table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows) + "\n", encoding)
    return path


def found(catalog) -> dict[str, str | None]:
    """Return the name of each scan's class by its id."""
    return {scan.id: (catalog.classes[scan.label] if scan.label >= 0 else None) for scan in catalog.scans}


def patients(catalog) -> dict[str, str]:
    return {scan.id: scan.patient for scan in catalog.scans}


def splits(catalog) -> dict[str, str]:
    return {scan.id: scan.split for scan in catalog.scans}


def note(catalog, start: str) -> str:
    """Return the one note that begins so."""
    (line,) = [line for line in catalog.notes if line.startswith(start)]
    return line
