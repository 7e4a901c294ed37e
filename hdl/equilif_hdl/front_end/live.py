"""Live controller: samples of a front end run on the engine; bit-exact with equilif_golden.front_end.live.

    words    --> queue --> Tokens --+               host --+
    readings --> sample RAM --------+--> EngineAccess -----+--> engine --> prediction --> answer: text, table

The controller waits until the host link has no command in execution, and keeps its next one waiting.  The
table of the network is in the last values of the engine.  With ``lessons`` it waits for the standalone
trainer, too, which learns stored samples after each word that was learned.  Then the word is learned again,
``rounds`` times in all, and the trainer saves the weights.

    IDLE -> CLAIM -> MAGIC -> CLASSES -> LABEL -> BEGIN -> CHECK -> [ states of the source ] -> WRITTEN
         -> TARGET -> START -> RUN -> CLEAR -> NUMBER -> KIND -> TEXT -> DIVIDE -> LETTER -> TENS -> ONES
         -> END -> FINISHED -> [ LESSON ]
    WordSource     PRESENCE -> PRESENT -> TILE -> TOKENS <-> SCALING <-> SCALED
    ReadingSource  INPUTS -> CENTER -> SCALE -> SUBTRACT -> MULTIPLY -> PUT -> CENTER
    LESSON -> CLAIM .. KIND -> LESSON                                                         further rounds

Latency to ``start``: from the end of a word of 32 tokens about 16,000 cycles, from that of a sample of a
sensor about 15 cycles a value.  Throughput: a sample; one that ends meanwhile waits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from amaranth import Array, Cat, Const, Module, Mux, Signal, signed
from amaranth.hdl import Value
from amaranth.lib import cdc, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from equilif_golden.blocks.relay import FRACTION
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.port import Region, region_size
from equilif_golden.fixed import check_int
from equilif_golden.front_end import live as golden
from equilif_golden.front_end.segmentation import RING, Verdict
from equilif_golden.front_end.sensor import MAX_CHANNELS, SCALE_FRACTION
from equilif_golden.front_end.tokens import TOKENS
from equilif_golden.network import ONE
from equilif_hdl.engine.isa import lane_bits
from equilif_hdl.engine.port import VALUE_REGION, WEIGHT_REGION, EnginePort, address_bits
from equilif_hdl.fixed import ram
from equilif_hdl.front_end.queue import WordQueue
from equilif_hdl.front_end.segmentation import FRAME_BYTES
from equilif_hdl.front_end.tokens import WIDTH, Tokens
from equilif_hdl.link.standalone import LessonPort
from equilif_hdl.link.uart import UartTransmitter
from equilif_hdl.typed import Assign, Stream

BAUD = 115_200  #: of the answers
LABEL_BITS = 4  #: of the pins
RECENT = 3  #: bytes of the table that are kept
LEARNED, REJECTED = golden.LETTERS.index("L"), golden.LETTERS.index("X")


class EngineAccess:
    """Access to the memories of the engine, and its start.

    place : element of the table that is fetched next, see :meth:`seek`.
    fetch : held until ``fetched``, when ``recent`` has the last bytes, the newest one on top.
    write, weights, address, data : strobe; a weight, or a value; element; data.
    """

    def __init__(self, config: EngineConfig, *, weights: bool):
        self.config = config
        self.table = golden.table_first(config)
        values = region_size(config, Region.VALUE)
        self.place = Signal(range(values))
        self.fetch = Signal()
        self.fetched = Signal()
        self.recent = Signal(8 * RECENT)
        self.write = Signal()
        self.weights = Signal()
        self.address = Signal(address_bits(config) if weights else range(values))
        self.data = Signal(16)
        self.start = Signal()

    def seek(self, offset: int) -> Assign:
        """Statement of the domain ``sync``: the next byte to be fetched."""
        return self.place.eq(self.table + offset)

    def put(self, address: int | Value, value: int | Value) -> list[Assign]:
        """Statements that write a value."""
        return [self.write.eq(1), self.address.eq(address), self.data.eq(value)]

    @contextmanager
    def byte(self, m: Module, state: str) -> Iterator[Value]:
        """State that fetches a byte; the body is executed when it arrives."""
        with m.State(state):
            m.d.comb += self.fetch.eq(1)
            with m.If(self.fetched):
                yield self.recent[-8:]

    @contextmanager
    def word(self, m: Module, state: str) -> Iterator[Value]:
        """Send two bytes (:meth:`byte`), low byte first."""
        with self.byte(m, state):
            m.next = f"{state} HIGH"
        with self.byte(m, f"{state} HIGH"):
            yield self.recent[-16:]

    def connect(self, m: Module, live: Live, learn: Signal) -> None:
        """Switch between the host and the controller, a cycle after ``held``: nobody uses the engine in the
        first and the last one.
        """
        byte = self.data[:8]
        waits = Signal()  # for a byte
        # registered, as is what is read: the engine's own paths begin and end at this port
        registered: dict[str, tuple[Value, int]] = {
            "mem_region": (Mux(self.weights, WEIGHT_REGION, VALUE_REGION), VALUE_REGION),
            "mem_addr": (Mux(self.fetch, self.place, self.address), 0),
            "mem_wdata": (Mux(self.weights, self.data, Cat(byte, byte)), 0),
            "mem_write": (self.write, 0),
            "mem_read": (self.fetch & ~waits, 0),
            "start": (self.start, 0),
        }
        ours: dict[str, Value] = {"mem_repeat": Const(0), "learn": learn, "accumulate": Const(0)}
        selected = Signal()
        m.d.sync += selected.eq(live.held)
        for name, member in EnginePort(self.config).members.items():
            there = getattr(live.engine, name)
            here = getattr(live.host, name)
            if name in registered:
                value, init = registered[name]
                ours[name] = Signal.like(there, name=f"our_{name}", init=init)
                m.d.sync += ours[name].eq(value)
            if member.flow is Out:
                m.d.comb += there.eq(Mux(selected, ours[name], here))
            else:
                m.d.comb += here.eq(there)
        m.d.sync += self.fetched.eq(live.engine.mem_valid)
        with m.If(live.engine.mem_valid):
            m.d.sync += self.recent.eq(Cat(self.recent[8:], live.engine.mem_rdata[:8]))
        with m.If(self.fetched):
            m.d.sync += [waits.eq(0), self.place.eq(self.place + 1)]
        with m.Elif(self.fetch):
            m.d.sync += waits.eq(1)


class SampleSource:
    """Samples of a front end, and the labels of the pins.

    valid, verdict, stale : a sample is complete; whether it is one; it waited too long.
    lost : samples after the last one were lost.
    pressed, label, is_new : the pins have a label for the next sample; it is the first one of a new class.
    noted, used, dropped, finished : strobes: the loss was answered; a label was used; the sample is not
        written, since it is rejected; it is no longer needed.

    ``ports``: of the controller, from the front end.  ``state``: the first one of those that write a sample.
    ``weights``: they write weights, too.
    """

    state: str
    weights = False
    ports: dict[str, Any]

    def __init__(self, config: EngineConfig):
        self.config = config
        self.valid = Signal()
        self.verdict = Signal(range(len(Verdict)))
        self.stale = Signal()
        self.lost = Signal()
        self.pressed = Signal()
        self.label = Signal(LABEL_BITS)
        self.is_new = Signal()
        self.noted = Signal()
        self.used = Signal()
        self.dropped = Signal()
        self.finished = Signal()

    def connect(self, m: Module, front: Any) -> None:
        raise NotImplementedError

    def write(self, m: Module, access: EngineAccess) -> None:
        """States up to WRITTEN."""
        raise NotImplementedError


class WordSource(SampleSource):
    """Words of a microphone: presence, then tokens, whose scaling is fetched band by band.

    frame, word, first, last, peak, verdict, read, index, granted, data
        Of equilif_hdl.front_end.segmentation.Segmentation.
    learn, new_class, label
        Learn button: the next word is learned with this label; it is the first one of a new class.
    """

    state = "PRESENCE"
    weights = True
    ports = {
        "frame": In(1),
        "word": In(1),
        "first": In(range(RING)),
        "last": In(range(RING)),
        "peak": In(8),
        "verdict": In(range(len(Verdict))),
        "read": Out(1),
        "index": Out(range(RING * FRAME_BYTES)),
        "granted": In(1),
        "data": In(8),
        "learn": In(1),
        "new_class": In(1),
        "label": In(LABEL_BITS),
    }

    def connect(self, m: Module, front: Any) -> None:
        m.submodules.queue = queue = WordQueue()
        m.submodules.tokens = self.tokens = tokens = Tokens()
        for name in ("frame", "word", "first", "last", "peak", "verdict"):
            m.d.comb += getattr(queue, name).eq(getattr(front, name))
        frames = Signal(range(RING))
        noted = Signal()
        m.d.sync += frames.eq(queue.o_last - queue.o_first + 1)
        m.d.comb += [
            self.valid.eq(queue.valid),
            self.verdict.eq(queue.o_verdict),
            self.stale.eq(queue.stale),
            self.lost.eq(queue.followed & ~noted),
            queue.done.eq(self.finished),
            tokens.first.eq(queue.o_first),
            tokens.frames.eq(frames),
            tokens.peak.eq(queue.o_peak),
            front.read.eq(tokens.read),
            front.index.eq(tokens.index),
            tokens.granted.eq(front.granted),
            tokens.data.eq(front.data),
        ]
        with m.If(self.noted | self.finished):
            m.d.sync += noted.eq(self.noted)
        press = front.learn | front.new_class
        pressed_late = Signal()
        m.d.sync += pressed_late.eq(press)
        with m.If(press):
            m.d.sync += [self.pressed.eq(1), self.is_new.eq(front.new_class)]
        with m.If(front.learn):
            m.d.sync += self.label.eq(front.label)
        with m.If(self.used):  # a press from now on, or just before, is for the next word
            m.d.sync += self.pressed.eq(press | pressed_late)

    def write(self, m: Module, access: EngineAccess) -> None:
        tokens = self.tokens
        p = lane_bits(self.config)
        count = Signal(range(TOKENS))
        byte = Signal(range(golden.SCALING_BYTES))
        tile = Signal(16)
        weight = Signal.like(access.address)
        element = Signal.like(access.data)
        element_valid = Signal()
        row, column = tokens.row, tokens.column
        tiles = tile + (row >> p) * (-(-WIDTH >> p)) + (column >> p)
        m.d.sync += [
            weight.eq(Cat((row ^ column)[:p], row[:p], tiles)),
            element.eq(tokens.value << (self.config.numerics.fraction - FRACTION)),
            element_valid.eq(tokens.valid),
        ]
        m.d.comb += [tokens.center.eq(access.recent[:12]), tokens.scale.eq(access.recent[12:])]
        with access.word(m, "PRESENCE"):
            m.next = "PRESENT"
        with m.State("PRESENT"):
            m.d.comb += access.put(access.recent[-16:] + count, Mux(count < tokens.count, ONE, 0))
            m.d.sync += [count.eq(count + 1), access.seek(golden.TILE)]
            with m.If(count == TOKENS - 1):
                m.next = "TILE"
        with access.word(m, "TILE") as first:
            m.d.comb += tokens.start.eq(1)
            m.d.sync += [tile.eq(first), access.seek(golden.SCALING)]
            m.next = "TOKENS"
        with m.State("TOKENS"):
            m.d.comb += [*access.put(weight, element), access.weights.eq(1), access.write.eq(element_valid)]
            with m.If(tokens.request):
                m.next = "SCALING"
            with m.If(tokens.done):
                m.next = "WRITTEN"
        with access.byte(m, "SCALING"):
            m.d.sync += byte.eq(byte + 1)
            with m.If(byte == golden.SCALING_BYTES - 1):
                m.d.sync += byte.eq(0)
                m.next = "SCALED"
        with m.State("SCALED"):
            m.d.comb += tokens.scaled.eq(1)
            m.next = "TOKENS"


class ReadingSource(SampleSource):
    """Samples of a sensor: one is in a memory until it is in the engine; one that begins before is lost.

    i_valid, index, value, done
        Of equilif_hdl.front_end.channels.Channels.
    stuck
        With ``done``: all readings of the sample were stuck.
    learn, label
        Pins: a sample that ends meanwhile is learned with this label.

    ``channels``: of the front end; ``size``: values of a sample.
    """

    state = "INPUTS"

    def __init__(self, config: EngineConfig, channels: int, size: int):
        super().__init__(config)
        self.channels = check_int(channels, "channels", 1, MAX_CHANNELS)
        self.size = size
        self.ports = {
            "i_valid": In(1),
            "index": In(range(size)),
            "value": In(8),
            "done": In(1),
            "stuck": In(1),
            "learn": In(1),
            "label": In(LABEL_BITS),
        }

    def connect(self, m: Module, front: Any) -> None:
        memory = m.submodules.sample = ram(8, self.size, "block")
        store = memory.write_port()
        self.fetch = memory.read_port()
        full = self.valid
        self.written = Signal()
        broken = Signal()  # values of the current sample came while the memory was full
        lost = Signal()
        stuck = Signal()
        m.d.comb += [
            store.addr.eq(front.index),
            store.data.eq(front.value),
            store.en.eq(front.i_valid & ~full),
            self.verdict.eq(Mux(stuck, Verdict.STUCK, Verdict.SAMPLE)),
            self.lost.eq(lost & ~full),
            self.pressed.eq(front.learn),
            self.label.eq(front.label),
        ]
        with m.If(front.i_valid & (full | (front.index == 0))):
            m.d.sync += broken.eq(full)
        with m.If(self.noted):
            m.d.sync += lost.eq(0)
        with m.If(front.done & broken):
            m.d.sync += lost.eq(1)
        with m.If(front.done & ~broken):
            m.d.sync += [full.eq(1), stuck.eq(front.stuck)]
        with m.If(self.written | self.dropped):
            m.d.sync += full.eq(0)

    def write(self, m: Module, access: EngineAccess) -> None:
        first = Signal.like(access.address)
        count = Signal(range(self.size))
        code = Signal(range(2 * self.channels))
        center, scale = access.recent[-16:-8], access.recent[-8:]
        distance = Signal(signed(9))
        product = Signal(signed(17))
        scaled = product >> SCALE_FRACTION
        m.d.comb += [self.fetch.addr.eq(count), self.fetch.en.eq(1)]
        with access.word(m, "INPUTS") as address:
            m.d.sync += [first.eq(address), count.eq(0), code.eq(0), access.seek(golden.SCALING)]
            m.next = "CENTER"
        with access.byte(m, "CENTER"):
            m.next = "SCALE"
        with access.byte(m, "SCALE"):
            m.d.sync += code.eq(code + 1)
            with m.If(code == 2 * self.channels - 1):
                m.d.sync += [code.eq(0), access.seek(golden.SCALING)]
            m.next = "SUBTRACT"
        with m.State("SUBTRACT"):
            m.d.sync += distance.eq(self.fetch.data - center)
            m.next = "MULTIPLY"
        with m.State("MULTIPLY"):
            m.d.sync += product.eq(distance * scale)
            m.next = "PUT"
        with m.State("PUT"):
            value = Mux(scaled < 0, 0, Mux(scaled[8:].any(), 255, scaled[:8]))
            m.d.comb += access.put(first + count, value)
            m.d.sync += count.eq(count + 1)
            m.next = "CENTER"
            with m.If(count == self.size - 1):
                m.d.comb += self.written.eq(1)
                m.next = "WRITTEN"


class Sample:
    """Registers of the sample at work.

    used : its label was taken, ``by_pins`` or from the table.
    kind, number, serial : of the answer.
    teaching, again, rounds, taught : of a lesson: it is not finished; a further round; those begun; label.
    """

    def __init__(self) -> None:
        self.classes = Signal(8)
        self.label = Signal(8)
        self.learns = Signal()
        self.by_pins = Signal()
        self.is_new = Signal()
        self.used = Signal()
        self.kind = Signal(golden.KIND_BITS)
        self.number = Signal(8)
        self.serial = Signal(8 - golden.KIND_BITS)
        self.teaching = Signal()
        self.again = Signal()
        self.rounds = Signal(8)
        self.taught = Signal(8)

    def reject(self, why: int | Value) -> list[Assign]:
        """Statements: the answer is a rejection."""
        return [self.kind.eq(REJECTED), self.number.eq(why)]


class Live(wiring.Component):
    """Members
    -------
    host, engine : In(EnginePort), Out(EnginePort)
    hold, held, loaded
        Of equilif_hdl.link.host.Host.
    front : In
        Ports of the source.
    text : Out(stream of 8)
        Answers.
    prediction : Out(8)
        Class of the last sample that was classified.
    lesson : Out(equilif_hdl.link.standalone.LessonPort)
        With ``lessons``.

    ``source``: WordSource or ReadingSource.
    """

    host: EnginePort.Members
    engine: EnginePort.Members
    hold: Signal
    held: Signal
    loaded: Signal
    front: Any
    text: Stream[Signal]
    prediction: Signal
    lesson: LessonPort.Members

    def __init__(self, config: EngineConfig, source: SampleSource, *, lessons: bool = False):
        if golden.table_first(config) < 0:
            raise ValueError(
                f"the engine has {config.value_groups * config.lanes} values, the controller needs "
                f"{golden.TABLE_BYTES} for its table"
            )
        self.config = config
        self.source = source
        self.lessons = lessons
        super().__init__(
            {
                "host": In(EnginePort(config)),
                "engine": Out(EnginePort(config)),
                "hold": Out(1),
                "held": In(1),
                "loaded": In(1),
                "front": Out(wiring.Signature(source.ports)),
                "text": Out(stream.Signature(8)),
                "prediction": Out(8),
                **({"lesson": Out(LessonPort())} if lessons else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        access = EngineAccess(self.config, weights=self.source.weights)
        sample = Sample()
        access.connect(m, self, sample.learns)
        self.source.connect(m, self.front)
        if self.lessons:
            m.d.comb += [self.lesson.hold.eq(self.hold), self.lesson.label.eq(sample.label)]
        with m.FSM():
            self._claim(m, access, sample)
            self._check(m, access, sample)
            self.source.write(m, access)
            self._run(m, access, sample)
            self._record(m, access, sample)
            self._send(m, sample)
            self._finish(m, sample)
        return m

    def _claim(self, m: Module, access: EngineAccess, sample: Sample) -> None:
        """States IDLE to LABEL: a sample, the engine, and what the table says."""
        source = self.source
        idle: Value = self.lesson.idle if self.lessons else Const(1)
        with m.State("IDLE"):
            m.d.sync += [sample.used.eq(0), sample.again.eq(0), sample.rounds.eq(1)]
            with m.If(source.valid & idle):
                m.d.sync += [
                    self.hold.eq(1),
                    sample.serial.eq(Mux(sample.serial.all(), 1, sample.serial + 1)),
                ]
                m.next = "CLAIM"
            with m.Elif(source.lost & ~source.valid):
                m.next = "FINISHED"
        with m.State("CLAIM"), m.If(self.held):
            m.d.sync += access.seek(0)
            m.next = "MAGIC"
            with m.If(~self.loaded):
                m.next = "NO TABLE"
            if self.lessons:  # a host has written meanwhile, or the frames are overwritten
                with m.If(sample.again & (~self.lesson.valid | source.stale)):
                    m.d.sync += self.hold.eq(0)
                    m.next = "LESSON"
        with m.State("NO TABLE"):
            m.d.comb += source.dropped.eq(1)
            m.d.sync += sample.reject(
                Mux(source.verdict != Verdict.SAMPLE, source.verdict, golden.NO_NETWORK)
            )
            m.next = "TEXT"
        with access.byte(m, "MAGIC") as magic:
            m.next = "CLASSES"
            with m.If(magic != golden.MAGIC):
                m.next = "NO TABLE"
        assert golden.CLASSES == 1
        with access.byte(m, "CLASSES") as classes:
            m.d.sync += [sample.classes.eq(classes), access.seek(golden.LABEL)]
            m.next = "LABEL"
        with access.byte(m, "LABEL") as label:
            m.d.sync += sample.label.eq(label)
            m.next = "BEGIN"

    def _check(self, m: Module, access: EngineAccess, sample: Sample) -> None:
        """States BEGIN and CHECK: the label, and whether the sample runs."""
        source = self.source
        no_class: Value = sample.label >= sample.classes
        if self.lessons:
            lesson = self.lesson
            # outputs from ``classes`` of the trainer on are unused
            unused = (sample.label >= lesson.classes) & ~sample.is_new
            no_class |= Mux(lesson.valid, unused, sample.is_new)
        with m.State("BEGIN"):
            m.d.sync += [
                sample.learns.eq(source.pressed | (sample.label != golden.NO_LABEL)),
                sample.by_pins.eq(source.pressed),
                sample.is_new.eq(source.pressed & source.is_new),
            ]
            with m.If(source.pressed):
                m.d.sync += sample.label.eq(source.label)
                if self.lessons:
                    with m.If(source.is_new):
                        m.d.sync += sample.label.eq(self.lesson.classes)
            m.next = "CHECK"
            with m.If(sample.again):
                m.d.sync += [sample.learns.eq(1), sample.label.eq(sample.taught)]
            with m.Elif(source.verdict != Verdict.SAMPLE):
                m.d.sync += sample.reject(source.verdict)
                m.next = "CLEAR"
            with m.Elif(source.stale):
                m.d.sync += sample.reject(golden.LOST)
                m.next = "CLEAR"
        with m.State("CHECK"):
            uses = sample.learns & ~sample.again
            m.d.sync += [sample.used.eq(uses), access.seek(golden.ADDRESS)]
            m.d.comb += source.used.eq(uses)
            m.next = source.state
            with m.If(sample.learns & no_class):
                m.d.sync += sample.reject(golden.NO_CLASS)
                m.next = "CLEAR"

    def _run(self, m: Module, access: EngineAccess, sample: Sample) -> None:
        """States WRITTEN to RUN: the target, and a run of the engine."""
        count = Signal(8)
        with m.State("WRITTEN"):
            m.d.sync += [count.eq(0), access.seek(golden.TARGET)]
            m.next = "START"
            with m.If(sample.learns):
                m.next = "TARGET ADDRESS"
        with access.word(m, "TARGET ADDRESS"):
            m.next = "TARGET"
        with m.State("TARGET"):  # whole groups
            m.d.comb += access.put(access.recent[-16:] + count, Mux(count == sample.label, ONE, 0))
            m.d.sync += count.eq(count + 1)
            with m.If(count[: lane_bits(self.config)].all() & (count >= sample.classes - 1)):
                m.next = "START"
        with m.State("START"):
            m.d.comb += access.start.eq(1)
            m.next = "STARTED"
        with m.State("STARTED"):
            m.next = "RUN"
        with m.State("RUN"):
            m.d.sync += [
                sample.kind.eq(sample.learns),
                sample.number.eq(Mux(sample.learns, sample.label, self.engine.prediction)),
            ]
            with m.If(~self.engine.busy):
                m.next = "CLEAR"
                with m.If(~sample.learns):
                    m.d.sync += self.prediction.eq(self.engine.prediction)

    def _record(self, m: Module, access: EngineAccess, sample: Sample) -> None:
        """States CLEAR to KIND: the label is used once; the answer is in the table."""
        with m.State("CLEAR"):
            m.d.comb += [
                *access.put(access.table + golden.LABEL, golden.NO_LABEL),
                access.write.eq(sample.used & ~sample.by_pins),
                self.source.dropped.eq(sample.kind == REJECTED),
            ]
            m.next = "NUMBER"
        with m.State("NUMBER"):
            m.d.comb += access.put(access.table + golden.NUMBER, sample.number)
            m.next = "KIND"
        with m.State("KIND"):
            m.d.comb += access.put(access.table + golden.KIND, Cat(sample.kind, sample.serial))
            m.next = "TEXT"
            if self.lessons:
                learned = sample.kind == LEARNED
                m.d.comb += self.lesson.learned.eq(learned)
                m.d.sync += [sample.teaching.eq(learned), sample.taught.eq(sample.number)]
                with m.If(sample.again):
                    m.d.sync += self.hold.eq(0)
                    m.next = "LESSON"

    def _send(self, m: Module, sample: Sample) -> None:
        """States TEXT to END: release the engine; send the answer: letter, two digits, new line."""
        text, number = self.text, sample.number
        tens = Signal(4)
        with m.State("TEXT"):
            m.d.sync += [tens.eq(0), self.hold.eq(0)]
            m.next = "DIVIDE"
        with m.State("DIVIDE"):
            with m.If(number >= 10):
                m.d.sync += [number.eq(number - 10), tens.eq(tens + 1)]
            with m.Else():
                m.next = "LETTER"
        letter = Array(Const(ord(c), 8) for c in golden.LETTERS)[sample.kind]
        for state, payload, following in (
            ("LETTER", letter, "TENS"),
            ("TENS", ord("0") + tens, "ONES"),
            ("ONES", ord("0") + number, "END"),
            ("END", Const(ord("\n"), 8), "FINISHED"),
        ):
            with m.State(state):
                m.d.comb += [text.payload.eq(payload), text.valid.eq(1)]
                with m.If(text.ready):
                    m.next = following

    def _finish(self, m: Module, sample: Sample) -> None:
        """States FINISHED and LESSON: losses have an answer before samples that come later."""
        source = self.source
        with m.State("FINISHED"):
            with m.If(source.lost):
                m.d.comb += source.noted.eq(1)
                m.d.sync += sample.reject(golden.LOST)
                m.next = "TEXT"
            with m.Else():
                m.d.comb += source.finished.eq(1)
                m.next = "IDLE"
            if self.lessons:
                with m.If(sample.teaching):
                    m.d.comb += [source.noted.eq(0), source.finished.eq(0)]
                    m.next = "LESSON"
        if self.lessons:
            lesson = self.lesson
            with m.State("LESSON"), m.If(lesson.idle):
                with m.If((sample.rounds < lesson.rounds) & ~lesson.fault):
                    m.d.sync += [sample.again.eq(1), sample.rounds.eq(sample.rounds + 1), self.hold.eq(1)]
                    m.next = "CLAIM"
                with m.Else():
                    m.d.comb += lesson.finish.eq(1)
                    m.d.sync += sample.teaching.eq(0)
                    m.next = "FINISHED"


def join(m: Module, listener: Any, source: SampleSource, divisor: int, *, lessons: bool = False) -> Any:
    """Controller of a listener, with ports of the same names, and the UART of its answers; returns the ports
    of the source.
    """
    m.submodules.live = live = Live(listener.config, source, lessons=lessons)
    m.submodules.transmitter = transmitter = UartTransmitter(divisor)
    pins = listener.pins
    m.submodules.label = cdc.FFSynchronizer(pins.label, live.front.label[: len(pins.label)])
    connect(m, live.text, transmitter.i)
    connect(m, flipped(listener.host), live.host)
    connect(m, live.engine, flipped(listener.engine))
    if lessons:
        connect(m, live.lesson, flipped(listener.lesson))
    m.d.comb += [
        pins.text.eq(transmitter.tx),
        pins.prediction.eq(live.prediction),
        listener.hold.eq(live.hold),
        live.held.eq(listener.held),
        live.loaded.eq(listener.loaded),
    ]
    return live.front
