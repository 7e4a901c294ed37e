"""Transposable weight array: P banks, rows and columns of one stored copy at P weights a cycle.

    tile, e, column --> word of each bank --> [ P memories ] --> P weights, bank order
                 row e:     tile * P + e                      element (e, k) is in bank (e + k) mod P
                 column e:  tile * P + (bank - e) mod P       element (i, e) is in bank (i + e) mod P

Layout as golden.synapse.to_words.  Latency 1, throughput 1 read and 1 write a cycle; with ``single_port`` one of the two.
"""
from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.isa import EngineConfig
from hdl.fixed import ram
from hdl.isa import lane_bits, tile_bits


class WeightArray(wiring.Component):
    """Members
    -------
    read, tile, e, column : In
        Read a row (or column) of a tile; ``data`` in the next cycle, P x 16 bits in bank order.
    write, w_tile, w_e, w_data : In
        Write row ``w_e`` of a tile: a strobe a bank.
    """

    latency = 1

    def __init__(self, config: EngineConfig):
        self.config = config
        p, tile, lane = config.lanes, tile_bits(config), lane_bits(config)
        super().__init__({
            "read": In(1), "tile": In(tile), "e": In(lane), "column": In(1), "data": Out(16 * p),
            "write": In(p), "w_tile": In(tile), "w_e": In(lane), "w_data": In(16 * p),
        })

    def elaborate(self, platform):
        m = Module()
        width, depth, single = self.config.numerics.weight_width, self.config.tiles * self.config.lanes, self.config.single_port
        for b in range(self.config.lanes):
            low = Signal(lane_bits(self.config), name=f"low{b}")
            m.d.comb += low.eq(Mux(self.column, b - self.e, self.e))
            r_word, w_word = Cat(low, self.tile), Cat(self.w_e, self.w_tile)
            write, wanted, found = self.write[b], self.w_data.word_select(b, 16), self.data.word_select(b, 16)
            if single:                          # one address and never both: the shape of an iCE40 SPRAM
                bank = m.submodules[f"bank{b}"] = ram(width, depth, "huge")
                wr, rd, word = bank.write_port(), bank.read_port(), Signal(range(depth), name=f"word{b}")
                m.d.comb += [
                    word.eq(Mux(write, w_word, r_word)), wr.addr.eq(word), rd.addr.eq(word), rd.en.eq(self.read & ~write),
                    wr.en.eq(write), wr.data.eq(wanted), found.eq(rd.data.as_signed()),
                ]
                continue
            # A bank of 8192 + 4096 words is 8 + 4 block RAMs and one multiplexer; of 12288, 12 block RAMs of full width and a wide one.
            at = 0
            for k, n in enumerate(powers_of_two(depth)):
                bank = m.submodules[f"bank{b}_{k}"] = ram(width, n, "block")
                wr, rd, low_bits, here = bank.write_port(), bank.read_port(), (n - 1).bit_length(), Signal(name=f"here{b}_{k}")
                tag = at >> low_bits            # parts come largest first: each begins at a multiple of its size
                m.d.comb += [
                    wr.addr.eq(w_word), wr.data.eq(wanted), wr.en.eq(write & (w_word[low_bits:] == tag)),
                    rd.addr.eq(r_word), rd.en.eq(self.read),
                ]
                with m.If(self.read):
                    m.d.sync += here.eq(r_word[low_bits:] == tag)
                with m.If(here if at else 1):
                    m.d.comb += found.eq(rd.data.as_signed())
                at += n
        return m


def powers_of_two(n: int) -> list[int]:
    """The powers of two that add up to ``n``, largest first."""
    return [1 << k for k in reversed(range(n.bit_length())) if n >> k & 1]
