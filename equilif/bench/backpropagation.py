"""Baseline of the speed benchmark: stochastic gradient descent in PyTorch, as in its tutorials.

A chain of linear layers with ReLU between them, cross entropy, batch 1, torch.optim.SGD, one thread.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from equilif.data.base.arrays import Bytes
from equilif.data.sets.dataset import DataSet
from equilif.training.settings.presets import PRESETS
from equilif_golden.extras import needs

with needs("torch"):
    import torch

#: learning rates: those with which samples that were held out of the training set were right first, 97 % of
#: them, of .005 to .05 (MNIST) and .01 to .1 (digits), 2 seeds
RATES = {"digits": 0.05, "mnist": 0.01}


class Backpropagation:
    """``decay``: the learning rate falls over the epochs as that of the data's preset, else it stays."""

    def __init__(self, data: DataSet, seed: int, *, decay: bool = False):
        self.preset = PRESETS[data.name]
        self.decay = decay
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        self.put(data.x_train, data.y_train)
        self.x_test = torch.tensor(data.x_test, dtype=torch.float32) / 255
        self.y_test = torch.tensor(data.y_test)
        sizes = [data.n_features, *self.preset.hidden]
        layers: list[torch.nn.Module] = []
        for before, after in zip(sizes, sizes[1:], strict=False):
            layers += [torch.nn.Linear(before, after), torch.nn.ReLU()]
        self.model = torch.nn.Sequential(*layers, torch.nn.Linear(sizes[-1], data.n_classes))
        self.loss = torch.nn.CrossEntropyLoss()
        self.optimiser = torch.optim.SGD(self.model.parameters(), lr=RATES[data.name])

    def put(self, x: Bytes, y: npt.NDArray[np.int64]) -> None:
        """Replace the training samples."""
        self.x = torch.tensor(x, dtype=torch.float32) / 255
        self.y = torch.tensor(y)

    def begin(self, epoch: int) -> None:
        if self.decay:
            left = self.preset.rate(epoch) / self.preset.rate(0)
            self.optimiser.param_groups[0]["lr"] = RATES[self.preset.data] * left

    def train(self, order: npt.NDArray[np.int64]) -> None:
        for j in order.tolist():
            self.optimiser.zero_grad()
            self.loss(self.model(self.x[j : j + 1]), self.y[j : j + 1]).backward()
            self.optimiser.step()

    def predict(self, x: Bytes) -> npt.NDArray[np.int64]:
        """Class of each sample."""
        with torch.no_grad():
            found: npt.NDArray[np.int64] = (
                self.model(torch.tensor(x, dtype=torch.float32) / 255).argmax(1).numpy()
            )
        return found

    def accuracy(self) -> float:
        with torch.no_grad():
            right = self.model(self.x_test).argmax(dim=1) == self.y_test
        return float(right.float().mean())
