"""UDP over gigabit Ethernet, at the data of a PHY.

    rx --> [ Receiver ] --+--> [ Ring ] --> o: bytes of accepted datagrams
                          +--> last sender, number
                          '--> ARP and ignored datagrams: request for an answer
    tx <-- [ Transmitter ] <-- FIFO <------ i: bytes, up to an END

Bit-exact with equilif_golden.link.udp.Endpoint.  One station with a static address; no options of IP, no
fragments.

Clock domains: ``eth``, 125 MHz, the receive clock of the PHY, and ``sync`` (any frequency).  The PHY derives
its transmit clock from the same one.  Pointers of the ring cross by a token that goes to and fro.
"""

from __future__ import annotations

from dataclasses import dataclass

from amaranth import DomainRenamer, Module, Signal
from amaranth.lib import cdc, fifo, stream, wiring
from amaranth.lib.wiring import In, Out, connect

from equilif_golden.link.udp import ADDRESS, PORT, RING_BYTES, Station
from equilif_hdl.fixed import ram
from equilif_hdl.link.ethernet import ETH_HZ, PINS, Pins
from equilif_hdl.link.transport import Line
from equilif_hdl.link.udp_receiver import Receiver
from equilif_hdl.link.udp_transmitter import Transmitter
from equilif_hdl.typed import Stream

FIFO_BYTES = 8


class Ring(wiring.Component):
    """Memory for received data, which are read in domain ``sync``.

    Members
    -------
    data, write : In(8), In(1)
        A byte of a frame.
    begin, accept : In(1)
        A frame begins, and bytes that were not accepted are dropped; it is accepted.
    overflow : Out(1)
        There was no room for the byte of the cycle before.
    o : Out(stream of 8)
        Bytes of accepted frames.

    The other ports are in domain ``eth``.  Pointers are modulo twice the size; each domain has the pointer of
    the other one as it was some cycles ago.
    """

    data: Signal
    write: Signal
    begin: Signal
    accept: Signal
    overflow: Signal
    o: Stream[Signal]

    def __init__(self) -> None:
        super().__init__(
            {
                "data": In(8),
                "write": In(1),
                "begin": In(1),
                "accept": In(1),
                "overflow": Out(1),
                "o": Out(stream.Signature(8)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        ring = m.submodules.ring = ram(8, RING_BYTES, "block")
        wr = ring.write_port(domain="eth")
        written = Signal(range(2 * RING_BYTES))
        committed = Signal.like(written)  # `written` after the last accepted frame
        read_seen = Signal.like(written)  # `read`, as `eth` knows it
        distance = Signal.like(written)  # without the byte of the cycle before
        valid = Signal()
        byte = Signal(8)
        wrote = Signal()
        write = Signal()
        room = Signal()
        m.d.comb += [
            room.eq(~(distance[-1] | distance[:-1].all() & wrote)),
            write.eq(valid & room),
            self.overflow.eq(valid & ~room),
        ]
        m.d.eth += [
            valid.eq(self.write),
            byte.eq(self.data),
            distance.eq(written - read_seen),
            wrote.eq(write),
            wr.en.eq(write),
            wr.addr.eq(written),
            wr.data.eq(byte),
        ]
        with m.If(write):
            m.d.eth += written.eq(written + 1)
        with m.If(self.begin):
            m.d.eth += written.eq(committed)
        with m.If(self.accept):
            m.d.eth += committed.eq(written)

        rd = ring.read_port(domain="sync")
        read = Signal.like(written)
        end = Signal.like(read)  # `committed`, as `sync` knows it
        fetched = Signal()  # the memory has put out a byte
        step = Signal()
        put = Signal()
        m.d.comb += [
            put.eq(~self.o.valid | self.o.ready),
            step.eq(~fetched | put),
            rd.en.eq(step),
            rd.addr.eq(read),
        ]
        with m.If(put):
            # a register, because a block RAM of an ECP5 takes 5.8 ns
            m.d.sync += [self.o.payload.eq(rd.data), self.o.valid.eq(fetched)]
        with m.If(step):
            m.d.sync += fetched.eq(read != end)
            with m.If(read != end):
                m.d.sync += read.eq(read + 1)

        # each side changes its copies only while it has the token
        shown_end = Signal.like(read)  # in `eth`
        shown_read = Signal.like(read)  # in `sync`
        token = Signal()  # of `eth`; `sync` has the token while the two differ
        returned = Signal()
        token_seen = Signal()
        returned_seen = Signal()
        m.submodules.token = cdc.FFSynchronizer(token, token_seen, o_domain="sync")
        m.submodules.returned = cdc.FFSynchronizer(returned, returned_seen, o_domain="eth")
        with m.If(token == returned_seen):
            m.d.eth += [shown_end.eq(committed), read_seen.eq(shown_read), token.eq(~token)]
        with m.If(token_seen != returned):
            m.d.sync += [end.eq(shown_end), shown_read.eq(read), returned.eq(token_seen)]
        return m


class UdpLine(Line):
    """The data of a gigabit PHY: PINS.

    ``error`` of ``o`` is never set: damaged frames are ignored, and a datagram is complete.  Bytes of ``o``
    that are not taken wait in the ring; a datagram for which it has no room is ignored.

    Latency: data are at ``o`` about 0.1 us after the FCS, with ``sync`` at 100 MHz.  Throughput: a byte a
    cycle.  Between frames two cycles of ``eth`` without data are enough.
    """

    pins: Pins

    def __init__(self, station: Station):
        self.station = station
        super().__init__(PINS)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        eth = DomainRenamer("eth")
        receiver = Receiver(self.station)
        transmitter = Transmitter(self.station)
        m.submodules.receiver = eth(receiver)
        m.submodules.transmitter = eth(transmitter)
        connect(m, receiver.buffer, transmitter.received)
        m.submodules.sent = sent = fifo.AsyncFIFO(width=8, depth=FIFO_BYTES, w_domain="sync", r_domain="eth")
        m.d.comb += [
            receiver.rx_data.eq(self.pins.rx_data),
            receiver.rx_valid.eq(self.pins.rx_valid),
            receiver.rx_error.eq(self.pins.rx_error),
            self.pins.tx_data.eq(transmitter.tx_data),
            self.pins.tx_valid.eq(transmitter.tx_valid),
            receiver.used.eq(transmitter.used),
            receiver.done.eq(transmitter.done),
            transmitter.session.eq(receiver.session),
            sent.w_data.eq(self.i.payload),
            sent.w_en.eq(self.i.valid),
            self.i.ready.eq(sent.w_rdy),
            transmitter.i.payload.eq(sent.r_data),
            transmitter.i.valid.eq(sent.r_rdy),
            sent.r_en.eq(transmitter.i.ready),
        ]

        m.submodules.ring = ring = Ring()
        m.d.comb += [
            ring.data.eq(receiver.data),
            ring.write.eq(receiver.write),
            ring.begin.eq(receiver.begin),
            ring.accept.eq(receiver.accept),
            receiver.overflow.eq(ring.overflow),
            self.o.p.data.eq(ring.o.payload),
            self.o.valid.eq(ring.o.valid),
            ring.o.ready.eq(self.o.ready),
            self.active.eq(self.o.valid | self.i.valid),
        ]
        return m


@dataclass(frozen=True)
class Udp:
    """Description of the link over Ethernet, a Transport.

    ``address``: IPv4 address of the board.  ``port``: its UDP port.  ``clock_hz``: of the design, for
    simulation.
    """

    address: str = ADDRESS
    port: int = PORT
    clock_hz: float = ETH_HZ

    @property
    def station(self) -> Station:
        """Addresses of the board; ValueError if they are invalid."""
        return Station.of(self.address, self.port)

    @property
    def pins(self) -> wiring.Signature:
        return PINS

    def line(self) -> UdpLine:
        return UdpLine(self.station)
