"""What a run remembers of its store, its network and its split, and how two stores differ."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from math import inf, nextafter
from pathlib import Path
from typing import Any

from ctmodel.data.split import SUBSETS, UNLABELLED, Split
from ctmodel.scoring.scores import Threshold
from ctmodel.settings import PRECISIONS, FoldSettings, differences, parse_threshold
from ctprep.store.store import Store

MAX_THRESHOLD = nextafter(1.0, inf)
"""What calls no scan positive, even if its probability is 1."""
KERNELS = ("oneDNN", "Eigen", "GPU", UNKNOWN_KERNELS := "unknown")


@dataclass(frozen=True)
class StoreRecord:
    """What a run remembers of its store.

    Attributes
    ----------
    path : str
        From the run folder to the store, so that both can be moved together.
    recipe : dict
        Every field of the recipe.
    classes : tuple of str
    scans : int
        Rows, labelled or not.
    fingerprint : str
        SHA-256 over what decides a store: recipe, classes, and each scan's id, label, patient and bytes.

    Raises
    ------
    ValueError
        If a field has another type.
    """

    path: str
    recipe: dict[str, Any]
    classes: tuple[str, ...]
    scans: int
    fingerprint: str

    def __post_init__(self) -> None:
        _expect("path", self.path, isinstance(self.path, str) and self.path, "a path")
        _expect("recipe", self.recipe, isinstance(self.recipe, dict) and self.recipe, "the fields of a recipe")
        _expect("recipe shape", self.recipe.get("shape"), _is_shape(self.recipe.get("shape")), "three whole numbers")
        _expect("classes", self.classes, _are_names(self.classes), "names")
        _expect("scans", self.scans, type(self.scans) is int, "a whole number")
        _expect("fingerprint", self.fingerprint, isinstance(self.fingerprint, str), "a SHA-256")


@dataclass(frozen=True)
class NetworkRecord:
    """The arguments that build a run's network, and what it was begun with.

    Attributes
    ----------
    name : str
        As `ctmodel.networks.build.build` takes it.
    input_shape : (x, y, z) ints
    n_classes : int
    precision : {"float32", "bfloat16"}
        What it computes with.
    kernels : {"oneDNN", "Eigen", "GPU", "unknown"}
        What carries the arithmetic out; another rounds otherwise. Runs of version 0.1 do not say.
    source : str
        SHA-256 of the file that defines a network of the user's own.

    Raises
    ------
    ValueError
        If a field has another type.
    """

    name: str
    input_shape: tuple[int, ...]
    n_classes: int
    precision: str
    kernels: str = UNKNOWN_KERNELS
    source: str = ""

    def __post_init__(self) -> None:
        _expect("name", self.name, isinstance(self.name, str), "the name of a network")
        _expect("input_shape", self.input_shape, _is_shape(self.input_shape), "three whole numbers")
        _expect("n_classes", self.n_classes, type(self.n_classes) is int, "a whole number")
        known = PRECISIONS[1:]  # without auto, which is for the settings
        _expect("precision", self.precision, self.precision in known, f"one of {', '.join(known)}")
        _expect("source", self.source, isinstance(self.source, str), "a SHA-256")
        _expect("kernels", self.kernels, self.kernels in KERNELS, f"one of {', '.join(KERNELS)}")

    @property
    def arguments(self) -> dict[str, Any]:
        """What `ctmodel.networks.build.build` takes."""
        kept = ("name", "input_shape", "n_classes", "precision")
        return {name: getattr(self, name) for name in kept}


@dataclass(frozen=True)
class CrossvalRecord:
    """How a cross-validation divides its scans into folds.

    Attributes
    ----------
    settings : FoldSettings
    values : tuple of str
        Those of the column that is left out, one for each fold of a repeat; none where the folds are drawn.

    Raises
    ------
    ValueError
        If a field has another type.
    """

    settings: FoldSettings
    values: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _expect(
            "values",
            self.values,
            _are_names(self.values) and bool(self.values) == bool(self.settings.leave_out),
            "texts",
        )

    @property
    def n_folds(self) -> int:
        """Folds of one repeat."""
        return len(self.values) or self.settings.folds

    @property
    def places(self) -> list[tuple[int, int]]:
        """The repeat and the fold of each training, from 1, in their order."""
        repeats = range(1, self.settings.repeats + 1)
        return [(repeat, fold) for repeat in repeats for fold in range(1, self.n_folds + 1)]

    @property
    def names(self) -> list[str]:
        """The name of each training's run folder."""
        several = self.settings.repeats > 1
        return [f"repeat-{repeat}-fold-{fold}" if several else f"fold-{fold}" for repeat, fold in self.places]

    @property
    def left_out(self) -> list[str]:
        """The value that each training tests on; empty where the folds are drawn."""
        return [self.values[fold - 1] if self.values else "" for _, fold in self.places]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, ready for JSON."""
        return self.settings.to_dict() | {"values": list(self.values)}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "CrossvalRecord":
        """Return the record that `to_dict` described."""
        values = saved.pop("values")
        return cls(FoldSettings(**saved), tuple(values))


@dataclass(frozen=True)
class SplitRow:
    """A scan's subset in a run; the fields are the columns of `split.csv`, with the class's name as label.

    Raises
    ------
    ValueError
        If there is no such subset.
    """

    scan: str
    patient: str
    label: str
    subset: str
    source_sha256: str
    volume_crc32c: str  # of the stored volume: equal for the same scan compressed and plain

    def __post_init__(self) -> None:
        subsets = (*SUBSETS, UNLABELLED)
        _expect(f"subset of {self.scan}", self.subset, self.subset in subsets, f"one of {', '.join(subsets)}")


@dataclass(frozen=True)
class KeptThreshold:
    """A threshold that was chosen after the training, as `threshold.json` keeps it.

    Attributes
    ----------
    value : float
    chosen_by : str
        As in `Threshold`.
    scores : str
        SHA-256 of the `scores.json` of the run that it is for.
    seal : str
        SHA-256 over the others.

    Raises
    ------
    ValueError
        If a field has another type, or has changed since.
    """

    value: float
    chosen_by: str
    scores: str
    seal: str

    def __post_init__(self) -> None:
        is_probability = isinstance(self.value, float) and 0 <= self.value <= MAX_THRESHOLD
        _expect("value", self.value, is_probability, "a probability")
        parse_threshold(self.chosen_by)
        _expect("seal", self.seal, self.seal == _seal(self.value, self.chosen_by, self.scores), "that of its fields")

    @classmethod
    def of(cls, threshold: Threshold, *, scores: str) -> "KeptThreshold":
        """Seal a threshold for the run with some scores."""
        seal = _seal(threshold.value, threshold.chosen_by, scores)
        return cls(threshold.value, threshold.chosen_by, scores, seal)

    @property
    def threshold(self) -> Threshold:
        """The threshold itself."""
        return Threshold(self.value, self.chosen_by)

    def check(self, scores: str | None) -> None:
        """Raise ValueError unless it was chosen for the run with these scores."""
        _expect("scores", self.scores, self.scores == scores, "those of this run")


def _seal(value: float, chosen_by: str, scores: str) -> str:
    return sha256(f"{value!r} {chosen_by} {scores}".encode()).hexdigest()


def _expect(name: str, value: Any, is_met: Any, expected: str) -> None:
    if not is_met:
        raise ValueError(f"{name}: {value!r}, expected {expected}")


def _is_shape(value: Any) -> bool:
    """Return whether a value is three whole numbers; neither a float nor a bool is one."""
    return isinstance(value, tuple | list) and [type(size) for size in value] == [int] * 3 and min(value) > 0


def _are_names(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(name, str) for name in value)


def describe_store(store: Store, run: Path) -> StoreRecord:
    """Return what a run at `run` is to remember of a store."""
    return StoreRecord(
        path=os.path.relpath(store.path, run),
        recipe=_as_json(store.recipe.to_dict()),
        classes=store.classes,
        scans=len(store),
        fingerprint=fingerprint(store),
    )


def fingerprint(store: Store) -> str:
    """Return a SHA-256 that is equal for stores of equal scans, labels, patients, subsets and recipe."""
    digest = sha256(store.recipe.digest.encode())
    splits = [store.splits] if any(store.splits) else []
    for values in (store.classes, *zip(*_identities(store), strict=True), *splits):
        digest.update("".join(f"{len(str(value))}:{value}" for value in values).encode())
    return digest.hexdigest()


def _identities(store: Store) -> Iterator[tuple]:
    return zip(store.scans, store.labels.tolist(), store.patients, store.records.source_sha256, strict=True)


def split_rows(store: Store, split: Split) -> list[SplitRow]:
    """Return the rows of `split.csv` for a store and the subsets of its scans."""
    names = (*store.classes, "")
    checksums = map(str, store.checksums.tolist())
    return [
        SplitRow(scan, patient, names[label], subset, source, checksum)
        for (scan, label, patient, source), subset, checksum in zip(
            _identities(store), split.subsets, checksums, strict=True
        )
    ]


def store_differences(ours: StoreRecord, theirs: StoreRecord) -> list[str]:
    """Name what differs between two stores; a path does not."""
    named = differences(_comparable(ours), _comparable(theirs))
    if not named and ours.fingerprint != theirs.fingerprint:
        return ["its scans, labels or patients have changed"]
    return named


def _comparable(store: StoreRecord) -> dict[str, Any]:
    return store.recipe | {"classes": store.classes, "number of scans": store.scans}


def _as_json(value: Any) -> Any:
    """Return a value as it comes back from JSON: lists for tuples."""
    if isinstance(value, dict):
        return {key: _as_json(entry) for key, entry in value.items()}
    return [_as_json(entry) for entry in value] if isinstance(value, tuple | list) else value
