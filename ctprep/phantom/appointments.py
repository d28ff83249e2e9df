"""Who is scanned when: the class and the patient of a scan, from the seed and its index alone."""

from __future__ import annotations

from dataclasses import dataclass

from ctprep.phantom.streams import Stream, generator

BLOCK = 8  # scans; a patient's two scans lie in one block, so that a block is planned without its neighbours
FOLLOW_UPS = 2  # second scans in a block
SAME_STATE_SHARE = 0.8  # of the follow-ups; the others fell ill or recovered in between


@dataclass(frozen=True)
class Appointment:
    """One scan before anything is drawn of it; `patient` is the index of the patient's first scan."""

    index: int
    patient: int
    positive: bool


def appointment(seed: int, index: int) -> Appointment:
    """Return the class and the patient of a scan.

    Of every two scans 2k and 2k + 1 one is normal, so that half of any even cohort is.

    Parameters
    ----------
    seed : int
        Seed of the cohort.
    index : int
        Of the scan, from 0.

    Examples
    --------
    >>> sum(appointment(0, index).positive for index in range(20))
    10
    """
    block, slot = divmod(index, BLOCK)
    positive, patient = _plan_block(seed, block)
    return Appointment(index=index, patient=block * BLOCK + patient[slot], positive=positive[slot])


def _plan_block(seed: int, block: int) -> tuple[list[bool], list[int]]:
    """Return class and first slot of the patient for each slot of a block."""
    rng = generator(seed, Stream.SCHEDULE, block)
    positive = [bool(flip) == bool(half) for flip in rng.integers(2, size=BLOCK // 2) for half in (0, 1)]
    patient = list(range(BLOCK))
    free = list(patient)
    for _ in range(FOLLOW_UPS):
        same_state = rng.random() < SAME_STATE_SHARE
        pairs = [(a, b) for a in free for b in free if a < b and (positive[a] == positive[b]) == same_state]
        if pairs:
            first, second = pairs[rng.integers(len(pairs))]
            patient[second] = first
            free = [slot for slot in free if slot not in (first, second)]
    return positive, patient
