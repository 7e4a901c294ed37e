"""Transposable weight array: P banks, rows and columns of one stored copy at P weights a cycle.

    tile, e, column --> word of each bank --> [ P memories ] --> P weights, bank order
                 row e:     tile * P + e                      element (e, k) is in bank e ^ k
                 column e:  tile * P + (bank ^ e)             element (i, e) is in bank i ^ e

Layout: equilif_golden.blocks.synapse.to_words.  Latency: 1 + registers.weight_read.  Throughput: 1 read and
1 write a cycle; with ``single_port`` one of the two.

Dual-port banks have registers before and after the memories, and are split into block RAMs of 16 Kbit.
Block RAMs that hold different bits of the same words share an address, so that few are multiplexed by
address.  6,144 words of 16 bits:

    word --|--+--> [ 4,096 words: 4 x 4 bits ] --|--+
              |                                     +-- select --|--> weight
              '--> [ 2,048 words: 2 x 8 bits ] --|--'

The register after a memory has no other source or reader, so it packs into the block RAM
(equilif_boards.ecp5).  Each memory has the attribute `bank`, for equilif_boards.floorplan.
"""

from __future__ import annotations

from typing import NamedTuple

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.engine.config import EngineConfig
from equilif_hdl.engine.isa import lane_bits, tile_bits
from equilif_hdl.fixed import delayed, ram

#: bits of a block RAM without parity, and the range of its depth in words
BLOCK = 1 << 14
MAX_WORDS = BLOCK
MIN_WORDS = BLOCK // 16


class Segment(NamedTuple):
    """Words of a bank in memories side by side: ``words``, a power of two, from a multiple of it on."""

    first: int
    words: int
    #: bits of a memory
    width: int

    def holds(self, word: Value) -> Value:
        return word[self.words.bit_length() - 1 :] == self.first // self.words


def segments(words: int) -> list[Segment]:
    """A bank in the minimum number of block RAMs, with the minimum number of segments."""
    result: list[Segment] = []
    first = 0
    while first < words:
        blocks = -(-(words - first) // MIN_WORDS)
        size = min(MAX_WORDS, MIN_WORDS << (blocks.bit_length() - 1))
        result.append(Segment(first, size, BLOCK // size))
        first += size
    return result


class Bank(NamedTuple):
    """Signals of a bank, after the registers before the memories, except ``write`` and ``w_word``."""

    read: Value
    word: Value
    write: Value
    w_word: Value
    late_word: Value
    data: Value


class WeightArray(wiring.Component):
    """Members
    -------
    read : In(1)
        Strobe: ``data`` is valid ``latency`` cycles later.
    tile, e, column : In
        Read address: row or column ``e`` of a tile.
    data : Out(16 P)
        Read data in bank order; with a single port held until the next read, and a write has priority.
    write : In(P)
        Write strobes, one for each bank.
    w_tile, w_e, w_data : In
        Write address and data: row ``w_e`` of a tile, in bank order.
    """

    read: Signal
    tile: Signal
    e: Signal
    column: Signal
    data: Signal
    write: Signal
    w_tile: Signal
    w_e: Signal
    w_data: Signal

    def __init__(self, config: EngineConfig):
        self.config = config
        self.latency = 1 + config.registers.weight_read
        p = config.lanes
        tile = tile_bits(config)
        lane = lane_bits(config)
        super().__init__(
            {
                "read": In(1),
                "tile": In(tile),
                "e": In(lane),
                "column": In(1),
                "data": Out(16 * p),
                "write": In(p),
                "w_tile": In(tile),
                "w_e": In(lane),
                "w_data": In(16 * p),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.config.lanes
        before = self.config.registers.weight_input
        read = delayed(m, self.read, before, "read")
        w_data = delayed(m, self.w_data, before, "w_data")
        w_word = Cat(self.w_e, self.w_tile)
        late_word = delayed(m, w_word, before, "w_word")
        for b in range(p):
            low = Signal(lane_bits(self.config), name=f"low{b}")
            m.d.comb += low.eq(self.e ^ Mux(self.column, b, 0))
            word = delayed(m, Cat(low, self.tile), before, f"word{b}")
            data = w_data.word_select(b, 16)[: self.config.numerics.weight_width]
            bank = Bank(read, word, self.write[b], w_word, late_word, data)
            weight = self._single(m, b, bank) if self.config.single_port else self._segmented(m, b, bank)
            m.d.comb += self.data.word_select(b, 16).eq(weight.as_signed())
        return m

    def _single(self, m: Module, b: int, bank: Bank) -> Value:
        """Read data of a bank that is one memory, with a single address as an iCE40 SPRAM."""
        depth = self.config.tiles * self.config.lanes
        m.submodules[f"bank{b}"] = memory = ram(len(bank.data), depth, "huge", bank=b)
        wr = memory.write_port()
        rd = memory.read_port()
        word = Signal.like(rd.addr, name=f"word{b}")
        m.d.comb += [
            word.eq(Mux(bank.write, bank.w_word, bank.word)),
            wr.en.eq(bank.write),
            wr.addr.eq(word),
            wr.data.eq(bank.data),
            rd.en.eq(bank.read & ~bank.write),
            rd.addr.eq(word),
        ]
        return rd.data

    def _segmented(self, m: Module, b: int, bank: Bank) -> Value:
        """Read data of a bank of several memories."""
        depth = self.config.tiles * self.config.lanes
        weight: Value = Const(0)
        for k, segment in enumerate(segments(depth)):
            write = Signal(name=f"write{b}_{k}")  # reset: a strobe
            m.d.sync += write.eq(bank.write & segment.holds(bank.w_word))
            parts: list[Value] = []
            for low in range(0, len(bank.data), segment.width):
                data = bank.data[low : low + segment.width]
                words = min(segment.words, depth - segment.first)
                memory = ram(len(data), words, "block", bank=b)
                m.submodules[f"bank{b}_{k}_{low}"] = memory
                wr = memory.write_port()
                rd = memory.read_port()
                m.d.comb += [
                    wr.en.eq(write),
                    wr.addr.eq(bank.late_word),
                    wr.data.eq(data),
                    rd.en.eq(bank.read),
                    rd.addr.eq(bank.word),
                ]
                parts.append(rd.data)
            word_data = delayed(m, Cat(parts), 1, f"data{b}_{k}")
            selected = delayed(m, segment.holds(bank.word), 2, f"selected{b}_{k}")
            weight = Mux(selected, word_data, weight) if k else word_data
        return delayed(m, weight, self.config.registers.weight_output - 1, f"data{b}")
