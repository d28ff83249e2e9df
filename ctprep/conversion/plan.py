"""What a conversion will do to each scan, and why, decided before anything is done. No voxel is read."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ctprep.conversion.remarks import Remark, notes_on_remarks
from ctprep.scans.scan import UNLABELLED, Rejection, Scan
from ctprep.text import html_table


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
    remarks : tuple of Remark
        What else a user should know of it.
    """

    finished: FinishedVolume | None = None
    rejection: Rejection | None = None
    why_convert: str = "new"
    remarks: tuple[Remark, ...] = ()


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
    remarks : tuple of Remark
        What else a user should know of it.
    """

    scan: Scan
    action: Action
    reason: str
    finished: FinishedVolume | None = None
    rejection: Rejection | None = None
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What becomes of every scan, in row order.

    Parameters
    ----------
    rows : tuple of PlanRow
    existing : tuple of str
        Ids in the store that will be replaced.
    unusable : tuple of Rejection
        Scans that are named, but have no file that can be read.
    notes : tuple of str
        What the catalog inferred or left out, and what is remarkable of scans.

    Examples
    --------
    >>> from ctprep import plan_conversion
    >>> plan = plan_conversion("raw", "new.zarr")
    >>> plan.count(Action.CONVERT), plan.rows[0].scan.id, plan.rows[0].reason
    (17, 'CT-0/p00_0', 'new')
    """

    rows: tuple[PlanRow, ...]
    existing: tuple[str, ...] = ()
    unusable: tuple[Rejection, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def removed(self) -> tuple[str, ...]:
        """Ids that the existing store holds and the new one will not, as far as can be seen from outside."""
        staying = {row.scan.id for row in self.rows if row.action is not Action.REJECT}
        return tuple(scan for scan in self.existing if scan not in staying)

    def count(self, action: Action) -> int:
        """Count the scans of one action."""
        unusable = len(self.unusable) if action is Action.REJECT else 0
        return sum(row.action is action for row in self.rows) + unusable

    def lines(self) -> list[str]:
        """Return what `ctprep plan` shows: the notes, a line for each scan, and the numbers of scans."""
        notes = [f"note: {note}" for note in self.notes]
        here = {row.scan.id for row in self.rows}
        why = {True: "rejected now", False: "no longer in the raw folder"}
        removed = [f"remove  {scan}  {why[scan in here]}" for scan in self.removed]
        return [
            *notes,
            *(f"{action:<8}{scan}  {reason}" for scan, action, reason in self._decisions()),
            *removed,
            str(self),
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the plan, ready for JSON."""
        names = ("scan", "action", "reason")
        rows = [dict(zip(names, decision)) for decision in self._decisions()]
        return {"rows": rows, "removed": list(self.removed), "notes": list(self.notes)}

    def _decisions(self) -> list[tuple[str, str, str]]:
        """Return id, action and reason of every scan, sorted by id."""
        unusable = [(bad.scan, str(Action.REJECT), f"{bad.code}: {bad.reason}") for bad in self.unusable]
        return sorted([*((row.scan.id, str(row.action), row.reason) for row in self.rows), *unusable])

    def __str__(self) -> str:
        counts = [f"{self.count(action):,} to {action}" for action in Action]
        return ", ".join([*counts, f"{len(self.removed):,} to remove"])

    def __repr__(self) -> str:
        return f"Plan({self})"

    def _repr_html_(self) -> str:
        """Return a table for a notebook, what is rejected first."""
        rows = sorted(self._decisions(), key=lambda decision: decision[1] != Action.REJECT)
        return html_table(f"Plan: {self}", ("scan", "action", "reason"), rows, self.notes)


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
    notes = notes_on_remarks((row.scan.id, row.remarks) for row in rows if row.action is not Action.REJECT)
    return Plan(rows, tuple(existing), notes=tuple(notes))


def _decide(scan: Scan, seen: Observation) -> PlanRow:
    if seen.rejection:
        reason = f"{seen.rejection.code}: {seen.rejection.reason}"
        return PlanRow(scan, Action.REJECT, reason, rejection=seen.rejection)
    accepted = f", accepts {' and '.join(scan.accept)}" if scan.accept else ""
    if seen.finished:
        reason = f"{seen.finished.why}{accepted}"
        return PlanRow(scan, Action.REUSE, reason, finished=seen.finished, remarks=seen.remarks)
    return PlanRow(scan, Action.CONVERT, f"{seen.why_convert}{accepted}", remarks=seen.remarks)


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
