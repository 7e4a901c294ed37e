"""Build every board and measure cycles and bytes of a sample; writes boards/measured.json.

`equilif boards` and the tables of the pages (benchmarks.figures) use this file.

A board is not built again if its folder in --builds, or its row, is of the same netlist and tools.  A row
has the commit at the start of this command.  Cycles: RTL simulation of the board's network after one epoch of
MNIST (representative spike rates), compared with the golden model.  Bytes: frames and replies by sample,
without SLIP escapes.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from benchmarks.common import Data, choose, commit, write
from benchmarks.link import line_bytes
from benchmarks.training import BOARD_PRESET, after_an_epoch
from equilif import results
from equilif.data.sets.dataset import DataSet
from equilif.hardware import verify
from equilif.hardware.boards import KINDS, MEASURED, measured, older
from equilif_boards import BOARDS, Board
from equilif_boards.build import MANIFEST, BuildSteps, build, synthesise
from equilif_golden.engine.compiler import Compiled
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
    """Record of a manifest."""
    return {
        "f_max": manifest["timing"]["f_max"],
        "constraint": manifest["timing"]["constraint"],
        "standalone": manifest["board"]["standalone"],
        **{k: manifest[k] for k in RECORDED},
    }


def cost(board: Board, d: DataSet, n: int) -> dict[str, dict[str, float]]:
    """Mean cycles and bytes per sample over ``n`` samples."""
    config = board.config
    kernel, chosen = after_an_epoch(board.network, d, n)
    network = kernel.network
    found = verify.compare(
        network,
        kernel.weights,
        config,
        d,
        verify.VerificationPlan([(BOARD_PRESET.rate(1), chosen, lambda: (d.x_train, None))], n),
        counter=kernel.counter,
    )
    if found.mismatch:
        raise AssertionError(found.mismatch)
    compiled = Compiled(network, config)
    targets = one_hot(d.y_train, network.n_outputs)
    values = {
        "training": [compiled.sample(d.x_train[j].astype(np.int64), targets[j]) for j in chosen],
        "inference": [compiled.sample(x.astype(np.int64)) for x in d.x_test[:n]],
    }
    return {
        "cycles": {k: round(getattr(found, k).per_sample()["cycles"], 1) for k in KINDS},
        "ideal": {k: round(getattr(found, k).per_sample()["ideal"], 1) for k in KINDS},
        "bytes": {k: round(line_bytes(board, values[k]), 1) for k in KINDS},
    }


def main(
    boards: Annotated[Sequence[str], "boards (default: all)"] = (),
    *,
    data: Data,
    builds: Annotated[Path, "folder of the builds, one subfolder per board"] = Path("build"),
    samples: Annotated[int, "samples of training and of inference"] = 100,
    seeds: Annotated[int, "seeds of place and route per board"] = 1,
) -> None:
    d = BOARD_PRESET.load(data)
    known = measured()
    costs: dict[tuple[object, ...], dict[str, dict[str, float]]] = {}
    for board in (BOARDS[name] for name in choose(boards, BOARDS, "board")):
        built_from = {"date": str(date.today()), "commit": commit()}  # before the build, which may take hours
        before = known.get(board.name, {})
        made = build_record(board, builds, seeds, before.get("build", {}))
        key = board.config, board.network, board.frame_bytes, board.max_samples
        if key not in costs:
            costs[key] = cost(board, d, samples)
        # measured by the benchmark standalone
        same = "standalone" in before and older(board, before) is not None
        known[board.name] = {
            **built_from,
            **({"standalone": before["standalone"]} if same else {}),
            "config": json.loads(json.dumps(asdict(board.config))),
            "network": board.network,
            "samples": samples,
            **costs[key],
            "build": made,
        }
        ordered = {name: known[name] for name in BOARDS if name in known}
        write(MEASURED, {"boards": ordered, "machine": results.machine()}, 3)
        print(
            f"{board.name}: {made['f_max']} MHz, cycles {costs[key]['cycles']}, bytes {costs[key]['bytes']}",
            flush=True,
        )
