"""Boards: their bitstreams, and what is said to them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from equilif.commands import Baud, Json, OnPort, panel
from equilif.commands.options import DEFAULTS, EngineOptions
from equilif.show import console as show
from equilif.show import hardware as show_hardware

if TYPE_CHECKING:
    from equilif.host.client import Client

command = panel("Boards")

#: learning rate of the program of a restored network
RESTORED_RATE = 0.01
BOARD_HELP = "Name of the board, `equilif boards` lists them; or a Python file that makes one of your own."
BoardName = Annotated[str, typer.Argument(help=BOARD_HELP)]
OtherLanes = Annotated[
    int | None,
    typer.Option(help="Another number of lanes, the memories staying as large.", show_default=False),
]
OtherWeights = Annotated[int | None, typer.Option(help="Another capacity of weights.", show_default=False)]


@command
def boards(
    network: Annotated[
        str | None,
        typer.Option(
            help="Sizes of a chain, for example 784-64-10, or a net.toml or network.npz: which boards hold "
            "it?",
            show_default=False,
        ),
    ] = None,
    json: Json = None,
) -> dict[str, Any]:
    """All boards: what their builds came to, what fits them, samples a second.

    Example:  [bold]equilif boards --network 784-128-10[/]
    """
    from equilif.hardware.boards import network_of, report

    rows = report(None if network is None else network_of(network))
    show_hardware.boards(rows, network)
    return {"boards": rows}


@command
def build(
    board: BoardName,
    out: Annotated[Path | None, typer.Option(help="Folder of the build.", show_default="build/BOARD")] = None,
    seed: Annotated[
        int | None, typer.Option(help="First seed of place and route.", show_default="the board's")
    ] = None,
    retries: Annotated[int, typer.Option(help="Seeds to try until the clock is met.", min=1)] = 8,
    minutes: Annotated[float, typer.Option(help="Minutes that a seed may take.")] = 120,
    lanes: OtherLanes = None,
    weights: OtherWeights = None,
    options: EngineOptions = DEFAULTS,
    standalone: Annotated[
        bool,
        typer.Option(
            "--standalone",
            help="Include the standalone trainer: the board trains from its flash, without a host.",
        ),
    ] = False,
    link: Annotated[
        str | None,
        typer.Option(
            help="Way to the host, where the board has several; equilif boards lists them.",
            show_default="the first of the board",
        ),
    ] = None,
    clock: Annotated[float | None, typer.Option(help="MHz.", show_default="the board's")] = None,
    network: Annotated[
        str | None,
        typer.Option(
            help="Sizes of a chain that is to fit, for example 784-64-10, or a net.toml or network.npz; "
            "refused before anything is built when it does not.",
            show_default=False,
        ),
    ] = None,
    json: Json = None,
) -> dict[str, Any]:
    """Build the bitstream of a board with Yosys and nextpnr, and print utilisation, f_max and samples a
    second.

    An engine that a device cannot hold is refused before synthesis, with what it would need.

    Example:  [bold]equilif build icebreaker[/]
    """
    from equilif.hardware import boards as known
    from equilif.results import ToolFailed

    chosen = known.find(board).resized(lanes=lanes, weights=weights, **options)
    if standalone:
        chosen = chosen.with_standalone()
    if link is not None:
        chosen = chosen.with_link(link)
    if clock is not None:
        chosen = chosen.clocked(clock)
    if network is not None and (short := known.short(chosen, known.network_of(network))):
        raise ValueError(f"{chosen.title}: {short}")
    from equilif_boards.build import BuildError
    from equilif_boards.build import build as run

    try:
        with show.console.status("") as status:
            result = run(
                chosen,
                out or Path("build") / chosen.name,
                seed=seed,
                retries=retries,
                minutes=minutes,
                progress=status.update,
            )
    except BuildError as e:
        raise ToolFailed(str(e)) from e
    found = result.as_dict()
    entry = known.measured().get(chosen.name)
    if entry and known.same_engine(chosen, entry["config"]):
        found |= {
            "network": "-".join(map(str, chosen.network)),
            "samples_per_second": known.speed(chosen, entry),
        }
    show_hardware.bitstream(found)
    show.console.print(show.literal(found["bitstream"]))
    return found


@command
def flash(
    board: BoardName,
    bitstream: Annotated[
        Path | None,
        typer.Option(help="The bitstream.", show_default="what `equilif build` left in build/BOARD"),
    ] = None,
    json: Json = None,
) -> dict[str, Any]:
    """Program the configuration flash of a board with openFPGALoader: once, whatever it is to learn.

    Example:  [bold]equilif flash icebreaker[/]
    """
    from equilif.hardware.boards import find
    from equilif.host import flash as module

    chosen = find(board)
    path = module.bitstream_of(chosen) if bitstream is None else bitstream
    module.flash(chosen, path)
    show.console.print(f"{chosen.title} runs {show.literal(path)} from now on; see it with  equilif ports")
    return {"board": board, "bitstream": path}


@command
def simulate(
    board: BoardName = "icebreaker",
    lanes: OtherLanes = None,
    weights: OtherWeights = None,
    options: EngineOptions = DEFAULTS,
    baud: Annotated[
        int | None,
        typer.Option(
            help="Rate of the UART in simulated time.", show_default="the fastest, a bit in 4 clock cycles"
        ),
    ] = None,
    link: Annotated[
        Path | None, typer.Option(help="Make this a symbolic link to the port.", show_default="none")
    ] = None,
    flash: Annotated[
        Path | None,
        typer.Option(
            help="With a standalone trainer, and its flash in this file: its content is there when the board "
            "is started again, however it ended.",
            show_default="none",
        ),
    ] = None,
    json: Json = None,
) -> dict[str, Any]:
    """A board without a board: its whole design in simulation, UART included, behind a serial port.

    Ctrl-C ends it.

    Verilator compiles the design (a minute, once).  What runs on a board runs on this, to the same bits;
    nothing can tell it but its speed.

    Example:  [bold]equilif simulate icebreaker --link /tmp/board[/]  and elsewhere  [bold]equilif train
    digits --port /tmp/board[/]
    """
    from equilif.hardware.boards import find
    from equilif.host import simulate as module

    chosen = find(board).resized(lanes=lanes, weights=weights, **options)
    if link is not None:
        module.require_free(link)
    if flash is not None:
        chosen = chosen.with_standalone()
        module.require_flash(flash)
    with show.console.status("compiling the design (only the first time takes long)"):
        simulated = module.Simulated(chosen, baud, flash)
    show.console.print(
        f"{chosen.title}, simulated: {chosen.config.lanes} lanes, {chosen.config.n_weights:,} weights, "
        f"{simulated.clock_hz / 1e6:g} MHz, {simulated.link}, build {simulated.build_id:08x}"
    )
    found = simulated.serve(
        link, lambda path: show.console.print(f"[bold]{show.literal(path)}[/]", soft_wrap=True)
    )
    show.console.print(f"{found['cycles']:,} cycles, {found['board_seconds']:.2f} s of a board")
    return {"board": board, **found}


@command
def ports(baud: Baud = None, json: Json = None) -> dict[str, Any]:
    """Find the serial ports of this machine, and the boards behind them.

    Example:  [bold]equilif ports[/]
    """
    from equilif.host.ports import scan, summary

    found = scan(baud)
    for f in found:
        says = (
            ", ".join(f"{k} {v}" for k, v in summary(f.identity).items()) + f", {f.baud:,} baud"
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
                "device": summary(f.identity) if f.identity else None,
            }
            for f in found
        ]
    }


@command
def identify(port: OnPort = None, baud: Baud = None, json: Json = None) -> dict[str, Any]:
    """What a board says of itself: lanes, memories, build; and which build of this folder that is.

    Example:  [bold]equilif identify --port /dev/ttyUSB1[/]
    """
    from equilif.host.ports import manifest_of, summary, the_one

    client = the_one(port, baud)
    says, manifest = summary(client.identity), manifest_of(client.identity.build_id)
    show.console.print(
        show.table("", ["", "device"], [[k, f"{v:,}" if isinstance(v, int) else v] for k, v in says.items()])
    )
    show.console.print(
        f"built by {show.literal(manifest)}" if manifest else "[dim]not a build below build/[/]"
    )
    return {"device": says, "manifest": manifest}


def show_displaced(client: Client) -> None:
    """A line when a host's network took the place of one that the board trained itself."""
    if client.displaced:
        show.console.print(
            "[yellow]the network that the board trained itself is in its flash: load it again with  "
            "equilif standalone --boot[/]"
        )


@command
def save(
    out: Annotated[Path, typer.Argument(help="File for the network, as `equilif train` writes it.")],
    like: Annotated[
        Path,
        typer.Option(
            help="A network.npz of the same shape: a board holds weights, not what they connect, and no "
            "table of tokens."
        ),
    ],
    port: OnPort = None,
    baud: Baud = None,
    json: Json = None,
) -> dict[str, Any]:
    """Read the weights of a board into a file.

    A board that trains standalone knows which network it holds, and of which data: --like must be the same.

    Example:  [bold]equilif save learnt.npz --like results/digits/network.npz[/]
    """
    from equilif.commands.standalone import booted
    from equilif.host.client import LinkError
    from equilif.host.ports import the_one
    from equilif.host.store import NetworkIdentity, require_network, state
    from equilif.training.history import digest
    from equilif_golden import files
    from equilif_golden import network as networks
    from equilif_golden.engine.chip import read_weights
    from equilif_golden.engine.compiler import Compiled

    net, known = networks.load(like)
    about = networks.about(like)
    files.check(out)
    client = the_one(port, baud)
    booted(client)
    require_network(client, NetworkIdentity.of(net, about), like)
    with show.console.status(f"{net.n_weights - net.n_table:,} weights come from the board"):
        before = state(client)
        found = read_weights(client, Compiled(net, client.config))
        if state(client) != before:
            raise LinkError(
                "the board was reset, or did something else, while its weights were read: try again"
            )
    weights = {s.name: found.get(s.name, known[s.name]) for s in net.plastic}
    networks.save(out, net, weights, about)
    show.console.print(f"{net.n_weights:,} weights in {show.literal(out)}, SHA-256 {digest(weights)[:16]}")
    if net.n_table:
        show.console.print(
            f"{net.n_table:,} of them are the table of tokens of {show.literal(like)}: a board holds none"
        )
    return {"network": out, "weights": net.n_weights, "sha256": digest(weights)}


@command
def restore(
    network: Annotated[Path, typer.Argument(help="A network.npz of `equilif train` or `equilif save`.")],
    port: OnPort = None,
    baud: Baud = None,
    json: Json = None,
) -> dict[str, Any]:
    """Load a network into a board: program, constants and weights.

    Example:  [bold]equilif restore results/digits/network.npz[/]
    """
    from equilif.host.ports import the_one
    from equilif.training.history import digest
    from equilif_golden import network as networks
    from equilif_golden.engine.chip import Chip

    net, weights = networks.load(network)
    # a host that sends a run with learning gets learning, unless the network cannot
    client = the_one(port, baud)
    held = net.n_weights - net.n_table
    with show.console.status(f"{held:,} weights go to the board"):
        Chip(client, net, weights, learning_rate=0.0 if net.forward else RESTORED_RATE)
    show_displaced(client)
    show.console.print(
        f"{held:,} weights of {show.literal(network)} are in the board, SHA-256 {digest(weights)[:16]}"
    )
    if net.n_table:
        show.console.print(
            f"its table of tokens, {net.n_table:,} weights, stays in the file: a board gets the rows of each "
            "sample"
        )
    return {"network": network, "weights": held, "sha256": digest(weights)}
