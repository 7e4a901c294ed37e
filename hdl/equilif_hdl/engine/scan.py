"""Scanner: finds the neurons of a population that take part, so that silent ones cost nothing.

                 +-------- fetch/addr --------> spikes or values memory
    start --> group counter                            | output register: the next group waits here
              tile, dither <-- += stride        mask of non-zero lanes
                     |                                 |
                     +------------------------> lowest lane not done yet --> o: events

Latency: 3 cycles from start to the first event.  Throughput: an event a cycle; a group of zeros costs a
cycle.  While learning the walker reads the same memory: every event fetches its group anew, one cycle in
which the walker waits, and a group of zeros costs two.

Where weights have registers around them (``weight_stages``), so has the group: it is copied, the next one
waits in the memories, and strobes are registers.  Two cycles more latency and P x 16 flip-flops; a group
of spikes takes two cycles at least, of values, whose zeros are found a cycle later, three; and while
learning the walker waits two a group.
"""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.blocks.plasticity import DITHER_ROW, DITHER_WIDTH
from equilif_golden.engine.config import EngineConfig
from equilif_hdl.engine.isa import event, group_bits, tile_bits
from equilif_hdl.fixed import lanes_of, lowest_set, times_index


class Scanner(wiring.Component):
    """Members
    -------
    start, src, n_src, tile, stride, dither : In
        Begin a scan: first group and number of groups, tile of the first group's walk and its increment a
        group, dither of row 0.
    spiking, learning, by_minus : In(1)
        Held during a scan.  Sources: spikes; values with plus or minus non-zero; with minus; otherwise
        values with plus non-zero.
    fetch, take, addr : Out
        Read strobe, early word that the memory port is the scanner's, and group; the memories answer in
        the next cycle on spikes, plus and minus.
    hold : Out(1)
        The memories must keep their outputs until the next fetch.
    allow, blocking : In(1), Out(1)
        While learning, a fetch waits for ``allow``, and ``blocking`` tells that it takes the memory port
        from the lanes.
    busy : Out(1)
        From the cycle after start until the last event was taken.
    o : Out(stream of event)
    """

    def __init__(self, config: EngineConfig):
        self.config, self.copies = config, config.weight_stages > 0
        # of spikes: cycles from start to the first event; of an empty group
        self.latency, self.shortest = (5, 2) if self.copies else (3, 1)
        p, tile = config.lanes, tile_bits(config)
        bits = group_bits(config)
        super().__init__(
            {
                "start": In(1),
                "src": In(bits),
                "n_src": In(bits + 1),
                "tile": In(tile),
                "stride": In(bits + 1),
                "dither": In(DITHER_WIDTH),
                "spiking": In(1),
                "learning": In(1),
                "by_minus": In(1),
                "allow": In(1),
                "blocking": Out(1),
                "fetch": Out(1),
                "take": Out(1),
                "addr": Out(bits),
                "hold": Out(1),
                "spikes": In(p),
                "plus": In(8 * p),
                "minus": In(8 * p),
                "busy": Out(1),
                "o": Out(stream.Signature(event(config))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        p, o, bits, tiles = self.config.lanes, self.o, group_bits(self.config), tile_bits(self.config)
        place = data.StructLayout({"group": bits, "tile": tiles, "dither": DITHER_WIDTH})
        # the next group, or the present one
        head, address, left = Signal(place), Signal(bits), Signal(bits + 1)
        # some: values that are not zero
        some, room, moved, advance = Signal(p), Signal(), Signal(), Signal()
        plus, minus = lanes_of(self.plus, p), lanes_of(self.minus, p)
        m.d.comb += [
            some.eq(
                Cat(
                    a.any() & ~self.by_minus | b.any() & (self.learning | self.by_minus)
                    for a, b in zip(plus, minus, strict=True)
                )
            ),
            room.eq(~o.valid | o.ready),
        ]
        pending, here, values = (self._copied if self.copies else self._in_place)(
            m, some, room, moved, advance, head, address, left
        )
        with m.If(advance):
            m.d.sync += [
                address.eq(address + 1),
                left.eq(left - 1),
                head.group.eq(head.group + 1),
                head.tile.eq(head.tile + self.stride),
                head.dither.eq(head.dither + (DITHER_ROW * p) % (1 << DITHER_WIDTH)),
            ]
        with m.If(self.start):
            m.d.sync += [
                address.eq(self.src),
                left.eq(self.n_src),
                head.group.eq(0),
                head.tile.eq(self.tile),
                head.dither.eq(self.dither),
            ]

        e = lowest_set(pending)
        with m.If(o.ready):
            m.d.sync += o.valid.eq(0)
        with m.If(moved):
            m.d.sync += [
                o.valid.eq(1),
                o.p.e.eq(e),
                o.p.group.eq(here.group),
                o.p.tile.eq(here.tile),
                o.p.plus.eq(values[0].word_select(e, 8)),
                o.p.minus.eq(values[1].word_select(e, 8)),
                o.p.dither.eq(here.dither + times_index(e, DITHER_ROW, DITHER_WIDTH)),
            ]
        return m

    def _in_place(self, m, some, room, moved, advance, head, address, left):
        """Events straight from the memories' outputs."""
        p, following = self.config.lanes, Signal.like(address)
        # the group's lanes are on the outputs; those that are events already
        present, done = Signal(), Signal(p)
        pending, rest = Signal(p), Signal(p)
        m.d.comb += [
            pending.eq(Mux(self.spiking, self.spikes, some) & ~done),
            rest.eq(pending & (pending - 1)),
            moved.eq(present & (pending != 0) & room),
            advance.eq(present & ((pending == 0) | room & (rest == 0))),
            # `blocking` stalls the walker, on which `room` depends: it looks at registers only
            self.blocking.eq(self.learning & self.allow & (left != 0) & ~present & ~self.o.valid),
            # the next group is fetched in the cycle in which this one is finished
            self.fetch.eq(self.blocking | ~self.learning & Mux(present, advance & (left != 1), left != 0)),
            self.take.eq(self.blocking | ~self.learning & (left != 0)),
            # the strobe is late, so the address must not be: a fetch beside a present group is that of
            # the following one
            self.addr.eq(Mux(present, following, address)),
            self.hold.eq(present & ~self.learning),
            self.busy.eq((left != 0) | self.o.valid),
        ]
        m.d.sync += present.eq(self.fetch | present & ~advance & ~self.learning)
        with m.If(moved):
            m.d.sync += done.eq(done | (pending & ~rest))
        with m.If(advance):
            m.d.sync += [done.eq(0), following.eq(following + 1)]
        with m.If(self.start):
            m.d.sync += [done.eq(0), following.eq(self.src + 1)]
        return pending, head, (self.plus, self.minus)

    def _copied(self, m, some, room, moved, advance, head, address, left):
        """Events from a copy of the group."""
        # fetching; fetched, still on the memories' outputs; and to be kept there
        asked, waiting, held = Signal(), Signal(), Signal()
        # it is known who takes part; by their values
        due, known = Signal(), Signal.like(some)
        waiter, here = Signal.like(head), Signal.like(head)  # their places; that of the copy
        mask, values = Signal(self.config.lanes), (Signal.like(self.plus), Signal.like(self.minus))
        rest, taken, stays = Signal.like(mask), Signal(), Signal()
        m.d.comb += [
            rest.eq(Cat(bit & mask[:k].any() for k, bit in enumerate(mask))),
            moved.eq((mask != 0) & room),
            taken.eq(due & ((mask == 0) | room & (rest == 0))),
            stays.eq(asked | waiting & ~taken),
            self.fetch.eq(asked),
            self.take.eq(asked),
            self.blocking.eq(self.learning & (asked | held)),
            self.hold.eq(held),
            self.addr.eq(address),
            advance.eq(asked),
            self.busy.eq((left != 0) | waiting | (mask != 0) | self.o.valid),
        ]
        m.d.sync += [
            asked.eq(
                (left != 0)
                & ~asked
                & Mux(self.learning, self.allow & (mask == 0) & ~waiting, ~waiting | taken)
            ),
            waiting.eq(stays),
            held.eq(asked | stays & ~self.learning),
            due.eq(Mux(self.spiking, stays, waiting & ~taken)),
            known.eq(some),
        ]
        with m.If(asked):
            m.d.sync += waiter.eq(head)
        with m.If(moved):
            m.d.sync += mask.eq(rest)
        with m.If(taken):
            m.d.sync += [
                mask.eq(Mux(self.spiking, self.spikes, known)),
                here.eq(waiter),
                values[0].eq(self.plus),
                values[1].eq(self.minus),
            ]
        return mask, here, values
