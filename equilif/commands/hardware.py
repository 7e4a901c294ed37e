"""RTL: comparison with the golden model, energy, export."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from equilif.commands import (
    AnyData,
    ChangeOptions,
    ConfigFile,
    Folder,
    OverwriteFiles,
    Seed,
    network_option,
    panel,
    resolved,
    scheduled,
)
from equilif.commands.options import CHANGES, DEFAULTS, INPUT, OUTPUT, EngineChanges, TrainedPhases, fields_of
from equilif.show import console as show
from equilif.show import hardware as show_hardware
from equilif_golden import files
from equilif_golden.lazy import lazy

with lazy():
    import equilif.hardware.driver as driver
    from equilif.hardware import boards as known_boards
    from equilif.hardware import energy as counting
    from equilif.hardware import export as exporting
    from equilif.hardware import verify as verifying
    from equilif.hardware import waves as recording
    from equilif.training import options as settings
    from equilif_golden import network as networks
    from equilif_golden.engine import compiler
    from equilif_golden.engine import config as engines

command = panel("Hardware")
LANES = 4
SAMPLES = 200
Lanes = Annotated[int | None, typer.Option(help="Engine lanes: 2, 4, 8, 16 or 32.", show_default=str(LANES))]


@dataclass(frozen=True)
class ExtentOptions:
    """Options that say how much is compared."""

    samples: Annotated[
        int | None,
        typer.Option(
            help="Number of training samples, and of test samples.", min=1, show_default=str(SAMPLES)
        ),
    ] = None
    everything: Annotated[
        bool, typer.Option("--all", help="One epoch over all training samples, and all test samples.")
    ] = False
    full: Annotated[
        bool, typer.Option("--full", help="The complete training run of the preset, and all test samples.")
    ] = False

    @property
    def samples_compared(self) -> int | None:
        """Number of training samples, and of test samples; None for all."""
        if sum((self.samples is not None, self.everything, self.full)) > 1:
            raise ValueError("--samples, --all and --full say how much is compared: give one of them")
        return None if self.everything or self.full else self.samples or SAMPLES


@dataclass(frozen=True)
class EngineChoice:
    """Options that say on which engine a network is."""

    lanes: Lanes = None
    board: Annotated[
        str | None, typer.Option(help="Use the engine of this board.", show_default="none"), INPUT
    ] = None
    sdram: Annotated[
        bool, typer.Option("--sdram", help="With --board: its engine with weights in the SDRAM.")
    ] = False

    def engine_for(self, network: networks.Network) -> engines.EngineConfig:
        """The engine of a board, or one with the given lanes that holds the network."""
        if self.board is None:
            if self.sdram:
                raise ValueError("--sdram needs a board: add --board")
            return compiler.engine_for(network, lanes=LANES if self.lanes is None else self.lanes)
        if self.lanes is not None:
            raise ValueError("--board brings its own engine: leave out --lanes")
        board = known_boards.find(self.board)
        return (board.with_sdram() if self.sdram else board).config


AnyEngine = Annotated[EngineChoice, fields_of(EngineChoice)]
ANY_ENGINE = EngineChoice()


@command
def verify(
    data: AnyData = "digits",
    network: Annotated[
        Path | None,
        network_option(
            help="Start from this network.npz, or pretrained network by name.", show_default="untrained"
        ),
        INPUT,
    ] = None,
    config: ConfigFile = None,
    extent: Annotated[ExtentOptions, fields_of(ExtentOptions)] = ExtentOptions(),
    engine: AnyEngine = ANY_ENGINE,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--learning-rate",
            "--lr",
            help="Learning rate.",
            show_default="the preset's, at most the largest of the network",
        ),
    ] = None,
    waves: Annotated[
        Path | None,
        typer.Option(
            help="Write waveforms of the first two samples (.fst, .vcd) and layouts for GTKWave and Surfer.",
            show_default="none",
            metavar="FILE",
        ),
        OUTPUT,
    ] = None,
    phases: TrainedPhases = DEFAULTS,
    seed: Seed = None,
    given: ChangeOptions = DEFAULTS,
    folder: Folder = None,
) -> dict[str, Any]:
    """Train the golden model and the RTL engine in lockstep and compare their results.

    Predictions, spike counts and rates are compared after every sample, all weights at checkpoints and at
    the end.  Exit code 1 with the first mismatch.  Verilator compiles each engine once (half a minute).

    Example:  [bold]equilif verify digits --samples 500 --lanes 8[/]  and
    [bold]equilif verify digits --samples 2 --waves waves.fst[/]
    """
    if waves is not None:
        recording.check(waves)
    samples = extent.samples_compared
    changes = settings.changes(**given, seed=seed, learning_rate=learning_rate, run=())
    request = resolved(
        data,
        changes.data_options,
        changes=changes.network,
        folder=folder,
        config=config,
        network=network,
        settings={"learning_rate": learning_rate},
    )
    loaded, preset = request.data, request.description
    seed = preset.seeds[0] if seed is None else seed
    verified = scheduled(request.network, phases)
    epochs = (preset.epochs if extent.full else 1) if verified.trainable else 0
    plan = verifying.VerificationPlan.of(preset, loaded, seed, epochs=epochs, samples=samples)
    report = show_hardware.compare(
        "RTL = golden", verified, request.weights(seed), engine.engine_for(verified), loaded, plan, waves
    )
    show_hardware.verdict(report)
    show_hardware.costs(report)
    written = [] if waves is None else recording.written(waves)
    if written:
        show.console.print(f"waves and layouts: {show.literal(', '.join(map(str, written)))}")
    found = {"data": loaded.name, "seed": seed, "ok": report.mismatch is None, **report.to_dict()}
    return {**found, "files": written}


@command
def energy(
    data: AnyData = "digits",
    network: Annotated[
        Path | None,
        network_option(
            help="A network.npz of `equilif train`, or a pretrained network by name.",
            show_default="untrained",
        ),
        INPUT,
    ] = None,
    samples: Annotated[
        int, typer.Option(help="Number of training samples, and of test samples.", min=1)
    ] = 20,
    lanes: Lanes = None,
    given: ChangeOptions = DEFAULTS,
    folder: Folder = None,
) -> dict[str, Any]:
    """Count synaptic operations, memory accesses and spikes per sample in RTL and in the golden model, and
    estimate their energy.

    45 nm figures (Horowitz, ISSCC 2014) for arithmetic and memories; excludes clock, control, wires, leakage
    and link.  Not an FPGA estimate.

    Example:  [bold]equilif energy digits --network results/digits/network.npz[/]
    """
    changes = settings.changes(**given, run=())
    request = resolved(data, changes.data_options, changes=changes.network, folder=folder, network=network)
    loaded, preset, net = request.data, request.description, request.network
    config = dataclasses.replace(EngineChoice(lanes).engine_for(net), counters=True)
    total = min(samples, len(loaded.x_test)) + min(samples, len(loaded.x_train))
    with show.counted("RTL and golden model count", total) as progress:
        found = counting.measure(
            net,
            request.weights(),
            config,
            loaded,
            samples=samples,
            learning_rate=preset.learning_rate,
            progress=progress,
        )
    totals = {kind: sum(sample.energy.values()) for kind, sample in found.items()}
    first = next(iter(found.values()))
    title = f"{loaded.name}, {net.n_weights:,} weights, {config.lanes} lanes, mean of {first.samples} samples"
    show.console.print(show.table(title, ["words of P lanes a sample", *found], _counts(found, config.lanes)))
    show.console.print(show.table("\nestimated energy a sample, 45 nm", ["nJ", *found], _nanojoules(found)))
    show.console.print(
        "An estimate: arithmetic and memories only, at Horowitz's figures (ISSCC 2014); see "
        "docs/explanation/energy.md for what it leaves out."
    )
    return {
        "data": loaded.name,
        "engine": dataclasses.asdict(config),
        "network": network,
        "counts_equal": True,
        "pj_per_sample": totals,
        **{k: dataclasses.asdict(v) for k, v in found.items()},
    }


def _counts(found: Mapping[str, counting.SampleCounts], lanes: int) -> Iterator[list[str]]:
    """Rows of what was counted, a column for each kind of sample."""
    samples = found.values()
    yield ["cycles", *(f"{s.cycles:,.0f}" for s in samples)]
    words = (s.counts["accesses"] + s.counts["weight_writes"] for s in samples)
    yield ["synaptic operations (one by one)", *(f"{lanes * n:,.0f}" for n in words)]
    for name in counting.COUNTS:
        title = name.replace("_", " ").replace("accesses", "weight reads")
        yield [title, *(f"{s.counts[name]:,.0f}" for s in samples)]


def _nanojoules(found: Mapping[str, counting.SampleCounts]) -> Iterator[list[str]]:
    """Rows of what spends energy, and their sum, a column for each kind of sample."""
    spent = [s.energy for s in found.values()]
    for name in spent[0]:
        yield [name, *(f"{pj[name] / 1000:,.1f}" for pj in spent)]
    yield ["sum", *(f"{sum(pj.values()) / 1000:,.1f}" for pj in spent)]


class Buses(StrEnum):
    """equilif.hardware.export.Bus, without importing Amaranth for --help."""

    axi = "axi"
    none = "none"


class Pipelines(StrEnum):
    """equilif_golden.engine.config.Pipeline, without importing NumPy for --help."""

    spram = "spram"
    deep = "deep"


@dataclass(frozen=True)
class SizeOptions:
    """Sizes of an engine (equilif_golden.engine.config.EngineConfig); None: its defaults."""

    lanes: Lanes = None
    tiles: Annotated[
        int | None, typer.Option(help="Capacity in tiles of lanes x lanes weights.", show_default="4096")
    ] = None
    value_groups: Annotated[
        int | None,
        typer.Option(
            help="Capacity in groups of neurons (one per lane), inputs and targets included.",
            show_default="256",
        ),
    ] = None
    state_groups: Annotated[
        int | None, typer.Option(help="Capacity in groups of LIF neurons.", show_default="128")
    ] = None
    program_words: Annotated[
        int | None, typer.Option(help="Program memory in 32-bit words.", show_default="256")
    ] = None
    pipeline: Annotated[
        Pipelines | None,
        typer.Option(
            help="Pipeline: spram for single-port weight memories, deep for all others.", show_default="deep"
        ),
    ] = None


@command
def export(
    out: Annotated[Path, typer.Argument(help="Output folder."), OUTPUT],
    bus: Annotated[
        Buses, typer.Option(help="axi: AXI4-Lite and AXI4-Stream wrapper; none: the bare host port.")
    ] = Buses.axi,
    name: Annotated[str, typer.Option(help="Name of the top module and of the files.")] = "equilif",
    board: Annotated[
        str | None, typer.Option(help="Use the engine of this board.", show_default="none"), INPUT
    ] = None,
    sizes: Annotated[SizeOptions, fields_of(SizeOptions)] = SizeOptions(),
    changes: EngineChanges = DEFAULTS,
    build_id: Annotated[
        int | None,
        typer.Option(
            help="Value of the register BUILD of the AXI wrapper.", min=0, max=(1 << 32) - 1, show_default="0"
        ),
    ] = None,
    network: Annotated[
        Path | None,
        network_option(
            help="Also write this network.npz, or pretrained network by name, for the engine "
            "(network.h, network.bin), and a C driver.",
            show_default="none",
        ),
        INPUT,
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--learning-rate",
            "--lr",
            help="Learning rate of --network; 0: inference alone.",
            min=0,
            show_default="that of its run",
        ),
    ] = None,
    overwrite: OverwriteFiles = False,
) -> dict[str, Any]:
    """Export the engine as Verilog, for use in another design.

    Writes Verilog, FuseSoC core, lint waivers, Vivado script, C header and register map.  Ports: see
    equilif_hdl.link.bus.AxiEngine (or equilif_hdl.engine.engine.Engine); equilif_golden.engine.compiler
    generates programs and weight words.

    Example:  [bold]equilif export build/export --lanes 8 --tiles 1024[/]
    """
    given = {key: value for key, value in vars(sizes).items() if value is not None} | dict(changes)
    if board is None:
        config = engines.EngineConfig(**given)
    else:
        config = known_boards.find(board).config
        if given:
            left_out = ", ".join(CHANGES.get(k, f"--{k}".replace("_", "-")) for k in given)
            raise ValueError(f"--board brings its own engine: leave out {left_out}")
    if bus is Buses.none and build_id is not None:
        raise ValueError("--build-id is read through the bus: leave it out, or take --bus axi")
    if network is None and learning_rate is not None:
        raise ValueError("--learning-rate is that of a network: give --network, or leave it out")
    try:
        compiled = None if network is None else driver.DriverNetwork.load(network, config, learning_rate)
    except compiler.CapacityError as e:
        hint = "" if board else "; give --tiles, --value-groups, --state-groups or --program-words"
        raise compiler.CapacityError(f"{e}{hint}") from None
    files.check_folder(out)
    files.require_absent(
        exporting.paths(out, exporting.Bus(bus), name, network=network is not None), overwrite
    )
    with show.console.status("Yosys writes Verilog"):
        written = exporting.export(
            out, config, exporting.Bus(bus), name=name, build_id=build_id or 0, network=compiled
        )
    show.console.print(
        f"{config.lanes} lanes, {config.n_weights:,} weights: "
        f"wrote {', '.join(f.name for f in written)} in {show.literal(out)}"
    )
    return {
        "engine": dataclasses.asdict(config),
        "bus": bus,
        "network": network,
        "out": out,
        "files": [f.name for f in written],
    }
