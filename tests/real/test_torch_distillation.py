"""Distillation: a student learns the outputs and the activities of a teacher without labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch  # noqa: E402

from equilif_golden.network import Network, TransformerSizes  # noqa: E402   torch is optional
from equilif_golden.real import transformer  # noqa: E402
from equilif_golden.real.distillation import Distillation, Taught  # noqa: E402
from equilif_golden.real.rates import Rates  # noqa: E402
from equilif_golden.real.trainer import Trainer, TrainerSettings  # noqa: E402

NET = Network.transformer(TransformerSizes(3, 6, 12, 1, 4, heads=2, hidden=16))


class TableTeacher(torch.nn.Module):
    """Class by class 2 or -2 of the symbol at a position, and activities."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.logits = torch.nn.Parameter(torch.randn(6, 4, generator=generator).sign() * 2)
        self.hidden = torch.nn.Parameter(torch.randn(6, 5, generator=generator))

    def forward(self, x: Any) -> Taught:
        symbols = x.view(len(x), 3, 6).argmax(-1)
        return Taught(self.logits[symbols], {"features1": self.hidden[symbols]})


def samples(seed: int, n: int) -> tuple[Any, Any]:
    symbols = np.random.default_rng(seed).integers(0, 6, (n, 3))
    return torch.tensor((np.eye(6, dtype=np.uint8) * 255)[symbols].reshape(n, -1)), symbols


def trained(hidden: dict[str, int], **options: Any) -> Trainer:
    torch.manual_seed(0)
    model = Rates(NET, transformer.initial_weights(NET, 0))
    trainer = Trainer(
        model,
        TrainerSettings(steps=120, learning_rate=5e-3),
        scales=transformer.learning_rates(NET),
        centres=transformer.centres(NET),
        loss=transformer.cross_entropy,
        distillation=Distillation(model, TableTeacher(), hidden, **options),
    )
    for step in range(120):
        x, _ = samples(step, 32)
        trainer.step([x], torch.full((32, 3), -1), 32)
    return trainer


def test_outputs():
    """Probabilities of the teacher; labels have no part."""
    trainer = trained({}, share=1.0, temperature=1.0)
    x, symbols = samples(1000, 50)
    with torch.no_grad():
        drive = trainer.model(x)[1]
        student = transformer.probabilities(drive, 3)
        teacher = TableTeacher()(x).logits.softmax(-1)
    assert float((student - teacher).abs().mean()) < 0.02


def test_hidden_rates():
    """A linear map of the student's rates gives the teacher's activities; the teacher stays."""
    trainer = trained({"features1": 5}, share=0.0, weight=1.0)
    x, symbols = samples(1000, 50)
    assert trainer.distillation is not None
    taught = TableTeacher()(x).hidden["features1"]
    with torch.no_grad():
        rates = trainer.model(x)[0][:, trainer.model.part["features1"]].view(50, 3, -1)
        found = trainer.distillation.maps["features1"](rates)
    assert float((found - taught).detach().square().mean()) < 0.1 * float(taught.var())
    assert torch.equal(trainer.distillation.teacher.hidden, TableTeacher().hidden)
    # the maps are part of the state
    other = trained({"features1": 5}, share=0.0, weight=0.0)
    other.restore(trainer.state())
    assert torch.equal(
        other.distillation.maps["features1"].weight, trainer.distillation.maps["features1"].weight
    )


def test_refused():
    model = Rates(NET)
    for name in ("attention1", "tokens"):
        with pytest.raises(ValueError, match=name):
            Distillation(model, TableTeacher(), {name: 5})
    with pytest.raises(KeyError, match="nothing"):
        Distillation(model, TableTeacher(), {"nothing": 5})
    with pytest.raises(ValueError, match="share"):
        Distillation(model, TableTeacher(), share=2)
    x, _ = samples(0, 2)
    rates, drive = model(x)
    with pytest.raises(ValueError, match=r"\(2, 3, 4\)"):
        Distillation(model, TableTeacher())([x], rates, drive[:, :-1], drive.sum(1))
