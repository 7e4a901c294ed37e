"""Baseline of benchmarks: stochastic gradient descent in PyTorch, as in its tutorials.

Linear layers or convolutions with ReLU between them, cross entropy, batch 1, torch.optim.SGD, one thread.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from equilif.data.base.arrays import Bytes
from equilif.data.sets.dataset import DataSet
from equilif.training.settings.description import Description
from equilif.training.settings.presets import PRESETS
from equilif_golden.extras import needs
from equilif_golden.network import Network
from equilif_golden.populations import Population

with needs("torch"):
    import torch

#: learning rates by data set: those with which samples that were held out of the training set were right
#: first, 97 % of them, of .005 to .05 (MNIST) and .01 to .1 (digits), 2 seeds.  .05 is also the best of .02,
#: .05 and .1 for 64-64-32-16-10 on the digits, and of .02 and .05 for convolutions of 16 and 32 maps
RATES = {"digits": 0.05, "mnist": 0.01}


class Backpropagation:
    """``description``: network and training, by default the preset of the data.  ``decay``: the learning rate
    falls over the epochs as in the description, else it stays.
    """

    def __init__(
        self, data: DataSet, seed: int, description: Description | None = None, *, decay: bool = False
    ):
        self.description = description or PRESETS[data.name]
        self.rate = RATES[data.name]
        self.decay = decay
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        network = self.description.network(data)
        self.model = torch.nn.Sequential(*_layers(network))
        self.fold = network.inputs[0].fold
        self.shape = network.inputs[0].shape
        self.data = data
        self.x = self._inputs(data.x_train)
        self.y = torch.tensor(data.y_train)
        self.loss = torch.nn.CrossEntropyLoss()
        self.optimiser = torch.optim.SGD(self.model.parameters(), lr=self.rate)

    def _inputs(self, x: Bytes) -> torch.Tensor:
        """8-bit samples in 0 .. 1; images of a convolution as (n, maps, height, width)."""
        values = torch.tensor(x[:, self.fold], dtype=torch.float32) / 255
        return values.view(-1, *self.shape).permute(0, 3, 1, 2) if self.shape else values

    def begin(self, epoch: int) -> None:
        if self.decay:
            left = self.description.rate(epoch) / self.description.rate(0)
            self.optimiser.param_groups[0]["lr"] = self.rate * left

    def train(self, order: npt.NDArray[np.int64], x: Bytes | None = None) -> None:
        if x is not None:
            self.x = self._inputs(x)
        for j in order.tolist():
            self.optimiser.zero_grad()
            self.loss(self.model(self.x[j : j + 1]), self.y[j : j + 1]).backward()
            self.optimiser.step()

    def accuracy(self) -> float:
        with torch.no_grad():
            right = self.model(self._inputs(self.data.x_test)).argmax(dim=1).numpy() == self.data.y_test
        return float(right.mean())


def _layers(network: Network) -> Iterator[torch.nn.Module]:
    """Layers of a chain; ValueError for another graph."""
    source = network.inputs[0]
    before: Population = source
    for p in network.lif:
        into = [s for s in network.synapses if s.post == p.name and network[s.pre].kind != "constant"]
        if [s.pre for s in into] != [before.name]:
            raise ValueError(
                f"population {p.name!r}: backpropagation is compared for chains, in which each population "
                "receives from the one before it"
            )
        if before is not source:
            yield torch.nn.ReLU()
        geometry = network.geometry(into[0])
        if geometry:
            yield torch.nn.Conv2d(geometry.pre.maps, geometry.post.maps, geometry.kernel, geometry.stride)
        else:
            if before.shape:
                yield torch.nn.Flatten()
            yield torch.nn.Linear(before.size, p.size)
        before = p
