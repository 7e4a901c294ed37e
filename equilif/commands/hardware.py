"""RTL beside the golden model, and for other designs."""

from __future__ import annotations

import dataclasses
import functools
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from equilif.commands import (
    Data,
    DataArgument,
    Early,
    Folder,
    Free,
    Json,
    Seed,
    Watch,
    Window,
    changed,
    panel,
    scheduled,
)
from equilif.show import console as show

if TYPE_CHECKING:
    from equilif.data.images import DataSet
    from equilif.training.presets import Preset
    from equilif_golden.engine.config import EngineConfig
    from equilif_golden.network import Network, Weights

command = panel("Hardware")


@command
def verify(
    data: DataArgument = Data.digits,
    network: Annotated[
        Path | None, typer.Option(help="Start from this network.npz.", show_default="an untrained network")
    ] = None,
    samples: Annotated[
        int, typer.Option(help="Training samples, and at most as many test samples.", min=1)
    ] = 200,
    everything: Annotated[
        bool, typer.Option("--all", help="Every training sample once, and every test sample.")
    ] = False,
    full: Annotated[
        bool,
        typer.Option(
            "--full", help="The whole training run of the preset, all epochs, and every test sample."
        ),
    ] = False,
    lanes: Annotated[int, typer.Option(help="Lanes of the engine: 2, 4, 8, 16 or 32.")] = 4,
    board: Annotated[
        str | None, typer.Option(help="Take the engine of this board instead.", show_default="none")
    ] = None,
    eta: Annotated[float | None, typer.Option(help="Learning rate.", show_default=False)] = None,
    free: Free = None,
    window: Window = None,
    early: Early = None,
    watch: Watch = None,
    seed: Seed = None,
    folder: Folder = None,
    json: Json = None,
) -> dict[str, Any]:
    """Train on the golden model and on the RTL side by side, and compare every number.

    Verilator compiles the engine (half a minute, once for each engine).  Predictions, spike counts and
    rates are compared after every sample, all weights at checkpoints and at the end.  Exit code 1 and the
    first difference when there is one.

    Example:  [bold]equilif verify digits --samples 500 --lanes 8[/]
    """
    from equilif.hardware.verify import Plan
    from equilif.training.presets import PRESETS
    from equilif.training.train import inputs, order

    preset = changed(PRESETS[data], eta=eta)
    loaded = preset.load(folder)
    seed = preset.seeds[0] if seed is None else seed
    net, weights = _network(network, preset, loaded, seed)
    net = scheduled(net, free=free, window=window, early=early, watch=watch and watch.value)
    # without feedback it is run, not taught
    n, epochs = len(loaded.x_train), 0 if net.forward else preset.epochs if full else 1
    count = n if everything or full else min(samples, n)
    plan = Plan(
        [
            (preset.rate(e), order(seed, e, n)[:count], functools.partial(inputs, loaded, preset, seed, e))
            for e in range(epochs)
        ],
        len(loaded.x_test) if everything or full else min(samples, len(loaded.x_test)),
    )
    report = show.compare("RTL = golden", net, weights, _engine(net, lanes, board), loaded, plan)
    show.verdict(report)
    show.costs(report)
    return {"data": data, "seed": seed, "ok": report.mismatch is None, **report.to_dict()}


def _network(path: Path | None, preset: Preset, data: DataSet, seed: int) -> tuple[Network, Weights]:
    """A saved network that fits the data, or without ``path`` the untrained one of the preset."""
    from equilif_golden import network as networks

    if path is None:
        net = preset.network(data)
        return net, preset.initial_weights(net, seed)
    net, weights = networks.load(path)
    if net.n_inputs != data.n_features or net.n_outputs < data.n_classes:
        raise ValueError(
            f"{path} has {net.n_inputs} inputs and {net.n_outputs} outputs, {data.name} needs {data.n_features} and {data.n_classes}"
        )
    return net, weights


def _engine(network: Network, lanes: int, board: str | None) -> EngineConfig:
    from equilif.hardware.verify import engine_for

    if board is None:
        return engine_for(network, lanes=lanes)
    from equilif.hardware.boards import find

    return find(board).config


@command
def energy(
    data: DataArgument = Data.digits,
    network: Annotated[
        Path | None,
        typer.Option(help="A network.npz of `equilif train`.", show_default="an untrained network"),
    ] = None,
    samples: Annotated[int, typer.Option(help="Test and training samples, from the first.", min=1)] = 20,
    lanes: Annotated[int, typer.Option(help="Lanes of the engine: 2, 4, 8, 16 or 32.")] = 4,
    folder: Folder = None,
    json: Json = None,
) -> dict[str, Any]:
    """Synaptic operations, memory accesses and spikes a sample, counted by RTL and golden model, and an
    estimate of their energy.

    45 nm figures (Horowitz, ISSCC 2014) of arithmetic and memories alone: no clock, control, wires,
    leakage or link, and no FPGA.

    Example:  [bold]equilif energy digits --network results/digits/network.npz[/]
    """
    from equilif.hardware import energy as module
    from equilif.hardware.verify import engine_for
    from equilif.training.presets import PRESETS

    preset = PRESETS[data]
    loaded = preset.load(folder)
    net, weights = _network(network, preset, loaded, preset.seeds[0])
    config = dataclasses.replace(engine_for(net, lanes=lanes), counters=True)
    with show.console.status("RTL and golden model count"):
        found = module.measure(net, weights, config, loaded, samples=samples, eta=preset.eta)
    kinds = list(found)
    title = f"{data}, {net.n_weights:,} weights, {lanes} lanes, mean of {found[kinds[0]].samples} samples"
    show.console.print(
        show.table(
            title,
            ["words of P lanes a sample", *kinds],
            [
                ["cycles", *(f"{found[k].cycles:,.0f}" for k in kinds)],
                [
                    "synaptic operations (one by one)",
                    *(
                        f"{lanes * (found[k].counts['accesses'] + found[k].counts['weight_writes']):,.0f}"
                        for k in kinds
                    ),
                ],
                *(
                    [
                        name.replace("_", " ").replace("accesses", "weight reads"),
                        *(f"{found[k].counts[name]:,.0f}" for k in kinds),
                    ]
                    for name in module.COUNTS
                ),
            ],
        )
    )
    totals = {k: sum(found[k].energy.values()) for k in kinds}
    show.console.print(
        show.table(
            "\nestimated energy a sample, 45 nm",
            ["nJ", *kinds],
            [
                *(
                    [name, *(f"{found[k].energy[name] / 1000:,.1f}" for k in kinds)]
                    for name in found[kinds[0]].energy
                ),
                ["sum", *(f"{totals[k] / 1000:,.1f}" for k in kinds)],
            ],
        )
    )
    show.console.print(
        "An estimate: arithmetic and memories alone, at Horowitz's figures (ISSCC 2014); see docs/energy.md for what it leaves out."
    )
    return {
        "data": data,
        "engine": dataclasses.asdict(config),
        "network": network,
        "counts_equal": True,
        "pj_per_sample": totals,
        **{k: dataclasses.asdict(v) for k, v in found.items()},
    }


class Bus(StrEnum):
    """equilif.hardware.export.Bus, without importing Amaranth for --help."""

    axi = "axi"
    none = "none"


@command
def export(
    out: Annotated[Path, typer.Argument(help="Folder for the files.")],
    bus: Annotated[
        Bus, typer.Option(help="AXI4-Lite and AXI4-Stream around the engine, or its bare host port.")
    ] = Bus.axi,
    name: Annotated[str, typer.Option(help="Of the top module and the files.")] = "equilif",
    board: Annotated[
        str | None,
        typer.Option(
            help="Take the engine of this board; the options below then say nothing.", show_default="none"
        ),
    ] = None,
    lanes: Annotated[int, typer.Option(help="2, 4, 8, 16 or 32.")] = 4,
    tiles: Annotated[int, typer.Option(help="Of lanes x lanes weights.")] = 4096,
    value_groups: Annotated[
        int, typer.Option(help="Groups of so many neurons as there are lanes, inputs and targets included.")
    ] = 256,
    state_groups: Annotated[int, typer.Option(help="Groups of LIF neurons.")] = 128,
    program_words: Annotated[int, typer.Option(help="32-bit words of program memory.")] = 256,
    single_port: Annotated[
        bool, typer.Option("--single-port", help="Weights in single-port memories.")
    ] = False,
    weight_stages: Annotated[int, typer.Option(help="Registers around large weight memories, 0 to 2.")] = 0,
    without_memories: Annotated[
        bool, typer.Option("--without-memories", help="Leave out SOFTMAX and RELAY.")
    ] = False,
    early: Annotated[
        bool, typer.Option("--early-ends", help="Loops that end when rates have settled.")
    ] = False,
    counters: Annotated[
        bool, typer.Option("--counters", help="Count memory accesses and arithmetic of every run.")
    ] = False,
    build_id: Annotated[
        int, typer.Option(help="What the register BUILD reads.", min=0, max=(1 << 32) - 1)
    ] = 0,
    json: Json = None,
) -> dict[str, Any]:
    """Write the engine for other designs.

    Verilog, a FuseSoC core, lint waivers, a C header and its register map.

    The ports are those of equilif_hdl.link.bus.AxiEngine (or equilif_hdl.engine.engine.Engine); programs
    and weight words come from equilif_golden.engine.compiler.

    Example:  [bold]equilif export build/export --lanes 8 --tiles 1024[/]
    """
    from equilif.hardware import export as module
    from equilif_golden.engine.config import EngineConfig, Pipeline

    if board is not None:
        from equilif.hardware.boards import find

        config = find(board).config
    else:
        config = EngineConfig(
            lanes=lanes,
            tiles=tiles,
            value_groups=value_groups,
            state_groups=state_groups,
            program_words=program_words,
            pipeline=Pipeline.of(
                single_port=single_port, forwarding=not single_port, weight_stages=weight_stages
            ),
            softmax=not without_memories,
            early=early,
            counters=counters,
        )
    with show.console.status("Yosys writes Verilog"):
        files = module.export(out, config, module.Bus(bus), name=name, build_id=build_id)
    show.console.print(
        f"{config.lanes} lanes, {config.n_weights:,} weights: wrote {', '.join(f.name for f in files)} in {out}"
    )
    return {"engine": dataclasses.asdict(config), "bus": bus, "files": files}
