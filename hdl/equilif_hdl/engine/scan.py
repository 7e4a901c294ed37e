"""Event scanner: turns the spikes or non-zero values of a population into events, one a cycle.

                 +-------- fetch, addr -------> spike or value memory
    start --> group counter                            | output register: holds the next group
              tile, dither <-- += stride        mask of non-zero lanes
                     |                                 |
                     +------------------------> lowest lane that is not sent --> o: events

Latency: 3 cycles from start to the first event.  Throughput: an event a cycle; a silent group takes one
cycle.  During LEARN the lanes read the same memory, so each event fetches its group again: the lanes stall
for one cycle, and a silent group takes two.

With a dual-port weight memory a group is copied into registers while the memories hold the next one, and
strobes are registered: two more cycles of latency and P x 17 flip-flops.  A group of values then takes at
least three cycles, since its zeros are known one cycle later, and during LEARN the lanes stall for two cycles
a group.  LEARN reads its destination first, a group a cycle.  If no value there differs between +beta and
-beta, only sources whose own values differ are sent; it looks for one, a group a cycle, before it scans.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import NamedTuple

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.blocks.plasticity import DITHER_ROW, DITHER_WIDTH
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.memories import has_nonzero_flag, has_spike_flag, skips_unchanged
from equilif_hdl.engine.geometry import Positions, Steps, steps
from equilif_hdl.engine.isa import Event, Walk, event, event_tile_bits, group_bits, walk
from equilif_hdl.engine.port import ScanPort
from equilif_hdl.fixed import delayed, lanes_of, lowest_set
from equilif_hdl.typed import Assign, Layout, Stream, signal_of


class Place(Walk):
    """Position of a group in its population: its number, and the walk of its first row."""

    group: Value


class Next(NamedTuple):
    """Registers of the group that is fetched next."""

    place: Place
    #: group address in memory, and that of the next cycle
    address: Signal
    next_address: Signal
    #: groups left to fetch
    left: Signal


class Group(NamedTuple):
    """The group whose events are sent."""

    place: Place
    #: lowest active lane that is not sent
    e: Value
    #: its value at +beta
    plus: Value
    #: its value at -beta
    minus: Value
    #: strobe: an event is sent
    sends: Value
    #: strobe: ``Next`` advances to the following group
    advance: Value
    #: strobe, with ``convolution``: the group of the next cycle is the first of a new position
    new_position: Value


class Scanner(wiring.Component):
    """Members
    -------
    start : In(1)
        Begin a scan.
    src, n_src : In
        With ``start``: first group and number of groups of the source.
    dst, n_dst : In
        With ``start``, if LEARN skips unchanged weights: first group and number of groups of the destination.
    tile, stride : In
        With ``start``: tile of the first group's walk, and its increment per group.
    first, steps : In
        With ``convolution``: first group of the destination, and the address steps of the instruction from
        equilif_hdl.engine.geometry.
    dither : In(DITHER_WIDTH)
        With ``start``: dither of row 0.
    clamped : In(1)
        With ``start``, if LEARN skips unchanged weights: no value of the source differs.
    store : In(1)
        With ``start``, if LEARN skips unchanged weights, and with ``self_attention``: it skips none.
    spiking, second, learning, by_minus : In(1)
        Held during a scan.  Active lanes are those with a spike, ``second`` of the second state; those with
        a non-zero value at +beta or
        -beta; those with a non-zero value at -beta.  With none of the three: non-zero at +beta.
    memory : Out(ScanPort)
        Read port of spikes and values.
    allow : In(1)
        Permits a fetch during LEARN.
    blocking : Out(1)
        During LEARN, a fetch takes the memory port from the lanes.
    busy : Out(1)
        From the cycle after start until the last event is accepted.
    o : Out(stream of event)
    """

    start: Signal
    src: Signal
    n_src: Signal
    dst: Signal
    n_dst: Signal
    tile: Signal
    stride: Signal
    first: Signal
    steps: Steps
    dither: Signal
    clamped: Signal
    store: Signal
    spiking: Signal
    second: Signal
    learning: Signal
    by_minus: Signal
    allow: Signal
    blocking: Signal
    memory: ScanPort.Members
    busy: Signal
    o: Stream[Event]

    def __init__(self, config: EngineConfig):
        self.config = config
        self.buffered = not config.single_port
        if config.convolution:
            self.positions = Positions(config)
        #: cycles from start to the first event of spikes
        self.latency = 5 if self.buffered else 3
        group = group_bits(config)
        super().__init__(
            {
                "start": In(1),
                "src": In(group),
                "n_src": In(group + 1),
                **(
                    {"dst": In(group), "n_dst": In(group + 1), "clamped": In(1)}
                    if skips_unchanged(config)
                    else {}
                ),
                "tile": In(event_tile_bits(config)),
                "stride": In(group + 1),
                **({"first": In(group), "steps": In(steps(config))} if config.convolution else {}),
                "dither": In(DITHER_WIDTH),
                **({"store": In(1)} if skips_unchanged(config) and config.self_attention else {}),
                "spiking": In(1),
                "second": In(1),
                "learning": In(1),
                "by_minus": In(1),
                "allow": In(1),
                "blocking": Out(1),
                "memory": Out(ScanPort(config)),
                "busy": Out(1),
                "o": Out(stream.Signature(event(config))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        o = self.o
        group = group_bits(self.config)
        layout: Layout[Place] = Layout({"group": group, **walk(self.config)})
        place = signal_of(layout)
        address = Signal(group)
        next_address = Signal(group)  # `address` in the next cycle
        left = Signal(group + 1)
        room = Signal()  # the output can accept an event in this cycle
        m.d.comb += [room.eq(~o.valid | o.ready), self.memory.second.eq(self.second)]
        m.d.comb += next_address.eq(address)
        m.d.sync += address.eq(next_address)
        following = Next(place, address, next_address, left)
        present = (BufferedScan if self.buffered else DirectScan)(self, m, following, room).group()
        places = self._convolution_places if self.config.convolution else self._dense_places
        begin, go_on = places(m, place, present)
        with m.If(present.advance):
            m.d.comb += next_address.eq(address + 1)
            m.d.sync += [left.eq(left - 1), *go_on]
        with m.If(self.start):
            m.d.comb += next_address.eq(self.src)
            m.d.sync += [left.eq(self.n_src), *begin]
        if skips_unchanged(self.config):
            with m.If(self.start & self.learning):
                m.d.comb += next_address.eq(self.dst)
                m.d.sync += left.eq(self.n_dst)
        with m.If(room):  # without `valid`, which is late: the payload matters only while it is valid
            m.d.sync += [
                o.valid.eq(present.sends),
                o.p.e.eq(present.e),
                o.p.group.eq(present.place.group),
                o.p.tile.eq(present.place.tile),
                o.p.plus.eq(present.plus),
                o.p.minus.eq(present.minus),
                o.p.dither.eq(present.place.dither),
            ]
        return m

    def _dense_places(self, m: Module, place: Place, present: Group) -> tuple[list[Assign], list[Assign]]:
        """Assignments to ``place`` at the start, and from one group to the next."""
        row = (DITHER_ROW * self.config.lanes) % (1 << DITHER_WIDTH)
        begin = [place.group.eq(0), place.tile.eq(self.tile), place.dither.eq(self.dither)]
        go_on = [
            place.group.eq(place.group + 1),
            place.tile.eq(place.tile + self.stride),
            place.dither.eq(place.dither + row),
        ]
        return begin, go_on

    def _convolution_places(
        self, m: Module, place: Place, present: Group
    ) -> tuple[list[Assign], list[Assign]]:
        """Places of a convolution, position by position; events carry the extent of their walk."""
        m.submodules.positions = positions = self.positions
        group = Signal.like(self.src)
        new_position = Signal()  # the next event is the first of its position
        m.d.comb += [
            positions.start.eq(self.start),
            positions.tile.eq(self.tile),
            positions.dither.eq(self.dither),
            positions.first.eq(self.first),
            positions.stride.eq(self.stride),
            positions.steps.eq(self.steps),
            positions.advance.eq(present.advance),
            place.group.eq(group),
            *(place[name].eq(positions.o[name]) for name in walk(self.config)),
        ]
        with m.If(present.sends):
            m.d.sync += [
                self.o.p.first.eq(present.place.first),
                self.o.p.columns.eq(present.place.columns),
                self.o.p.rows.eq(present.place.rows),
                self.o.p.new_position.eq(new_position),
                new_position.eq(0),
            ]
        with m.If(present.new_position):
            m.d.sync += new_position.eq(1)
        with m.If(self.start):
            m.d.sync += new_position.eq(0)
        return [group.eq(0)], [group.eq(group + 1)]

    def with_targets(self, lanes: Value, place: Place) -> Value:
        """The lanes of a group; none if its position is in no window."""
        if not self.config.convolution:
            return lanes
        return lanes & ((place.columns != 0) & (place.rows != 0)).replicate(len(lanes))

    def nonzero(self) -> tuple[Value, Value]:
        """Masks of the lanes with a non-zero value at +beta, and at -beta."""
        memory = self.memory
        if has_nonzero_flag(self.config):
            return memory.plus_nonzero, memory.minus_nonzero
        plus = Cat(value.any() for value in lanes_of(memory.plus, self.config.lanes))
        minus = Cat(value.any() for value in lanes_of(memory.minus, self.config.lanes))
        return plus, minus


class DirectScan:
    """Events straight from the memory outputs.

    ``following``: the group that is fetched next.  ``room``: the output can accept an event.
    """

    def __init__(self, scanner: Scanner, m: Module, following: Next, room: Value):
        self.scanner = scanner
        self.m = m
        self.following = following
        self.room = room

    def group(self) -> Group:
        m = self.m
        scanner = self.scanner
        memory = scanner.memory
        following = self.following
        room = self.room
        p = scanner.config.lanes
        left = following.left
        any_left = Signal()  # `left` is not 0
        address = Signal.like(following.address)  # address of the group after the next
        # source of the active lanes, registered so that it is early
        of_spikes = Signal()
        of_plus = Signal()
        of_minus = Signal()
        present = Signal()  # the group is at the memory outputs
        done = Signal(p)  # lanes that are sent
        pending = Signal(p)  # lanes left to send
        rest = Signal(p)  # lanes left after the lowest one
        sends = Signal()
        advance = Signal()
        plus, minus = scanner.nonzero()
        active = (
            memory.spikes & of_spikes.replicate(p)
            | plus & of_plus.replicate(p)
            | minus & of_minus.replicate(p)
        )
        m.d.sync += [
            of_spikes.eq(scanner.spiking),
            of_plus.eq(~scanner.spiking & ~scanner.by_minus),
            of_minus.eq(~scanner.spiking & (scanner.learning | scanner.by_minus)),
        ]
        m.d.comb += [
            pending.eq(scanner.with_targets(active, following.place) & ~done),
            rest.eq(_without_lowest(pending)),
            sends.eq(present & (pending != 0) & room),
            advance.eq(present & ((pending == 0) | room & (rest == 0))),
            # depends on registers only: it stalls the walker, and `room` depends on the walker
            scanner.blocking.eq(scanner.learning & scanner.allow & any_left & ~present & ~scanner.o.valid),
            # the next group is fetched in the last cycle of this one
            memory.fetch.eq(
                scanner.blocking | ~scanner.learning & Mux(present, advance & (left != 1), any_left)
            ),
            memory.select.eq(scanner.blocking | ~scanner.learning & any_left),
            # the strobe is late, the address must not be: a fetch while a group is present is always that of
            # the following one
            memory.addr.eq(Mux(present, address, following.address)),
            memory.hold.eq(present & ~scanner.learning),
            scanner.busy.eq(any_left | scanner.o.valid),
        ]
        m.d.sync += present.eq(memory.fetch | present & ~advance & ~scanner.learning)
        with m.If(present & room):  # in a silent group no lane is done
            m.d.sync += done.eq(Mux(rest.any(), done | (pending & ~rest), 0))
        with m.If(advance):
            m.d.sync += [address.eq(address + 1), any_left.eq(left != 1)]
        with m.If(scanner.start):
            m.d.sync += [address.eq(scanner.src + 1), any_left.eq(1)]
        new_position = advance & scanner.positions.new_position if scanner.config.convolution else Const(0)
        e = lowest_set(pending)
        plus = memory.plus.word_select(e, 8)
        minus = memory.minus.word_select(e, 8)
        return Group(following.place, e, plus, minus, sends, advance, new_position)


class BufferedScan:
    """Events from a copy of the group, while the memories hold the next one; arguments as of DirectScan."""

    def __init__(self, scanner: Scanner, m: Module, following: Next, room: Value):
        self.scanner = scanner
        self.m = m
        self.following = following
        self.room = room

    def group(self) -> Group:
        m = self.m
        scanner = self.scanner
        memory = scanner.memory
        following = self.following
        room = self.room
        p = scanner.config.lanes
        # the next group: requested, then held at the memory outputs, then loaded into the copy
        fetch_request = Signal()  # the group is being fetched
        waiting = Signal()  # the group is at the memory outputs
        hold_memory = Signal()  # the memories must keep their outputs
        mask_ready = Signal()  # the active lanes of the group are known
        nonzero = Signal(p)  # lanes with non-zero values
        nonzero_before = Signal(p)  # `nonzero` of the cycle before
        next_place = Signal.like(following.place)  # place of the next group
        load = Signal()  # the group is copied in this cycle
        hold = Signal()  # a group is at the memory outputs in the next cycle
        # the present group: the copy
        pending = Signal(p)  # lanes left to send
        lowest = Signal(p)  # the lowest of them, one-hot
        present = Signal()  # `pending` is not 0
        more = Signal()  # `pending` has at least two bits
        rest = Signal(p)  # lanes left after the lowest one
        place = Signal.like(following.place)
        plus = Signal.like(memory.plus)
        minus = Signal.like(memory.minus)
        sends = Signal()
        comparing = Signal()  # LEARN looks for values that differ
        compare_fetch = Signal()  # a group is fetched for that
        next_compare_fetch = Signal()
        can_change = self._compare(comparing, compare_fetch, next_compare_fetch)
        load_at_once = Signal()  # a group of spikes that arrives in the next cycle is loaded in that cycle
        flagged = has_spike_flag(scanner.config)
        spikes = scanner.with_targets(memory.spikes, next_place)
        any_spike = scanner.with_targets(memory.any_spike, next_place) if flagged else spikes.any()
        at_plus, at_minus = scanner.nonzero()
        m.d.comb += [
            load_at_once.eq(scanner.spiking & Mux(load, ~any_spike, ~Mux(sends, more, present))),
            nonzero.eq(
                Mux(scanner.by_minus, 0, at_plus) | Mux(scanner.learning | scanner.by_minus, at_minus, 0)
            ),
            rest.eq(pending & ~lowest),
            sends.eq(present & room),
            load.eq(mask_ready & (~present | room & ~more)),
            hold.eq(fetch_request | waiting & ~load),
            memory.fetch.eq(fetch_request | compare_fetch),
            memory.select.eq(fetch_request | comparing),
            scanner.blocking.eq(scanner.learning & (fetch_request | hold_memory)),
            memory.hold.eq(hold_memory),
            memory.addr.eq(following.address),
            scanner.busy.eq((following.left != 0) | comparing | waiting | present | scanner.o.valid),
        ]
        next_request = Signal()
        next_hold = Signal()
        m.d.comb += [
            next_request.eq(
                Mux(
                    fetch_request,
                    (following.left != 1) & load_at_once,
                    (following.left != 0)
                    & ~comparing
                    & Mux(scanner.learning, scanner.allow & ~present & ~waiting, ~waiting | load),
                )
            ),
            next_hold.eq(fetch_request | hold & ~scanner.learning),
        ]
        if scanner.config.registers.state_read:
            m.d.comb += [
                memory.next_fetch.eq(next_request | next_compare_fetch),
                memory.next_addr.eq(following.next_address),
                memory.next_read.eq(memory.next_fetch | ~next_hold),
            ]
        m.d.sync += [
            fetch_request.eq(next_request),
            waiting.eq(hold),
            hold_memory.eq(next_hold),
            mask_ready.eq(Mux(scanner.spiking, hold, waiting & ~load)),
            nonzero_before.eq(nonzero),
        ]
        with m.If(fetch_request):
            m.d.sync += next_place.eq(following.place)
        load_mask = Signal(p)  # active lanes of the group that is copied
        values = scanner.with_targets(nonzero_before & can_change, next_place)
        m.d.comb += load_mask.eq(Mux(scanner.spiking, spikes, values))
        any_lane = Mux(scanner.spiking, any_spike, values.any()) if flagged else load_mask.any()

        def set_pending(mask: Value, any_set: Value) -> list[Assign]:
            return [pending.eq(mask), lowest.eq(_lowest(mask)), present.eq(any_set), more.eq(_several(mask))]

        with m.If(sends):
            m.d.sync += set_pending(rest, more)
        with m.If(load):
            m.d.sync += set_pending(load_mask, any_lane)
            m.d.sync += [place.eq(next_place), plus.eq(memory.plus), minus.eq(memory.minus)]
        new_position = load & next_place.new_position if scanner.config.convolution else Const(0)
        return Group(
            place,
            _index(lowest),
            _select(plus, lowest),
            _select(minus, lowest),
            sends,
            fetch_request,
            new_position,
        )

    def _compare(self, comparing: Signal, fetches: Signal, next_fetch: Signal) -> Value:
        """Fetch the destination of LEARN and, if no value there differs, its source, before the scan.

        Returns the lanes whose weights can change.
        """
        m = self.m
        scanner = self.scanner
        memory = scanner.memory
        following = self.following
        p = scanner.config.lanes
        valid = Signal()  # a compared group is at the memory outputs
        compared = Signal()  # `valid` of the cycle before
        of_source = Signal()  # fetched groups are of the source
        # two bits each, so that a single LUT follows the late memory outputs
        different = Signal(8 * p // 2)
        unequal = Cat(pairs.any() for pairs in lanes_of(different, p))
        all_change = Signal()  # a value of the destination differs, or it is not LEARN
        source_differs = Signal()  # a value of the source differs
        clamped = Signal()
        m.d.sync += [
            fetches.eq(next_fetch),
            valid.eq(fetches),
            compared.eq(valid),
            different.eq(
                Cat(
                    plus != minus
                    for plus, minus in zip(
                        lanes_of(memory.plus, 4 * p), lanes_of(memory.minus, 4 * p), strict=True
                    )
                )
            ),
        ]
        compared_source = delayed(m, of_source, 2, "of_source")
        with m.If(compared & unequal.any()):
            with m.If(compared_source):
                m.d.sync += source_differs.eq(1)
            with m.Else():
                m.d.sync += all_change.eq(1)
        with m.If(fetches):
            m.d.comb += [
                following.next_address.eq(following.address + 1),
                next_fetch.eq(following.left != 1),
            ]
            m.d.sync += following.left.eq(following.left - 1)
        with m.Elif(of_source):
            with m.If(~valid & ~compared):  # nothing differs
                m.d.sync += comparing.eq(0)
        with m.If(comparing & Mux(of_source, all_change | source_differs, ~fetches)):
            m.d.comb += [
                following.next_address.eq(scanner.src),
                next_fetch.eq(~all_change & ~of_source & ~clamped),
            ]
            compares = ~all_change & ~of_source
            m.d.sync += [
                following.left.eq(Mux(compares & clamped, 0, scanner.n_src)),
                comparing.eq(compares),
                of_source.eq(compares),
            ]
        with m.If(~comparing):
            m.d.sync += of_source.eq(0)
        stores = scanner.config.self_attention
        with m.If(scanner.start):
            m.d.comb += next_fetch.eq(scanner.learning)
            m.d.sync += [
                comparing.eq(scanner.learning),
                source_differs.eq(0),
                clamped.eq(scanner.clamped),
                all_change.eq(~scanner.learning | scanner.store if stores else ~scanner.learning),
            ]
        return unequal | all_change.replicate(p)


def _lowest(mask: Value) -> Value:
    """The lowest set bit of the mask, one-hot."""
    return Cat(bit & ~mask[:k].any() for k, bit in enumerate(mask))


def _several(mask: Value) -> Value:
    """Whether at least two bits of the mask are set; a tree, as a chain over all lanes would be slow."""
    if len(mask) < 2:
        return Const(0)
    low = mask[: len(mask) // 2]
    high = mask[len(mask) // 2 :]
    return _several(low) | _several(high) | low.any() & high.any()


def _index(one_hot: Value) -> Value:
    """Number of the set bit."""
    lanes = range(len(one_hot))
    return Cat(
        Cat(one_hot[k] for k in lanes if k >> bit & 1).any() for bit in range((len(one_hot) - 1).bit_length())
    )


def _select(words: Value, one_hot: Value) -> Value:
    """The word of the set bit: AND and OR, since a multiplexer would wait for the bit's number."""
    masked = [
        word & bit.replicate(len(word))
        for word, bit in zip(lanes_of(words, len(one_hot)), one_hot, strict=True)
    ]
    return reduce(or_, masked)


def _without_lowest(mask: Value) -> Value:
    """The mask without its lowest set bit; bit by bit, as a subtraction would be slow."""
    return Cat(bit & mask[:k].any() for k, bit in enumerate(mask))
