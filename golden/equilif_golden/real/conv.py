"""Convolutions with average pooling as an equilibrium, in real numbers: equilif_golden.real.rates for images.

    s_k = clip(pool(W_k * s_(k-1)) + b_k + its adjoint from s_(k+1), 0, 1)

s_0 is the image, and the output hears all of the last s.  A convolution of a k x k kernel and the average
over 2 x 2 of its results is one convolution of stride 2 with the (k + 1) x (k + 1) kernel of averages.  That
is linear and has a transpose: a symmetric synapse with shared weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from equilif_golden.fixed import whole
from equilif_golden.network import ONE
from equilif_golden.real.equilibrium import MOST_SEED, Equilibrium, eight_bit
from equilif_golden.real.twin import SCALE

Tensor = torch.Tensor
MOST = 1 << 16  #: pixels of a side, channels, classes


def pooled(kernel: Tensor) -> Tensor:
    """Kernel (out, in, k, k) to (out, in, k + 1, k + 1).

    With stride 2 it is the convolution and the average of 2 x 2 neighbours of its results.
    """
    return functional.avg_pool2d(functional.pad(kernel, (1, 1, 1, 1)), 2, stride=1)


class ConvRates(Equilibrium):
    """Images of ``side`` x ``side`` 8-bit pixels through convolutions of ``channels`` to ``classes`` outputs.

    forward takes (n, side * side) and gives the rates of everything (n, neurons) and the drive of the output
    (n, classes).  Without ``feedback`` nothing comes back from a later population.  ValueError where pooling
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
        dtype: torch.dtype = torch.float32,
        **solver: Any,
    ):
        super().__init__(**solver)
        for name, value in (("side", side), ("kernel", kernel), ("classes", classes)):
            whole(value, name, 1, MOST)
        if not channels:
            raise ValueError("a network of convolutions has at least one: channels must not be empty")
        self.side = side
        self.classes = classes
        self.feedback = feedback
        generator = torch.Generator().manual_seed(whole(seed, "seed", 0, MOST_SEED))

        def uniform(fan: int, *shape: int) -> torch.nn.Parameter:
            limit = 0.5 * math.sqrt(6 / fan)
            return torch.nn.Parameter(
                torch.empty(shape, dtype=dtype).uniform_(-limit, limit, generator=generator)
            )

        self.shapes: list[tuple[int, int, int]] = []
        self.kernels = torch.nn.ParameterList()
        self.biases = torch.nn.ParameterList()
        before = 1
        for c in channels:
            whole(c, "channels", 1, MOST)
            if side < kernel or (side - kernel + 1) % 2:
                raise ValueError(
                    f"{kernel} x {kernel} kernels make {side - kernel + 1} of {side} pixels, "
                    "which cannot be averaged in pairs"
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

    @property
    def n_inputs(self) -> int:
        return self.side**2

    @property
    def n_outputs(self) -> int:
        return self.classes

    def base(self, x: Tensor) -> Tensor:
        """Drive of the first population from the image."""
        eight_bit(x, self.n_inputs)
        image = (x.to(self.dense.dtype) / SCALE).view(len(x), 1, self.side, self.side)
        return functional.conv2d(image, pooled(self.kernels[0]), stride=2)

    def sweep(self, r: Tensor, base: Tensor, masks: Sequence[Tensor] = ()) -> Tensor:
        """New rates (n, neurons) of every population, first to last.

        ``masks``: on what the others hear of hidden ones.
        """
        rates = list(torch.split(r, self.sizes, 1))
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
        """Drive of the output, from the last convolution's rates."""
        drive: Tensor = heard @ self.dense + self.biases[-1] * (ONE / SCALE)
        return drive

    def forward(
        self, x: Tensor, *, dropout: float = 0.0, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Rates and drive of the output; ``dropout`` as in equilif_golden.real.rates.Rates."""
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
        last = torch.split(r, self.sizes, 1)[-2]
        return r, self.drive(last * masks[-1] if masks else last)
