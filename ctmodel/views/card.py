"""The model card of a run: data, network, training, scores, limits and how to reproduce it, on one page of Markdown.

It is made of the run alone and names no path, host or time: the same run has the same card.
"""

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from ctmodel.data.split import UNLABELLED
from ctmodel.run.history import best_epoch
from ctmodel.scoring.folds import FoldScores
from ctmodel.scoring.scores import SUBSETS, Score
from ctmodel.settings import OF_ONE_FOLD, FoldSettings, TrainSettings
from ctmodel.views.canvas import Picture
from ctmodel.views.content import RunContent
from ctmodel.views.forest import score_title
from ctprep.settings import settings_of
from ctprep.text import printable
from ctprep.volume.recipe import Recipe

USE = (
    "**For research only. This is not a medical device: do not use it to diagnose, to treat, or to decide about a "
    "patient.**"
)
NOT_TESTED = (
    "Scans of other hospitals, scanners and protocols were not tested, unless the test subset has them: score them "
    "with `ctmodel evaluate RUN OTHER.zarr`.",
    "Groups of patients, such as by age or sex, were not scored by themselves.",
    "The intervals say what other patients of the same kind would change. They do not say what another training, with "
    "another seed, would change.",
    "A scan of anything but a chest, or one with a disease that is not among the classes, gets a probability too. It "
    "means nothing.",
)
OTHER_FLAGS: dict[Any, str] = {"spacing_mm": "--spacing", ("require_hu", False): "--accept-non-hu"}
"""The options that are not called as their setting."""


def card(run: RunContent, pictures: Sequence[Picture], *, suffix: str) -> str:
    """Return the model card of a run as Markdown.

    Parameters
    ----------
    run : RunContent
    pictures : sequence of Picture
        Shown with their captions, from the folder `figures` beside the card.
    suffix : str
        Of the figures' files, as in "png".
    """
    classes = run.scores.classes
    sections = {
        f"Model card: the {run.network.name} network for {_listed(classes, 'or')}": [USE],
        "Data": _data(run),
        "Network": _network(run),
        "Training": _training(run),
        "Scores": _scores(run),
        "Limits": _bullets([*map(_safe, run.scores.notes), *NOT_TESTED]),
        "How to reproduce it": _reproduce(run),
        "Figures": _figures(pictures, suffix),
    }
    marks = ["#", *["##"] * (len(sections) - 1)]
    parts = (
        [f"{mark} {_safe(title)}", *content] for mark, (title, content) in zip(marks, sections.items(), strict=True)
    )
    return "\n\n".join(part for section in parts for part in section) + "\n"


def _data(run: RunContent) -> list[str]:
    classes, recipe = run.scores.classes, run.store.recipe
    rows = []
    named = {subset: subset for subset in (*SUBSETS, UNLABELLED)}
    if run.division:  # every labelled scan trains some of the networks
        named = {"train": run.scores.subset, UNLABELLED: UNLABELLED}
    for saved, subset in named.items():
        own = [row for row in run.split if row.subset == saved]
        labels = Counter(row.label for row in own)
        counts = [f"{labels[name]:,}" if subset != UNLABELLED else "" for name in classes]
        rows.append([subset, f"{len(own):,}", f"{len({row.patient for row in own}):,}", *counts])
    shown = rows if rows[-1][1] != "0" else rows[:-1]
    positive = f" {_safe(classes[1])} is the positive class." if len(classes) == 2 else ""
    where = {(row.patient, row.subset) for row in run.split if row.subset in SUBSETS}
    shared = len(where) - len({patient for patient, _ in where})
    patients = f"{shared:,} patients have scans in several subsets." if shared else "No patient is in two subsets."
    if all(row.patient == row.scan for row in run.split):
        patients = "Nothing names the patients: each scan counts as one, and a person may be in several subsets."
    listed = "`predictions.csv` lists the fold" if run.division else "`split.csv` lists the subset"
    volumes = [[_words(name), _value(value)] for name, value in recipe.items()]
    return [
        f"{run.store.scans:,} scans in {len(classes)} classes.{positive} {patients} {listed} of each scan.",
        _table(["subset", "scans", "patients", *classes], shown),
        "Every scan was prepared by the same recipe:",
        _table(["recipe", "value"], volumes),
        f"Fingerprint of scans, labels, patients and recipe: `{printable(run.store.fingerprint)}`",
    ]


def _network(run: RunContent) -> list[str]:
    network = run.network
    shape = " x ".join(map(str, network.input_shape))
    rows = [
        ["network", network.name],
        ["input", f"{shape} voxels, intensities from 0 to 1"],
        ["output", f"a probability for each of {network.n_classes} classes"],
        ["computes in", f"{network.precision} ({network.kernels} kernels)"],
    ]
    return [_table(["network", "value"], rows)]


def _training(run: RunContent) -> list[str]:
    if run.folds:
        return _training_of_folds(run, run.folds)
    best, n = best_epoch(run.history), len(run.history)
    patience = f" It stopped after {run.settings.patience} epochs without a better one."
    told = (
        f"{n} of at most {run.settings.epochs} epochs; the weights of epoch {best.epoch} were kept, whose "
        f"validation loss of {best.val_loss:.3f} is the lowest.{patience * (n < run.settings.epochs)}"
    )
    rows = [[_words(name), _value(value)] for name, value in run.settings.to_dict().items()]
    return [told, _table(["setting", "value"], rows)]


def _training_of_folds(run: RunContent, folds: FoldScores) -> list[str]:
    told = (
        f"A network for each of {len(folds.folds)} folds, divided by patient. Each was scored on its own fold, from "
        "which it had not learnt."
    )
    table = [
        [one.name, one.left_out, f"{one.learnt:,}", f"{one.scores.n:,}", str(one.epochs), str(one.best_epoch)]
        for one in folds.folds
    ]
    rows = [[_words(name), _value(value)] for name, value in _shown_settings(run).items()]
    header = ["fold", "tests on", "scans to learn from", "scans tested", "epochs", "best epoch"]
    return [told, _table(header, table), _table(["setting", "value"], rows)]


def _shown_settings(run: RunContent) -> dict[str, Any]:
    """Return the settings that were typed: in a cross-validation those that each fold replaces are left out."""
    settings = run.settings.to_dict()
    if not run.division:
        return settings
    return {name: settings[name] for name in settings if name not in OF_ONE_FOLD} | run.division.settings.to_dict()


def _scores(run: RunContent) -> list[str]:
    scores, chance = run.scores, run.by_chance()
    found = [
        f"Of the {scores.subset} subset, {scores.n:,} scans of {scores.patients:,} patients, which neither trained the "
        f"network nor chose its epoch. {_threshold(run)}",
        _table(
            ["score", "value", "95 % interval", "n", "by chance"],
            [_row(name, score, chance) for name, score in scores.scores.items()],
        ),
        "True class in rows, predicted class in columns:",
        _table(
            ["", *scores.classes], [[name, *row] for name, row in zip(scores.classes, scores.confusion, strict=True)]
        ),
    ]
    if run.baselines:
        found += ["Plain statistics that learnt from the same training subset, scored on the same scans:"]
        found += [_baselines(run)] + [_safe(note) for note in run.baselines.notes()]
    if scores.more:
        more = [_row(name, score, chance) for name, score in scores.more.items()]
        found += ["Further scores:", _table(["score", "value", "95 % interval", "n", "by chance"], more)]
    return found


def _threshold(run: RunContent) -> str:
    threshold = run.scores.threshold
    if threshold.chosen_by == "likeliest":
        return "The likeliest class is called."
    positive = _safe(run.scores.classes[1])
    return f"A scan is called {positive} from a probability of {threshold.value:.3f} ({threshold.chosen_by})."


def _row(name: str, score: Score, chance: dict[str, float]) -> list[str]:
    level = f"{chance[name]:.3f}" if name in chance else "-"
    return [score_title(name), f"{score.value:.3f}", f"{score.low:.3f} to {score.high:.3f}", f"{score.n:,}", level]


def _baselines(run: RunContent) -> str:
    names = [name for name in ("auroc", "macro_auroc", "log_loss") if name in run.scores.scores]
    rows = [[f"network {run.network.name}", *(_short(run.scores.scores[name]) for name in names)]]
    for one in run.baselines.baselines if run.baselines else ():
        scores = one.test.scores if one.test else {}
        rows.append([one.name, *(_short(scores[name]) if name in scores else "not scored" for name in names)])
    return _table(["", *map(score_title, names)], rows)


def _short(score: Score) -> str:
    return f"{score.value:.3f} ({score.low:.3f} to {score.high:.3f})"


def _reproduce(run: RunContent) -> list[str]:
    settings = run.settings.to_dict() | {"precision": run.network.precision}
    folds = run.division.settings.to_dict() if run.division else {}
    decided = {*folds, *OF_ONE_FOLD} if run.division else set()
    typed = options(FoldSettings, folds) + options(
        TrainSettings, {n: v for n, v in settings.items() if n not in decided}
    )
    commands = [
        _command("ctprep convert RAW STORE.zarr", options(Recipe, asdict(Recipe.from_dict(run.store.recipe)))),
        _command(f"ctmodel {'crossval' if run.division else 'train'} STORE.zarr --run NEW_RUN", typed),
    ]
    return [
        "With the same scans, labels, patients and classes, the first of which is "
        f"{_safe(run.scores.classes[0])}, a run on the same kind of device with the same versions gives the same "
        "probabilities:",
        "\n".join(["```sh", *commands, "```"]),
    ]


def options(settings: type, values: dict[str, Any]) -> list[str]:
    """Return what is typed to have these values of settings; None and empty text are had by typing nothing.

    Examples
    --------
    >>> options(TrainSettings, {"epochs": 3, "flip": False})
    ['--epochs 3', '--no-flip']
    >>> options(Recipe, {"shape": (32, 32, 16), "spacing_mm": None, "require_hu": False})
    ['--shape 32 32 16', '--accept-non-hu']
    """
    typed = []
    for name, known in settings_of(settings).items():
        value = values.get(name)
        if known.fixed or value in (None, ""):
            continue
        flag = OTHER_FLAGS.get((name, value) if isinstance(value, bool) else name, f"--{name.replace('_', '-')}")
        if isinstance(value, bool):
            typed.append(flag if value or flag in OTHER_FLAGS.values() else f"--no-{flag[2:]}")
        elif name == "spacing_mm":
            typed.append(f"{flag} {'x'.join(map(_number, value))}")
        else:
            entries = value if isinstance(value, tuple | list) else [value]
            typed.append(" ".join([flag, *(shlex.quote(_number(entry)) for entry in entries)]))
    return typed


def _number(value: Any) -> str:
    return str(value).removesuffix(".0")


def _command(words: str, typed: Sequence[str]) -> str:
    """Return a command with an option on each line."""
    return " \\\n    ".join([words, *typed])


def _figures(pictures: Sequence[Picture], suffix: str) -> Iterator[str]:
    for picture in pictures:
        yield f"### {picture.heading}"
        yield f"![{picture.heading}](figures/{picture.name}.{suffix})"
        yield _safe(picture.caption)


def _listed(names: Sequence[str], word: str) -> str:
    return f"{', '.join(names[:-1])} {word} {names[-1]}"


def _bullets(lines: Iterable[str]) -> list[str]:
    return ["\n".join(f"- {line}" for line in lines)]


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(_safe, map(str, line)))} |" for line in lines)


def _safe(text: str) -> str:
    r"""Return text as one line in which nothing is taken for Markdown or HTML.

    Examples
    --------
    >>> print(_safe("a|b_c <d>"))
    a\|b\_c \<d\>
    """
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", printable(text))


def _words(name: str) -> str:
    return name.replace("_", " ")


def _value(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(map(_value, value)) if isinstance(value, tuple | list) else _number(value)
