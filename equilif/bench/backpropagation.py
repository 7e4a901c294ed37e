"""Baseline of the speed benchmark: stochastic gradient descent in PyTorch, as in its tutorials.

A chain of linear layers with ReLU between them, cross entropy, torch.optim.SGD, one thread.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from equilif.bench.throughput import LEARNING_RATES
from equilif.data.sets.dataset import DataSet
from equilif.training.settings.presets import PRESETS
from equilif_golden.extras import needs

with needs("torch"):
    import torch


class Backpropagation:
    """Updates for ``batch`` samples each.

    ``decay``: the learning rate falls over the epochs as that of the data's preset, else it stays.
    """

    def __init__(self, data: DataSet, seed: int, *, batch: int = 1, decay: bool = False):
        self.preset = PRESETS[data.name]
        self.batch = batch
        self.rate = LEARNING_RATES[data.name][batch]
        self.decay = decay
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        self.x = torch.tensor(data.x_train, dtype=torch.float32) / 255
        self.y = torch.tensor(data.y_train)
        self.x_test = torch.tensor(data.x_test, dtype=torch.float32) / 255
        self.y_test = torch.tensor(data.y_test)
        sizes = [data.n_features, *self.preset.hidden]
        layers: list[torch.nn.Module] = []
        for before, after in zip(sizes, sizes[1:], strict=False):
            layers += [torch.nn.Linear(before, after), torch.nn.ReLU()]
        self.model = torch.nn.Sequential(*layers, torch.nn.Linear(sizes[-1], data.n_classes))
        self.loss = torch.nn.CrossEntropyLoss()
        self.optimiser = torch.optim.SGD(self.model.parameters(), lr=self.rate)

    def begin(self, epoch: int) -> None:
        if self.decay:
            left = self.preset.rate(epoch) / self.preset.rate(0)
            self.optimiser.param_groups[0]["lr"] = self.rate * left

    def train(self, order: npt.NDArray[np.int64]) -> None:
        for first in range(0, len(order), self.batch):
            part = torch.from_numpy(order[first : first + self.batch])
            self.optimiser.zero_grad()
            self.loss(self.model(self.x[part]), self.y[part]).backward()
            self.optimiser.step()

    def accuracy(self) -> float:
        with torch.no_grad():
            right = self.model(self.x_test).argmax(dim=1) == self.y_test
        return float(right.float().mean())
