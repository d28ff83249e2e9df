"""What a conversion will do to each scan, and why, decided before anything is done. No voxel is read."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from ctprep.conversion.planning.remarks import Remark, notes_on_crops, notes_on_remarks
from ctprep.conversion.planning.table import (
    PlannedScan,
    csv_lines,
    planned_scan,
    scan_lines,
    summary_lines,
    summary_of,
)
from ctprep.scans.readers.header import ScanHeader
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
        What was inferred of all scans or left out, and what is remarkable of some, one line each.
    classes : tuple of str
        Names; a scan's `label` is an index into them.
    headers : mapping of str to ScanHeader
        By scan id; only a plan that is made to be shown has those of all scans.
    rejected_before : mapping of str to Rejection
        What the existing store says of the scans that it lacks, by scan id.
    not_cropped : tuple of str
        Scans whose finished volumes could not be cropped to the lungs.

    Examples
    --------
    >>> from ctprep import plan_conversion
    >>> plan = plan_conversion("raw", "new.zarr")
    >>> plan.count(Action.CONVERT), plan.rows[0].scan.id, plan.rows[0].reason
    (17, 'CT-0/p00_0', 'new')
    >>> plan.scans[0].shape, plan.scans[0].spacing_mm, plan.scans[0].orientation
    ((20, 20, 10), (20.0, 20.0, 30.0), 'RAS')
    """

    rows: tuple[PlanRow, ...]
    existing: tuple[str, ...] = ()
    unusable: tuple[Rejection, ...] = ()
    notes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    headers: Mapping[str, ScanHeader] = field(default_factory=dict, repr=False)
    rejected_before: Mapping[str, Rejection] = field(default_factory=dict, repr=False)
    not_cropped: tuple[str, ...] = ()

    @property
    def removed(self) -> tuple[str, ...]:
        """Ids that the existing store holds and the new one will not, as far as can be seen from outside."""
        staying = {row.scan.id for row in self.rows if row.action is not Action.REJECT}
        return tuple(scan for scan in self.existing if scan not in staying)

    @cached_property
    def scans(self) -> tuple[PlannedScan, ...]:
        """What is known of each scan, also of those without a file, sorted by id."""
        has_split = any(row.scan.split for row in self.rows)
        return tuple(
            sorted(
                [*(self._planned(row, has_split) for row in self.rows), *map(self._missing, self.unusable)],
                key=lambda planned: planned.scan,
            )
        )

    def count(self, action: Action) -> int:
        """Count the scans of one action."""
        unusable = len(self.unusable) if action is Action.REJECT else 0
        return sum(row.action is action for row in self.rows) + unusable

    def summary(self) -> dict[str, Any]:
        """Return the numbers of scans by class, subset, orientation and note, and the ranges of their sizes."""
        return summary_of(self.scans, self.classes)

    def lines(self) -> list[str]:
        """Return what `ctprep plan` shows: notes, a summary, the first scans of each kind, and their numbers."""
        here = {row.scan.id for row in self.rows}
        removed = [
            PlannedScan(scan, "remove", "rejected now" if scan in here else "no longer in the raw folder")
            for scan in self.removed
        ]
        return [
            *(f"note: {note}" for note in self._notes()),
            *summary_lines(self.summary()),
            *scan_lines([*self.scans, *removed]),
            str(self),
        ]

    def csv_lines(self) -> list[str]:
        """Return a table of all scans as the lines of a CSV file, its header first."""
        return csv_lines(self.scans)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan, ready for JSON."""
        return {
            "summary": self.summary(),
            "actions": {str(action): self.count(action) for action in Action},
            "rows": [scan.to_dict() for scan in self.scans],
            "removed": list(self.removed),
            "notes": self._notes(),
        }

    def _notes(self) -> list[str]:
        return [*self.notes, *notes_on_crops(self.not_cropped)]

    def _planned(self, row: PlanRow, has_split: bool) -> PlannedScan:
        return planned_scan(
            row.scan,
            self.classes,
            self.headers.get(row.scan.id),
            has_split=has_split,
            action=str(row.action),
            reason=row.reason,
            code=row.rejection.code if row.rejection else "",
            rejected_before=self._code_before(row.scan.id),
            remarks=tuple(f"{remark.kind}: {remark.text}" for remark in row.remarks),
        )

    def _missing(self, bad: Rejection) -> PlannedScan:
        before = self._code_before(bad.scan)
        return PlannedScan(
            bad.scan, str(Action.REJECT), f"{bad.code}: {bad.reason}", code=bad.code, rejected_before=before
        )

    def _code_before(self, scan: str) -> str:
        return self.rejected_before[scan].code if scan in self.rejected_before else ""

    def __str__(self) -> str:
        counts = [f"{self.count(action):,} to {action}" for action in Action]
        return ", ".join([*counts, f"{len(self.removed):,} to remove"])

    def __repr__(self) -> str:
        return f"Plan({self})"

    def _repr_html_(self) -> str:
        """Return a table for a notebook, what is rejected first."""
        scans = sorted(self.scans, key=lambda scan: scan.action != Action.REJECT)
        rows = [(scan.scan, scan.action, scan.reason) for scan in scans]
        return html_table(f"Plan: {self}", ("scan", "action", "reason"), rows, self._notes())


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
