"""The two command lines, ctprep and ctmodel: parse, call one function, print, set the exit code.

Everything heavy is imported inside the commands, so that help is instant; defaults are read from the dataclasses.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from ctmodel.errors import SettingsError
from ctmodel.settings import (
    INTERPOLATIONS,
    PRECISIONS,
    RESIDENCIES,
    STRATEGIES,
    STRENGTHS,
    THRESHOLDS,
    Execution,
    TrainSettings,
)
from ctprep.errors import CTPrepError, NothingConverted, PhantomError, RecipeError
from ctprep.execution.stopping import ending_on_signals
from ctprep.phantom.settings import DIFFICULTIES, CohortSettings
from ctprep.volume.recipe import STORED_DTYPES, Recipe

EXIT_FOUND = 1
EXIT_REJECTED = 3
"""`convert` committed a store, but left some scans out."""

WAYS_ON = {
    "convert": "; what is finished is kept: run the same command again to resume",
    "train": "; what is trained so far is kept: add --resume to go on at the same step",
}
"""What an interrupted command leaves, and how to go on."""

Command = TypeVar("Command", bound=Callable[..., Any])


class Group(click.Group):
    """Commands whose errors are one line on stderr and exit code 1, never a traceback (unless CTPREP_DEBUG is set)."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run one command and end the process; `kill` ends it as Ctrl-C does: workers too, in one line."""
        with ending_on_signals() as arrived:
            return super().__call__(*args, obj=arrived, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.ClickException(_interrupted(ctx)) from None
        except click.ClickException as error:
            error.message = printable(error.message)  # type: ignore[misc] # Click repeats what was typed
            raise
        except (click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            if os.environ.get("CTPREP_DEBUG"):
                raise
            if (message := _in_one_line(error)) is None:
                message = _interrupted(ctx) if ctx.obj else _unexpected(error)
            raise click.ClickException(printable(message)) from None


def _interrupted(ctx: click.Context) -> str:
    return f"interrupted{WAYS_ON.get(ctx.invoked_subcommand or '', '')}"


def _in_one_line(error: Exception) -> str | None:
    if isinstance(error, CTPrepError) or type(error).__module__.startswith("ctmodel"):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        named = error.filename2 or error.filename
        return f"{named}: {error.strerror}" if named else error.strerror
    if isinstance(error, RuntimeError) and "Symlink loop" in str(error):  # an OSError from Python 3.13 on
        return str(error)
    return None


def _unexpected(error: Exception) -> str:
    return f"unexpected {type(error).__name__}: {error}; set CTPREP_DEBUG=1 to see where, and report it"


def say(line: str, *, err: bool = False) -> None:
    """Print a result, or a message on stderr: one line, safe in a terminal, above the bar where there is one."""
    from tqdm import tqdm

    with tqdm.external_write_mode():
        click.echo(printable(line), err=err)


def printable(text: str) -> str:
    """Return one line that is safe in a terminal: control characters of a hostile file name are escaped."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


class PathType(click.Path):
    """A path; not the empty one, which Python takes for the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("a path cannot be empty", param, ctx)
        return super().convert(value, param, ctx)


PATH = PathType(path_type=Path)


class ClassMapping(click.ParamType):
    """NAME=FOLDER,FOLDER,… as a class and the labels that belong to it."""

    name = "NAME=LABEL,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, list[str]]:
        name, separator, labels = value.partition("=")
        members = [label for label in labels.split(",") if label]
        if not (separator and name and members):
            self.fail(f"{value!r} is not NAME=FOLDER,FOLDER, as in abnormal=CT-1,CT-2", param, ctx)
        return name, members


class Spacing(click.ParamType):
    """One size in mm for all axes, or three as 2x2x5."""

    name = "MM"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        try:
            sizes = tuple(float(size) for size in value.split("x"))
        except ValueError:
            sizes = ()
        if len(sizes) not in (1, 3):
            self.fail(f"{value!r} is neither one size in mm, as in 5, nor three, as in 2x2x5", param, ctx)
        return sizes * 3 if len(sizes) == 1 else sizes


def options(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Return several options as one decorator, in the order in which help shows them."""

    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


def setting(settings: type, name: str, kind: Any, text: str) -> Callable[[Command], Command]:
    """Return the option of one field of a dataclass, whose default is the dataclass's."""
    default = getattr(settings, name)
    flag = f"--{name.replace('_', '-')}"
    return click.option(
        f"{flag}/--no-{flag[2:]}" if isinstance(default, bool) else flag,
        type=kind,
        nargs=len(default) if isinstance(default, tuple) else 1,
        default=default,
        show_default=True,
        help=text,
    )


as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")

raw_and_out = options(click.argument("raw", type=PATH), click.argument("out", type=PATH))

source_options = options(
    click.option(
        "--labels",
        type=PATH,
        help="CSV or TSV with the columns scan and label, and optionally patient.  [default: participants.tsv in RAW]",
    ),
    click.option("--label-column", default="label", show_default=True, help="The table's column with the label."),
    click.option(
        "--classes",
        type=ClassMapping(),
        multiple=True,
        help="A class and its folders or labels; repeat it, the negative class first. "
        "Scans of other labels are left out.  [default: every folder or label]",
    ),
    click.option("--patient-pattern", metavar="REGEX", help="Find the patient in a scan's id; its first group counts."),
)

recipe_options = options(
    setting(Recipe, "shape", int, "Stored voxels along x, y, z."),
    setting(Recipe, "window", float, "HU that become 0 and 1."),
    click.option(
        "--spacing",
        type=Spacing(),
        default=Recipe.spacing_mm,
        help="Size of a stored voxel; crop or pad around the centre.  [default: stretch the scan to the shape]",
    ),
    setting(Recipe, "dtype", click.Choice(STORED_DTYPES), "How a voxel is stored."),
    click.option("--accept-non-hu", is_flag=True, help="Accept scans whose values cannot be Hounsfield units."),
    click.option("--rebuild", is_flag=True, help="Take nothing from the store in OUT; replaces one of another recipe."),
)


@click.group("ctprep", cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ctprep")
def ctprep() -> None:
    """From folders of chest CTs (NIfTI) to one Zarr store of prepared volumes."""


def cohort_setting(name: str, kind: Any, text: str) -> Callable[[Command], Command]:
    """Return the option of one setting of a phantom cohort."""
    return setting(CohortSettings, name, kind, text)


@ctprep.command()
@click.argument("raw", type=PATH)
@cohort_setting("scans", click.IntRange(min=1), "How many.")
@cohort_setting("seed", click.IntRange(min=0), "Scan i of a seed is the same in every cohort.")
@cohort_setting("difficulty", click.Choice(DIFFICULTIES), "How far the findings stand out.")
@cohort_setting("confound", click.FloatRange(0, 1), "How far the class tells the scanner: 0 not at all, 1 entirely.")
@cohort_setting("shape", int, "Voxels of a scan, about.")
@click.option("--masks", type=PATH, help="Also write lesion and lung masks into this folder.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes.  [default: one for each core]")
def phantom(raw: Path, masks: Path | None, workers: int | None, **settings: Any) -> None:
    """Write a synthetic chest-CT cohort, with its truth, into the new folder RAW."""
    from ctprep.execution.cores import available_cores
    from ctprep.phantom import write_cohort

    try:
        chosen = CohortSettings(**settings)
    except PhantomError as error:
        raise click.UsageError(str(error)) from None
    with progress_bar(chosen.scans) as advance:
        write_cohort(raw, settings=chosen, workers=workers or available_cores(), masks=masks, progress=advance)
    say(f"{raw}: {chosen.scans} scans, seed {chosen.seed}, {chosen.difficulty}; what was planted: truth.csv")


@ctprep.command()
@raw_and_out
@source_options
@recipe_options
@as_json
def plan(raw: Path, out: Path, as_json: bool, rebuild: bool, **choices: Any) -> None:
    """Show what convert would do to each scan of RAW, and why. Nothing is written."""
    from ctprep.conversion.convert import plan_conversion

    recipe, catalog = _recipe(choices), _catalog(raw, choices)
    planned = plan_conversion(catalog, out, recipe=recipe, rebuild=rebuild)
    rows = [(row.scan.id, str(row.action), row.reason) for row in planned.rows]
    rows = sorted(rows + [(bad.scan, "reject", f"{bad.code}: {bad.reason}") for bad in catalog.rejected])
    if as_json:
        said = [{"scan": scan, "action": action, "reason": reason} for scan, action, reason in rows]
        say(json.dumps({"rows": said, "removed": planned.removed}))
        return
    for scan, action, reason in rows:
        say(f"{action:<8}{scan}  {reason}")
    for scan in planned.removed:
        say(f"remove  {scan}  no longer in {raw}")
    counts = {action: sum(row[1] == action for row in rows) for action in ("convert", "reuse", "reject")}
    say(", ".join(f"{count} to {action}" for action, count in counts.items()), err=True)


@ctprep.command()
@raw_and_out
@source_options
@recipe_options
@click.option(
    "--scheduler",
    default="auto",
    show_default=True,
    help="threads, processes, synchronous or tcp://…; auto is the fastest of the first three.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Threads or processes.  [default: one for each core]")
@click.option("--strict", is_flag=True, help="Stop at the first scan to be rejected; commit nothing.")
@click.option("--allow-rejected", is_flag=True, help="Exit with 0, not 3, where some scans were rejected.")
@as_json
def convert(
    raw: Path,
    out: Path,
    scheduler: str,
    workers: int | None,
    rebuild: bool,
    strict: bool,
    allow_rejected: bool,
    as_json: bool,
    **choices: Any,
) -> None:
    """Turn the NIfTI scans below RAW into the store OUT.

    The folders directly below RAW are the classes, unless --labels gives a table. A second run reuses what is
    unchanged; an interrupted one resumes.
    """
    from ctprep.conversion.convert import convert as convert_scans

    recipe, catalog = _recipe(choices), _catalog(raw, choices)
    try:
        done = convert_scans(
            catalog,
            out,
            recipe=recipe,
            scheduler=scheduler,
            workers=workers,
            rebuild=rebuild,
            strict=strict,
            progress=progress_bar,
        )
    except NothingConverted as error:
        _list_rejected(error.rejected)
        raise
    _list_rejected(done.rejected)
    summary = {
        "scans": len(done.store),
        "patients": len(set(done.store.patients)),
        "converted": len(done.store) - done.reused,
        "reused": done.reused,
        "removed": len(done.removed),
        "rejected": [{"scan": bad.scan, "code": bad.code, "reason": bad.reason} for bad in done.rejected],
    }
    if as_json:
        say(json.dumps(summary))
    else:
        say(
            f"{out}: {summary['scans']} scans of {summary['patients']} patients ({_class_counts(done.store)}); "
            f"{summary['converted']} converted, {summary['reused']} reused, {summary['removed']} removed, "
            f"{len(done.rejected)} rejected"
        )
    if done.rejected and not allow_rejected:
        sys.exit(EXIT_REJECTED)


def _class_counts(store: Any) -> str:
    counts = [f"{(store.labels == index).sum()} {name}" for index, name in enumerate(store.classes)]
    unlabelled = (store.labels < 0).sum()
    return ", ".join(counts + [f"{unlabelled} unlabelled"] * bool(unlabelled))


@ctprep.command()
@click.argument("store", type=PATH)
@as_json
def info(store: Path, as_json: bool) -> None:
    """Show what is in STORE, its recipe and its digest."""
    from ctprep.store.store import open_store
    from ctprep.views.summary import summarize

    summary = summarize(open_store(store))
    if as_json:
        say(json.dumps(summary))
        return
    for name, value in summary.items():
        say(f"{name.replace('_', ' '):<20}{_shown(value)}")


@ctprep.command()
@click.argument("store", type=PATH)
@click.option("--raw", type=PATH, help="Also prepare scans again from this folder, and compare.")
@click.option("--sample", type=click.IntRange(min=1), help="How many of them.  [default: 16]")
@click.option("--all", "every", is_flag=True, help="All of them.")
@as_json
def verify(store: Path, raw: Path | None, sample: int | None, every: bool, as_json: bool) -> None:
    """Read every byte of STORE and name what is not as it was written."""
    from ctprep.store.verify import RAW_SAMPLE
    from ctprep.store.verify import verify as verify_store

    if raw is None and (sample or every):
        raise click.UsageError("--sample and --all say what is prepared again from --raw RAW; add it")
    if sample and every:
        raise click.UsageError("--sample and --all exclude each other; leave one out")
    found = verify_store(store, raw=raw, sample=None if every else sample or RAW_SAMPLE, progress=progress_bar)
    if as_json:
        say(json.dumps(asdict(found)))
    else:
        for finding in found.findings:
            say(f"{finding.where}  {finding.what}")
        again = f", {found.from_raw:,} prepared again" * (raw is not None)
        say(f"{store}: {found.scans:,} volumes read{again}, {_count(found.findings, 'finding')}  {found.digest}")
    if found.findings:
        sys.exit(EXIT_FOUND)


def _count(things: Sized, name: str) -> str:
    return f"{len(things):,} {name}{'s' * (len(things) != 1)}"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(entry)}" for key, entry in value.items()) or "none"
    if isinstance(value, list) and value and isinstance(value[0], list):
        return " to ".join(" x ".join(f"{number:g}" for number in bound) for bound in value)
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


@ctprep.command()
@click.argument("store", type=PATH)
@click.argument("scan")
@click.option("--out", type=PATH, help="The file to write.  [default: the scan's name, here]")
def export(store: Path, scan: str, out: Path | None) -> None:
    """Write one volume of STORE as NIfTI, in HU, in its place in the world."""
    from ctprep.views.export import export as export_scan

    say(str(export_scan(store, scan, out or Path(scan.rpartition("/")[2] + ".nii.gz"))))


@ctprep.command()
@click.argument("store", type=PATH)
@click.argument("out", type=PATH)
@click.option("--scans-per-class", type=click.IntRange(min=1), help="How many of each class.  [default: 6]")
def montage(store: Path, out: Path, scans_per_class: int | None) -> None:
    """Draw slices of some scans of every class of STORE into the picture OUT.png."""
    from ctprep.views.montage import SCANS_PER_CLASS
    from ctprep.views.montage import montage as draw_montage

    say(str(draw_montage(store, out, scans_per_class=scans_per_class or SCANS_PER_CLASS)))


def _recipe(choices: dict[str, Any]) -> Recipe:
    try:
        return Recipe(
            shape=choices["shape"],
            window=choices["window"],
            spacing_mm=choices["spacing"],
            dtype=choices["dtype"],
            require_hu=not choices["accept_non_hu"],
        )
    except RecipeError as error:
        raise click.UsageError(str(error)) from None


def _catalog(raw: Path, choices: dict[str, Any]) -> Any:
    from ctprep.scans.catalog import find_scans

    catalog = find_scans(
        raw,
        labels=choices["labels"],
        label_column=choices["label_column"],
        classes=_class_mapping(choices["classes"]),
        patient_pattern=choices["patient_pattern"],
    )
    for label, count in sorted(catalog.left_out.items()):
        say(f"left out: {count} scans of {label}, which belongs to no class", err=True)
    for label in catalog.unused:
        say(f"note: no scan is labelled {label}", err=True)
    if count := catalog.without_patient:
        said = f"no table or pattern names the patients of {count} scans: each counts as a patient of its own"
        say(f"note: {said}", err=True)
    if len(catalog.classes) == 2 and not choices["classes"]:
        say(f"note: {catalog.classes[1]} is the positive class; if it is not, name both with --classes", err=True)
    return catalog


def _class_mapping(pairs: tuple[tuple[str, list[str]], ...]) -> dict[str, list[str]] | None:
    """Merge what was said of the same class; None where nothing was said."""
    mapping: dict[str, list[str]] = {}
    for name, labels in pairs:
        mapping.setdefault(name, []).extend(labels)
    return mapping or None


def _list_rejected(rejected: Any) -> None:
    for bad in rejected:
        say(f"rejected  {bad.code:<12}{bad.scan}: {bad.reason}", err=True)


@contextmanager
def progress_bar(total: int) -> Iterator[Callable[[int], object]]:
    """Show scans, rate and time left on stderr, where it is a terminal; give the function that advances it."""
    with _bar(total, "scan") as bar:
        yield bar.update


def _bar(total: int, unit: str) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, unit=unit, disable=None if total and sys.stderr else True)  # None: where it is no terminal


@click.group("ctmodel", cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ctprep")
def ctmodel() -> None:
    """Train and judge 3D networks on a store that ctprep made."""


def training_setting(name: str, kind: Any, text: str) -> Callable[[Command], Command]:
    """Return the option of one setting of a training."""
    return setting(TrainSettings, name, kind, text)


training_settings = options(
    training_setting("network", str, "compact, or founding: the network of the founding study."),
    training_setting(
        "precision",
        click.Choice(PRECISIONS),
        "What the network computes with; auto is bfloat16 where the device has it in hardware, else float32.",
    ),
    training_setting("epochs", int, "Most passes over the training part."),
    training_setting("batch_size", int, "Scans per step."),
    training_setting("learning_rate", float, "Highest step size of Adam."),
    training_setting("patience", int, "Epochs without a better validation loss after which to stop."),
    training_setting("validation", float, "Share of the patients that chooses the epoch."),
    training_setting("test", float, "Share of the patients that is scored at the end."),
    training_setting("folds", int, "Parts of a cross-validation; 0 for one split by shares."),
    training_setting("fold", int, "Which of the folds is tested, from 1."),
    training_setting("seed", int, "Decides the split, the first weights, the order and the augmentation."),
    training_setting("class_weights", bool, "Give every class the same weight in the loss."),
    training_setting(
        "threshold", click.Choice(THRESHOLDS), "Call a scan positive from 0.5, or from what is best on validation."
    ),
    training_setting("augment", click.Choice(STRENGTHS), "How far scans are turned, scaled, shifted, … at random."),
    training_setting("flip", bool, "Mirror left and right at random."),
    training_setting(
        "interpolation",
        click.Choice(INTERPOLATIONS),
        "How turned and scaled scans take their voxels; linear blurs them.",
    ),
    training_setting("xla", bool, "Compile each step with XLA, for one GPU; on CPUs it is slower."),
)


execution_settings = options(
    setting(
        Execution,
        "checkpoint_every",
        float,
        "Seconds from one checkpoint to the next: what a kill costs at most. Ctrl-C and SIGTERM cost nothing.",
    ),
    setting(
        Execution,
        "strategy",
        click.Choice(STRATEGIES),
        "Share each batch among all GPUs (mirrored), or use one device (none); auto shares where there are several. "
        "workers: among the machines of TF_CONFIG, on each of which this command is started.",
    ),
    setting(
        Execution,
        "residency",
        click.Choice(RESIDENCIES),
        "Read the training part from the store in each epoch, hold it in host memory, or on the device; auto: where it "
        "fits.",
    ),
)


@ctmodel.command()
@click.argument("store", type=PATH)
@click.option("--run", type=PATH, required=True, help="The folder to make; never overwritten.")
@training_settings
@execution_settings
@click.option("--resume", is_flag=True, help="Continue the training in the run folder, if there is one, at its step.")
@click.option("--tensorboard", type=PATH, metavar="FOLDER", help="Write each epoch for TensorBoard, too.")
@as_json
def train(store: Path, run: Path, resume: bool, tensorboard: Path | None, as_json: bool, **settings: Any) -> None:
    """Train a network on STORE; score it on patients it has not seen.

    Patients are divided into a training part, a validation part that chooses the epoch, and a test part that is
    scored once. The run folder keeps all of it.
    """
    from ctmodel.training.train import train as train_network
    from ctmodel.views.board import Board

    try:
        execution = Execution(**{field.name: settings.pop(field.name) for field in fields(Execution)})
        chosen = TrainSettings(**settings)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    with training_bar(chosen.epochs) as report:
        progress = in_turn(report, Board(tensorboard)) if tensorboard else report
        result = train_network(
            store, run, chosen, execution=execution, resume=resume, progress=progress, say=partial(say, err=True)
        )
    if result.is_chief:
        say(f"{run}: {result.status}, epoch {result.best_epoch} of {result.epochs} was best", err=True)
        _print_scores(result.scores, as_json)


@ctmodel.command()
@click.argument("store", type=PATH)
@click.argument("scan")
@click.argument("out", type=PATH)
@training_setting("augment", click.Choice(STRENGTHS), "How far it is changed.")
@training_setting("flip", bool, "Mirror left and right at random.")
@training_setting("seed", click.IntRange(min=0), "That of the training.")
def augment(store: Path, scan: str, out: Path, augment: str, flip: bool, seed: int) -> None:
    """Draw SCAN of STORE as sixteen epochs of a training see it into the picture OUT.png.

    Where scans are mixed, as strong does, the other one is left out.
    """
    from ctmodel.views.augmented import write_augmented

    say(str(write_augmented(store, scan, out, strength=augment, flip=flip, seed=seed)))


@ctmodel.command()
@click.argument("run", type=PATH)
@click.argument("store", type=PATH, required=False)
@as_json
def evaluate(run: Path, store: Path | None, as_json: bool) -> None:
    """Score RUN on its own test part, or on the labelled scans of another STORE.

    Scans whose patient or file the run has learnt from are left out.
    """
    from ctmodel.prediction.evaluate import evaluate as evaluate_run

    _print_scores(evaluate_run(run, store).scores, as_json)


@ctmodel.command()
@click.argument("run", type=PATH)
@click.argument("scans", type=PATH, nargs=-1, required=True)
@as_json
def predict(run: Path, scans: tuple[Path, ...], as_json: bool) -> None:
    """Predict the class of raw SCANS (NIfTI), prepared as those RUN was trained on."""
    from ctmodel.prediction.predict import predict_each

    bad = 0
    with progress_bar(len(scans)) as advance:
        for one in predict_each(run, scans):
            _print_prediction(one, as_json)
            bad += one.code is not None
            advance(1)
    if bad:
        sys.exit(EXIT_REJECTED)


def _print_prediction(one: Any, as_json: bool) -> None:
    if as_json:
        fields = {"scan": str(one.path), "predicted": one.predicted, "probabilities": one.probabilities}
        say(json.dumps(fields | {"code": one.code, "reason": one.reason}, allow_nan=False))
    elif one.code is None:
        chances = ", ".join(f"{name} {chance:.4f}" for name, chance in one.probabilities.items())
        say(f"{one.path}: {one.predicted} ({chances})")
    else:
        say(f"{one.path}: rejected ({one.code}): {one.reason.removeprefix(f'{one.path.name}: ')}", err=True)


def _print_scores(scores: Any, as_json: bool) -> None:
    if as_json:
        say(json.dumps(scores.to_dict(), allow_nan=False))
        return
    names = {name: printable(name.replace("_", " ")) for name in scores.scores}
    width = max(map(len, names.values())) + 2
    positive = f"; {scores.classes[1]} is the positive class" if len(scores.classes) == 2 else ""
    say(f"{scores.part}: {scores.n} scans of {scores.patients} patients, with 95 % intervals{positive}")
    for name, entry in scores.scores.items():
        say(f"  {names[name]:<{width}}{entry.value:.3f}  {entry.low:.3f} to {entry.high:.3f}  n = {entry.n}")
    _print_confusion(list(map(printable, scores.classes)), scores.confusion)
    for note in scores.notes:
        say(f"  note: {note}")


def _print_confusion(classes: list[str], confusion: Any) -> None:
    width = max(map(len, classes)) + 2
    say(f"  {'called':>{width + 8}}" + "".join(f"{name:>{width}}" for name in classes))
    for name, row in zip(classes, confusion, strict=True):
        say(f"  {name:>{width}} {'are':<7}" + "".join(f"{count:>{width}}" for count in row))


@contextmanager
def training_bar(epochs: int) -> Iterator[Callable[[Any], None]]:
    """Say what each epoch came to, above a bar with the time left on a terminal; give what takes a report."""
    with _bar(epochs, "epoch") as bar:

        def report(epoch: Any) -> None:
            say(str(epoch), err=True)
            bar.set_postfix_str(f"validation {epoch.epoch.val_loss:.3f}", refresh=False)
            bar.update(epoch.epoch.epoch - bar.n)

        yield report


def in_turn(*watchers: Callable[[Any], Any]) -> Callable[[Any], None]:
    """Return what hands each report to one watcher after the other."""

    def watch(report: Any) -> None:
        for watcher in watchers:
            watcher(report)

    return watch
