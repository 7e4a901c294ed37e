"""Self-attention as spikes and on the engine: the tables of docs/explanation/self_attention_engine.md.

    python -m benchmarks.self_attention

Networks have two layers, 32 positions and 32 features.  Rates: 20 random sequences of 32 symbols, weights of
3 seeds, queries and keys 6 times those at the start of training, so that attention is not uniform; seven
windows of T steps.  Cycles: the exact model of the engine, 2 sequences.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from equilif_golden.engine.chip import Chip
from equilif_golden.engine.compiler import engine_for
from equilif_golden.engine.model import EngineModel
from equilif_golden.fixed import Numerics
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network, SelfAttention, Weights
from equilif_golden.real.rates import Rates
from equilif_golden.real.transformer import initial_weights
from equilif_golden.schedule import Schedule

POSITIONS = SYMBOLS = FEATURES = 32
WINDOWS = 7
SHARPER = 6
TIMES = (4, 8, 16, 32)
SEEDS = range(3)


def sequences(n: int) -> npt.NDArray[np.uint8]:
    """One-hot codes (n, positions x symbols) of random sequences."""
    symbols = np.random.default_rng(0).integers(0, SYMBOLS, (n, POSITIONS))
    return (np.eye(SYMBOLS, dtype=np.uint8)[symbols] * 255).reshape(n, -1)


def transformer(window: int, hidden: int) -> Network:
    schedule = Schedule(free=WINDOWS * window, window=window, nudged=window)
    return Network.transformer(
        POSITIONS,
        SYMBOLS,
        FEATURES,
        2,
        SYMBOLS,
        heads=2,
        hidden=hidden,
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


def errors(window: int) -> dict[str, tuple[float, float]]:
    """Root mean square and largest difference of measured rates and exact ones, by population."""
    network = transformer(window, 2 * FEATURES)
    x = sequences(20)
    differences = []
    for seed in SEEDS:
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


def cycles(lanes: int, window: int = 16) -> tuple[int, int, int]:
    """Instructions, cycles of a sequence, and those without the self-attention of each window."""
    network = transformer(window, FEATURES)
    chip = Chip(
        EngineModel(replace(engine_for(network, lanes=lanes), tiles=1 << 12)), network, weights(network, 0)
    )
    instructions = len(chip.compiled.program(0.0))
    runs = [chip.sample(x).cycles for x in sequences(2)]
    chip.compiled._attend = list  # type: ignore[method-assign]
    chip.engine.load(chip.compiled.program(0.0))
    without = [chip.sample(x).cycles for x in sequences(2)]
    return instructions, sum(runs) // 2, sum(without) // 2


def main() -> None:
    for window in TIMES:
        found = {name: f"{rms:.4f} ({top:.3f})" for name, (rms, top) in errors(window).items()}
        print(f"T {window}: rms (largest) {found}", flush=True)
    for lanes in (16, 32):
        print(
            f"{lanes} lanes: instructions, cycles, cycles without self-attention {cycles(lanes)}", flush=True
        )


if __name__ == "__main__":
    main()
