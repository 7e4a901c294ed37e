"""From a network description to the engine's program and memory image."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from golden import synapse as syn
from golden.fixed import Raw
from golden.isa import COLUMN, INFER, MINUS, PLUS, STATIC, WORDS, EngineConfig, Instruction, Op
from golden.network import ONE, Network, Weights
from golden.reference import learning_steps


class CapacityError(ValueError):
    """The network does not fit the engine; the message says what is short, with numbers."""


@dataclass(frozen=True)
class Placement:
    """Groups of a population."""

    first: int
    n: int


class Compiled:
    """A network placed on an engine: where everything is, and the program at a given learning rate."""

    def __init__(self, network: Network, config: EngineConfig):
        self.network, self.config = network, config
        if network.numerics != config.numerics:
            raise CapacityError(f"the network has {network.numerics}, the engine {config.numerics}")
        p = config.lanes
        inputs = [(q.name, q.size) for q in network.populations if q.kind == "input"]
        constants = [(q.name, q.size) for q in network.populations if q.kind == "constant"]
        self.groups: dict[str, Placement] = {}
        at = 0
        # LIF first: only low groups have membranes; then inputs and target side by side, so that a sample is one write
        for name, size in [*((q.name, q.size) for q in network.lif), *inputs, (TARGET, network.n_outputs), *constants]:
            self.groups[name] = Placement(at, syn.groups(size, p))
            at += self.groups[name].n
        self.lif_groups = sum(self.groups[q.name].n for q in network.lif)
        self.tiles: dict[str, int] = {}
        tile = 0
        for s in network.synapses:
            self.tiles[s.name] = tile
            tile += self.groups[s.pre].n * self.groups[s.post].n
        for what, need, have in (("groups of LIF neurons", self.lif_groups, config.state_groups),
                                 ("groups of values", at, config.value_groups), (f"tiles of {p}x{p} weights", tile, config.tiles),
                                 ("program words", len(self.program(0.0)) * WORDS + WORDS * len(network.synapses), config.program_words)):
            if need > have:
                raise CapacityError(f"the network needs {need} {what}, this engine has {have}")
        self.n_tiles, self.n_groups = tile, at

    @property
    def sample_first(self) -> int:
        """Element address (group x P + lane) at which a sample, inputs then target, is written."""
        return self.groups[self.network.inputs[0].name].first * self.config.lanes

    def program(self, eta: float) -> list[Instruction]:
        """Three phases and the update; an inference run stops after the free phase.  Frozen synapses are left out."""
        net, raw, g = self.network, self.network.schedule.raw(self.network.numerics), self.groups
        everyone = {"dst": 0, "n_dst": self.lif_groups}
        steps = learning_steps(net, eta)

        def gather(name: str) -> list[Instruction]:
            out = []
            for s in net.synapses:
                if name in (s.pre, s.post) and not net[s.pre].clamped:
                    other, column = (s.post, COLUMN) if s.pre == name else (s.pre, 0)
                    out.append(Instruction(op=Op.GATHER, mode=column, operand=self.tiles[s.name], src=g[other].first, n_src=g[other].n,
                                           dst=g[name].first, n_dst=g[name].n))
            return out

        def phase(length: int, strength: int, mode: int) -> list[Instruction]:
            body = [Instruction(op=Op.MARK, count=raw.window, **everyone)]
            for q in net.lif:
                body += gather(q.name)
                here = {"dst": g[q.name].first, "n_dst": g[q.name].n}
                if strength and q.name == net.output:
                    body.append(Instruction(op=Op.NUDGE, operand=strength, src=g[TARGET].first, **here))
                body.append(Instruction(op=Op.STEP, gain=raw.threshold, shift=raw.leak, **here))
            return [Instruction(op=Op.REPEAT, count=length), *body, Instruction(op=Op.NEXT),
                    Instruction(op=Op.MEASURE, mode=mode, shift=raw.rate_shift, **everyone)]

        out = g[net.output]
        return [
            Instruction(op=Op.RESET, operand=raw.threshold // 2, **everyone),
            Instruction(op=Op.RESET, mode=STATIC, **everyone),
            *(Instruction(op=Op.DRIVE, **self._synapse(s.name)) for s in net.synapses if net[s.pre].clamped),
            *phase(raw.free, 0, PLUS | MINUS),
            Instruction(op=Op.ARGMAX, src=out.first, n_src=out.n),
            Instruction(op=Op.HALT, mode=INFER),
            Instruction(op=Op.SAVE, **everyone),
            *phase(raw.nudged, raw.strength, PLUS),
            Instruction(op=Op.RESTORE, **everyone),
            *phase(raw.nudged, -raw.strength, MINUS),
            *(Instruction(op=Op.LEARN, gain=steps[s.name].gain, shift=steps[s.name].shift, **self._synapse(s.name))
              for s in net.synapses if steps[s.name].gain),
            Instruction(op=Op.HALT),
        ]

    def _synapse(self, name: str) -> dict[str, int]:
        s = next(s for s in self.network.synapses if s.name == name)
        pre, post = self.groups[s.pre], self.groups[s.post]
        return {"operand": self.tiles[name], "src": pre.first, "n_src": pre.n, "dst": post.first, "n_dst": post.n}

    # -- memory images ---------------------------------------------------------------------------------------------------
    def weight_words(self, weights: Weights) -> Raw:
        """(n_tiles x P, P) words x banks, from word 0."""
        checked = self.network.check_weights(weights)
        return np.concatenate([syn.to_words(checked[s.name], self.config.lanes) for s in self.network.synapses])

    def weights(self, words: Raw) -> Weights:
        """Inverse of :meth:`weight_words`."""
        p, out = self.config.lanes, {}
        for s in self.network.synapses:
            first = self.tiles[s.name] * p
            n = self.groups[s.pre].n * self.groups[s.post].n * p
            out[s.name] = syn.from_words(words[first: first + n], self.network.shape(s), p)
        return out

    def constants(self) -> tuple[int, Raw]:
        """Element address and 8-bit values of the constant populations, written once."""
        names = [q for q in self.network.populations if q.kind == "constant"]
        if not names:
            return 0, np.zeros(0, np.int64)
        first = self.groups[names[0].name].first * self.config.lanes
        return first, self._pad([(q.name, np.full(q.size, ONE)) for q in names])

    def sample(self, x: Raw, y: Raw | None = None) -> Raw:
        """8-bit values to write from ``sample_first``: one sample's inputs, then its target (absent: nothing)."""
        value, parts, at = self.network.numerics.value, [], 0
        x = value.require(x, "inputs")
        if x.shape != (self.network.n_inputs,):
            raise ValueError(f"a sample must have shape ({self.network.n_inputs},), not {x.shape}")
        for q in self.network.inputs:
            parts.append((q.name, x[at: at + q.size]))
            at += q.size
        if y is not None:
            y = value.require(y, "targets")
            if y.shape != (self.network.n_outputs,):
                raise ValueError(f"a target must have shape ({self.network.n_outputs},), not {y.shape}")
            parts.append((TARGET, y))
        return self._pad(parts)

    def _pad(self, parts: list[tuple[str, Raw]]) -> Raw:
        return np.concatenate([np.pad(a, (0, self.groups[name].n * self.config.lanes - len(a))) for name, a in parts])


TARGET = "(target)"        #: groups of the nudged population's target; no population can bear this name
