"""Runs on the scans that all of them tested: which is better, by how much, and whether chance explains it."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ctmodel.baselines.score import describe_rows, labelled_rows, score_baselines
from ctmodel.data.batches import open_volumes
from ctmodel.data.split import UNLABELLED, Split
from ctmodel.errors import RunMismatch, ScoreError
from ctmodel.prediction.comparison import Comparison, Pairs
from ctmodel.run.predictions import SavedPredictions, read_baseline_predictions, read_predictions
from ctmodel.run.records import describe_store
from ctmodel.run.run_folder import Run
from ctmodel.scoring.comparison import Answers, adjust, compare, compare_all
from ctmodel.settings import differences

AREAS = {"auroc": "AUROC", "macro_auroc": "macro AUROC"}


def _ignore(_: object) -> None:
    """Take no notice."""


def compare_runs(*runs: str | os.PathLike[str], say: Callable[[str], object] = _ignore) -> Comparison:
    """Compare runs on the scans that are in the test subset of every one of them.

    Parameters
    ----------
    *runs : path
        Two or more finished runs, or cross-validations, on the same scans and classes. Every other is compared with
        the first.
    say : callable
        Called with a line of text where there is something to tell.

    Returns
    -------
    Comparison
        Paired by patient: the AUROC as DeLong and others did, the other scores by a bootstrap. The p values are
        adjusted for the number of comparisons (Holm), those between runs and those with baselines by themselves.

    Raises
    ------
    RunMissing, RunDamaged
        If a folder is not a finished run, or its tables cannot be read.
    RunMismatch
        If a folder is given twice, or the classes, labels, patients or files of the runs are not the same.
    ScoreError
        If there are fewer than two runs, or too few scans that all of them tested.

    Examples
    --------
    >>> from ctmodel import TrainSettings, evaluate, train
    >>> shorter = train("out.zarr", "shorter", TrainSettings(epochs=1))
    >>> (found,) = compare_runs("run", "shorter").between.values()
    >>> found[0].score, found[0].other == evaluate("run").scores.scores["auroc"].value
    ('auroc', True)
    """
    names = tuple(os.fspath(run) for run in runs)
    if len(names) < 2:
        raise ScoreError(f"comparison: {len(names)} run, expected two or more; name another one")
    if len({Path(name).resolve() for name in names}) < len(names):
        raise RunMismatch("comparison: a run is named twice, expected different ones; name another one")
    saved = {name: read_predictions(Path(name)) for name in names}
    tested = {name: one.tested() for name, one in saved.items()}
    scans = _common_scans(saved, tested)
    answers = {name: _to(scans, one) for name, one in tested.items()}
    _check_same(saved, answers)
    between = compare_all(answers)
    against, without = _against_baselines(saved, answers, scans, say)
    labels = answers[names[0]].predictions
    return Comparison(
        runs=names,
        classes=saved[names[0]].classes,
        n=len(scans),
        patients=len(set(labels.patients)),
        more=tuple(len(one.predictions.scans) - len(scans) for one in tested.values()),
        between=between,
        baselines=against,
        notes=(*_notes_on_recipes(saved), *without, *_notes(names, between)),
    )


def _common_scans(saved: dict[str, SavedPredictions], tested: dict[str, Answers]) -> list[str]:
    """Return the scans that every run tested, in order; refuse runs of other classes, or none in common."""
    (first, ours), *others = saved.items()
    for name, theirs in others:
        if theirs.classes != ours.classes:
            raise RunMismatch(
                f"{name}: has the classes {', '.join(theirs.classes)}, {first} has {', '.join(ours.classes)}; compare "
                "runs of the same classes"
            )
    scans = set.intersection(*(set(one.predictions.scans) for one in tested.values()))
    if not scans:
        raise ScoreError(
            "comparison: no scan is in the test subset of every run; train both with the same --seed and shares or "
            "folds, or compare two cross-validations"
        )
    return sorted(scans)


def _to(scans: Sequence[str], answers: Answers) -> Answers:
    place = {scan: row for row, scan in enumerate(answers.predictions.scans)}
    return answers.taken(np.array([place[scan] for scan in scans], dtype=int))


def _check_same(saved: dict[str, SavedPredictions], answers: dict[str, Answers]) -> None:
    """Refuse runs that mean something else by the same names of scans."""
    first, *others = answers
    ours = answers[first].predictions
    files = {name: _files(Path(name)) for name in answers}
    for name in others:
        theirs = answers[name].predictions
        for row, scan in enumerate(ours.scans):
            pairs = {
                "label": [saved[first].classes[one.labels[row]] for one in (theirs, ours)],
                "patient": [one.patients[row] for one in (theirs, ours)],
                "file": [files[run].get(scan, "") for run in (name, first)],
            }
            for what, (found, expected) in pairs.items():
                if found != expected and (what != "file" or (found and expected)):
                    raise RunMismatch(
                        f"{name}: the {what} of {scan} is {found[:16]}, in {first} {expected[:16]}; compare runs of "
                        "the same scans"
                    )


def _files(run: Path) -> dict[str, str]:
    """Return the SHA-256 of each scan's file, where the run knows it."""
    if not (run / "split.csv").exists():
        return {}
    return {row.scan: row.source_sha256 for row in Run(run).split()}


def _against_baselines(
    saved: dict[str, SavedPredictions], answers: dict[str, Answers], scans: Sequence[str], say: Callable[[str], object]
) -> tuple[Pairs, list[str]]:
    """Compare each run with its baselines; say which runs have none."""
    found: Pairs = {}
    without = []
    for name, one in saved.items():
        baselines = read_baseline_predictions(one)
        if baselines is None:
            baselines = _baselines_anew(one, say)
        if baselines is None:
            without.append(
                f"{name} is not compared with baselines: it has kept none, and its store is not there or has changed; "
                "put the store back, or train again."
            )
        found |= {(name, other): compare(answers[name], _to(scans, said)) for other, said in (baselines or {}).items()}
    return adjust(found), without


def _baselines_anew(saved: SavedPredictions, say: Callable[[str], object]) -> dict[str, Answers] | None:
    """Train the baselines of a run again, one that an older version made; None without its store."""
    folder = Run(saved.run)
    files = ("store.json", "split.csv", "settings.json")
    if not all((saved.run / name).exists() for name in files) or folder.crossval():
        return None
    record = folder.store()
    path = Path(os.path.normpath(folder.path / record.path))
    if not path.exists():
        return None
    store, reader = open_volumes(path)
    if describe_store(store, folder.path).fingerprint != record.fingerprint:
        return None
    say(f"{saved.run}: trains its baselines again, which an older version has not kept")
    subset_of = {row.scan: row.subset for row in folder.split()}
    split = Split(tuple(subset_of.get(scan, UNLABELLED) for scan in store.scans))
    features = describe_rows(store, reader, labelled_rows(split))
    return score_baselines(store, split, features, threshold=folder.settings().threshold).answers()


def _notes_on_recipes(saved: dict[str, SavedPredictions]) -> Iterator[str]:
    """Say how the scans were prepared differently."""
    known = {name: Run(name).store().recipe for name in saved if (Path(name) / "store.json").exists()}
    if not known:
        return
    (first, ours), *others = known.items()
    for name, theirs in others:
        different = differences(theirs, ours)
        if different:
            yield f"{name} learnt from other volumes than {first} ({'; '.join(different)}): they differ in that too."


def _notes(runs: Sequence[str], between: Pairs) -> Iterator[str]:
    """Say what follows for the AUROC of each pair."""
    for (run, first), found in between.items():
        one = next((one for one in found if one.score in AREAS), None)
        if one is None:
            continue
        numbers = f"run {runs.index(run) + 1} and run {runs.index(first) + 1}"
        if one.p_adjusted < 0.05:
            better = runs.index(run if one.value > 0 else first) + 1
            yield f"The {AREAS[one.score]} of run {better} is higher, by more than chance explains."
        else:
            yield (
                f"The {AREAS[one.score]} of {numbers} differ by {abs(one.value):.3f}, which chance explains: neither "
                f"is shown to be better. Differences from {one.low:+.3f} to {one.high:+.3f} remain possible."
            )
