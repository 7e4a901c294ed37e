"""Accuracy of associative recall: 16 pairs of a key and a value, then one key.  Which value followed it?

    python -m benchmarks.associative_recall FOLDER [--layers 2] [--steps 1000] [--spikes 16 32 64]

32 keys and 32 values; a test sequence has 16 different keys.  Training sequences are generated, and repeat
some pairs, so that more than the last position has a known answer.  Test: 2,000 other generated sequences.
--layers 0: Network.attention, one layer whose patterns are an embedding table of symbols by position.
--spikes: accuracy of the integer network by number of time steps, in windows of a quarter.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from equilif.data.characters import one_hot
from equilif_golden import network as networks
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network, TokenRows
from equilif_golden.real import transformer
from equilif_golden.real.attention import batch
from equilif_golden.real.rates import Rates
from equilif_golden.real.trainer import Trainer
from equilif_golden.schedule import Schedule

PAIRS, KEYS, VALUES = 16, 32, 32
POSITIONS = 2 * PAIRS + 1
SYMBOLS = KEYS + VALUES
BATCH = 64


def sequences(rng: np.random.Generator, n: int, *, repeat: bool) -> tuple[np.ndarray, np.ndarray]:
    """Symbols (n, POSITIONS), keys before values, and labels (n, POSITIONS), -1 where the answer is unknown.

    ``repeat``: three quarters of the sequences have fewer different pairs.
    """
    codes = np.empty((n, POSITIONS), np.uint8)
    labels = np.full((n, POSITIONS), -1)
    for i in range(n):
        different = int(rng.integers(2, PAIRS)) if repeat and rng.random() < 0.75 else PAIRS
        keys = rng.permutation(KEYS)[:different]
        values = rng.integers(0, VALUES, different)
        pairs = np.concatenate([np.arange(different), rng.integers(0, different, PAIRS - different)])
        pairs = rng.permutation(pairs)
        query = int(rng.integers(different))
        codes[i, :-1:2], codes[i, 1::2], codes[i, -1] = keys[pairs], KEYS + values[pairs], keys[query]
        first = {int(p): k for k, p in reversed(list(enumerate(pairs)))}
        known = np.array([first[int(p)] < k for k, p in enumerate(pairs)])
        labels[i, :-1:2][known] = values[pairs][known]
        labels[i, -1] = values[query]
    return codes, labels


def of_layers(layers: int, steps: int, seed: int, noise: float) -> Trainer:
    net = Network.transformer(POSITIONS, SYMBOLS, 64, layers, VALUES, heads=4, hidden=64)
    return Trainer(
        Rates(net, transformer.initial_weights(net, seed, query=0.2, sines=False)),
        steps=steps,
        learning_rate=2e-3,
        warm_up=100,
        noise=noise,
        batch=BATCH,
        scales=transformer.learning_rates(net),
        centres=transformer.centres(net),
        loss=transformer.cross_entropy,
        clip=1.0,
    )


def of_patterns(steps: int, seed: int) -> Trainer:
    """One attention layer with learned queries, whose patterns are symbols at their positions."""
    net = Network.attention(POSITIONS, 64, 8, 128, VALUES, table_rows=POSITIONS * SYMBOLS)
    weights = net.initial_weights(seed)
    table = np.random.default_rng(seed).normal(0, 0.3, weights["memory-query"].shape)
    weights["memory-query"] = net.numerics.weight.quantize(table)
    loss = transformer.cross_entropy
    return Trainer(
        Rates(net, weights, tolerance=1e-3),
        steps=steps,
        learning_rate=2e-3,
        warm_up=100,
        batch=BATCH,
        loss=lambda drive, labels: loss(drive, labels[:, -1:]),
        clip=1.0,
    )


def given(model: Rates, codes: np.ndarray) -> list[torch.Tensor]:
    """Arguments of the model."""
    if model.network.n_inputs:
        return [torch.tensor(one_hot(codes, SYMBOLS))]
    rows = (codes + SYMBOLS * np.arange(POSITIONS)).astype(np.int32).ravel()
    tokens = TokenRows(np.zeros((0, 0), np.int16), rows, np.arange(len(codes) + 1) * POSITIONS)
    return [
        torch.zeros(len(codes), 0, dtype=torch.uint8),
        *batch(model.values[0], tokens, np.arange(len(codes))),
    ]


def accuracy(model: Rates, codes: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Correct answers at the last position, and samples that settle to 1/1000."""
    right = settled = 0.0
    with torch.no_grad():
        for some in np.split(np.arange(len(codes)), len(codes) // 100):
            drive = model(*given(model, codes[some]))[1].clamp(0, 1).view(len(some), -1, VALUES)[:, -1]
            right += int((drive.argmax(1).numpy() == labels[some, -1]).sum())
            residual = model.there.residual if model.there else torch.zeros(len(some))
            settled += int((residual <= 1e-3).sum())
    return right / len(codes), settled / len(codes)


def spiking_accuracy(net: Network, weights: networks.Weights, codes: np.ndarray, labels: np.ndarray) -> float:
    rates = Kernel(net, weights).settle(one_hot(codes, SYMBOLS)).rates[:, 0, net.neurons[net.output]]
    last = rates.reshape(len(codes), POSITIONS, VALUES)[:, -1]
    return float((last.argmax(1) == labels[:, -1]).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--noise", type=float, default=0.03, help="standard deviation, on rates in training")
    parser.add_argument("--spikes", type=int, nargs="*", default=[])
    a = parser.parse_args()
    torch.set_num_threads(1)
    a.folder.mkdir(parents=True, exist_ok=True)
    trainer = of_layers(a.layers, a.steps, a.seed, a.noise) if a.layers else of_patterns(a.steps, a.seed)
    model = trainer.model
    assert isinstance(model, Rates)
    rng = np.random.default_rng(a.seed)
    test = sequences(np.random.default_rng(1 << 32), 2000, repeat=False)
    validation = sequences(np.random.default_rng((1 << 32) + 1), 500, repeat=False)
    for step in range(1, a.steps + 1):
        codes, labels = sequences(rng, BATCH, repeat=True)
        trainer.step(given(model, codes), torch.tensor(labels), BATCH)
        if step % 200 == 0:
            print(step, f"validation {accuracy(model, *validation)[0]:.4f}", flush=True)
            networks.save(a.folder / "network.npz", model.network, model.quantised())
    right, settled = accuracy(model, *test)
    print(f"test {right:.4f}, {settled:.2%} of the samples settle to 1/1000")
    for free in a.spikes:
        window = free // 4
        net = replace(model.network, schedule=Schedule(free=free, nudged=window, window=window))
        print(
            f"{free} time steps: test {spiking_accuracy(net, model.quantised(), *test):.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
