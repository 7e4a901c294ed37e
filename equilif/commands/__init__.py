"""Commands: options in, tables out.

The work is done in equilif's other modules, imported when a command needs them.  Here is what the commands
share; each module is one part of the help.

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
import re
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperGroup

from equilif.data import Name
from equilif.extras import MissingExtra
from equilif.show import console as show
from equilif_golden.engine.features import OPTIONS
from equilif_golden.schedule import Option, Schedule

if TYPE_CHECKING:
    from equilif.data.dataset import DataSet
    from equilif.training.presets import Preset
    from equilif_golden.network import Network

BAD_INPUT = 2
INTERRUPTED = 128 + 2  #: as a shell tells the end by SIGINT
UNREAD = 128 + 13  #: and by SIGPIPE

#: what typer raises for arguments that it cannot use; which package it is from depends on typer's version
Unusable: type[Exception] = typer.BadParameter.__mro__[2]


class Commands(TyperGroup):
    """All commands: arguments that cannot be used are refused in one line, as everything else is."""

    def main(self, *args: Any, **options: Any) -> NoReturn:
        try:
            code = super().main(*args, **{**options, "prog_name": "equilif", "standalone_mode": False})
        except Unusable as e:
            context = getattr(e, "ctx", None)
            command = context.command_path if context else "equilif"
            show.fail(f"{_sentence(e)}; see {command} --help")
            code = BAD_INPUT
        except typer.Abort:
            code = INTERRUPTED
        if code == INTERRUPTED:
            show.fail("interrupted")
        sys.exit(code if isinstance(code, int) else 0)


def _sentence(error: Any) -> str:
    """What typer says of an argument, to be continued."""
    said: str = error.format_message()
    return said.rstrip(". ")


app = typer.Typer(
    name="equilif",
    cls=Commands,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="""
Spiking networks that learn by Equilibrium Propagation, bit for bit the same in Python, in RTL and on an FPGA.

[bold]equilif demo[/] shows all of it in a few minutes.
""",
)


Data = Name  #: equilif.data has no NumPy in it: --help is quick


DataArgument = Annotated[
    Data,
    typer.Argument(help="Data set. The 8x8 digits come with scikit-learn; missing ones say what they need."),
]
DATA_HELP = (
    f"Data set by name ({', '.join(Name)}), or a file or folder of your own: .npz, .csv, .tsv, .parquet, a "
    "folder of class folders of images."
)
AnyData = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help=DATA_HELP,
    ),
]


class Missing(StrEnum):
    """equilif.data.scaling.Missing."""

    refuse = "refuse"
    mean = "mean"


Label = Annotated[
    str | None,
    typer.Option(
        "--label", help="Own table: the column with the classes.", show_default=False, metavar="COLUMN"
    ),
]
HoldOut = Annotated[
    float | None,
    typer.Option(
        "--hold-out",
        help="Own data without a test part: part of each class that is kept to test on.",
        show_default="0.2",
    ),
]
TestFile = Annotated[
    Path | None,
    typer.Option("--test", help="Own data: a second file, to test on.", show_default="none"),
]
MissingValues = Annotated[
    Missing | None,
    typer.Option(
        "--missing",
        help="Own data with missing values: refuse them, or fill in the training mean.",
        show_default="refuse",
    ),
]
Folder = Annotated[
    Path | None,
    typer.Option(
        "--data", help="Folder of the data set (images in torchvision's layout).", show_default="./data"
    ),
]
Json = Annotated[
    Path | None,
    typer.Option(
        "--json",
        help="Also write what is printed to this file, as JSON; with - to standard output, alone.",
        metavar="FILE",
    ),
]
Port = Annotated[
    str | None,
    typer.Option(
        "--port",
        help="Serial port of a board: on its engine, in place of the golden model.",
        show_default="none",
        metavar="PORT",
    ),
]
Baud = Annotated[
    int | None, typer.Option(help="Rate of the serial port.", show_default="the usual ones, in turn")
]
Seed = Annotated[
    int | None, typer.Option(help="Seed of weights and sample order.", show_default="the preset's first")
]


Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace the run in --out and all its files; without it they are kept."),
]

# -- options that come from a table -------------------------------------------------------------------
#: what was given of them, by name
Given = Mapping[str, Any]
NOTHING: Given = MappingProxyType({})


class Several(dict[str, Any]):
    """In the annotation of a command's parameter: options in its place, by the name of what they set.

    The parameter gets those that were given.
    """


def phases(*, trained: bool = False) -> Several:
    """Options that are fields of Schedule: of one that is to be trained, or of a ``trained`` network's."""
    types = get_type_hints(Schedule)
    options: dict[str, Option] = {
        f.name: f.metadata["option"] for f in dataclasses.fields(Schedule) if "option" in f.metadata
    }
    default = "the network's" if trained else False
    return Several(
        {
            name: Annotated[
                _type(name, types[name]) | None,
                typer.Option(
                    help=option.help,
                    min=option.limits and option.limits[0],
                    max=option.limits and option.limits[1],
                    show_default=option.absent or default,
                ),
            ]
            for name, option in options.items()
            if option.settles or not trained
        }
    )


def _type(name: str, hint: Any) -> Any:
    """What typer takes for the type of a field: one of several words is an enumeration."""
    if get_origin(hint) is Literal:
        return StrEnum(name.capitalize(), list(get_args(hint)))
    return next((part for part in get_args(hint) if part is not type(None)), hint)


#: phases of a network that is to be trained, and what may change of one that is
Phases = Annotated[Given, phases()]
TrainedPhases = Annotated[Given, phases(trained=True)]
#: with or without what an engine may have, where the other end of a link is told of it
EngineOptions = Annotated[
    Given,
    Several(
        {
            name: Annotated[
                bool | None,
                typer.Option(
                    f"--{option.flag}/--no-{option.flag}",
                    help=f"With {option.text}, or without.",
                    show_default="as the board's engine has it",
                ),
            ]
            for name, option in OPTIONS.items()
            if option.identity is not None
        }
    ),
]


def panel(title: str) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """Makes commands of this part of the help: expected errors are one line and exit code 2; ``--json`` gets
    what a command returns.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., None]:
        tables, parameters = _parameters(function)

        @functools.wraps(function)
        def run(**given: Any) -> None:
            for name, options in tables.items():
                values = {option: given.pop(option) for option in options}
                given[name] = {option: value for option, value in values.items() if value is not None}
            path = given.get("json")
            with _refusals(), _json(path if isinstance(path, Path) else None) as write:
                found = function(**given)
                write({"command": function.__name__.rstrip("_"), **found})
            if not found.get("ok", True):
                raise typer.Exit(1)

        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        app.command(rich_help_panel=title, help=paragraphs(function.__doc__))(run)
        return run

    return decorate


def _parameters(function: Callable[..., Any]) -> tuple[dict[str, Several], list[inspect.Parameter]]:
    """Tables of options, by the name of the parameter that they stand for; and all options of a command."""
    tables: dict[str, Several] = {}
    found: list[inspect.Parameter] = []
    for p in inspect.signature(function, eval_str=True).parameters.values():
        here = [x for x in getattr(p.annotation, "__metadata__", ()) if isinstance(x, Several)]
        for options in here:
            tables[p.name] = options
            found += [p.replace(name=name, annotation=kind, default=None) for name, kind in options.items()]
        if not here:
            found.append(p)
    return tables, found


def paragraphs(text: str | None) -> str:
    """A docstring as help: the lines of a paragraph follow each other, and the terminal breaks them."""
    blocks = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(" ".join(block.splitlines()) for block in blocks)


@contextmanager
def _refusals() -> Iterator[None]:
    """Expected errors are one line and an exit code."""
    from equilif.results import ToolFailed
    from equilif_sim.tools.verilator import MissingVerilator

    refused = (ValueError, OSError, MissingExtra, ToolFailed, MissingVerilator, MemoryError, RecursionError)
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError as e:
        if e.filename not in (None, "/dev/stdout"):
            show.fail(reason(e))
            raise typer.Exit(BAD_INPUT) from None
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left of the output goes nowhere
        raise typer.Exit(UNREAD) from None
    except refused as e:
        show.fail(reason(e))
        raise typer.Exit(BAD_INPUT) from None


def reason(error: BaseException) -> str:
    """What is said of an error: the file, and what is wrong with it; no numbers of errors."""
    return re.sub(r"\[Errno \d+\] ", "", _reason(error))


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
    """What writes the result of a command; the file is tried before the work begins.

    On standard output (``-``, /dev/stdout and its other names) JSON is alone: what is printed for people
    goes to standard error.
    """
    from equilif import results
    from equilif_golden import files

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
    """Whether a file is where standard output goes, by whatever name."""
    from equilif_golden import files

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


@app.callback(invoke_without_command=True)
def _version(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        from equilif import results

        show.console.print(f"equilif {results.version()}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


def samples_of(
    data: Name | Path,
    folder: Path | None,
    *,
    label: str | None = None,
    hold_out: float | None = None,
    test: Path | None = None,
    missing: Missing | None = None,
    **settings: Any,
) -> tuple[DataSet, Preset]:
    """A data set by name or path, and how it is trained, with other ``settings`` where they are not None.

    ValueError for options of the other kind, and for settings that cannot be, before a set is looked for.
    """
    from equilif.data import own
    from equilif.training import presets

    given = {"--label": label, "--hold-out": hold_out, "--test": test, "--missing": missing}
    if isinstance(data, Name):
        refuse_own(data, given)
        preset = presets.PRESETS[data].changed(**settings)
        return preset.load(folder), preset
    if folder is not None:
        raise ValueError(f"--data is the folder of a data set with a name, {data} is a path: leave it out")
    loaded = own.load(
        data,
        label=label,
        hold_out=hold_out,
        test=test,
        missing="refuse" if missing is None else missing.value,
    )
    return loaded, presets.own(loaded).changed(**settings)


def refuse_own(data: object, given: Mapping[str, object]) -> None:
    """ValueError for options of one's own data, where the data are others."""
    options = [option for option, value in given.items() if value is not None]
    if options:
        raise ValueError(
            f"{', '.join(options)} is for a file or folder of your own, not for {data}: leave it out"
        )


def scheduled(network: Network, given: Given) -> Network:
    """The network with the phases that were given; ValueError for one that would change nothing."""
    schedule = dataclasses.replace(network.schedule, **given)
    check_phases(given, schedule)
    return dataclasses.replace(network, schedule=schedule)


def check_phases(given: Given, schedule: Schedule) -> None:
    """ValueError when something was given that says nothing about this schedule."""
    for f in dataclasses.fields(Schedule):
        needs = f.metadata["option"].needs if "option" in f.metadata else None
        if f.name in given and needs is not None and getattr(schedule, needs[0]) is None:
            raise ValueError(f"--{f.name} {needs[1]}: give --{needs[0]} too, or leave it out")
