"""Exported networks in snnTorch, and networks of snnTorch to import."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nir
import nirtorch
import numpy as np
import numpy.typing as npt
import snntorch
import torch
from snntorch.export_nir import export_to_nir
from snntorch.import_nir import import_from_nir
from snntorch.utils import reset

from equilif import nir as interchange
from equilif.data.sets import images as data
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network, Weights
from equilif_golden.reference import Reference
from equilif_golden.schedule import Schedule

#: network of docs/how_to/interchange.md
PHASES: dict[str, Any] = {"free": 24, "nudged": 12, "window": 8}
#: each aligns one more detail than the one before
LIKE = (
    "nirtorch, snnTorch",
    "+ begins at half a threshold",
    "+ cut at -1 and +2 thresholds",
    "+ fires at the threshold, not above",
    "+ products rounded",
    "+ leak rounded",
)
START, CUT, REACH, PRODUCTS, LEAK = range(1, 6)


class RecordedNeurons(torch.nn.Module):
    """Neurons of snnTorch with the details of ``like``; records spikes."""

    def __init__(self, node: Any, like: int, one: int):
        super().__init__()
        self.like = like
        self.one = one
        self.threshold = float(node.v_threshold.flat[0])
        self.loss = float(1 / node.r.flat[0]) if isinstance(node, nir.LIF) else 0.0
        fire = (lambda above: (above >= 0).to(above.dtype)) if like >= REACH else None
        # what is done here is left out there; snnTorch would also reset, without a spike, a membrane that
        # is at its threshold after a reset
        self.cell = snntorch.Leaky(
            1.0 if like >= LEAK else 1 - self.loss,
            self.threshold,
            spike_grad=fire,
            reset_mechanism="none" if like >= REACH else "subtract",
            reset_delay=False,
        )
        self.spikes: list[torch.Tensor] = []

    def forward(
        self, drive: torch.Tensor, state: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if state is None:
            kept = 1.0 if self.like >= LEAK else 1 - self.loss
            state = torch.full_like(drive, self.threshold / 2 / kept if self.like >= START else 0.0)
        if self.like >= CUT:  # rounding the drive rounds the sum
            before = float(self.cell.beta) * state
            drive = torch.clamp(before + drive, -self.threshold, 2 * self.threshold) - before
        spike, state = self.cell(drive, state)
        spike = spike.to(drive.dtype)
        if self.like >= REACH:
            state = state - spike * self.threshold
        if self.like >= LEAK and self.loss:
            state = state - torch.floor(state * self.loss * self.one) / self.one
        self.spikes.append(spike)
        return spike, state


class Rounded(torch.nn.Module):
    """A linear layer with products and bias rounded down to the resolution of a weight."""

    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(self, node: Any, one: int):
        super().__init__()
        self.one = one
        self.register_buffer("weight", torch.tensor(node.weight))
        self.register_buffer("bias", torch.tensor(getattr(node, "bias", np.zeros(len(node.weight)))))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        products = torch.floor(x[:, None, :] * self.weight * self.one).sum(dim=2) + torch.floor(
            self.bias * self.one
        )
        return products / self.one


class RoundedKernel(Rounded):
    """A convolution with the same rounding."""

    def __init__(self, node: Any, one: int):
        super().__init__(node, one)
        self.stride = node.stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        k = self.weight.shape[2]
        n, _, height, width = x.shape
        sides = [(side - k) // s + 1 for side, s in zip((height, width), self.stride, strict=True)]
        seen = torch.nn.functional.unfold(x, k, stride=self.stride).transpose(1, 2).flatten(0, 1)
        flat = self.weight.flatten(1)
        products = torch.floor(seen[:, None, :] * flat * self.one).sum(dim=2) + torch.floor(
            self.bias * self.one
        )
        return products.view(n, *sides, -1).permute(0, 3, 1, 2) / self.one


def run(
    path: Path, x: npt.NDArray[np.uint8], steps: int, like: int = 0, *, one: int = 4096
) -> dict[str, npt.NDArray[np.int64]]:
    """Spikes (steps, batch, n) of every layer of neurons of a NIR file."""
    layers = {kind: lambda node: RecordedNeurons(node, like, one) for kind in (nir.IF, nir.LIF)}
    # nirtorch 2.6 takes NIR's dimensions, which have no batch, for torch's
    layers |= {nir.Flatten: lambda node: torch.nn.Flatten(node.start_dim + 1, node.end_dim)}
    if like >= PRODUCTS:
        layers |= {kind: lambda node: Rounded(node, one) for kind in (nir.Linear, nir.Affine)}
        layers |= {nir.Conv2d: lambda node: RoundedKernel(node, one)}
    # nirtorch 2.6 sets the bias of an Affine where torch does not look
    else:
        layers |= {nir.Affine: _affine}
    graph = nir.read(path)
    module = nirtorch.nir_to_torch(graph, layers, dtype=torch.float64)
    inputs = torch.tensor(x / 256)
    for node in graph.nodes.values():
        if isinstance(node, nir.Input) and len(node.input_type["input"]) == 3:
            channels, *sides = map(int, node.input_type["input"])
            inputs = inputs.view(-1, *sides, channels).permute(0, 3, 1, 2)
    state = None
    with torch.no_grad():
        for _ in range(steps):
            _, state = module(inputs) if state is None else module(inputs, state)
    return {
        name: _by_position(torch.stack(m.spikes)).numpy().astype(np.int64)
        for name, m in module.named_modules()
        if isinstance(m, RecordedNeurons)
    }


def _by_position(spikes: torch.Tensor) -> torch.Tensor:
    """Spikes of maps (steps, batch, maps, height, width) in the order of equilif."""
    return spikes.permute(0, 1, 3, 4, 2).flatten(2) if spikes.dim() == 5 else spikes


def _affine(node: Any) -> torch.nn.Linear:
    layer = torch.nn.Linear(node.weight.shape[1], node.weight.shape[0])
    layer.weight.data = torch.tensor(node.weight)
    layer.bias.data = torch.tensor(node.bias)
    return layer


@dataclass(frozen=True)
class Agreement:
    """Comparison of the spikes of a framework with the golden model."""

    like: str  #: aligned details
    samples: int
    same: int  #: samples with equal spikes
    same_class: int  #: samples with equal class
    spikes: int  #: number of spikes in the golden model
    differ: int  #: cells of the raster (neuron, step) that differ
    largest: int  #: largest difference of an output over the last window, in spikes


def compare(network: Network, weights: Weights, x: npt.NDArray[np.uint8], like: int) -> Agreement:
    """Compare the free phase."""
    golden = Reference(network, weights).infer(x.astype(np.int64), record=True).raster
    window = network.schedule.window
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.nir"
        interchange.save(path, network, weights)
        other = run(path, x, network.schedule.free, like, one=network.numerics.one)
    differ = sum((golden[n] != other[n]).sum(axis=(0, 2)) for n in golden)
    counts = [r[network.output][-window:].sum(axis=0) for r in (golden, other)]
    return Agreement(
        LIKE[like],
        len(x),
        int((differ == 0).sum()),
        int((counts[0].argmax(axis=1) == counts[1].argmax(axis=1)).sum()),
        int(sum(r.sum() for r in golden.values())),
        int(differ.sum()),
        int(np.abs(counts[0] - counts[1]).max()),
    )


def trained(leak: int, epochs: int = 5) -> tuple[Network, Weights]:
    """64-64-10 on the digits."""
    digits = data.load("digits")
    kernel = Kernel(Network.chain(64, 64, 10, schedule=Schedule(**PHASES, leak=leak)), learning_rate=0.05)
    for _ in range(epochs):
        kernel.train(digits.x_train, digits.y_train)
    return kernel.network, kernel.weights


def by_snntorch(network: Network, weights: Weights, x: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Classes by the importer of snnTorch, which resets to 0 and starts at 0.

    In version 1.0.0 it cannot run IF.
    """
    with tempfile.TemporaryDirectory() as folder:
        interchange.save(Path(folder) / "network.nir", network, weights)
        module = import_from_nir(nir.read(Path(folder) / "network.nir"))
    spikes = []
    state = None
    with torch.no_grad():
        for _ in range(network.schedule.free):
            out, state = module(
                torch.tensor(x / 256, dtype=torch.float32), *([] if state is None else [state])
            )
            spikes.append(out)
    return torch.stack(spikes[-network.schedule.window :]).sum(dim=0).argmax(dim=1).numpy()


def foreign(path: Path, digits: data.DataSet, *, hidden: int = 64, epochs: int = 15) -> npt.NDArray[np.int64]:
    """Classes of the test samples, by a network that snnTorch trains and writes to ``path``.

    It is trained by surrogate gradients.
    """

    def neurons(n: int, beta: float) -> torch.nn.Module:
        leaky: torch.nn.Module = snntorch.Leaky(
            beta=torch.full((n,), beta),
            threshold=torch.full((n,), 0.8),
            init_hidden=True,
            reset_mechanism="subtract",
            reset_delay=False,
        )
        return leaky

    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(64, hidden), neurons(hidden, 0.875), torch.nn.Linear(hidden, 10), neurons(10, 0.9)
    )

    def counts(x: npt.NDArray[np.uint8]) -> torch.Tensor:
        reset(net)
        return torch.stack([net(torch.tensor(x / 256, dtype=torch.float32)) for _ in range(24)])[-8:].sum(
            dim=0
        )

    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    labels = torch.tensor(digits.y_train)
    for _ in range(epochs):
        for batch in torch.randperm(len(labels)).split(64):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(counts(digits.x_train[batch.numpy()]), labels[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        classes = counts(digits.x_test).argmax(dim=1).numpy()
    reset(net)
    nir.write(path, export_to_nir(net, torch.zeros(64)))
    return classes
