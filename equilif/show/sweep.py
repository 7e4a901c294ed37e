"""Points of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from equilif.show.console import NO, console, drawn, literal, table
from equilif_golden.lazy import lazy

with lazy():
    from equilif.bench import sweep as module

if TYPE_CHECKING:
    from equilif.bench.sweep import Sweep


def sweep(run: Sweep, rows: Sequence[Mapping[str, Any]], cost: str) -> list[str]:
    """Table, failures and the plot, where matplotlib is installed; the files written."""
    best = module.front(rows, cost)
    swept = (name for name in ("phases", *module.AXES) if name not in ("hidden", "lanes", "board", "samples"))
    columns = ["engine", "network", *(name for name in swept if len({r[name] for r in rows}) > 1)]
    clocked = any(r["f_max"] for r in rows)
    console.print(
        table(
            "* not beaten in accuracy and " + cost.replace("_us", " time"),
            [
                "",
                *columns,
                "accuracy",
                "training",
                "inference",
                "tiles",
                "Kbit",
                *(["f_max", "us"] if clocked else []),
            ],
            [
                [
                    "*" if k in best else "",
                    *(str(r[c]) for c in columns),
                    f"{r['accuracy']:.2%}",
                    f"{r['training cycles']:,.0f}",
                    f"{r['inference cycles']:,.0f}",
                    f"{r['tiles']:,}",
                    f"{r['weight_bits'] / 1024:,.0f}",
                    *(
                        [
                            f"{r['f_max']:.1f}" if r["f_max"] else "",
                            f"{r['training_us']:,.0f}" if r["f_max"] else "",
                        ]
                        if clocked
                        else []
                    ),
                ]
                for k, r in enumerate(rows)
            ],
            left=1 + len(columns),
        )
    )
    for point, error in run.failed:
        given = ", ".join(f"{k} {v}" for k, v in vars(point).items() if v is not None)
        console.print(f"{NO} {literal(given)}: {literal(error)}", soft_wrap=True)
    files = run.write(rows)
    if best:
        files += drawn(
            "pareto",
            run.out,
            [r for r in rows if r[cost] is not None],
            lambda some: module.front(some, cost),
            cost,
            f"{', '.join(dict.fromkeys(r['data'] for r in rows))}, {len(rows)} points",
            what="plot",
        )
    console.print(f"wrote {', '.join(files)} in {literal(run.out)}")
    return files
