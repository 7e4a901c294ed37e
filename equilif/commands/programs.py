"""Program listings."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from equilif.commands import network_argument, panel
from equilif.commands.hardware import ANY_ENGINE, AnyEngine
from equilif.commands.options import INPUT
from equilif.show import console as show
from equilif_golden.lazy import lazy

with lazy():
    from equilif.training.settings import netfile
    from equilif_golden.engine import compiler, isa, listing

command = panel("Hardware")


@command
def program(
    network: Annotated[
        Path, network_argument(help="Network file, network.npz, or pretrained network by name."), INPUT
    ],
    engine: AnyEngine = ANY_ENGINE,
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", "--lr", help="Learning rate; 0: no LEARN instructions.", min=0)
    ] = 0.0,
) -> dict[str, Any]:
    """List the engine program of a network, one instruction per line.

    A line has index, instruction, populations and parameters; loops are indented.  The instructions are
    documented in docs/reference/instructions.md.  Without --board the engine has --lanes lanes and the
    smallest memories that hold the network.

    Example:  [bold]equilif program results/digits/network.npz --board icebreaker --learning-rate 0.05[/]
    """
    net = netfile.network_of(network)
    config = engine.engine_for(net)
    compiled = compiler.Compiled(net, config)
    instructions = compiled.program(learning_rate)
    words = isa.WORDS * len(instructions)
    # a program without LEARN has only the free phase to run for
    runs = {"inference": False, "training": True} if learning_rate else {"inference": False}
    counts = {kind: listing.carried_out(instructions, config, learn=learn) for kind, learn in runs.items()}
    most = "" if net.schedule.fixed else "at most "
    show.console.print(listing.listing(instructions, compiled), markup=False, soft_wrap=True)
    show.console.print(
        f"\n{len(instructions)} instructions, {words} of {config.program_words} program words, "
        f"for {config.lanes} lanes"
    )
    for kind, n in counts.items():
        show.console.print(f"{kind}: {most}{n:,} instructions are carried out")
    return {
        "network": network,
        "engine": dataclasses.asdict(config),
        "learning_rate": learning_rate,
        "words": words,
        "carried_out": counts,
        "instructions": listing.records(instructions, compiled),
    }
