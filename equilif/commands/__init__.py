"""Commands: options in, tables out.

The work is done in equilif's other modules, imported when a command needs them.  Here is what the commands
share; a module of commands is loaded when one of them is used.

A command ends with exit code 0 when it did what it says, 1 when what it compared or built is not as it
should be, 2 after one line on standard error when it was refused and wrote nothing, 130 when it was
interrupted, and 141 when nobody reads its output any more.
"""

from __future__ import annotations

import dataclasses
import errno
import functools
import inspect
import os
import stat
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_command_from_info
from typer.models import CommandInfo

from equilif import interrupts
from equilif.commands.options import INPUT, STREAM, FileUse, Given, OptionGroup, expanded, file_uses
from equilif.data import FORMATS, Name
from equilif.show import console as show
from equilif.training.names import NETWORK, RUN
from equilif.training.storage.pretrained import model_path
from equilif_golden import files
from equilif_golden.extras import MissingExtra
from equilif_golden.lazy import lazy

with lazy():
    import equilif_sim.tools.verilator as verilator
    from equilif import results
    from equilif.training import options as settings
    from equilif.training import resolve as resolving
    from equilif_golden import network as networks

#: commands by module, in the order of the help
MODULES = {
    "overview": "demo info bench",
    "lab": "lab",
    "inspection": "inspect",
    "learning": "train evaluate recall attention gradient",
    "networks": "init show models",
    "report": "report",
    "listening": "listen",
    "stream": "stream",
    "scale": "train-rates deploy convert sweep",
    "text": "train-text generate",
    "hardware": "verify energy export",
    "programs": "program",
    "boards": "boards build flash simulate ports identify check save restore",
    "standalone": "upload standalone",
}
#: commands whose options are keys of a description
TRAINING = ("train", "train-rates", "train-text", "upload")
BAD_INPUT = 2
INTERRUPTED = 128 + 2  #: as a shell tells the end by SIGINT
BROKEN_PIPE = 128 + 13  #: and by SIGPIPE

#: what typer raises for arguments that it cannot use; which package it is from depends on typer's version
Unusable: type[Exception] = typer.BadParameter.__mro__[2]


#: commands of the modules that are loaded
LOADED: dict[str, CommandInfo] = {}


def load() -> list[CommandInfo]:
    """Load all commands."""
    for module in MODULES:
        import_module(f"{__name__}.{module}")
    return list(LOADED.values())


class ByName(Mapping[str, Any]):
    """Commands by name; a module is loaded when its command is asked for."""

    def __init__(self) -> None:
        own = {name: module for module, names in MODULES.items() for name in names.split()}
        self.modules = own | dict.fromkeys(LOADED.keys() - own.keys(), "")

    def __iter__(self) -> Iterator[str]:
        return iter(self.modules)

    def __len__(self) -> int:
        return len(self.modules)

    def __getitem__(self, name: str) -> Any:
        if module := self.modules[name]:
            import_module(f"{__name__}.{module}")
        return get_command_from_info(LOADED[name], pretty_exceptions_short=False, rich_markup_mode="rich")


class Commands(TyperGroup):
    """All commands: arguments that cannot be used are refused in one line, as everything else is."""

    def __init__(self, **options: Any):
        super().__init__(**{**options, "commands": ByName()})

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)

    def main(self, *args: Any, **options: Any) -> NoReturn:
        warnings.filterwarnings("ignore", ".*joblib will operate in serial mode")  # its use here is serial
        try:
            code = super().main(*args, **{**options, "prog_name": "equilif", "standalone_mode": False})
        except Unusable as e:
            context = getattr(e, "ctx", None)
            command = context.command_path if context else "equilif"
            key = _key(getattr(e, "option_name", ""), context.info_name if context else "")
            show.fail(f"No such option: {key}" if key else f"{_sentence(e)}; see {command} --help")
            code = BAD_INPUT
        except typer.Abort:
            code = INTERRUPTED
        if code == INTERRUPTED:
            show.fail("interrupted")
        sys.exit(code if isinstance(code, int) else 0)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for word in args:
            option, given, value = word.partition("=")
            if not word or option.startswith("--") and given and not value:
                name = f"the value of {option}" if word else "an argument"
                raise typer.BadParameter(f"{name} is empty: give it, or leave it out", ctx=ctx)
        if {"--resume", "--overwrite"} <= {*args}:
            raise typer.BadParameter("--resume keeps the run, --overwrite replaces it: give one", ctx=ctx)
        return super().parse_args(ctx, args)


def _key(option: str, command: str | None) -> str:
    """An option that a command of training has not, with the key that it is; empty where it is none."""
    if command not in TRAINING:
        return ""
    if option == "--conv" and command != "train-text":
        return "--conv; give --hidden conv:MAPS"
    if option == "--seeds" and command == "train":
        return "--seeds; give --seed FIRST-LAST, such as --seed 0-4"
    key = settings.keys_of_options(command).get(option)
    return f"{option}; give --set {key}=VALUE" if key else ""


def _sentence(error: Any) -> str:
    """Typer's message about an argument, without its full stop."""
    message: str = error.format_message()
    return message.rstrip(". ")


app = typer.Typer(
    name="equilif",
    cls=Commands,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="""
Train spiking networks by Equilibrium Propagation, bit-identical in Python, in RTL and on an FPGA.

Start with [bold]equilif demo[/] (a few minutes).
""",
)


Data = Name  #: equilif.data has no NumPy in it: --help is quick


DATA_HELP = (
    f"Name of a data set ({', '.join(Name)}), or path of your own data: {', '.join(FORMATS.values())}."
)
AnyData = Annotated[str, typer.Argument(metavar="DATA", help=DATA_HELP), INPUT]


ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="Network file (TOML) in place of the preset; `equilif init` writes one.",
        show_default="the preset's",
        metavar="FILE.toml",
    ),
    INPUT,
]
Folder = Annotated[
    Path | None,
    typer.Option("--data", help="Folder with the files of the named data set.", show_default="./data"),
    INPUT,
]


Label = Annotated[
    str | None,
    typer.Option(
        "--label",
        help="Column with the class labels, for your own table.",
        show_default=False,
        metavar="COLUMN",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Set a key of the network file, of your own data (data.KEY) or of the run (run.KEY); repeat for "
        "further keys. `equilif init --keys` lists all with defaults and ranges.",
        metavar="KEY=VALUE",
        show_default=False,
    ),
]
#: --label, and --set for keys of the table data
OwnOptions = Annotated[
    "settings.DataOptions",
    OptionGroup(
        {
            "label": Label,
            "patches": Annotated[
                list[str] | None,
                typer.Option(
                    "--set",
                    help="Set how your own data are read, e.g. data.test=FILE or data.missing=mean; repeat "
                    "for further keys. `equilif init --keys` lists all.",
                    metavar="data.KEY=VALUE",
                    show_default=False,
                ),
            ],
        },
        lambda given: settings.data_options_of(given.get("patches"), given.get("label")),
    ),
]
#: --label and --set, as arguments of equilif.training.options.changes
ChangeOptions = Annotated[Given, OptionGroup({"label": Label, "words": Set})]
#: default of a group of options, which is made in any case
MADE: Any = None


def saved_network(**options: Any) -> Any:
    """Options of a network: a network.npz, the folder of a run, or the name of a pretrained network."""
    return {"parser": model_path, "metavar": "NETWORK", **options}


def network_option(help: str, **options: Any) -> Any:
    return typer.Option(**saved_network(help=help, **options))


def network_argument(help: str) -> Any:
    return typer.Argument(**saved_network(help=help))


Json = Annotated[
    Path | None,
    typer.Option(
        "--json", help="Write the results to this file as JSON; - is standard output.", metavar="FILE"
    ),
    STREAM,
]
Port = Annotated[
    str | None,
    typer.Option(
        "--port",
        help="Run on the board at this serial port or UDP address (udp://192.168.1.50).",
        show_default="the golden model",
        metavar="PORT",
    ),
]
OnPort = Annotated[
    str | None,
    typer.Option(
        "--port",
        help="Serial port or UDP address (udp://192.168.1.50) of the board.",
        show_default="the only serial port with a board",
        metavar="PORT",
    ),
]
Baud = Annotated[
    int | None,
    typer.Option(help="Baud rate of the serial port.", show_default="detected"),
]
#: of a run in --out: go on with it, replace it, or neither
Resume = Annotated[
    bool | None,
    typer.Option(
        "--resume/--overwrite",
        help="Resume the run in --out (--epochs may lengthen it), or replace it.",
        show_default="stop if --out holds a run",
    ),
]
Seed = Annotated[
    int | None, typer.Option(help="Seed of weights and sample order.", show_default="the preset's first")
]
#: of a network and its learning
Hidden = Annotated[
    list[str] | None,
    typer.Option(
        help="Neurons of a hidden layer, or conv:MAPS[:KERNEL[:STRIDE]] for a convolution (first); repeat "
        "for further layers; none for no hidden layer.",
        metavar="SIZE",
        show_default="the preset's",
    ),
]
Epochs = Annotated[
    int | None, typer.Option(help="Passes over the training samples.", show_default="the preset's")
]


Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing run in --out.")]


OverwriteFiles = Annotated[bool, typer.Option("--overwrite", help="Replace existing output files.")]


@contextmanager
def _outputs(given: Mapping[str, Any], uses: Mapping[str, FileUse], overwrite: bool) -> Iterator[None]:
    """ValueError when an output exists and is not to be replaced, or when two are one file; none replaces a
    file that is read.
    """
    inputs: list[Path] = []
    outputs: list[Path] = []
    for name, use in uses.items():
        value = given.get(name)
        paths = [Path(p) for p in (value if isinstance(value, list) else [value]) if p is not None]
        there = [p for p in paths if files.descriptor(p) is None and files.is_file(p)]
        if use.kind == "input":
            inputs += there
            inputs += [p.with_name(other) for p in there if p.name == NETWORK for other in RUN]
        elif use.kind == "output" and not any(given[other] for other in use.unless):
            outputs += [*paths, *(other for p in paths for other in use.beside(p))]
            if there and not (use.standard and _is_standard_output(there[0])):
                files.require_absent(there, overwrite)
    _require_distinct(outputs)
    missing = {folder for p in outputs for folder in (p, *p.parents) if not os.path.lexists(folder)}
    with files.protected(inputs):
        try:
            yield
        except BaseException:  # folders that were made, but nothing could be written into them
            for folder in sorted(missing, key=lambda p: len(p.parts), reverse=True):
                with suppress(OSError):
                    folder.rmdir()
            raise


def _require_folder() -> None:
    """ValueError when the current folder has been removed: some libraries end the program there."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise ValueError("the current folder has been removed: change to another one") from None


def _require_distinct(outputs: Sequence[Path]) -> None:
    """ValueError when two outputs are one file, or one is a file of the run in another."""
    kept = [p for p in outputs if _is_standard_output(p) or p.is_file() or not p.exists()]
    # `Path.resolve` fails in a loop of links
    places = ["-" if _is_standard_output(p) else os.path.realpath(p) for p in kept]
    runs = {os.path.realpath(p / name) for p in outputs for name in RUN}
    for k, place in enumerate(places):
        if place in places[:k] or place in runs:
            raise ValueError(f"{kept[k]} is written by two options: name another file for one of them")


def panel(title: str) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """Makes commands of this part of the help: expected errors are one line and exit code 2; ``--json`` gets
    what a command returns.  --json is added, and --overwrite, unless the command has one.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., None]:
        command = expanded(function)
        parameters = dict(inspect.signature(command).parameters)
        name = function.__name__.rstrip("_").replace("_", "-")
        own = set(parameters)
        parameters.setdefault("json", _added("json", Json, None))
        uses = file_uses(parameters)
        if own.isdisjoint({"overwrite", "resume"}) and any(use.kind == "output" for use in uses.values()):
            parameters["overwrite"] = _added("overwrite", OverwriteFiles, False)

        @functools.wraps(command)
        def run(**given: Any) -> None:
            path = given.get("json")
            overwrite = bool(given.get("overwrite")) or given.get("resume") is False
            options = {key: value for key, value in given.items() if key in own}
            with (
                _refusals(),
                _outputs(given, uses, overwrite),
                _json(path if isinstance(path, Path) else None) as write,
            ):
                found = command(**options)
                write({"command": name, **found})
            if not found.get("ok", True):
                raise typer.Exit(1)

        run.__signature__ = inspect.Signature([*parameters.values()])  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters.values()}
        app.command(name, rich_help_panel=title, help=paragraphs(function.__doc__))(run)
        # typer would build the registered ones of all loaded modules at each start
        LOADED[name] = app.registered_commands.pop()
        return run

    return decorate


def _added(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def paragraphs(text: str | None) -> str:
    """A docstring as help: the lines of a paragraph follow each other, and the terminal breaks them."""
    blocks = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(" ".join(block.splitlines()) for block in blocks)


@contextmanager
def _refusals() -> Iterator[None]:
    """Expected errors are one line and an exit code."""
    tools = (results.ToolFailed, verilator.MissingVerilator)
    refused = (ValueError, OSError, MissingExtra, *tools, MemoryError, RecursionError)
    try:
        interrupts.check()
        _require_folder()
        yield
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError as e:
        if e.filename not in (None, "/dev/stdout"):
            show.fail(reason(e))
            raise typer.Exit(BAD_INPUT) from None
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left of the output goes nowhere
        raise typer.Exit(BROKEN_PIPE) from None
    except refused as e:
        if isinstance(e, ValueError) and interrupts.interrupted(e):
            raise typer.Exit(INTERRUPTED) from None
        show.fail(reason(e))
        raise typer.Exit(BAD_INPUT) from None


def reason(error: BaseException) -> str:
    """Message of an error: the file and the problem, without error numbers."""
    message = _reason(error)
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    for e in chain[1:]:  # the message may contain its text
        if isinstance(e, OSError):
            message = message.replace(f"[Errno {e.errno}] ", "")
    return message


def _reason(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return f"there is not enough memory: {error}" if str(error) else "there is not enough memory"
    if isinstance(error, RecursionError):
        return "a file is nested too deeply to be read"
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error) or type(error).__name__
    if error.filename is None:
        place = "standard output: " if error.errno in (errno.ENOSPC, errno.EIO, errno.EBADF) else ""
        return f"{place}{error.strerror}"
    name = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else str(error.filename)
    if isinstance(error, FileNotFoundError):
        return f"there is no {name or 'file with an empty name'}"
    return f"{name}: {error.strerror}"


@contextmanager
def _json(path: Path | None) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Writer of the result of a command; the file is checked before the work begins.

    On standard output (``-``, /dev/stdout and its other names) JSON is alone: what is printed for people
    goes to standard error.
    """
    if path is None:
        yield lambda found: None
        return
    printed = _is_standard_output(path)
    target = Path("/dev/stdout") if printed else path
    files.check(target)

    def write(found: dict[str, Any]) -> None:
        results.write_json(target, {"version": results.version(), **found})

    before = show.console.stderr
    show.console.stderr = before or printed
    try:
        yield write
    finally:
        show.console.stderr = before


def _is_standard_output(path: Path) -> bool:
    """Whether a file is standard output, by any name."""
    if str(path) == "-":
        return True
    number = files.descriptor(path)
    if number is not None:
        return number == 1
    try:
        there = path.stat()
        return not stat.S_ISCHR(there.st_mode) and os.path.samestat(there, os.fstat(1))
    except OSError:
        return False


class Figures(StrEnum):
    """Format of figures (equilif.training.storage.folder.figure_path)."""

    png = "png"
    svg = "svg"
    pdf = "pdf"


@app.callback(invoke_without_command=True)
def _version(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
    figures: Annotated[
        Figures, typer.Option(help="Format of figures: `equilif --figures pdf train digits`.")
    ] = Figures.png,
) -> None:
    os.environ["EQUILIF_FIGURES"] = figures
    if version:
        show.console.print(f"equilif {results.version()}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


def resolved(data: Any, own: settings.DataOptions | None = None, **request: Any) -> resolving.Resolved:
    """Resolve a request (equilif.training.resolve.Request), and print its notes."""
    reading = {} if own is None else own.reading
    with show.console.status(f"reading {show.literal(data)}"):
        found = resolving.resolve(resolving.Request(data=data, reading=reading, **request))
    print_notes(found.notes)
    return found


def print_notes(notes: Iterable[str]) -> None:
    for note in notes:
        show.console.print(f"[yellow]{show.literal(note)}[/]")


def scheduled(network: networks.Network, given: Given) -> networks.Network:
    """The network with the phases that were given; ValueError for one that would change nothing."""
    schedule = dataclasses.replace(network.schedule, **given)
    schedule.check_options(given)
    return dataclasses.replace(network, schedule=schedule)
