"""Which scans are of the same patient, in one store and in two.

A scan whose patient nobody named counts as a patient of its own, whose name is the scan's id. That name is no identity
in another store: `p001` is somebody else there.
"""

from collections.abc import Sequence


def same_patients(
    learnt: Sequence[tuple[str, str]], scans: Sequence[tuple[str, str]], *, names_patients: bool
) -> list[bool]:
    """Return which scans of a store are of patients that a network has learnt from, by their names.

    Parameters
    ----------
    learnt : sequence of (scan, patient)
        What the network has learnt from.
    scans : sequence of (scan, patient)
        Of the other store.
    names_patients : bool
        Whether somebody named patients on both sides.

    Returns
    -------
    list of bool
        One for each of `scans`. A name counts where it is that of a patient, not of a scan, on either side.

    Examples
    --------
    >>> same_patients([("p1", "p1"), ("a", "ann")], [("p1", "p1"), ("b", "ann"), ("c", "cy")], names_patients=True)
    [False, True, False]
    >>> same_patients([("p1_0", "p1")], [("p1", "p1")], names_patients=True)
    [True]
    >>> same_patients([("p1", "p1")], [("p1", "p1")], names_patients=False)
    [False]
    """
    if not names_patients:
        return [False] * len(scans)
    known = {patient for _, patient in learnt}
    named = {patient for scan, patient in learnt if patient != scan}
    return [patient in named or (patient != scan and patient in known) for scan, patient in scans]
