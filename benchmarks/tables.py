"""Cost of a training sample with a learned embedding table and with a fixed one.

64 tokens of width 50, 4 queries, 64 hidden neurons, 2 classes (SST-2 with half the queries) on the
engine of the ULX3S 85F.  Words are random; one class uses even rows.  Cycles: equilif_golden.engine.cycles
after 500 samples, for representative spike rates.  Bytes: patterns in both directions, without framing.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np

from equilif_boards import BOARDS
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.model import EngineModel
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network, TokenRows
from equilif_golden.samples import one_hot
from equilif_golden.schedule import Schedule

ROWS, WIDTH, HEADS, HIDDEN = 20_000, 50, 4, 64
MAX_TOKENS = 64  #: tokens
BEFORE = 500  #: samples
ETA = 0.003
SCALES = {"tokens stay": None, "tokens learn": 16.0}


def main(*, samples: Annotated[int, "measured samples"] = 10) -> None:
    n = BEFORE + samples
    for length in (20, MAX_TOKENS):
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 2, n)
        rows = 2 * rng.integers(0, ROWS // 2, (n, length)) + labels[:, None]
        table = np.clip(rng.normal(0, 1400, (ROWS, WIDTH)), -4096, 4064).astype(np.int16)
        off = np.arange(n + 1) * length
        measure(f"{length} tokens", labels, TokenRows(table, rows.ravel().astype(np.int32), off))


def measure(name: str, labels: np.ndarray, tokens: TokenRows) -> None:
    targets = one_hot(labels, 2)
    none = np.zeros((len(labels), 0), np.uint8)
    chosen = np.arange(BEFORE, len(labels))
    for kind, scale in SCALES.items():
        network = Network.attention(
            MAX_TOKENS,
            WIDTH,
            HEADS,
            HIDDEN,
            2,
            schedule=Schedule(free=24, nudged=16, window=8),
            query_learning_rate_scale=32.0,
            table_rows=None if scale is None else ROWS,
            table_learning_rate_scale=scale or 0.0,
        )
        weights = network.initial_weights(0)
        if network.table is not None:
            weights[network.table.name] = tokens.table.astype(np.int64)
        kernel = Kernel(network, weights, learning_rate=ETA)
        kernel.train(none, labels, np.arange(BEFORE), tokens=tokens)
        engine = EngineModel(BOARDS["ulx3s-85f"].with_size(lanes=16).config)
        chip = Chip(engine, network, kernel.weights, learning_rate=ETA, counter=kernel.counter)
        runs = [chip.sample(none[j], targets[j], tokens=tokens.take([j])) for j in chosen]
        kernel.train(none, labels, chosen, tokens=tokens)
        if any((w != chip.weights[name]).any() for name, w in kernel.weights.items()):
            raise AssertionError("engine and kernel differ")
        patterns = 2 * chip.compiled.token_words(tokens.sample(0))[1].size
        print(
            f"{name}, {kind}: {np.mean([run.cycles for run in runs]):,.0f} cycles "
            f"(ideal {np.mean([run.accesses for run in runs]):,.0f}), "
            f"{patterns:,} bytes out, {patterns if network.table else 0:,} bytes back"
        )
