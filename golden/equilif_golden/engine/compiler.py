"""From a network description to the engine's program and memory image."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from equilif_golden.blocks import relay
from equilif_golden.blocks import synapse as syn
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import (
    ABSOLUTE,
    COLUMN,
    EARLY,
    INFER,
    MINUS,
    PLUS,
    SCALED,
    SIGNED,
    SIGNED_DST,
    STATIC,
    WATCH,
    WORDS,
    Instruction,
    Op,
)
from equilif_golden.fixed import Raw
from equilif_golden.learning import learning_steps
from equilif_golden.network import ONE, Memory, Network, Synapse, Weights


class CapacityError(ValueError):
    """The network does not fit the engine; the message says what is short, with numbers."""


@dataclass(frozen=True)
class Placement:
    """Groups of a population."""

    first: int
    n: int


class Compiled:
    """A network placed on an engine: where everything is, and the program at a given learning rate.

    A memory has, beside the groups of its softmax population: ``relay`` (the accumulator that all relays
    share, and the query at work), ``relay (retrieval)`` head by head, ``softmax (present)``, 255 where a
    pattern takes part, and when it learns what LEARN needs of every head, ``relay (query)`` and ``softmax
    (codes)``.
    """

    def __init__(self, network: Network, config: EngineConfig):
        self.network, self.config = network, config
        if network.numerics != config.numerics:
            raise CapacityError(f"the network has {network.numerics}, the engine {config.numerics}")
        if network.memories and not config.softmax:
            raise CapacityError(
                "the network has a memory, this engine is built without (EngineConfig.softmax)"
            )
        if network.schedule.early is not None and not config.early:
            raise CapacityError(
                "the network's free phase ends early, this engine cannot (EngineConfig.early)"
            )
        self.groups: dict[str, Placement] = {}
        at = 0
        # populations with membranes first: only low groups have them; then all that makes a sample side
        # by side, so that it is one write
        sizes: list[tuple[str, int, int]] = [(q.name, q.size, 1) for q in network.lif]
        sizes += [(m.softmax.name, m.softmax.size, 1) for m in network.memories]
        if network.memories:
            sizes.append((SCRATCH, max(m.relay.width for m in network.memories), 1))
        n_state = len(sizes)
        for m in network.memories:
            sizes.append((f"{m.relay.name} {RETRIEVAL}", m.relay.width, m.relay.heads))
            if not m.softmax.loaded:
                sizes += [
                    (f"{m.relay.name} {QUERY}", m.relay.width, m.relay.heads),
                    (f"{m.softmax.name} {CODES}", m.softmax.size, m.relay.heads),
                ]
        sizes += [(q.name, q.size, 1) for q in network.inputs]
        if network.loaded:
            sizes.append((f"{network.loaded.softmax.name} {PRESENT}", network.loaded.softmax.size, 1))
        sizes.append((TARGET, network.n_outputs, 1))
        sizes += [(name, len(values), 1) for name, values in self._constants()]
        for k, (name, size, heads) in enumerate(sizes):
            self.groups[name] = Placement(at, heads * syn.groups(size, config.lanes))
            at += self.groups[name].n
            if k + 1 == n_state:
                self.state_groups = at
        self.lif_groups = sum(self.groups[q.name].n for q in network.lif)
        self.tiles: dict[str, int] = {}
        tile = 0
        # a memory that is loaded lies behind the weights
        for s in sorted(network.synapses, key=lambda s: s not in network.plastic):
            if s not in network.plastic:
                self.n_tiles = tile
            self.tiles[s.name] = tile
            tile += sum(
                syn.groups(rows, config.lanes) * syn.groups(columns, config.lanes)
                for rows, columns in map(np.shape, self._blocks(s))
            )
        if not network.loaded:
            self.n_tiles = tile
        updates = sum(network[s.pre].heads * network[s.post].heads for s in network.plastic)
        for what, need, have in (
            ("groups of neurons with membranes", self.state_groups, config.state_groups),
            ("groups of values", at, config.value_groups),
            (f"tiles of {config.lanes}x{config.lanes} weights", tile, config.tiles),
            ("program words", (len(self.program(0.0)) + updates) * WORDS, config.program_words),
        ):
            if need > have:
                raise CapacityError(f"the network needs {need} {what}, this engine has {have}")
        self.n_groups = at

    @property
    def sample_first(self) -> int:
        """Element address (group x P + lane) at which a sample, inputs, presences and target, is written."""
        return self.groups[self._sample_names()[0]].first * self.config.lanes

    def _sample_names(self) -> list[str]:
        loaded = [f"{self.network.loaded.softmax.name} {PRESENT}"] if self.network.loaded else []
        return [*(q.name for q in self.network.inputs), *loaded]

    def program(self, eta: float) -> list[Instruction]:
        """Three phases and the update; an inference run stops after the free phase.

        Frozen synapses are left out.
        """
        net, raw, g = self.network, self.network.schedule.raw(self.network.numerics), self.groups
        everyone = {"dst": 0, "n_dst": self.lif_groups}

        def gather(name: str) -> list[Instruction]:
            out = []
            for s in net.synapses:
                if net[s.pre].kind == "lif" and (name == s.post or name == s.pre and s.feedback):
                    other, column = (s.post, COLUMN) if s.pre == name else (s.pre, 0)
                    out.append(
                        Instruction(
                            op=Op.GATHER,
                            mode=column,
                            operand=self.tiles[s.name],
                            src=g[other].first,
                            n_src=g[other].n,
                            dst=g[name].first,
                            n_dst=g[name].n,
                        )
                    )
            return out

        def steps(count: int, strength: int) -> list[Instruction]:
            body = []
            for q in net.lif:
                body += gather(q.name)
                here = {"dst": g[q.name].first, "n_dst": g[q.name].n}
                if strength and q.name == net.output:
                    body.append(Instruction(op=Op.NUDGE, operand=strength, src=g[TARGET].first, **here))
                body.append(Instruction(op=Op.STEP, gain=raw.threshold, shift=raw.leak, **here))
            return [Instruction(op=Op.REPEAT, count=count), *body, Instruction(op=Op.NEXT)]

        def phase(length: int, strength: int, mode: int, early: bool = False) -> list[Instruction]:
            """One loop; with memories, which are asked after every window, or an early end one of windows."""
            out = Instruction(op=Op.MEASURE, mode=mode, shift=raw.rate_shift, **everyone)
            if not net.memories and not early:
                loop = steps(length, strength)
                return [loop[0], Instruction(op=Op.MARK, count=raw.window, **everyone), *loop[1:], out]
            n, watch, end = length // raw.window, [], Instruction(op=Op.NEXT)
            if early:
                end = Instruction(op=Op.NEXT, mode=EARLY, count=n - raw.least + 1)
                seen = replace(out, mode=mode | WATCH, gain=raw.early)
                # before all are measured, and compared with what was measured before
                if raw.watch_output:
                    watch = [replace(seen, dst=g[net.output].first, n_dst=g[net.output].n)]
                else:
                    out = seen
            block = [
                *self._listen(MINUS if mode == MINUS else 0),
                Instruction(op=Op.MARK, **everyone),
                *steps(raw.window, strength),
                *watch,
                out,
                *self._recall(mode),
            ]
            return [Instruction(op=Op.REPEAT, count=n), *block, end]

        out = g[net.output]
        return [
            Instruction(op=Op.RESET, operand=raw.threshold // 2, **everyone),
            Instruction(op=Op.RESET, mode=STATIC, **everyone),
            *(
                Instruction(op=Op.DRIVE, **self._synapse(s))
                for s in net.synapses
                if net[s.pre].clamped and net[s.post].kind == "lif" and not self._relays(s.post)
            ),
            *self._silence(),
            *phase(raw.free, 0, PLUS | MINUS, raw.early >= 0),
            Instruction(op=Op.ARGMAX, src=out.first, n_src=out.n),
            Instruction(op=Op.HALT, mode=INFER),
            Instruction(op=Op.SAVE, **everyone),
            *phase(raw.nudged, raw.strength, PLUS),
            Instruction(op=Op.RESTORE, **everyone),
            *phase(raw.nudged, -raw.strength, MINUS),
            *self._learns(eta),
            Instruction(op=Op.HALT),
        ]

    # -- memories ----------------------------------------------------------------------------------
    def _relays(self, name: str) -> list[Synapse]:
        """Synapses through which a population listens to memories."""
        return [s for s in self.network.synapses if s.post == name and self.network[s.pre].kind == "relay"]

    def _head(self, name: str, head: int, heads: int) -> dict[str, int]:
        """``src`` of one head's groups."""
        n = self.groups[name].n // heads
        return {"src": self.groups[name].first + head * n}

    def _silence(self) -> list[Instruction]:
        """Before the first window: nothing was recalled, and absent patterns are inhibited by a negative
        membrane.
        """
        out: list[Instruction] = []
        for m in self.network.memories:
            here = {"dst": self.groups[m.softmax.name].first, "n_dst": self.groups[m.softmax.name].n}
            out += [
                Instruction(op=Op.RESET, operand=-1, **here),
                Instruction(
                    op=Op.NUDGE, operand=256, src=self.groups[f"{m.softmax.name} {PRESENT}"].first, **here
                ),
            ]
            gather = self._gather(m)
            out.append(Instruction(op=Op.RESET, mode=STATIC, **gather))
            out += [
                Instruction(
                    op=Op.RELAY,
                    mode=PLUS | MINUS,
                    shift=relay.SHIFTS[0],
                    **gather,
                    **self._head(f"{m.relay.name} {RETRIEVAL}", h, m.relay.heads),
                )
                for h in range(m.relay.heads)
            ]
        return out

    def _listen(self, source: int) -> list[Instruction]:
        """Static drive of the populations that listen to memories, from V.plus or V.minus."""
        out: list[Instruction] = []
        for q in self.network.lif:
            relays = self._relays(q.name)
            if relays:
                out.append(
                    Instruction(
                        op=Op.RESET, mode=STATIC, dst=self.groups[q.name].first, n_dst=self.groups[q.name].n
                    )
                )
                out += [
                    Instruction(op=Op.DRIVE, **self._synapse(s))
                    for s in self.network.synapses
                    if s.post == q.name and self.network[s.pre].clamped
                ]
                out += [Instruction(op=Op.DRIVE, mode=SIGNED | source, **self._synapse(s)) for s in relays]
        return out

    def _gather(self, m: Memory) -> dict[str, int]:
        """``dst`` for the accumulator of one head."""
        return {"dst": self.groups[SCRATCH].first, "n_dst": syn.groups(m.relay.width, self.config.lanes)}

    def _recall(self, mode: int) -> list[Instruction]:
        """Every head of every memory once, from the rates just measured: query, scores, softmax, retrieval."""
        net, g, fraction, source = (
            self.network,
            self.groups,
            self.network.numerics.fraction,
            MINUS if mode == MINUS else 0,
        )
        out: list[Instruction] = []
        for m in net.memories:
            heads, soft, tile = m.relay.heads, g[m.softmax.name], self.tiles[m.synapse.name]
            gather, scores = self._gather(m), {"dst": soft.first, "n_dst": soft.n}
            for h in range(heads):
                query = (
                    {"src": g[SCRATCH].first}
                    if m.softmax.loaded
                    else self._head(f"{m.relay.name} {QUERY}", h, heads)
                )
                out.append(Instruction(op=Op.RESET, mode=STATIC, **gather))
                for s in net.synapses:
                    if s.post == m.relay.name and net[s.pre].clamped:
                        out.append(
                            Instruction(
                                op=Op.DRIVE,
                                operand=self._tile(s, h),
                                src=g[s.pre].first,
                                n_src=g[s.pre].n,
                                **gather,
                            )
                        )
                    elif s.pre == m.relay.name:
                        out.append(
                            Instruction(
                                op=Op.DRIVE,
                                mode=COLUMN | source,
                                operand=self._tile(s, h),
                                src=g[s.post].first,
                                n_src=g[s.post].n,
                                **gather,
                            )
                        )
                out += [
                    Instruction(op=Op.RELAY, mode=mode, shift=relay.query_shift(fraction), **query, **gather),
                    Instruction(op=Op.RESET, mode=STATIC, **scores),
                    Instruction(
                        op=Op.DRIVE,
                        mode=COLUMN | SIGNED | source,
                        operand=tile,
                        n_src=gather["n_dst"],
                        **query,
                        **scores,
                    ),
                    Instruction(
                        op=Op.SOFTMAX, mode=mode, shift=net.softmax_shift(m.softmax), src=soft.first, **scores
                    ),
                    Instruction(op=Op.RESET, mode=STATIC, **gather),
                    Instruction(
                        op=Op.DRIVE, mode=source, operand=tile, src=soft.first, n_src=soft.n, **gather
                    ),
                    Instruction(
                        op=Op.RELAY,
                        mode=mode | SCALED,
                        shift=relay.retrieval_shift(fraction, m.relay.gain),
                        **self._head(f"{m.relay.name} {RETRIEVAL}", h, heads),
                        **gather,
                    ),
                ]
                if not m.softmax.loaded:
                    out.append(
                        Instruction(
                            op=Op.SOFTMAX,
                            mode=mode | ABSOLUTE,
                            shift=net.softmax_shift(m.softmax),
                            **self._head(f"{m.softmax.name} {CODES}", h, heads),
                            **scores,
                        )
                    )
        return out

    def _learns(self, eta: float) -> list[Instruction]:
        """Every synapse learns from what its two ends send into it, head by head."""
        net, g, steps = self.network, self.groups, learning_steps(self.network, eta)
        out: list[Instruction] = []
        for s in net.plastic:
            pre, post = net[s.pre], net[s.post]
            for h in range(pre.heads * post.heads if steps[s.name].gain else 0):
                if pre.kind == "softmax":
                    ends, mode = (f"{s.pre} {CODES}", f"{s.post} {QUERY}"), SIGNED_DST
                elif pre.kind == "relay":
                    ends, mode = (f"{s.pre} {RETRIEVAL}", s.post), SIGNED
                else:
                    ends, mode = (
                        (s.pre, f"{s.post} {RETRIEVAL}" if post.kind == "relay" else s.post),
                        SIGNED_DST if post.kind == "relay" else 0,
                    )
                (first, n), (dst, n_dst) = (
                    (g[name].first + (h * (g[name].n // q.heads) if q.heads > 1 else 0), g[name].n // q.heads)
                    for name, q in zip(ends, (post if pre.kind == "softmax" else pre, post), strict=True)
                )
                out.append(
                    Instruction(
                        op=Op.LEARN,
                        mode=mode,
                        gain=steps[s.name].gain,
                        shift=steps[s.name].shift,
                        operand=self._tile(s, h),
                        src=first,
                        n_src=n,
                        dst=dst,
                        n_dst=n_dst,
                    )
                )
        return out

    def _tile(self, s: Synapse, head: int) -> int:
        """First tile of a head's part of a synapse; the heads of a memory share its patterns."""
        if self.network[s.pre].kind == "softmax":
            return self.tiles[s.name]
        rows, columns = (syn.groups(self.network[name].width, self.config.lanes) for name in (s.pre, s.post))
        return self.tiles[s.name] + head * rows * columns

    def _synapse(self, s: Synapse) -> dict[str, int]:
        pre = self.groups[f"{s.pre} {RETRIEVAL}" if self.network[s.pre].kind == "relay" else s.pre]
        post = self.groups[s.post]
        return {
            "operand": self.tiles[s.name],
            "src": pre.first,
            "n_src": pre.n,
            "dst": post.first,
            "n_dst": post.n,
        }

    # -- memory images -----------------------------------------------------------------------------
    def _blocks(self, s: Synapse) -> list[Raw]:
        """Views that make up a synapse's matrix, one a head: each starts with a tile of its own, so that
        padding is no part of it.
        """
        index = np.arange(np.prod(self.network.shape(s))).reshape(self.network.shape(s))
        pre, post = self.network[s.pre], self.network[s.post]
        if pre.kind == "softmax":
            return [index]
        return [b for rows in np.split(index, pre.heads) for b in np.split(rows, post.heads, axis=1)]

    def weight_words(self, weights: Weights) -> Raw:
        """(n_tiles x P, P) words x banks, from word 0."""
        checked, p = self.network.check_weights(weights), self.config.lanes
        return np.concatenate(
            [
                syn.to_words(checked[s.name].ravel()[block], p)
                for s in self.network.plastic
                for block in self._blocks(s)
            ]
        )

    def weights(self, words: Raw) -> Weights:
        """Inverse of :meth:`weight_words`."""
        p, out, at = self.config.lanes, {}, 0
        for s in self.network.plastic:
            w = np.empty(self.network.shape(s), np.int64)
            for block in self._blocks(s):
                n = syn.groups(block.shape[0], p) * syn.groups(block.shape[1], p) * p
                w.ravel()[block] = syn.from_words(words[at : at + n], block.shape, p)
                at += n
            out[s.name] = w
        return out

    def token_words(self, patterns: Raw) -> tuple[int, Raw]:
        """Element address in the weights, and words x banks, of one sample's patterns (n, width), raw; whole
        tiles, as many as they need.
        """
        memory = self.network.loaded
        assert memory is not None
        return self.tiles[memory.synapse.name] * self.config.lanes**2, syn.to_words(
            patterns, self.config.lanes
        )

    def constants(self) -> tuple[int, Raw]:
        """Element address and 8-bit values of the constant populations and of stored memories' presences,
        written once.
        """
        values = self._constants()
        if not values:
            return 0, np.zeros(0, np.int64)
        return self.groups[values[0][0]].first * self.config.lanes, self._pad(values)

    def _constants(self) -> list[tuple[str, Raw]]:
        out = [
            (q.name, np.full(q.size, ONE, np.int64)) for q in self.network.populations if q.kind == "constant"
        ]
        return out + [
            (f"{m.softmax.name} {PRESENT}", np.full(m.softmax.size, ONE, np.int64))
            for m in self.network.memories
            if not m.softmax.loaded
        ]

    def sample(self, x: Raw, y: Raw | None = None, *, tokens: int = 0) -> Raw:
        """8-bit values to write from ``sample_first``: one sample's inputs, presences of its ``tokens``,
        then its target (absent: nothing).
        """
        value, parts, at = self.network.numerics.value, [], 0
        x = value.require(x, "inputs")
        if x.shape != (self.network.n_inputs,):
            raise ValueError(f"a sample must have shape ({self.network.n_inputs},), not {x.shape}")
        for q in self.network.inputs:
            parts.append((q.name, x[at : at + q.size]))
            at += q.size
        if self.network.loaded:
            size = self.network.loaded.softmax.size
            if not 0 <= tokens <= size:
                raise ValueError(f"a sample has up to {size} tokens, not {tokens}")
            parts.append(
                (f"{self.network.loaded.softmax.name} {PRESENT}", np.where(np.arange(size) < tokens, ONE, 0))
            )
        if y is not None:
            y = value.require(y, "targets")
            if y.shape != (self.network.n_outputs,):
                raise ValueError(f"a target must have shape ({self.network.n_outputs},), not {y.shape}")
            parts.append((TARGET, y))
        return self._pad(parts)

    def _pad(self, parts: list[tuple[str, Raw]]) -> Raw:
        return np.concatenate(
            [np.pad(a, (0, self.groups[name].n * self.config.lanes - len(a))) for name, a in parts]
        )


#: groups beside the populations'; no population can bear such a name
TARGET, SCRATCH, RETRIEVAL, QUERY, PRESENT, CODES = (
    "(target)",
    "(relay)",
    "(retrieval)",
    "(query)",
    "(present)",
    "(codes)",
)
