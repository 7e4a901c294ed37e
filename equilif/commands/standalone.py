"""Standalone training: boards that train from their flash."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from equilif.commands import (
    AnyData,
    Baud,
    ConfigFile,
    Epochs,
    Folder,
    Hidden,
    Label,
    OnPort,
    Seed,
    Set,
    panel,
    resolved,
)
from equilif.commands.options import CHANGED, fields_of
from equilif.commands.training import out_folder
from equilif.show import console as show
from equilif_golden.lazy import lazy

with lazy():
    import equilif.data.own as own_data
    from equilif.host import journal, ports
    from equilif.host import standalone as trainer
    from equilif.training import options as settings
    from equilif_golden.link import standalone as link

command = panel("Boards")


@dataclass(frozen=True)
class NetworkOptions:
    """Options of a network and its training."""

    config: ConfigFile = None
    hidden: Hidden = None
    epochs: Epochs = None
    patches: Set = None
    seed: Seed = None


@command
def upload(
    data: AnyData,
    options: Annotated[NetworkOptions, fields_of(NetworkOptions)] = NetworkOptions(),
    samples: Annotated[
        int | None, typer.Option(help="First N training samples.", min=1, show_default="as many as fit")
    ] = None,
    tests: Annotated[
        int | None,
        typer.Option(
            help="First N test samples, for `equilif standalone --test`.",
            min=0,
            show_default="as many as fit",
        ),
    ] = None,
    label: Label = None,
    folder: Folder = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File for the initial network, for `equilif save --like`.",
            show_default="results/<data set>-standalone.npz",
        ),
        CHANGED,
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace --out, and what the board has learned and nobody saved."),
    ] = False,
    port: OnPort = None,
    baud: Baud = None,
) -> dict[str, Any]:
    """Write a data set and a network into the flash of a board and start standalone training.

    The board needs the standalone trainer: `equilif boards` lists those that have it, `equilif simulate
    --flash FILE` simulates one.  Training survives a power cycle; afterwards the board classifies without a
    host.  Blocks that are already in the flash are not written again, so an interrupted upload continues
    where it stopped.

    If all samples fit, `equilif train` with the same options and --set learning.order=standalone gives
    bit-identical results.  Standalone training has no data augmentation: set learning.random_shift,
    horizontal_flip, token_dropout, token_crop and input_mask to 0 there.

    Example:  [bold]equilif upload digits --port /dev/ttyUSB1[/]  then  [bold]equilif standalone --watch[/]
    """
    source = own_data.chosen(data)
    training: dict[str, Any] = {"hidden": options.hidden, "epochs": options.epochs}
    given = settings.changes(options.patches, label=label, seed=options.seed, run=(), **training)
    found = resolved(
        source,
        given.data_options,
        folder=folder,
        config=options.config,
        changes=given.network,
        hidden=options.hidden or None,
        settings={"epochs": options.epochs},
    )
    file = out or out_folder(source, suffix="-standalone.npz")
    with show.counted("prepare") as progress:
        upload = trainer.Upload.prepare(
            functools.partial(ports.the_one, port, baud),
            file,
            found.data,
            found.description,
            seed=options.seed,
            samples=samples,
            tests=tests,
            overwrite=overwrite,
            progress=progress,
        )
    about = upload.to_dict()
    show.console.print(
        f"{about['samples']:,} of {about['of']:,} training samples, {about['epochs']} epochs, "
        f"{upload.tests:,} of {len(found.data.y_test):,} test samples: {about['blocks']} of "
        f"{upload.client.identity.flash_blocks} blocks of the flash, {about['bytes']:,} bytes"
    )
    for change in upload.left_out:
        show.console.print(f"[yellow]{change} is set to 0: standalone training has no data augmentation[/]")
    with show.counted("upload") as progress:
        spared = upload.start(progress)
    if spared:
        show.console.print(f"{spared:,} bytes of them were in the flash already")
    show.console.print(
        f"training started. Follow it by  equilif standalone --watch;  then save the weights: "
        f"equilif save trained.npz --like {show.literal(file)}"
    )
    return {**about, "spared": spared}


@command
def standalone(
    start: Annotated[bool, typer.Option("--start", help="Continue training.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop training after the current sample.")] = False,
    checkpoint: Annotated[
        bool, typer.Option("--checkpoint", help="Save the weights to the flash now.")
    ] = False,
    boot: Annotated[
        bool, typer.Option("--boot", help="Reload the last checkpoint from the flash, as at power-up.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show progress until training ends.")] = False,
    test: Annotated[
        bool,
        typer.Option(
            "--test",
            help="Classify the uploaded test samples; training pauses with a checkpoint, then continues.",
        ),
    ] = False,
    port: OnPort = None,
    baud: Baud = None,
) -> dict[str, Any]:
    """Show and control standalone training: epoch, samples, online accuracy.

    Example:  [bold]equilif standalone --watch[/]
    """
    if start + stop + boot > 1:
        raise ValueError("--start, --stop and --boot exclude each other: give one of them")
    client = ports.the_one(port, baud)
    now = trainer.control(client, start=start, stop=stop, checkpoint=checkpoint, boot=boot, test=test)
    if watch:
        with show.counted("learn", now.epochs * now.samples) as progress:
            now = trainer.watch(client, progress)
    found: dict[str, Any] = {}
    if test:
        with show.counted("test") as progress:
            tests = trainer.run_tests(client, progress)
        show.console.print(
            f"test accuracy {tests.hits / tests.seen:.2%}, {tests.hits:,} of {tests.seen:,} samples"
        )
        found = {"tests": tests.seen, "test_hits": tests.hits, "test_spikes": tests.spikes}
        now = client.registers
    show.console.print(_status(now))
    return {"ok": not now.fault, **trainer.status(now), **found}


def _status(now: link.TrainerRegisters) -> str:
    problem = None if now.phase else journal.problem_of(now)
    if problem:
        return f"[red]stopped: {problem}[/]"
    done = now.epoch == now.epochs
    doing = {
        link.TrainerPhase.IDLE: "done" if done else "stopped",
        link.TrainerPhase.BOOT: "starting",
        link.TrainerPhase.LEARN: "training",
        link.TrainerPhase.SAVE: "saving a checkpoint",
    }[link.TrainerPhase(now.phase)]
    right = f", online accuracy {now.hits / now.seen:.2%}" if now.seen else ""
    return (
        f"{doing}: {now.epoch} of {now.epochs} epochs, {now.seen:,} of {now.samples:,} samples of the "
        f"last epoch{right}"
    )
