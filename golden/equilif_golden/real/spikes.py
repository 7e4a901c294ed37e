"""Average rates of spikes in floating point, so that a network in real numbers can train with them.

The time steps are those of equilif_golden.reference: membranes between -1 and 2 thresholds, reset by
subtraction, populations in order, answers of self-attention once per window from 8-bit rates.  Weights and
drives are not rounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch

from equilif_golden.network import Network
from equilif_golden.populations import SelfAttention
from equilif_golden.real.maps import carried
from equilif_golden.schedule import Schedule

Tensor = torch.Tensor
LEVELS = 256  #: of a rate
CODES = 128  #: of a query, key, value or answer, in -1 .. 1


@dataclass(frozen=True)
class Averages:
    """Averages (n, size) over the last window, by LIF population.

    measured   rates with the part that is left in the membranes, in 8 bits (equilif_golden.blocks.rate)
    spikes     spikes per time step, which is what synapses carry
    """

    measured: dict[str, Tensor]
    spikes: dict[str, Tensor]


class Model(Protocol):
    """Interface of equilif_golden.real.rates.Rates that is used here."""

    network: Network
    attending: dict[str, SelfAttention]
    direct: bool

    @property
    def w(self) -> dict[str, Tensor]: ...

    def attend(
        self, population: SelfAttention, rates: Mapping[str, Tensor], base: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]: ...


def averages(model: Model, base: Mapping[str, Tensor], schedule: Schedule) -> Averages:
    """Averages of the free phase of ``schedule``, from the static drive by population.

    ValueError for a network with feedback or with an attention layer.
    """
    if not model.direct:
        raise ValueError(
            "averages of spikes are of networks without feedback and without attention layers: "
            "leave out spikes, or build the network with feedback=False"
        )
    with torch.no_grad():
        return _averages(model, base, schedule)


def _averages(model: Model, base: Mapping[str, Tensor], schedule: Schedule) -> Averages:
    network, w = model.network, model.w
    lif = [p.name for p in network.lif]
    into = {name: [s for s in network.synapses if s.post == name and s.pre in lif] for name in lif}
    answering = {
        name: [s for s in network.synapses if s.post == name and s.pre in model.attending] for name in lif
    }
    v = {name: torch.full_like(base[name], 0.5) for name in lif}
    spikes = {name: torch.zeros_like(base[name]) for name in lif}
    static = {name: base[name] for name in lif}
    for _ in range(schedule.free // schedule.window):
        start = dict(v)
        count = {name: torch.zeros_like(v[name]) for name in lif}
        for _ in range(schedule.window):
            for name in lif:
                drive = static[name]
                for s in into[name]:
                    drive = drive + carried(network, s, w[s.name], spikes[s.pre])
                u = (v[name] + drive).clamp(-1, 2)
                spikes[name] = (u >= 1).to(u.dtype)
                u = u - spikes[name]
                v[name] = u - u / 2**schedule.leak if schedule.leak else u
                count[name] += spikes[name]
        measured = {
            name: _codes(
                ((count[name] + v[name] - start[name]) / schedule.window).clamp(0, 1 - 1 / LEVELS), LEVELS
            )
            for name in lif
        }
        answers = {
            name: _codes(model.attend(p, measured, base)[0], CODES) for name, p in model.attending.items()
        }
        for name in lif:
            static[name] = base[name]
            for s in answering[name]:
                static[name] = static[name] + carried(network, s, w[s.name], answers[s.pre]) / 2
    return Averages(measured, {name: count[name] / schedule.window for name in lif})


def _codes(x: Tensor, n: int) -> Tensor:
    """Rounded down to multiples of 1/n, as the engine does."""
    return (x * n).floor() / n
