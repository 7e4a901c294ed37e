"""Standalone training: boards that train from their flash."""

from __future__ import annotations

import dataclasses
import time
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
from equilif.commands.options import OUTPUT
from equilif.commands.own import Label
from equilif.commands.patches import Set, changes
from equilif.show import console as show
from equilif_golden.files import RESULTS

if TYPE_CHECKING:
    from equilif.host.client import Client
    from equilif.host.store import StoredTests
    from equilif_golden.link.standalone import Registers

command = panel("Boards")

POLL_SECONDS = 2.0  #: seconds between two looks at a board, which stops for a moment each time


@command
def upload(
    data: AnyData,
    config: ConfigFile = None,
    hidden: Hidden = None,
    epochs: Epochs = None,
    patches: Set = None,
    seed: Seed = None,
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
    from equilif.host.ports import the_one
    from equilif.host.store import (
        Samples,
        Store,
        StoreError,
        TrainingJob,
        check_chip,
        require_idle,
        require_saved,
    )
    from equilif.training.history import digest
    from equilif.training.records import holds, save_network
    from equilif_golden import files
    from equilif_golden.link.standalone import FAULTS, Fault

    source = chosen(data)
    given = changes(patches, label=label, hidden=hidden, seed=seed, epochs=epochs, run=())
    found = samples_of(
        source,
        folder,
        given.own,
        config=config,
        patches=given.network,
        hidden=hidden,
        epochs=epochs,
    )
    loaded, preset = found.data, found.description
    left_out: dict[str, Any] = {
        name: 0
        for name in ("random_shift", "horizontal_flip", "token_dropout", "token_crop", "input_mask")
        if getattr(preset, name)
    }
    preset = preset.changed(order="standalone", **left_out)
    name = data if isinstance(source, str) else source.resolve().stem
    file = out or Path(RESULTS) / f"{name}-standalone.npz"
    files.changes([file])  # it is compared with the network
    files.check(file)
    network = preset.network(loaded)
    preset.check_rates(network)
    start = preset.seeds[0] if seed is None else seed
    weights = preset.initial_weights(network, start, loaded)
    about = None if loaded.identity is None else dataclasses.asdict(loaded.identity)
    if not holds(file, network, weights, about):
        require_absent([file], overwrite)
    learned = Samples(labels=loaded.y_train, x=loaded.x_train, tokens=loaded.tokens_train).first(
        samples or len(loaded.y_train)
    )
    test_samples = Samples(labels=loaded.y_test, x=loaded.x_test, tokens=loaded.tokens_test).first(
        len(loaded.y_test) if tests is None else tests
    )
    client = the_one(port, baud)
    if client.identity.flash_blocks:
        now = booted(client)
        require_idle(now)
        if not overwrite:
            require_saved(client, now)
        check_chip(client)
    job = TrainingJob(
        network=network,
        weights=weights,
        rates=[preset.rate(e) for e in range(preset.epochs)],
        samples=learned,
        tests=test_samples,
        seed=start,
        about=about,
    )
    with show.counted("prepare", len(learned.labels) + len(test_samples.labels)) as progress:
        store = Store.of_job(client.identity, job, progress)
    blocks = client.identity.flash_blocks
    stored = store.tests.n if store.tests else 0
    show.console.print(
        f"{store.n:,} of {len(loaded.y_train):,} training samples, {preset.epochs} epochs, "
        f"{stored:,} of {len(loaded.y_test):,} test samples: "
        f"{len(store.blocks)} of {blocks} blocks of the flash, {store.used:,} bytes"
    )
    for change in left_out:
        show.console.print(f"[yellow]{change} is set to 0: standalone training has no data augmentation[/]")
    with show.counted("upload", store.used) as progress:
        spared = store.upload(client, progress)
    if spared:
        show.console.print(f"{spared:,} bytes of them were in the flash already")
    save_network(file, network, weights, loaded)
    client.control_trainer(run=0, boot=1)
    now = booted(client)
    if now.fault:
        raise StoreError(f"the board does not start: {FAULTS[Fault(now.fault)]}")
    show.console.print(
        f"training started. Follow it by  equilif standalone --watch;  then save the weights: "
        f"equilif save trained.npz --like {show.literal(file)}"
    )
    return {
        "samples": store.n,
        "of": len(loaded.y_train),
        "tests": stored,
        "epochs": preset.epochs,
        "seed": start,
        "bytes": store.used,
        "spared": spared,
        "blocks": len(store.blocks),
        "left_out": list(left_out),
        "network": file,
        "sha256": digest(weights),
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
    from equilif.host.ports import the_one
    from equilif.host.store import NO_TRAINER, StoreError, require_valid

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
        now = _watch(client, now)
    found: dict[str, Any] = {}
    if test:
        found = _tested(client, now)
        now = client.registers
    show.console.print(_status(now))
    return {"ok": not now.fault, **_status_fields(now), **found}


def _tested(client: Client, now: Registers) -> dict[str, Any]:
    """Hits and spikes of the tests.  The board then goes on with what it did."""
    from equilif.host.store import StoreError, require_valid, tests_of
    from equilif_golden.link.standalone import FAULTS, Fault

    if not now.phase:
        require_valid(now)
    if now.epoch != now.epochs:  # were the test cut off, this is where it would go on
        client.control_trainer(run=0, save=1)
    _until_idle(client)
    require_valid(client.registers)
    try:
        found = _run_tests(client, tests_of(client))
    finally:
        client.control_trainer(run=now.run)
    if found.fault:
        raise StoreError(f"the board stopped in its test: {FAULTS[Fault(found.fault)]}")
    show.console.print(
        f"test accuracy {found.hits / found.seen:.2%}, {found.hits:,} of {found.seen:,} samples"
    )
    return {"tests": found.seen, "test_hits": found.hits, "test_spikes": found.spikes}


def _run_tests(client: Client, tests: StoredTests) -> Registers:
    """Run the tests; the board's registers after them.  The earlier ones are restored."""
    from equilif.host.store import answered, begin_tests, in_tests

    before = begin_tests(client, tests)
    try:
        with show.counted("test", tests.n) as progress:
            while not answered(found := client.registers):
                progress(found.seen)
                time.sleep(POLL_SECONDS)
            progress(found.seen)
    finally:
        if in_tests(client.registers):
            client.control_trainer(run=0)
            _until_idle(client)
            client.set_registers(before)
    return found


def _until_idle(client: Client) -> None:
    while client.registers.phase:
        time.sleep(POLL_SECONDS)


def booted(client: Client) -> Registers:
    """Registers of the board after it has read its flash, which overrides earlier commands."""
    from equilif_golden.link.standalone import Phase, Registers

    if not client.identity.flash_blocks:
        return Registers()
    while (now := client.registers).phase == Phase.BOOT:
        time.sleep(POLL_SECONDS)
    return now


def _watch(client: Client, now: Registers) -> Registers:
    """Show progress until the board is idle."""
    total = now.epochs * now.samples
    with show.counted("learn", total) as progress:
        while now.phase:
            done = now.epoch * now.samples + (now.seen if now.turn else 0)
            progress(min(done, total))
            time.sleep(POLL_SECONDS)
            now = client.registers
        progress(min(now.epoch * now.samples, total))
    return now


def _status_fields(now: Registers) -> dict[str, Any]:
    from equilif_golden.link.standalone import Fault, Phase

    return {
        "phase": Phase(now.phase).name.lower(),
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


def _status(now: Registers) -> str:
    from equilif.host.store import problem_of
    from equilif_golden.link.standalone import Phase

    problem = None if now.phase else problem_of(now)
    if problem:
        return f"[red]stopped: {problem}[/]"
    done = now.epoch == now.epochs
    doing = {
        Phase.IDLE: "done" if done else "stopped",
        Phase.BOOT: "starting",
        Phase.LEARN: "training",
        Phase.SAVE: "saving a checkpoint",
    }[Phase(now.phase)]
    right = f", online accuracy {now.hits / now.seen:.2%}" if now.seen else ""
    return (
        f"{doing}: {now.epoch} of {now.epochs} epochs, {now.seen:,} of {now.samples:,} samples of the "
        f"last epoch{right}"
    )
