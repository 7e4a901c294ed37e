"""Standalone training: boards that train from their flash."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from equilif.commands import (
    AnyData,
    Baud,
    ConfigFile,
    Epochs,
    Folder,
    Hidden,
    Json,
    OnPort,
    Overwrite,
    Seed,
    panel,
    require_absent,
    samples_of,
)
from equilif.commands.options import OUTPUT, fields_of
from equilif.commands.own import Label
from equilif.commands.patches import Set, changes
from equilif.show import console as show
from equilif_golden.files import RESULTS

if TYPE_CHECKING:
    from equilif_golden.link.standalone import TrainerRegisters

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
        int | None,
        typer.Option(help="First N training samples.", min=1, show_default="as many as fit"),
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
        OUTPUT,
    ] = None,
    overwrite: Overwrite = False,
    port: OnPort = None,
    baud: Baud = None,
    json: Json = None,
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
    from equilif.data.own import chosen
    from equilif.host import standalone as trainer
    from equilif.host.ports import the_one
    from equilif.host.store import FlashStore
    from equilif.training.storage.history import digest
    from equilif.training.storage.records import holds, save_network
    from equilif_golden import files

    source = chosen(data)
    training: dict[str, Any] = {"hidden": options.hidden, "epochs": options.epochs}
    given = changes(options.patches, label=label, seed=options.seed, run=(), **training)
    found = samples_of(
        source, folder, given.data_options, config=options.config, patches=given.network, **training
    )
    loaded = found.data
    name = data if isinstance(source, str) else source.resolve().stem
    file = out or Path(RESULTS) / f"{name}-standalone.npz"
    files.changes([file])  # it is compared with the network
    files.check(file)
    description, left_out = trainer.without_augmentation(found.description)
    job = trainer.job_of(loaded, description, seed=options.seed, samples=samples, tests=tests)
    if not holds(file, job.network, job.weights, job.about):
        require_absent([file], overwrite)
    client = the_one(port, baud)
    if client.identity.flash_blocks:
        trainer.require_replaceable(client, overwrite)
    with show.counted("prepare", job.total) as progress:
        store = FlashStore.of_job(client.identity, job, progress)
    stored = store.tests.n if store.tests else 0
    show.console.print(
        f"{store.n:,} of {len(loaded.y_train):,} training samples, {description.epochs} epochs, "
        f"{stored:,} of {len(loaded.y_test):,} test samples: "
        f"{len(store.blocks)} of {client.identity.flash_blocks} blocks of the flash, {store.size:,} bytes"
    )
    for change in left_out:
        show.console.print(f"[yellow]{change} is set to 0: standalone training has no data augmentation[/]")
    with show.counted("upload", store.size) as progress:
        spared = store.upload(client, progress)
    if spared:
        show.console.print(f"{spared:,} bytes of them were in the flash already")
    save_network(file, job.network, job.weights, loaded)
    trainer.reboot(client)
    show.console.print(
        f"training started. Follow it by  equilif standalone --watch;  then save the weights: "
        f"equilif save trained.npz --like {show.literal(file)}"
    )
    return {
        "samples": store.n,
        "of": len(loaded.y_train),
        "tests": stored,
        "epochs": description.epochs,
        "seed": job.seed,
        "bytes": store.size,
        "spared": spared,
        "blocks": len(store.blocks),
        "left_out": left_out,
        "network": file,
        "sha256": digest(job.weights),
    }


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
    json: Json = None,
) -> dict[str, Any]:
    """Show and control standalone training: epoch, samples, online accuracy.

    Example:  [bold]equilif standalone --watch[/]
    """
    from equilif.host.journal import StoreError, require_valid
    from equilif.host.ports import the_one
    from equilif.host.standalone import booted, run_tests
    from equilif.host.standalone import watch as watched
    from equilif.host.store import NO_TRAINER

    if start + stop + boot > 1:
        raise ValueError("--start, --stop and --boot exclude each other: give one of them")
    client = the_one(port, baud)
    if not client.identity.flash_blocks:
        raise StoreError(NO_TRAINER)
    now = booted(client)
    if (start or checkpoint or test) and not now.phase and not boot:
        require_valid(now)
    run = 1 if start else 0 if stop else now.run
    if start or stop or checkpoint or boot:
        client.control_trainer(run=run, save=checkpoint, boot=boot)
        now = booted(client)
    if watch:
        with show.counted("learn", now.epochs * now.samples) as progress:
            now = watched(client, progress)
    found: dict[str, Any] = {}
    if test:
        with show.bar() as bar:
            task = bar.add_task("test", total=None, note="")
            tests = run_tests(client, lambda done, total: bar.update(task, completed=done, total=total))
        show.console.print(
            f"test accuracy {tests.hits / tests.seen:.2%}, {tests.hits:,} of {tests.seen:,} samples"
        )
        found = {"tests": tests.seen, "test_hits": tests.hits, "test_spikes": tests.spikes}
        now = client.registers
    show.console.print(_status(now))
    return {"ok": not now.fault, **_status_fields(now), **found}


def _status_fields(now: TrainerRegisters) -> dict[str, Any]:
    from equilif_golden.link.standalone import Fault, TrainerPhase

    return {
        "phase": TrainerPhase(now.phase).name.lower(),
        "fault": Fault(now.fault).name.lower() if now.fault else None,
        "run": bool(now.run),
        "valid": bool(now.valid),
        "epoch": now.epoch,
        "epochs": now.epochs,
        "seen": now.seen,
        "samples": now.samples,
        "hits": now.hits,
        "spikes": now.spikes,
        "checkpoint": now.generation,
        "flash": f"{now.chip:06x}",
    }


def _status(now: TrainerRegisters) -> str:
    from equilif.host.journal import problem_of
    from equilif_golden.link.standalone import TrainerPhase

    problem = None if now.phase else problem_of(now)
    if problem:
        return f"[red]stopped: {problem}[/]"
    done = now.epoch == now.epochs
    doing = {
        TrainerPhase.IDLE: "done" if done else "stopped",
        TrainerPhase.BOOT: "starting",
        TrainerPhase.LEARN: "training",
        TrainerPhase.SAVE: "saving a checkpoint",
    }[TrainerPhase(now.phase)]
    right = f", online accuracy {now.hits / now.seen:.2%}" if now.seen else ""
    return (
        f"{doing}: {now.epoch} of {now.epochs} epochs, {now.seen:,} of {now.samples:,} samples of the "
        f"last epoch{right}"
    )
