"""Whose scans they are: named by a table, a pattern or BIDS; else each scan is a patient of its own."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from ctprep.errors import CatalogError
from ctprep.scans.scan import Scan
from ctprep.scans.tables.matching import subject_of
from ctprep.scans.tables.values import MANY_CLASSES, check_patient_names

MANY_SCANS = 10
"""More scans than one person usually has."""


def name_patients(scans: Sequence[Scan], *, pattern: str | None, source: str) -> tuple[list[Scan], list[str]]:
    """Name the patient of each scan by a pattern, or where no table does by its BIDS subject.

    Parameters
    ----------
    scans : sequence of Scan
        With the patients that a table names.
    pattern : str, optional
        Regular expression; its first group, or all of it, is the patient.
    source : str
        What named them, for messages.

    Returns
    -------
    list of Scan
        Those that nothing names have an empty patient.
    list of str
        What was inferred.

    Raises
    ------
    CatalogError
        If the pattern does not fit every id, or two names may be one patient's.
    """
    notes: list[str] = []
    subjects = [subject_of(scan.id) for scan in scans]
    if pattern is not None:
        source, scans = "patient pattern", [replace(scan, patient=_found(pattern, scan.id)) for scan in scans]
    elif not any(scan.patient for scan in scans) and all(subjects):
        scans = [replace(scan, patient=str(subject)) for scan, subject in zip(scans, subjects, strict=True)]
        notes.append("patients: the BIDS names sub-… name them; --patient-pattern or --patient-column does otherwise")
    check_patient_names((scan.patient for scan in scans if scan.patient), source=source)
    return list(scans), notes


def _found(pattern: str, scan: str) -> str:
    try:
        match = re.search(pattern, scan)
    except re.error as error:
        raise CatalogError(f"patient pattern: {pattern!r} is not a regular expression ({error})") from None
    if not match:
        raise CatalogError(f"patient pattern: {pattern!r} is not found in {scan}; it must name every patient")
    return match[1] if match.re.groups else match[0]


def notes_on_patients(scans: Sequence[Scan], without_patient: int) -> list[str]:
    """Say how many scans nothing names the patient of, and what looks wrong about patients."""
    notes = []
    if without_patient:
        notes.append(
            f"no table or pattern names the patients of {without_patient} scans: each counts as a patient of its own"
        )
    if without_patient == len(scans) and (folder := _patients_folder(scans)):
        notes.append(
            f"patients: {folder} holds several scans, perhaps of one patient; if each such folder is a patient, add "
            "--patient-pattern '^(.+)/'"
        )
    patient, count = Counter(scan.patient for scan in scans).most_common(1)[0]
    if count > MANY_SCANS and count > len(scans) / 2:
        notes.append(f"patients: {count} of {len(scans)} scans are of the patient {patient}; is that one person?")
    return notes


def _patients_folder(scans: Sequence[Scan]) -> str | None:
    """Return a folder of several scans, where the folders are deeper and more than those of classes."""
    folders = Counter(scan.id.rpartition("/")[0] for scan in scans)
    deep = {folder: count for folder, count in folders.items() if "/" in folder}
    several = next((folder for folder, count in sorted(deep.items()) if count > 1), None)
    return several if several and len(deep) > MANY_CLASSES else None
