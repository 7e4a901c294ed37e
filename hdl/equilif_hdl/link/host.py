"""Host link: receives frames, accesses the engine, and sends replies.

Bit-exact with equilif_golden.link.device.Device.

    i: bytes --> SLIP --> Framer --> command --> [ header, element by element ] --> engine: write, read, start
    o: bytes <-- SLIP <--   |  <---- reply <---- [ word: an element, a result  ] <--

With a flash there are a StandaloneTrainer, which sends frames while the line is idle, and a controller:

    line ---+--> SLIP --> Framer          reply --> SLIP --+--> line
    Trainer '                                              '--> Trainer <--> [ cache ] <--> flash

Each command is processed twice.  The first pass is a dry run: it checks every address and the program, and
writes nothing.  The second pass (``commit``) starts only if the first one succeeded, so no command is
executed in part.  The values of a RUN from the flash need one pass, as nobody can resend it.

Throughput: packed zeros a group of lanes a cycle, literals one a cycle, other elements one in two cycles.

A RUN of several samples is a sequence of DATA, START and RUN for each of them, in the second pass.

With embedding tables (equilif_hdl.engine.tables) a RUN may have tokens.  The first pass checks their rows,
the second one gathers them, and after learning two passes more through the tokens add the changes.

    WAIT -> DECODE -> HEADER -> ARGUMENT -> SPAN             decode, and check the range to read
                        -> TOKENS <-> TOKEN, PRESENT         tokens, before the values
                        -> DATA <-> ELEMENT, JUDGE           data to write; then HEADER again, to commit
                        -> START -> RUN                      and HEADER once more, for the range to read
                        -> FLASHED                           until the flash is finished
    DONE -> STATUS -> SEQUENCE -> RESULT, FETCH <-> SEND -> FINISH      the reply
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import cast

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.port import READ_BYTES, WRITE_BYTES, Region, region_size, word_weights
from equilif_golden.engine.tables import RowOp
from equilif_golden.link.flash import Area
from equilif_golden.link.protocol import (
    END,
    END_OF_SAMPLE,
    FLASH,
    FRAME_BYTES,
    HEADER,
    HEADER_BYTES,
    LEARN,
    MAX_LITERALS,
    MAX_SAMPLES,
    OVERHEAD,
    OWN_BYTES,
    PACKED,
    TOKEN_BYTES,
    TOKENS,
    TOKENS_HEADER,
    TRAINER,
    ZERO_BITS,
    Command,
    FrontEndKind,
    Identity,
    Status,
)
from equilif_golden.link.standalone import REGISTERS, WRITABLE
from equilif_golden.sdram import ClockedSdram
from equilif_hdl.engine.checker import Checker
from equilif_hdl.engine.port import EnginePort, address_bits
from equilif_hdl.fixed import ram
from equilif_hdl.link.flash import ADDRESS_BITS, BLOCK_BITS, FlashController, FlashPins, FlashPort
from equilif_hdl.link.flash_cache import FlashCache
from equilif_hdl.link.frame import PAYLOAD, STATUS_BITS, Framer
from equilif_hdl.link.identity import IdentityRom, LutPrimitive
from equilif_hdl.link.slip import SlipDecoder, SlipEncoder
from equilif_hdl.link.standalone import IDLE_TIMEOUT_BITS, LessonPort, StandaloneTrainer
from equilif_hdl.link.transport import RECEIVED, Received
from equilif_hdl.sdram import SdramPins
from equilif_hdl.typed import Assign, Stream

assert (LEARN, PACKED, TOKENS, END_OF_SAMPLE) == (1, 4, 8, 0)  # bits 0, 2 and 3 of the flags
assert TOKEN_BYTES == 2
RESULT_WORDS = 4
TOKENS_WORDS = TOKENS_HEADER.size // 2


class Host(wiring.Component):
    """Members
    -------
    i : In(stream of equilif_hdl.link.transport.RECEIVED)
        Always ready.
    o : Out(stream of 8)
    engine : Out(EnginePort)
    flash : Out(FlashPins)
        With ``flash``.
    sdram : Out(equilif_hdl.sdram.SdramPins)
        With ``sdram``.
    active, fault : Out(1)
        With ``flash``: the standalone trainer is active; it stopped with a fault.
    hold : In(1), held : Out(1)
        With ``front_end``: the next frame waits; no command is in execution, and the engine is free.
    loaded : Out(1)
        With ``front_end``: a program is loaded.
    lesson : In(equilif_hdl.link.standalone.LessonPort)
        With ``front_end`` and ``flash``.

    ``max_samples``: of a RUN.  ``flash``: the design's area of a flash; ``sdram``: its cache.
    ``front_end``: it uses the engine while ``held``; a RUN from before that is not repeatable.
    ``idle_timeout_bits``: see equilif_hdl.link.standalone.StandaloneTrainer.  ``lookup``: see
    equilif_hdl.link.identity.IdentityRom.
    """

    i: Stream[Received]
    o: Stream[Signal]
    engine: EnginePort.Members
    flash: FlashPins.Members
    sdram: SdramPins.Members
    active: Signal
    fault: Signal
    hold: Signal
    held: Signal
    loaded: Signal
    lesson: LessonPort.Members

    def __init__(
        self,
        config: EngineConfig,
        *,
        build_id: int = 0,
        frame_bytes: int = FRAME_BYTES,
        max_samples: int = MAX_SAMPLES,
        flash: Area | None = None,
        sdram: ClockedSdram | None = None,
        front_end: FrontEndKind = FrontEndKind.NONE,
        idle_timeout_bits: int = IDLE_TIMEOUT_BITS,
        lookup: LutPrimitive | None = None,
    ):
        self.config = config
        self.frame_bytes = frame_bytes
        self.max_samples = max_samples
        self.area = flash
        self.front_end = front_end
        self.cache = FlashCache(flash, sdram) if flash and sdram else None
        self.idle_timeout_bits = idle_timeout_bits
        blocks = flash.blocks if flash else 0
        identity = Identity(config, build_id, frame_bytes - OVERHEAD, blocks, max_samples, front_end)
        self.identity = IdentityRom(identity, lookup)
        standalone = {"flash": Out(FlashPins()), "active": Out(1), "fault": Out(1)}
        sharing = {"hold": In(1), "held": Out(1), "loaded": Out(1)}
        super().__init__(
            {
                "i": In(stream.Signature(RECEIVED)),
                "o": Out(stream.Signature(8)),
                "engine": Out(EnginePort(config)),
                **(standalone if flash else {}),
                **({"sdram": Out(SdramPins(sdram.chip))} if flash and sdram else {}),
                **(sharing if front_end else {}),
                **({"lesson": In(LessonPort())} if flash and front_end else {}),
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
            port = None
        else:
            trainer = m.submodules.trainer = StandaloneTrainer(
                self.config, idle_timeout_bits=self.idle_timeout_bits, lessons=bool(self.front_end)
            )
            if self.front_end:
                connect(m, flipped(self.lesson), trainer.lesson)
            controller = m.submodules.flash = FlashController(self.area, sectors=bool(self.front_end))
            port = controller.port
            if self.cache is not None:
                m.submodules.cache = self.cache
                connect(m, self.cache.flash, controller.port)
                connect(m, self.cache.pins, flipped(self.sdram))
                port = self.cache.port
            self._join(m, decoder, framer, encoder, trainer)
            connect(m, controller.pins, flipped(self.flash))
            m.d.comb += [self.active.eq(trainer.active), self.fault.eq(trainer.fault)]
        states = _HostStates(self, m, framer, checker, trainer, port)
        with m.FSM() as fsm:
            states.command()
            states.header()
            states.span()
            if states.tables:
                states.tokens()
            states.data()
            states.run()
            if trainer is not None:
                states.flash()
            states.reply()
            states.results()
        if self.front_end:
            m.d.comb += [self.held.eq(self.hold & fsm.ongoing("WAIT")), self.loaded.eq(states.loaded)]
            with m.If(self.held):
                m.d.sync += states.repeatable.eq(0)
        return m

    def _join(
        self,
        m: Module,
        decoder: SlipDecoder,
        framer: Framer,
        encoder: SlipEncoder,
        trainer: StandaloneTrainer,
    ) -> None:
        """Multiplex frames of the line and of the trainer."""
        host = trainer.host
        i = self.i
        m.d.comb += [
            i.ready.eq(1),
            decoder.i.valid.eq(Mux(host.trainer_frame, host.feed, i.valid)),
            decoder.i.p.data.eq(Mux(host.trainer_frame, host.byte, i.p.data)),
            decoder.i.p.error.eq(~host.trainer_frame & i.p.error),
            framer.trainer_frame.eq(host.trainer_frame),
            framer.dropped.eq(host.trainer_frame & i.valid),
            framer.dropped_end.eq(i.p.data == END),
            self.o.valid.eq(~host.trainer_frame & encoder.o.valid),
            self.o.payload.eq(encoder.o.payload),
            encoder.o.ready.eq(Mux(host.trainer_frame, host.taken, self.o.ready)),
            host.line.eq(i.valid),
            host.free.eq(framer.free),
            host.item.eq(host.trainer_frame & framer.o.valid & framer.o.ready),
            host.end.eq(framer.o.p.end),
            host.data.eq(framer.o.p.data),
            host.out.eq(encoder.o.valid),
            host.out_byte.eq(encoder.o.payload),
        ]


class _HostStates:
    """Registers of the host, and its states in the order of processing."""

    def __init__(
        self,
        host: Host,
        m: Module,
        framer: Framer,
        checker: Checker,
        trainer: StandaloneTrainer | None,
        flash: FlashPort.Members | None,
    ):
        self.area = host.area
        self.trainer = trainer
        self.config = host.config
        self.identity = host.identity
        self.m = m
        self.framer = framer
        self.checker = checker
        self.engine = host.engine

        self.commit = Signal()  # second pass of the command
        self.place = Signal(4)  # index of the header byte
        self.argument = Signal(8)  # region, or flags of a RUN
        # elements to read; for packed zeros the index of the last one, relative to the start of its group
        self.count = Signal(16)
        # element of the region; the top bit is set for all larger addresses
        bits = address_bits(self.config)
        self.address = Signal(1 + (max(bits, ADDRESS_BITS) if trainer else bits))
        self.literals = Signal(range(MAX_LITERALS + 1))  # packed values until the next control byte
        self.literal = Signal()  # there are any
        self.pending = Signal()  # the word is a literal that is not yet written
        self.hold = host.hold if host.front_end else None
        self.ran = Signal()  # the run is finished
        self.word = Signal(32)  # an element, or a word of the result
        self.lane = Signal(2)  # index of the byte in the word
        self.result = Signal(range(max(8, len(self.identity.words) + 1)))  # words of the result so far
        self.status = Signal(STATUS_BITS)
        self.loaded = Signal()  # a program is loaded
        self.repeatable = Signal()  # the last executed command is a RUN
        self.last_sequence = Signal(8)  # its sequence number

        #: commands of this device
        self.commands = [c for c in Command if trainer or c != Command.ERASE]
        self.kind = kind = Signal(len(self.commands))  # the command, one-hot
        self.identify, self.load, self.write, self.read, self.runs, *erases = kind
        self.erase: Value = erases[0] if erases else Const(0, 1)

        self.tables = bool(self.config.external and self.config.external.tables)
        self.has_tokens = self.argument[3]  # with tables
        # engine regions in the low two bits; bit 2: trainer and flash
        self.region = Signal(3 if trainer else 2)
        self.packed = Signal()  # the values of a RUN are packed
        argument = self.argument[: len(self.region)]
        region = Mux(self.load, Region.PROGRAM, Mux(self.runs, Region.VALUE, argument))
        self.in_flash = Signal() if trainer else Const(0, 1)
        self.in_trainer = Signal() if trainer else Const(0, 1)
        # registered: the address follows the region in the header, and the payload of LOAD follows DECODE
        m.d.sync += self.region.eq(region)
        if trainer:
            m.d.sync += [self.in_flash.eq(region == FLASH), self.in_trainer.eq(region == TRAINER)]
        m.d.comb += [
            self.packed.eq(self.runs & self.argument[2]),
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
        self._next_element()
        own = OWN_BYTES if trainer else {}
        self.last_written = self._by_region(WRITE_BYTES, own)
        self.last_read = self._by_region(READ_BYTES, own)
        self._range()
        self.fits = self._fits()
        self._connect_regions(flash)
        if self.tables:
            self.row_op = Signal(RowOp)  # of the present pass
            self.place_words = Signal(range(TOKENS_WORDS + 1))  # before the first token
            m.d.comb += self.engine.row_op.eq(self.row_op)
        self._samples(host.max_samples)

    def _samples(self, max_samples: int) -> None:
        """Registers of a RUN of several samples, and the memory of its predictions."""
        m = self.m
        self.max_samples = max_samples
        self.prediction: Value = self.engine.prediction
        if max_samples == 1:
            return
        self.start_address = Signal(len(self.address))  # of the values of each sample
        # index of the present sample in the second pass; then of the last one, for repetitions, too
        self.last_sample = Signal(range(max_samples))
        # index of the present sample in the first pass; then of the prediction to send
        self.sample = Signal.like(self.last_sample)
        self.more_samples = Signal()  # another sample follows the present one
        memory = m.submodules.predictions = ram(len(self.engine.prediction), max_samples, None)
        self.store = memory.write_port()
        stored = memory.read_port()
        m.d.comb += [
            self.store.addr.eq(self.last_sample),
            self.store.data.eq(self.engine.prediction),
            stored.addr.eq(self.sample),
            stored.en.eq(1),
            self.engine.accumulate.eq(self.last_sample != 0),
        ]
        self.prediction = stored.data

    def _next_element(self) -> None:
        """Address and count after an element, or after the zeros of its group; one adder each."""
        m = self.m
        self.next_address = Signal.like(self.address)
        self.next_count = Signal.like(self.count)
        self.zeros = self.packed & self.lane[0]  # they alone set a lane
        more = self.engine.mem_repeat
        bits = len(more)
        low, group = self.address[:bits], self.address[bits:]
        # zeros continue in the next group
        self.more_groups = self.count[bits : max(ZERO_BITS, bits) + 1].any()
        self.last = Signal(bits)  # lane of the last element that is written
        m.d.comb += [
            self.last.eq(Mux(self.zeros, self.count[:bits] | self.more_groups.replicate(bits), low)),
            more.eq(self.last - low),
            self.next_address.eq(Cat(self.last, group) + 1),
            self.next_count.eq(self.count - Mux(self.zeros, 1 << bits, 1)),
        ]

    def _range(self) -> None:
        """Compare the address of the next cycle with the size of the region."""
        m = self.m
        #: the element is not in the region; not valid in the second pass of a write to the flash, which waits
        self.outside = Signal()
        self.advance = Signal()  # the address increases, or a write to the flash waits
        complement = Signal(len(self.address))  # of the size of the region
        limit = 1 << len(self.address)
        with m.Switch(self.region):
            for r in Region:
                with m.Case(int(r)):
                    m.d.comb += complement.eq(limit - region_size(self.config, r))
            if self.area is not None:
                with m.Case(FLASH):
                    m.d.comb += complement.eq(limit - (self.area.blocks << BLOCK_BITS))
                with m.Case(TRAINER):
                    n = Mux(self.write, WRITABLE, len(REGISTERS))
                    m.d.comb += complement.eq(limit - n)
        bits = len(self.last)
        last = Mux(self.advance, self.last, self.address[:bits])[:bits]
        # one carry chain, with `advance` as its carry
        total = Cat(Const(1, 1), last, self.address[bits:]) + Cat(self.advance, complement)
        m.d.sync += self.outside.eq(total[-1])

    def _connect_regions(self, flash: FlashPort.Members | None) -> None:
        """Connect reads and writes of elements to engine, flash and trainer."""
        m = self.m
        engine = self.engine
        self.trainer_frame: Value = Const(0, 1)
        self.trainer_busy: Value = Const(0, 1)  # the trainer is busy, and the frame is from the line
        self.record: Value = Const(0, 1)
        self.ready: Value = Const(1, 1)  # the region accepts a read or write
        #: the element is within a word of the SDRAM: a WRITE may neither begin nor end before it
        self.divides_word: Value | None = None
        if word_weights(self.config) > 1:
            assert word_weights(self.config) == 2
            # The comparison is registered, so it is that of the address a cycle ago.  BEGIN waits this cycle.
            # An odd address at the end of a WRITE follows an even one in the same memory.
            external = Signal()
            m.d.sync += external.eq(self.address >= self.config.n_weights)
            self.divides_word = self.write & (self.region == Region.WEIGHT) & external & self.address[0]
        #: the engine accepts a write; with external weights it takes longer than a frame is read
        self.writable: Value = self.engine.mem_ready if self.config.external else Const(1, 1)
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
        if self.trainer is None or flash is None:
            return
        host = self.trainer.host
        in_flash = self.in_flash
        in_trainer = self.in_trainer
        self.trainer_frame = host.trainer_frame
        self.trainer_busy = host.busy & ~host.trainer_frame
        self.record = host.record & host.trainer_frame & self.read & (self.status == Status.OK)
        self.ready = ~in_flash | flash.ready
        #: flash port of the host
        signature = FlashPort(sectors=self.trainer.lessons)
        self.port = port = cast(FlashPort.Members, signature.create())
        for name, member in signature.members.items():
            there = getattr(flash, name)
            sides = (getattr(self.trainer.flash, name), getattr(port, name))
            if member.flow is Out:
                m.d.comb += there.eq(Mux(self.trainer.active, *sides))
            else:
                m.d.comb += [side.eq(there) for side in sides]
        m.d.comb += [
            # the values of the trainer's RUN are written in the only pass
            engine.mem_write.eq(self.mem_write & ~self.region[2] & ~(self.outside & self.trainer_frame)),
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
        # registered: an address is stable before its read, and a word for a cycle after its write
        m.d.sync += [host.address.eq(self.address), host.write.eq(self.mem_write & in_trainer)]
        # the line has changed the engine, except by the values of a RUN without learning
        changed = engine.mem_write & ~self.runs | engine.start & self.argument[0]
        m.d.sync += host.changed.eq(changed & ~self.trainer_frame)
        # registered: the wires from the flash are long
        valid = Signal(name="flash_valid")
        rdata = Signal(8, name="flash_rdata")
        m.d.sync += [valid.eq(port.valid), rdata.eq(port.rdata)]
        with m.If(in_flash):
            m.d.comb += [self.mem_valid.eq(valid), self.mem_rdata.eq(rdata)]
        with m.If(in_trainer):
            m.d.comb += [self.mem_valid.eq(1), self.mem_rdata.eq(host.rdata)]

    def _by_region(self, engine: Mapping[Region, int], own: Mapping[int, int]) -> Value:
        """Index of the last byte of an element, by region."""
        sizes = {**{int(r): n for r, n in engine.items()}, **own}
        chosen = Signal(range(max(sizes.values())))
        with self.m.Switch(self.region):
            for r, n in sizes.items():
                with self.m.Case(r):
                    self.m.d.comb += chosen.eq(n - 1)
        return chosen

    # A state that may refuse sets the status unconditionally, which simplifies the enable of the register;
    # commands that are not refused pass through DONE.
    def _refuse(self) -> None:
        self.m.next = "STATUS"

    def _again(self) -> None:
        """Restart at the begin of the payload, to commit."""
        self.m.d.comb += self.framer.rewind.eq(1)
        self.m.d.sync += self.commit.eq(1)

    # -- command ----------------------------------------------------------------------------------
    def command(self) -> None:
        m = self.m
        framer = self.framer
        with m.State("WAIT"):
            m.d.sync += [
                self.commit.eq(0),
                self.lane.eq(0),
                self.literal.eq(0),
                self.pending.eq(0),
                self.result.eq(0),
                self.address.eq(0),
            ]
            if self.max_samples > 1:
                m.d.sync += self.sample.eq(0)
            if self.tables:
                m.d.sync += self.row_op.eq(RowOp.CHECK)
            # a repeated RUN is already finished: only its reply is sent again
            m.d.sync += self.ran.eq(
                self.repeatable & (framer.sequence == self.last_sequence) & ~self.trainer_frame
            )
            m.d.sync += [
                self.kind.eq(Cat(framer.command == c for c in self.commands)),
                self.status.eq(framer.status),
            ]
            m.d.comb += [self.checker.clear.eq(1), framer.rewind.eq(1)]
            with m.If(framer.full if self.hold is None else framer.full & ~self.hold):
                m.next = "DECODE"
        with m.State("DECODE"):
            fits = self.fits
            busy = self.engine.busy | (self.load | self.runs) & self.trainer_busy
            with m.If(self.status != Status.OK):
                self._refuse()
            with m.Else():
                refusal = Mux(busy, Status.BUSY, Status.NO_PROGRAM)
                refusal = Mux(~fits, Status.BAD_LENGTH, refusal)
                m.d.sync += self.status.eq(Mux(self.kind == 0, Status.UNKNOWN_COMMAND, refusal))
                with m.If(~fits):  # never true for an unknown command
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
        """The length of the payload is valid for the command."""
        end = self.framer.end
        # registered: `end` is final a cycle before DECODE, from where it would decide the next state
        is_empty = Signal()
        writes = Signal()
        reads = Signal()
        runs = Signal()
        self.m.d.sync += [
            is_empty.eq(end == PAYLOAD),
            writes.eq(end > HEADER_BYTES[Command.WRITE] + PAYLOAD),
            reads.eq(end == HEADER_BYTES[Command.READ] + PAYLOAD),
            runs.eq(end >= HEADER_BYTES[Command.RUN] + PAYLOAD),
        ]
        fits = (
            self.identify & is_empty
            | self.load & self.framer.whole_instructions & ~is_empty
            | self.write & writes
            | self.read & reads
            | self.runs & runs
        )
        if self.trainer is None:
            return fits
        erases = Signal()
        self.m.d.sync += erases.eq(end == HEADER_BYTES[Command.ERASE] + PAYLOAD)
        return fits | self.erase & erases

    def header(self) -> None:
        m = self.m
        place = self.place
        with m.State("HEADER"):  # RUN returns here for its second address
            m.d.comb += self.framer.take.eq(self.framer.data_valid)
            with m.If(self.framer.data_valid):
                with m.Switch(place):
                    self._fields()
                read = place == HEADER_BYTES[Command.READ] - 1
                written = (self.write | self.erase) & (place == HEADER_BYTES[Command.WRITE] - 1)
                with m.If(read | written):
                    m.next = "ARGUMENT"
                with m.If(place == HEADER_BYTES[Command.RUN] - 1):
                    m.d.sync += self.commit.eq(self.commit | self.trainer_frame)
                    m.next = "DATA"
                    if self.tables:
                        m.d.sync += self.place_words.eq(TOKENS_WORDS)
                        with m.If(self.has_tokens):
                            m.next = "TOKENS"
        with m.State("ARGUMENT"):
            m.d.sync += self.status.eq(Mux(self.runs, Status.BAD_FLAGS, Status.BAD_REGION))
            with m.If(self.write):
                m.next = "DATA" if self.divides_word is None else "BEGIN"
            with m.Elif(~self.commit):
                m.next = "SPAN"
            with m.Elif(self.runs & ~self.ran):
                m.next = "HEADER"
            with m.Else():
                m.next = "DONE"
            no_flags = self.argument[1] | (self.argument[3 + self.tables :] != 0)
            if self.trainer is None:
                invalid = Mux(self.runs, no_flags, self.argument[2:] != 0)
                no_region: Value = invalid | (self.region == Region.PROGRAM)
            else:
                self._seek()
                invalid = Mux(self.runs, no_flags, self.argument > TRAINER)
                no_region = invalid | (self.region == Region.PROGRAM) | self.erase & ~self.in_flash
                # while busy, the trainer owns the flash, and the line may access its registers only
                used = self.trainer.host.busy & ~self.in_trainer & (self.in_flash | ~self.trainer_frame)
                with m.If(used):
                    m.d.sync += self.status.eq(Status.BUSY)
                    self._refuse()
            with m.If(no_region):
                m.d.sync += self.status.eq(Mux(self.runs, Status.BAD_FLAGS, Status.BAD_REGION))
                self._refuse()

        if self.divides_word is not None:
            with m.State("BEGIN"):
                m.d.sync += self.status.eq(Status.BAD_ADDRESS)
                m.next = "DATA"
                with m.If(self.divides_word):
                    self._refuse()

    def _seek(self) -> None:
        """Seek the first element in the flash, in the second pass."""
        m = self.m
        with m.If(self.in_flash & self.commit):
            m.d.comb += self.port.seek.eq(1)
            with m.If(self.erase):
                m.next = "ERASE"
            with m.If(~self.port.ready):
                m.next = "ARGUMENT"

    def _fields(self) -> None:
        """Cases of the header bytes."""
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
                    if name == "values_address" and self.max_samples > 1:
                        m.d.sync += _byte(self.start_address, k, self.framer.data, top=True)
            at += n_bytes
        assert at == HEADER_BYTES[Command.RUN]

    # -- range to read -----------------------------------------------------------------------------
    def span(self) -> None:
        m = self.m
        with m.State("SPAN"):
            m.d.comb += self.advance.eq(1)
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
            # the header follows again
            m.d.sync += [self.address.eq(self.next_address), self.count.eq(self.next_count)]

    # -- tokens ------------------------------------------------------------------------------------
    def tokens(self) -> None:
        """Words of two bytes: table, tile, groups, their number, then the tokens."""
        m = self.m
        framer = self.framer
        engine = self.engine
        with m.State("TOKENS"):
            m.d.sync += self.status.eq(Status.BAD_LENGTH)
            with m.If(framer.data_valid & framer.payload_end):
                self._refuse()
            with m.Elif(framer.data_valid):
                m.d.comb += framer.take.eq(1)
                m.d.sync += [
                    self.lane.eq(~self.lane[0]),
                    self.word.word_select(self.lane[0], 8).eq(framer.data),
                ]
                with m.If(self.lane[0]):
                    m.next = "TOKEN"
        with m.State("TOKEN"), m.If(engine.row_ready):
            m.next = "TOKENS"
            with m.If(self.place_words == 0):
                m.d.comb += engine.row.eq(1)
                m.d.sync += self.word.eq(0xFFFF)
                m.next = "PRESENT"
            with m.Else():
                m.d.sync += [self.place_words.eq(self.place_words - 1), self.count.eq(self.word)]
                with m.If(self.place_words != 1):
                    m.d.comb += engine.row_place.eq(1)
                with m.Elif(self.word[:16] == 0):
                    self._end_of_tokens()
        with m.State("PRESENT"), m.If(self.commit | engine.row_ready):
            m.d.sync += self.count.eq(self.next_count)
            m.next = "TOKENS"
            with m.If(self.count == 1):
                self._end_of_tokens()
            with m.If(~self.scatters):
                m.d.comb += self.advance.eq(1)
                self._element()
            with m.If(~self.commit & engine.row_outside):
                self._refuse()
        with m.State("ADDED"), m.If(engine.row_ready):
            self._finish_run()

    @property
    def scatters(self) -> Value:
        """The pass adds changes to the table."""
        return (self.row_op == RowOp.SUBTRACT) | (self.row_op == RowOp.ADD)

    def _end_of_tokens(self) -> None:
        m = self.m
        m.next = "DATA"
        with m.If(self.row_op == RowOp.SUBTRACT):
            m.d.sync += self.row_op.eq(RowOp.ADD)
            self._again()
            m.next = "HEADER"
        with m.If(self.row_op == RowOp.ADD):
            m.next = "ADDED"

    # -- data to write: values, weights, program ---------------------------------------------------
    def data(self) -> None:
        m = self.m
        framer = self.framer
        with m.State("DATA"):
            n_zeros = framer.data[:ZERO_BITS]
            n_literals = framer.data[ZERO_BITS:]
            literal = self.literal
            control = self.packed & ~literal
            m.d.sync += self.status.eq(Mux(self.load, Status.BAD_PROGRAM, Status.BAD_LENGTH))
            with m.If(self.pending):
                m.d.sync += self.pending.eq(0)
            # literals are written while the next one is read; what follows them needs their last address
            with m.If(framer.data_valid & framer.payload_end):
                with m.If(~self.pending):
                    self._end_of_data()
            with m.Elif(framer.data_valid & (literal | ~self.pending)):
                m.d.comb += framer.take.eq(1)
                m.d.sync += self.lane.eq(self.lane + 1)
                values = self.region == Region.VALUE
                for k in range(4):
                    # one byte is written to both memories of a value
                    with m.If((self.lane == k) | (values if k == 1 else 0)):
                        m.d.sync += self.word.word_select(k, 8).eq(framer.data)
                with m.If(control):
                    begin = self.address[: len(self.engine.mem_repeat)]
                    m.d.sync += [
                        self.lane.eq(n_zeros != 0),
                        self.literals.eq(n_literals),
                        self.literal.eq(n_literals != 0),
                        self.word.eq(0),
                        self.count.eq((n_zeros + (begin - 1))[: ZERO_BITS + 1]),
                    ]
                    with m.If(n_zeros != 0):
                        m.next = "ELEMENT"
                    with m.Elif(n_literals == 0):
                        self._end_of_sample()
                with m.Elif(literal):
                    m.d.sync += [
                        self.lane.eq(0),
                        self.pending.eq(1),
                        self.literals.eq(self.literals - 1),
                        self.literal.eq(self.literals != 1),
                    ]
                with m.Elif(self.lane == self.last_written):
                    m.d.sync += self.lane.eq(0)
                    m.next = "ELEMENT"
            with m.If(self.pending):
                m.d.comb += self.advance.eq(1)
                self._element()
        with m.State("ELEMENT"):
            m.d.comb += self.advance.eq(1)
            m.next = "DATA"
            with m.If(self.commit & ~(self.ready & self.writable)):
                m.next = "ELEMENT"
            with m.Elif(self.load & ~self.commit):
                m.d.comb += self.checker.step.eq(1)
                m.next = "JUDGE"
            with m.Else():
                with m.If(self.zeros):
                    m.d.sync += self.count.eq(self.next_count)
                    with m.If(self.more_groups):
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
        """Write an element, or all zeros of a group, or refuse it."""
        m = self.m
        m.d.sync += [self.status.eq(Status.BAD_ADDRESS), self.address.eq(self.next_address)]
        m.d.comb += self.mem_write.eq(self.commit)
        with m.If(self.outside & ~(self.commit & self.in_flash)):
            self._refuse()

    def _end_of_sample(self) -> None:
        """Begin with the next sample, in the second pass after a run."""
        m = self.m
        if self.max_samples == 1:
            self._refuse()
            return
        m.d.sync += self.address.eq(self.start_address)
        refused = self.trainer_frame | (self.sample == self.max_samples - 1) & ~self.commit
        with m.If(refused | self.has_tokens if self.tables else refused):
            self._refuse()
        with m.Elif(self.commit):
            m.d.sync += self.more_samples.eq(1)
            m.next = "START"
        with m.Else():
            m.d.sync += self.sample.eq(self.sample + 1)

    def _end_of_data(self) -> None:
        m = self.m
        if self.max_samples > 1:
            m.d.sync += self.more_samples.eq(0)
        incomplete = (self.lane != 0) | self.literal | self.load & ~self.commit & ~self.checker.closed
        with m.If(incomplete if self.divides_word is None else incomplete | self.divides_word):
            self._refuse()
        with m.Elif(~self.commit):
            self._again()
            if self.tables:
                m.d.sync += self.row_op.eq(RowOp.GATHER)
            with m.If(~self.load):
                m.next = "HEADER"
            if self.max_samples > 1:
                m.d.sync += self.sample.eq(0)
                with m.If(self.runs & ~self.ran):
                    m.d.sync += self.last_sample.eq(0)
        with m.Else():
            m.next = "DONE"
            with m.If(self.load):
                m.d.sync += self.loaded.eq(1)
            with m.If(self.runs):
                m.next = "START"
            if self.max_samples > 1:
                with m.If(self.trainer_frame):
                    m.d.sync += self.last_sample.eq(0)
            if self.trainer is not None:
                with m.If(self.in_flash):
                    m.next = "FINISH PAGE"

    def run(self) -> None:
        m = self.m
        with m.State("START"), m.If(self.engine.row_ready) if self.tables else nullcontext():
            m.d.comb += self.engine.start.eq(1)
            m.next = "RUN"
        with m.State("RUN"):
            with m.If(~self.engine.busy):
                if self.max_samples > 1:
                    m.d.comb += self.store.en.eq(1)
                    with m.If(self.more_samples):
                        m.d.sync += self.last_sample.eq(self.last_sample + 1)
                        m.next = "DATA"
                    with m.Else():
                        self._finish_run()
                else:
                    self._finish_run()

    def _finish_run(self) -> None:
        self._again()
        self.m.d.sync += self.ran.eq(1)
        self.m.next = "HEADER"
        if self.tables:
            with self.m.If(self.has_tokens & self.argument[0] & (self.row_op == RowOp.GATHER)):
                self.m.d.sync += [self.ran.eq(0), self.row_op.eq(RowOp.SUBTRACT)]

    def flash(self) -> None:
        """Flash operations at the end of a command."""
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
        with m.State("ECHO"):  # the header of the recorded frame
            reply = self.framer.reply
            there = self.framer.data_valid
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
                self.repeatable.eq(self.runs & ~self.trainer_frame),
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
                        (self.prediction, engine.cycles, engine.spikes, engine.accesses)
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
            # `result` words are sent; 0: the word is an element of a memory
            fetched = self.result == 0
            short = self.load | self.runs & (self.result == 1)  # an index, a prediction: 16 bits
            last = Mux(fetched, self.last_read, Mux(short, 1, 3))
            if self.trainer is not None and self.trainer.lessons:  # a value is written as one byte
                last = Mux(self.record & (self.region == Region.VALUE), 0, last)
            m.d.comb += [reply.valid.eq(1), reply.p.data.eq(self.word.word_select(self.lane, 8))]
            with m.If(reply.ready):
                m.d.sync += self.lane.eq(self.lane + 1)
                with m.If(self.lane == last):
                    m.d.sync += self.lane.eq(0)
                    m.next = "RESULT"
                    with m.If(fetched | self.runs & (self.result == RESULT_WORDS)):
                        m.next = "FETCH"
                    with m.If(self.load | self.identify & (self.result == len(self.identity.words))):
                        m.next = "FINISH"
                if self.max_samples > 1:
                    with m.If(self.runs & (self.result == 1)):
                        self._next_prediction()
        with m.State("FINISH"):
            m.d.comb += [reply.valid.eq(1), reply.p.end.eq(1)]
            with m.If(reply.ready):
                m.next = "WAIT"

    def _next_prediction(self) -> None:
        """Read the next prediction at the first byte of this one, and return to it after the last byte."""
        m = self.m
        with m.If(self.lane == 0):
            m.d.sync += [
                self.sample.eq(self.sample + 1),
                self.more_samples.eq(self.sample != self.last_sample),
            ]
        with m.Elif(self.more_samples):
            m.d.sync += self.result.eq(0)


def _byte(target: Signal, k: int, byte: Value, *, top: bool) -> list[Assign]:
    """Assign ``byte`` to byte ``k`` of a register.  ``top``: its top bit is the OR of all higher bits."""
    width = len(target) - top
    inside = max(0, min(8, width - 8 * k))
    out = [target[8 * k : 8 * k + inside].eq(byte)] if inside else []
    if top:
        invalid = byte[inside:].any() if inside < 8 else 0
        out.append(target[-1].eq(invalid if k == 0 else target[-1] | invalid))
    return out
