"""Convolutions with average pooling as an equilibrium: equilif_golden.real.rates for images, in real numbers.

    s_k = clip(pool(W_k * s_(k-1)) + b_k + its adjoint from s_(k+1), 0, 1)          s_0: the image
    output: all of the last s

A convolution of a k x k kernel and the average over 2 x 2 of its results is one convolution of stride 2
with the (k + 1) x (k + 1) kernel of averages, which is linear and has a transpose: a symmetric synapse
with shared weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from equilif_golden.network import ONE
from equilif_golden.real.rates import Equilibrium
from equilif_golden.real.twin import SCALE

Tensor = Any  # torch.Tensor: torch is optional, so type checkers do not look into it


def pooled(kernel: Tensor) -> Tensor:
    """(out, in, k, k) to (out, in, k + 1, k + 1): with stride 2 the convolution and the average of its 2 x 2
    neighbours.
    """
    return functional.avg_pool2d(functional.pad(kernel, (1, 1, 1, 1)), 2, stride=1)


class ConvRates(Equilibrium):
    """Images of ``side`` x ``side`` 8-bit pixels through convolutions of ``channels`` to ``classes`` outputs.

    forward: (n, side * side) to the rates of everything (n, neurons) and the drive of the output (n,
    classes).  Without ``feedback`` nothing comes back from a later population.  ValueError where pooling
    would leave a pixel over.
    """

    def __init__(
        self,
        side: int = 28,
        channels: Sequence[int] = (16, 32),
        kernel: int = 5,
        classes: int = 10,
        *,
        feedback: bool = True,
        seed: int = 0,
        dtype: Any = torch.float32,
        **solver: Any,
    ):
        super().__init__(**solver)
        self.side, self.feedback = side, feedback
        generator = torch.Generator().manual_seed(seed)

        def uniform(fan: int, *shape: int) -> Any:
            limit = 0.5 * math.sqrt(6 / fan)
            return torch.nn.Parameter(
                torch.empty(shape, dtype=dtype).uniform_(-limit, limit, generator=generator)
            )

        self.shapes: list[tuple[int, int, int]] = []
        self.kernels, self.biases, before = torch.nn.ParameterList(), torch.nn.ParameterList(), 1
        for c in channels:
            if side < kernel or (side - kernel + 1) % 2:
                raise ValueError(
                    f"{kernel} x {kernel} kernels make {side - kernel + 1} of {side} pixels, which cannot be averaged in pairs"
                )
            side = (side - kernel + 1) // 2
            self.shapes.append((c, side, side))
            self.kernels.append(uniform(before * kernel**2, c, before, kernel, kernel))
            self.biases.append(torch.nn.Parameter(torch.full((c,), 0.2, dtype=dtype)))
            before = c
        features = before * side * side
        self.dense = uniform(features + classes, features, classes)
        self.biases.append(torch.nn.Parameter(torch.full((classes,), 0.2, dtype=dtype)))
        self.sizes = [math.prod(s) for s in self.shapes] + [classes]

    def constrain(self) -> None:
        """Nothing: these weights have no format."""

    def base(self, x: Tensor) -> Tensor:
        """Drive of the first population from the image."""
        image = (x.to(self.dense.dtype) / SCALE).view(len(x), 1, self.side, self.side)
        return functional.conv2d(image, pooled(self.kernels[0]), stride=2)

    def sweep(self, r: Tensor, base: Tensor, masks: Sequence[Tensor] = ()) -> Tensor:
        """New rates (n, neurons) of every population, first to last.

        ``masks``: on what the others hear of hidden ones.
        """
        rates = list(r.split(self.sizes, 1))
        heard = [a * m for a, m in zip(rates, masks, strict=False)] + rates[len(masks) :]
        for k, bias in enumerate(self.biases):
            if k == len(self.shapes):
                z = self.drive(heard[k - 1])
            else:
                z = (
                    base
                    if k == 0
                    else functional.conv2d(
                        heard[k - 1].view(len(r), *self.shapes[k - 1]), pooled(self.kernels[k]), stride=2
                    )
                )
                z = z + (bias * (ONE / SCALE))[:, None, None]
                if self.feedback and k + 1 < len(self.shapes):
                    z = z + functional.conv_transpose2d(
                        heard[k + 1].view(len(r), *self.shapes[k + 1]), pooled(self.kernels[k + 1]), stride=2
                    )
                elif self.feedback:
                    z = z + (heard[k + 1] @ self.dense.T).view(len(r), *self.shapes[k])
                z = z.flatten(1)
            rates[k] = z.clamp(0, 1)
            heard[k] = rates[k] * masks[k] if k < len(masks) else rates[k]
        return torch.cat(rates, 1)

    def drive(self, heard: Tensor) -> Tensor:
        """Of the output, from the last convolution's rates."""
        return heard @ self.dense + self.biases[-1] * (ONE / SCALE)

    def forward(self, x: Tensor, *, dropout: float = 0.0, generator: Any = None) -> tuple[Tensor, Tensor]:
        """``dropout``: as in equilif_golden.real.rates.Rates."""
        base = self.base(x)
        masks = (
            [
                (torch.rand(len(x), n, generator=generator, device=x.device) >= dropout) / (1 - dropout)
                for n in self.sizes[:-1]
            ]
            if dropout
            else []
        )
        r = self.settle(
            lambda r: self.sweep(r, base, masks),
            base.new_zeros(len(x), sum(self.sizes)),
            direct=not self.feedback,
        )
        last = r.split(self.sizes, 1)[-2]
        return r, self.drive(last * masks[-1] if masks else last)
