"""Host link: frames in, engine accesses, replies out.

Answers as equilif_golden.link.device.Device, byte for byte.

    i: bytes --> SLIP --> Framer --> command --> [ header, element by element ] --> engine: write, read, start
    o: bytes <-- SLIP <--   |  <---- reply <---- [ word: an element, a result  ] <--

With a flash there are a standalone trainer, whose frames come first while the line is idle, and a controller:

    line ----+--> SLIP --> Framer        reply --> SLIP --+--> line
    trainer -'                                            '--> trainer <--> flash

A command is walked twice, the first time dry: every address is compared, the program is judged, and
nothing is written.  Only when that went through is it walked for real, so no command is ever half done.
The values of a RUN from the flash are walked once: there is nobody to send it again.

A value takes a cycle, zeros that are packed a cycle for each group of lanes, other bytes two.

    WAIT -> DECODE -> HEADER -> ARGUMENT -> SPAN             what it is, and what will be read
                        -> DATA <-> ELEMENT, JUDGE           what is written; then HEADER again, for real
                        -> START -> RUN                      and HEADER once more, for what is read
                        -> FLASHED                           until the flash has done it
    DONE -> STATUS -> SEQUENCE -> RESULT, FETCH <-> SEND -> FINISH      the reply
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.port import READ_BYTES, WRITE_BYTES, Region, region_size
from equilif_golden.link.flash import Area
from equilif_golden.link.protocol import (
    END,
    FLASH,
    FRAME_BYTES,
    HEADER,
    HEADER_BYTES,
    LEARN,
    OVERHEAD,
    OWN_BYTES,
    PACKED,
    TRAINER,
    Command,
    Identity,
    Status,
)
from equilif_golden.link.standalone import REGISTERS, WRITABLE
from equilif_hdl.engine.checker import Checker
from equilif_hdl.engine.port import EnginePort, address_bits
from equilif_hdl.link.flash import ADDRESS_BITS, BLOCK_BITS, FlashController, FlashPins, FlashPort
from equilif_hdl.link.frame import PAYLOAD, STATUS_BITS, Framer
from equilif_hdl.link.identity import WORDS, IdentityRom, LookupTable
from equilif_hdl.link.slip import SlipDecoder, SlipEncoder
from equilif_hdl.link.standalone import QUIET_BITS, StandaloneTrainer
from equilif_hdl.link.transport import RECEIVED, Received
from equilif_hdl.typed import Assign, Stream

assert (LEARN, PACKED) == (1, 2)  # bits 0 and 1 of the flags, and the only ones
RESULT_WORDS = 4


class Host(wiring.Component):
    """Members
    -------
    i : In(stream of equilif_hdl.link.transport.RECEIVED)
        Always ready.
    o : Out(stream of 8)
    engine : Out(EnginePort)
    flash : Out(FlashPins)
        With ``flash`` alone.
    active, fault : Out(1)
        The same: the trainer is at work, or stopped by itself.

    ``flash``: the design's area of a flash.  ``quiet_bits``: see
    equilif_hdl.link.standalone.StandaloneTrainer.  ``lookup``: see equilif_hdl.link.identity.IdentityRom.
    """

    i: Stream[Received]
    o: Stream[Signal]
    engine: EnginePort.Members
    flash: FlashPins.Members
    active: Signal
    fault: Signal

    def __init__(
        self,
        config: EngineConfig,
        *,
        build_id: int = 0,
        frame_bytes: int = FRAME_BYTES,
        flash: Area | None = None,
        quiet_bits: int = QUIET_BITS,
        lookup: LookupTable | None = None,
    ):
        self.config = config
        self.frame_bytes = frame_bytes
        self.area = flash
        self.quiet_bits = quiet_bits
        blocks = flash.blocks if flash else 0
        identity = Identity(config, build_id, frame_bytes - OVERHEAD, blocks)
        self.identity = IdentityRom(identity, lookup)
        alone = {"flash": Out(FlashPins()), "active": Out(1), "fault": Out(1)}
        super().__init__(
            {
                "i": In(stream.Signature(RECEIVED)),
                "o": Out(stream.Signature(8)),
                "engine": Out(EnginePort(config)),
                **(alone if flash else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.decoder = decoder = SlipDecoder()
        m.submodules.encoder = encoder = SlipEncoder()
        m.submodules.framer = framer = Framer(frame_bytes=self.frame_bytes)
        m.submodules.checker = checker = Checker(self.config)
        m.submodules.identity = self.identity
        connect(m, decoder.o, framer.i)
        connect(m, framer.o, encoder.i)
        if self.area is None:
            connect(m, flipped(self.i), decoder.i)
            connect(m, encoder.o, flipped(self.o))
            trainer = None
            controller = None
        else:
            trainer = m.submodules.trainer = StandaloneTrainer(self.config, quiet_bits=self.quiet_bits)
            controller = m.submodules.flash = FlashController(self.area)
            self._join(m, decoder, framer, encoder, trainer)
            connect(m, controller.pins, flipped(self.flash))
            m.d.comb += [self.active.eq(trainer.active), self.fault.eq(trainer.fault)]
        walk = _Walk(self, m, framer, checker, trainer, controller)
        with m.FSM():
            walk.command()
            walk.header()
            walk.span()
            walk.data()
            walk.run()
            if trainer is not None:
                walk.flash()
            walk.reply()
            walk.results()
        return m

    def _join(
        self,
        m: Module,
        decoder: SlipDecoder,
        framer: Framer,
        encoder: SlipEncoder,
        trainer: StandaloneTrainer,
    ) -> None:
        """Line and trainer take turns with frames."""
        host = trainer.host
        i = self.i
        m.d.comb += [
            i.ready.eq(1),
            decoder.i.valid.eq(Mux(host.own, host.feed, i.valid)),
            decoder.i.p.data.eq(Mux(host.own, host.byte, i.p.data)),
            decoder.i.p.error.eq(~host.own & i.p.error),
            framer.own.eq(host.own),
            framer.dropped.eq(host.own & i.valid),
            framer.dropped_end.eq(i.p.data == END),
            self.o.valid.eq(~host.own & encoder.o.valid),
            self.o.payload.eq(encoder.o.payload),
            encoder.o.ready.eq(Mux(host.own, host.taken, self.o.ready)),
            host.line.eq(i.valid),
            host.free.eq(framer.free),
            host.item.eq(host.own & framer.o.valid & framer.o.ready),
            host.end.eq(framer.o.p.end),
            host.data.eq(framer.o.p.data),
            host.out.eq(encoder.o.valid),
            host.out_byte.eq(encoder.o.payload),
        ]


class _Walk:
    """Registers of the host, and its states in the order of a command."""

    def __init__(
        self,
        host: Host,
        m: Module,
        framer: Framer,
        checker: Checker,
        trainer: StandaloneTrainer | None,
        controller: FlashController | None,
    ):
        self.area = host.area
        self.trainer = trainer
        self.config = host.config
        self.identity = host.identity
        self.m = m
        self.framer = framer
        self.checker = checker
        self.engine = host.engine

        self.real = Signal()  # the command is walked for the second time, for real
        self.place = Signal(4)  # byte of the payload, in a header
        self.argument = Signal(8)  # region, or flags of a RUN
        # elements to read; of zeros that a packed value stands for the last one, from the group's begin on
        self.count = Signal(16)
        # element of the region; the top bit stands for all addresses far outside
        bits = address_bits(self.config)
        self.address = Signal(1 + (max(bits, ADDRESS_BITS) if trainer else bits))
        self.ran = Signal()  # the run is over
        self.word = Signal(32)  # an element, or a part of the result
        self.lane = Signal(2)  # byte of the word
        self.result = Signal(range(8))  # words of the result so far
        self.status = Signal(STATUS_BITS)
        self.loaded = Signal()  # there is a program
        self.repeatable = Signal()  # the last command that was carried out is a RUN
        self.last_sequence = Signal(8)  # its sequence number

        #: those that this device has
        self.commands = [c for c in Command if trainer or c != Command.ERASE]
        self.kind = kind = Signal(len(self.commands))  # the command, decoded
        self.identify, self.load, self.write, self.read, self.runs, *erases = kind
        self.erase: Value = erases[0] if erases else Const(0, 1)

        # those of the engine in the low two bits; the trainer's and the flash's above them
        self.region = Signal(3 if trainer else 2)
        self.packed = Signal()  # values of a RUN are packed
        region = self.argument[: len(self.region)]
        m.d.comb += [
            self.region.eq(Mux(self.load, Region.PROGRAM, Mux(self.runs, Region.VALUE, region))),
            self.packed.eq(self.runs & self.argument[1]),
            checker.word.eq(self.word),
            self.engine.mem_region.eq(self.region),
            self.engine.mem_addr.eq(self.address),
            self.engine.mem_wdata.eq(self.word),
            self.engine.learn.eq(self.argument[0]),
        ]
        with m.If(framer.take):
            m.d.sync += self.place.eq(self.place + 1)
        with m.If(framer.rewind):
            m.d.sync += self.place.eq(0)
        m.d.comb += self.identity.index.eq(self.result)
        self._following()
        own = OWN_BYTES if trainer else {}
        self.last_written = self._by_region(WRITE_BYTES, own)
        self.last_read = self._by_region(READ_BYTES, own)
        self.outside = Signal()  # the element is not in the region
        with m.Switch(self.region):
            for r in Region:
                with m.Case(int(r)):
                    m.d.comb += self.outside.eq(self.address >= region_size(self.config, r))
            if self.area is not None:
                with m.Case(FLASH):
                    m.d.comb += self.outside.eq(self.address[BLOCK_BITS:] >= self.area.blocks)
                with m.Case(TRAINER):
                    n = Mux(self.write, WRITABLE, len(REGISTERS))
                    m.d.comb += self.outside.eq(self.address >= n)
        self._beside_the_engine(controller)

    def _following(self) -> None:
        """What comes behind an element, or behind the zeros of its group.  One adder each, for all states."""
        m = self.m
        self.next_address = Signal.like(self.address)
        self.next_count = Signal.like(self.count)
        self.zeros = self.packed & self.lane[0]  # only they leave a lane behind
        more = self.engine.mem_repeat
        bits = len(more)
        low, group = self.address[:bits], self.address[bits:]
        self.further = self.count[bits:9].any()  # zeros go on in the next group
        last = Mux(self.zeros, self.count[:bits] | self.further.replicate(bits), low)[:bits]
        m.d.comb += [
            more.eq(last - low),
            self.next_address.eq(Cat(last, group) + 1),
            self.next_count.eq(self.count - Mux(self.zeros, 1 << bits, 1)),
        ]

    def _beside_the_engine(self, controller: FlashController | None) -> None:
        """Where elements are read and written: in the engine, the flash, or the trainer."""
        m = self.m
        engine = self.engine
        self.in_flash: Value = Const(0, 1)
        self.own: Value = Const(0, 1)
        self.works: Value = Const(0, 1)  # the trainer, and the frame is not its own
        self.record: Value = Const(0, 1)
        self.ready: Value = Const(1, 1)  # an element can be written or read
        self.mem_write = Signal()
        self.mem_read = Signal()
        self.mem_valid = Signal()
        self.mem_rdata = Signal(32)
        m.d.comb += [
            engine.mem_write.eq(self.mem_write),
            engine.mem_read.eq(self.mem_read),
            self.mem_valid.eq(engine.mem_valid),
            self.mem_rdata.eq(engine.mem_rdata),
        ]
        if self.trainer is None or controller is None:
            return
        host = self.trainer.host
        self.in_flash = in_flash = self.region == FLASH
        in_trainer = self.region == TRAINER
        self.own = host.own
        self.works = host.busy & ~host.own
        self.record = host.record & host.own & self.read & (self.status == Status.OK)
        self.ready = ~in_flash | controller.port.ready
        #: the host's side of the flash
        self.port = port = cast(FlashPort.Members, FlashPort().create())
        for name, member in FlashPort().members.items():
            there = getattr(controller.port, name)
            sides = (getattr(self.trainer.flash, name), getattr(port, name))
            if member.flow is Out:
                m.d.comb += there.eq(Mux(self.trainer.active, *sides))
            else:
                m.d.comb += [side.eq(there) for side in sides]
        m.d.comb += [
            engine.mem_write.eq(self.mem_write & ~self.region[2]),
            engine.mem_read.eq(self.mem_read & ~self.region[2]),
            port.address.eq(self.address),
            port.read.eq(self.mem_read & in_flash),
            port.write.eq(self.mem_write & in_flash),
            port.wdata.eq(self.word),
            host.wdata.eq(self.word),
            host.good.eq(self.status == Status.OK),
            host.runs.eq(self.runs),
            host.sets.eq(self.write & in_trainer),
            host.recorded.eq(self.record),
        ]
        # registers: an address holds from before its read, and a word for a cycle after its write
        m.d.sync += [host.address.eq(self.address), host.write.eq(self.mem_write & in_trainer)]
        # what a host changes of the engine: all but the values of a RUN that does not learn
        changed = engine.mem_write & ~self.runs | engine.start & self.argument[0]
        m.d.sync += host.changed.eq(changed & ~self.own)
        # and so is what the flash has read, which comes from afar
        valid = Signal(name="flash_valid")
        rdata = Signal(8, name="flash_rdata")
        m.d.sync += [valid.eq(port.valid), rdata.eq(port.rdata)]
        with m.If(in_flash):
            m.d.comb += [self.mem_valid.eq(valid), self.mem_rdata.eq(rdata)]
        with m.If(in_trainer):
            m.d.comb += [self.mem_valid.eq(1), self.mem_rdata.eq(host.rdata)]

    def _by_region(self, engine: Mapping[Region, int], own: Mapping[int, int]) -> Value:
        """The last byte of an element, of so many in each region."""
        sizes = {**{int(r): n for r, n in engine.items()}, **own}
        chosen = Signal(range(max(sizes.values())))
        with self.m.Switch(self.region):
            for r, n in sizes.items():
                with self.m.Case(r):
                    self.m.d.comb += chosen.eq(n - 1)
        return chosen

    # A state that can refuse sets the status whether it does or not, which keeps the conditions out of the
    # register's enable; what is not refused passes through DONE.
    def _refuse(self) -> None:
        self.m.next = "STATUS"

    def _again(self) -> None:
        """From the start of the payload, for real."""
        self.m.d.comb += self.framer.rewind.eq(1)
        self.m.d.sync += self.real.eq(1)

    # -- what was asked for ------------------------------------------------------------------------
    def command(self) -> None:
        m = self.m
        framer = self.framer
        with m.State("WAIT"):
            m.d.sync += [
                self.real.eq(0),
                self.lane.eq(0),
                self.result.eq(0),
                self.address.eq(0),
            ]
            # a repeated RUN counts as over, so that only its reply is made again
            m.d.sync += self.ran.eq(self.repeatable & (framer.sequence == self.last_sequence) & ~self.own)
            m.d.sync += [
                self.kind.eq(Cat(framer.command == c for c in self.commands)),
                self.status.eq(framer.status),
            ]
            m.d.comb += [self.checker.clear.eq(1), framer.rewind.eq(1)]
            with m.If(framer.full):
                m.next = "DECODE"
        with m.State("DECODE"):
            fits = self._fits()
            busy = self.engine.busy | (self.load | self.runs) & self.works
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
            | self.erase & (end == HEADER_BYTES[Command.ERASE] + PAYLOAD)
        )

    def header(self) -> None:
        m = self.m
        place = self.place
        with m.State("HEADER"):  # RUN comes here again for its second address
            m.d.comb += self.framer.take.eq(self.framer.there)
            with m.If(self.framer.there):
                with m.Switch(place):
                    self._fields()
                read = place == HEADER_BYTES[Command.READ] - 1
                written = (self.write | self.erase) & (place == HEADER_BYTES[Command.WRITE] - 1)
                with m.If(read | written):
                    m.next = "ARGUMENT"
                with m.If(place == HEADER_BYTES[Command.RUN] - 1):
                    m.d.sync += self.real.eq(self.real | self.own)
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
            if self.trainer is None:
                no_region: Value = (self.argument[2:] != 0) | (self.region == Region.PROGRAM)
            else:
                self._seek()
                beyond = Mux(self.runs, self.argument[2:] != 0, self.argument > TRAINER)
                no_region = beyond | (self.region == Region.PROGRAM) | self.erase & ~self.in_flash
                # the trainer keeps the flash to itself, and from the line everything but its registers
                used = self.trainer.host.busy & (self.region != TRAINER) & (self.in_flash | ~self.own)
                with m.If(used):
                    m.d.sync += self.status.eq(Status.BUSY)
                    self._refuse()
            with m.If(no_region):
                m.d.sync += self.status.eq(Mux(self.runs, Status.BAD_FLAGS, Status.BAD_REGION))
                self._refuse()

    def _seek(self) -> None:
        """The flash goes to the first element, once all was found right."""
        m = self.m
        with m.If(self.in_flash & self.real):
            m.d.comb += self.port.seek.eq(1)
            with m.If(self.erase):
                m.next = "ERASE"
            with m.If(~self.port.ready):
                m.next = "ARGUMENT"

    def _fields(self) -> None:
        """Cases of the header's bytes."""
        m = self.m
        at = 0
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
        assert at == HEADER_BYTES[Command.RUN]

    # -- what will be read -------------------------------------------------------------------------
    def span(self) -> None:
        m = self.m
        with m.State("SPAN"):
            m.d.sync += self.status.eq(Status.BAD_ADDRESS)
            with m.If(self.erase):
                m.next = "HEADER"
                self._again()
                with m.If(self.outside | (self.address[:BLOCK_BITS] != 0)):
                    self._refuse()
            with m.Elif(self.count == 0):
                m.next = "HEADER"
                with m.If(self.read):
                    self._again()
            with m.Elif(self.outside):
                self._refuse()
            with m.Else():
                m.d.sync += [self.address.eq(self.next_address), self.count.eq(self.next_count)]

    # -- what comes from the buffer: values, weights, program --------------------------------------
    def data(self) -> None:
        m = self.m
        framer = self.framer
        with m.State("DATA"):
            zero = self.packed & (framer.data == 0)
            m.d.sync += self.status.eq(Mux(self.load, Status.BAD_PROGRAM, Status.BAD_LENGTH))
            with m.If(framer.there & framer.ended):
                self._end_of_data()
            with m.Elif(framer.there):
                m.d.comb += framer.take.eq(1)
                m.d.sync += self.lane.eq(self.lane + 1)
                values = self.region == Region.VALUE
                for k in range(4):
                    # a value is one byte, for both of its memories
                    with m.If((self.lane == k) | (values if k == 1 else 0)):
                        m.d.sync += self.word.word_select(k, 8).eq(framer.data)
                with m.If(self.zeros):  # after a zero, how many more of them
                    begin = self.address[: len(self.engine.mem_repeat)]
                    m.d.sync += [self.lane.eq(self.lane), self.word.eq(0), self.count.eq(framer.data + begin)]
                    m.next = "ELEMENT"
                with m.Elif((self.lane == self.last_written) & ~zero):
                    m.d.sync += self.lane.eq(0)
                    m.next = "ELEMENT"
        with m.State("ELEMENT"):
            m.next = "DATA"
            with m.If(self.real & ~self.ready):
                m.next = "ELEMENT"
            with m.Elif(self.load & ~self.real):
                m.d.comb += self.checker.step.eq(1)
                m.next = "JUDGE"
            with m.Else():
                with m.If(self.zeros):
                    m.d.sync += self.count.eq(self.next_count)
                    with m.If(self.further):
                        m.next = "ELEMENT"
                    with m.Else():
                        m.d.sync += self.lane.eq(0)
                self._element()
        with m.State("JUDGE"):
            m.d.sync += self.status.eq(Status.BAD_PROGRAM)
            with m.If(self.checker.fault):
                self._refuse()
            with m.Elif(~self.checker.busy):
                m.next = "DATA"

    def _element(self) -> None:
        """One is written, or refused; or all zeros of a group."""
        m = self.m
        m.d.sync += [self.status.eq(Status.BAD_ADDRESS), self.address.eq(self.next_address)]
        # what is walked a second time is not outside.  The strobe must not wait for that comparison
        m.d.comb += self.mem_write.eq(self.real & ~(self.outside & self.own))
        with m.If(self.outside):
            self._refuse()

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
            if self.trainer is not None:
                with m.If(self.in_flash):
                    m.next = "FINISH PAGE"

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

    def flash(self) -> None:
        """What the flash does at the end of a command."""
        m = self.m
        port = self.port
        for state, strobe in (("ERASE", port.erase), ("FINISH PAGE", port.finish)):
            with m.State(state):
                m.d.comb += strobe.eq(1)
                with m.If(port.ready):
                    m.next = "FLASHED"
        with m.State("FLASHED"):
            with m.If(port.ready):
                m.next = "DONE"
        with m.State("ECHO"):  # the header of what is recorded
            reply = self.framer.reply
            there = self.framer.there
            m.d.comb += [
                reply.valid.eq(there),
                reply.p.data.eq(self.framer.data),
                self.framer.take.eq(there & reply.ready),
            ]
            with m.If(there & reply.ready & (self.place == HEADER_BYTES[Command.WRITE] - 1)):
                m.next = "FETCH"

    # -- reply -------------------------------------------------------------------------------------
    def reply(self) -> None:
        m = self.m
        reply = self.framer.reply
        sequence = self.framer.sequence
        with m.State("DONE"):
            m.d.sync += [
                self.status.eq(Status.OK),
                self.repeatable.eq(self.runs & ~self.own),
                self.last_sequence.eq(sequence),
            ]
            m.next = "STATUS"
        with m.State("STATUS"):
            m.d.comb += [reply.valid.eq(1), reply.p.data.eq(Mux(self.record, Command.WRITE, self.status))]
            with m.If(reply.ready):
                m.next = "SEQUENCE"
        with m.State("SEQUENCE"):
            m.d.comb += [reply.valid.eq(1), reply.p.data.eq(sequence)]
            if self.trainer is not None:
                with m.If(self.record):
                    m.d.comb += reply.p.data.eq(self.trainer.host.generation)
            good = self.status == Status.OK
            with m.If(reply.ready):
                m.next = "FINISH"
                with m.If((self.status == Status.BAD_PROGRAM) | good & (self.identify | self.runs)):
                    m.next = "RESULT"
                with m.If(good & self.read):
                    m.next = "FETCH"
                    if self.trainer is not None:
                        m.d.comb += self.framer.rewind.eq(1)
                        with m.If(self.record):
                            m.next = "ECHO"

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
                m.d.sync += self.word.eq(self.identity.word)
            with m.Else():
                with m.Switch(self.result):
                    for k, word in enumerate(
                        (engine.prediction, engine.cycles, engine.spikes, engine.accesses)
                    ):
                        with m.Case(k):
                            m.d.sync += self.word.eq(word)
        with m.State("FETCH"):
            m.next = "FINISH"
            with m.If(self.count != 0):
                m.d.comb += self.mem_read.eq(1)
                m.next = "FETCHED"
                with m.If(~self.ready):
                    m.next = "FETCH"
        with m.State("FETCHED"):
            with m.If(self.mem_valid):
                m.d.sync += [
                    self.word.eq(self.mem_rdata),
                    self.address.eq(self.next_address),
                    self.count.eq(self.next_count),
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
                    with m.If(self.load | self.identify & (self.result == WORDS)):
                        m.next = "FINISH"
        with m.State("FINISH"):
            m.d.comb += [reply.valid.eq(1), reply.p.end.eq(1)]
            with m.If(reply.ready):
                m.next = "WAIT"


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
