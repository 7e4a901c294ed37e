"""Compiler of a network description to the engine's program."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, NamedTuple, TypedDict

from equilif_golden.blocks import relay
from equilif_golden.blocks.error import half
from equilif_golden.blocks.plasticity import SHIFTS
from equilif_golden.blocks.self_attention import answer_shift
from equilif_golden.engine.config import EngineConfig, Unlimited
from equilif_golden.engine.features import OPTIONS, has
from equilif_golden.engine.isa import WORDS, Groups, Instruction, Op, Tiles, announced
from equilif_golden.engine.placement import (
    ATTENDED,
    SUM,
    Placement,
    columns_of,
    error_of,
    padding_of,
    present_of,
    rows_of,
    scores_of,
)
from equilif_golden.engine.recall import inhibit_absent, recall
from equilif_golden.fixed import Numerics, short_repr
from equilif_golden.learning import learning_steps
from equilif_golden.network import (
    AttentionLayer,
    Network,
    Population,
    SelfAttention,
    Synapse,
    require_network,
)


class CapacityError(ValueError):
    """The network does not fit the engine; the message has required and available sizes."""


class To(TypedDict):
    """Destination of values: operands of MEASURE, SOFTMAX and RELAY."""

    plus: bool
    minus: bool


class Phase(NamedTuple):
    """Time steps with a nudge of ``strength``, none in the free phase, whose rates go to ``to``.

    ``early_exit``: it ends when the rates have settled.  ``second``: it works on the second state.  Errors
    take no time: they are phases of 0 steps.
    """

    steps: int
    strength: int
    to: To
    early_exit: bool = False
    second: bool = False

    @property
    def of_minus(self) -> bool:
        """Whether it reads back V-."""
        return self.to["minus"] and not self.to["plus"]


def _other_numbers(network: Numerics, engine: Numerics) -> str:
    """The formats in which a network and an engine differ, or nothing.

    The accumulators of the engine may be wider: no sum of the network wraps.
    """
    names = [f.name for f in fields(Numerics) if getattr(network, f.name) != getattr(engine, f.name)]
    if network.accumulator_width < engine.accumulator_width:
        names.remove("accumulator_width")
    if not names:
        return ""
    required = " and ".join(f"{name} {getattr(network, name)}" for name in names)
    available = " and ".join(str(getattr(engine, name)) for name in names)
    return f"the network has {required}, the engine {available}"


def learns(network: Network, config: EngineConfig) -> bool:
    """Whether an engine that holds a network can train it."""
    able = network.trainable and (_has_errors(config) or not network.schedule.errors)
    return able and Compiled(network, config).training_words <= config.program_words


def _has_errors(config: EngineConfig) -> bool:
    """Whether an engine can learn from errors."""
    return config.errors and config.attention


def _never_learns(network: Network) -> bool:
    """Whether it has self-attention without an energy."""
    return not all(a.energy for a in network.self_attention)


class Compiled(Placement):
    """A network placed on an engine: where everything is, and the program at a given learning rate.

    CapacityError when it does not fit.
    """

    def __init__(self, network: Network, config: EngineConfig):
        require_network(network)
        if not isinstance(config, EngineConfig):
            raise ValueError(f"an EngineConfig is wanted, not {short_repr(config)}")
        if other := _other_numbers(network.numerics, config.numerics):
            raise CapacityError(other)
        for name, feature in OPTIONS.items():
            needed = feature.needed(network)
            if needed and not has(config, name):
                raise CapacityError(
                    f"the network has {needed}, this engine is built without {feature.label} "
                    f"(EngineConfig.{name})"
                )
        output = network[network.output]
        if output.maps % config.lanes and output.shape:
            raise CapacityError(
                f"the output {output.name} has {output.maps} maps, which do not fill groups of "
                f"{config.lanes} lanes; an engine reads its output neuron by neuron: take a flat one"
            )
        for s in network.synapses:
            maps = network[s.post].maps
            if s.per_position and maps % config.lanes and not _never_learns(network):
                raise CapacityError(
                    f"synapse {s.name}: a bias per position needs whole groups of {config.lanes} lanes, "
                    f"{s.post} has {maps} maps: take a multiple"
                )
        super().__init__(network, config)
        for s in network.synapses:
            for i in announced(self.geometry(s)):
                problem = i.problem(config)
                if problem:
                    raise CapacityError(f"synapse {s.name}: {problem}")
        self.raw = network.schedule.raw(network.numerics)
        #: whether programs have all phases at any learning rate
        self.complete = isinstance(config, Unlimited)
        # without a learning rate the program has no LEARN; with one it has these
        updates = sum(
            network.learned_parts(s) * len([*announced(self.geometry(s)), s])
            for s in network.plastic
            if not _never_learns(network)
        )
        words = (len(self.program(0.0)) + updates) * WORDS
        #: program words of training; errors need more than inference
        self.training_words = words
        if network.schedule.errors and _has_errors(config) and not self.complete:
            self.training_words += len(self._errors()) * WORDS
        for what, need, have in (
            ("groups of neurons with membranes", self.state_groups, config.state_groups),
            ("groups of values", self.n_groups, config.value_groups),
            (
                f"tiles of {config.lanes}x{config.lanes} weights",
                self.all_tiles + self.window,
                config.tiles,
            ),
            ("tiles in total", self.external_end, config.all_tiles),
            ("program words", words, config.program_words),
        ):
            if need > have:
                raise CapacityError(f"the network needs {need} {what}, this engine has {have}")

    def _through(self, s: Synapse, i: Instruction) -> list[Instruction]:
        """An instruction through a synapse, after what announces its geometry; backwards through external
        weights one for each block of them.
        """
        geometry = self.geometry(s)
        if s not in self.external or not i.backwards:
            return [*announced(geometry), i]
        tile = i.operation.operands["tile"]
        assert isinstance(tile, Tiles)
        out: list[Instruction] = []
        for part, group, first in self.blocks_backwards(s):
            fields: dict[str, Any] = tile.fields(i["tile"] + first)
            block = replace(i, dst=i.dst + group, n_dst=part.n_pre, **fields)
            out += [*announced(geometry and part), block]
        return out

    @property
    def everyone(self) -> Groups:
        """All LIF neurons."""
        return Groups(0, self.lif_groups)

    def program(self, learning_rate: float) -> list[Instruction]:
        """Three phases and the update; an inference run stops after the free phase.

        Frozen synapses are left out, and with self-attention that does not learn all but the free phase; for
        an Unlimited engine only the update, before which there is another HALT.  CapacityError for a learning
        rate of a network that learns from errors on an engine without them.
        """
        raw = self.raw
        errors = self.network.schedule.errors
        contrast: list[Instruction] = []
        if errors and (learning_rate or self.complete):
            contrast = self._errors()
        elif not errors and (self.complete or not _never_learns(self.network)):
            plus = Phase(raw.nudged, raw.strength, To(plus=True, minus=False))
            minus = Phase(raw.nudged, -raw.strength, To(plus=False, minus=True), second=self.interleaved)
            contrast = [Op.SAVE(self.everyone)]
            if self.interleaved:
                contrast += self._phases(plus, minus)
            else:
                contrast += [*self._phase(plus), Op.RESTORE(self.everyone), *self._phase(minus)]
        return [
            *self._begin(),
            *self._silence(),
            *self._phase(Phase(raw.free, 0, To(plus=True, minus=True), early_exit=raw.early_exit >= 0)),
            Op.ARGMAX(self.groups[self.network.output]),
            Op.HALT(infer=True),
            *contrast,
            *([Op.HALT(infer=True)] if self.complete else []),
            *self._learns(learning_rate),
            Op.HALT(),
        ]

    def free_steps(self) -> list[Instruction]:
        """Two parts: static drives from membranes at half of the threshold, then one time step, whose spikes
        are those in Q.
        """
        return [
            *self._begin(),
            Op.HALT(),
            Op.SAVE(self.everyone),
            Op.MARK(self.everyone),
            *self._steps(1, Phase(1, 0, To(plus=True, minus=True))),
            Op.HALT(),
        ]

    # -- phases ------------------------------------------------------------------------------------
    def _begin(self) -> list[Instruction]:
        drives = self._drives([q.name for q in self.network.lif if not self._relays(q.name)])
        first = next((k + 1 for k, i in enumerate(drives) if i.op == Op.DRIVE), 0)
        return [
            Op.RESET(self.everyone, value=0, static=True),
            *drives[:first],
            # begins with the last command of a DRIVE, while a second RESET would wait for the first
            Op.RESET(self.everyone, value=self.raw.threshold // 2),
            *drives[first:],
        ]

    def _phase(self, phase: Phase) -> list[Instruction]:
        """One loop of steps or, with attention layers, which are evaluated per window, or early exit, one of
        windows.
        """
        raw = self.raw
        windowed = self.network.windowed
        if not windowed and not phase.early_exit:
            return self._phases(phase)
        measure = self._measure(phase)
        windows = phase.steps // raw.window
        layers = [m for m in self.network.attention_layers if not self.network.evaluated_once(m)]
        end = Op.NEXT()
        watch: list[Instruction] = []
        if phase.early_exit:
            end = Op.NEXT(left=windows - raw.min_windows + 1, early_exit=True)
            watched = self.groups[self.network.output] if raw.watch_output else self.everyone
            seen = Op.MEASURE(watched, shift=raw.rate_shift, tolerance=raw.early_exit, watch=True, **phase.to)
            # the output is compared with what was measured before, so it is measured before all are
            if raw.watch_output:
                watch = [seen]
            else:
                measure = seen
        return [
            Op.REPEAT(windows),
            *(self._add_retrievals(phase) if windowed else []),
            Op.MARK(self.everyone),
            *self._steps(raw.window, phase),
            *watch,
            measure,
            *(i for m in layers for i in self._recall(m, phase)),
            *self._attend(phase),
            end,
        ]

    @property
    def interleaved(self) -> bool:
        """Whether the nudged phases run together, time step by time step, on two states.

        With attention layers they cannot: retrievals change the static drives, which both share.
        """
        room = self.config.state_groups // 2
        return not self.network.windowed and self.lif_groups <= room

    def _phases(self, *phases: Phase) -> list[Instruction]:
        """One loop of the steps of phases of equal length; one fills the latency of the other."""
        body: list[Instruction] = []
        for k, q in enumerate(self.network.lif):
            for phase in phases:
                if not k:
                    body.append(Op.MARK(self.everyone, left=self.raw.window, second=phase.second))
                body += self._step(q, phase)
        return [Op.REPEAT(phases[0].steps), *body, Op.NEXT(), *map(self._measure, phases)]

    def _measure(self, phase: Phase) -> Instruction:
        return Op.MEASURE(self.everyone, shift=self.raw.rate_shift, second=phase.second, **phase.to)

    def _steps(self, count: int, phase: Phase) -> list[Instruction]:
        """Time steps: each LIF population in order, from the newest spikes of its neighbours."""
        return [Op.REPEAT(count), *(i for q in self.network.lif for i in self._step(q, phase)), Op.NEXT()]

    def _step(self, q: Population, phase: Phase) -> list[Instruction]:
        """A time step of a population."""
        here = self.groups[q.name]
        body = self._gathers(q, second=phase.second)
        if phase.strength and q.name == self.network.output:
            targets = self.groups[self.target]
            body.append(Op.NUDGE(here, targets=targets, strength=phase.strength, second=phase.second))
        step = Op.STEP(here, threshold=self.raw.threshold, leak=self.raw.leak, second=phase.second)
        return [*body, step]

    def _gathers(self, q: Population, *, second: bool) -> list[Instruction]:
        """Spikes of the neighbours, through synapses forwards and backwards."""
        here = self.groups[q.name]
        out = []
        for s in self.network.synapses:
            if self.network[s.pre].kind != "lif" or self.network[s.post].kind != "lif":
                continue
            tile = self.tiles[s.name]
            if s.pre == q.name and s.feedback:
                backwards = {"shift": s.feedback_shift, "column": True}
                gather = Op.GATHER(self.groups[s.post], here, tile=tile, second=second, **backwards)
                out += self._through(s, gather)
            elif s.post == q.name:
                out += self._through(s, Op.GATHER(self.groups[s.pre], here, tile=tile, second=second))
        return out

    def _drives(self, names: list[str]) -> list[Instruction]:
        """Static drive of LIF populations from what is clamped."""
        return [
            i
            for s in self.network.synapses
            if s.post in names and self.network[s.pre].clamped
            for i in self._through(
                s, Op.DRIVE(self.groups[s.pre], self.groups[s.post], tile=self.tiles[s.name])
            )
        ]

    # -- memories ----------------------------------------------------------------------------------
    def _relays(self, name: str) -> list[Synapse]:
        """Synapses through which a population receives retrievals, or answers of self-attention."""
        net = self.network
        kinds = ("relay", "self_attention")
        return [
            s
            for s in net.synapses
            if (s.post == name and net[s.pre].kind in kinds)
            or (s.pre == name and net[s.post].kind == "self_attention" and net.answers_back(s))
        ]

    def _sum(self, m: AttentionLayer) -> Groups:
        """Accumulator of one head of a relay."""
        return Groups(self.groups[SUM].first, self.groups[f"{m.relay.name} retrieval"].n // m.relay.heads)

    def _silence(self) -> list[Instruction]:
        """Before the first window: absent patterns are excluded, and retrievals are zero but for those that
        no rate changes.
        """
        out: list[Instruction] = []
        before = Phase(0, 0, To(plus=True, minus=True))
        for m in self.network.attention_layers:
            name = f"{m.relay.name} retrieval"
            total = self._sum(m)
            out += inhibit_absent(self.groups[m.attention.name], self.groups[f"{m.attention.name} present"])
            if self.network.evaluated_once(m):
                out += self._recall(m, before)
                continue
            out.append(Op.RESET(total, value=0, static=True))
            for h in range(m.relay.heads):
                silent = self.head(name, h, m.relay.heads)
                out.append(Op.RELAY(total, values=silent, shift=relay.SHIFTS[0], plus=True, minus=True))
        for name, present in {scores_of(a): present_of(a) for a in self.network.self_attention}.items():
            out += inhibit_absent(self.groups[name], self.groups[present])
        for a in self.network.self_attention:
            total = self._attended(a)
            out.append(Op.RESET(total, value=0, static=True))
            for part in range(a.heads * a.answer_parts):
                silent = self._answers(a, part)
                modes = To(plus=True, minus=a.energy or self.complete)
                out.append(Op.RELAY(total, values=silent, shift=relay.SHIFTS[0], **modes))
        return out if self.network.windowed else [*out, *self._add_retrievals(before)]

    def _add_retrievals(self, phase: Phase) -> list[Instruction]:
        """Base drive of the populations that receive retrievals."""
        out: list[Instruction] = []
        for q in self.network.lif:
            here = self.groups[q.name]
            relays = self._relays(q.name)
            if relays:
                out += [Op.RESET(here, value=0, static=True), *self._drives([q.name])]
            for s in relays:
                pre = self.network[s.pre]
                post = self.network[s.post]
                if isinstance(post, SelfAttention):
                    for part in range(post.drive_parts):
                        drive = Op.DRIVE(
                            self._answers(post, part),
                            here,
                            tile=self.tile(s, part),
                            column=True,
                            signed=True,
                            minus=phase.of_minus,
                        )
                        out += self._through(s, drive)
                    continue
                if isinstance(pre, SelfAttention):
                    for h in range(pre.heads):
                        drive = Op.DRIVE(
                            self._answers(pre, h),
                            here,
                            tile=self.tile(s, h),
                            signed=True,
                            minus=phase.of_minus,
                        )
                        out += self._through(s, drive)
                    continue
                retrieval = self.groups[f"{s.pre} retrieval"]
                tile = self.tiles[s.name]
                out.append(Op.DRIVE(retrieval, here, tile=tile, signed=True, minus=phase.of_minus))
        return out

    def _recall(self, m: AttentionLayer, phase: Phase) -> list[Instruction]:
        """Every head of an attention layer once, from the rates just measured: a query, then a recall."""
        return [i for h in range(m.relay.heads) for i in self._recall_head(m, h, phase)]

    def _recall_head(self, m: AttentionLayer, h: int, phase: Phase) -> list[Instruction]:
        net = self.network
        fraction = self.network.numerics.fraction
        heads = m.relay.heads
        scores = self.groups[m.attention.name]
        total = self._sum(m)
        shift = net.softmax_shift(m.attention)
        # queries are kept where they are learnt from
        query = self.head(f"{m.relay.name} query", h, heads) if m.attention.learns else total
        out = [Op.RESET(total, value=0, static=True)]
        for s in net.synapses:
            if s.post == m.relay.name and net[s.pre].clamped:
                out += self._through(s, Op.DRIVE(self.groups[s.pre], total, tile=self.tile(s, h)))
            elif s.pre == m.relay.name:
                back = {"tile": self.tile(s, h), "column": True, "minus": phase.of_minus}
                if s.feedback:
                    out.append(Op.DRIVE(self.groups[s.post], total, **back))
                if net.schedule.errors and phase.strength:
                    errors = self.groups[error_of(s.post)]
                    out.append(Op.DRIVE(errors, total, rounding=1, signed=True, **back))
        out.append(Op.RELAY(total, values=query, shift=relay.query_shift(fraction), **phase.to))
        out += recall(
            scores,
            total,
            query=query,
            retrieval=self.head(f"{m.relay.name} retrieval", h, heads),
            tile=self.tiles[m.synapse.name],
            shift=shift,
            retrieval_shift=relay.retrieval_shift(fraction, m.relay.gain),
            **phase.to,
        )
        # patterns learn from the codes of the nudged phases
        if m.synapse.learning_rate_scale and m.attention.learns and phase.strength:
            codes = self.head(f"{m.attention.name} codes", h, heads)
            fine = m.attention.dynamic_patterns
            kind = {"absolute": not fine, "fine": fine}
            out.append(Op.SOFTMAX(scores, values=codes, shift=shift, **kind, **phase.to))
        return out

    # -- self-attention ----------------------------------------------------------------------------
    def _attended(self, a: SelfAttention) -> Groups:
        """Accumulator of one head at all positions, and its codes."""
        return Groups(self.groups[ATTENDED].first, self.head_geometry(a).n_post)

    def _answers(self, a: SelfAttention, part: int) -> Groups:
        """Answers of one head at all positions; with an energy query ``part`` or key ``part - heads``."""
        return self.head(f"{a.name} answers", part, a.heads * a.answer_parts)

    def _attend(self, phase: Phase) -> list[Instruction]:
        """Every head of every self-attention population once, from the rates just measured."""
        return [
            i
            for a in self.network.self_attention
            for h in range(a.heads)
            for i in (self._attend_with_energy if a.energy else self._attend_head)(a, h, phase)
        ]

    def _attend_head(self, a: SelfAttention, h: int, phase: Phase) -> list[Instruction]:
        """Keys and values become weights, then all positions ask at once.

        Keys are a kernel of 1 from all positions, as if these were maps, to the maps of a head: STORE writes
        it, backwards it makes scores of queries, and that of the values makes answers of probabilities.
        """
        out: list[Instruction] = []
        for part, tile in ((1, self.keys), (2, self.values)):
            out += [*self._project(a, part * a.heads + h, phase), *self._store(a, tile)]
        out += [*self._project(a, h, phase), *self._score(a)]
        shift = answer_shift(self.network.numerics.fraction, a.gain)
        to = phase.to if self.complete else To(plus=True, minus=False)
        return [*out, *self._gather_answers(a, self.values, h, shift, to)]

    def _attend_with_energy(self, a: SelfAttention, h: int, phase: Phase) -> list[Instruction]:
        """One head with keys as values, then the answers of its queries to its keys.  These need transposed
        probabilities, which are stored as weights row by row and read column by column.
        """
        scores = self.groups[scores_of(a)]
        n = a.drive_shape.positions
        (convolve,) = announced(self.square_geometry(a))
        shift = answer_shift(self.network.numerics.fraction, a.gain)
        tile = self.probabilities
        gain = max(1, 2 // self.row_factor)  # the product with the factor is even
        half = (gain * self.row_factor).bit_length() - 1
        return [
            *self._project(a, a.heads + h, phase),
            *self._store(a, self.keys),
            *self._project(a, h, phase),
            *self._store(a, self.values),
            *self._score(a),
            *self._gather_answers(a, self.keys, h, shift, phase.to),
            convolve,
            Op.LEARN(self.groups[rows_of(n)], scores, tile=tile, gain=gain, shift=SHIFTS[0], store=True),
            *self._clear_padding(n),
            Op.RESET(scores, value=0, static=True),
            convolve,
            Op.DRIVE(self.groups[columns_of(n)], scores, tile=tile, column=True),
            Op.RELAY(scores, values=scores, shift=half, plus=True),
            *self._gather_answers(a, self.values, a.heads + h, shift - 1, phase.to),
        ]

    def _clear_padding(self, n: int) -> list[Instruction]:
        """Rows of probabilities beyond the ``n`` positions become 0: they would be read as probabilities of
        absent positions, and another population or network may have written them.
        """
        if padding_of(n) not in self.groups:
            return []
        rows = self.head(padding_of(n), 0, 2)
        zeros = self.head(padding_of(n), 1, 2)
        return [Op.LEARN(rows, zeros, tile=self.probabilities, gain=1, shift=SHIFTS[0], store=True)]

    def _store(self, a: SelfAttention, tile: int) -> list[Instruction]:
        """Codes of a head at all positions become weights, one row for each position."""
        (convolve,) = announced(self.head_geometry(a))
        positions = self.groups[rows_of(a.drive_shape.positions)]
        stored = {"gain": self.row_gain, "shift": SHIFTS[0]}
        codes = self._attended(a)
        return [convolve, Op.LEARN(positions, codes, tile=tile, **stored, store=True, signed_dst=True)]

    def _score(self, a: SelfAttention) -> list[Instruction]:
        """Probabilities of all positions from the codes of queries and the stored keys."""
        geometry = self.head_geometry(a)
        scores = self.groups[scores_of(a)]
        return [
            Op.RESET(scores, value=0, static=True),
            *announced(geometry),
            Op.DRIVE(self._attended(a), scores, tile=self.keys, column=True, signed=True),
            Op.SOFTMAX(
                scores,
                values=scores,
                shift=self.network.softmax_shift(a),
                row=geometry.pre,
                absolute=True,
                plus=True,
            ),
        ]

    def _gather_answers(
        self, a: SelfAttention, tile: int, part: int, shift: int, to: To
    ) -> list[Instruction]:
        """Answers from the codes of probabilities and what is stored from ``tile`` on."""
        total = self._attended(a)
        return [
            Op.RESET(total, value=0, static=True),
            *announced(self.head_geometry(a)),
            Op.DRIVE(self.groups[scores_of(a)], total, tile=tile),
            Op.RELAY(total, values=self._answers(a, part), shift=shift, **to),
        ]

    def _project(self, a: SelfAttention, part: int, phase: Phase) -> list[Instruction]:
        """Codes of query, key or value of a head at all positions."""
        total = self._attended(a)
        out = [Op.RESET(total, value=0, static=True)]
        for s in self.network.synapses:
            if s.post == a.name:
                minus = phase.of_minus and not self.network[s.pre].clamped
                drive = Op.DRIVE(self.groups[s.pre], total, tile=self.tile(s, part), minus=minus)
                out += self._through(s, drive)
        shift = relay.query_shift(self.network.numerics.fraction)
        return [*out, Op.RELAY(total, values=total, shift=shift, plus=True)]

    # -- learning ----------------------------------------------------------------------------------
    def _errors(self) -> list[Instruction]:
        """Errors of all populations after the free phase: V- of their groups of errors, whose V+ stays 0.

        Attention layers need both signs, for two nudged queries: V+ has the errors of the negative output
        error.
        """
        if not _has_errors(self.config):
            raise CapacityError(
                'the weights of the network learn from errors (contrast "errors"), this engine is built '
                "without (EngineConfig.errors and EngineConfig.attention): train it on the golden kernel, or "
                "take another engine"
            )
        out = self._errors_of(Phase(0, -self.raw.threshold, To(plus=False, minus=True)))
        if self.network.attention_layers:
            out += self._errors_of(Phase(0, self.raw.threshold, To(plus=True, minus=False)))
        return out

    def _errors_of(self, phase: Phase) -> list[Instruction]:
        """Errors of one sign, and attention layers with the queries that they nudge.

        B holds what a population receives.  The output's is the target minus its rate, in units of the drive,
        or the negative of it.
        """
        raw = self.raw
        net = self.network
        output = self.groups[net.output]
        to = phase.to
        out = [
            Op.RESET(output, value=0, static=True),
            Op.NUDGE(output, targets=output, strength=-phase.strength, static=True),
            Op.NUDGE(output, targets=self.groups[self.target], strength=phase.strength, static=True),
            Op.RELAY(output, values=self.groups[error_of(net.output)], shift=raw.error_shift, **to),
        ]
        known = {net.output}
        for q in reversed(net.lif):
            # an error that comes later is 0, but V- still holds that of the last sample
            targets = [s for s in net.synapses if s.pre == q.name and s.post in known]
            here = self.groups[q.name]
            if q.name == net.output:
                continue
            known.add(q.name)
            out.append(Op.RESET(here, value=half(raw.hidden_error_shift), static=True))
            for s in targets:
                sources = self.groups[error_of(s.post)]
                modes = {"column": True, "minus": phase.of_minus, "signed": True}
                out += self._through(s, Op.DRIVE(sources, here, tile=self.tiles[s.name], rounding=1, **modes))
            out.append(
                Op.RELAY(
                    here,
                    values=self.groups[error_of(q.name)],
                    shift=raw.hidden_error_shift,
                    rate_shift=raw.rate_shift,
                    gated=True,
                    **to,
                )
            )
        return [*out, *(i for m in net.attention_layers for i in self._recall(m, phase))]

    def _learns(self, learning_rate: float) -> list[Instruction]:
        """Every synapse learns from what its two ends send into it, head by head."""
        steps = learning_steps(self.network, learning_rate)
        out: list[Instruction] = []
        for s in self.network.plastic:
            gain, shift = steps[s.name]
            for h in range(self.network.learned_parts(s) if gain else 0):
                out += self._through(s, self._learn(s, h, gain, shift))
        return out

    def _learn(self, s: Synapse, h: int, gain: int, shift: int) -> Instruction:
        pre = self.network[s.pre]
        post = self.network[s.post]
        errors = self.network.schedule.errors and post.kind == "lif"
        if pre.kind == "attention":
            sources = self.head(f"{s.pre} codes", h, post.heads)
            groups = self.head(f"{s.post} query", h, post.heads)
        else:
            sources = self._sent(pre, h)
            groups = self._sent(post, h)
            if errors:
                groups = self.groups[error_of(s.post)]
        return Op.LEARN(
            sources,
            groups,
            tile=self.tile(s, h),
            gain=gain,
            shift=shift,
            clamped=int(pre.clamped),
            signed=pre.kind == "relay",
            signed_dst=post.kind in ("relay", "self_attention") or errors,
        )

    def _sent(self, q: Population, h: int) -> Groups:
        """Values of a population for a synapse that learns, of part ``h`` of it."""
        if isinstance(q, SelfAttention):
            return self._answers(q, h)
        return self.head(f"{q.name} retrieval", h, q.heads) if q.kind == "relay" else self.groups[q.name]


#: largest sizes of an engine
MAX_SIZES = {"tiles": 1 << 15, "value_groups": 1 << 10, "state_groups": 1 << 10, "program_words": 1 << 11}


def engine_for(network: Network, *, lanes: int) -> EngineConfig:
    """The default engine with this many lanes, its memories doubled until the network fits.

    CapacityError when no engine is large enough.
    """
    default = EngineConfig(lanes=lanes)
    options: dict[str, Any] = {
        name: has(default, name) or bool(o.needed(network)) for name, o in OPTIONS.items()
    }
    options["errors"] = network.schedule.errors  # it runs without, but does not learn
    config = replace(
        default,
        tiles=max(4, EngineConfig().n_weights // default.lanes**2),
        **options,
        numerics=network.numerics,
    )
    while True:
        try:
            compiled = Compiled(network, config)
            if compiled.training_words > config.program_words:
                raise CapacityError(
                    f"to train, the network needs {compiled.training_words} program words, an engine has up "
                    f"to {MAX_SIZES['program_words']}"
                )
            return config
        except CapacityError:
            sizes = {name: min(2 * getattr(config, name), limit) for name, limit in MAX_SIZES.items()}
            larger = replace(config, **sizes)
            if larger == config:
                raise
            config = larger
