"""Transposable weight array: P banks, rows and columns of one stored copy at P weights a cycle.

    tile, e, column --> word of each bank --> [ P memories ] --> P weights, bank order
                 row e:     tile * P + e                      element (e, k) is in bank (e + k) mod P
                 column e:  tile * P + (bank - e) mod P       element (i, e) is in bank (i + e) mod P

Layout as equilif_golden.blocks.synapse.to_words.  Latency 1 + weight_stages, throughput 1 read and 1
write a cycle; with ``single_port`` one of the two.
"""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.engine.config import EngineConfig
from equilif_hdl.engine.isa import lane_bits, tile_bits
from equilif_hdl.fixed import ram


class WeightArray(wiring.Component):
    """Members
    -------
    read, tile, e, column : In
        Read a row (or column) of a tile; ``data`` ``latency`` cycles later, P x 16 bits in bank order.
    write, w_tile, w_e, w_data : In
        Write row ``w_e`` of a tile: a strobe a bank.
    """

    def __init__(self, config: EngineConfig):
        self.config, self.latency = config, 1 + config.weight_stages
        p, tile, lane = config.lanes, tile_bits(config), lane_bits(config)
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

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        depth = cfg.tiles * cfg.lanes

        def stage(value, name: str, when: bool):
            if not when:
                return value
            late = Signal(value.shape(), name=f"late_{name}", reset_less=name != "write")
            m.d.sync += late.eq(value)
            return late

        before, behind = cfg.weight_stages > 1, cfg.weight_stages > 0
        w_word, write, w_data = (
            stage(v, n, before)
            for v, n in ((Cat(self.w_e, self.w_tile), "word"), (self.write, "write"), (self.w_data, "data"))
        )
        read = stage(self.read, "read", before)
        for b in range(cfg.lanes):
            bank = m.submodules[f"bank{b}"] = ram(
                cfg.numerics.weight_width, depth, "huge" if cfg.single_port else "block"
            )
            wr, rd = bank.write_port(), bank.read_port()
            low = Signal(lane_bits(cfg), name=f"low{b}")
            m.d.comb += low.eq(Mux(self.column, b - self.e, self.e))
            r_word = stage(Cat(low, self.tile), f"word{b}", before)
            m.d.comb += [
                wr.en.eq(write[b]),
                wr.data.eq(w_data.word_select(b, 16)),
                self.data.word_select(b, 16).eq(stage(rd.data.as_signed(), f"data{b}", behind)),
            ]
            if cfg.single_port:  # one address and never both: the shape of an iCE40 SPRAM
                word = Signal(range(depth), name=f"word{b}")
                m.d.comb += [
                    word.eq(Mux(write[b], w_word, r_word)),
                    wr.addr.eq(word),
                    rd.addr.eq(word),
                    rd.en.eq(read & ~write[b]),
                ]
            else:
                m.d.comb += [wr.addr.eq(w_word), rd.addr.eq(r_word), rd.en.eq(read)]
        return m
