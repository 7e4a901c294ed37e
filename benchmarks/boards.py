"""Build every board and measure cycles and bytes of a sample; writes boards/measured.json.

`equilif boards` and the tables of the pages use this file.

    python -m benchmarks.boards --data DIR [--builds build] [--seeds 3] [BOARD ...]

A board is not built again if its folder in --builds, or its row, is of the same netlist and tools.  A row
has the commit at the start of this command.  Cycles: RTL simulation of the board's network after one epoch of
MNIST (representative spike rates), compared with the golden model.  Bytes: frames and replies by sample,
without SLIP escapes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import pages
from benchmarks.claims import BUILT
from benchmarks.link import line_bytes
from benchmarks.records import stamp, write
from equilif import results
from equilif.data import images as data
from equilif.hardware import verify
from equilif.hardware.boards import KINDS, MEASURED, measured, older
from equilif.training.presets import PRESETS
from equilif.training.train import epoch_plan, order, train_epoch
from equilif_boards import BOARDS, Board
from equilif_boards.build import MANIFEST, BuildSteps, build, synthesise
from equilif_golden.engine.compiler import Compiled
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network
from equilif_golden.samples import one_hot

#: keys of a manifest that are kept
RECORDED = ("build_id", "seed", "f_max_by_seed", "utilisation", "tools", "seconds")


def build_record(board: Board, folder: Path, seeds: int, before: Mapping[str, Any]) -> Mapping[str, Any]:
    """Record of a build with ``seeds`` seeds; builds the board if netlist or tools have changed.

    ``before``: the record of an earlier build.
    """
    out = folder / board.name
    with tempfile.TemporaryDirectory() as work:
        made = synthesise(board, Path(work) / board.name, BuildSteps())
    records = [before]
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # missing or another file
        records.insert(0, _record(json.loads((out / MANIFEST).read_text())))
    for record in records:
        same = bool(record) and record["build_id"] == f"{made.build_id(record['seed']):08x}"
        if same and len(record["f_max_by_seed"]) >= seeds:
            return record
    return _record(
        build(
            board, out, seeds=seeds, progress=lambda line: print(f"{board.name}: {line}", flush=True)
        ).as_dict()
    )


def _record(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a manifest."""
    return {
        "f_max": manifest["timing"]["f_max"],
        "constraint": manifest["timing"]["constraint"],
        "standalone": manifest["board"]["standalone"],
        **{k: manifest[k] for k in RECORDED},
    }


def cost(board: Board, d: data.DataSet, n: int) -> dict[str, dict[str, float]]:
    """Mean cycles and bytes per sample over ``n`` samples."""
    config = board.config
    sizes = board.network
    preset = PRESETS["mnist"]
    network = Network.chain(*sizes, schedule=preset.schedule)
    kernel = Kernel(network, preset.initial_weights(network, 0), learning_rate=preset.rate(0))
    for _ in train_epoch(kernel, d, epoch_plan(preset, d, 0, 0)):
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
    values = {
        "training": [compiled.sample(d.x_train[j].astype(np.int64), targets[j]) for j in chosen],
        "inference": [compiled.sample(x.astype(np.int64)) for x in d.x_test[:n]],
    }
    return {
        "cycles": {k: round(getattr(found, k).per_sample()["cycles"], 1) for k in KINDS},
        "ideal": {k: round(getattr(found, k).per_sample()["ideal"], 1) for k in KINDS},
        "bytes": {k: round(line_bytes(board, values[k]), 1) for k in KINDS},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "boards",
        nargs="*",
        default=list(BOARDS),
        metavar="BOARD",
        help="boards (default: all)",
    )
    parser.add_argument("--data", type=Path, help="folder with MNIST's IDX files")
    parser.add_argument(
        "--builds", type=Path, default=Path("build"), help="folder of the builds, one subfolder per board"
    )
    parser.add_argument("--samples", type=int, default=100, help="samples of training and of inference")
    parser.add_argument("--seeds", type=int, default=1, help="seeds of place and route per board")
    args = parser.parse_args()
    built_from = stamp(BUILT)  # before the builds, which take hours
    d = data.load("mnist", args.data)
    known = measured()
    costs: dict[tuple[object, ...], dict[str, dict[str, float]]] = {}
    for board in (BOARDS[name] for name in args.boards):
        before = known.get(board.name, {})
        made = build_record(board, args.builds, args.seeds, before.get("build", {}))
        key = board.config, board.network, board.frame_bytes, board.max_samples
        if key not in costs:
            costs[key] = cost(board, d, args.samples)
        # measured by benchmarks.standalone
        same = "standalone" in before and older(board, before) is not None
        known[board.name] = {
            **built_from,
            **({"standalone": before["standalone"]} if same else {}),
            "config": json.loads(json.dumps(asdict(board.config))),
            "network": board.network,
            "samples": args.samples,
            **costs[key],
            "build": made,
        }
        ordered = {name: known[name] for name in BOARDS if name in known}
        write(MEASURED, {"boards": ordered, "machine": results.machine()}, 3)
        print(
            f"{board.name}: {made['f_max']} MHz, cycles {costs[key]['cycles']}, bytes {costs[key]['bytes']}",
            flush=True,
        )
    pages.write()


if __name__ == "__main__":
    main()
