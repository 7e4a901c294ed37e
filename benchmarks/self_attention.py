"""Self-attention as spikes and on the engine: the tables of docs/explanation/self_attention_engine.md.

Networks have two layers, 32 positions and 32 features.  Rates: 20 random sequences of 32 symbols, weights of
3 seeds, queries and keys 6 times those at the start of training, so that attention is not uniform; seven
windows of T steps.  Cycles: the exact model of the engine of the ULX3S 85F with convolutions, and with
self-attention; 16 symbols and hidden neurons per position, which fill it; 4 windows of 8 steps, 5 sequences.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.common import Seeds
from equilif_boards import BOARDS
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.model import EngineModel
from equilif_golden.fixed import Numerics
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network, SelfAttention, TransformerSizes, Weights
from equilif_golden.real.rates import Rates
from equilif_golden.real.transformer import initial_weights
from equilif_golden.schedule import Schedule

POSITIONS = SYMBOLS = FEATURES = 32
WINDOWS = 7
SHARPER = 6
TIMES = (4, 8, 16, 32)


def sequences(n: int, symbols: int = SYMBOLS) -> npt.NDArray[np.uint8]:
    """One-hot codes (n, positions x symbols) of random sequences."""
    chosen = np.random.default_rng(0).integers(0, symbols, (n, POSITIONS))
    return (np.eye(symbols, dtype=np.uint8)[chosen] * 255).reshape(n, -1)


def transformer(window: int) -> Network:
    schedule = Schedule(free=WINDOWS * window, window=window, nudged=window)
    return Network.transformer(
        TransformerSizes(POSITIONS, SYMBOLS, FEATURES, 2, SYMBOLS, heads=2),
        schedule=schedule,
        numerics=Numerics(charge_width=20),
    )


def weights(network: Network, seed: int) -> Weights:
    found = initial_weights(network, seed)
    for s in network.synapses:
        post = network[s.post]
        if isinstance(post, SelfAttention):
            found[s.name][:, : 2 * post.maps] *= SHARPER
    return found


def errors(window: int, seeds: Iterable[int]) -> dict[str, tuple[float, float]]:
    """Root mean square and largest difference of measured rates and exact ones, by population."""
    network = transformer(window)
    x = sequences(20)
    differences = []
    for seed in seeds:
        w = weights(network, seed)
        model = Rates(network, w, dtype=torch.float64, tolerance=1e-10, limit=2000)
        with torch.no_grad():
            exact = model(torch.tensor(x))[0].numpy()
        differences.append(Kernel(network, w).settle(x).rates[:, 0] / 256 - exact)
    all_seeds = np.concatenate(differences)
    return {
        name: (float(np.sqrt((d**2).mean())), float(np.abs(d).max()))
        for name, part in network.neurons.items()
        if name.startswith(("embedding", "features", "output"))
        for d in [all_seeds[:, part]]
    }


def cycles() -> str:
    schedule = Schedule(free=32, window=8, nudged=8)
    network = Network.transformer(
        TransformerSizes(POSITIONS, 16, FEATURES, 2, 16, heads=2, hidden=16), schedule=schedule
    )
    board = BOARDS["ulx3s-85f-maps"]
    chip = Chip(EngineModel(replace(board.config, self_attention=True)), network, weights(network, 0))
    program = chip.compiled.program(0.0)
    chip.compiled._attend = lambda phase: []  # type: ignore[method-assign]
    without = chip.compiled.program(0.0)
    counts = []
    for instructions in (program, without):
        chip.engine.load(instructions)
        runs = [chip.sample(x) for x in sequences(5, 16)]
        counts.append([sum(getattr(r, name) for r in runs) // 5 for name in ("cycles", "accesses")])
    (all_cycles, all_words), (other_cycles, other_words) = counts
    return (
        f"{len(program)} instructions; a sequence: {all_cycles:,} cycles, {all_words:,} words of weights; of "
        f"these self-attention: {all_cycles - other_cycles:,}, {all_words - other_words:,}\na token: "
        f"{all_cycles / POSITIONS:,.0f} cycles, {board.clock_hz * POSITIONS / all_cycles:,.0f} tokens/s at "
        f"{board.clock_hz / 1e6:g} MHz"
    )


def main(*, seeds: Seeds = 3) -> None:
    for window in TIMES:
        found = errors(window, range(seeds)).items()
        shown = ", ".join(f"{name} {rms:.4f} ({top:.3f})" for name, (rms, top) in found)
        print(f"T {window}: {shown}", flush=True)
    print(cycles())
