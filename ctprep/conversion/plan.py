"""What a conversion will do to each scan, and why, decided before anything is done. No voxel is read."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ctprep.scans.scan import UNLABELLED, Rejection, Scan


class Action(StrEnum):
    """What becomes of a scan."""

    CONVERT = "convert"
    REUSE = "reuse"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class FinishedVolume:
    """A volume that exists already.

    Parameters
    ----------
    why : str
        Why it can be taken for the scan's volume.
    row : int, optional
        Its row in the existing store; None for one that an interrupted conversion left.
    """

    why: str
    row: int | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of a scan from outside.

    Parameters
    ----------
    finished : FinishedVolume, optional
        The volume that this scan would give.
    rejection : Rejection, optional
        Why its header cannot be trusted.
    why_convert : str
        Why its voxels must be read, if they must.
    """

    finished: FinishedVolume | None = None
    rejection: Rejection | None = None
    why_convert: str = "new"


@dataclass(frozen=True, slots=True)
class PlanRow:
    """What becomes of one scan.

    Parameters
    ----------
    scan : Scan
    action : Action
    reason : str
    finished : FinishedVolume, optional
        What is reused.
    rejection : Rejection, optional
        Why it is rejected.
    """

    scan: Scan
    action: Action
    reason: str
    finished: FinishedVolume | None = None
    rejection: Rejection | None = None


@dataclass(frozen=True)
class Plan:
    """What becomes of every scan, in row order.

    Parameters
    ----------
    rows : tuple of PlanRow
    existing : tuple of str
        Ids in the store that will be replaced.
    """

    rows: tuple[PlanRow, ...]
    existing: tuple[str, ...] = ()

    @property
    def removed(self) -> tuple[str, ...]:
        """Ids that the existing store holds and the new one will not, as far as can be seen from outside."""
        staying = {row.scan.id for row in self.rows if row.action is not Action.REJECT}
        return tuple(scan for scan in self.existing if scan not in staying)

    def count(self, action: Action) -> int:
        """Count the scans of one action."""
        return sum(row.action is action for row in self.rows)


def make_plan(scans: Sequence[Scan], observations: Mapping[str, Observation], *, existing: Sequence[str] = ()) -> Plan:
    """Decide what becomes of each scan.

    Parameters
    ----------
    scans : sequence of Scan
        In row order.
    observations : mapping of str to Observation
        By scan id; a scan without one is new, which most of them are.
    existing : sequence of str
        Ids in the store that will be replaced.
    """
    new = Observation()
    rows = tuple(_decide(scan, observations.get(scan.id, new)) for scan in scans)
    return Plan(rows, tuple(existing))


def _decide(scan: Scan, seen: Observation) -> PlanRow:
    if seen.rejection:
        reason = f"{seen.rejection.code}: {seen.rejection.reason}"
        return PlanRow(scan, Action.REJECT, reason, rejection=seen.rejection)
    if seen.finished:
        return PlanRow(scan, Action.REUSE, seen.finished.why, finished=seen.finished)
    return PlanRow(scan, Action.CONVERT, seen.why_convert)


def duplicates(scans: Sequence[Scan], sha256: Mapping[str, str]) -> list[Rejection]:
    """Reject scans whose files have the same bytes.

    The first of them stays (the first that has a label, if any has one); where their labels differ, none does.

    Parameters
    ----------
    scans : sequence of Scan
        In row order.
    sha256 : mapping of str to str
        Digest of each scan's file by its id.

    Examples
    --------
    >>> twice = [Scan(name, f"{name}.nii", 0, name) for name in ("a", "b")]
    >>> [(rejected.scan, rejected.reason) for rejected in duplicates(twice, {"a": "5ca1e", "b": "5ca1e"})]
    [('b', 'b: has the same bytes as a; leave one of them out')]
    """
    alike = defaultdict(list)
    for scan in scans:
        alike[sha256[scan.id]].append(scan)
    return sorted(rejection for same in alike.values() if len(same) > 1 for rejection in _reject_alike(same))


def _reject_alike(same: Sequence[Scan]) -> list[Rejection]:
    labels = Counter(scan.label for scan in same if scan.label != UNLABELLED)
    kept = None if len(labels) > 1 else next((scan for scan in same if scan.label != UNLABELLED), same[0])
    return [Rejection(scan.id, "duplicate", _why_alike(scan, same, kept)) for scan in same if scan is not kept]


def _why_alike(scan: Scan, same: Sequence[Scan], kept: Scan | None) -> str:
    if kept is not None:
        return f"{scan.id}: has the same bytes as {kept.id}; leave one of them out"
    others = ", ".join(other.id for other in same if other is not scan)
    return f"{scan.id}: has the same bytes as {others} under another label; find out which label is right"
