"""Transposable weight array: P banks, rows and columns of one stored copy at P weights a cycle.

    tile, e, column --> word of each bank --> [ P memories ] --> P weights, bank order
                 row e:     tile * P + e                      element (e, k) is in bank (e + k) mod P
                 column e:  tile * P + (bank - e) mod P       element (i, e) is in bank (i + e) mod P

Layout as equilif_golden.blocks.synapse.to_words.  Latency: 1 + weight_stages.  Throughput: 1 read and 1 write
a cycle; with ``single_port`` one of the two.
"""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.engine.config import EngineConfig
from equilif_hdl.engine.isa import lane_bits, tile_bits
from equilif_hdl.fixed import delayed, ram


class WeightArray(wiring.Component):
    """Members
    -------
    read : In(1)
        Strobe: ``data`` come ``latency`` cycles later.
    tile, e, column : In
        What is read: row, or column, ``e`` of a tile.
    data : Out(16 P)
        Weights in bank order.
    write : In(P)
        Strobes, one for each bank.
    w_tile, w_e, w_data : In
        What is written: row ``w_e`` of a tile, in bank order.
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
        self.latency = 1 + config.weight_stages
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
        cfg = self.config
        before = int(cfg.weight_stages > 1)  # registers before the memories
        behind = int(cfg.weight_stages > 0)  # registers behind them
        write = self.write
        if before:
            write = Signal.like(self.write)  # a strobe must be low after a reset
            m.d.sync += write.eq(self.write)
        read = delayed(m, self.read, before, "read")
        w_data = delayed(m, self.w_data, before, "w_data")
        w_word = delayed(m, Cat(self.w_e, self.w_tile), before, "w_word")
        for b in range(cfg.lanes):
            style = "huge" if cfg.single_port else "block"
            bank = ram(cfg.numerics.weight_width, cfg.tiles * cfg.lanes, style)
            m.submodules[f"bank{b}"] = bank
            wr = bank.write_port()
            rd = bank.read_port()
            low = Signal(lane_bits(cfg), name=f"low{b}")
            r_word = delayed(m, Cat(low, self.tile), before, f"word{b}")
            m.d.comb += [
                low.eq(Mux(self.column, b - self.e, self.e)),
                wr.en.eq(write[b]),
                wr.data.eq(w_data.word_select(b, 16)),
                self.data.word_select(b, 16).eq(delayed(m, rd.data.as_signed(), behind, f"data{b}")),
            ]
            if cfg.single_port:  # one address and never both: the shape of an iCE40 SPRAM
                word = Signal.like(rd.addr, name=f"word{b}")
                m.d.comb += [
                    word.eq(Mux(write[b], w_word, r_word)),
                    wr.addr.eq(word),
                    rd.addr.eq(word),
                    rd.en.eq(read & ~write[b]),
                ]
            else:
                m.d.comb += [wr.addr.eq(w_word), rd.addr.eq(r_word), rd.en.eq(read)]
        return m
