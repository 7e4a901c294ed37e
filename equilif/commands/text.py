"""Transformers that predict the next character of a text."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from equilif.commands import Json, panel, saved_network
from equilif.commands.options import INPUT, OUTPUT, fields_of
from equilif.show import console as show

if TYPE_CHECKING:
    from equilif.data.sets.characters import Text
    from equilif.training.backends.text import Settings

command = panel("Scale")


@dataclass(frozen=True)
class SettingOptions:
    """Settings of a run (equilif.training.backends.text.Settings); None: not given."""

    layers: Annotated[int | None, typer.Option(help="Number of layers.", show_default="2", min=1)] = None
    positions: Annotated[
        int | None, typer.Option(help="Characters of a sequence.", show_default="64", min=1)
    ] = None
    features: Annotated[
        int | None,
        typer.Option(help="Neurons per position between the layers.", show_default="64", min=1),
    ] = None
    heads: Annotated[
        int | None, typer.Option(help="Heads of the self-attention.", show_default="4", min=1)
    ] = None
    hidden: Annotated[
        int | None,
        typer.Option(help="Neurons per position inside a feed-forward layer.", show_default="256", min=1),
    ] = None
    steps: Annotated[int | None, typer.Option(help="Number of updates.", show_default="3000", min=1)] = None
    batch_size: Annotated[
        int | None, typer.Option(help="Sequences per update.", show_default="32", min=1)
    ] = None
    learning_rate: Annotated[
        float | None, typer.Option(help="Largest learning rate.", show_default="0.002")
    ] = None
    noise: Annotated[
        float | None,
        typer.Option(
            help="Standard deviation of noise on the rates in training, as spikes of few time steps have.",
            show_default="0",
            min=0,
            max=1,
        ),
    ] = None
    spike_steps: Annotated[
        int | None,
        typer.Option(
            help="Number of last updates that learn from the rates of spikes, in place of those of the "
            "equilibrium, with a learning rate that rises to a third and decays once more. An update is "
            "about eight times as slow.",
            show_default="0",
            min=0,
        ),
    ] = None
    window: Annotated[
        int | None,
        typer.Option(
            help="Time steps of a window of the spiking network, a power of two; it runs two windows more "
            "than it has layers.",
            show_default="8",
            min=1,
        ),
    ] = None
    seed: Annotated[int | None, typer.Option(help="Seed of weights and sequences.", show_default="0")] = None
    teacher: Annotated[
        Path | None,
        typer.Option(
            **saved_network(
                help="A network.npz of `equilif train-text` with as many positions on the same text, whose "
                "probabilities and features the network also learns (distillation).",
                show_default="no distillation",
            )
        ),
        INPUT,
    ] = None

    @property
    def given(self) -> dict[str, Any]:
        values = {name: value for name, value in vars(self).items() if value is not None}
        return {k: str(v.absolute()) if isinstance(v, Path) else v for k, v in values.items()}


@command
def train_text(
    texts: Annotated[
        list[Path],
        typer.Argument(metavar="TEXT...", help="Files of UTF-8 text, or folders with such files."),
        INPUT,
    ],
    pattern: Annotated[str, typer.Option(help="Names of the files to read in folders.")] = "*.txt",
    settings: Annotated[SettingOptions, fields_of(SettingOptions)] = SettingOptions(),
    out: Annotated[Path, typer.Option(help="Output folder: network.npz, text.pt."), OUTPUT] = Path(
        "results/text"
    ),
    resume: Annotated[
        bool | None,
        typer.Option(
            "--resume/--overwrite",
            help="Resume the run in --out with its settings, or replace it.",
            show_default="stop if --out holds a run",
        ),
    ] = None,
    json: Json = None,
) -> dict[str, Any]:
    """Train a transformer to predict the next character of a text, in floating point, and save the quantised
    spiking network.

    The last tenth of the characters is for validation.  The run is saved every 250 steps.

    Example:  [bold]equilif train-text book.txt --layers 1 --steps 1000[/]
    """
    from equilif.data.sets.characters import read
    from equilif.training.backends.text import Settings, TextRun
    from equilif.training.names import NETWORK, TEXT
    from equilif.training.storage.folder import RunFolder

    given = settings.given
    if resume and given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ValueError(f"a resumed run keeps its settings: leave out {options}")

    def text(settings: Settings) -> Text:
        with show.console.status("reading the text"):
            return read(texts, pattern=pattern, symbols=settings.symbols, positions=settings.positions)

    with RunFolder(out) as folder:
        folder.check(NETWORK, TEXT)
        if resume:
            folder.require_run(TEXT)
            run = TextRun.resume(out, text)
        else:
            folder.require_free(overwrite=resume is False)
            new = Settings(**given)
            run = TextRun.start(new, text(new))
            folder.clear()
        s = run.settings
        show.console.print(
            f"{len(run.text.train):,} training and {len(run.text.validation):,} validation characters, "
            f"{s.symbols} symbols; {s.layers} layers, {run.model.network.n_weights:,} weights, seed {s.seed}"
        )
        start = time.perf_counter()
        with show.bar() as progress:
            task = progress.add_task("train", total=s.steps, completed=run.step, note="")
            run.finish(
                out,
                lambda step, bits: progress.update(task, completed=step, note=f"{bits:.2f} bits"),
                lambda point: progress.console.print(
                    f"step {point.step:,}  bits per character: training {point.train:.3f}, "
                    f"validation {point.validation:.3f}"
                ),
            )
    found = run.points[-1]
    show.console.print(
        f"validation [bold]{found.validation:.3f}[/] bits per character in floating point after "
        f"{found.step:,} steps; saved {NETWORK}, {TEXT} in {show.literal(out)}"
    )
    return {
        "settings": vars(s),
        "steps": found.step,
        "seconds": time.perf_counter() - start,
        "bits_per_character": found.validation,
        "points": [vars(p) for p in run.points],
        "out": out,
        "files": [NETWORK, TEXT],
    }


@command
def generate(
    network: Annotated[
        Path,
        typer.Argument(
            **saved_network(help="A network.npz of `equilif train-text`, or the folder of a run.")
        ),
        INPUT,
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
    json: Json = None,
) -> dict[str, Any]:
    """Continue a text with a trained network, character by character.

    It sees as many characters as it has positions.

    Example:  [bold]equilif generate results/text/network.npz --prompt "def main("[/]
    """
    from equilif.data.sets.characters import normalised
    from equilif.training.backends.text import Writer
    from equilif.training.storage.folder import ATTENTION
    from equilif_golden import files

    if out is not None:
        files.check(out / ATTENTION)
    writer = Writer.load(network)
    prompt = normalised(prompt)
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
        path = plots.figure_path(out, ATTENTION)
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
