"""Tables of benchmarks."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from equilif.show.console import console, literal, table

if TYPE_CHECKING:
    from equilif.bench.cycles import Cycles
    from equilif.bench.engines import EngineRow as Engine
    from equilif.bench.throughput import Pace


def throughput(paces: Mapping[str, Mapping[str, Pace]], target: float) -> None:
    """Learners on data sets, and how many times faster the golden model is."""
    rows = []
    for data, by_name in paces.items():
        for name, p in by_name.items():
            reached = "not in time" if p.to_target is None else f"{p.to_target:.2f} s"
            rows.append(
                [data, name, f"{p.samples_per_second:,.0f}", f"{p.epoch:.2f} s", reached, f"{p.accuracy:.2%}"]
            )
        if len(by_name) > 1:
            ours, theirs = by_name.values()
            both = ours.to_target is not None and theirs.to_target is not None
            rows.append(
                [
                    data,
                    "times faster",
                    f"{ours.samples_per_second / theirs.samples_per_second:.2f}",
                    f"{theirs.epoch / ours.epoch:.2f}",
                    f"{(theirs.to_target or 0) / (ours.to_target or 1):.2f}" if both else "-",
                    "",
                ]
            )
    seeds = next(p.seeds for paces in paces.values() for p in paces.values())
    console.print(
        table(
            f"learning on one core, batch 1, medians of {seeds} seeds",
            ["data", "", "samples/s", "an epoch", f"to {target:.0%}", "test"],
            rows,
            left=2,
        )
    )


def accuracy(found: Mapping[str, Mapping[str, Any]]) -> None:
    """Final test accuracy of a network per data set: mean, standard deviation and error over the seeds."""
    rows = []
    seeds = 0
    for data, case in found.items():
        for name, accuracies in case["learned_by"].items():
            seeds = len(accuracies)
            deviation = statistics.stdev(accuracies)
            mean, error = statistics.mean(accuracies), deviation / math.sqrt(seeds)
            rows.append([data, case["network"], name, f"{mean:.2%}", f"{deviation:.2%}", f"{error:.2%}"])
    columns = ["data", "network", "learned by", "test accuracy", "standard deviation", "standard error"]
    title = f"same network, samples, order and epochs; {seeds} seeds"
    console.print(table(title, columns, rows, left=3))


def cycles(rows: Sequence[Cycles]) -> None:
    """The engine in simulation."""
    console.print(
        table(
            f"\nthe engine in simulation, {rows[0].samples} samples of each kind",
            ["data", "network", "P", "training", "/ ideal", "inference", "/ ideal", "simulated cycles/s"],
            [
                [
                    r.data,
                    r.network,
                    f"{r.lanes}",
                    f"{r.training:,.0f}",
                    f"{r.training / r.ideal_training:.2f}",
                    f"{r.inference:,.0f}",
                    f"{r.inference / r.ideal_inference:.2f}",
                    f"{r.per_second:,.0f}",
                ]
                for r in rows
            ],
            left=2,
        )
    )


def engines(rows: Sequence[Engine]) -> None:
    """Table of this engine and published ones; unknown values stay empty."""

    def cell(value: float | None, form: str, scale: float = 1) -> str:
        return "" if value is None else format(value / scale, form)

    console.print(
        table(
            "\nengines; SOP: synaptic operations, weights that are used",
            [
                "engine",
                "does",
                "device",
                "memory",
                "logic",
                "f_max",
                "SOP/cycle",
                "M SOP/s",
                "per 1,000 cells",
            ]
            + ["training samples/s"],
            [
                [
                    r.name,
                    r.does,
                    r.device,
                    r.memory or "",
                    f"{r.logic[0]:,} {r.logic[1]}" if r.logic else "",
                    cell(r.f_max, ".1f"),
                    cell(r.per_cycle, ".2f"),
                    cell(r.per_second, ",.1f", 1e6),
                    cell(r.per_cell, ",.2f", 1e6),
                    cell(r.training, ",.0f"),
                ]
                for r in rows
            ],
            left=4,
        )
    )
    for source in dict.fromkeys(r.source for r in rows):
        names = ", ".join(r.name for r in rows if r.source == source)
        names = "equilif" if source == rows[0].source else names
        console.print(f"[dim]{literal(names)}: {literal(source)}[/]", soft_wrap=True)
