"""Network description: populations joined by symmetric synapses, nothing else.

    Phi(s) = sum_synapses s_pre^T W s_post - sum_populations 1/2 |s|^2 - beta/2 |y - s_out|^2

Populations are *clamped* (inputs, and the constant one that carries biases) or *lif*.  A bias is a synapse from the constant
population: the learning rule has no special case for it.
"""
from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from golden.fixed import DEFAULT, Numerics, Raw
from golden.schedule import Schedule

ONE = 255                  #: value of the constant population


@dataclass(frozen=True)
class Population:
    """``size`` neurons.  kind: ``input`` (clamped to the sample), ``constant`` (clamped to 255/256) or ``lif``."""

    name: str
    size: int
    kind: Literal["input", "constant", "lif"] = "lif"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.]+", self.name):          # a synapse is called pre-post
            raise ValueError(f"a population's name is made of letters, digits, _ and ., not {self.name!r}")
        if self.size < 1:
            raise ValueError(f"population {self.name!r} needs at least one neuron, not {self.size}")
        if self.kind not in ("input", "constant", "lif"):
            raise ValueError(f"population {self.name!r}: kind must be input, constant or lif, not {self.kind!r}")

    @property
    def clamped(self) -> bool:
        return self.kind != "lif"


@dataclass(frozen=True)
class Synapse:
    """Symmetric synapse between two populations, by name; rows belong to ``pre``, columns to ``post``."""

    pre: str
    post: str
    rate_scale: float = 1.0        #: this synapse's learning rate relative to the network's

    @property
    def name(self) -> str:
        return f"{self.pre}-{self.post}"


@dataclass(frozen=True)
class Network:
    """Populations in update order, synapses, and the name of the population that is nudged and read out."""

    populations: tuple[Population, ...]
    synapses: tuple[Synapse, ...]
    output: str
    schedule: Schedule = Schedule()
    numerics: Numerics = DEFAULT

    @classmethod
    def chain(cls, *sizes: int, schedule: Schedule | None = None, numerics: Numerics = DEFAULT,
              rate_scales: tuple[float, ...] | None = None) -> Self:
        """Input, any number of hidden populations and output, each joined to the next, all with biases.

        ``rate_scales``: relative learning rate of each layer, first to last (its bias included).
        """
        if len(sizes) < 2:
            raise ValueError(f"a chain needs an input and an output size, not {sizes}")
        scales = rate_scales or (1.0,) * (len(sizes) - 1)
        if len(scales) != len(sizes) - 1:
            raise ValueError(f"rate_scales must name {len(sizes) - 1} layers, not {len(scales)}")
        names = ["input", *(f"hidden{k}" for k in range(1, len(sizes) - 1)), "output"]
        pops = [Population(names[0], sizes[0], "input"), Population("bias", 1, "constant"),
                *(Population(n, s) for n, s in zip(names[1:], sizes[1:], strict=True))]
        synapses = [s for (a, b), r in zip(pairwise(names), scales, strict=True) for s in (Synapse(a, b, r), Synapse("bias", b, r))]
        return cls(tuple(pops), tuple(synapses), names[-1], schedule or Schedule(), numerics)

    def __post_init__(self) -> None:
        names = [p.name for p in self.populations]
        if len(set(names)) != len(names):
            raise ValueError(f"population names must differ, not {names}")
        for s in self.synapses:
            for end in (s.pre, s.post):
                if end not in names:
                    raise ValueError(f"synapse {s.name}: there is no population {end!r}; there are {', '.join(names)}")
            if self[s.post].clamped:
                raise ValueError(f"synapse {s.name}: post must be a lif population, {s.post!r} is clamped")
            if s.pre == s.post:
                raise ValueError(f"synapse {s.name}: a population cannot be joined to itself")
            if [t.name for t in self.synapses].count(s.name) > 1:
                raise ValueError(f"synapse {s.name} occurs twice")
        if self.output not in names or self[self.output].clamped:
            raise ValueError(f"output must name a lif population, not {self.output!r}")
        if not any(p.kind == "input" for p in self.populations):
            raise ValueError("a network needs an input population")
        if not self.synapses:
            raise ValueError("a network needs a synapse")
        for p in self.lif:
            fan_in = sum(self[s.pre].size for s in self.synapses if s.post == p.name)
            fan_in += sum(self[s.post].size for s in self.synapses if s.pre == p.name)
            if fan_in > self.numerics.max_fan_in:
                raise ValueError(f"population {p.name!r} has fan-in {fan_in}; a {self.numerics.accumulator_width}-bit "
                                 f"accumulator holds {self.numerics.max_fan_in}")
        raw = self.schedule.raw(self.numerics)
        if raw.threshold * (raw.window + 3) > self.numerics.charge.hi:
            raise ValueError(f"window {raw.window} overflows the {self.numerics.charge_width}-bit charge")

    def __getitem__(self, name: str) -> Population:
        return next(p for p in self.populations if p.name == name)

    @property
    def lif(self) -> tuple[Population, ...]:
        return tuple(p for p in self.populations if not p.clamped)

    @property
    def inputs(self) -> tuple[Population, ...]:
        return tuple(p for p in self.populations if p.kind == "input")

    @property
    def n_inputs(self) -> int:
        """Length of a sample: the input populations one after the other."""
        return sum(p.size for p in self.inputs)

    @property
    def n_outputs(self) -> int:
        return self[self.output].size

    def shape(self, synapse: Synapse) -> tuple[int, int]:
        return self[synapse.pre].size, self[synapse.post].size

    @property
    def n_weights(self) -> int:
        return sum(n * m for n, m in map(self.shape, self.synapses))

    def initial_weights(self, seed: int = 0, *, bias: float = 0.2, scale: float = 0.5) -> Weights:
        """Start alive: biases at ``bias`` x threshold, Glorot-uniform weights at ``scale``, so every layer begins in its linear range."""
        rng = np.random.default_rng(seed)
        weights = {}
        for s in self.synapses:
            n, m = self.shape(s)
            limit = scale * np.sqrt(6 / (n + m))
            real = np.full((n, m), bias) if self[s.pre].kind == "constant" else rng.uniform(-limit, limit, (n, m))
            weights[s.name] = self.numerics.weight.quantize(real * self.schedule.threshold)
        return weights

    def check_weights(self, weights: Mapping[str, Raw]) -> Weights:
        """``weights`` as int64 arrays in synapse order; ValueError when a name, a shape or a code is wrong."""
        names = [s.name for s in self.synapses]
        if set(weights) != set(names):
            raise ValueError(f"weights are for {sorted(weights)}, the network has {sorted(names)}")
        for s in self.synapses:
            if np.shape(weights[s.name]) != self.shape(s):
                raise ValueError(f"weights of {s.name} have shape {np.shape(weights[s.name])}, not {self.shape(s)}")
        return {n: self.numerics.weight.require(weights[n], f"weights of {n}") for n in names}

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Self:
        return cls(tuple(Population(**p) for p in d["populations"]), tuple(Synapse(**s) for s in d["synapses"]), d["output"],
                   Schedule(**d["schedule"]), Numerics(**d["numerics"]))


Weights = dict[str, Raw]


def save(path: Path, network: Network, weights: Mapping[str, Raw]) -> None:
    """Network and weights in one ``.npz``, written whole or not at all."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as f:
        arrays: dict[str, Any] = {f"weights/{n}": w.astype(np.int16) for n, w in network.check_weights(weights).items()}
        np.savez_compressed(f, network=np.array(json.dumps(network.to_dict())), **arrays)
    part.replace(path)


def load(path: Path) -> tuple[Network, Weights]:
    """What :func:`save` wrote; ValueError names the file when it is something else."""
    try:
        with np.load(path, allow_pickle=False) as z:
            network = Network.from_dict(json.loads(str(z["network"])))
            return network, network.check_weights({n.removeprefix("weights/"): z[n].astype(np.int64) for n in z.files if n != "network"})
    except FileNotFoundError:
        raise
    except Exception as e:
        raise ValueError(f"{path} is not a network saved by equilif: {e}") from e
