"""Comparison of RTL and golden model, builds and boards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equilif.show.console import NO, YES, bar, console, literal, table
from equilif_golden.lazy import lazy

with lazy():
    from equilif.hardware import verify

if TYPE_CHECKING:
    from equilif.data.sets.images import DataSet
    from equilif.hardware.verify import VerificationPlan, VerificationReport
    from equilif_golden.engine.config import EngineConfig
    from equilif_golden.network import Network, Weights


def compare(
    what: str,
    network: Network,
    weights: Weights,
    config: EngineConfig,
    data: DataSet,
    plan: VerificationPlan,
    waves: Path | None = None,
) -> VerificationReport:
    with bar() as progress:
        task = progress.add_task(what, total=plan.samples, note="compiling the engine")

        def show(done: int, report: VerificationReport) -> None:
            progress.update(task, completed=done, note=f"{report.compared.total:,} numbers equal")

        return verify.compare(network, weights, config, data, plan, waves=waves, progress=show)


def verdict(report: VerificationReport) -> None:
    c = report.compared
    kinds = (("training", report.training.samples), ("test", report.inference.samples))
    samples = " and ".join(f"{n:,} {kind}" for kind, n in kinds if n)
    equal = (
        f"{c.predictions:,} predictions, {c.spike_counts:,} spike counts, {c.rates:,} rates and "
        f"{c.weights:,} weight words ({samples} samples)"
    )
    if report.mismatch:
        console.print(f"{NO} [bold]{literal(report.mismatch)}[/]\n  equal until then: {equal}")
    else:
        console.print(f"{YES} 0 mismatches in {equal}")


def costs(report: VerificationReport) -> None:
    """Print cycles, spikes and steps per sample of the simulated RTL."""
    kinds = [
        (name, cost.per_sample())
        for name, cost in (("training", report.training), ("inference", report.inference))
        if cost.samples
    ]
    console.print(
        table(
            f"RTL with {report.config.lanes} lanes, per sample",
            ["", "cycles", "ideal", "cycles / ideal", "spikes", "free steps"],
            [
                [
                    name,
                    f"{s['cycles']:,.0f}",
                    f"{s['ideal']:,.0f}",
                    f"{s['cycles'] / s['ideal']:.2f}" if s["ideal"] else "-",
                    f"{s['spikes']:,.0f}",
                    f"{s['free_steps']:.1f}",
                ]
                for name, s in kinds
            ],
        )
    )
    console.print(
        f"[dim]ideal: words of {report.config.lanes} weights that the sample touches, one a cycle[/]"
    )


def cells(synthesis: Mapping[str, Any]) -> None:
    """Table of the cells of a synthesised board."""
    rows = [[name, f"{n:,}"] for name, n in synthesis["cells"].items()]
    console.print(table(f"{synthesis['board']['title']}, after synthesis", ["cell", "number"], rows))


def bitstream(build: Mapping[str, Any]) -> None:
    """Table of a build (equilif_boards.build) as a dict; ``samples_per_second`` if cycles were measured."""
    # nextpnr also counts internal cells, of which a device has none
    rows = [
        [name, f"{u['used']:,}", f"{u['available']:,}", f"{u['used'] / u['available']:.0%}"]
        for name, u in build["utilisation"].items()
        if u["available"]
    ]
    console.print(table(build["board"]["title"], ["", "used", "available", ""], rows))
    t = build["timing"]
    console.print(
        f"f_max [bold]{t['f_max']:.2f} MHz[/], clock {t['constraint']:g} MHz, seed {build['seed']}, "
        f"build ID {build['build_id']}"
    )
    others = build.get("f_max_by_seed", {})
    if len(others) > 1:
        each = ", ".join(f"{f_max:.2f} MHz (seed {seed})" for seed, f_max in others.items())
        console.print(f"slowest of {len(others)} seeds {min(others.values()):.2f} MHz: {each}")
    console.print(f"{build['weights']:,} weights in {build['config']['lanes']} lanes")
    for kind, rate in build.get("samples_per_second", {}).items():
        console.print(
            f"{build['network']}, {kind}: {rate['engine']:,.0f} samples/s, "
            f"through the link {rate['both']:,.0f}"
        )


def boards(rows: Sequence[Mapping[str, Any]], network: str | None) -> None:
    """Tables of equilif.hardware.boards.report."""
    built = ["board", "about $", "lanes", "weights", "attention", "errors", "logic", "f_max", "MHz"]
    console.print(table("boards, as built", built, map(_as_built, rows)))
    for r in rows:
        if r.get("older"):
            console.print(f"[dim]{r['board']}: measured {', '.join(r['older'])}[/]")
    if maps := [r["board"] for r in rows if r["convolution"]]:
        console.print(f"[dim]with convolutions: {', '.join(maps)}[/]")
    measured = [r for r in rows if "build" in r]
    if measured:
        engine = ["board", "network", "cycles", "training", "inference"]
        speeds = [*engine, "link", "training", "inference", "standalone"]
        console.print(table("\nMNIST, samples per second", speeds, map(_speed, measured), left=2))
        console.print(
            "[dim]cycles: of a training sample, in RTL; training, inference: of the engine alone, then "
            "through the link; standalone: training from the flash[/]"
        )
    console.print("\n[bold]host links (build --link)[/]")
    _listed([(r["board"], link["kind"], link["rate"], link["place"]) for r in rows for link in r["links"]])
    console.print("\n[bold]front ends (build --front-end)[/]")
    _listed([(r["board"], f["kind"], f["place"]) for r in rows for f in r["front_ends"]])
    console.print("\n[bold]SDRAM (build --sdram)[/]")
    _listed([(r["board"], *_memory(r["sdram"])) for r in rows if r["sdram"]])
    for r in rows if network else ():
        build = f"{r['board']} {r['options']}".strip()
        console.print(
            f"{NO} {build}: {literal(r['short'])}"
            if r["short"]
            else f"{YES} {build} holds {literal(network)}{'' if r['learns'] else ', inference only'}",
            soft_wrap=True,
        )


def _memory(sdram: Mapping[str, Any]) -> tuple[str, str]:
    """Memory of a build with an SDRAM, and its engine."""
    engine = f"{sdram['lanes']} lanes, {sdram['weights']:,} weights on the FPGA, {sdram['neurons']:,} neurons"
    return f"{sdram['mib']} MiB", f"{sdram['external_weights']:,} weights; {engine}"


def _listed(rows: Sequence[tuple[str, ...]]) -> None:
    """Rows of a list, whose last column may be long; a board is named once."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    before = ""
    for board, *cells in rows:
        *first, last = ("" if board == before else board, *cells)
        line = "".join(f"{cell:{width}}  " for cell, width in zip(first, widths, strict=False))
        console.print(literal(line + last), soft_wrap=True)
        before = board


def _as_built(row: Mapping[str, Any]) -> list[str]:
    """Cells of a board: its engine, and what the build came to."""
    logic = row.get("logic")
    return [
        row["board"],
        f"{row['cost_usd']}",
        f"{row['lanes']}",
        f"{row['weights']:,}",
        "yes" if row["attention"] else "no",
        "yes" if row["errors"] else "no",
        f"{logic['used'] / logic['available']:.0%}" if logic else "-",
        f"{min(row['f_max_by_seed'].values()):.1f}" if logic else "not built",
        f"{row['clock_hz'] / 1e6:g}",
    ]


def _speed(row: Mapping[str, Any]) -> list[str]:
    """Cells of a board: cycles, and samples a second of the engine, through the link, and alone."""
    speed = row["samples_per_second"]
    return [
        row["board"],
        row["network"],
        f"{row['cycles']['training']:,.0f}",
        f"{speed['training']['engine']:,.0f}",
        f"{speed['inference']['engine']:,.0f}",
        row["link"],
        f"{speed['training']['both']:,.0f}",
        f"{speed['inference']['both']:,.0f}",
        f"{speed['training']['standalone']:,.0f}" if "standalone" in speed["training"] else "-",
    ]
