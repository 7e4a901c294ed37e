"""Content of the board pages: docs/reference/boards.md, docs/reference/boards/ and a table of README.md.

benchmarks.pages writes it between the markers.  The data are ``boards/equilif_boards/measured.json`` and the
definitions of the boards.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from equilif_golden.lazy import lazy

with lazy():  # pages without boards need no packages of theirs
    import equilif_boards
    from equilif.hardware import boards

#: kinds of cells, with their names in the reports of nextpnr
CELLS = {
    "flip-flops": ("TRELLIS_FF", "DFF"),
    "block RAM": ("ICESTORM_RAM", "DP16KD", "BSRAM"),
    "SPRAM": ("ICESTORM_SPRAM",),
    "multipliers": ("ICESTORM_DSP", "MULT18X18D", "MULT18X18"),
}
#: characters of a full utilisation bar
BAR = 20


def table(head: str, rows: Iterable[Sequence[object]]) -> str:
    """Markdown table; ``head``: the column titles, separated by `` | ``."""
    rule = "|---" * (head.count(" | ") + 1) + "|"
    lines = ("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows)
    return "\n".join([f"| {head} |", rule, *lines])


def built() -> list[dict[str, Any]]:
    """Boards with a build on record."""
    return [row for row in boards.report() if "build" in row]


def names(row: Mapping[str, Any]) -> tuple[str, str]:
    """Board and FPGA."""
    board, _, device = row["title"].removesuffix(")").partition(" (")
    return board, device


def link_to(row: Mapping[str, Any]) -> str:
    return f"[{names(row)[0]}](boards/{row['board']}.md)"


def by(origin: str, *titles: str) -> str:
    """Titles of columns whose figures are simulated, built or estimated."""
    return " | ".join(f"{title}<br>*{origin}*" for title in titles)


def yes(value: bool) -> str:
    return "yes" if value else "no"


def rtl(row: Mapping[str, Any]) -> str:
    """Commit of a build, and in what it differs from the present standard bitstream."""
    return f"{row['commit']} ({', '.join(row['older'])})" if row["older"] else str(row["commit"])


def slowest(row: Mapping[str, Any]) -> float:
    return float(min(row["f_max_by_seed"].values()))


def engines() -> str:
    """Engine and utilisation of every board."""
    rows = []
    for row in built():
        device = names(row)[1].removeprefix("Lattice ").removeprefix("Gowin ").replace("LFE5U-", "")
        used = {kind: (u, n) for kind, u, n in utilisation(row)}
        rows.append(
            (
                link_to(row),
                device,
                row["cost_usd"],
                row["lanes"],
                f"{row['weights']:,}",
                yes(row["attention"]),
                yes(row["errors"]),
                yes(row["standalone"]),
                percent(*used["logic"]),
                percent(*used["block RAM"]),
            )
        )
    head = "board | FPGA | price ($) | lanes | weights | attention | errors | standalone"
    return table(f"{head} | {by('built', 'logic', 'block RAM')}", rows)


def speeds() -> str:
    """Clock of every board, and training samples a second of an MNIST network."""
    rows = []
    for row in built():
        rates = row["samples_per_second"]["training"]
        rows.append(
            (
                link_to(row),
                row["lanes"],
                f"{slowest(row):.1f}",
                len(row["f_max_by_seed"]),
                f"{row['clock_hz'] / 1e6:g}",
                f"{rates['engine']:,.0f}",
                f"{rates['standalone']:,.0f}" if "standalone" in rates else "-",
                row["link"],
                f"{rates['both']:,.0f}",
            )
        )
    estimated = by("estimated", "engine", "standalone")
    head = f"board | lanes | {by('built', 'f_max (MHz)')} | seeds | clock (MHz)"
    return table(f"{head} | {estimated} | link | {by('estimated', 'through the link')}", rows)


def cycles() -> str:
    """Cycles of a sample of an MNIST network on every board, and its inference rates."""
    rows = []
    for row in built():
        rates = row["samples_per_second"]["inference"]
        rows.append(
            (
                link_to(row),
                row["network"],
                *(f"{row['cycles'][kind]:,.0f}" for kind in ("training", "inference")),
                f"{row['standalone_cycles']:,.0f}" if "standalone_cycles" in row else "-",
                f"{rates['engine']:,.0f}",
                f"{rates['both']:,.0f}",
            )
        )
    simulated = by("simulated", "train cycles", "infer cycles", "standalone cycles")
    return table(
        f"board | network | {simulated} | {by('estimated', 'infer/s, engine', 'infer/s, link')}", rows
    )


def summary() -> str:
    """One row for boards with the same FPGA and engine."""
    together: dict[tuple[str, str, str], list[tuple[str, float]]] = defaultdict(list)
    for row in built():
        board, device = names(row)
        attention = ", attention" * row["attention"]
        engine = f"{row['lanes']} lanes, {row['weights'] // 1024} K weights{attention}"
        together[device, engine, row["network"]].append((board, slowest(row)))
    rows = []
    for (device, engine, network), boards in together.items():
        listed = ", ".join(board for board, _ in boards)
        clocks = ", ".join(f"{f_max:.1f}" for _, f_max in boards)
        rows.append((f"{listed} ({device})", engine, network, f"{clocks} MHz"))
    return table(f"board | engine | largest MNIST network | {by('built', 'f_max')}", rows)


def utilisation(row: Mapping[str, Any]) -> list[tuple[str, int, int]]:
    """Kind of cell, cells in use, cells of the FPGA."""
    cells = row["build"]["utilisation"]
    counted = [("logic", row["logic"])]
    counted += [(kind, cells[name]) for kind, known in CELLS.items() for name in known if name in cells]
    return [(kind, of["used"], of["available"]) for kind, of in counted]


def percent(used: int, available: int) -> str:
    return f"{100 * used / available:.0f} %"


def bar(used: int, available: int) -> str:
    """Text of BAR characters."""
    full = round(BAR * used / available)
    return f"`{'█' * full}{'░' * (BAR - full)}`"


def page(name: str) -> str:
    """Everything on a board's page that follows from its definition and its build."""
    board = equilif_boards.BOARDS[name]
    row = next(row for row in built() if row["board"] == name)
    config, cycles = board.config, row["cycles"]
    options = {
        "attention": config.attention,
        "errors": config.errors,
        "convolution": config.convolution,
        "standalone trainer": board.standalone,
    }
    seeds = ", ".join(f"{f_max:.2f} MHz (seed {seed})" for seed, f_max in row["f_max_by_seed"].items())
    neurons, values = config.state_groups * config.lanes, config.value_groups * config.lanes
    facts = [
        ("FPGA", names(row)[1]),
        ("price", f"about {board.cost} US dollars (2025)"),
        (
            "engine",
            f"{config.lanes} lanes, {config.n_weights:,} weights of {config.numerics.weight_width} bits",
        ),
        ("standard bitstream", ", ".join(f"{k}: {yes(v)}" for k, v in options.items())),
        ("capacity", f"{neurons:,} spiking neurons; {values:,} with inputs and targets"),
        ("program memory", f"{config.program_words // 3:,} instructions"),
        ("clock", f"{board.clock_hz / 1e6:g} MHz; f_max {seeds} *(built)*"),
        ("largest MNIST network", row["network"]),
        (
            "cycles of a sample",
            f"{cycles['training']:,.0f} training, {cycles['inference']:,.0f} inference *(simulated)*",
        ),
        ("RTL", rtl(row)),
    ]
    parts = [table("property | value", facts), "## Utilisation"]
    parts.append(
        table(
            f"resource | {by('built', 'used')} | available | utilisation",
            [(k, f"{u:,}", f"{n:,}", f"{bar(u, n)} {percent(u, n)}") for k, u, n in utilisation(row)],
        )
    )
    sent = boards.measured()[name]["bytes"]
    links = [
        (
            f"`--link {link.kind}`" + " (default)" * (link is board.link),
            str(link),
            link.place,
            *(
                f"{1 / (cycles[k] / board.clock_hz + sent[k] / link.bytes_per_second):,.0f}"
                for k in ("training", "inference")
            ),
        )
        for link in board.links
    ]
    engine = row["samples_per_second"]
    note = (
        "Samples per second of the network above, computed from cycles and bytes.\n"
        f"The engine alone reaches {engine['training']['engine']:,.0f} (training) and "
        f"{engine['inference']['engine']:,.0f} (inference)."
    )
    if "standalone" in engine["training"]:
        note += f"\nStandalone training reaches {engine['training']['standalone']:,.0f}."
    parts += [
        "## Links and wiring",
        note,
        table(f"build option | rate | where | {by('estimated', 'training/s', 'inference/s')}", links),
        "## Commands",
        commands(board),
    ]
    return "\n\n".join(parts)


def commands(board: Any) -> str:
    hidden = " ".join(f"--hidden {size}" for size in board.network[1:-1])
    port = "/dev/ttyACM0" if board.link.kind == "usb" else "/dev/ttyUSB0"
    lines = [
        (f"equilif build {board.name}", "bitstream and report in build/"),
        (f"equilif flash {board.name}" if board.loader else f"# to program it, {board.programming_note}", ""),
        (f"equilif check --port {port}", "compare with the golden model"),
        (f"equilif train digits --port {port}", "`equilif ports` lists the ports"),
        (f"equilif train mnist {hidden} --port {port} --data DIR", ""),
        (f"equilif simulate {board.name} --link /tmp/board", "in simulation"),
    ]
    shown = [f"{line:47} # {text}".rstrip("# ") if text else line for line, text in lines]
    return "\n".join(["```hardware", *shown, "```"])
