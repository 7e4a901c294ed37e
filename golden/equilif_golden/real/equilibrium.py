"""The fixed point r = f(r) of a sweep, found by Anderson acceleration, and its gradient.

Anderson acceleration (Walker & Ni 2011): the last few iterates of every sample are mixed so that their
residuals cancel best.  Whatever f is made of, the gradient of a loss L at the fixed point needs no trace of
how it was reached (implicit differentiation: Bai, Kolter & Koltun 2019):

    a = dL/dr + a J          J = df/dr, solved like the fixed point          dL/dw = a df/dw
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from equilif_golden.fixed import check_float, check_int, check_integers, integers
from equilif_golden.network import TokenRows

Tensor = torch.Tensor
U8 = npt.NDArray[np.uint8]
MAX_STEPS = 1 << 40  #: of a loop
MAX_SEED = (1 << 62) - 1


@dataclass(frozen=True)
class Convergence:
    """Convergence of one batch: evaluations of f, and by sample the largest |f(r) - r| that is left."""

    iterations: int
    residual: Tensor
    tolerance: float

    @property
    def settled(self) -> float:
        """Part of the samples within the tolerance."""
        return float((self.residual <= self.tolerance).double().mean()) if len(self.residual) else 1.0

    @property
    def worst(self) -> float:
        return float(self.residual.max()) if len(self.residual) else 0.0


def anderson(
    f: Callable[[Tensor], Tensor], start: Tensor, *, tolerance: float, limit: int = 100, memory: int = 5
) -> tuple[Tensor, Convergence]:
    """Fixed point of ``f``, (n, d) to (n, d) sample by sample, reached from ``start``.

    Where ``limit`` evaluations end it, the iterate of least residual.
    """
    n, d = start.shape
    images = start.new_zeros(n, memory, d)
    residuals = start.new_zeros(n, memory, d)
    ridge = (
        math.sqrt(torch.finfo(start.dtype).eps)
        / 100
        * torch.eye(memory, dtype=start.dtype, device=start.device)
    )
    x = start
    best = start
    best_residual = start.new_full((n,), torch.inf)
    count = 0
    while True:
        fx = f(x)
        slot = count % memory
        images[:, slot] = fx
        residuals[:, slot] = fx - x
        residual = residuals[:, slot].abs().amax(1)
        better = residual < best_residual
        best = torch.where(better[:, None], fx, best)
        best_residual = torch.where(better, residual, best_residual)
        count += 1
        if count >= limit or not bool((best_residual > tolerance).any()):
            break
        # a minimises |sum a_i g_i| with sum a_i = 1; correlations in place of inner products, as the
        # newest g is far shorter than the oldest
        m = min(count, memory)
        inner = residuals[:, :m] @ residuals[:, :m].transpose(1, 2)
        size = inner.diagonal(dim1=1, dim2=2).sqrt().clamp(min=1e-12)
        shrink = size.amin(1, keepdim=True) / size
        a = torch.linalg.solve(inner / (size[:, :, None] * size[:, None]) + ridge[:m, :m], shrink) * shrink
        mixed = ((a / a.sum(1, keepdim=True))[:, None] @ images[:, :m])[:, 0]
        # across the kinks of the clip a mixture can lead nowhere: a sweep does not
        x = torch.where(better[:, None], mixed, fx)
    return best, Convergence(count, best_residual, tolerance)


class _Implicit(torch.autograd.Function):
    """The identity on f(r*), whose gradient comes back as the adjoint of the fixed point."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, adjoint: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.adjoint = adjoint
        return image.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.adjoint(grad), None


class Equilibrium(torch.nn.Module):
    """Fixed-point iteration shared by networks and convolutions, forward and backward.

    ``tolerance``: of a rate, and of the adjoint relative to the largest entry of the sample's gradient.
    ``limit``: evaluations at most.  ``memory``: iterates that are mixed.
    """

    def __init__(self, *, tolerance: float = 1e-4, limit: int = 60, memory: int = 5):
        super().__init__()
        self.tolerance = check_float(tolerance, "tolerance", 0, 1)
        self.limit = check_int(limit, "limit", 1, MAX_STEPS)
        self.memory = check_int(memory, "memory", 1, 1000)
        self.there: Convergence | None = None
        self.back: Convergence | None = None

    @property
    def n_inputs(self) -> int:
        """Values of a sample."""
        raise NotImplementedError

    @property
    def n_outputs(self) -> int:
        """Classes."""
        raise NotImplementedError

    @property
    def w(self) -> dict[str, Tensor]:
        """Weights by name, in the order of the parameters."""
        raise NotImplementedError

    def constrain(self) -> None:
        """Weights back into the range of their format, where they have one."""

    def check(self, x: npt.ArrayLike, tokens: TokenRows | None) -> tuple[U8, TokenRows | None]:
        """Samples as they are given to :meth:`forward`; ValueError when they do not fit."""
        if tokens is not None:
            raise ValueError("this network has no memory to load tokens into")
        values = check_integers(x, "inputs", 0, 255)
        _check_shape(values.shape, self.n_inputs)
        return np.ascontiguousarray(values, np.uint8), None

    def table(self, tokens: TokenRows) -> Tensor:
        """Token table in real numbers, where the model is."""
        raise NotImplementedError

    def settle(self, f: Callable[[Tensor], Tensor], start: Tensor, *, direct: bool = False) -> Tensor:
        """Differentiable fixed point (n, d) of ``f``, reached from ``start``.

        ``direct``: one step leads there, wherever it starts.
        """
        self.back = None
        if direct:
            self.there = Convergence(1, start.new_zeros(len(start)), self.tolerance)
            return f(start)
        with torch.no_grad():
            r, self.there = anderson(f, start, tolerance=self.tolerance, limit=self.limit, memory=self.memory)
        if not torch.is_grad_enabled():
            return r
        r.requires_grad_()
        image = f(r)

        def adjoint(grad: Tensor) -> Tensor:
            size = grad.abs().amax(1, keepdim=True).clamp(min=torch.finfo(grad.dtype).tiny)
            unit = grad / size

            def transposed(a: Tensor) -> Tensor:
                return unit + torch.autograd.grad(image, r, a, retain_graph=True)[0]

            a, self.back = anderson(
                transposed, unit, tolerance=self.tolerance, limit=self.limit, memory=self.memory
            )
            return a * size

        settled: Tensor = _Implicit.apply(image, adjoint)
        return settled


def _check_shape(shape: tuple[int, ...], n_inputs: int) -> None:
    if len(shape) != 2 or shape[1] != n_inputs:
        raise ValueError(f"inputs must have shape (batch, {n_inputs}), not {tuple(shape)}")


def eight_bit(x: Tensor, n_inputs: int) -> None:
    """ValueError unless ``x`` is (n, n_inputs) 8-bit values: integers, not parts of 1."""
    if x.dtype != torch.uint8:
        integers(x.detach().cpu().numpy(), "inputs", 0, 255)
    _check_shape(x.shape, n_inputs)
