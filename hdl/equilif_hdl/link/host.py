"""Host link: frames in, engine accesses, replies out.

Answers as equilif_golden.link.device.Device, byte for byte.

    i: bytes --> SLIP --> Framer --> command --> [ header, element by element ] --> engine: write, read, start
    o: bytes <-- SLIP <--   |  <---- reply <---- [ word: an element, a result  ] <--

A command is walked twice, the first time dry: every address is compared, the program is judged, and
nothing is written.  Only when that went through is it walked for real, so no command is ever half done.
A byte takes two cycles each time; a UART takes hundreds.
"""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal
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
from equilif_hdl.engine.port import (
    EnginePort,
    address_bits,
)
from equilif_hdl.link.frame import STATUS_BITS, Framer
from equilif_hdl.link.slip import SlipDecoder, SlipEncoder
from equilif_hdl.link.transport import RECEIVED

assert (LEARN, PACKED) == (1, 2)  # bits 0 and 1 of the flags, and the only ones
RESULT_WORDS = 4


class Host(wiring.Component):
    """Members
    -------
    i : In(stream of equilif_hdl.link.transport.RECEIVED)
        Always ready.
    o : Out(stream of 8)
    engine : Out(EnginePort)
    """

    def __init__(self, config: EngineConfig, *, build_id: int = 0, frame_bytes: int = FRAME_BYTES):
        self.config, self.frame_bytes = config, frame_bytes
        self.identity = Identity(config, build_id, frame_bytes - OVERHEAD)
        super().__init__(
            {
                "i": In(stream.Signature(RECEIVED)),
                "o": Out(stream.Signature(8)),
                "engine": Out(EnginePort(config)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        engine, width = self.engine, address_bits(self.config)
        m.submodules.decoder = decoder = SlipDecoder()
        m.submodules.encoder = encoder = SlipEncoder()
        m.submodules.framer = framer = Framer(frame_bytes=self.frame_bytes)
        m.submodules.checker = checker = Checker(self.config)
        connect(m, flipped(self.i), decoder.i)
        connect(m, decoder.o, framer.i)
        connect(m, framer.o, encoder.i)
        connect(m, encoder.o, flipped(self.o))
        reply = framer.reply

        real = Signal()  #: second walk
        at, fresh = Signal(len(framer.addr)), Signal()  # buffer address; its byte is there
        argument, count = Signal(8), Signal(16)
        address, ran = Signal(width + 1), Signal()  # top bit: far outside; the run is over
        word, lane, result = Signal(32), Signal(2), Signal(range(8))
        status = Signal(STATUS_BITS)
        loaded = Signal()
        # the last command carried out was a RUN, and which one
        repeatable, last_sequence = Signal(), Signal(8)

        kind = Signal(len(Command))  # the command, decoded
        identify, load, write, read, run = kind
        region, packed = Signal(2), Signal()
        m.d.comb += [
            region.eq(Mux(load, Region.PROGRAM, Mux(run, Region.VALUE, argument[:2]))),
            packed.eq(run & argument[1]),
            framer.addr.eq(at),
            checker.word.eq(word),
            engine.mem_region.eq(region),
            engine.mem_addr.eq(address),
            engine.mem_wdata.eq(word),
            engine.learn.eq(argument[0]),
        ]

        def by_region(values):
            """A constant of each region."""
            chosen = Signal(max(values.values()).bit_length())
            with m.Switch(region):
                for r, value in values.items():
                    with m.Case(int(r)):
                        m.d.comb += chosen.eq(value)
            return chosen

        last_lane = by_region({r: n - 1 for r, n in WRITE_BYTES.items()})
        last_read_lane = by_region({r: n - 1 for r, n in READ_BYTES.items()})
        outside = Signal()
        with m.Switch(region):
            for r in Region:
                with m.Case(int(r)):
                    m.d.comb += outside.eq(address >= region_size(self.config, r))

        # A state that can refuse sets the status whether it does or not, which keeps the conditions out
        # of the register's enable;
        # what is not refused passes through DONE.
        def refuse():
            m.next = "STATUS"

        def again():
            """From the start of the payload, for real."""
            m.d.sync += [real.eq(1), at.eq(2), fresh.eq(0)]

        m.d.sync += fresh.eq(1)
        with m.FSM():
            with m.State("WAIT"):
                m.d.sync += [real.eq(0), at.eq(2), fresh.eq(0), lane.eq(0), result.eq(0), address.eq(0)]
                # a repeated RUN counts as over, so that only its reply is made again
                m.d.sync += ran.eq(repeatable & (framer.sequence == last_sequence))
                m.d.sync += [kind.eq(Cat(framer.command == c for c in Command)), status.eq(framer.status)]
                m.d.comb += checker.clear.eq(1)
                with m.If(framer.full):
                    m.next = "DECODE"
            with m.State("DECODE"):
                n = framer.end  # payload bytes, plus 2
                fits = (
                    identify & (n == 2)
                    | load & framer.whole & (n != 2)
                    | write & (n > HEADER_BYTES[Command.WRITE] + 2)
                    | read & (n == HEADER_BYTES[Command.READ] + 2)
                    | run & (n >= HEADER_BYTES[Command.RUN] + 2)
                )
                m.d.sync += fresh.eq(0)
                with m.If(status != Status.OK):
                    refuse()
                with m.Else():
                    m.d.sync += status.eq(
                        Mux(
                            kind == 0,
                            Status.UNKNOWN_COMMAND,
                            Mux(~fits, Status.BAD_LENGTH, Mux(engine.busy, Status.BUSY, Status.NO_PROGRAM)),
                        )
                    )
                    with m.If(~fits):  # an unknown command never fits
                        refuse()
                    with m.Elif(identify):
                        m.next = "DONE"
                    with m.Elif(engine.busy | run & ~loaded):
                        refuse()
                    with m.Elif(load):
                        m.next = "DATA"
                    with m.Else():
                        m.next = "HEADER"

            with m.State("HEADER"):  # RUN comes here again for its second address
                with m.If(fresh):
                    m.d.sync += [at.eq(at + 1), fresh.eq(0)]
                    place, targets = (
                        2,
                        {"argument": argument, "address": address, "count": count, "values_address": address},
                    )
                    with m.Switch(at[:4]):  # a header is short
                        for name, n_bytes in HEADER:
                            for k in range(n_bytes):
                                with m.Case(place + k):
                                    m.d.sync += _byte(
                                        targets[name], k, framer.data, top=name.endswith("address")
                                    )
                            place += n_bytes
                        assert place == HEADER_BYTES[Command.RUN] + 2
                    with m.If(
                        (at[:4] == HEADER_BYTES[Command.READ] + 1)
                        | write & (at[:4] == HEADER_BYTES[Command.WRITE] + 1)
                    ):
                        m.next = "ARGUMENT"
                    with m.If(at[:4] == HEADER_BYTES[Command.RUN] + 1):
                        m.next = "DATA"
            with m.State("ARGUMENT"):
                m.d.sync += status.eq(Mux(run, Status.BAD_FLAGS, Status.BAD_REGION))
                with m.If(write):
                    m.next = "DATA"
                with m.Elif(~real):
                    m.next = "SPAN"
                with m.Elif(run & ~ran):
                    m.next = "HEADER"
                with m.Else():
                    m.next = "DONE"
                with m.If((argument[2:] != 0) | (region == Region.PROGRAM)):
                    refuse()

            # -- what will be read -----------------------------------------------------------------
            with m.State("SPAN"):
                m.d.sync += status.eq(Status.BAD_ADDRESS)
                with m.If(count == 0):
                    m.next = "HEADER"
                    with m.If(read):
                        again()
                with m.Elif(outside):
                    refuse()
                with m.Else():
                    m.d.sync += [address.eq(address + 1), count.eq(count - 1)]

            # -- what comes from the buffer: values, weights, program ------------------------------
            with m.State("DATA"):
                m.d.sync += status.eq(Mux(load, Status.BAD_PROGRAM, Status.BAD_LENGTH))
                with m.If(at == framer.end):
                    with m.If((lane != 0) | load & ~real & ~checker.closed):
                        refuse()
                    with m.Elif(~real):
                        again()
                        with m.If(~load):
                            m.next = "HEADER"
                    with m.Else():
                        m.next = "DONE"
                        with m.If(load):
                            m.d.sync += loaded.eq(1)
                        with m.If(run):
                            m.next = "START"
                with m.Elif(fresh):
                    m.d.sync += [at.eq(at + 1), fresh.eq(0), lane.eq(lane + 1)]
                    for k in range(4):
                        with m.If(lane == Mux((region == Region.VALUE) & (k == 1), 0, k)):
                            m.d.sync += word.word_select(k, 8).eq(framer.data)
                    with m.If(packed & lane[0]):  # after a zero, how many more of them
                        m.d.sync += [lane.eq(lane), count.eq(framer.data)]
                        m.next = "ELEMENT"
                    with m.Elif((lane == last_lane) & ~(packed & (framer.data == 0))):
                        m.d.sync += lane.eq(0)
                        m.next = "ELEMENT"
            with m.State("ELEMENT"):
                m.d.sync += status.eq(Status.BAD_ADDRESS)
                m.next = "DATA"
                with m.If(load & ~real):
                    m.d.comb += checker.step.eq(1)
                    m.next = "JUDGE"
                with m.Elif(outside):
                    refuse()
                with m.Else():
                    m.d.comb += engine.mem_write.eq(real)
                    m.d.sync += [address.eq(address + 1), lane.eq(0)]
                    with m.If(lane[0] & (count != 0)):  # only zeros leave a lane behind
                        m.d.sync += [lane.eq(lane), count.eq(count - 1)]
                        m.next = "ELEMENT"
            with m.State("JUDGE"):
                m.d.sync += status.eq(Status.BAD_PROGRAM)
                with m.If(checker.fault):
                    refuse()
                with m.Elif(~checker.busy):
                    m.next = "DATA"

            with m.State("START"):
                m.d.comb += engine.start.eq(1)
                m.next = "RUN"
            with m.State("RUN"):
                with m.If(~engine.busy):
                    again()
                    m.d.sync += ran.eq(1)
                    m.next = "HEADER"

            # -- reply -----------------------------------------------------------------------------
            with m.State("DONE"):
                m.d.sync += [status.eq(Status.OK), repeatable.eq(run), last_sequence.eq(framer.sequence)]
                m.next = "STATUS"
            with m.State("STATUS"):
                m.d.comb += [reply.valid.eq(1), reply.p.data.eq(status)]
                with m.If(reply.ready):
                    m.next = "SEQUENCE"
            with m.State("SEQUENCE"):
                m.d.comb += [reply.valid.eq(1), reply.p.data.eq(framer.sequence)]
                with m.If(reply.ready):
                    m.next = "FINISH"
                    with m.If((status == Status.BAD_PROGRAM) | (status == Status.OK) & (identify | run)):
                        m.next = "RESULT"
                    with m.If((status == Status.OK) & read):
                        m.next = "FETCH"
            with m.State("RESULT"):
                m.d.sync += result.eq(result + 1)
                m.next = "SEND"
                with m.If(load):
                    m.d.sync += word.eq(checker.index)
                with m.Elif(identify):
                    identity = self.identity.pack()
                    with m.Switch(result):
                        for k in range(len(identity) // 4):
                            with m.Case(k):
                                m.d.sync += word.eq(int.from_bytes(identity[4 * k : 4 * k + 4], "little"))
                with m.Else():
                    with m.Switch(result):
                        for k, value in enumerate(
                            (engine.prediction, engine.cycles, engine.spikes, engine.accesses)
                        ):
                            with m.Case(k):
                                m.d.sync += word.eq(value)
            with m.State("FETCH"):
                m.next = "FINISH"
                with m.If(count != 0):
                    m.d.comb += engine.mem_read.eq(1)
                    m.next = "FETCHED"
            with m.State("FETCHED"):
                with m.If(engine.mem_valid):
                    m.d.sync += [
                        word.eq(engine.mem_rdata),
                        address.eq(address + 1),
                        count.eq(count - 1),
                        result.eq(0),
                    ]
                    m.next = "SEND"
            with m.State("SEND"):
                # `result` words were made ready; none means that this one is an element of a memory
                fetched = result == 0
                last = Mux(fetched, last_read_lane, Mux(load | run & (result == 1), 1, 3))
                m.d.comb += [reply.valid.eq(1), reply.p.data.eq(word.word_select(lane, 8))]
                with m.If(reply.ready):
                    m.d.sync += lane.eq(lane + 1)
                    with m.If(lane == last):
                        m.d.sync += lane.eq(0)
                        m.next = "RESULT"
                        with m.If(fetched | run & (result == RESULT_WORDS)):
                            m.next = "FETCH"
                        with m.If(load | identify & (result == Identity.LAYOUT.size // 4)):
                            m.next = "FINISH"
            with m.State("FINISH"):
                m.d.comb += [reply.valid.eq(1), reply.p.end.eq(1)]
                with m.If(reply.ready):
                    m.next = "WAIT"
        return m


def _byte(target, k, byte, *, top):
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
