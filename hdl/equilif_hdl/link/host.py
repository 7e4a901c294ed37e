"""Host link: frames in, engine accesses, replies out.

Answers as equilif_golden.link.device.Device, byte for byte.

    i: bytes --> SLIP --> Framer --> command --> [ header, element by element ] --> engine: write, read, start
    o: bytes <-- SLIP <--   |  <---- reply <---- [ word: an element, a result  ] <--

A command is walked twice, the first time dry: every address is compared, the program is judged, and
nothing is written.  Only when that went through is it walked for real, so no command is ever half done.
A byte takes three cycles each time; a UART takes hundreds.

    WAIT -> DECODE -> HEADER -> ARGUMENT -> SPAN             what it is, and what will be read
                        -> DATA <-> ELEMENT, JUDGE           what is written; then HEADER again, for real
                        -> START -> RUN                      and HEADER once more, for what is read
    DONE -> STATUS -> SEQUENCE -> RESULT, FETCH <-> SEND -> FINISH      the reply
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from amaranth import Cat, Module, Mux, Signal
from amaranth.hdl import Value, ValueLike
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.port import READ_BYTES, WRITE_BYTES, Region, region_size
from equilif_golden.link.protocol import (
    FRAME_BYTES,
    HEADER,
    HEADER_BYTES,
    LEARN,
    OVERHEAD,
    PACKED,
    Command,
    Identity,
    Status,
)
from equilif_hdl.engine.checker import Checker
from equilif_hdl.engine.port import EnginePort, address_bits
from equilif_hdl.link.frame import STATUS_BITS, Framer
from equilif_hdl.link.slip import SlipDecoder, SlipEncoder
from equilif_hdl.link.transport import RECEIVED, Received
from equilif_hdl.typed import Assign, Stream

assert (LEARN, PACKED) == (1, 2)  # bits 0 and 1 of the flags, and the only ones
PAYLOAD = 2  #: buffer address of the first byte behind command and sequence
RESULT_WORDS = 4


class Host(wiring.Component):
    """Members
    -------
    i : In(stream of equilif_hdl.link.transport.RECEIVED)
        Always ready.
    o : Out(stream of 8)
    engine : Out(EnginePort)
    """

    i: Stream[Received]
    o: Stream[Signal]
    engine: EnginePort.Members

    def __init__(self, config: EngineConfig, *, build_id: int = 0, frame_bytes: int = FRAME_BYTES):
        self.config = config
        self.frame_bytes = frame_bytes
        self.identity = Identity(config, build_id, frame_bytes - OVERHEAD)
        super().__init__(
            {
                "i": In(stream.Signature(RECEIVED)),
                "o": Out(stream.Signature(8)),
                "engine": Out(EnginePort(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.decoder = decoder = SlipDecoder()
        m.submodules.encoder = encoder = SlipEncoder()
        m.submodules.framer = framer = Framer(frame_bytes=self.frame_bytes)
        m.submodules.checker = checker = Checker(self.config)
        connect(m, flipped(self.i), decoder.i)
        connect(m, decoder.o, framer.i)
        connect(m, framer.o, encoder.i)
        connect(m, encoder.o, flipped(self.o))
        walk = _Walk(self, m, framer, checker)
        m.d.sync += [walk.fresh.eq(walk.reading), walk.reading.eq(1)]
        with m.FSM():
            walk.command()
            walk.header()
            walk.span()
            walk.data()
            walk.run()
            walk.reply()
            walk.results()
        return m


class _Walk:
    """Registers of the host, and its states in the order of a command."""

    def __init__(self, host: Host, m: Module, framer: Framer, checker: Checker):
        self.config = host.config
        self.identity = host.identity
        self.m = m
        self.framer = framer
        self.checker = checker
        self.engine = host.engine

        self.real = Signal()  # the command is walked for the second time, for real
        self.at = Signal(len(framer.addr))  # buffer address
        self.reading = Signal()  # the byte of that address is read
        self.fresh = Signal()  # it is there
        self.ended = Signal()  # where ``reading``: that address is behind the payload
        self.argument = Signal(8)  # region, or flags of a RUN
        self.count = Signal(16)  # elements to read; zeros that a packed value still stands for
        # element of the region; the top bit stands for all addresses far outside
        self.address = Signal(address_bits(self.config) + 1)
        self.ran = Signal()  # the run is over
        self.word = Signal(32)  # an element, or a part of the result
        self.lane = Signal(2)  # byte of the word
        self.result = Signal(range(8))  # words of the result so far
        self.status = Signal(STATUS_BITS)
        self.loaded = Signal()  # there is a program
        self.repeatable = Signal()  # the last command that was carried out is a RUN
        self.last_sequence = Signal(8)  # its sequence number

        kind = Signal(len(Command))
        self.kind = kind  # the command, decoded
        self.identify, self.load, self.write, self.read, self.runs = kind

        self.region = Signal(2)
        self.packed = Signal()  # values of a RUN are packed
        m.d.comb += [
            self.region.eq(Mux(self.load, Region.PROGRAM, Mux(self.runs, Region.VALUE, self.argument[:2]))),
            self.packed.eq(self.runs & self.argument[1]),
            framer.addr.eq(self.at),
            checker.word.eq(self.word),
            self.engine.mem_region.eq(self.region),
            self.engine.mem_addr.eq(self.address),
            self.engine.mem_wdata.eq(self.word),
            self.engine.learn.eq(self.argument[0]),
        ]
        m.d.sync += self.ended.eq(self.at == framer.end)
        self.last_written = self._by_region({r: n - 1 for r, n in WRITE_BYTES.items()})
        self.last_read = self._by_region({r: n - 1 for r, n in READ_BYTES.items()})
        self.outside = Signal()  # the element is not in the region
        with m.Switch(self.region):
            for r in Region:
                with m.Case(int(r)):
                    m.d.comb += self.outside.eq(self.address >= region_size(self.config, r))

    def _by_region(self, values: Mapping[Region, int]) -> Value:
        """A constant of each region: the last byte of an element."""
        chosen = Signal(max(values.values()).bit_length())
        with self.m.Switch(self.region):
            for r, value in values.items():
                with self.m.Case(int(r)):
                    self.m.d.comb += chosen.eq(value)
        return chosen

    # A state that can refuse sets the status whether it does or not, which keeps the conditions out of the
    # register's enable; what is not refused passes through DONE.
    def _refuse(self) -> None:
        self.m.next = "STATUS"

    def _read(self, at: ValueLike) -> list[Assign]:
        """Ask for the byte of this address."""
        return [self.at.eq(at), self.reading.eq(0), self.fresh.eq(0)]

    def _again(self) -> None:
        """From the start of the payload, for real."""
        self.m.d.sync += [self.real.eq(1), *self._read(PAYLOAD)]

    # -- what was asked for ------------------------------------------------------------------------
    def command(self) -> None:
        m = self.m
        framer = self.framer
        with m.State("WAIT"):
            m.d.sync += [
                self.real.eq(0),
                *self._read(PAYLOAD),
                self.lane.eq(0),
                self.result.eq(0),
                self.address.eq(0),
            ]
            # a repeated RUN counts as over, so that only its reply is made again
            m.d.sync += self.ran.eq(self.repeatable & (framer.sequence == self.last_sequence))
            m.d.sync += [
                self.kind.eq(Cat(framer.command == c for c in Command)),
                self.status.eq(framer.status),
            ]
            m.d.comb += self.checker.clear.eq(1)
            with m.If(framer.full):
                m.next = "DECODE"
        with m.State("DECODE"):
            fits = self._fits()
            busy = self.engine.busy
            with m.If(self.status != Status.OK):
                self._refuse()
            with m.Else():
                refusal = Mux(busy, Status.BUSY, Status.NO_PROGRAM)
                refusal = Mux(~fits, Status.BAD_LENGTH, refusal)
                m.d.sync += self.status.eq(Mux(self.kind == 0, Status.UNKNOWN_COMMAND, refusal))
                with m.If(~fits):  # an unknown command never fits
                    self._refuse()
                with m.Elif(self.identify):
                    m.next = "DONE"
                with m.Elif(busy | self.runs & ~self.loaded):
                    self._refuse()
                with m.Elif(self.load):
                    m.next = "DATA"
                with m.Else():
                    m.next = "HEADER"

    def _fits(self) -> Value:
        """The payload has a length that the command can have."""
        end = self.framer.end
        return (
            self.identify & (end == PAYLOAD)
            | self.load & self.framer.whole & (end != PAYLOAD)
            | self.write & (end > HEADER_BYTES[Command.WRITE] + PAYLOAD)
            | self.read & (end == HEADER_BYTES[Command.READ] + PAYLOAD)
            | self.runs & (end >= HEADER_BYTES[Command.RUN] + PAYLOAD)
        )

    def header(self) -> None:
        m = self.m
        place = self.at[:4]  # a header is short
        with m.State("HEADER"):  # RUN comes here again for its second address
            with m.If(self.fresh):
                m.d.sync += self._read(self.at + 1)
                with m.Switch(place):
                    self._fields()
                read = place == PAYLOAD + HEADER_BYTES[Command.READ] - 1
                written = self.write & (place == PAYLOAD + HEADER_BYTES[Command.WRITE] - 1)
                with m.If(read | written):
                    m.next = "ARGUMENT"
                with m.If(place == PAYLOAD + HEADER_BYTES[Command.RUN] - 1):
                    m.next = "DATA"
        with m.State("ARGUMENT"):
            m.d.sync += self.status.eq(Mux(self.runs, Status.BAD_FLAGS, Status.BAD_REGION))
            with m.If(self.write):
                m.next = "DATA"
            with m.Elif(~self.real):
                m.next = "SPAN"
            with m.Elif(self.runs & ~self.ran):
                m.next = "HEADER"
            with m.Else():
                m.next = "DONE"
            with m.If((self.argument[2:] != 0) | (self.region == Region.PROGRAM)):
                self._refuse()

    def _fields(self) -> None:
        """Cases of the header's bytes."""
        m = self.m
        at = PAYLOAD
        targets = {
            "argument": self.argument,
            "address": self.address,
            "count": self.count,
            "values_address": self.address,
        }
        for name, n_bytes in HEADER:
            for k in range(n_bytes):
                with m.Case(at + k):
                    m.d.sync += _byte(targets[name], k, self.framer.data, top=targets[name] is self.address)
            at += n_bytes
        assert at == HEADER_BYTES[Command.RUN] + PAYLOAD

    # -- what will be read -------------------------------------------------------------------------
    def span(self) -> None:
        m = self.m
        with m.State("SPAN"):
            m.d.sync += self.status.eq(Status.BAD_ADDRESS)
            with m.If(self.count == 0):
                m.next = "HEADER"
                with m.If(self.read):
                    self._again()
            with m.Elif(self.outside):
                self._refuse()
            with m.Else():
                m.d.sync += [self.address.eq(self.address + 1), self.count.eq(self.count - 1)]

    # -- what comes from the buffer: values, weights, program --------------------------------------
    def data(self) -> None:
        m = self.m
        framer = self.framer
        with m.State("DATA"):
            m.d.sync += self.status.eq(Mux(self.load, Status.BAD_PROGRAM, Status.BAD_LENGTH))
            with m.If(self.ended & self.reading):
                self._end_of_data()
            with m.Elif(self.fresh):
                m.d.sync += [*self._read(self.at + 1), self.lane.eq(self.lane + 1)]
                for k in range(4):
                    # a value is one byte, for both of its memories
                    with m.If(self.lane == Mux((self.region == Region.VALUE) & (k == 1), 0, k)):
                        m.d.sync += self.word.word_select(k, 8).eq(framer.data)
                with m.If(self.packed & self.lane[0]):  # after a zero, how many more of them
                    m.d.sync += [self.lane.eq(self.lane), self.count.eq(framer.data)]
                    m.next = "ELEMENT"
                with m.Elif((self.lane == self.last_written) & ~(self.packed & (framer.data == 0))):
                    m.d.sync += self.lane.eq(0)
                    m.next = "ELEMENT"
        with m.State("ELEMENT"):
            m.d.sync += self.status.eq(Status.BAD_ADDRESS)
            # what is done for real is not outside: the first time would have been refused.  The strobe must
            # not wait for that comparison
            m.d.comb += self.engine.mem_write.eq(self.real)
            m.next = "DATA"
            with m.If(self.load & ~self.real):
                m.d.comb += self.checker.step.eq(1)
                m.next = "JUDGE"
            with m.Elif(self.outside):
                self._refuse()
            with m.Else():
                m.d.sync += [self.address.eq(self.address + 1), self.lane.eq(0)]
                with m.If(self.lane[0] & (self.count != 0)):  # only zeros leave a lane behind
                    m.d.sync += [self.lane.eq(self.lane), self.count.eq(self.count - 1)]
                    m.next = "ELEMENT"
        with m.State("JUDGE"):
            m.d.sync += self.status.eq(Status.BAD_PROGRAM)
            with m.If(self.checker.fault):
                self._refuse()
            with m.Elif(~self.checker.busy):
                m.next = "DATA"

    def _end_of_data(self) -> None:
        m = self.m
        with m.If((self.lane != 0) | self.load & ~self.real & ~self.checker.closed):
            self._refuse()
        with m.Elif(~self.real):
            self._again()
            with m.If(~self.load):
                m.next = "HEADER"
        with m.Else():
            m.next = "DONE"
            with m.If(self.load):
                m.d.sync += self.loaded.eq(1)
            with m.If(self.runs):
                m.next = "START"

    def run(self) -> None:
        m = self.m
        with m.State("START"):
            m.d.comb += self.engine.start.eq(1)
            m.next = "RUN"
        with m.State("RUN"):
            with m.If(~self.engine.busy):
                self._again()
                m.d.sync += self.ran.eq(1)
                m.next = "HEADER"

    # -- reply -------------------------------------------------------------------------------------
    def reply(self) -> None:
        m = self.m
        reply = self.framer.reply
        sequence = self.framer.sequence
        with m.State("DONE"):
            m.d.sync += [
                self.status.eq(Status.OK),
                self.repeatable.eq(self.runs),
                self.last_sequence.eq(sequence),
            ]
            m.next = "STATUS"
        with m.State("STATUS"):
            m.d.comb += [reply.valid.eq(1), reply.p.data.eq(self.status)]
            with m.If(reply.ready):
                m.next = "SEQUENCE"
        with m.State("SEQUENCE"):
            m.d.comb += [reply.valid.eq(1), reply.p.data.eq(sequence)]
            good = self.status == Status.OK
            with m.If(reply.ready):
                m.next = "FINISH"
                with m.If((self.status == Status.BAD_PROGRAM) | good & (self.identify | self.runs)):
                    m.next = "RESULT"
                with m.If(good & self.read):
                    m.next = "FETCH"

    def results(self) -> None:
        m = self.m
        reply = self.framer.reply
        engine = self.engine
        with m.State("RESULT"):
            m.d.sync += self.result.eq(self.result + 1)
            m.next = "SEND"
            with m.If(self.load):
                m.d.sync += self.word.eq(self.checker.index)
            with m.Elif(self.identify):
                identity = self.identity.pack()
                words = [identity[at : at + 4] for at in range(0, len(identity), 4)]
                self._choose([int.from_bytes(word, "little") for word in words])
            with m.Else():
                self._choose([engine.prediction, engine.cycles, engine.spikes, engine.accesses])
        with m.State("FETCH"):
            m.next = "FINISH"
            with m.If(self.count != 0):
                m.d.comb += engine.mem_read.eq(1)
                m.next = "FETCHED"
        with m.State("FETCHED"):
            with m.If(engine.mem_valid):
                m.d.sync += [
                    self.word.eq(engine.mem_rdata),
                    self.address.eq(self.address + 1),
                    self.count.eq(self.count - 1),
                    self.result.eq(0),
                ]
                m.next = "SEND"
        with m.State("SEND"):
            # `result` words were made ready; none means that this one is an element of a memory
            fetched = self.result == 0
            short = self.load | self.runs & (self.result == 1)  # an index, a prediction: 16 bits
            last = Mux(fetched, self.last_read, Mux(short, 1, 3))
            m.d.comb += [reply.valid.eq(1), reply.p.data.eq(self.word.word_select(self.lane, 8))]
            with m.If(reply.ready):
                m.d.sync += self.lane.eq(self.lane + 1)
                with m.If(self.lane == last):
                    m.d.sync += self.lane.eq(0)
                    m.next = "RESULT"
                    with m.If(fetched | self.runs & (self.result == RESULT_WORDS)):
                        m.next = "FETCH"
                    with m.If(self.load | self.identify & (self.result == Identity.LAYOUT.size // 4)):
                        m.next = "FINISH"
        with m.State("FINISH"):
            m.d.comb += [reply.valid.eq(1), reply.p.end.eq(1)]
            with m.If(reply.ready):
                m.next = "WAIT"

    def _choose(self, words: Sequence[ValueLike]) -> None:
        """The next word of a result."""
        with self.m.Switch(self.result):
            for k, word in enumerate(words):
                with self.m.Case(k):
                    self.m.d.sync += self.word.eq(word)


def _byte(target: Signal, k: int, byte: Value, *, top: bool) -> list[Assign]:
    """Assignments that put ``byte`` in place ``k`` of a register; ``top``: its highest bit tells whether any
    bit beyond it is set.
    """
    width = len(target) - top
    inside = max(0, min(8, width - 8 * k))
    out = [target[8 * k : 8 * k + inside].eq(byte)] if inside else []
    if top:
        beyond = byte[inside:].any() if inside < 8 else 0
        out.append(target[-1].eq(beyond if k == 0 else target[-1] | beyond))
    return out
