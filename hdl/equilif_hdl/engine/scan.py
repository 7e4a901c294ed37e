"""Scanner: finds the neurons of a population that take part, so that silent ones cost nothing.

                 +-------- fetch/addr --------> spikes or values memory
    start --> group counter                            | output register: the next group waits here
              tile, dither <-- += stride        mask of non-zero lanes
                     |                                 |
                     +------------------------> lowest lane not done yet --> o: events

Latency: 3 cycles from start to the first event.  Throughput: an event a cycle; a group of zeros costs a
cycle.  While learning the walker reads the same memory: every event fetches its group anew, one cycle in
which the walker waits, and a group of zeros costs two.

Unless weights have a single port the group has registers too: it is copied, the next one waits in the
memories, and strobes are registers.  Two cycles more latency and P x 17 flip-flops; a group of
values takes three cycles at least, because its zeros are found a cycle later; and while learning the walker
waits two cycles a group.  LEARN fetches its destination first, a group a cycle: where no value differs
between +beta and -beta there, only sources are sent whose values differ.
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
from equilif_golden.engine.memories import has_nonzero_flag, skips_unchanged
from equilif_hdl.engine.geometry import Positions, Steps, steps
from equilif_hdl.engine.isa import Event, Walk, event, group_bits, tile_bits, walk
from equilif_hdl.engine.port import ScanPort
from equilif_hdl.fixed import lanes_of, lowest_set
from equilif_hdl.typed import Assign, Layout, Stream, signal_of


class Place(Walk):
    """Where a group is in its population: its number, and the walk of its first row."""

    group: Value


class Next(NamedTuple):
    """The group that is fetched next: registers."""

    place: Place
    #: group in memory
    address: Signal
    #: number of groups that are still to be fetched
    left: Signal


class Group(NamedTuple):
    """The group whose events are sent."""

    place: Place
    #: the lowest lane that takes part and has not been sent
    e: Value
    #: its value at +beta
    plus: Value
    #: its value at -beta
    minus: Value
    #: strobe: an event is sent
    sends: Value
    #: strobe: ``Next`` goes on to the following group
    advance: Value
    #: strobe, where there are convolutions: another position begins with the group of the next cycle
    moves: Value


class Scanner(wiring.Component):
    """Members
    -------
    start : In(1)
        Begin a scan.
    src, n_src : In
        With ``start``: first group of the source and number of its groups.
    dst, n_dst : In
        With ``start``, where LEARN looks at its destination first: that.
    tile, stride : In
        With ``start``: tile of the first group's walk, and what is added to it a group.
    first, steps : In
        Where there are convolutions: the first group of the destination, and what
        equilif_hdl.engine.geometry makes of the instruction.
    dither : In(DITHER_WIDTH)
        With ``start``: dither of row 0.
    spiking, learning, by_minus : In(1)
        Held during a scan.  Who takes part: who has a spike; whose value at +beta or -beta is not zero; at
        -beta; without any of the three, at +beta.
    memory : Out(ScanPort)
        Where spikes and values are read.
    allow : In(1)
        While learning, a fetch waits for it.
    blocking : Out(1)
        While learning, a fetch takes the memory port from the lanes.
    busy : Out(1)
        From the cycle after start until the last event was taken.
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
    spiking: Signal
    learning: Signal
    by_minus: Signal
    allow: Signal
    blocking: Signal
    memory: ScanPort.Members
    busy: Signal
    o: Stream[Event]

    def __init__(self, config: EngineConfig):
        self.config = config
        self.copies = not config.single_port
        if config.convolution:
            self.positions = Positions(config)
        #: cycles from start to the first event of spikes
        self.latency = 5 if self.copies else 3
        group = group_bits(config)
        super().__init__(
            {
                "start": In(1),
                "src": In(group),
                "n_src": In(group + 1),
                **({"dst": In(group), "n_dst": In(group + 1)} if skips_unchanged(config) else {}),
                "tile": In(tile_bits(config)),
                "stride": In(group + 1),
                **({"first": In(group), "steps": In(steps(config))} if config.convolution else {}),
                "dither": In(DITHER_WIDTH),
                "spiking": In(1),
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
        left = Signal(group + 1)
        room = Signal()  # an event can be sent in this cycle
        m.d.comb += room.eq(~o.valid | o.ready)
        following = Next(place, address, left)
        present = self._copied(m, following, room) if self.copies else self._in_place(m, following, room)
        places = self._positions if self.config.convolution else self._line
        begin, go_on = places(m, place, present)
        with m.If(present.advance):
            m.d.sync += [address.eq(address + 1), left.eq(left - 1), *go_on]
        with m.If(self.start):
            m.d.sync += [address.eq(self.src), left.eq(self.n_src), *begin]
        if skips_unchanged(self.config):
            with m.If(self.start & self.learning):
                m.d.sync += [address.eq(self.dst), left.eq(self.n_dst)]
        with m.If(room):  # nobody looks at what is not valid, and this is known before the group is there
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

    def _line(self, m: Module, place: Place, present: Group) -> tuple[list[Assign], list[Assign]]:
        """A group after the other: how the place of the next one begins, and how it goes on."""
        row = (DITHER_ROW * self.config.lanes) % (1 << DITHER_WIDTH)
        begin = [place.group.eq(0), place.tile.eq(self.tile), place.dither.eq(self.dither)]
        go_on = [
            place.group.eq(place.group + 1),
            place.tile.eq(place.tile + self.stride),
            place.dither.eq(place.dither + row),
        ]
        return begin, go_on

    def _positions(self, m: Module, place: Place, present: Group) -> tuple[list[Assign], list[Assign]]:
        """As :meth:`_line`, position by position; events say where they go."""
        m.submodules.positions = positions = self.positions
        group = Signal.like(self.src)
        moves = Signal()  # the next event is the first one of its position
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
                self.o.p.moves.eq(moves),
                moves.eq(0),
            ]
        with m.If(present.moves):
            m.d.sync += moves.eq(1)
        with m.If(self.start):
            m.d.sync += moves.eq(0)
        return [group.eq(0)], [group.eq(group + 1)]

    def _heard(self, lanes: Value, place: Place) -> Value:
        """Those of a group's lanes whose position is heard at all."""
        if not self.config.convolution:
            return lanes
        return lanes & ((place.columns != 0) & (place.rows != 0)).replicate(self.config.lanes)

    def _valued(self) -> tuple[Value, Value]:
        """Lanes whose values at +beta are not zero, and those whose values at -beta are not."""
        memory = self.memory
        if has_nonzero_flag(self.config):
            return memory.plus_nonzero, memory.minus_nonzero
        plus = Cat(value.any() for value in lanes_of(memory.plus, self.config.lanes))
        minus = Cat(value.any() for value in lanes_of(memory.minus, self.config.lanes))
        return plus, minus

    def _in_place(self, m: Module, following: Next, room: Value) -> Group:
        """Events straight from the memories' outputs."""
        p = self.config.lanes
        left = following.left
        some = Signal()  # `left` is not 0
        address = Signal.like(following.address)  # address of the group after the next
        # which of a group's bits count; registers, so that they are there before the group
        of_spikes = Signal()
        of_plus = Signal()
        of_minus = Signal()
        present = Signal()  # the group is on the memories' outputs
        done = Signal(p)  # lanes that have been sent
        pending = Signal(p)  # lanes that are to be sent
        rest = Signal(p)  # lanes that remain after the lowest, which is sent first
        sends = Signal()
        advance = Signal()
        plus, minus = self._valued()
        taking = (
            self.memory.spikes & of_spikes.replicate(p)
            | plus & of_plus.replicate(p)
            | minus & of_minus.replicate(p)
        )
        m.d.sync += [
            of_spikes.eq(self.spiking),
            of_plus.eq(~self.spiking & ~self.by_minus),
            of_minus.eq(~self.spiking & (self.learning | self.by_minus)),
        ]
        m.d.comb += [
            pending.eq(self._heard(taking, following.place) & ~done),
            rest.eq(_without_lowest(pending)),
            sends.eq(present & (pending != 0) & room),
            advance.eq(present & ((pending == 0) | room & (rest == 0))),
            # `blocking` stalls the walker, on which `room` depends, so it looks at registers only
            self.blocking.eq(self.learning & self.allow & some & ~present & ~self.o.valid),
            # the next group is fetched in the cycle in which this one is finished
            self.memory.fetch.eq(self.blocking | ~self.learning & Mux(present, advance & (left != 1), some)),
            self.memory.take.eq(self.blocking | ~self.learning & some),
            # the strobe is late, so the address must not be: a fetch beside a present group is that of
            # the following one
            self.memory.addr.eq(Mux(present, address, following.address)),
            self.memory.hold.eq(present & ~self.learning),
            self.busy.eq(some | self.o.valid),
        ]
        m.d.sync += present.eq(self.memory.fetch | present & ~advance & ~self.learning)
        with m.If(present & room):  # of a group without events nothing is done
            m.d.sync += done.eq(Mux(rest.any(), done | (pending & ~rest), 0))
        with m.If(advance):
            m.d.sync += [address.eq(address + 1), some.eq(left != 1)]
        with m.If(self.start):
            m.d.sync += [address.eq(self.src + 1), some.eq(1)]
        moves = advance & self.positions.moves if self.config.convolution else Const(0)
        e = lowest_set(pending)
        plus = self.memory.plus.word_select(e, 8)
        minus = self.memory.minus.word_select(e, 8)
        return Group(following.place, e, plus, minus, sends, advance, moves)

    def _copied(self, m: Module, following: Next, room: Value) -> Group:
        """Events from a copy of the group."""
        p = self.config.lanes
        # the next group is asked for, waits on the memories' outputs, and is taken
        asked = Signal()  # the group is being fetched
        waiting = Signal()  # the group is on the memories' outputs
        held = Signal()  # the memories must keep the group there
        due = Signal()  # the group's lanes that take part are known
        valued = Signal(p)  # lanes whose values are not zero
        known = Signal(p)  # lanes that were valued a cycle ago
        waiter = Signal.like(following.place)  # place of the group that waits
        taken = Signal()  # the group is copied in this cycle
        stays = Signal()  # the group waits in the next cycle too
        # the present group is the copy
        pending = Signal(p)  # lanes that are to be sent
        lowest = Signal(p)  # the lowest of them, which is sent first
        present = Signal()  # there are such lanes
        more = Signal()  # there are two of them at least
        rest = Signal(p)  # lanes that remain after the lowest
        place = Signal.like(following.place)
        plus = Signal.like(self.memory.plus)
        minus = Signal.like(self.memory.minus)
        sends = Signal()
        looking = Signal()  # LEARN looks at its destination
        fetches = Signal()  # a group of it is fetched
        can_change = self._look(m, following, looking, fetches)
        flows = Signal()  # a group of spikes that is there in the next cycle is taken in that cycle
        spikes = self._heard(self.memory.spikes, waiter)
        at_plus, at_minus = self._valued()
        m.d.comb += [
            flows.eq(self.spiking & Mux(taken, ~spikes.any(), ~Mux(sends, more, present))),
            valued.eq(Mux(self.by_minus, 0, at_plus) | Mux(self.learning | self.by_minus, at_minus, 0)),
            rest.eq(pending & ~lowest),
            sends.eq(present & room),
            taken.eq(due & (~present | room & ~more)),
            stays.eq(asked | waiting & ~taken),
            self.memory.fetch.eq(asked | fetches),
            self.memory.take.eq(asked | looking),
            self.blocking.eq(self.learning & (asked | held)),
            self.memory.hold.eq(held),
            self.memory.addr.eq(following.address),
            self.busy.eq((following.left != 0) | looking | waiting | present | self.o.valid),
        ]
        m.d.sync += [
            asked.eq(
                Mux(
                    asked,
                    (following.left != 1) & flows,
                    (following.left != 0)
                    & ~looking
                    & Mux(self.learning, self.allow & ~present & ~waiting, ~waiting | taken),
                )
            ),
            waiting.eq(stays),
            held.eq(asked | stays & ~self.learning),
            due.eq(Mux(self.spiking, stays, waiting & ~taken)),
            known.eq(valued),
        ]
        with m.If(asked):
            m.d.sync += waiter.eq(following.place)
        comes = Signal(p)  # lanes of the group that is copied in this cycle
        m.d.comb += comes.eq(Mux(self.spiking, spikes, self._heard(known & can_change, waiter)))
        with m.If(sends):
            m.d.sync += [
                pending.eq(rest),
                lowest.eq(_lowest(rest)),
                present.eq(more),
                more.eq(_several(rest)),
            ]
        with m.If(taken):
            m.d.sync += [
                pending.eq(comes),
                lowest.eq(_lowest(comes)),
                present.eq(comes.any()),
                more.eq(_several(comes)),
                place.eq(waiter),
                plus.eq(self.memory.plus),
                minus.eq(self.memory.minus),
            ]
        moves = taken & waiter.moves if self.config.convolution else Const(0)
        return Group(
            place, _place_of(lowest), _chosen(plus, lowest), _chosen(minus, lowest), sends, asked, moves
        )

    def _look(self, m: Module, following: Next, looking: Signal, fetches: Signal) -> Value:
        """LEARN fetches its destination, then goes on with its source.  Lanes whose weights can change."""
        p = self.config.lanes
        shown = Signal()  # a group of the destination is on the memories' outputs
        compared = Signal()  # it was a cycle ago
        # by two bits, so that a late memory is followed by no more than one LUT: what differed a cycle ago
        different = Signal(8 * p // 2)
        unequal = Cat(pairs.any() for pairs in lanes_of(different, p))
        all_can = Signal()  # a value of the destination differs, or nothing is learnt
        m.d.sync += [
            shown.eq(fetches),
            compared.eq(shown),
            different.eq(
                Cat(
                    plus != minus
                    for plus, minus in zip(
                        lanes_of(self.memory.plus, 4 * p), lanes_of(self.memory.minus, 4 * p), strict=True
                    )
                )
            ),
        ]
        with m.If(compared & unequal.any()):
            m.d.sync += all_can.eq(1)
        with m.If(fetches):
            m.d.sync += [
                following.address.eq(following.address + 1),
                following.left.eq(following.left - 1),
                fetches.eq(following.left != 1),
            ]
        with m.Elif(looking):
            m.d.sync += [looking.eq(0), following.address.eq(self.src), following.left.eq(self.n_src)]
        with m.If(self.start):
            m.d.sync += [
                looking.eq(self.learning),
                fetches.eq(self.learning),
                all_can.eq(~self.learning),
            ]
        return unequal | all_can.replicate(p)


def _lowest(mask: Value) -> Value:
    """The lowest bit of the mask that is set, alone."""
    return Cat(bit & ~mask[:k].any() for k, bit in enumerate(mask))


def _several(mask: Value) -> Value:
    """Whether two bits of the mask or more are set: by halves, as a chain over all lanes would be late."""
    if len(mask) < 2:
        return Const(0)
    low = mask[: len(mask) // 2]
    high = mask[len(mask) // 2 :]
    return _several(low) | _several(high) | low.any() & high.any()


def _place_of(alone: Value) -> Value:
    """Place of the one bit that is set."""
    places = range(len(alone))
    return Cat(
        Cat(alone[k] for k in places if k >> bit & 1).any() for bit in range((len(alone) - 1).bit_length())
    )


def _chosen(words: Value, alone: Value) -> Value:
    """The word of the one bit that is set.

    Words are masked and joined: a choice by number would wait for the number.
    """
    masked = [
        word & bit.replicate(len(word)) for word, bit in zip(lanes_of(words, len(alone)), alone, strict=True)
    ]
    return reduce(or_, masked)


def _without_lowest(mask: Value) -> Value:
    """The mask without its lowest bit that is set: bit by bit, as a subtraction is slow."""
    return Cat(bit & mask[:k].any() for k, bit in enumerate(mask))
