"""Live controller: words of the front end are samples of the engine; bit-exact with
equilif_golden.front_end.live.

    host --------------------------------------+--> engine
    word --> queue --> Tokens --> elements --.  |
                       [ table ] --> address +--'     prediction --> answer --> text, table

The controller waits until the host link has no command in execution, and keeps its next one waiting.  The
table of the network is in the last values of the engine.  With ``lessons`` it waits for the standalone
trainer, too, which learns stored samples after each word that was learned.  Then the word is learned again,
``rounds`` times in all, and the trainer saves the weights.

    IDLE -> CLAIM -> HEADER <-> HEADER READ -> BEGIN -> TOKENS <-> SCALING -> PRESENT -> TARGET
         -> START -> RUN -> CLEAR -> NUMBER -> KIND -> TEXT -> DIVIDE -> TENS -> ONES -> END -> [ LESSON ]
    LESSON -> CLAIM .. KIND -> LESSON                                                         further rounds

Latency from ``word`` to ``start``: about 16,000 cycles for a word of 32 tokens.  Throughput: a word; one that
ends meanwhile waits in the queue.
"""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.blocks.relay import FRACTION
from equilif_golden.engine.config import EngineConfig
from equilif_golden.front_end.filter_bank import BANDS
from equilif_golden.front_end.live import (
    CLASSES,
    KIND,
    KIND_BITS,
    LABEL,
    LETTERS,
    LOST,
    MAGIC,
    NO_CLASS,
    NO_LABEL,
    NO_NETWORK,
    NUMBER,
    PRESENT,
    SCALING,
    SCALING_BYTES,
    TARGET,
    TILE,
    table_first,
)
from equilif_golden.front_end.segmentation import RING, Verdict
from equilif_golden.front_end.tokens import TOKENS
from equilif_golden.network import ONE
from equilif_hdl.engine.isa import lane_bits
from equilif_hdl.engine.port import VALUE_REGION, WEIGHT_REGION, EnginePort, address_bits
from equilif_hdl.front_end.queue import WordQueue
from equilif_hdl.front_end.segmentation import FRAME_BYTES
from equilif_hdl.front_end.tokens import WIDTH, Tokens
from equilif_hdl.link.standalone import LessonPort
from equilif_hdl.typed import Stream

LABEL_BITS = 4  #: of the pins


def send_answer(
    m: Module, text: Stream[Signal], hold: Signal, letter: Signal, number: Signal, *, then: str
) -> None:
    """States TEXT to END, which release the engine and send an answer: letter, two digits, new line."""
    tens = Signal(4)
    with m.State("TEXT"):
        m.d.sync += [tens.eq(0), hold.eq(0)]
        m.d.comb += [text.payload.eq(letter), text.valid.eq(1)]
        with m.If(text.ready):
            m.next = "DIVIDE"
    with m.State("DIVIDE"):
        with m.If(number >= 10):
            m.d.sync += [number.eq(number - 10), tens.eq(tens + 1)]
        with m.Else():
            m.next = "TENS"
    for state, payload, following in (
        ("TENS", ord("0") + tens, "ONES"),
        ("ONES", ord("0") + number, "END"),
        ("END", Const(ord("\n"), 8), then),
    ):
        with m.State(state):
            m.d.comb += [text.payload.eq(payload), text.valid.eq(1)]
            with m.If(text.ready):
                m.next = following


class Live(wiring.Component):
    """Members
    -------
    host, engine : In(EnginePort), Out(EnginePort)
    hold, held, loaded
        Of equilif_hdl.link.host.Host.
    frame, word, first, last, peak, verdict, read, index, granted, data
        Of equilif_hdl.front_end.segmentation.Segmentation.
    learn, label : In(1), In(4)
        Pins: the next word is learned with this label.
    text : Out(stream of 8)
        Answers.
    prediction : Out(8)
        Class of the last word that was classified.
    new_class : In(1)
        With ``lessons``: strobe, the next word is the first one of a new class.
    lesson : Out(equilif_hdl.link.standalone.LessonPort)
        With ``lessons``.
    """

    host: EnginePort.Members
    engine: EnginePort.Members
    hold: Signal
    held: Signal
    loaded: Signal
    frame: Signal
    word: Signal
    first: Signal
    last: Signal
    peak: Signal
    verdict: Signal
    read: Signal
    index: Signal
    granted: Signal
    data: Signal
    learn: Signal
    label: Signal
    text: Stream[Signal]
    prediction: Signal
    new_class: Signal
    lesson: LessonPort.Members

    def __init__(self, config: EngineConfig, *, lessons: bool = False):
        self.config = config
        self.lessons = lessons
        super().__init__(
            {
                "host": In(EnginePort(config)),
                "engine": Out(EnginePort(config)),
                "hold": Out(1),
                "held": In(1),
                "loaded": In(1),
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
                "label": In(LABEL_BITS),
                "text": Out(stream.Signature(8)),
                "prediction": Out(8),
                **({"new_class": In(1), "lesson": Out(LessonPort())} if lessons else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        cfg = self.config
        p = lane_bits(cfg)
        m.submodules.tokens = tokens = Tokens()
        table = table_first(cfg)
        m.submodules.queue = queue = WordQueue()
        for name in ("frame", "word", "first", "last", "peak", "verdict"):
            m.d.comb += getattr(queue, name).eq(getattr(self, name))
        frames = Signal(range(RING))
        m.d.comb += [
            tokens.first.eq(queue.o_first),
            tokens.frames.eq(frames),
            tokens.peak.eq(queue.o_peak),
            self.read.eq(tokens.read),
            self.index.eq(tokens.index),
            tokens.granted.eq(self.granted),
            tokens.data.eq(self.data),
        ]

        # the table
        classes = Signal(8)
        tile = Signal(16)
        present = Signal(16)
        target = Signal(16)
        label = Signal(8)
        scaling = Signal(8 * SCALING_BYTES)
        magic = Signal(8)
        fields: dict[int, Value] = {0: magic, CLASSES: classes, LABEL: label}
        for at, field in ((TILE, tile), (PRESENT, present), (TARGET, target)):
            fields |= {at: field[:8], at + 1: field[8:]}
        place = Signal(range(SCALING + SCALING_BYTES * BANDS))
        byte = Signal(range(SCALING_BYTES))
        learns = Signal()
        used = Signal()  # the label is
        serial = Signal(8 - KIND_BITS)  # of the answer
        pressed = Signal()  # by the pins, for the next word
        pin_label = Signal(LABEL_BITS)
        by_pins = Signal()  # this word has its label from the pins
        press: Value = self.learn
        if self.lessons:
            press = self.learn | self.new_class
        pressed_late = Signal()
        m.d.sync += pressed_late.eq(press)
        with m.If(self.learn):
            m.d.sync += [pressed.eq(1), pin_label.eq(self.label)]
        no_class: Value = label >= classes
        idle: Value = Const(1, 1)  # the trainer is
        if self.lessons:
            wants_new = Signal()  # by the pins: the class is new
            is_new = Signal()
            with m.If(self.learn):
                m.d.sync += wants_new.eq(0)
            with m.If(self.new_class):
                m.d.sync += [pressed.eq(1), wants_new.eq(1)]
            lesson = self.lesson
            # outputs from ``classes`` of the trainer on are unused
            no_class |= Mux(lesson.valid, (label >= lesson.classes) & ~is_new, is_new)
            idle = lesson.idle
            teaching = Signal()  # the lesson of this word is not finished
            again = Signal()  # a further round
            rounds = Signal(8)  # begun
            taught = Signal(8)  # their label
            m.d.comb += [lesson.hold.eq(self.hold), lesson.label.eq(label)]

        # the engine port
        region = Signal(2)
        address = Signal(address_bits(cfg))
        wdata = Signal(32)
        write = Signal()
        read = Signal()
        start = Signal()
        # registered, as is what is read: the engine's own paths begin and end at this port
        ours = {
            "mem_region": region,
            "mem_addr": address,
            "mem_wdata": wdata,
            "mem_write": write,
            "mem_repeat": Const(0, 1),
            "mem_read": read,
            "start": start,
            "learn": learns,
            "accumulate": Const(0, 1),
        }
        for name in ("mem_region", "mem_addr", "mem_wdata", "mem_write", "mem_read", "start"):
            registered = Signal.like(ours[name], name=f"our_{name}")
            m.d.sync += registered.eq(ours[name])
            ours[name] = registered
        selected = Signal()  # a cycle after `held`: nobody uses the engine in the first and the last one
        m.d.sync += selected.eq(self.held)
        for name, member in EnginePort(cfg).members.items():
            there = getattr(self.engine, name)
            here = getattr(self.host, name)
            if member.flow is Out:
                m.d.comb += there.eq(Mux(selected, ours[name], here))
            else:
                m.d.comb += here.eq(there)
        columns = -(-WIDTH >> p)
        weight = Signal(address_bits(cfg))
        element = Signal(32)
        element_valid = Signal()
        arrived = Signal()
        found = Signal(8)
        row = tokens.row
        column = tokens.column
        tiles = tile + (row >> p) * columns + (column >> p)
        m.d.sync += [
            weight.eq(Cat((row ^ column)[:p], row[:p], tiles)),
            element.eq(tokens.value << (cfg.numerics.fraction - FRACTION)),
            element_valid.eq(tokens.valid),
            arrived.eq(self.engine.mem_valid),
            found.eq(self.engine.mem_rdata[:8]),
        ]

        count = Signal(8)
        lost = Signal()  # the answer is that of lost words
        letter = Signal(8)
        number = Signal(8)
        m.d.comb += tokens.center.eq(scaling[:12])
        m.d.comb += tokens.scale.eq(scaling[12:])

        def reject(why: int | Value, then: str) -> None:
            m.d.sync += [letter.eq(ord("X")), number.eq(why)]
            m.next = then

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [
                    frames.eq(queue.o_last - queue.o_first + 1),
                    place.eq(0),
                    used.eq(0),
                ]
                if self.lessons:
                    m.d.sync += [again.eq(0), rounds.eq(1)]
                with m.If(queue.valid & idle if self.lessons else queue.valid):
                    m.d.sync += [self.hold.eq(1), serial.eq(Mux(serial.all(), 1, serial + 1))]
                    m.next = "CLAIM"
            with m.State("CLAIM"):
                with m.If(self.held):
                    m.next = "HEADER"
                    with m.If(~self.loaded):
                        m.next = "NO TABLE"
            with m.State("NO TABLE"):
                reject(Mux(queue.o_verdict != Verdict.SAMPLE, queue.o_verdict, NO_NETWORK), "TEXT")
            with m.State("HEADER"):
                m.d.comb += [region.eq(VALUE_REGION), address.eq(table + place), read.eq(1)]
                m.next = "HEADER READ"
            with m.State("HEADER READ"):
                m.d.comb += [region.eq(VALUE_REGION), address.eq(table + place)]
                with m.If(arrived):
                    with m.Switch(place):
                        for at, target_field in fields.items():
                            with m.Case(at):
                                m.d.sync += target_field.eq(found)
                    m.d.sync += place.eq(place + 1)
                    m.next = "HEADER"
                    with m.If(place == LABEL):
                        m.next = "BEGIN"
            with m.State("BEGIN"):
                m.d.sync += [
                    learns.eq(pressed | (label != NO_LABEL)),
                    by_pins.eq(pressed),
                    place.eq(SCALING),
                    byte.eq(0),
                    count.eq(0),
                ]
                if self.lessons:
                    m.d.sync += is_new.eq(pressed & wants_new)
                with m.If(pressed):
                    m.d.sync += label.eq(pin_label)
                    if self.lessons:
                        m.d.sync += label.eq(Mux(wants_new, self.lesson.classes, pin_label))
                m.next = "START TOKENS"
                with m.If(magic != MAGIC):
                    m.next = "NO TABLE"
                with m.Elif(queue.o_verdict != Verdict.SAMPLE):
                    reject(queue.o_verdict, "CLEAR")
                with m.Elif(queue.stale):
                    reject(LOST, "CLEAR")
                if self.lessons:
                    with m.If(again):
                        m.d.sync += [learns.eq(1), label.eq(taught), is_new.eq(0)]
                        m.next = "START TOKENS"
                        # a host has written meanwhile, or the frames are overwritten
                        with m.If(~self.lesson.valid | queue.stale):
                            m.d.sync += self.hold.eq(0)
                            m.next = "LESSON"
            with m.State("START TOKENS"):
                uses = learns & ~again if self.lessons else learns
                m.d.sync += used.eq(uses)
                with m.If(uses & by_pins):  # a press from now on, or just before, is for the next word
                    m.d.sync += pressed.eq(press | pressed_late)
                with m.If(learns & no_class):
                    reject(NO_CLASS, "CLEAR")
                with m.Else():
                    m.d.comb += tokens.start.eq(1)
                    m.next = "TOKENS"
            with m.State("TOKENS"):
                m.d.comb += [
                    region.eq(WEIGHT_REGION),
                    address.eq(weight),
                    wdata.eq(element),
                    write.eq(element_valid),
                ]
                with m.If(tokens.request):
                    m.next = "SCALING"
                with m.If(tokens.done):
                    m.next = "PRESENT"
            with m.State("SCALING"):
                m.d.comb += [region.eq(VALUE_REGION), address.eq(table + place), read.eq(1)]
                m.next = "SCALING READ"
            with m.State("SCALING READ"):
                m.d.comb += [region.eq(VALUE_REGION), address.eq(table + place)]
                with m.If(arrived):
                    m.d.sync += [
                        scaling.eq(Cat(scaling[8:], found)),
                        place.eq(place + 1),
                        byte.eq(byte + 1),
                    ]
                    m.next = "SCALING"
                    with m.If(byte == SCALING_BYTES - 1):
                        m.d.sync += byte.eq(0)
                        m.next = "SCALED"
            with m.State("SCALED"):
                m.d.comb += tokens.scaled.eq(1)
                m.next = "TOKENS"
            with m.State("PRESENT"):
                m.d.comb += [
                    region.eq(VALUE_REGION),
                    address.eq(present + count),
                    wdata.eq(Mux(count < tokens.count, ONE, 0)),
                    write.eq(1),
                ]
                m.d.sync += count.eq(count + 1)
                with m.If(count == TOKENS - 1):
                    m.d.sync += count.eq(0)
                    m.next = "START"
                    with m.If(learns):
                        m.next = "TARGET"
            with m.State("TARGET"):  # whole groups
                m.d.comb += [
                    region.eq(VALUE_REGION),
                    address.eq(target + count),
                    wdata.eq(Mux(count == label, ONE, 0)),
                    write.eq(1),
                ]
                m.d.sync += count.eq(count + 1)
                with m.If(count[:p].all() & (count >= classes - 1)):
                    m.next = "START"
            with m.State("START"):
                m.d.comb += start.eq(1)
                m.next = "STARTED"
            with m.State("STARTED"):
                m.next = "RUN"
            with m.State("RUN"):
                m.d.sync += [
                    letter.eq(Mux(learns, ord("L"), ord("C"))),
                    number.eq(Mux(learns, label, self.engine.prediction)),
                ]
                with m.If(~self.engine.busy):
                    m.next = "CLEAR"
                    with m.If(~learns):
                        m.d.sync += self.prediction.eq(self.engine.prediction)
            with m.State("CLEAR"):  # a label is used once
                m.d.comb += [
                    region.eq(VALUE_REGION),
                    address.eq(table + LABEL),
                    wdata.eq(NO_LABEL),
                    write.eq(used & ~by_pins),
                ]
                m.next = "NUMBER"
            with m.State("NUMBER"):
                m.d.comb += [
                    region.eq(VALUE_REGION),
                    address.eq(table + NUMBER),
                    wdata.eq(number),
                    write.eq(1),
                ]
                m.next = "KIND"
            with m.State("KIND"):
                kind = Mux(letter == ord("X"), LETTERS.index("X"), learns)
                m.d.comb += [
                    region.eq(VALUE_REGION),
                    address.eq(table + KIND),
                    wdata.eq(Cat(kind[:KIND_BITS], serial)),
                    write.eq(1),
                ]
                m.next = "TEXT"
                if self.lessons:
                    learned = letter == ord("L")
                    m.d.comb += self.lesson.learned.eq(learned)
                    m.d.sync += [teaching.eq(learned), taught.eq(number)]
                    with m.If(again):
                        m.d.sync += self.hold.eq(0)
                        m.next = "LESSON"
            send_answer(m, self.text, self.hold, letter, number, then="FINISHED")
            with m.State("FINISHED"):
                # words that were lost after this one have an answer before those that come later
                with m.If(queue.followed & ~lost):
                    m.d.sync += lost.eq(1)
                    reject(LOST, "TEXT")
                with m.Else():
                    m.d.comb += queue.done.eq(1)
                    m.d.sync += lost.eq(0)
                    m.next = "IDLE"
                if self.lessons:
                    with m.If(teaching):
                        m.d.comb += queue.done.eq(0)
                        m.d.sync += lost.eq(lost)
                        m.next = "LESSON"
            if self.lessons:
                with m.State("LESSON"), m.If(lesson.idle):
                    m.d.sync += place.eq(0)
                    more = (rounds < lesson.rounds) & ~queue.stale & lesson.valid & ~lesson.fault
                    with m.If(more):
                        m.d.sync += [again.eq(1), rounds.eq(rounds + 1), self.hold.eq(1)]
                        m.next = "CLAIM"
                    with m.Else():
                        m.d.comb += lesson.finish.eq(1)
                        m.d.sync += teaching.eq(0)
                        m.next = "FINISHED"
        return m
