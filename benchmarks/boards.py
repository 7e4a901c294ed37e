"""Every board: its build, and what a sample costs there; writes boards/measured.json, from which `equilif
boards` and docs/boards.md are made.

    python -m benchmarks.boards --data DIR [--builds build] [BOARD ...]
    python -m benchmarks.boards --table              what is in boards/measured.json, for docs/boards.md

A board whose folder in --builds holds a build of these very sources and tools is not built again.  Cycles
are those of RTL in simulation, compared number by number with the golden model, on the board's network
after one epoch of MNIST, so that spikes are as frequent as in training; bytes are those of a packed
sample with its reply, without the few that SLIP escapes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.link import sent
from equilif import results
from equilif.data import images as data
from equilif.hardware import verify
from equilif.hardware.boards import KINDS, MEASURED, measured, report, same_engine
from equilif.training.presets import PRESETS
from equilif.training.train import lesson, order, taught
from equilif_boards import BOARDS, Board
from equilif_boards.build import MANIFEST, Plan, build, tool_versions
from equilif_golden.engine.compiler import Compiled
from equilif_golden.engine.config import EngineConfig
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network
from equilif_golden.samples import one_hot


def manifest(board: Board, folder: Path) -> dict[str, Any]:
    """Of the build in its folder, made when there is none of these sources and tools."""
    out = folder / board.name
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # none, or something else
        found: dict[str, Any] = json.loads((out / MANIFEST).read_text())
        plan = Plan.of(board)
        build_id = plan.digest(tool_versions(plan.tools, new=board.new_tools))
        if found["build_id"] == f"{build_id:08x}":
            return found
    return build(board, out, progress=lambda line: print(f"{board.name}: {line}", flush=True)).as_dict()


def cost(
    config: EngineConfig, sizes: tuple[int, ...], d: data.DataSet, n: int
) -> dict[str, dict[str, float]]:
    """Cycles and bytes of a sample, means of ``n``."""
    preset = PRESETS["mnist"]
    network = Network.chain(*sizes, schedule=preset.schedule)
    kernel = Kernel(network, preset.initial_weights(network, 0), lr=preset.rate(0))
    for _ in taught(kernel, d, lesson(preset, d, 0, 0)):
        pass
    chosen = order(0, 1, len(d.x_train))[:n]
    found = verify.compare(
        network,
        kernel.weights,
        config,
        d,
        verify.Plan([(preset.rate(1), chosen, lambda: (d.x_train, None))], n),
        counter=kernel.counter,
    )
    if found.mismatch:
        raise AssertionError(found.mismatch)
    compiled = Compiled(network, config)
    targets = one_hot(d.y_train, sizes[-1])
    packed = {
        "training": [sent(compiled.sample(d.x_train[j].astype(np.int64), targets[j])) for j in chosen],
        "inference": [
            sent(compiled.sample(x.astype(np.int64), np.zeros(sizes[-1], np.int64))) for x in d.x_test[:n]
        ],
    }
    return {
        "cycles": {k: round(getattr(found, k).per_sample()["cycles"], 1) for k in KINDS},
        "ideal": {k: round(getattr(found, k).per_sample()["ideal"], 1) for k in KINDS},
        "bytes": {k: round(float(np.mean(packed[k])), 1) for k in KINDS},
    }


KINDS_OF_CELLS = {
    "flip-flops": ("TRELLIS_FF", "DFF"),
    "block RAM": ("ICESTORM_RAM", "DP16KD", "BSRAM"),
    "SPRAM": ("ICESTORM_SPRAM",),
    "multipliers": ("ICESTORM_DSP", "MULT18X18D", "MULT18X18"),
}


def table() -> str:
    """Markdown, a row for every board."""
    header = [
        "board",
        "about $",
        "lanes, weights",
        "memories",
        "logic",
        *KINDS_OF_CELLS,
        "f_max (seed)",
        "clock",
        "network",
        "cycles, training / inference",
        "training samples/s, engine / link / both",
        "inference",
    ]
    rows = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for r in report():
        if "build" not in r:
            continue
        used = r["build"]["utilisation"]
        logic = r["logic"]
        speeds = r["samples_per_second"]
        cells = [f"{logic['used']:,} of {logic['available']:,}"]
        cells += [
            next((f"{used[k]['used']:,} of {used[k]['available']:,}" for k in names if k in used), "-")
            for names in KINDS_OF_CELLS.values()
        ]
        rates = [
            " / ".join(f"{speeds[kind][part]:,.0f}" for part in ("engine", "link", "both")) for kind in KINDS
        ]
        rows.append(
            "| "
            + " | ".join(
                [
                    r["title"],
                    str(r["cost_usd"]),
                    f"{r['lanes']}, {r['weights']:,}",
                    "yes" if r["softmax"] else "no",
                    *cells,
                    f"{r['build']['f_max']:.2f} MHz ({r['build']['seed']})",
                    f"{r['clock_hz'] / 1e6:g} MHz, {r['link']}",
                    r["network"],
                    " / ".join(f"{r['cycles'][k]:,.0f}" for k in KINDS),
                    *rates,
                ]
            )
            + " |"
        )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "boards",
        nargs="*",
        default=list(BOARDS),
        metavar="BOARD",
        help="those to measure, all when none is named",
    )
    parser.add_argument("--data", type=Path, help="folder with MNIST's IDX files")
    parser.add_argument("--table", action="store_true", help="print what was measured before")
    parser.add_argument(
        "--builds", type=Path, default=Path("build"), help="folder of the builds, one folder a board"
    )
    parser.add_argument("--samples", type=int, default=100, help="of each kind, training and inference")
    args = parser.parse_args()
    if args.table:
        print(table())
        return
    d = data.load("mnist", args.data)
    known = measured()
    costs: dict[tuple[EngineConfig, tuple[int, ...]], dict[str, dict[str, float]]] = {}
    for board in (BOARDS[name] for name in args.boards):
        made = manifest(board, args.builds)
        key = board.config, board.network
        if key not in costs:
            costs[key] = cost(*key, d, args.samples)
        t = made["timing"]
        before = known.get(board.name, {})
        same = "alone" in before and same_engine(board, before["config"])  # benchmarks.alone measures it
        known[board.name] = {
            **({"alone": before["alone"]} if same else {}),
            "config": json.loads(json.dumps(asdict(board.config))),
            "network": board.network,
            "samples": args.samples,
            **costs[key],
            "build": {
                "f_max": t["f_max"],
                "constraint": t["constraint"],
                **{k: made[k] for k in ("build_id", "seed", "utilisation", "tools", "seconds")},
            },
        }
        ordered = {name: known[name] for name in BOARDS if name in known}
        results.write_json(MEASURED, {"boards": ordered, "machine": results.machine()})
        print(
            f"{board.name}: {t['f_max']} MHz, cycles {costs[key]['cycles']}, bytes {costs[key]['bytes']}",
            flush=True,
        )


if __name__ == "__main__":
    main()
