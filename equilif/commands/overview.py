"""All of it in one command, and what it runs on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from equilif.commands import Data, Json, Overwrite, Seed, panel
from equilif.show import console as show

command = panel("Overview")


@command
def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything that comes out.")] = Path("results"),
    epochs: Annotated[
        int | None, typer.Option(help="Epochs of training.", min=1, show_default="the preset's")
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            help="Training samples to run in RTL, from the first.", min=1, show_default="the whole run"
        ),
    ] = None,
    board: Annotated[str, typer.Option(help="Board whose engine is simulated and built.")] = "icebreaker",
    skip_bitstream: Annotated[bool, typer.Option("--skip-bitstream", help="No Yosys and nextpnr.")] = False,
    seed: Seed = None,
    overwrite: Overwrite = False,
    json: Json = None,
) -> dict[str, Any]:
    """Everything at once, in a few minutes: train on the golden model, train the RTL to the same bits, build
    the bitstream.

    Writes results.json, network.npz, history.json, the pictures and the bitstream.  Exit code 0 only if
    all of it was done and equal.  What an earlier demo wrote into --out is replaced; another run that is
    there stays unless --overwrite is given.

    Example:  [bold]equilif demo --out results[/]
    """
    from equilif.demo import Demo
    from equilif.training.presets import PRESETS

    preset = PRESETS[Data.digits].changed(epochs=epochs)
    return Demo(
        preset,
        preset.seeds[0] if seed is None else seed,
        out,
        board=board,
        samples=samples,
        bitstream=not skip_bitstream,
        overwrite=overwrite,
    ).run()


@command
def info(json: Json = None) -> dict[str, Any]:
    """Versions of the tools found, and the engine of every board: put this into bug reports.

    Example:  [bold]equilif info --json info.json[/]
    """
    from equilif import info as module

    found = module.collect()
    show.console.print(", ".join(f"{k} {v}" for k, v in found["machine"].items()))
    missing = Text("missing", "yellow")
    show.console.print(
        show.table(
            "\ntools",
            ["", "version", "needed for"],
            [[n, v or missing, module.TOOLS[n][1]] for n, v in found["tools"].items()],
            left=3,
        )
    )
    show.console.print(
        show.table(
            "\npackages", ["", "version"], [[n, v or missing] for n, v in found["packages"].items()], left=2
        )
    )
    columns = ("lanes", "tiles", "value_groups", "state_groups", "program_words", "pipeline")
    show.console.print(
        show.table(
            "\nengines of the boards",
            ["board", "MHz", *(c.replace("_", " ") for c in columns)],
            [
                [n, f"{b['clock_hz'] / 1e6:g}", *(str(b["engine"][c]) for c in columns)]
                for n, b in found["boards"].items()
            ],
        )
    )
    return found
