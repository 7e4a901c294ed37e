"""Commands: options in, tables out.

The work is done in equilif's other modules, imported when a command needs them.

Here is what the commands share; each module is one part of the help.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec

try:
    import typer

    from equilif.show import console as show
except ModuleNotFoundError as e:
    sys.exit(f"error: {e.name} is not installed: pip install 'equilif[cli]'")

from equilif.extras import MissingExtra

if TYPE_CHECKING:
    from equilif.training.presets import Preset
    from equilif_golden.network import Network

app = typer.Typer(
    name="equilif",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="""
Spiking networks that learn by Equilibrium Propagation, bit for bit the same in Python, in RTL and on an FPGA.

[bold]equilif demo[/] shows all of it in a few minutes.
""",
)

BAD_INPUT, INTERRUPTED = 2, 130


class Data(StrEnum):
    """equilif.data.images.NAMES and equilif.data.sequences.NAMES, without importing NumPy for --help."""

    digits = "digits"
    mnist = "mnist"
    fashion = "fashion"
    snippets = "snippets"
    imdb = "imdb"
    spoken = "spoken"
    vowels = "vowels"


class Watched(StrEnum):
    """equilif_golden.schedule.Schedule.watch."""

    all = "all"
    output = "output"


DataArgument = Annotated[
    Data,
    typer.Argument(help="Data set. The 8x8 digits come with scikit-learn; missing ones say what they need."),
]
Folder = Annotated[
    Path | None,
    typer.Option(
        "--data", help="Folder of the data set (images in torchvision's layout).", show_default="./data"
    ),
]
Json = Annotated[
    Path | None,
    typer.Option("--json", help="Also write what is printed to this file, as JSON.", metavar="FILE"),
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
Free = Annotated[
    int | None, typer.Option(help="Time steps of the free phase, at most.", show_default="the network's")
]
Window = Annotated[
    int | None, typer.Option(help="Time steps over which rates are measured.", show_default="the network's")
]
Early = Annotated[
    int | None,
    typer.Option(
        help="Let the free phase end when no watched rate moves by more than this, in 1/256, from window to "
        "window.",
        min=0,
        max=255,
        show_default="never",
    ),
]
Watch = Annotated[
    Watched | None, typer.Option(help="With --early: rates that must settle.", show_default="all")
]
Seed = Annotated[
    int | None, typer.Option(help="Seed of weights and sample order.", show_default="the preset's first")
]


P = ParamSpec("P")


def panel(title: str) -> Callable[[Callable[P, Any]], Callable[P, None]]:
    """Makes commands of this part of the help: expected errors are one line and exit code 2; ``--json`` gets
    what a command returns.
    """

    def decorate(function: Callable[P, Any]) -> Callable[P, None]:
        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> None:
            from equilif import results
            from equilif_sim.tools.verilator import MissingVerilator

            try:
                found = function(*args, **kwargs)
                path = kwargs.get("json")
                if isinstance(path, Path):
                    results.write_json(
                        path,
                        {"command": function.__name__.rstrip("_"), "version": results.version(), **found},
                    )
                ok = found.get("ok", True)
            except FileNotFoundError as e:
                show.fail(f"there is no {e.filename}" if e.filename else str(e))
                raise typer.Exit(BAD_INPUT) from None
            except (ValueError, OSError, MissingExtra, results.ToolFailed, MissingVerilator) as e:
                show.fail(str(e))
                raise typer.Exit(BAD_INPUT) from None
            except KeyboardInterrupt:
                show.fail("interrupted")
                raise typer.Exit(INTERRUPTED) from None
            if not ok:
                raise typer.Exit(1)

        app.command(rich_help_panel=title)(run)
        return run

    return decorate


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        from equilif import results

        show.console.print(f"equilif {results.version()}")
        raise typer.Exit


def changed(preset: Preset, **options: Any) -> Preset:
    """The preset with the options that were given."""
    given = {name: value for name, value in options.items() if value is not None}
    phases = {f.name for f in dataclasses.fields(preset.schedule)}
    schedule = dataclasses.replace(preset.schedule, **{k: v for k, v in given.items() if k in phases})
    new = dataclasses.replace(
        preset, schedule=schedule, **{k: v for k, v in given.items() if k not in phases}
    )
    if len(new.hidden) != len(preset.hidden):  # they belong to the layers of the preset
        new = dataclasses.replace(new, rate_scales=())
    return new


def scheduled(network: Network, **options: Any) -> Network:
    """The network with the phases that were given."""
    given = {name: value for name, value in options.items() if value is not None}
    return dataclasses.replace(network, schedule=dataclasses.replace(network.schedule, **given))
