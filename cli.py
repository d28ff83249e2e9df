"""The two command lines, ctprep and ctmodel: parse, call one function, print, set the exit code.

Nothing heavy is imported before a command runs, so that help is instant.
"""

import faulthandler
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from difflib import get_close_matches
from functools import partial, reduce
from pathlib import Path
from typing import Any, TypeVar

import click

import ctmodel as training
import ctprep as preparation
import ctprep.phantom as phantoms
from ctmodel.settings import OF_ONE_FOLD, EvaluationSettings, Execution, FoldSettings, TrainSettings
from ctprep.errors import CTPrepError, NothingConverted, message_of
from ctprep.execution.cores import available_cores
from ctprep.execution.stopping import ending_on_signals
from ctprep.phantom.settings import CohortSettings
from ctprep.settings import Setting, settings_of
from ctprep.text import printable
from ctprep.volume.recipe import Recipe

EXIT_FOUND = 1
EXIT_REJECTED = 3
"""`convert` committed a store, but left some scans out."""

WAYS_ON = {
    "convert": "; finished scans are kept: run the same command again to resume",
    "train": "; finished steps are kept: add --resume to continue at the same step",
    "crossval": "; finished folds and steps are kept: add --resume to continue at the same step",
}
"""What an interrupted command leaves, and how to resume it."""

STDERR = 2  # the descriptor that C++ code writes to, whatever sys.stderr is

_terminal: ContextVar[int] = ContextVar("terminal", default=STDERR)
"""The descriptor that messages go to."""

Decorator = Callable[[Any], Any]
Settings = TypeVar("Settings")


class Group(click.Group):
    """Commands whose errors are one line on stderr and exit code 1, never a traceback (unless CTPREP_DEBUG is set)."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run one command and end the process; Ctrl-C and `kill` end it in one line, and its worker processes too."""
        with ending_on_signals(_say_interrupted):
            return super().__call__(*args, **kwargs)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find a command; where there is none of a name, show those that could be meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            if self.get_command(ctx, args[0]):
                raise
            other = next((group for group in (ctprep, ctmodel) if args[0] in group.commands), None)
            near = get_close_matches(args[0], [*self.commands, "help"]) or list(self.commands)
            meant = [f"{other.name} {args[0]}"] if other else ["--help" if name == "help" else name for name in near]
            ctx.fail(f"{args[0]!r} is not a command of {self.name}. Did you mean: {', '.join(meant)}?")

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
            for rejection in error.rejected if isinstance(error, NothingConverted) else ():
                say(str(rejection), err=True)
            defect = f"unexpected {type(error).__name__}: {error}; set CTPREP_DEBUG=1 for a traceback, and report it"
            raise click.ClickException(printable(message_of(error) or defect)) from None


def _interrupted(ctx: click.Context) -> str:
    return f"interrupted{WAYS_ON.get(ctx.find_root().invoked_subcommand or '', '')}"


def _say_interrupted() -> None:
    """Print the error of an interruption from a signal handler, where a stream may be in use; below a bar."""
    if sys.stderr:
        ctx = click.get_current_context(silent=True)
        line = f"Error: {_interrupted(ctx) if ctx else 'interrupted'}\n"
        os.write(_terminal.get(), ("\n" * sys.stderr.isatty() + line).encode())


def own_process() -> None:
    """Do to this process what no library may, before a command that uses TensorFlow: silence it, and keep freed memory.

    Not even what TensorFlow calls errors is shown: those are of what is not used, as CUDA without a GPU.
    """
    from ctmodel.devices.memory import keep_freed_memory

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.path.append(str(Path.cwd()))  # for --network module:function
    keep_freed_memory()
    with _held_back_stderr():
        import ctmodel.devices.backend  # noqa: F401


@contextmanager
def _held_back_stderr() -> Iterator[None]:
    """Keep what C++ code writes to stderr, and show it only if the block raises.

    TensorFlow 2.21 logs its first lines before it has read TF_CPP_MIN_LOG_LEVEL.
    """
    if sys.stderr is None:  # it was closed
        yield
        return
    with tempfile.TemporaryFile() as held:
        sys.stderr.flush()
        original = os.dup(STDERR)
        before = _terminal.set(original)
        os.dup2(held.fileno(), STDERR)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(original, held.read())
            raise
        finally:
            os.dup2(original, STDERR)
            _terminal.reset(before)
            os.close(original)


def say(line: str, *, err: bool = False) -> None:
    """Print a result, or a message on stderr: one line, safe in a terminal, above the bar where there is one."""
    from tqdm import tqdm

    with tqdm.external_write_mode():
        click.echo(printable(line), err=err)


def show(result: Any, as_json: bool, *, err: bool = False, lines: Callable[[], list[str]] | None = None) -> None:
    """Print what a result says of itself: as lines for people, or as JSON for programs."""
    for line in [json.dumps(result.to_dict(), allow_nan=False)] if as_json else (lines or result.lines)():
        say(line, err=err and not as_json)


class PathType(click.Path):
    """A path; not the empty one, which Python takes for the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("a path cannot be empty", param, ctx)
        return super().convert(value, param, ctx)


PATH = PathType(path_type=Path)


def class_mapping(_ctx: click.Context, _param: click.Parameter, texts: Any) -> dict[str, list[str]] | None:
    """Return the labels of each class from NAME=LABEL,LABEL,…, also of one that is named twice; None for no text."""
    mapping: dict[str, list[str]] = {}
    for text in texts:
        name, separator, labels = text.partition("=")
        members = [label for label in labels.split(",") if label]
        if not (separator and name and members):
            raise click.BadParameter(f"{text!r} is not NAME=FOLDER,FOLDER, as in abnormal=CT-1,CT-2")
        mapping.setdefault(name, []).extend(members)
    return mapping or None


def accepted_codes(_ctx: click.Context, _param: click.Parameter, texts: Any) -> dict[str, list[str]]:
    """Return the codes by scan from SCAN=CODE, of a scan that is named again all of them."""
    accepted: dict[str, list[str]] = {}
    for text in texts:
        scan, separator, code = text.rpartition("=")
        if not (separator and scan and code):
            raise click.BadParameter(f"{text!r} is not SCAN=CODE, as in CT-0/study_0001=not-hu")
        accepted.setdefault(scan, []).append(code)
    return accepted


def orientations(_ctx: click.Context, _param: click.Parameter, texts: Any) -> dict[str, str]:
    """Return the letters by scan from LETTERS, which is for all scans, or SCAN=LETTERS."""
    stated: dict[str, str] = {}
    for text in texts:
        scan, _, letters = text.rpartition("=")
        if stated.setdefault(scan, letters) != letters:
            raise click.BadParameter(f"{text!r} and {stated[scan]!r} are of the same scans; leave one out")
    return stated


def spacing(_ctx: click.Context, _param: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    """Return the size of a voxel along each axis in mm, from one number for all or three, as in 2x2x5."""
    if text is None:
        return None
    try:
        sizes = tuple(map(float, re.split("[x, ]", text)))
    except ValueError:
        sizes = ()
    if len(sizes) not in (1, 3):
        raise click.BadParameter(f"{text!r} is neither one size in mm, as in 5, nor three, as in 2x2x5")
    return sizes * 3 if len(sizes) == 1 else sizes


NUMBER, COLUMN = {"type": float, "metavar": "SHARE"}, {"type": str, "metavar": "COLUMN"}
SPACING = {"flag": "--spacing", "type": str, "metavar": "MM", "callback": spacing}


def options(*decorators: Decorator) -> Decorator:
    """Return several options as one decorator, in the order in which help shows them."""
    return lambda command: reduce(lambda decorated, decorate: decorate(decorated), reversed(decorators), command)


def options_of(settings: type, *names: str, **special: dict[str, Any]) -> Decorator:
    """Return the options of a dataclass: of all its settings, or of those named.

    `special` has what Click must be told of a setting beside what its field says, and its flag, if its name is none.
    """
    wanted = {name: one for name, one in settings_of(settings).items() if name in (names or [name]) and not one.fixed}
    return options(*(_option(name, one, **special.get(name, {})) for name, one in wanted.items()))


def _option(name: str, setting: Setting, *, flag: str = "", **special: Any) -> Decorator:
    flag = flag or f"--{name.replace('_', '-')}"
    if isinstance(setting.default, bool) and "/" not in flag:
        flag += f"/--no-{flag[2:]}"
    nargs = len(setting.default) if isinstance(setting.default, tuple) else 1
    known = {"type": _kind_of(setting), "nargs": nargs, "default": setting.default, "help": setting.about}
    if setting.beside:
        known |= {"type": str, "metavar": f"[{'|'.join([*setting.choices, setting.beside])}]"}
    return click.option(flag, name, show_default=True, **known | special)


def _kind_of(setting: Setting) -> Any:
    if setting.choices:
        return click.Choice(setting.choices)
    kind = type(setting.default[0] if isinstance(setting.default, tuple) else setting.default)
    if not setting.limits:
        return kind
    limited: Any = click.IntRange if kind is int else click.FloatRange
    return limited(setting.minimum, setting.maximum, min_open=setting.exclusive, max_open=setting.exclusive)


def given(**typed: Any) -> dict[str, Any]:
    """Return what was typed; of what was not, the function that is called has the default."""
    return {name: value for name, value in typed.items() if value is not None}


def chosen(settings: type[Settings], typed: dict[str, Any]) -> Settings:
    """Take the settings of a dataclass out of what was typed; what it refuses is a wrong command line."""
    try:
        return settings(**{name: typed.pop(name) for name in settings_of(settings) if name in typed})
    except CTPrepError as error:
        raise click.UsageError(str(error)) from None


@contextmanager
def progress_bar(total: int, doing: str | None = None) -> Iterator[Callable[[int], object]]:
    """Show scans, rate and time left on stderr, where it is a terminal; give the function that advances it."""
    with _bar(total, "scan", doing) as bar:
        yield bar.update


@contextmanager
def training_bar(epochs: int, *watchers: Callable[[Any], Any]) -> Iterator[Callable[[Any], None]]:
    """Print a line for each epoch, above a bar on a terminal; give what takes a report, for the watchers too."""
    with _bar(epochs, "epoch") as bar:

        def take(report: Any) -> None:
            say(str(report), err=True)
            bar.set_postfix_str(f"validation {report.epoch.val_loss:.3f}", refresh=False)
            bar.update(report.epoch.epoch - bar.n)
            for watch in watchers:
                watch(report)

        yield take


@contextmanager
def folds_bar() -> Iterator[Callable[[Any], None]]:
    """Show the epochs of all folds on a terminal, those that are not needed among them; give what takes a report."""
    with _bar(1, "epoch") as bar:

        def take(report: Any) -> None:
            bar.total = report.total
            bar.set_postfix_str(f"fold {report.fold} of {report.folds}", refresh=False)
            bar.update(report.done - bar.n)

        yield take
        bar.update(bar.total - bar.n)


@contextmanager
def time_limit_to_meet(strategy: str) -> Iterator[Callable[[], None]]:
    """End this process where other machines do not come, until the training has begun; give what says so.

    TensorFlow waits for a machine that was there and is gone without an end, and holds Python's lock: nothing that
    Python does would end it, nor would Ctrl-C.
    """
    from ctmodel.devices.workers import HEARTBEAT_SECONDS, MEETING_SECONDS

    if strategy == "workers":
        faulthandler.dump_traceback_later(2 * MEETING_SECONDS + HEARTBEAT_SECONDS, exit=True)
    try:
        yield faulthandler.cancel_dump_traceback_later
    finally:
        faulthandler.cancel_dump_traceback_later()


def _bar(total: int, unit: str, doing: str | None = None) -> Any:
    from tqdm import tqdm

    quiet = None if total and sys.stderr else True  # None: where it is no terminal
    return tqdm(desc=doing, total=total, unit=unit, disable=quiet)


def column(flag: str, holds: str, usual: str) -> Decorator:
    """Return the option that names a column of the table of labels."""
    return click.option(flag, metavar="COLUMN", help=f"Column of the table with {holds}.  [default: {usual}]")


as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")

scan_options = options(
    click.option(
        "--accept",
        metavar="SCAN=CODE",
        multiple=True,
        callback=accepted_codes,
        help="Do not reject this scan for coverage, non-finite or not-hu; repeat it.",
    ),
    click.option(
        "--orientation",
        metavar="LPS|SCAN=LPS",
        multiple=True,
        callback=orientations,
        help="Directions of the axes of files that do not say them, for all scans or for one; repeat it.",
    ),
)

conversion_options = options(
    click.argument("raw", type=PATH),
    click.argument("out", type=PATH),
    click.option("--labels", type=PATH, help="Table with columns scan, label, …  [default: participants.tsv in RAW]"),
    column("--scan-column", "the scan", "scan, or a usual name"),
    column("--label-column", "the label", "label"),
    column("--patient-column", "the patient, or none", "patient, or a usual name"),
    column("--split-column", "train, validation or test, or none", "split"),
    click.option(
        "--classes",
        metavar="NAME=LABEL,…",
        multiple=True,
        callback=class_mapping,
        help="A class and its folders, labels, or columns of 1 and 0; repeat it, the negative class first. Scans with "
        "other labels are left out.  [default: every folder or label]",
    ),
    click.option("--patient-pattern", metavar="REGEX", help="Patient in the id of a scan; its first group, if any."),
    click.option("--split-folders", is_flag=True, help="Use folders such as train, val and test as the split."),
    click.option("--exclude", metavar="PATTERN", multiple=True, help="Leave out files and folders; repeat it."),
    click.option("--include-masks", is_flag=True, help="Also convert files whose names look like masks."),
    click.option("--follow-links", is_flag=True, help="Follow links to folders, and links out of RAW."),
    scan_options,
    options_of(Recipe, spacing_mm=SPACING, require_hu={"flag": "--require-hu/--accept-non-hu"}),
    click.option("--rebuild", is_flag=True, help="Ignore the existing store in OUT and convert everything again."),
    as_json,
)


@click.group("ctprep", cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ctprep")
def ctprep() -> None:
    """Convert folders of chest CTs (NIfTI, MetaImage) to one Zarr store of resized, normalized volumes."""


@ctprep.command()
@click.argument("raw", type=PATH)
@options_of(CohortSettings)
@click.option("--masks", type=PATH, help="Also write lesion and lung masks into this folder.")
@click.option("--workers", type=click.IntRange(min=1), help="Number of processes.  [default: one for each core]")
def phantom(raw: Path, masks: Path | None, workers: int | None, **typed: Any) -> None:
    """Write a synthetic chest-CT cohort, with its truth, into the new folder RAW."""
    settings, workers = chosen(CohortSettings, typed), workers or available_cores()
    with progress_bar(settings.scans) as advance:
        phantoms.write_cohort(raw, settings=settings, workers=workers, masks=masks, progress=advance)
    say(f"{raw}: {settings.scans} scans, seed {settings.seed}, {settings.difficulty}; the truth is in truth.csv")


@ctprep.command()
@conversion_options
@click.option("--csv", "as_csv", is_flag=True, help="Print a table of all scans as CSV.")
def plan(raw: Path, out: Path, as_json: bool, as_csv: bool, rebuild: bool, **typed: Any) -> None:
    """Show what convert would do with the scans of RAW, what it infers of them, and why. Nothing is written.

    The headers are read, not the voxels. --json and --csv have a row for each scan.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other; leave one out")
    recipe = chosen(Recipe, typed)
    catalog = preparation.find_scans(raw, **typed)
    planned = preparation.plan_conversion(catalog, out, recipe=recipe, rebuild=rebuild, progress=progress_bar)
    for note in planned.notes if as_csv else ():
        say(f"note: {note}", err=True)
    show(planned, as_json, lines=planned.csv_lines if as_csv else planned.lines)


@ctprep.command()
@conversion_options
@click.option(
    "--scheduler",
    default="auto",
    show_default=True,
    help="threads, processes, synchronous, tcp://… of a Dask cluster, or auto: the fastest of the first three.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Threads or processes.  [default: one for each core]")
@click.option("--strict", is_flag=True, help="Stop at the first rejected scan, without writing a store.")
@click.option("--allow-rejected", is_flag=True, help="Exit with 0, not 3, if some scans were rejected.")
def convert(raw: Path, out: Path, as_json: bool, allow_rejected: bool, **typed: Any) -> None:
    """Convert the NIfTI and MetaImage scans below RAW to the store OUT.

    The folders directly below RAW are the classes, unless --labels gives a table. A second run reuses what is
    unchanged; an interrupted one resumes.
    """
    recipe = chosen(Recipe, typed)
    how = {name: typed.pop(name) for name in ("scheduler", "workers", "rebuild", "strict")}
    catalog = preparation.find_scans(raw, **typed)
    for note in catalog.notes:
        say(note if note.startswith("left out: ") else f"note: {note}", err=True)
    done = preparation.convert(catalog, out, recipe=recipe, progress=progress_bar, **how)
    for note in done.notes[len(catalog.notes) :]:
        say(f"note: {note}", err=True)
    for rejection in done.rejected:
        say(str(rejection), err=True)
    say(json.dumps(done.to_dict()) if as_json else str(done))
    if done.rejected and not allow_rejected:
        sys.exit(EXIT_REJECTED)


@ctprep.command()
@click.argument("store", type=PATH)
@as_json
def info(store: Path, as_json: bool) -> None:
    """Show what is in STORE, its recipe and its digest."""
    show(preparation.summarize(store), as_json)


@ctprep.command()
@click.argument("store", type=PATH)
@click.option("--raw", type=PATH, help="Also convert a sample of the scans in this folder again, and compare.")
@click.option("--sample", type=click.IntRange(min=1), help="Number of scans in the sample.  [default: 16]")
@click.option("--all", "every", is_flag=True, help="Convert all scans again.")
@as_json
def verify(store: Path, raw: Path | None, sample: int | None, every: bool, as_json: bool) -> None:
    """Read every byte of STORE and name everything that differs from what was written."""
    if raw is None and (sample or every):
        raise click.UsageError("--sample and --all need the folder that is converted again: add --raw RAW")
    if sample and every:
        raise click.UsageError("--sample and --all exclude each other; leave one out")
    size = {"sample": None} if every else given(sample=sample)
    found = preparation.verify(store, raw=raw, progress=progress_bar, **size)
    show(found, as_json)
    if found.findings:
        sys.exit(EXIT_FOUND)


@ctprep.command()
@click.argument("store", type=PATH)
@click.argument("scan")
@click.option("--out", type=PATH, help="File to write.  [default: the id with _ for /, in the current folder]")
def export(store: Path, scan: str, out: Path | None) -> None:
    """Write one volume of STORE as NIfTI, in HU, with its affine.

    SCAN is its id, with or without a suffix, or the end of an id that no other has.
    """
    say(str(preparation.export(store, scan, out)))


@ctprep.command()
@click.argument("store", type=PATH)
@click.argument("out", type=PATH, required=False)
@click.option("--scans-per-class", type=click.IntRange(min=1), help="Number of scans of each class.  [default: 6]")
def montage(store: Path, out: Path | None, scans_per_class: int | None) -> None:
    """Draw slices of some scans of every class of STORE into the picture OUT.png, or one with the store's name."""
    say(str(preparation.montage(store, out, **given(scans_per_class=scans_per_class))))


@click.group("ctmodel", cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ctprep")
def ctmodel() -> None:
    """Train and evaluate 3D networks on a store that ctprep made."""


@ctmodel.command()
@click.argument("store", type=PATH)
@click.option("--run", type=PATH, required=True, help="Folder of the run; it must not exist, but for --resume.")
@options_of(TrainSettings)
@options_of(Execution)
@click.option("--resume", is_flag=True, help="Continue the training in the run folder, if it has one.")
@click.option("--tensorboard", type=PATH, metavar="FOLDER", help="Also write each epoch for TensorBoard.")
@as_json
def train(store: Path, run: Path, resume: bool, tensorboard: Path | None, as_json: bool, **typed: Any) -> None:
    """Train a network on STORE and score it on patients it has not seen.

    Patients are divided into a training subset, a validation subset that selects the best epoch, and a test subset
    that is scored once. Everything is kept in the run folder.
    """
    own_process()
    from ctmodel.views.board import Board

    execution, settings = chosen(Execution, typed), chosen(TrainSettings, typed)
    boards = [Board(tensorboard)] if tensorboard else []
    with training_bar(settings.epochs, *boards) as progress, time_limit_to_meet(execution.strategy) as met:

        def tell(line: str) -> None:
            met()
            say(line, err=True)

        how: dict[str, Any] = {"execution": execution, "resume": resume, "progress": progress}
        result = training.train(store, run, settings, say=tell, **how)
    if result.is_chief:
        say(f"{run}: {result.status}, best epoch {result.best_epoch} of {result.epochs}", err=True)
        show(result, as_json)


@ctmodel.command()
@click.argument("store", type=PATH)
@click.option("--run", type=PATH, required=True, help="Folder to make; it must not exist, but for --resume.")
@options_of(FoldSettings)
@options_of(TrainSettings, *(name for name in settings_of(TrainSettings) if name not in (*OF_ONE_FOLD, "group")))
@options_of(Execution)
@click.option("--resume", is_flag=True, help="Continue the cross-validation in the folder, if it has one.")
@as_json
def crossval(store: Path, run: Path, resume: bool, as_json: bool, **typed: Any) -> None:
    """Train a network for each fold of STORE, and score every scan by the one that has not learnt from it.

    The folder holds a run for each fold. It is a run itself: predict and evaluate take it, and average the networks.
    """
    own_process()
    how: dict[str, Any] = {"folds": chosen(FoldSettings, typed), "execution": chosen(Execution, typed)}
    how |= {"resume": resume, "say": partial(say, err=True)}
    with folds_bar() as progress:
        result = training.cross_validate(store, run, chosen(TrainSettings, typed), progress=progress, **how)
    say(f"{run}: {result.status}, {len(result.folds.folds)} folds", err=True)
    show(result, as_json)


@ctmodel.command()
@click.argument("store", type=PATH)
@click.argument("scan")
@click.argument("out", type=PATH)
@options_of(TrainSettings, "augment", "flip", "seed")
def augment(store: Path, scan: str, out: Path, augment: str, flip: bool, seed: int) -> None:
    """Draw SCAN of STORE as sixteen epochs of a training see it (but not mixed with others) into OUT.png."""
    own_process()
    from ctmodel.views.augmented import write_augmented

    say(str(write_augmented(store, scan, out, strength=augment, flip=flip, seed=seed)))


@ctmodel.command()
@click.argument("run", type=PATH)
@click.argument("store", type=PATH, required=False)
@options_of(EvaluationSettings, prevalence=NUMBER, by=COLUMN)
@click.option("--null", type=click.IntRange(min=1), metavar="N", help="Also train the baselines on N permuted labels.")
@click.option("--null-network", is_flag=True, help="Train the network on these too: N times its training.")
@click.option("--keep", is_flag=True, help="Keep the threshold in RUN, for later evaluations and predictions.")
@click.option("--all", "every", is_flag=True, help="Show all scores, as --json does.")
@as_json
def evaluate(
    run: Path,
    store: Path | None,
    null: int | None,
    null_network: bool,
    keep: bool,
    every: bool,
    as_json: bool,
    **typed: Any,
) -> None:
    """Score RUN on its own test subset, or on the labelled scans of another STORE.

    Scans whose patient or file was in the training or validation subset are left out. RUN is only changed by --keep.
    """
    settings = chosen(EvaluationSettings, typed)
    if null_network and not null:
        raise click.UsageError("--null-network needs the number of permutations: add --null N")
    own_process()
    found = training.evaluate(run, store, settings)
    if null:
        told = partial(say, err=True)
        found = replace(found, null=training.permutation_test(found, null, network=null_network, say=told))
    show(found, as_json, lines=found.all_lines if every else None)
    if keep:
        training.keep_threshold(run, found.scores.threshold)
        say(f"{run}: keeps a threshold of {found.scores.threshold}", err=True)


@ctmodel.command()
@click.argument("runs", type=PATH, nargs=-1, required=True, metavar="RUN RUN...")
@as_json
def compare(runs: tuple[Path, ...], as_json: bool) -> None:
    """Compare each RUN with the first one, and with its baselines, on the scans that all of them tested."""
    own_process()
    show(training.compare_runs(*runs, say=partial(say, err=True)), as_json)


@ctmodel.command()
@click.argument("run", type=PATH)
@click.argument("scans", type=PATH, nargs=-1, required=True)
@click.option("--out", type=PATH, help="Write the predictions into this new CSV file instead of printing them.")
@scan_options
@as_json
def predict(run: Path, scans: tuple[Path, ...], out: Path | None, as_json: bool, **typed: Any) -> None:
    """Predict the class of raw SCANS, files or folders, prepared in the same way as the scans RUN was trained on."""
    own_process()
    from ctmodel.prediction.table import check_is_free, write_table

    if out:
        check_is_free(out)
    predictions = []
    for prediction in training.predict_each(run, scans, progress=progress_bar, say=partial(say, err=True), **typed):
        predictions.append(prediction)
        if as_json or prediction.code or not out:
            show(prediction, as_json, err=prediction.code is not None)
    n_rejected = sum(prediction.code is not None for prediction in predictions)
    if out:
        write_table(out, predictions)
        say(f"{out}: {len(predictions) - n_rejected} scans predicted, {n_rejected} rejected", err=as_json)
    if n_rejected:
        sys.exit(EXIT_REJECTED)


@ctmodel.command()
@click.argument("run", type=PATH)
@click.option("--out", type=PATH, help="Folder for the card and its figures.  [default: RUN]")
@click.option(
    "--format",
    "formats",
    type=click.Choice(("png,svg", "png", "svg")),
    default="png,svg",
    show_default=True,
    help="Formats of the figures.",
)
@as_json
def report(run: Path, out: Path | None, formats: str, as_json: bool) -> None:
    """Write a model card of RUN and its figures: card.md, and the folder figures."""
    show(training.report(run, out, formats=formats.split(",")), as_json)
