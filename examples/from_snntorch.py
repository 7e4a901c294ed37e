"""A network that snnTorch trained, brought here through NIR, that goes on learning on the chip.

    python examples/from_snntorch.py

snnTorch trains a feed-forward network on the digits, but has never seen the digit 9. Its file is read; every
synapse gets the way back that Equilibrium Propagation needs; and the network then learns all digits, by the
rule that the chip has, as fast and as long as the preset of the digits says.
"""

import dataclasses
import tempfile
from pathlib import Path

import nir
import numpy as np
import snntorch
import torch
from snntorch.export_nir import export_to_nir
from snntorch.utils import reset

from equilif import Kernel, Network
from equilif import nir as interchange
from equilif.data import images
from equilif.data.dataset import DataSet
from equilif.training.presets import PRESETS

STEPS = 24
WINDOW = 8
UNSEEN = 9


def by_snntorch(path: Path, data: DataSet, epochs: int) -> None:
    """Trained by surrogate gradients on all digits but one, written as NIR."""
    torch.manual_seed(0)

    def neurons(n: int) -> torch.nn.Module:
        return snntorch.Leaky(
            beta=torch.full((n,), 0.875),  # a leak of 1/8, which this chip has too
            threshold=torch.full((n,), 1.0),
            init_hidden=True,
            reset_mechanism="subtract",
            reset_delay=False,
        )

    net = torch.nn.Sequential(torch.nn.Linear(64, 64), neurons(64), torch.nn.Linear(64, 10), neurons(10))
    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    seen = data.y_train != UNSEEN
    x = torch.tensor(data.x_train[seen] / 256, dtype=torch.float32)
    y = torch.tensor(data.y_train[seen])
    for _ in range(epochs):
        for batch in torch.randperm(len(y)).split(64):
            reset(net)
            counts = torch.stack([net(x[batch]) for _ in range(STEPS)])[-WINDOW:].sum(0)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(counts, y[batch]).backward()
            optimizer.step()
    reset(net)
    nir.write(path, export_to_nir(net, torch.zeros(64)))


def with_feedback(network: Network) -> Network:
    """The same synapses, both ways."""
    both = tuple(dataclasses.replace(s, feedback=True) for s in network.synapses)
    return dataclasses.replace(network, synapses=both)


def main(epochs: int = 10, further: int | None = None) -> list[tuple[float, float]]:
    """Accuracy on all digits and on the unseen one: as it came, with feedback, after learning on."""
    data = images.digits()
    preset = PRESETS["digits"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "snntorch.nir"
        by_snntorch(path, data, epochs)
        read = interchange.load(path)
    nines = data.y_test == UNSEEN
    told: list[tuple[float, float]] = []

    def tell(what: str, model: Kernel) -> None:
        right = model.predict(data.x_test) == data.y_test
        told.append((float(right.mean()), float(right[nines].mean())))
        print(f"{what:32} {right.mean():6.1%} of all test digits, {right[nines].mean():6.1%} of the nines")

    tell("as snnTorch trained it", Kernel(read.network, read.weights))
    chip = Kernel(with_feedback(read.network), read.weights, learning_rate=preset.learning_rate)
    tell("with feedback", chip)
    for epoch in range(preset.epochs if further is None else further):
        chip.set_learning_rate(preset.rate(epoch))
        chip.train(data.x_train, data.y_train, np.random.default_rng(epoch).permutation(len(data.y_train)))
    tell("after learning on, by EP", chip)
    return told


if __name__ == "__main__":
    main()
