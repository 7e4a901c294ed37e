"""Instruction-set simulator of the engine: memories of P lanes and the effect of every instruction.

The RTL in ``hdl/equilif_hdl/engine/engine.py`` is compared with this model memory by memory.  What knows
about cycles is equilif_golden.engine.cycles.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from equilif_golden.blocks import synapse as syn
from equilif_golden.blocks.error import gate_shift, is_inside
from equilif_golden.blocks.lif import lif_step
from equilif_golden.blocks.nudge import nudge
from equilif_golden.blocks.plasticity import Step, dither, weight_change
from equilif_golden.blocks.rate import measure, moved
from equilif_golden.blocks.relay import relay
from equilif_golden.blocks.softmax import C_MIN, softmax
from equilif_golden.engine.activity import NAMES, activity
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.cycles import COMPARED, Comparison, Flow, Timekeeper
from equilif_golden.engine.external import from_rows, to_rows
from equilif_golden.engine.geometry import Geometry, offsets_of
from equilif_golden.engine.isa import (
    SCAN,
    SLOTS,
    SYNAPTIC,
    WALK,
    HaltMode,
    Instruction,
    MeasureMode,
    NextMode,
    NudgeMode,
    Op,
    RelayMode,
    ResetMode,
    ResultMode,
    SoftmaxMode,
    SourceMode,
    check,
    rows_of,
)
from equilif_golden.engine.memories import memories, skips_unchanged
from equilif_golden.engine.port import (
    Region,
    RunResult,
    begin_run,
    dither_position,
    readable,
    updates_at,
    writable,
)
from equilif_golden.engine.tables import SCATTER, RowOp, TableTokens, transfer
from equilif_golden.fixed import Raw, check_bool, saturate, wrap


def as_signed(values: Raw) -> Raw:
    """8-bit codes as two's complement."""
    return (values ^ 128) - 128


def _first(found: npt.NDArray[np.bool_]) -> int | None:
    """Position of the first one that is true."""
    return int(found.argmax()) if found.any() else None


#: what a source makes of its destination, by operation and direction
DRIVES: Mapping[tuple[Op, bool], Callable[..., Raw]] = {
    (Op.GATHER, False): syn.forward,
    (Op.GATHER, True): syn.backward,
    (Op.DRIVE, False): syn.forward_values,
    (Op.DRIVE, True): syn.backward_values,
}


class EngineModel:
    """An engine (equilif_golden.engine.port.Engine) and its state, raw.

    w      (tiles x P, P) weight words x banks, layout of equilif_golden.blocks.synapse.to_words; external
           weights follow, as equilif_golden.engine.external.to_rows
    saved  copies of SAVE, by name of the memory

    The others are those of equilif_golden.engine.memories, (groups, P).  Signed values are two's complement.
    """

    a: Raw
    b: Raw
    q: Raw
    s: Raw
    plus: Raw
    minus: Raw

    def __init__(self, config: EngineConfig, program: Sequence[Instruction] = ()):
        self.config = config
        p = config.lanes
        self.w = np.zeros((config.all_tiles * p, p), np.int64)
        for name, memory in memories(config).items():
            setattr(self, name, np.zeros((memory.groups, p), np.int64))
        self.saved = {
            name: np.zeros((memory.groups, p), np.int64)
            for name, memory in memories(config).items()
            if memory.saved
        }
        #: number of updates so far, for the dither
        self.counter = 0
        #: exponent of the last SOFTMAX, c - C_MIN
        self.scale = 0
        #: of a preceding CONVOLVE, or None
        self.geometry: Geometry | None = None
        #: a watched rate has changed since the last NEXT of mode EARLY_EXIT
        self.moved = False
        #: class of the last ARGMAX
        self.prediction = 0
        #: of the last run: loops that ended before their count
        self.shortened = 0
        #: of the last run: spikes of LIF neurons
        self.spikes = 0
        #: of the last run: weight words of P lanes that were read (LEARN writes them, too)
        self.accesses = 0
        #: of the last run: words of the SDRAM that were read and written
        self.external_words = (0, 0)
        #: of the last run, where ``config.counters``: see equilif_golden.engine.activity
        self.activity = np.zeros(len(NAMES), np.int64)
        self.program: list[Instruction] = []
        if program:
            self.load(program)

    # -- the port ----------------------------------------------------------------------------------
    def load(self, program: Sequence[Instruction]) -> None:
        """Load a program.  ProgramError if it is invalid; the previous program then remains loaded."""
        checked = list(program)
        check(checked, self.config)
        self.program = checked

    def write(self, region: Region, first: int, data: npt.ArrayLike) -> None:
        """Write elements from number ``first`` on; ValueError for wrong values or numbers."""
        at, checked = writable(self.config, region, first, data)
        match region:
            case Region.WEIGHT:
                self.w.reshape(-1)[at] = checked
            case Region.VALUE:
                self.plus.reshape(-1)[at] = checked
                self.minus.reshape(-1)[at] = checked
            case Region.COUNTER if len(checked):
                self.counter = updates_at(int(checked[0]))

    def read(self, region: Region, first: int, n: int) -> Raw:
        """``n`` elements from number ``first`` on; ValueError if some do not exist."""
        at = readable(self.config, region, first, n)
        match region:
            case Region.WEIGHT:
                return self.w.reshape(-1)[at].copy()
            case Region.VALUE:
                return self.plus.reshape(-1)[at] | self.minus.reshape(-1)[at] << 8
            case _:
                return np.array([dither_position(self.counter)])[at]

    def run(
        self,
        *,
        learn: bool,
        write: tuple[int, npt.ArrayLike] | None = None,
        read: tuple[int, int] = (0, 0),
        tokens: TableTokens | None = None,
    ) -> RunResult:
        """Run from instruction 0 to HALT.

        ``write``: first element and values to write before.  ``read``: first element and number of values to
        read after it.  ``tokens``: see equilif_golden.engine.port.Engine.
        """
        check_bool(learn, "learn")
        if not self.program:
            raise ValueError("there is no program: load one")
        elements = readable(self.config, Region.VALUE, *read)
        tokens = begin_run(self, write, tokens)
        self.spikes = self.accesses = 0
        self.activity[:] = 0
        time = Timekeeper(self.config)
        for i, flow in self.flow(learn=learn):
            if flow is not Flow.ISSUED:
                time.pass_by(flow)
                continue
            events = self.events(i)
            commands = self.commands(i)
            found = self.comparison(i)
            rows = self.external_rows(i)
            time.execute(i, events.sum(axis=1).tolist(), commands.tolist(), self.geometry, found, rows)
            if self.config.counters:
                self.activity += activity(i, self.config, events, commands, found)
            self.execute(i)
        if tokens is not None and learn:
            self.scatter(tokens)
        self.external_words = (time.external_words[0], time.external_words[1])
        values = self.read(Region.VALUE, elements.start, elements.stop - elements.start)
        counted = tuple(map(int, self.activity)) if self.config.counters else ()
        return RunResult(
            self.prediction, self.spikes, self.accesses, time.halt(), activity=counted, values=values
        )

    def transfer(self, op: RowOp, tokens: TableTokens) -> None:
        """Transfer rows of an embedding table, as a run with tokens does before and after it."""
        transfer(op, self.w, tokens, self.config.numerics.weight)

    def scatter(self, tokens: TableTokens) -> None:
        """Add the changes of patterns to their rows."""
        for op in SCATTER:
            self.transfer(op, tokens)

    def memory(self, name: str) -> Raw:
        """Content of a memory, (groups, P), with the copies of SAVE in the upper half."""
        now: Raw = getattr(self, name)
        return np.concatenate([now, self.saved[name]]) if name in self.saved else now

    # -- instructions ------------------------------------------------------------------------------
    def trace(self, *, learn: bool, longest: bool = False) -> Iterator[Instruction]:
        """Executed instructions of a run, in order.  The caller executes them, which may set ``moved``.
        ``longest``: without early exits.
        """
        for i, flow in self.flow(learn=learn, longest=longest):
            if flow is Flow.ISSUED:
                yield i

    def flow(self, *, learn: bool, longest: bool = False) -> Iterator[tuple[Instruction, Flow]]:
        """Trace (:meth:`trace`) including instructions of the sequencer except the last HALT."""
        pc = 0
        loops = [[0, 0]]  # (start, iterations left), innermost last
        self.moved = False
        self.shortened = 0
        while True:
            i = self.program[pc]
            pc += 1
            if i.op == Op.HALT:
                if not (i.mode & HaltMode.INFER and learn):
                    return
                yield i, Flow.PASSED
            elif i.op == Op.REPEAT:
                loops.append([pc, i["count"]])
                yield i, Flow.PASSED
            elif i.op == Op.NEXT:
                early_exit = self.config.early_exit and i.mode & NextMode.EARLY_EXIT
                if early_exit:
                    yield i, Flow.WAITS
                settled = early_exit and not (self.moved or longest) and loops[-1][1] <= i["left"]
                self.moved = self.moved and not early_exit
                loops[-1][1] -= 1
                if loops[-1][1] and not settled:
                    pc = loops[-1][0]
                    yield i, Flow.JUMPED
                else:
                    self.shortened += loops.pop()[1] > 0
                    yield i, Flow.PASSED
            elif i.op != Op.MARK or i["left"] in (0, loops[-1][1]):
                yield i, Flow.ISSUED
            else:
                yield i, Flow.PASSED

    def execute(self, i: Instruction) -> None:
        if i.op in WALK:
            self._walk(i)
        elif i.op in SYNAPTIC:
            self.accesses += int(self.events(i).sum(axis=1) @ self.commands(i))
            rows = self.external_rows(i)
            self._synaptic(i)
            self._pass_window(i, rows)
            self.geometry = None
        elif i.op == Op.CONVOLVE:
            self.geometry = i.geometry
        elif i.op == Op.ARGMAX:
            self.prediction = int(self.plus[i.groups("sources").slice].argmax())

    def events(self, i: Instruction) -> npt.NDArray[np.bool_]:
        """Active (non-zero) neurons of a scan's source, (n_src, P)."""
        memory = self.plus
        if i.op == Op.GATHER:
            memory = self._state(i)[1]
        elif i.op == Op.LEARN:
            memory = self.plus | self.minus
        elif i.op == Op.DRIVE and i.mode & SourceMode.MINUS:
            memory = self.minus
        source = slice(i.src, i.src + i.n_src * (i.op in SCAN))
        found: npt.NDArray[np.bool_] = memory[source] != 0
        if i.op == Op.LEARN and skips_unchanged(self.config) and not i.stores(self.config):
            differs = self.plus != self.minus
            if not differs[i.groups("groups").slice].any():
                found &= differs[source] & (not i["clamped"] & 1)
        if self.geometry is not None and i.op in SYNAPTIC:
            # with a stride larger than the kernel some positions have no targets
            found &= (self.commands(i) > 0)[:, None]
        return found

    def external_rows(self, i: Instruction) -> Sequence[int]:
        """Rows of external weights that are fetched, from the first one of the instruction's tiles on.

        A row leads from a neuron of an offset under the kernel to the groups of a position.
        """
        if not i.is_external(self.config):
            return ()
        p = self.config.lanes
        shape = self.geometry or i.dense
        active = np.flatnonzero(self.events(i)).tolist()
        if i.backwards:
            return range(shape.patch * p if active else 0)
        neurons = shape.pre * p
        offsets = offsets_of(shape)
        return [
            offset * neurons + neuron % neurons for neuron in active for offset in offsets[neuron // neurons]
        ]

    def comparison(self, i: Instruction) -> Comparison | None:
        """Place where LEARN first finds values that differ, if it skips unchanged weights."""
        if i.op != Op.LEARN or not skips_unchanged(self.config):
            return None
        differs = (self.plus != self.minus).any(axis=1)
        # STORE changes all weights, which is known at once
        destination = -COMPARED if i.stores(self.config) else _first(differs[i.groups("groups").slice])
        return Comparison(destination, _first(differs[i.src : i.src + i.n_src]))

    def commands(self, i: Instruction) -> Raw:
        """Number of groups to which an event of each source group is sent, (n_src,)."""
        if self.geometry is not None and i.op in SYNAPTIC:
            return self.geometry.commands(back=i.backwards)
        return np.full(i.n_src * (i.op in SCAN), i.n_dst)

    def _state(self, i: Instruction) -> tuple[Raw, Raw]:
        """A and S on which an instruction works."""
        return (self.saved["a"], self.saved["s"]) if i.second else (self.a, self.s)

    def _charges(self, i: Instruction) -> Raw:
        """Groups of Q on which it works."""
        n = self.config.state_groups
        first, count = i.groups("groups")
        return (first + np.arange(count) + i.second * (n // 2)) % n

    def _walk(self, i: Instruction) -> None:
        g = i.groups("groups").slice
        a, s = self._state(i)
        acc = self.config.numerics.accumulator
        charge = self.config.numerics.charge
        match i.op:
            case Op.RESET if i.mode & ResetMode.STATIC:
                self.b[g] = i["value"]
            case Op.RESET:
                self.a[g] = i["value"]
                self.s[g] = 0
            case Op.NUDGE:
                targets = self.plus[i.groups("targets").slice]
                if self.config.errors and i.mode & NudgeMode.STATIC:
                    self.b[g] = wrap(self.b[g] + nudge(targets, 0, strength=i["strength"]), acc)
                else:
                    force = nudge(targets, s[g], strength=i["strength"])
                    a[g] = wrap(a[g] + force, acc)
            case Op.STEP:
                q = self._charges(i)
                a[g], s[g] = lif_step(
                    wrap(a[g] + self.b[g], acc), 0, threshold=i["threshold"], leak=i["leak"]
                )
                self.q[q] = wrap(self.q[q] + i["threshold"] * s[g], charge)
                self.spikes += int(s[g].sum())
            case Op.MARK:
                self.q[self._charges(i)] = wrap(-a[g], charge)
            case Op.MEASURE:
                rate = self._rate(i, i["shift"])
                if self.config.early_exit and i.mode & MeasureMode.WATCH:
                    self.moved |= bool(moved(rate, self.plus[g], tolerance=i["tolerance"]).any())
                self._write(i, g, rate)
            case Op.SOFTMAX:
                self._softmax(i)
            case Op.RELAY:
                shift = i["shift"] + (self.scale if i.mode & RelayMode.SCALED else 0)
                value = relay(self.b[g], shift=shift)
                if self.config.errors and i.mode & RelayMode.GATED:
                    value = value * is_inside(self._rate(i, gate_shift(i["rate_shift"])))
                self._write(i, i.groups("values").slice, value & 255)
            case Op.SAVE:
                for name, copy in self.saved.items():
                    copy[g] = getattr(self, name)[g]
            case Op.RESTORE:
                for name, copy in self.saved.items():
                    getattr(self, name)[g] = copy[g]

    def _softmax(self, i: Instruction) -> None:
        """Row by row; the exponent is that of the last one."""
        groups = i.groups("groups")
        values = i.groups("values").first
        for first, n in rows_of(i, self.config):
            g = slice(groups.first + first, groups.first + first + n)
            codes = softmax(
                self.b[g].ravel(),
                self.a[g].ravel() >= 0,
                shift=i["shift"],
                absolute=bool(i.mode & SoftmaxMode.ABSOLUTE),
                fine=bool(i.mode & SoftmaxMode.FINE),
            )
            self.scale = int(codes.c) - C_MIN
            at = slice(values + first, values + first + n)
            self._write(i, at, codes.code.reshape(-1, self.config.lanes))

    def _rate(self, i: Instruction, shift: int) -> Raw:
        """Rate that MEASURE finds."""
        membranes = self._state(i)[0][i.groups("groups").slice]
        total = wrap(self.q[self._charges(i)] + membranes, self.config.numerics.charge)
        return measure(total, 0, shift=shift)

    def _write(self, i: Instruction, at: slice, values: Raw) -> None:
        if i.mode & ResultMode.PLUS:
            self.plus[at] = values
        if i.mode & ResultMode.MINUS:
            self.minus[at] = values

    def _synaptic(self, i: Instruction) -> None:
        """Position after position of a convolution; a dense synapse is one with a single position.

        rows, columns : (positions, groups) at the two ends of W
        """
        p = self.config.lanes
        acc = self.config.numerics.accumulator
        geometry = self.geometry or i.dense
        pre, post = (i.dst, i.src) if i.backwards else (i.src, i.dst)
        rows = pre + geometry.patches()
        columns = post + np.arange(geometry.n_post).reshape(-1, geometry.post)
        words = self.w[i["tile"] * p :][: geometry.tiles * p]  # a view
        external = i.is_external(self.config)
        ordered = from_rows(words, geometry.post, p) if external else words
        w = syn.from_words(ordered, (geometry.patch * p, geometry.post * p), p)
        if i.stores(self.config):
            words[:] = syn.to_words(self._stored(i, w, rows, columns), p)
            return
        if i.op == Op.LEARN:
            if self.events(i).any():
                learnt = syn.to_words(self._learnt(i, geometry, w, rows, columns), p)
                words[:] = to_rows(learnt, geometry.post, p) if external else learnt
            self.counter = (self.counter + 1) & 0xFFFFFFFF
            return
        plus, minus = (as_signed(v) if i.mode & SourceMode.SIGNED else v for v in (self.plus, self.minus))
        sources, groups = (columns, rows) if i.backwards else (rows, columns)
        total, values = self._state(i)
        if i.op == Op.DRIVE:
            total = self.b
            values = minus if i.mode & SourceMode.MINUS else plus
        drive_of = DRIVES[i.op, i.backwards]
        if i.op == Op.GATHER:
            w = syn.scaled(w, i["shift"])
        if i.op == Op.DRIVE and self.config.errors and i["rounding"] & 1:
            drive_of = functools.partial(drive_of, rounded=True)
        # a sum that wraps at the end is one that wraps at every addition
        drive = np.zeros_like(total)
        for source, group in zip(sources, groups, strict=True):
            drive[group] += drive_of(w, values[source].ravel()).reshape(-1, p)
        total[:] = wrap(total + drive, acc)

    def _pass_window(self, i: Instruction, rows: Iterable[int]) -> None:
        """Leave the last external rows, as they are after the instruction, in the window on the chip."""
        p = self.config.lanes
        shape = self.geometry or i.dense
        n = shape.post
        slots = 1 if i.op == Op.LEARN else SLOTS
        for k, row in enumerate(rows):
            first = i["tile"] * p + row * n
            slot = k % slots + 1
            if i.backwards:
                slot = shape.patch - row // p
            tile = self.config.tiles - slot * n
            self.w[tile * p + row % p : (tile + n) * p : p] = self.w[first : first + n]

    def _stored(self, i: Instruction, w: Raw, rows: Raw, columns: Raw) -> Raw:
        """The weights after every position has written its rows."""
        w = w.copy()
        pre = as_signed(self.plus) if i.mode & SourceMode.SIGNED else self.plus
        post = as_signed(self.plus) if i.mode & SourceMode.SIGNED_DST else self.plus
        for source, group in zip(rows, columns, strict=True):
            active = ((self.plus | self.minus)[source] != 0).ravel()
            product = i["gain"] * pre[source].ravel()[active, None] * post[group].ravel()
            w[active] = wrap(product, self.config.numerics.weight)
        return w

    def _learnt(self, i: Instruction, geometry: Geometry, w: Raw, rows: Raw, columns: Raw) -> Raw:
        """The weights after every position has added its update; saturated each time."""
        p = self.config.lanes
        pre = [as_signed(v) if i.mode & SourceMode.SIGNED else v for v in (self.plus, self.minus)]
        post = [as_signed(v) if i.mode & SourceMode.SIGNED_DST else v for v in (self.plus, self.minus)]
        step = Step(i["gain"], i["shift"])
        # of each row of w: number of its map
        maps = np.arange(geometry.pre * p)
        for position, (source, group) in enumerate(zip(rows, columns, strict=True)):
            noise = dither(
                self.counter,
                np.tile(maps, geometry.offsets)[:, None],
                np.arange(geometry.post * p),
                np.repeat(geometry.sources()[position], len(maps))[:, None],
                position,
            )
            u = np.stack([v[source].ravel() for v in pre])
            v = np.stack([v[group].ravel() for v in post])
            w = saturate(w + weight_change(u, v, noise, step), self.config.numerics.weight)
        return w
