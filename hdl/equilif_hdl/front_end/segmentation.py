"""Segmentation: which frames of a stream are a word; bit-exact with equilif_golden.front_end.segmentation.

    band, code --> [ ring of RING frames ] <--> scan: peak, trimmed ends, clipped frames
               '-> level --> floor, thresholds --> state --> word: first, last, peak, verdict

A frame has FRAME_BYTES bytes in the ring: its codes, then its level with the clipped flag as ninth bit.

    FRAME -> STORE -> DECIDE -> [ PEAK, FIRST, LAST, CLIPPED: READ -> OUT -> GOT ] -> REPORT

The output of the ring is registered: block RAM and comparison would be the critical path of a board.

Latency from ``frame`` to ``word``: at most 9 LONGEST + 12 cycles.  Throughput: a frame in as many cycles.
"""

from __future__ import annotations

from typing import NamedTuple

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.front_end.filter_bank import BANDS
from equilif_golden.front_end.segmentation import (
    FALL,
    FLOOR,
    FLOOR_FRACTION,
    HANG,
    LONGEST,
    LOWEST,
    OFF,
    ON,
    PRE,
    RING,
    RISE,
    RISE_BLOCKED,
    SHORTEST,
    START,
    TRIM,
    SegmentationState,
    Verdict,
)
from equilif_hdl.fixed import ram

FRAME_BYTES = 1 << (BANDS - 1).bit_length()
LEVEL = BANDS  #: byte of a frame with its level
PEAK, FIRST, LAST, CLIPPED = range(4)  #: what is scanned for


class _Registers(NamedTuple):
    """State of the segmentation between frames, without the floor."""

    state: Signal
    run: Signal
    recent: Signal
    length: Signal
    begin: Signal


class Segmentation(wiring.Component):
    """Members
    -------
    i_valid, band, code : In(1), In, In(8)
        Strobe, number and code of a band.
    frame, clipped, stuck : In(1)
        Strobe after the codes of a frame, with its flags.
    word, first, last, peak, verdict : Out
        Strobe, frames of a word modulo RING, its peak, and equilif_golden.front_end.segmentation.Verdict.
        They stay until the next frame.
    in_word : Out(1)
        A word is in progress.
    read, index : In(1), In
        Request, held until ``granted``: read this byte of the ring, frame x FRAME_BYTES + band.
    granted, data : Out(1), Out(8)
        ``data`` is valid two cycles after ``granted``.
    """

    i_valid: Signal
    band: Signal
    code: Signal
    frame: Signal
    clipped: Signal
    stuck: Signal
    word: Signal
    first: Signal
    last: Signal
    peak: Signal
    verdict: Signal
    in_word: Signal
    read: Signal
    index: Signal
    granted: Signal
    data: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "i_valid": In(1),
                "band": In(range(BANDS)),
                "code": In(8),
                "frame": In(1),
                "clipped": In(1),
                "stuck": In(1),
                "word": Out(1),
                "first": Out(range(RING)),
                "last": Out(range(RING)),
                "peak": Out(8),
                "verdict": Out(range(len(Verdict))),
                "in_word": Out(1),
                "read": In(1),
                "index": In(range(RING * FRAME_BYTES)),
                "granted": Out(1),
                "data": Out(8),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        ring = m.submodules.ring = ram(9, RING * FRAME_BYTES, "block")
        write = ring.write_port()
        read = ring.read_port()
        time = Signal(range(RING))  # the present frame
        state = Signal(SegmentationState)
        floor = Signal(8 + FLOOR_FRACTION + 1, init=FLOOR << FLOOR_FRACTION)
        run = Signal(range(HANG + 1))
        recent = Signal(range(START + PRE + 1))  # frames that the next word may begin with
        length = Signal(range(LONGEST + 1))
        begin = Signal(range(RING))  # first frame of the word, before it is trimmed
        registers = _Registers(state, run, recent, length, begin)
        level = Signal(8)
        clipped = Signal()
        stuck = Signal()
        on = Signal(range(max(256 + ON, LOWEST) + 1))
        off = Signal(range(max(256 + OFF, LOWEST) + 1))
        base = floor >> FLOOR_FRACTION
        # registered: the floor changes only after a frame
        m.d.sync += [
            on.eq(Mux(base + ON < LOWEST, LOWEST, base + ON)),
            off.eq(Mux(base + OFF < LOWEST, LOWEST, base + OFF)),
        ]
        threshold = Signal.like(off)  # of the ends of a word
        cursor = Signal(range(RING))
        scan = Signal(2)
        count = Signal(range(LONGEST + 1))  # clipped frames
        out = Signal(9)
        m.d.sync += out.eq(read.data)
        m.d.comb += [
            write.addr.eq(Cat(self.band, time)),
            write.data.eq(self.code),
            write.en.eq(self.i_valid),
            read.addr.eq(self.index),
            read.en.eq(0),
            self.data.eq(out[:8]),
            self.in_word.eq(state == SegmentationState.WORD),
        ]
        m.d.sync += self.word.eq(0)
        with m.If(self.i_valid & (self.code > level)):
            m.d.sync += level.eq(self.code)

        with m.FSM() as fsm:
            with m.State("FRAME"):
                m.d.sync += [clipped.eq(self.clipped), stuck.eq(self.stuck)]
                with m.If(self.frame):
                    m.next = "STORE"
                    with m.If(self.stuck):
                        m.d.sync += level.eq(0)
            with m.State("STORE"):
                m.d.comb += [
                    write.addr.eq(Cat(Const(LEVEL, 5), time)),
                    write.data.eq(Cat(level, clipped)),
                    write.en.eq(1),
                ]
                m.next = "DECIDE"
            with m.State("DECIDE"):
                m.next = "NEXT"
                m.d.sync += [scan.eq(PEAK), cursor.eq(begin), self.peak.eq(0), count.eq(0)]
                self._decide(m, registers, time, level >= on, level < off, stuck)
                with m.If((state != SegmentationState.WORD) & ~stuck):
                    self._follow(m, state, floor, level)
            with m.State("READ"):
                m.d.comb += [read.addr.eq(Cat(Const(LEVEL, 5), cursor)), read.en.eq(1)]
                m.next = "OUT"
            with m.State("OUT"):
                m.next = "GOT"
            with m.State("GOT"):
                self._examine(m, scan, cursor, out, count, time, begin, threshold)
            with m.State("PEAK"):
                # the peak is at least `on`, so it is not below the threshold
                cut = Signal(signed(10))
                m.d.comb += cut.eq(self.peak - TRIM)
                m.d.sync += threshold.eq(Mux(cut > off, cut, off))
                m.next = "READ"
                with m.If(self.verdict != Verdict.SAMPLE):
                    m.d.sync += [state.eq(SegmentationState.BLOCKED), run.eq(0)]
                    m.next = "REPORT"
            with m.State("JUDGE"):
                frames = Signal(range(RING))
                m.d.comb += frames.eq(self.last - self.first)
                with m.If(frames < SHORTEST - 1):
                    m.d.sync += self.verdict.eq(Verdict.SHORT)
                with m.Elif((count << 3) > frames):
                    m.d.sync += self.verdict.eq(Verdict.CLIPPED)
                m.d.sync += [state.eq(SegmentationState.WAITING), run.eq(0), recent.eq(0)]
                m.next = "REPORT"
            with m.State("REPORT"):
                m.d.sync += self.word.eq(1)
                m.next = "NEXT"
            with m.State("NEXT"):
                m.d.sync += [time.eq(time + 1), level.eq(0)]
                m.next = "FRAME"
        idle = fsm.ongoing("FRAME")
        m.d.comb += self.granted.eq(self.read & idle)
        with m.If(idle):
            m.d.comb += read.en.eq(self.read)
        return m

    def _decide(
        self, m: Module, registers: _Registers, time: Signal, loud: Value, quiet: Value, stuck: Signal
    ) -> None:
        """Begin or end a word with the present frame."""
        state, run, recent, length, begin = registers
        with m.Switch(state):
            with m.Case(SegmentationState.WAITING):
                some = Mux(recent == START + PRE, recent, recent + 1)
                m.d.sync += [recent.eq(some), run.eq(Mux(loud, run + 1, 0))]
                with m.If(loud & (run == START - 1)):
                    m.d.sync += [
                        state.eq(SegmentationState.WORD),
                        begin.eq(time + 1 - some),
                        length.eq(some),
                        run.eq(0),
                    ]
            with m.Case(SegmentationState.BLOCKED):
                m.d.sync += run.eq(Mux(quiet, run + 1, 0))
                with m.If(quiet & (run == HANG - 1)):
                    m.d.sync += [state.eq(SegmentationState.WAITING), run.eq(0), recent.eq(0)]
            with m.Case(SegmentationState.WORD):
                m.d.sync += [run.eq(Mux(quiet, run + 1, 0)), length.eq(length + 1)]
                with m.If(stuck):
                    m.d.sync += self.verdict.eq(Verdict.STUCK)
                    m.next = "READ"
                with m.Elif(quiet & (run == HANG - 1)):
                    m.d.sync += self.verdict.eq(Verdict.SAMPLE)
                    m.next = "READ"
                with m.Elif(length == LONGEST - 1):
                    m.d.sync += self.verdict.eq(Verdict.LONG)
                    m.next = "READ"

    def _examine(
        self,
        m: Module,
        scan: Signal,
        cursor: Signal,
        out: Signal,
        count: Signal,
        time: Signal,
        begin: Signal,
        threshold: Signal,
    ) -> None:
        """Examine frame ``cursor`` for PEAK, FIRST, LAST or CLIPPED; ``out``: its level and clipped flag."""
        level = out[:8]
        end = Mux(scan == CLIPPED, self.last, time)
        ended = cursor == end
        loud = level >= threshold
        m.d.sync += cursor.eq(Mux(scan == LAST, cursor - 1, cursor + 1))
        m.next = "READ"
        with m.Switch(scan):
            with m.Case(PEAK):
                with m.If(level > self.peak):
                    m.d.sync += self.peak.eq(level)
                with m.If(ended):
                    m.d.sync += [cursor.eq(begin), scan.eq(FIRST)]
                    m.d.sync += [self.first.eq(begin), self.last.eq(time)]
                    m.next = "PEAK"
            with m.Case(FIRST):
                with m.If(loud):
                    m.d.sync += [self.first.eq(cursor), cursor.eq(time), scan.eq(LAST)]
            with m.Case(LAST):
                with m.If(loud):
                    m.d.sync += [self.last.eq(cursor), cursor.eq(self.first), scan.eq(CLIPPED)]
            with m.Case(CLIPPED):
                m.d.sync += count.eq(count + out[8])
                with m.If(ended):
                    m.next = "JUDGE"

    @staticmethod
    def _follow(m: Module, state: Signal, floor: Signal, level: Signal) -> None:
        """Update the floor."""
        given = level << FLOOR_FRACTION
        lower = Signal(signed(len(floor) + 1))
        m.d.comb += lower.eq(floor - FALL)
        with m.If(given > floor):
            m.d.sync += floor.eq(floor + Mux(state == SegmentationState.BLOCKED, RISE_BLOCKED, RISE))
        with m.Else():
            m.d.sync += floor.eq(Mux(lower > given, lower, given))
