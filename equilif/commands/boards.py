"""Boards: bitstreams, links, weights."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from equilif.commands import Baud, OnPort, network_argument, network_option, panel
from equilif.commands.options import CHANGED, DEFAULTS, INPUT, OUTPUT, EngineOptions, fields_of
from equilif.commands.training import show_displaced
from equilif.show import console as show
from equilif.show import evaluation as show_evaluation
from equilif.show import hardware as show_hardware
from equilif_golden.lazy import lazy

with lazy():
    import equilif_boards.build as builder
    from equilif import results
    from equilif.data.sets import images
    from equilif.hardware import boards as known
    from equilif.host import check as board_check
    from equilif.host import flash as flashing
    from equilif.host import ports as board_ports
    from equilif.host import simulate as simulation
    from equilif.host import transfer

command = panel("Boards")

BOARD_HELP = "Name of a board (`equilif boards` lists them), or a Python file that defines one."
BoardName = Annotated[str, typer.Argument(help=BOARD_HELP), INPUT]
OtherLanes = Annotated[
    int | None, typer.Option(help="Number of lanes; memory sizes stay.", show_default="the board's")
]
OtherWeights = Annotated[int | None, typer.Option(help="Weight capacity.", show_default="the board's")]


@command
def boards(
    network: Annotated[
        str | None,
        typer.Option(
            help="Show which boards fit this network: layer sizes such as 784-64-10, a network file or a "
            "network.npz.",
            show_default="none",
        ),
        INPUT,
    ] = None,
) -> dict[str, Any]:
    """List all boards: utilisation, f_max, capacity, links, training and inference speed.

    Example:  [bold]equilif boards --network 784-128-10[/]
    """
    rows = known.report(*(() if network is None else known.network_of(network)))
    show_hardware.boards(rows, network)
    return {"boards": rows}


@dataclass(frozen=True)
class RoutingOptions:
    """Options of place and route."""

    seed: Annotated[
        int | None, typer.Option(help="First place-and-route seed.", show_default="the board's")
    ] = None
    retries: Annotated[int, typer.Option(help="Maximum number of seeds for timing closure.", min=1)] = 8
    seeds: Annotated[
        int, typer.Option(help="Number of seeds to measure f_max with, the first one included.", min=1)
    ] = 1
    minutes: Annotated[float, typer.Option(help="Time limit per seed, in minutes.")] = 120

    @property
    def given(self) -> str:
        """Options other than their defaults, as typed."""
        usual = vars(RoutingOptions())
        return ", ".join(f"--{name}" for name, value in vars(self).items() if value != usual[name])


SDRAM_HELP = (
    "Use the SDRAM of the board: for weights that do not fit on the FPGA and embedding tables, or, with a "
    "standalone trainer, for its samples."
)


@dataclass(frozen=True)
class DesignOptions:
    """Options of a design around the engine; None: the board's."""

    standalone: Annotated[
        bool | None,
        typer.Option(
            "--standalone/--no-standalone",
            help="Include the standalone trainer: the board trains from its flash, without a host.",
            show_default="the board's",
        ),
    ] = None
    front_end: Annotated[
        str | None,
        typer.Option(
            help="Include the front end of a microphone, pdm or i2s, or of a sensor, adc, in place of the "
            "standalone trainer: the board classifies and learns words, or windows of the sensor.  With "
            "--standalone a board with a microphone keeps words in its flash.",
            show_default="none",
        ),
    ] = None
    link: Annotated[
        str | None,
        typer.Option(
            help="Host link, for boards with several (`equilif boards` lists them).",
            show_default="the board's first",
        ),
    ] = None
    clock: Annotated[
        float | None, typer.Option(help="Clock frequency in MHz.", show_default="the board's")
    ] = None
    sdram: Annotated[bool, typer.Option("--sdram", help=SDRAM_HELP)] = False


@command
def build(
    board: BoardName,
    out: Annotated[
        Path | None, typer.Option(help="Output folder.", show_default="build/BOARD"), OUTPUT
    ] = None,
    routing: Annotated[RoutingOptions, fields_of(RoutingOptions)] = RoutingOptions(),
    lanes: OtherLanes = None,
    weights: OtherWeights = None,
    options: EngineOptions = DEFAULTS,
    design: Annotated[DesignOptions, fields_of(DesignOptions)] = DesignOptions(),
    network: Annotated[
        str | None,
        typer.Option(
            help="Network that must fit: layer sizes such as 784-64-10, a network file or a network.npz.",
            show_default="none",
        ),
        INPUT,
    ] = None,
    synthesis_only: Annotated[
        bool,
        typer.Option(
            "--synthesis-only", help="Stop after synthesis and print the cells; --out: build/BOARD-synthesis."
        ),
    ] = False,
) -> dict[str, Any]:
    """Build the bitstream of a board with Yosys and nextpnr; print utilisation, f_max and samples per second.

    Before synthesis it checks tools, pins and block RAMs, and rejects a design that does not fit, with its
    resource needs.

    Example:  [bold]equilif build icebreaker[/]
    """
    if design.front_end is not None and (lanes is not None or weights is not None):
        raise ValueError("--front-end has an engine of fixed size: leave out --lanes and --weights")
    sizes = {"lanes": lanes, "weights": weights, **options}
    chosen = known.with_options(known.find(board), sizes, **vars(design))
    fitted, encoding = (None, None) if network is None else known.network_of(network)
    # without a front end a host sends the samples
    if fitted is not None and (short := known.short(chosen, fitted, encoding if design.front_end else None)):
        raise ValueError(f"{chosen.title}: {short}")
    if synthesis_only and routing.given:
        raise ValueError(f"{routing.given} is for place and route: leave it out, or --synthesis-only")
    folder = out or Path("build") / f"{chosen.name}{'-synthesis' * synthesis_only}"
    try:
        with show.console.status("") as status:
            if synthesis_only:
                steps = builder.BuildSteps(status.update)
                cells = builder.synthesise(chosen, folder, steps, only=True).as_dict()
                show_hardware.cells(cells)
                return {**cells, "out": folder}
            result = builder.build(chosen, folder, **vars(routing), progress=status.update)
    except builder.BuildError as e:
        raise results.ToolFailed(str(e)) from e
    found = {**result.as_dict(), **known.recorded_speed(chosen, fitted)}
    show_hardware.bitstream(found)
    if network is not None and "samples_per_second" not in found:
        show.console.print(f"no speed was measured for {show.literal(network)}; {known.SPEED}")
    show.console.print(show.literal(found["bitstream"]))
    return found


@command
def flash(
    board: BoardName,
    bitstream: Annotated[
        Path | None, typer.Option(help="Bitstream file.", show_default="the build in build/BOARD"), INPUT
    ] = None,
) -> dict[str, Any]:
    """Write a bitstream into the configuration flash of a board with openFPGALoader.

    One bitstream serves every network that fits the engine.

    Example:  [bold]equilif flash icebreaker[/]
    """
    chosen = known.find(board)
    path = flashing.bitstream_of(chosen) if bitstream is None else bitstream
    flashing.flash(chosen, path)
    show.console.print(f"{chosen.title} runs {show.literal(path)} from now on; see it with  equilif ports")
    return {"board": board, "bitstream": path}


@dataclass(frozen=True)
class PlayedOptions:
    """Options of a recording that goes to the pins of a simulated board, in place of a host."""

    microphone: Annotated[
        Path | None,
        typer.Option(
            help="WAV file: the bits of a PDM microphone go to the pins of the board, in place of a host.",
            show_default="none",
            metavar="FILE",
        ),
        INPUT,
    ] = None
    sensor: Annotated[
        Path | None,
        typer.Option(
            help="CSV or series file: its readings are those of the ADC at the pins of the board, in place "
            "of a host.",
            show_default="none",
            metavar="FILE",
        ),
        INPUT,
    ] = None
    network: Annotated[
        Path | None,
        network_option(
            help="With --microphone or --sensor: a network.npz that was trained with --set "
            "data.front_end=true."
        ),
        INPUT,
    ] = None
    learn: Annotated[
        int | None,
        typer.Option(
            help="With --microphone and --flash, or --sensor: learn every word or sample as this class, by "
            "its number, with the learn button.  The number of classes makes a new one of words.",
            min=0,
            max=15,
            show_default="classify",
            metavar="CLASS",
        ),
    ] = None

    @property
    def file(self) -> Path | None:
        return self.microphone if self.sensor is None else self.sensor

    @property
    def kind(self) -> str:
        """Front end of the board."""
        return "pdm" if self.sensor is None else "adc"

    def check(self, flash: Path | None, engine: bool, place: bool) -> None:
        """ValueError for options that exclude each other; ``engine``: --lanes or --weights is given,
        ``place``: --link or --udp.
        """
        if self.microphone is not None and self.sensor is not None:
            raise ValueError("--microphone and --sensor are two front ends: give one of them")
        if (self.file is None) != (self.network is None):
            raise ValueError("--network belongs to --microphone or --sensor: give both, or neither")
        option = "--microphone" if self.sensor is None else "--sensor"
        if self.file is not None and place:
            raise ValueError(f"{option} excludes --link and --udp: leave them out")
        if self.file is not None and engine:
            raise ValueError(f"{option} has an engine of fixed size: leave out --lanes and --weights")
        if self.sensor is not None and flash is not None:
            raise ValueError("--sensor excludes --flash: the front end takes the place of the trainer")
        if self.learn is not None and self.sensor is None and (self.microphone is None or flash is None):
            raise ValueError("--learn belongs to --microphone and --flash, or to --sensor: give these too")


@command
def simulate(
    board: BoardName = "icebreaker",
    lanes: OtherLanes = None,
    weights: OtherWeights = None,
    options: EngineOptions = DEFAULTS,
    baud: Annotated[
        int | None,
        typer.Option(
            help="Baud rate of the simulated UART.", show_default="the fastest: 4 clock cycles per bit"
        ),
    ] = None,
    link: Annotated[
        Path | None, typer.Option(help="Path of a symbolic link to the port.", show_default="none"), CHANGED
    ] = None,
    udp: Annotated[
        int | None,
        typer.Option(
            help="Connect by UDP at this port of this computer, on boards with Ethernet, in place of a "
            "serial port.",
            show_default="none",
            metavar="PORT",
        ),
    ] = None,
    flash: Annotated[
        Path | None,
        typer.Option(
            help="Include the standalone trainer, with this file as its flash, which survives restarts.",
            show_default="flash in memory, if the board has the trainer",
        ),
        CHANGED,
    ] = None,
    played: Annotated[PlayedOptions, fields_of(PlayedOptions)] = PlayedOptions(),
    sdram: Annotated[bool, typer.Option("--sdram", help=SDRAM_HELP)] = False,
) -> dict[str, Any]:
    """Simulate a complete board behind a serial port or a UDP port, until Ctrl-C.

    Verilator compiles the whole design, link included (a minute, once).  All commands with --port work as
    on the board, with identical results.  With --microphone or --sensor the network is loaded, the words or
    samples of the file are classified, and the simulation ends: some minutes for each second of sound, less
    than a second for a sample.  With --microphone and --flash the board starts from its flash, and keeps
    there what it learns.

    Example:  [bold]equilif simulate icebreaker --link /tmp/board[/]  and elsewhere  [bold]equilif train
    digits --port /tmp/board[/]
    """
    sizes = {"lanes": lanes, "weights": weights, **options}
    chosen = known.find(board).with_size(**sizes)
    if link is not None:
        simulation.require_free(link)
    if udp is not None:
        if link is not None:
            raise ValueError("--link names a serial port: leave it out with --udp")
        chosen = chosen.with_link("udp")
    played.check(flash, lanes is not None or weights is not None, udp is not None or link is not None)
    if played.file is not None and played.network is not None:
        chosen = simulation.with_front_end(chosen, played.kind, played.network, played.file, played.learn)
    if sdram:
        chosen = chosen.with_sdram(samples=flash is not None).with_size(**sizes)
    if flash is not None:
        chosen = chosen.with_standalone()
        simulation.require_flash(flash)
    with show.console.status("compiling the design (only the first time takes long)"):
        simulated = simulation.Simulated(chosen, baud, flash, udp)
    show.console.print(
        f"{chosen.title}, simulated: {chosen.config.lanes} lanes, {chosen.config.n_weights:,} weights, "
        f"{simulated.clock_hz / 1e6:g} MHz, {simulated.link}, build {simulated.build_id:08x}"
    )
    if played.file is not None:
        return {"board": board, **_play(simulated, played)}
    found = simulated.serve(
        link, lambda path: show.console.print(f"[bold]{show.literal(path)}[/]", soft_wrap=True)
    )
    show.console.print(f"{found['cycles']:,} cycles, {found['board_seconds']:.2f} s of a board")
    return {"board": board, **found}


def _play(simulated: simulation.Simulated, played: PlayedOptions) -> dict[str, Any]:
    """Print the answers of a simulated board to a recording."""
    assert played.file is not None and played.network is not None
    answers = []
    for answer in simulated.play(played.network, played.file, played.learn):
        show.console.print(show.literal(f"{answer['end']:.2f} s  {answer['text']}  {answer['label']}"))
        answers.append(answer)
    if played.sensor is not None and played.learn is None:
        known = [a for a in answers if a["expected"]]
        right = sum(a["label"] == a["expected"] for a in known)
        show.console.print(show_evaluation.rated(len(answers), right, len(known)))
    return {"answers": answers, "cycles": simulated.board.cycles}


@command
def ports(baud: Baud = None) -> dict[str, Any]:
    """List the serial ports of this machine and the boards connected to them.

    Example:  [bold]equilif ports[/]
    """
    found = board_ports.scan(baud)
    for f in found:
        says = (
            ", ".join(f"{k} {v}" for k, v in board_ports.summary(f.identity).items()) + f", {f.baud:,} baud"
            if f.identity
            else f.problem
        )
        show.console.print(
            f"{show.YES if f.identity else show.NO} [bold]{show.literal(f.path)}[/] "
            f"({show.literal(f.description)}): {show.literal(says)}"
        )
    if not found:
        show.console.print("no USB serial port here; equilif simulate starts a board without one")
    return {
        "ports": [
            {
                "path": f.path,
                "description": f.description,
                "baud": f.baud,
                "problem": f.problem,
                "device": board_ports.summary(f.identity) if f.identity else None,
            }
            for f in found
        ]
    }


@command
def identify(port: OnPort = None, baud: Baud = None) -> dict[str, Any]:
    """Print the identity of a board: engine configuration and build ID, with the matching local build.

    Example:  [bold]equilif identify --port /dev/ttyUSB1[/]
    """
    client = board_ports.the_one(port, baud)
    says = board_ports.summary(client.identity)
    manifest = board_ports.manifest_of(client.identity.build_id)
    show.console.print(
        show.table("", ["", "device"], [[k, f"{v:,}" if isinstance(v, int) else v] for k, v in says.items()])
    )
    show.console.print(
        f"built by {show.literal(manifest)}" if manifest else "[dim]not a build below build/[/]"
    )
    return {"device": says, "manifest": manifest}


@command
def check(
    port: OnPort = None,
    baud: Baud = None,
    samples: Annotated[
        int, typer.Option(help="Number of training samples, and of test samples.", min=1)
    ] = 100,
) -> dict[str, Any]:
    """Compare a board with the golden model on the digits, measure its speed, and print a report to share.

    A design with an SDRAM is tested first: data and address lines, retention, bursts of all lengths.

    It replaces the network in the board.  Exit code 1 when a number differs.

    Example:  [bold]equilif check --port /dev/ttyUSB1[/]
    """
    client = board_ports.the_one(port, baud)
    found = board_check.check(client, images.digits(), samples)
    device = board_ports.summary(client.identity)
    manifest = board_ports.manifest_of(client.identity.build_id)
    machine = results.machine()
    sizes = "-".join(map(str, found.sizes))
    compared = f"{found.samples:,} training and {found.samples:,} test samples of {sizes}"
    memory = str(found.memory or "")
    memory_ok = not (found.memory and found.memory.difference)
    report = {
        "board": manifest.parent.name if manifest else "not built in this folder",
        "build ID": device["build"],
        "engine": f"{device['lanes']} lanes, {device['weights']:,} weights"
        + (f", {device['external weights']:,} external ones" if found.memory else ""),
        "link": f"{client.port.baudrate:,} baud" if hasattr(client.port, "baudrate") else "UDP",
        **({"memory": memory} if memory else {}),
        "result": f"DIFFERENT: {found.difference}" if found.difference else f"equal: {compared}",
        "training": f"{found.training_rate:,.0f} samples/s through the link",
        "inference": f"{found.inference_rate:,.0f} samples/s through the link",
        "software": f"equilif {machine['equilif']}, Python {machine['python']}, {machine['system']}",
    }
    if memory:
        show.console.print(f"{show.mark(memory_ok)} {memory}")
    if memory_ok:
        show.console.print(f"{show.mark(not found.difference)} {compared}")
    show.console.print("Report, to paste into an issue:\n", style="dim")
    for name, text in report.items():
        show.console.print(f"- {name}: {show.literal(text)}", soft_wrap=True)
    return {
        "ok": not found.difference,
        "check": dataclasses.asdict(found),
        "device": device,
        "report": report,
    }


@command
def save(
    out: Annotated[Path, typer.Argument(help="Output file (network.npz)."), OUTPUT],
    like: Annotated[
        Path,
        network_option(
            help="A network.npz of the same structure, or a pretrained network by name; it supplies what "
            "a board does not hold (topology, embedding table)."
        ),
        INPUT,
    ],
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Weights that the C driver of `equilif export` saved (`struct equilif_state`, weights), in "
            "place of a board's.",
            show_default="none",
        ),
        INPUT,
    ] = None,
    port: OnPort = None,
    baud: Baud = None,
) -> dict[str, Any]:
    """Read the weights of a board, or those that the C driver saved, into a network.npz.

    --like must be the uploaded or exported network and data.  A board on which nothing was uploaded does not
    hold the identity of its network: --like gives it, which the file records.

    Example:  [bold]equilif save trained.npz --like results/digits/network.npz[/]
    """
    if weights is not None and (port is not None or baud is not None):
        raise ValueError("--weights are those of the C driver: leave out --port and --baud")
    with show.console.status("the weights are read"):
        found = transfer.save(out, like, weights or functools.partial(board_ports.the_one, port, baud))
    show.console.print(f"{found.n:,} weights in {show.literal(out)}, SHA-256 {found.sha256[:16]}")
    for note in (found.problem, found.origin):
        if note is not None:
            show.console.print(f"[yellow]{show.literal(note)}[/]")
    if found.n_table:
        show.console.print(
            f"{found.n_table:,} of them, the embedding table, are those of {show.literal(like)}"
        )
    return {
        "network": out,
        "weights": found.n,
        "sha256": found.sha256,
        "identity": "checked" if found.origin is None else "given",
    }


@command
def restore(
    network: Annotated[
        Path,
        network_argument(
            help="A network.npz of `equilif train` or `equilif save`, or a pretrained network by name."
        ),
        INPUT,
    ],
    flash: Annotated[
        bool,
        typer.Option(
            "--flash",
            help="Write it to the flash of a board with front end and standalone trainer, with stored words "
            "of its training data: the board starts with it and keeps what it learns.",
        ),
    ] = False,
    new_classes: Annotated[
        int | None,
        typer.Option(help="With --flash: number of unused outputs.", min=0, max=50, show_default="1"),
    ] = None,
    keep: Annotated[
        int,
        typer.Option(
            help="With --flash: room for learned words, a multiple of 16.  Later lessons replay them.",
            min=0,
            max=4080,
        ),
    ] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help="With --flash: file for the network with its unused outputs, for `equilif save --like`.",
            show_default="board.npz",
        ),
        CHANGED,
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="With --flash: replace what the board has learned, and --out.")
    ] = False,
    port: OnPort = None,
    baud: Baud = None,
) -> dict[str, Any]:
    """Load a network into a board: program, constants, weights.

    Example:  [bold]equilif restore results/digits/network.npz[/]
    """
    board = functools.partial(board_ports.the_one, port, baud)
    if flash:
        file = out or Path("board.npz")
        with show.counted("write") as progress:
            stored = transfer.restore_to_flash(
                board,
                network,
                file,
                new_classes=new_classes,
                kept=keep,
                overwrite=overwrite,
                progress=progress,
            )
        show.console.print(
            f"the board hears {stored['classes']} classes from power-on; {stored['new_classes']} more can be "
            f"learned, with {stored['stored']:,} of {stored['of']:,} stored words for replay and room for "
            f"{stored['kept']:,} learned ones; the network is in {show.literal(file)}"
        )
        return {"network": file, **stored}
    if new_classes is not None or keep or out is not None or overwrite:
        raise ValueError("--new-classes, --keep, --out and --overwrite belong to --flash: give it too")
    with show.console.status("the weights are written to the board"):
        found = transfer.restore(board, network)
    show_displaced(found.displaced)
    show.console.print(
        f"{found.held:,} weights of {show.literal(network)} are in the board, SHA-256 {found.sha256[:16]}"
    )
    if found.live:
        show.console.print("the table of the live controller is in the board, too")
    if found.n_table:
        show.console.print(f"the embedding table, {found.n_table:,} weights, stays with the host")
    return {"network": network, "weights": found.held, "sha256": found.sha256}
