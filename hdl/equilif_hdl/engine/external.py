"""Mover: fetches rows of external weights from the SDRAM into the window on the chip, and writes them back.

    i: events --> [ targets ] --> [ slots ] --> burst of the row --> sdram
                                     |          words of the row <-- sdram
                                     |                   '--> rows: weights of the window
    o: events <----------------------+-- when the row is there, with the tile of its slot

    i: events, backwards --> rows of all weights --> sdram
    o: events <--------- when all are in the window

    rows: weights --> [ queue ] --> sdram         after LEARN
    host: elements <--> sdram                     while the engine is idle

Cycles: equilif_golden.engine.external.MoverCycles.  Events of weights on the chip pass through at once.  A
run begins in the cycle after a refresh, so that its cycles do not depend on the time since the last one.
"""

from __future__ import annotations

from typing import Protocol

from amaranth import Array, Cat, Const, Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.blocks.plasticity import DITHER_DESTINATION, DITHER_WIDTH
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import SLOTS
from equilif_hdl.engine.geometry import Steps, steps
from equilif_hdl.engine.isa import (
    Event,
    event,
    event_tile_bits,
    group_bits,
    lane_bits,
    tile_bits,
)
from equilif_hdl.engine.port import address_bits
from equilif_hdl.fixed import delayed
from equilif_hdl.sdram import SdramPort
from equilif_hdl.typed import Interface, Stream, signal_of

QUEUE = 8  #: words of P weights that wait for a WRITE
HOST_QUEUE = 16  #: elements of the host
HOST_MARGIN = 6  #: writes after the cycle in which the host sees that it must wait


class RowPort(wiring.Signature):
    """Access to rows of tiles, P weights at a time, while no command in the lanes uses them.

    Members
    -------
    write, read : Out(1)
        Strobes; ``r_data`` is valid 1 + registers.weight_read cycles after a read.
    tile, e : Out
        Row ``e`` of a tile.
    w_data, r_data : Out(16 P), In(16 P)
        Weights in bank order.
    """

    class Members(Interface, Protocol):
        write: Signal
        read: Signal
        tile: Signal
        e: Signal
        w_data: Signal
        r_data: Signal

    def __init__(self, config: EngineConfig):
        super().__init__(
            {
                "write": Out(1),
                "read": Out(1),
                "tile": Out(tile_bits(config)),
                "e": Out(lane_bits(config)),
                "w_data": Out(16 * config.lanes),
                "r_data": In(16 * config.lanes),
            }
        )


class _Block:
    """All weights of an instruction, row after row, into the last tiles on the chip."""

    def __init__(self, config: EngineConfig):
        self.config = config
        self.fetching = Signal(name="block_fetching")
        self.complete = Signal(name="block_complete")
        self.requested = Signal(name="block_requested")  #: the present request is the last one
        self.fetched = Signal(name="block_fetched")  #: a row is in the window
        #: where the next row is written
        self.tile = Signal(tile_bits(config), name="block_tile")
        self.e = Signal(lane_bits(config), name="block_e")
        #: from an external tile to that in the window
        self.offset = Signal(tile_bits(config), name="block_offset")

    def add(self, m: Module, mover: Mover, starts: Value, accepted: Value) -> None:
        """Counters of the rows.  ``starts``: the first event is there.  ``accepted``: a request is."""
        n_tiles = Signal(tile_bits(self.config) + 1)
        base = Signal.like(self.tile)
        e = Signal.like(self.e)  # of the next request
        unrequested = Signal.like(mover.row_groups)  # groups of rows
        unfetched = Signal.like(mover.row_groups)
        last = self.config.lanes - 1
        m.d.comb += self.requested.eq((unrequested == 1) & (e == last))
        m.d.sync += [
            n_tiles.eq(mover.row_length * mover.row_groups),
            base.eq(self.config.tiles - n_tiles),
            self.offset.eq(base - mover.tile),
        ]
        with m.If(starts):
            m.d.sync += [
                self.fetching.eq(1),
                self.tile.eq(base),
                unrequested.eq(mover.row_groups),
                unfetched.eq(mover.row_groups),
            ]
        with m.If(self.fetching & accepted):
            m.d.sync += [e.eq(e + 1), unrequested.eq(unrequested - (e == last))]
        with m.If(self.fetched):
            m.d.sync += self.e.eq(self.e + 1)
            with m.If(self.e == last):
                m.d.sync += [self.tile.eq(self.tile + mover.row_length), unfetched.eq(unfetched - 1)]
                with m.If(unfetched == 1):
                    m.d.sync += [self.fetching.eq(0), self.complete.eq(1)]
        with m.If(mover.begin):
            m.d.sync += self.complete.eq(0)


class Mover(wiring.Component):
    """Members
    -------
    start, starting, go : In(1), Out(1), Out(1)
        A run shall begin; it waits for a refresh; it begins, in the cycle after that.
    restart, restarted : Out(1), In(1)
        Of the controller.
    begin : In(1)
        An instruction begins; its first row has slot 0.
    external : In(1)
        The instruction goes through external weights; held as are the next members.
    learning, backwards : In(1)
        It is LEARN; its sources are columns.
    tile, row_length, row_groups : In
        Its first tile; destination groups of a row; backwards: number of rows / P.
    steps : In(steps)
        With ``convolution``: its address steps, from equilif_hdl.engine.geometry.
    walked : In(1)
        The walker issues the last command of an event.
    idle : In(1)
        The walker has no commands left, and none is in the lanes.
    i, o : In(stream of event), Out(stream of event)
        From the scanner, to the walker.
    busy : Out(1)
        Events are on the way.
    rows : Out(RowPort)
    sdram : Out(SdramPort)
    address, data, write, read, ready, rdata, valid, written :
        Elements of the host, as in EnginePort.  ``ready``: it may write.  ``written``: all are in the SDRAM.
    """

    start: Signal
    starting: Signal
    go: Signal
    restart: Signal
    restarted: Signal
    begin: Signal
    external: Signal
    learning: Signal
    backwards: Signal
    tile: Signal
    row_length: Signal
    row_groups: Signal
    steps: Steps
    walked: Signal
    idle: Signal
    i: Stream[Event]
    o: Stream[Event]
    busy: Signal
    rows: RowPort.Members
    sdram: SdramPort.Members
    address: Signal
    data: Signal
    write: Signal
    read: Signal
    ready: Signal
    rdata: Signal
    valid: Signal
    written: Signal

    def __init__(self, config: EngineConfig):
        assert config.external is not None
        self.config = config
        self.chip = config.external.chip
        super().__init__(
            {
                "start": In(1),
                "starting": Out(1),
                "go": Out(1),
                "restart": Out(1),
                "restarted": In(1),
                "begin": In(1),
                "external": In(1),
                "learning": In(1),
                "backwards": In(1),
                "tile": In(event_tile_bits(config)),
                "row_length": In(group_bits(config) + 1),
                "row_groups": In(group_bits(config) + 1),
                **({"steps": In(steps(config))} if config.convolution else {}),
                "walked": In(1),
                "idle": In(1),
                "i": In(stream.Signature(event(config))),
                "o": Out(stream.Signature(event(config))),
                "busy": Out(1),
                "rows": Out(RowPort(config)),
                "sdram": Out(SdramPort(self.chip)),
                "address": In(address_bits(config)),
                "data": In(16),
                "write": In(1),
                "read": In(1),
                "ready": Out(1),
                "rdata": Out(16),
                "valid": Out(1),
                "written": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        parts = self.config.sdram_words
        request = self.sdram.request
        used = Signal(range(SLOTS + 1))
        requests_row = Signal()
        # first word of P weights of a row: that of row 0 of its tiles, and the distance from there
        start = Signal.like(request.p.address)
        distance = Signal(lane_bits(self.config) + len(self.row_length))
        released = Signal()  # a slot is free again
        takes = Signal()  # a target of the event is accepted
        target, last_target = self._targets(m, takes) if self.config.convolution else ({}, Const(1))
        tile = target.get("tile", self.i.p.tile)
        events = Array(signal_of(event(self.config), name=f"event_{k}") for k in range(SLOTS))
        slot = Signal(range(SLOTS))  # of the next event
        block = _Block(self.config)
        m.d.comb += self.busy.eq((used != 0) | block.fetching)
        m.d.sync += self.go.eq(self.restarted)
        m.d.sync += used.eq(used + takes - released)
        shift = (parts - 1).bit_length()
        starts = self.external & self.backwards & self.i.valid & ~block.fetching & ~block.complete
        with m.If(takes):
            parts_of_e = (Mux(bit, self.row_length << k, 0) for k, bit in enumerate(self.i.p.e))
            m.d.sync += [
                events[slot].eq(self.i.p),
                *(events[slot][name].eq(value) for name, value in target.items()),
                slot.eq(Mux(self.learning, 0, slot + 1)),
                start.eq(tile << lane_bits(self.config)),
                distance.eq(sum(parts_of_e)),
                requests_row.eq(1),
            ]
        with m.Elif(starts):
            m.d.sync += [start.eq(self.tile << lane_bits(self.config)), distance.eq(0), requests_row.eq(1)]
        with m.Elif(requests_row & request.ready):
            m.d.sync += requests_row.eq(block.fetching & ~block.requested)
            with m.If(block.fetching):
                m.d.sync += start.eq(start + self.row_length)
        with m.If(self.begin):
            m.d.sync += slot.eq(0)
        free = (used < Mux(self.learning, 1, SLOTS)) & ~requests_row
        m.d.comb += [
            takes.eq(self.i.valid & self.external & ~self.backwards & free),
            self.i.ready.eq(
                Mux(
                    self.external,
                    Mux(self.backwards, block.complete & self.o.ready, free & last_target),
                    self.o.ready,
                )
            ),
        ]
        windows = [Signal(tile_bits(self.config), name=f"window_{k}") for k in range(SLOTS)]
        m.d.sync += [
            window.eq(self.config.tiles - (k + 1) * self.row_length) for k, window in enumerate(windows)
        ]
        block.add(m, self, starts, requests_row & request.ready)
        stores = self._store(m, released, windows[0], events[0])
        self._fetch(m, Array(windows), events, block)
        with m.If(self.busy):
            length = self.row_length * parts - 1
            m.d.comb += [
                request.valid.eq(requests_row | stores),
                request.p.address.eq((start + distance) << shift),
                request.p.length.eq(length),
                request.p.is_write.eq(stores),
            ]
        with m.Else():
            self._host(m)
        return m

    def _targets(self, m: Module, takes: Value) -> tuple[dict[str, Value], Value]:
        """Targets of the present event, one after the other, in the order of the walker's loops.

        Returns the fields of an event for the present target only, and whether it is the last one.
        """
        steps = self.steps
        source = self.i.p
        inside = Signal()  # a target of the event is taken
        columns_left = Signal.like(source.columns)
        rows_left = Signal.like(source.rows)
        columns = Mux(inside, columns_left, source.columns)
        rows = Mux(inside, rows_left, source.rows)
        last_column = columns == 1
        last = last_column & (rows == 1)
        with m.If(takes):
            m.d.sync += [
                inside.eq(~last),
                columns_left.eq(Mux(last_column, source.columns, columns - 1)),
                rows_left.eq(rows - last_column),
            ]
        target: dict[str, Value] = {}
        for name, to_column, to_row in (
            ("tile", -steps.x_back, -steps.y_back),
            ("dither", Const(DITHER_DESTINATION, DITHER_WIDTH), steps.row_dither),
            ("first", self.row_length, steps.row_group),
        ):
            start: Value = source[name]
            following = Signal.like(start, name=f"next_{name}")
            row_start = Signal.like(start, name=f"row_{name}")
            target[name] = here = Mux(inside, following, start)
            row = Mux(inside, row_start, start)
            with m.If(takes):
                with m.If(last_column):
                    m.d.sync += [each.eq(row + to_row) for each in (following, row_start)]
                with m.Else():
                    m.d.sync += [following.eq(here + to_column), row_start.eq(row)]
        return target | {"columns": Const(1), "rows": Const(1), "new_position": Const(0)}, last

    def _fetch(self, m: Module, windows: Array[Signal], events: Array[Event], block: _Block) -> None:
        """Words of the rows into the window, and events to the walker."""
        p = self.config.lanes
        rows = self.rows
        r = self.sdram.r
        parts = self.config.sdram_words
        slot = Signal(range(SLOTS))  # of the row that is fetched
        k = Signal.like(self.row_length)  # groups of it that are there
        part = Signal(range(parts))
        words = Signal(16 * p)  # of a group; the last one is the high one
        word = Cat(words, r.payload)[-16 * p :]
        fetched = Signal()  # the row is complete
        num_fetched = Signal(range(SLOTS + 1))  # rows whose events are not handed on
        handed_slot = Signal(range(SLOTS))
        hands_on = self.external & ~self.backwards & self.o.valid & self.o.ready
        m.d.comb += r.ready.eq(1)
        m.d.sync += rows.write.eq(0)
        with m.If(self.busy & r.valid):
            m.d.sync += [words.eq(word), part.eq(Mux(part == parts - 1, 0, part + 1))]
            with m.If(part == parts - 1):
                m.d.comb += fetched.eq(k == self.row_length - 1)
                m.d.sync += [
                    rows.write.eq(1),
                    rows.w_data.eq(word),
                    rows.tile.eq(Mux(block.fetching, block.tile, windows[slot]) + k),
                    rows.e.eq(Mux(block.fetching, block.e, events[slot].e)),
                    k.eq(Mux(fetched, 0, k + 1)),
                    slot.eq(slot + (fetched & ~self.learning)),
                ]
        m.d.comb += block.fetched.eq(fetched & block.fetching)
        m.d.sync += [
            num_fetched.eq(num_fetched + (fetched & ~block.fetching) - hands_on),
            handed_slot.eq(handed_slot + (hands_on & ~self.learning)),
        ]
        with m.If(self.begin):
            m.d.sync += [slot.eq(0), handed_slot.eq(0)]
        m.d.comb += [self.o.p.eq(self.i.p), self.o.valid.eq(self.i.valid)]
        with m.If(self.external & self.backwards):
            m.d.comb += [
                self.o.p.tile.eq(self.i.p.tile + block.offset),
                self.o.valid.eq(self.i.valid & block.complete),
            ]
        with m.Elif(self.external):
            m.d.comb += [
                self.o.p.eq(events[handed_slot]),
                self.o.p.tile.eq(windows[handed_slot]),
                self.o.valid.eq(num_fetched != 0),
            ]

    def _store(self, m: Module, released: Signal, window: Signal, row: Event) -> Value:
        """The row of LEARN back into the SDRAM, after its event has left the lanes; ``released``: done.

        Returns whether it is requested.
        """
        cfg = self.config
        rows = self.rows
        w = self.sdram.w
        width = self.chip.width
        m.submodules.queue = queue = fifo.SyncFIFO(width=16 * cfg.lanes, depth=QUEUE)
        learns = Signal()  # the event is in walker or lanes
        storing = Signal()
        requested = Signal()
        k = Signal.like(self.row_length)  # groups that are read
        part = Signal(range(cfg.sdram_words))
        waiting = Signal(range(QUEUE + 1))  # words in the queue or on the way to it
        reads = Signal()
        takes = Signal()
        last_part = part == cfg.sdram_words - 1
        m.d.comb += [
            reads.eq(storing & (k != self.row_length) & (waiting != QUEUE)),
            queue.w_data.eq(rows.r_data),
            queue.w_en.eq(delayed(m, rows.read, 1 + cfg.registers.weight_read, "read", reset_less=False)),
            takes.eq(storing & w.ready & queue.r_rdy),
            queue.r_en.eq(takes & last_part),
        ]
        m.d.sync += [rows.read.eq(reads), waiting.eq(waiting + reads - queue.r_en)]
        with m.If(reads):
            m.d.sync += [rows.tile.eq(window + k), rows.e.eq(row.e), k.eq(k + 1)]
        with m.If(takes):
            m.d.sync += part.eq(Mux(last_part, 0, part + 1))
        with m.If(storing):
            m.d.comb += [w.valid.eq(queue.r_rdy), w.payload.eq(queue.r_data.word_select(part, width))]
            with m.If(queue.r_rdy & self.sdram.request.ready):
                m.d.sync += requested.eq(1)
        with m.If(self.external & self.learning):
            with m.If(self.o.valid & self.o.ready):
                m.d.sync += learns.eq(1)
            with m.If(learns & self.idle):
                m.d.sync += [learns.eq(0), storing.eq(1), requested.eq(0), k.eq(0)]
            with m.If(storing & self.sdram.written):
                m.d.comb += released.eq(1)
                m.d.sync += storing.eq(0)
        with m.Else():
            m.d.comb += released.eq(self.external & ~self.backwards & self.walked)
        return storing & ~requested & queue.r_rdy

    def _host(self, m: Module) -> None:
        """Elements of the host, a word at a time, and the refresh before a run."""
        request, w, r = self.sdram.request, self.sdram.w, self.sdram.r
        halves = self.chip.width // 16
        bits = (halves - 1).bit_length()
        place = Signal.like(request.p.address)
        m.d.comb += place.eq(self.address[bits:])
        m.submodules.writes = writes = fifo.SyncFIFO(width=len(place) + self.chip.width, depth=HOST_QUEUE)
        address, data = writes.r_data[: len(place)], writes.r_data[len(place) :]
        low = Signal(16)  # the element before, of the same word
        whole: Value = self.write
        word: Value = self.data
        if bits:
            whole = self.write & self.address[0]
            word = Cat(low, self.data)
            with m.If(self.write):
                m.d.sync += low.eq(self.data)
        requested = Signal()  # of the word in transfer
        reading = Signal()
        starting = self.starting
        written = self.written
        reads = reading & written
        waits = Signal()  # for the word of a READ
        m.d.sync += self.ready.eq(writes.w_level < HOST_QUEUE - HOST_MARGIN)
        m.d.comb += [
            written.eq(~writes.r_rdy & ~requested),
            writes.w_en.eq(whole),
            writes.w_data.eq(Cat(place, word)),
            request.valid.eq(writes.r_rdy & ~requested | reads),
            request.p.address.eq(Mux(writes.r_rdy, address, place)),
            request.p.length.eq(0),
            request.p.is_write.eq(writes.r_rdy),
            w.valid.eq(requested),
            w.payload.eq(data),
            writes.r_en.eq(requested & w.ready),
            self.restart.eq(starting & written & ~reading & ~waits),
        ]
        with m.If(request.valid & request.ready):
            m.d.sync += [requested.eq(writes.r_rdy), waits.eq(reads), reading.eq(reading & ~reads)]
        with m.If(writes.r_en):
            m.d.sync += requested.eq(0)
        with m.If(self.read):
            m.d.sync += reading.eq(1)
        with m.If(waits & r.valid):
            m.d.sync += waits.eq(0)
            m.d.comb += [
                self.valid.eq(1),
                self.rdata.eq(r.payload.word_select(self.address[:bits], 16) if bits else r.payload),
            ]
        with m.If(self.start):
            m.d.sync += starting.eq(1)
        with m.If(self.restarted):
            m.d.sync += starting.eq(0)
