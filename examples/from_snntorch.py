"""Import a network from snnTorch through NIR, continue its training on the chip, and export it back.

    python examples/from_snntorch.py

1. snnTorch trains a feed-forward network on the digits without the 9, and writes a NIR file.
2. equilif imports the file and trains all digits from errors, which needs no feedback: the network stays what
   it was.
3. equilif writes the network as NIR, and snnTorch runs it.
"""

import dataclasses
import tempfile
from pathlib import Path

import nir
import nirtorch
import numpy as np
import snntorch
import torch
from snntorch.export_nir import export_to_nir
from snntorch.utils import reset

from equilif import Kernel
from equilif import nir as interchange
from equilif.data.sets import images
from equilif.data.sets.dataset import DataSet

STEPS = 24
WINDOW = 8
UNSEEN = 9
LEARNING_RATE = 0.02


def by_snntorch(path: Path, data: DataSet, epochs: int, seed: int) -> None:
    """Trained by surrogate gradients on all digits but one, written as NIR."""
    torch.manual_seed(seed)

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


class Neurons(torch.nn.Module):
    """Neurons of snnTorch for a node of a NIR file.  nirtorch passes on what is called ``state``."""

    def __init__(self, node: nir.LIF):
        super().__init__()
        leak, threshold = float(1 / node.r.flat[0]), float(node.v_threshold.flat[0])
        self.cell = snntorch.Leaky(1 - leak, threshold, reset_mechanism="subtract", reset_delay=False)

    def forward(
        self, drive: torch.Tensor, state: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        spikes, membrane = self.cell(drive, torch.zeros_like(drive) if state is None else state)
        return spikes, membrane


def affine(node: nir.Affine) -> torch.nn.Linear:
    layer = torch.nn.Linear(node.weight.shape[1], node.weight.shape[0])
    layer.weight.data, layer.bias.data = (torch.tensor(v).float() for v in (node.weight, node.bias))
    return layer


def in_snntorch(path: Path, x: np.ndarray) -> np.ndarray:
    """Classes of the samples (n, 64), by snnTorch from a NIR file."""
    net = nirtorch.nir_to_torch(nir.read(path), {nir.LIF: Neurons, nir.Affine: affine}, dtype=torch.float32)
    inputs = torch.tensor(x / 256, dtype=torch.float32)
    spikes, state = [], None
    with torch.no_grad():
        for _ in range(STEPS):
            out, state = net(inputs) if state is None else net(inputs, state)
            spikes.append(out)
    classes: np.ndarray = torch.stack(spikes)[-WINDOW:].sum(0).argmax(1).numpy()
    return classes


def main(epochs: int = 10, further: int = 5, seed: int = 0) -> list[tuple[float, float]]:
    """Accuracy on all digits and on the unseen one: imported, trained on, back in snnTorch."""
    data = images.digits()
    nines = data.y_test == UNSEEN
    results: list[tuple[float, float]] = []

    def report(what: str, predictions: np.ndarray) -> None:
        correct = predictions == data.y_test
        results.append((float(correct.mean()), float(correct[nines].mean())))
        print(
            f"{what:28} {correct.mean():6.1%} of all test digits, {correct[nines].mean():6.1%} of the nines"
        )

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "snntorch.nir"
        by_snntorch(path, data, epochs, seed)
        imported = interchange.load(path)
        schedule = dataclasses.replace(imported.network.schedule, contrast="errors")
        network = dataclasses.replace(imported.network, schedule=schedule)
        chip = Kernel(network, imported.weights, learning_rate=LEARNING_RATE)
        report("trained by snnTorch", chip.predict(data.x_test))
        for epoch in range(further):
            order = np.random.default_rng(epoch).permutation(len(data.y_train))
            chip.train(data.x_train, data.y_train, order)
        report("trained on by equilif", chip.predict(data.x_test))

        back = Path(folder) / "equilif.nir"
        interchange.save(back, network, chip.weights)
        report("the same in snnTorch", in_snntorch(back, data.x_test))
    return results


if __name__ == "__main__":
    main()
