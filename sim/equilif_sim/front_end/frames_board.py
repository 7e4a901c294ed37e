"""Simulated board whose front end begins at the segmentation: frames of band codes in place of sound.

    frames --> Segmentation --> Live --> Host, Engine, flash --> answers

A word takes 100,000 cycles in place of millions.  ``listen`` of equilif_sim.board.SimulatedBoard takes the
bytes of :func:`frame_bytes`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from equilif_golden.engine.config import EngineConfig
from equilif_golden.fixed import Raw
from equilif_golden.front_end.filter_bank import BANDS
from equilif_golden.link.flash import Area
from equilif_golden.link.protocol import FrontEndKind
from equilif_hdl.engine.engine import Engine
from equilif_hdl.front_end.listener import MIN_CLOCK_HZ, Microphone
from equilif_hdl.front_end.live import LABEL_BITS, Live, WordSource
from equilif_hdl.front_end.segmentation import Segmentation
from equilif_hdl.link.flash import FlashPins
from equilif_hdl.link.host import Host
from equilif_hdl.link.transport import Transport
from equilif_hdl.typed import Interface
from equilif_sim.board import SimulatedBoard

#: cycles between bytes: a frame takes longer than the scans at the end of the longest word
GAP = 80

#: from the end of a word to its answer, at most
ANSWER_CYCLES = 40_000

FRAMES = r"""
#include <string>
struct Microphone {
    static const unsigned gap = GAP;
    const uint8_t *bytes = nullptr;
    uint64_t n = 0, at = 0, idle = 0;
    unsigned timer = 0;
    int short_press = 0, long_press = 0, label = 0;
    std::string text;
    void play(const uint8_t *b, uint64_t count) { bytes = b, n = count, at = 0, timer = gap; }
    void button(int press, int chosen) { short_press = press == 1, long_press = press == 2, label = chosen; }
    uint64_t left() const { return n - at; }
    int take(uint8_t *out, int room) {
        int k = 0;
        for (; k < room && k < (int)text.size(); k++) out[k] = text[k];
        text.erase(0, k);
        return k;
    }
    void before(Vboard &top) {
        top.byte_valid = at < n && !--timer;
        if (top.byte_valid) top.byte = bytes[at++], timer = gap;
        top.short_press = short_press, top.long_press = long_press, top.label = label;
        short_press = long_press = 0;
    }
    void after(Vboard &top) {
        if (top.text_valid) text += (char)top.text;
    }
};
"""


def frame_bytes(codes: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """Bytes of frames of codes (n, BANDS) without flags."""
    frames = np.asarray(codes, np.uint8)
    return np.concatenate([frames, np.zeros((len(frames), 1), np.uint8)], axis=1).ravel()


class FramesTop(wiring.Component):
    """Board equilif_hdl.top.Top with a flash and a microphone; ``byte``: of frames."""

    pins: Interface
    flash: FlashPins.Members
    busy: Signal
    active: Signal
    fault: Signal
    byte_valid: Signal
    byte: Signal
    text_valid: Signal
    text: Signal
    short_press: Signal
    long_press: Signal
    label: Signal

    def __init__(
        self, config: EngineConfig, *, transport: Transport, flash: Area, state_ram: str | None, **host: Any
    ):
        self.config = config
        self.transport = transport
        self.host = Host(config, flash=flash, front_end=FrontEndKind.MICROPHONE, **host)
        self.engine = Engine(config, state_ram=state_ram)
        super().__init__(
            {
                "pins": Out(transport.pins),
                "flash": Out(FlashPins()),
                **{name: Out(1) for name in ("busy", "active", "fault", "text_valid")},
                "text": Out(8),
                **{name: In(1) for name in ("byte_valid", "short_press", "long_press")},
                "byte": In(8),
                "label": In(LABEL_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.line = line = self.transport.line()
        m.submodules.host = host = self.host
        m.submodules.engine = engine = self.engine
        m.submodules.segmentation = words = Segmentation()
        m.submodules.live = live = Live(self.config, WordSource(self.config), lessons=True)
        front = live.front
        connect(m, line.pins, flipped(self.pins))
        connect(m, line.o, host.i)
        connect(m, host.o, line.i)
        connect(m, host.flash, flipped(self.flash))
        connect(m, host.engine, live.host)
        connect(m, live.engine, engine.host)
        connect(m, live.lesson, host.lesson)
        quiet = Signal(7)  # cycles since trainer and controller rest, saturating: rounds of a lesson are near
        m.d.sync += quiet.eq(Mux(host.active | live.hold, 0, quiet + ~quiet.all()))
        place = Signal(range(BANDS + 1))
        with m.If(self.byte_valid):
            m.d.sync += place.eq(place + 1)
            with m.If(place == BANDS):
                m.d.sync += place.eq(0)
        m.d.comb += [
            words.i_valid.eq(self.byte_valid & (place != BANDS)),
            words.band.eq(place),
            words.code.eq(self.byte),
            words.frame.eq(self.byte_valid & (place == BANDS)),
            words.clipped.eq(self.byte[0]),
            words.stuck.eq(self.byte[1]),
            words.read.eq(front.read),
            words.index.eq(front.index),
            front.granted.eq(words.granted),
            front.data.eq(words.data),
            front.frame.eq(words.frame),
            *(getattr(front, name).eq(getattr(words, name)) for name in WORD),
            front.learn.eq(self.short_press),
            front.new_class.eq(self.long_press),
            front.label.eq(self.label),
            live.text.ready.eq(1),
            self.text_valid.eq(live.text.valid),
            self.text.eq(live.text.payload),
            host.hold.eq(live.hold),
            live.held.eq(host.held),
            live.loaded.eq(host.loaded),
            self.busy.eq(engine.host.busy),
            self.active.eq(~quiet.all()),
            self.fault.eq(host.fault),
        ]
        return m


WORD = ("word", "first", "last", "peak", "verdict")


class FramesBoard(SimulatedBoard):
    """A board with lessons; ``button(1, label)`` is a short press, ``button(2)`` a long one."""

    variant = Path(__file__).read_text()

    def __init__(self, config: EngineConfig, flash: Area, **arguments: Any):
        microphone = Microphone("pdm", MIN_CLOCK_HZ)
        super().__init__(config, flash=flash, front_end=microphone, build_id=0, **arguments)

    def _design(self, **arguments: Any) -> FramesTop:
        del arguments["front_end"]
        return FramesTop(self.config, **arguments)

    def _source(self, front_end: object) -> str:
        return FRAMES.replace("GAP", str(GAP))

    def hear(self, codes: Raw) -> bytes:
        """Answers to frames, after the lesson that follows."""
        text = self.listen(frame_bytes(codes))
        end = self.cycles + ANSWER_CYCLES
        while self.cycles < end:
            self.step(ANSWER_CYCLES)
        self.work()
        return text + self.answers
