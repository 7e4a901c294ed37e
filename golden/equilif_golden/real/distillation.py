"""Distillation: a network learns the outputs and the hidden activities of a teacher, at its fixed point.

As in SpikingBERT (Bal & Sengupta, AAAI 2024), the loss adds the cross entropy of the teacher's softened
outputs, and the squared error of the teacher's activities from a learned linear map of the rates.  The
teacher is any torch module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from equilif_golden.fixed import check_float
from equilif_golden.real.rates import Rates
from equilif_golden.real.transformer import SCALE

Tensor = torch.Tensor


@dataclass(frozen=True)
class Taught:
    """Predictions of a teacher for n samples.

    logits   (n, positions, classes)
    hidden   activities (n, positions, features), by population of the student that learns them
    """

    logits: Tensor
    hidden: Mapping[str, Tensor] = field(default_factory=dict)


class Distillation(torch.nn.Module):
    """Loss of a student's rates and drives to its teacher.

    teacher       module of the student's arguments (:meth:`Rates.forward`) that returns :class:`Taught`
    hidden        features of the teacher's activities, by population of the student
    share         of the teacher's outputs in the loss; the rest is that of the labels
    temperature   of both outputs
    weight        of the hidden activities, whose error is relative to their variance
    """

    def __init__(
        self,
        student: Rates,
        teacher: torch.nn.Module,
        hidden: Mapping[str, int] | None = None,
        *,
        share: float = 0.5,
        temperature: float = 2.0,
        weight: float = 0.1,
    ):
        super().__init__()
        self.teacher = teacher.eval().requires_grad_(False)
        self.parts = student.part
        self.output = student.network.output
        self.share = check_float(share, "share", 0, 1)
        self.temperature = check_float(temperature, "temperature", 1e-3, 1e3)
        self.weight = check_float(weight, "weight", 0, 1e6)
        sizes = {}
        for name, features in (hidden or {}).items():
            shape = student.network[name].shape
            if name not in self.parts or shape is None:
                raise ValueError(
                    f"population {name!r} has no rates by position: name LIF maps of the student"
                )
            sizes[name] = shape.maps, features
        # names of modules have no dots
        self.maps = torch.nn.ModuleDict(
            {name.replace(".", "/"): torch.nn.Linear(*size) for name, size in sizes.items()}
        )

    def forward(self, given: Any, rates: Tensor, drive: Tensor, loss: Tensor) -> Tensor:
        """Losses (n,) with those of the labels, ``loss`` (n,).

        ``given``: arguments of the model.  ``rates`` and ``drive``: what it returned.
        """
        with torch.no_grad():
            taught = self.teacher(*given)
        if taught.logits.numel() != drive.numel():
            raise ValueError(
                f"the teacher has outputs of shape {tuple(taught.logits.shape)}, "
                f"the student {tuple(drive.shape)}"
            )
        target = (taught.logits / self.temperature).softmax(-1)
        logits = SCALE * drive.view(taught.logits.shape) / self.temperature
        # T squared keeps the size of the gradient (Hinton et al. 2015)
        each = -(target * logits.log_softmax(-1)).sum(-1).mean(1) * self.temperature**2
        found: Tensor = (1 - self.share) * loss + self.share * each
        for name, linear in self.maps.items():
            right = taught.hidden[name.replace("/", ".")]
            own = rates[:, self.parts[name.replace("/", ".")]].unflatten(1, (right.shape[1], -1))
            error = (linear(own) - right).square().mean((1, 2)) / right.var().clamp(min=1e-12)
            found = found + self.weight * error
        return found
