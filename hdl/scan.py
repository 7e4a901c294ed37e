"""Scanner: finds the neurons of a population that take part, so that silent ones cost nothing.

                 +-------- fetch/addr --------> spikes or values memory
    start --> group counter                            |
              tile, dither <-- += stride        mask of non-zero lanes
                     |                                 |
                     +----------> [ nxt ] --> [ cur ] --> lowest set lane --> o: events

Throughput: an event a cycle while groups hold any; a group of zeros costs one cycle.  Latency: 3 cycles from start to the first event.
"""
from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.isa import EngineConfig
from golden.plasticity import DITHER_ROW, DITHER_WIDTH
from hdl.fixed import lanes_of, lowest_set, times_index
from hdl.isa import COUNT, GROUP, event, tile_bits


class Scanner(wiring.Component):
    """Members
    -------
    start, src, n_src, tile, stride, dither : In
        Begin a scan: first group and number of groups, tile of the first group's walk and its increment a group, dither of row 0.
    spiking, learning : In(1)
        Held during a scan.  Sources: spikes; values with plus or minus non-zero; otherwise values with plus non-zero.
    fetch, addr : Out
        Read strobe and group; the memories answer in the next cycle on spikes, plus and minus.
    allow, blocking : In(1), Out(1)
        While learning, a fetch waits for ``allow``, and ``blocking`` tells that it takes the memory port from the lanes.
    busy : Out(1)
        From the cycle after start until the last event was taken.
    o : Out(stream of event)
    """

    latency = 3

    def __init__(self, config: EngineConfig):
        self.config = config
        p, tile = config.lanes, tile_bits(config)
        super().__init__({
            "start": In(1), "src": In(GROUP), "n_src": In(COUNT), "tile": In(tile), "stride": In(COUNT), "dither": In(DITHER_WIDTH),
            "spiking": In(1), "learning": In(1), "allow": In(1), "blocking": Out(1),
            "fetch": Out(1), "addr": Out(GROUP), "spikes": In(p), "plus": In(8 * p), "minus": In(8 * p),
            "busy": Out(1), "o": Out(stream.Signature(event(config))),
        })

    def elaborate(self, platform):
        m = Module()
        p, o = self.config.lanes, self.o
        word = data.StructLayout({"mask": p, "group": GROUP, "tile": tile_bits(self.config), "dither": DITHER_WIDTH,
                                  "plus": 8 * p, "minus": 8 * p})

        group, left, relative = Signal(GROUP), Signal(COUNT), Signal(GROUP)
        tile, dither = Signal(tile_bits(self.config)), Signal(DITHER_WIDTH)
        arriving, arrived = Signal(), Signal(word)
        cur, nxt, cur_valid, nxt_valid = Signal(word), Signal(word), Signal(), Signal()

        # a group leaves `cur` when its last event moves on
        rest = Signal(p)
        moved, drained = Signal(), Signal()
        m.d.comb += [
            rest.eq(cur.mask & (cur.mask - 1)),
            moved.eq(cur_valid & (~o.valid | o.ready)),
            drained.eq(moved & (rest == 0)),
        ]
        # `blocking` stalls the walker, on which `o.ready` depends: while learning, room is judged without what leaves in this cycle
        full = Signal(2)
        m.d.comb += full.eq(cur_valid + nxt_valid + arriving)
        with m.If(left != 0):
            m.d.comb += [
                self.blocking.eq(self.learning & self.allow & (full < 2)),
                self.fetch.eq(self.blocking | ~self.learning & ((full < 2) | drained & (full < 3))),
            ]
        m.d.comb += [self.addr.eq(group), self.busy.eq((left != 0) | arriving | cur_valid | nxt_valid | o.valid)]
        m.d.sync += arriving.eq(self.fetch)
        with m.If(self.fetch):
            m.d.sync += [
                arrived.group.eq(relative), arrived.tile.eq(tile), arrived.dither.eq(dither),
                group.eq(group + 1), relative.eq(relative + 1), left.eq(left - 1),
                tile.eq(tile + self.stride), dither.eq(dither + (DITHER_ROW * p) % (1 << DITHER_WIDTH)),
            ]
        with m.If(self.start):
            m.d.sync += [group.eq(self.src), left.eq(self.n_src), relative.eq(0), tile.eq(self.tile), dither.eq(self.dither)]

        fresh, fresh_valid = Signal(word), Signal()
        plus, minus = lanes_of(self.plus, p), lanes_of(self.minus, p)
        values = Cat(a.any() | (self.learning & b.any()) for a, b in zip(plus, minus, strict=True))
        m.d.comb += [
            fresh.mask.eq(Mux(self.spiking, self.spikes, values)),
            fresh.group.eq(arrived.group), fresh.tile.eq(arrived.tile), fresh.dither.eq(arrived.dither),
            fresh.plus.eq(self.plus), fresh.minus.eq(self.minus),
            fresh_valid.eq(arriving & (fresh.mask != 0)),
        ]
        with m.If(moved):
            m.d.sync += cur.mask.eq(rest)
        with m.If(drained | ~cur_valid):
            with m.If(nxt_valid):
                m.d.sync += [cur.eq(nxt), cur_valid.eq(1), nxt.eq(fresh), nxt_valid.eq(fresh_valid)]
            with m.Else():
                m.d.sync += [cur.eq(fresh), cur_valid.eq(fresh_valid)]
        with m.Elif(fresh_valid):
            m.d.sync += [nxt.eq(fresh), nxt_valid.eq(1)]

        e = lowest_set(cur.mask)
        with m.If(o.ready):
            m.d.sync += o.valid.eq(0)
        with m.If(moved):
            m.d.sync += [
                o.valid.eq(1), o.p.e.eq(e), o.p.group.eq(cur.group), o.p.tile.eq(cur.tile),
                o.p.plus.eq(cur.plus.word_select(e, 8)), o.p.minus.eq(cur.minus.word_select(e, 8)),
                o.p.dither.eq(cur.dither + times_index(e, DITHER_ROW, DITHER_WIDTH)),
            ]
        return m
