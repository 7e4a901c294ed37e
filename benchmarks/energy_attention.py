"""Self-attention with an energy, trained by Equilibrium Propagation (docs/explanation/self_attention.md).

    python -m benchmarks.energy_attention              the tables
    python -m benchmarks.energy_attention --validate   validation accuracies, from which settings were chosen
    python -m benchmarks.energy_attention --quick      either on few samples, to see that it runs

Digits: 8 tokens, the rows of 8 pixels, with 8 features per position.  Validation: the last 300 of the 1,437
training samples, 2 seeds, mean of the last three of 20 epochs.  Tables: 3 seeds, all training samples.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from equilif.data import images
from equilif.data.dataset import DataSet
from equilif_golden import samples
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.compiler import engine_for
from equilif_golden.engine.model import EngineModel
from equilif_golden.fixed import Raw
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network, Synapse, Weights
from equilif_golden.populations import Constant, Input, Lif, Population, SelfAttention
from equilif_golden.real import energy
from equilif_golden.real.rates import Rates
from equilif_golden.real.trainer import Trainer
from equilif_golden.reference import Reference
from equilif_golden.schedule import Schedule

FEATURES, HEADS, WIDTH = 8, 2, 8
VALIDATION = 300
BETAS = (0.5, 0.25, 0.1, 0.01)


@dataclass(frozen=True)
class Size:
    """Training samples (None: all), epochs of both ways to train, and numbers of seeds."""

    samples: int | None = None
    epochs: int = 20
    epochs_implicit: int = 10
    seeds: int = 3
    validation_seeds: int = 2


QUICK = Size(VALIDATION + 50, 3, 1, 1, 1)
#: learning rate and beta by whether there is attention
CHOSEN = {True: (0.01, 0.5), False: (0.02, 0.5)}
#: of implicit differentiation, by whether there is attention
CHOSEN_IMPLICIT = {True: 1e-2, False: 1e-2}


def made(attention: bool, beta: float = 0.5) -> Network:
    """Rows of an image to features, which attend to each other, to classes."""
    shape = (8, 1, FEATURES)
    populations: list[Population] = [
        Input.of_shape("rows", (8, 1, 8)),
        Constant("bias", 1),
        Lif.of_shape("features", shape),
    ]
    synapses = [Synapse("rows", "features", kernel=1), Synapse("bias", "features", per_position=True)]
    if attention:
        maps = (8, 1, 2 * HEADS * WIDTH)
        populations.append(SelfAttention.of_shape("attention", maps, heads=HEADS, energy=True))
        synapses += [Synapse("features", "attention", kernel=1), Synapse("bias", "attention")]
    return Network.with_numerics(
        (*populations, Lif("output", 10)),
        (*synapses, Synapse("features", "output"), Synapse("bias", "output")),
        "output",
        Schedule(free=32, nudged=16, window=8, beta=beta),
    )


def by_phases(
    network: Network, rate: float, seed: int, data: DataSet, trained: int, epochs: int
) -> list[Kernel]:
    """Kernels after each of the last three epochs of integer Equilibrium Propagation."""
    kernel = Kernel(network, network.initial_weights(seed), learning_rate=rate)
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(epochs):
        kernel.train(data.x_train[:trained], data.y_train[:trained], rng.permutation(trained))
        found.append(Kernel(network, kernel.weights))
    return found[-3:]


def by_gradient(network: Network, rate: float, seed: int, data: DataSet, trained: int, epochs: int) -> Rates:
    """The same network after implicit differentiation, in batches of 32."""
    model = Rates(network, network.initial_weights(seed), tolerance=1e-3)
    steps = epochs * -(-trained // 32)
    trainer = Trainer(model, steps=steps, learning_rate=rate, warm_up=20, batch=32)
    rng = np.random.default_rng(seed)
    for epoch in range(epochs):
        order = rng.permutation(trained)
        trainer.epoch(data.x_train[:trained], data.y_train[:trained], order, seed=epoch)
    return model


def real_accuracy(model: Rates, x: npt.NDArray[np.uint8], y: Raw) -> float:
    with torch.no_grad():
        return float((model(torch.tensor(x))[1].argmax(1).numpy() == y).mean())


def percent(values: Iterable[float]) -> str:
    found = [100 * v for v in values]
    return f"{np.mean(found):.1f} ({', '.join(f'{v:.1f}' for v in found)})"


def validate(data: DataSet, size: Size) -> None:
    seeds = range(size.validation_seeds)
    n = len(data.x_train) - VALIDATION
    x, y = data.x_train[n:], data.y_train[n:]
    for attention in (True, False):
        for beta in (0.5, 0.25):
            for rate in (0.02, 0.01, 0.005, 0.0025):
                last = [by_phases(made(attention, beta), rate, seed, data, n, size.epochs) for seed in seeds]
                means = [np.mean([k.accuracy(x, y) for k in kernels]) for kernels in last]
                print(
                    f"attention {attention}, beta {beta}, rate {rate}: {percent(map(float, means))}",
                    flush=True,
                )
        for rate in (1e-2, 3e-3):
            models = [
                by_gradient(made(attention), rate, seed, data, n, size.epochs_implicit) for seed in seeds
            ]
            found = percent(real_accuracy(m, x, y) for m in models)
            print(f"attention {attention}, implicit, rate {rate}: {found}", flush=True)


def cosines(network: Network, weights: Weights, x: npt.NDArray[np.uint8], y: Raw) -> dict[str, float]:
    """Smallest cosine of a synapse of real EP by beta, and that of the integers for queries and keys."""
    found = {f"beta {b}": min(c.values()) for b, c in energy.agreement(network, weights, x, y, BETAS).items()}
    target = samples.one_hot(y, network.n_outputs)
    model = Rates(network, weights, dtype=torch.float64, tolerance=1e-10, limit=2000)
    free = model(torch.tensor(x))[0]
    loss = ((torch.tensor(target) / 256 - free[:, model.part["output"]]) ** 2).sum() / 2
    (gradient,) = torch.autograd.grad(loss, model.w["features-attention"])
    for beta in BETAS[:3]:
        integer = replace(network, schedule=replace(network.schedule, beta=beta))
        result = Reference(integer, weights).train(x.astype(np.int64), target, learn=False)
        ends = [
            (rates["features"].reshape(len(x) * 8, -1), recalled.answer["attention"].reshape(len(x) * 8, -1))
            for rates, recalled in zip((result.plus, result.minus), result.recalled[1:], strict=True)
        ]
        update = torch.tensor(ends[0][0].T @ ends[0][1] - ends[1][0].T @ ends[1][1]).double()
        found[f"integers, beta {beta}"] = float(
            torch.cosine_similarity(update.flatten(), -gradient.flatten(), dim=0)
        )
    return found


def cycles(data: DataSet) -> None:
    """Of a sample on an engine of 8 lanes, without and with training; and whether it learns as the kernel."""
    rate, beta = CHOSEN[True]
    for attention in (True, False):
        network = made(attention, beta)
        chip = Chip(EngineModel(engine_for(network, lanes=8)), network, learning_rate=rate)
        kernel = Kernel(network, learning_rate=rate)
        targets = samples.one_hot(data.y_train[:5], 10)
        counts = []
        for j, target in enumerate(targets):
            infer = chip.sample(data.x_train[j].astype(np.int64)).cycles
            counts.append((infer, chip.sample(data.x_train[j].astype(np.int64), target).cycles))
        kernel.train(data.x_train[:5], data.y_train[:5], np.arange(5))
        same = all((w == kernel.weights[name]).all() for name, w in chip.weights.items())
        mean = np.mean(counts, axis=0)
        print(
            f"8 lanes, attention {attention}: {len(chip.compiled.program(rate))} instructions, cycles of "
            f"inference {mean[0]:,.0f}, training {mean[1]:,.0f}; weights equal: {same}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--validate", action="store_true")
    parser.add_argument("--quick", action="store_true")
    a = parser.parse_args()
    torch.set_num_threads(1)
    size = QUICK if a.quick else Size()
    data = images.digits()
    data = replace(data, x_train=data.x_train[: size.samples], y_train=data.y_train[: size.samples])
    if a.validate:
        validate(data, size)
        return
    seeds = range(size.seeds)
    n = len(data.x_train)
    x, y = data.x_train[:100], data.y_train[:100]
    for seed in seeds:
        network = made(True, CHOSEN[True][1])
        print(f"seed {seed}, untrained:", cosines(network, network.initial_weights(seed), x, y), flush=True)
    for attention, (rate, beta) in CHOSEN.items():
        kernels = [by_phases(made(attention, beta), rate, seed, data, n, size.epochs)[-1] for seed in seeds]
        print(
            f"attention {attention}: {made(attention).n_weights:,} weights; Equilibrium Propagation: test",
            percent(k.accuracy(data.x_test, data.y_test) for k in kernels),
            flush=True,
        )
        if attention:
            print("trained:", cosines(kernels[0].network, kernels[0].weights, x, y), flush=True)
        models = [
            by_gradient(made(attention), CHOSEN_IMPLICIT[attention], seed, data, n, size.epochs_implicit)
            for seed in seeds
        ]
        spikes = [Kernel(m.network, m.quantised()) for m in models]
        print(
            f"attention {attention}: implicit differentiation: test",
            percent(real_accuracy(m, data.x_test, data.y_test) for m in models),
            "as spikes",
            percent(k.accuracy(data.x_test, data.y_test) for k in spikes),
            flush=True,
        )
    cycles(data)


if __name__ == "__main__":
    main()
