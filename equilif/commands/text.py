"""Transformers that predict the next character of a text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from equilif.commands import ConfigFile, Resume, Set, network_argument, panel
from equilif.commands.options import DEFAULTS, INPUT, OUTPUT, Given, OptionGroup
from equilif.commands.training import run_job
from equilif.show import console as show
from equilif_golden import files
from equilif_golden.lazy import execute, lazy

with lazy():
    from equilif.data.sets import characters
    from equilif.training import job as jobs
    from equilif.training import options as settings
    from equilif.training import resolve, run
    from equilif.training.backends import text as backend
    from equilif.training.storage import folder

command = panel("Scale")
#: sizes of a transformer: meaning, default and maximum
SIZES = {
    "layers": ("Number of layers.", 2, 64),
    "positions": ("Characters of a sequence.", 64, 1024),
    "features": ("Neurons per position between the layers.", 64, 4096),
    "heads": ("Heads of the self-attention.", 4, 4096),
    "hidden": ("Neurons per position inside a feed-forward layer.", 256, 1 << 14),
    "window": (
        "Time steps of a window of spikes, a power of two; there are two windows more than layers.",
        8,
        128,
    ),
}
Sizes = Annotated[
    Given,
    OptionGroup(
        {
            name: Annotated[int | None, typer.Option(help=text, show_default=str(default), min=1, max=most)]
            for name, (text, default, most) in SIZES.items()
        }
    ),
]


@command
def train_text(
    texts: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="TEXT...",
            help="Files of UTF-8 text, or folders with such files.",
            show_default="with --resume those of the run",
        ),
        INPUT,
    ] = None,
    pattern: Annotated[
        str | None, typer.Option(help="Names of the files to read in folders.", show_default="*.txt")
    ] = None,
    config: ConfigFile = None,
    sizes: Sizes = DEFAULTS,
    epochs: Annotated[
        int | None, typer.Option(help="Number of epochs of text.steps (250) updates.", show_default="12")
    ] = None,
    patches: Set = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the weights and the sequences.", show_default="0")
    ] = None,
    out: Annotated[Path, typer.Option(help="Output folder."), OUTPUT] = Path("results/text"),
    resume: Resume = None,
) -> dict[str, Any]:
    """Train a transformer to predict the next character of a text, in floating point, and save the quantised
    spiking network.

    The last tenth of the characters is for validation.  --set changes a setting, e.g. text.noise=0.05
    (`equilif init --keys` lists them); --config replaces the transformer by a network file.  The run is saved
    after every epoch.

    Example:  [bold]equilif train-text book.txt --layers 1 --epochs 4[/]
    """
    given = settings.changes(patches, label=None, epochs=epochs, data=(), run=())
    execute(backend)  # a missing package is said before anything is read

    def start(make: Callable[..., Any]) -> list[run.Run]:
        if not texts:
            raise ValueError("give the files of the text, or --resume")
        text, description = resolve.resolve_text(
            texts, pattern=pattern, config=config, shape=sizes, changes=given.network, epochs=epochs
        )
        teacher = description.require_text().teacher
        if teacher and Path(teacher).resolve().parent == out.resolve():
            raise ValueError(f"the teacher is the run in {out}, which this one replaces: give another --out")
        return [run.Run.start(description, text, seed)]

    job = jobs.Job(
        "train-text",
        out,
        start,
        source=texts or None,
        epochs=epochs,
        resume=resume,
        fixed={"pattern": pattern, "config": config, **sizes, "seed": seed, **given.fixed},
    )
    return run_job(job, given.run)


@command
def generate(
    network: Annotated[
        Path, network_argument(help="A network.npz of `equilif train-text`, or the folder of a run."), INPUT
    ],
    prompt: Annotated[str, typer.Option(help="Text to continue.")] = "\n",
    length: Annotated[int, typer.Option(help="Number of characters to generate.", min=1)] = 200,
    temperature: Annotated[
        float, typer.Option(help="Probabilities are raised to 1 / temperature; 0 takes the largest.", min=0)
    ] = 0.7,
    spikes: Annotated[
        bool,
        typer.Option("--spikes", help="Run the integer spiking network, not its rates in floating point."),
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the drawn characters.", min=0)] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for a figure of the attention of every layer and head to the prompt.",
            show_default="no figure",
        ),
        OUTPUT,
    ] = None,
) -> dict[str, Any]:
    """Continue a text with a trained network, character by character.

    It sees as many characters as it has positions.

    Example:  [bold]equilif generate results/text/network.npz --prompt "def main("[/]
    """
    if out is not None:
        files.check(out / folder.ATTENTION)
    writer = backend.Writer.load(network)
    prompt = characters.normalised(prompt)
    for note in writer.notes(prompt):
        show.console.print(f"[yellow]{show.literal(note)}[/]")
    text = ""
    with show.counted("generate", length) as progress:
        for character in writer.generate(prompt, length, temperature=temperature, seed=seed, spikes=spikes):
            text += character
            progress(len(text))
    lines = [show.literal(line) for line in f"{prompt}{text}".split("\n")]
    show.console.print("\n".join(lines))
    plotted = []
    if out is not None and (plots := show.plots_for("figure")) is not None:
        path = plots.figure_path(out, folder.ATTENTION)
        plots.self_attention(writer.attention(prompt), prompt[-writer.positions :], path)
        plotted.append(path.name)
        show.console.print(f"saved {path.name} in {show.literal(out)}")
    return {
        "network": network,
        "prompt": prompt,
        "text": text,
        "spikes": spikes,
        **({} if out is None else {"out": out}),
        "files": plotted,
    }
