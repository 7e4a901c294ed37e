"""The engine as an instruction-set simulator: memories of P lanes and one method per instruction.

The RTL in ``hdl/equilif_hdl/engine/engine.py`` is compared with this model memory by memory.  ``execute``
states what every instruction does to the memories; nothing here knows about cycles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from equilif_golden.blocks.lif import lif_step
from equilif_golden.blocks.nudge import nudge
from equilif_golden.blocks.plasticity import (
    DITHER_COLUMN,
    DITHER_MASK,
    DITHER_ROW,
    DITHER_UPDATE,
)
from equilif_golden.blocks.rate import measure, moved
from equilif_golden.blocks.relay import relay
from equilif_golden.blocks.softmax import C_MIN, softmax
from equilif_golden.engine.activity import NAMES, activity, fetches
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
    SYNAPTIC,
    WALK,
    WATCH,
    Instruction,
    Op,
    check,
)
from equilif_golden.fixed import Fixed, Raw, shift_right_floor


def wrap(raw: Raw, fmt: Fixed) -> Raw:
    """Two's complement wrap into a signed format: what a register of that width keeps."""
    return ((raw - fmt.lo) & ((1 << fmt.width) - 1)) + fmt.lo


def as_signed(values: Raw) -> Raw:
    """8-bit codes as two's complement."""
    return (values ^ 128) - 128


class EngineModel:
    """State of an engine.

    w       (tiles x P, P)          weight words x banks, layout of equilif_golden.blocks.synapse.to_words
    plus, minus  (value_groups, P)  8-bit values and rates, 0..255: signed ones as two's complement
    a, a_saved   (state_groups, P)  membrane with gathered input
    b, q         (state_groups, P)  static drive; charge
    s, s_saved   (state_groups, P)  spikes
    """

    def __init__(self, config: EngineConfig, program: Sequence[Instruction] = ()):
        self.config = config
        p, n = config.lanes, config.numerics
        self.acc, self.charge, self.weight = n.accumulator, n.charge, n.weight
        self.w = np.zeros((config.tiles * p, p), np.int64)
        self.plus, self.minus = np.zeros((2, config.value_groups, p), np.int64)
        self.a, self.a_saved, self.b, self.q, self.s, self.s_saved = np.zeros(
            (6, config.state_groups, p), np.int64
        )
        self.counter = 0  #: number of updates so far, for the dither
        self.prediction = 0
        self.scale = 0  #: exponent of the last SOFTMAX, c - C_MIN
        self.moved = False  #: a watched rate, since the last NEXT of mode EARLY
        self.ended_early = 0  #: loops of the last run
        self.spikes = 0  #: of the last run
        #: weight words of P lanes read (and, by LEARN, written) in the last run
        self.accesses = 0
        #: of the last run, see equilif_golden.engine.activity
        self.activity = np.zeros(len(NAMES), np.int64)
        self.load(program)

    def load(self, program: Sequence[Instruction]) -> None:
        if program:
            check(program, self.config)
        self.program = list(program)

    def run(self, *, learn: bool) -> None:
        """From instruction 0 to HALT."""
        self.spikes = self.accesses = 0
        self.activity[:] = 0
        for instruction in self.trace(learn=learn):
            self.execute(instruction)

    def trace(self, *, learn: bool) -> Iterator[Instruction]:
        """The instructions of a run in the order in which they are executed; what they do to ``moved``
        decides how it goes on.
        """
        pc, loops = 0, [[0, 0]]  # (start, iterations left), innermost last
        self.moved, self.ended_early = False, 0
        while True:
            i = self.program[pc]
            pc += 1
            if i.op == Op.HALT:
                if not (i.mode & INFER and learn):
                    return
            elif i.op == Op.REPEAT:
                loops.append([pc, i.count])
            elif i.op == Op.NEXT:
                early = self.config.early and i.mode & EARLY
                settled = early and not self.moved and loops[-1][1] <= i.count
                self.moved = self.moved and not early
                loops[-1][1] -= 1
                if loops[-1][1] and not settled:
                    pc = loops[-1][0]
                else:
                    self.ended_early += loops.pop()[1] > 0
            elif i.op != Op.MARK or not i.count or i.count == loops[-1][1]:
                yield i

    def execute(self, i: Instruction) -> None:
        if i.op in WALK:
            self._walk(i, np.arange(i.dst, i.dst + i.n_dst))
            self.activity += activity(i, self.config, commands=i.n_dst)
        elif i.op in SYNAPTIC:
            self._synaptic(i)
        elif i.op == Op.ARGMAX:
            self.prediction = int(self.plus[i.src : i.src + i.n_src].argmax())
            self.activity += activity(i, self.config, fetched=i.n_src)

    def _walk(self, i: Instruction, g: Raw) -> None:
        match i.op:
            case Op.RESET if i.mode & STATIC:
                self.b[g] = i.operand
            case Op.RESET:
                self.a[g], self.s[g] = i.operand, 0
            case Op.NUDGE:
                force = nudge(self.plus[i.src : i.src + i.n_dst], self.s[g], strength=i.operand)
                self.a[g] = wrap(self.a[g] + force, self.acc)
            case Op.STEP:
                self.a[g], self.s[g] = lif_step(
                    wrap(self.a[g] + self.b[g], self.acc), 0, threshold=i.gain, leak=i.shift
                )
                self.q[g] = wrap(self.q[g] + i.gain * self.s[g], self.charge)
                self.spikes += int(self.s[g].sum())
            case Op.MARK:
                self.q[g] = wrap(-self.a[g], self.charge)
            case Op.MEASURE:
                rate = measure(wrap(self.q[g] + self.a[g], self.charge), 0, shift=i.shift)
                if self.config.early and i.mode & WATCH:
                    self.moved = self.moved or bool(moved(rate, self.plus[g], tolerance=i.gain).any())
                if i.mode & PLUS:
                    self.plus[g] = rate
                if i.mode & MINUS:
                    self.minus[g] = rate
            case Op.SOFTMAX:
                codes = softmax(
                    self.b[g].ravel(), self.a[g].ravel() >= 0, shift=i.shift, absolute=bool(i.mode & ABSOLUTE)
                )
                self.scale = int(codes.c) - C_MIN
                self._write(i, codes.code.reshape(-1, self.config.lanes))
            case Op.RELAY:
                self._write(i, relay(self.b[g], shift=i.shift + (self.scale if i.mode & SCALED else 0)) & 255)
            case Op.SAVE:
                self.a_saved[g], self.s_saved[g] = self.a[g], self.s[g]
            case Op.RESTORE:
                self.a[g], self.s[g] = self.a_saved[g], self.s_saved[g]

    def _write(self, i: Instruction, values: Raw) -> None:
        """Values at ``src``."""
        for mode, memory in ((PLUS, self.plus), (MINUS, self.minus)):
            if i.mode & mode:
                memory[i.src : i.src + i.n_dst] = values

    def _synaptic(self, i: Instruction) -> None:
        p, lane = self.config.lanes, np.arange(self.config.lanes)
        column = i.op in (Op.GATHER, Op.DRIVE) and i.mode & COLUMN
        scan_stride, walk_stride = (1, i.n_src) if column else (i.n_dst, 1)
        dst = slice(i.dst, i.dst + i.n_dst)
        # of src
        plus, minus = (as_signed(v) if i.mode & SIGNED else v for v in (self.plus, self.minus))
        driving = minus if i.mode & MINUS else plus
        source = {Op.GATHER: self.s, Op.DRIVE: driving, Op.LEARN: plus | minus}[i.op]
        events = source[i.src : i.src + i.n_src] != 0
        self.activity += activity(
            i,
            self.config,
            commands=int(events.sum()) * i.n_dst,
            fetched=fetches(i, events.sum(axis=1), self.config),
        )
        for group, e in np.argwhere(events):
            tiles = i["tile"] + group * scan_stride + np.arange(i.n_dst) * walk_stride
            # lane j meets element (e, j) of a tile, or (j, e)
            bank = (lane + e) % p
            word = tiles[:, None] * p + (lane if column else e)
            self.accesses += i.n_dst
            if i.op == Op.GATHER:
                self.a[dst] = wrap(self.a[dst] + self.w[word, bank], self.acc)
            elif i.op == Op.DRIVE:
                scale = driving[i.src + group, e]
                self.b[dst] = wrap(self.b[dst] + shift_right_floor(scale * self.w[word, bank], 8), self.acc)
            else:
                up, um = i.gain * plus[i.src + group, e], i.gain * minus[i.src + group, e]
                vp, vm = (
                    as_signed(v[dst]) if i.mode & SIGNED_DST else v[dst] for v in (self.plus, self.minus)
                )
                row, columns = group * p + e, np.arange(i.n_dst)[:, None] * p + lane
                d = (
                    (self.counter * DITHER_UPDATE + row * DITHER_ROW + columns * DITHER_COLUMN)
                    & DITHER_MASK
                    & ((1 << i.shift) - 1)
                )
                dw = shift_right_floor(up * vp - um * vm + d, i.shift)
                self.w[word, bank] = np.clip(self.w[word, bank] + dw, self.weight.lo, self.weight.hi)
        if i.op == Op.LEARN:
            self.counter = (self.counter + 1) & 0xFFFFFFFF
