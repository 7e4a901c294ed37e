"""Ethernet at the data of a gigabit PHY: bytes of received frames, and the layout of frames.

    PHY --> rx_data, rx_valid, rx_error --> [ preamble, index, FCS ] --> byte, start, take, end, good

A byte appears two cycles after it is at the pins; ``good`` is known in the cycle after ``end``.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Protocol

from amaranth import Array, Const, Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import crc, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

from equilif_golden.link.udp import MIN_FRAME
from equilif_hdl.typed import Interface

ETH_HZ = 125e6
GAP = 12  #: bytes between frames
PREAMBLE = (*(0x55,) * 7, 0xD5)


class Offset(IntEnum):
    """Offsets of fields in a frame; IP is also that of ARP."""

    TARGET_MAC = 0
    SOURCE_MAC = 6
    TYPE = 12
    IP = 14
    IP_LENGTH = 16
    FRAGMENT = 20
    PROTOCOL = 23
    IP_CHECKSUM = 24
    SOURCE_IP = 26
    TARGET_IP = 30
    ARP_SOURCE_MAC = 22
    ARP_SOURCE_IP = 28
    ARP_TARGET_MAC = 32
    ARP_TARGET_IP = 38
    UDP = 34
    SOURCE_PORT = 34
    TARGET_PORT = 36
    UDP_LENGTH = 38
    MAGIC = 42
    NUMBER = 46
    DATA = 50


class Pins(Interface, Protocol):
    """Interface of PINS."""

    rx_data: Signal
    rx_valid: Signal
    rx_error: Signal
    tx_data: Signal
    tx_valid: Signal


#: GMII: a byte a cycle of the PHY's clock; ``rx_error``: the byte is damaged
PINS = wiring.Signature(
    {"rx_data": In(8), "rx_valid": In(1), "rx_error": In(1), "tx_data": Out(8), "tx_valid": Out(1)}
)


def lookup(index: Value, words: Sequence[int], width: int) -> Value:
    """Combinational table; zero beyond the end."""
    n = 1 << len(index)
    return Array(Const(word, width) for word in [*words, *[0] * (n - len(words))])[index]


class FrameReader(wiring.Component):
    """Members
    -------
    rx_data, rx_valid, rx_error : In
        As PINS.
    byte : Out(8)
        The present byte.
    start, take, end : Out(1)
        It is the last one of a preamble; it is one of a frame; the byte before was the last one.
    next_index : Out(7)
        Index of the next byte in its frame, up to MIN_FRAME.
    good : Out(1)
        In the cycle after ``end``: the FCS is right, the frame long enough, and no byte was damaged.

    Its clock is that of the PHY.
    """

    rx_data: Signal
    rx_valid: Signal
    rx_error: Signal
    byte: Signal
    start: Signal
    take: Signal
    end: Signal
    next_index: Signal
    good: Signal

    def __init__(self) -> None:
        inputs = {"rx_data": In(8), "rx_valid": In(1), "rx_error": In(1)}
        outputs = {"byte": Out(8), "next_index": Out(range(MIN_FRAME + 1))}
        super().__init__({**inputs, **outputs, **dict.fromkeys(("start", "take", "end", "good"), Out(1))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        first = Signal(8)
        valid = Signal()
        error = Signal()
        m.d.sync += [first.eq(self.rx_data), valid.eq(self.rx_valid), error.eq(self.rx_error)]
        start = Signal()
        take = Signal()
        end = Signal()
        bad = Signal()
        with m.If(start):
            m.d.sync += [self.next_index.eq(0), bad.eq(0)]
        with m.Elif(take):
            m.d.sync += [self.next_index.eq(self.next_index + ~self.next_index[6]), bad.eq(bad | error)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += start.eq(valid & (first == PREAMBLE[-1]))
                with m.If(start):
                    m.next = "FRAME"
                with m.Elif(valid & (first != PREAMBLE[0])):
                    m.next = "SKIP"
            with m.State("SKIP"):
                with m.If(~valid):
                    m.next = "IDLE"
            with m.State("FRAME"):
                m.d.comb += [take.eq(valid), end.eq(~valid)]
                with m.If(end):
                    m.next = "SKIP"
        m.submodules.crc = check = crc.Processor(CRC32_ISO_HDLC(data_width=8))
        m.d.comb += [check.start.eq(self.start), check.data.eq(self.byte), check.valid.eq(self.take)]
        is_long = Signal()
        m.d.sync += [
            self.byte.eq(first),
            self.start.eq(start),
            self.take.eq(take),
            self.end.eq(end),
            is_long.eq(self.next_index[6] & ~bad),
            self.good.eq(check.match_detected & is_long),
        ]
        return m

    def at(self, m: Module, first: int, end: int | None = None) -> Signal:
        """Whether the present byte is byte ``first``, or one of ``first`` to ``end`` - 1: a register of the
        user's module ``m``.
        """
        is_at = Signal(name=f"at_{first}" if end is None else f"at_{first}_to_{end}")
        inside = (
            self.next_index == first if end is None else (self.next_index >= first) & (self.next_index < end)
        )
        m.d.sync += is_at.eq(inside)
        return is_at

    def word(self, words: Sequence[int], width: int) -> Value:
        """Word of the next byte in a table; zero beyond the end."""
        return Mux(self.next_index[6], 0, lookup(self.next_index[:6], words, width))


assert MIN_FRAME == 64  # tested by one bit
