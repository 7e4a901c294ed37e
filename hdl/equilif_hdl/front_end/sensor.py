"""Front end of a sensor, from the pins of its ADC to the engine and to answers; bit-exact with
equilif_golden.front_end.sensor.

    pins <--> AdcReader --> Channels --> [ a sample ] --> SensorController --> engine
                                                                    '--> text --> UART

A sample goes to the engine while the next one is captured.  One that finds the memory occupied, since the
host uses the engine, is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.hdl import Value
from amaranth.lib import cdc, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from equilif_golden.engine.config import EngineConfig
from equilif_golden.fixed import check_int
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
    SCALING,
    TABLE_BYTES,
    TARGET,
    table_first,
)
from equilif_golden.front_end.segmentation import Verdict
from equilif_golden.front_end.sensor import INPUTS, MAX_CHANNELS, SAMPLE, SCALE_FRACTION
from equilif_golden.network import ONE
from equilif_hdl.engine.isa import lane_bits
from equilif_hdl.engine.port import VALUE_REGION, EnginePort
from equilif_hdl.fixed import ram
from equilif_hdl.front_end.adc import COMMAND_BITS, SAMPLING_BITS, WIDTHS, AdcReader
from equilif_hdl.front_end.channels import Channels
from equilif_hdl.front_end.live import send_answer
from equilif_hdl.link.uart import UartTransmitter
from equilif_hdl.typed import Interface, Stream

BAUD = 115_200  #: of the answers
LABEL_BITS = 2  #: of the pins
PREDICTION_BITS = 4  #: of the pins


class SensorPins(Interface, Protocol):
    """Interface of PINS."""

    csn: Signal
    sck: Signal
    mosi: Signal
    miso: Signal
    text: Signal
    learn: Signal
    label: Signal
    prediction: Signal


#: ``learn``, ``label``, ``miso``: asynchronous
PINS = wiring.Signature(
    {
        "csn": Out(1),
        "sck": Out(1),
        "mosi": Out(1),
        "miso": In(1),
        "text": Out(1),
        "learn": In(1),
        "label": In(LABEL_BITS),
        "prediction": Out(PREDICTION_BITS),
    }
)


@dataclass(frozen=True, kw_only=True)
class Adc:
    """Description of the front end.  ``channels``, ``window``, ``windows``: see
    equilif_golden.front_end.channels; ``width``: bits of a reading; ``rate_hz``: readings of a channel a
    second; ``sck_hz``: of the ADC; ``clock_hz``: of the design.
    """

    channels: int
    window: int
    windows: int
    rate_hz: int
    sck_hz: int
    clock_hz: int
    width: int = 12

    def __post_init__(self) -> None:
        if self.width not in WIDTHS:
            raise ValueError(f"width must be one of {WIDTHS} bits, not {self.width}")
        frame = COMMAND_BITS + SAMPLING_BITS + self.width + 2
        limit = self.sck_hz // (self.channels * frame)
        if not 1 <= self.rate_hz <= limit:
            raise ValueError(
                f"{self.channels} channels have 1 to {limit:,} readings a second at {self.sck_hz:,} Hz, not "
                f"{self.rate_hz:,}"
            )

    @property
    def divisor(self) -> int:
        """Clock cycles per bit of an answer."""
        return round(self.clock_hz / BAUD)

    @property
    def period(self) -> int:
        """Clock cycles between two readings of a channel."""
        return self.clock_hz // self.rate_hz


class SensorController(wiring.Component):
    """Samples of the front end are samples of the engine.

        IDLE -> CLAIM -> READ <-> WAIT -> CHECK -> READ <-> WAIT -> SUBTRACT -> MULTIPLY -> PUT -> READ
             -> TARGET -> START -> RUN -> CLEAR -> NUMBER -> KIND -> TEXT -> DIVIDE -> TENS -> ONES -> END

    Members
    -------
    host, engine : In(EnginePort), Out(EnginePort)
    hold, held, loaded
        Of equilif_hdl.link.host.Host.
    i_valid, index, value, done
        Of equilif_hdl.front_end.channels.Channels.
    stuck : In(1)
        With ``done``: all readings of the sample were stuck.
    learn, label : In(1), In(LABEL_BITS)
        Pins: a sample that ends meanwhile is learned with this label.
    text : Out(stream of 8)
        Answers.
    prediction : Out(PREDICTION_BITS)
        Class of the last sample that was classified.

    ``channels``: of the front end; ``size``: values of a sample.  Latency from ``done`` to ``start``: about
    15 cycles a value.
    """

    host: EnginePort.Members
    engine: EnginePort.Members
    hold: Signal
    held: Signal
    loaded: Signal
    i_valid: Signal
    index: Signal
    value: Signal
    done: Signal
    stuck: Signal
    learn: Signal
    label: Signal
    text: Stream[Signal]
    prediction: Signal

    def __init__(self, config: EngineConfig, channels: int, size: int):
        self.config = config
        self.channels = check_int(channels, "channels", 1, MAX_CHANNELS)
        self.size = size
        if table_first(config) < 0:
            raise ValueError(
                f"the engine has {config.value_groups * config.lanes} values, the controller needs "
                f"{TABLE_BYTES} for its table"
            )
        super().__init__(
            {
                "host": In(EnginePort(config)),
                "engine": Out(EnginePort(config)),
                "hold": Out(1),
                "held": In(1),
                "loaded": In(1),
                "i_valid": In(1),
                "index": In(range(size)),
                "value": In(8),
                "done": In(1),
                "stuck": In(1),
                "learn": In(1),
                "label": In(LABEL_BITS),
                "text": Out(stream.Signature(8)),
                "prediction": Out(PREDICTION_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        cfg = self.config
        table = table_first(cfg)
        values = range(cfg.value_groups * cfg.lanes)

        # a sample: complete (full), or dropped since the one before was still there
        memory = m.submodules.sample = ram(8, self.size, "block")
        store = memory.write_port()
        fetch = memory.read_port()
        full = Signal()
        broken = Signal()
        lost = Signal()
        was_stuck = Signal()
        release = Signal()
        begins = self.index == 0
        m.d.comb += [
            store.addr.eq(self.index),
            store.data.eq(self.value),
            store.en.eq(self.i_valid & ~full & (begins | ~broken)),
        ]
        with m.If(self.i_valid & (full | begins)):
            m.d.sync += broken.eq(full)
        with m.If(self.done):
            m.d.sync += was_stuck.eq(Mux(broken, was_stuck, self.stuck))
            m.d.sync += full.eq(full | ~broken)
            m.d.sync += lost.eq(lost | broken)
        with m.If(release):
            m.d.sync += full.eq(0)

        classes = Signal(8)
        label = Signal(8)
        learns = Signal()
        by_pins = Signal()
        used = Signal()  # the label is
        serial = Signal(8 - KIND_BITS)  # of the answer
        place = Signal(values)  # of a byte of the table
        at = Signal(16)  # of an input or target
        count = Signal(range(max(self.size, 256)))
        center = Signal(8)
        scale = Signal(8)
        distance = Signal(signed(9))
        product = Signal(signed(17))
        scaled = product >> SCALE_FRACTION

        # the engine port
        address = Signal(values)
        data = Signal(8)
        write = Signal()
        read = Signal()
        start = Signal()
        assert (table + SCALING) % 2 == 0
        # registered, as is what is read: the engine's own paths begin and end at this port
        registered = {}
        for name, signal in (
            ("address", address),
            ("data", data),
            ("write", write),
            ("read", read),
            ("start", start),
        ):
            registered[name] = Signal.like(signal, name=f"our_{name}")
            m.d.sync += registered[name].eq(signal)
        ours: dict[str, Value] = {
            "mem_region": Const(VALUE_REGION, 2),
            "mem_addr": registered["address"],
            "mem_wdata": Cat(registered["data"], registered["data"]),
            "mem_write": registered["write"],
            "mem_repeat": Const(0, 1),
            "mem_read": registered["read"],
            "start": registered["start"],
            "learn": learns,
            "accumulate": Const(0, 1),
        }
        selected = Signal()  # a cycle after `held`: nobody uses the engine in the first and the last one
        m.d.sync += selected.eq(self.held)
        for name, member in EnginePort(cfg).members.items():
            there = getattr(self.engine, name)
            here = getattr(self.host, name)
            if member.flow is Out:
                m.d.comb += there.eq(Mux(selected, ours[name], here))
            else:
                m.d.comb += here.eq(there)
        arrived = Signal()
        found = Signal(8)
        m.d.sync += [arrived.eq(self.engine.mem_valid), found.eq(self.engine.mem_rdata[:8])]

        letter = Signal(8)
        number = Signal(8)
        m.d.comb += [fetch.addr.eq(count), fetch.en.eq(1), address.eq(place)]

        def put(where: int | Value, what: int | Value) -> None:
            m.d.comb += [address.eq(where), data.eq(what), write.eq(1)]

        def reject(why: int | Value, then: str) -> None:
            m.d.sync += [letter.eq(ord("X")), number.eq(why)]
            m.next = then

        def fetch_table(offset: int) -> None:
            m.d.sync += place.eq(table + offset)
            m.next = "READ"

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [used.eq(0), count.eq(0)]
                with m.If(full):
                    m.d.sync += [self.hold.eq(1), serial.eq(Mux(serial.all(), 1, serial + 1))]
                    m.next = "CLAIM"
                with m.Elif(lost):
                    m.d.sync += lost.eq(0)
                    reject(LOST, "TEXT")
            with m.State("CLAIM"):
                with m.If(self.held):
                    fetch_table(0)
                    with m.If(~self.loaded):
                        m.next = "NO TABLE"
            with m.State("NO TABLE"):
                m.d.comb += release.eq(1)
                reject(Mux(was_stuck, Verdict.STUCK, NO_NETWORK), "TEXT")
            with m.State("READ"):
                m.d.comb += read.eq(1)
                m.next = "WAIT"
            with m.State("WAIT"):
                with m.If(arrived):
                    m.next = "READ"
                    m.d.sync += place.eq(place + 1)
                    with m.Switch(place):
                        with m.Case(table):
                            with m.If(found != MAGIC):
                                m.next = "NO TABLE"
                        with m.Case(table + CLASSES):
                            m.d.sync += classes.eq(found)
                            fetch_table(LABEL)
                        with m.Case(table + LABEL):
                            m.d.sync += [
                                label.eq(Mux(self.learn, self.label, found)),
                                learns.eq(self.learn | (found != NO_LABEL)),
                                by_pins.eq(self.learn),
                            ]
                            m.next = "CHECK"
                        with m.Case(table + INPUTS, table + TARGET):
                            m.d.sync += at[:8].eq(found)
                        with m.Case(table + INPUTS + 1):
                            m.d.sync += at[8:].eq(found)
                            fetch_table(SCALING)
                        with m.Case(table + TARGET + 1):
                            m.d.sync += at[8:].eq(found)
                            m.next = "TARGET"
                        with m.Default():  # of the scaling
                            m.d.sync += [center.eq(scale), scale.eq(found)]
                            with m.If(place[0]):
                                m.next = "SUBTRACT"
                            with m.If(place == table + SCALING + 4 * self.channels - 1):
                                m.d.sync += place.eq(table + SCALING)
            with m.State("CHECK"):
                fetch_table(INPUTS)
                with m.If(was_stuck):
                    m.d.comb += release.eq(1)
                    reject(Verdict.STUCK, "CLEAR")
                with m.Else():
                    m.d.sync += used.eq(learns)
                    with m.If(learns & (label >= classes)):
                        m.d.comb += release.eq(1)
                        reject(NO_CLASS, "CLEAR")
            with m.State("SUBTRACT"):
                m.d.sync += distance.eq(fetch.data - center)
                m.next = "MULTIPLY"
            with m.State("MULTIPLY"):
                m.d.sync += product.eq(distance * scale)
                m.next = "PUT"
            with m.State("PUT"):
                put(at, Mux(scaled < 0, 0, Mux(scaled[8:].any(), 255, scaled[:8])))
                m.d.sync += [at.eq(at + 1), count.eq(count + 1)]
                m.next = "READ"
                with m.If(count == self.size - 1):
                    m.d.comb += release.eq(1)
                    m.d.sync += count.eq(0)
                    with m.If(learns):
                        fetch_table(TARGET)
                    with m.Else():
                        m.next = "START"
            with m.State("TARGET"):  # whole groups
                put(at, Mux(count == label, ONE, 0))
                m.d.sync += [at.eq(at + 1), count.eq(count + 1)]
                with m.If(count[: lane_bits(cfg)].all() & (count >= classes - 1)):
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
                with m.If(used & ~by_pins):
                    put(table + LABEL, NO_LABEL)
                m.next = "NUMBER"
            with m.State("NUMBER"):
                put(table + NUMBER, number)
                m.next = "KIND"
            with m.State("KIND"):
                kind = Mux(letter == ord("X"), LETTERS.index("X"), learns)
                put(table + KIND, Cat(kind[:KIND_BITS], serial))
                m.next = "TEXT"
            send_answer(m, self.text, self.hold, letter, number, then="IDLE")
        return m


class SensorListener(wiring.Component):
    """Members
    -------
    pins : Out(PINS)
    host, engine, hold, held, loaded
        Of SensorController.
    """

    pins: SensorPins
    host: EnginePort.Members
    engine: EnginePort.Members
    hold: Signal
    held: Signal
    loaded: Signal

    def __init__(self, config: EngineConfig, adc: Adc):
        self.config = config
        self.adc = adc
        super().__init__(
            {
                "pins": Out(PINS),
                "host": In(EnginePort(config)),
                "engine": Out(EnginePort(config)),
                "hold": Out(1),
                "held": In(1),
                "loaded": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        adc = self.adc
        pins = self.pins
        m.submodules.reader = reader = AdcReader(
            adc.clock_hz, adc.sck_hz, channels=adc.channels, width=adc.width
        )
        m.submodules.channels = channels = Channels(adc.channels, adc.window, adc.windows)
        m.submodules.controller = controller = SensorController(self.config, adc.channels, channels.size)
        m.submodules.transmitter = transmitter = UartTransmitter(adc.divisor)
        connect(m, controller.text, transmitter.i)
        connect(m, flipped(self.host), controller.host)
        connect(m, controller.engine, flipped(self.engine))
        m.submodules.learn = cdc.FFSynchronizer(pins.learn, controller.learn)
        m.submodules.label = cdc.FFSynchronizer(pins.label, controller.label)
        # cycles since the last reading of all channels.  The comparison is registered.  The timer begins with
        # 0: bits that are reset and bits that are set would not share a carry chain
        timer = Signal(range(adc.period))
        ended = Signal()
        m.d.sync += [ended.eq(timer == adc.period - 2), timer.eq(timer + 1)]
        with m.If(ended):
            m.d.sync += timer.eq(0)
        # whether all readings of the sample so far are 0, and whether they have all bits set
        zero = Signal(init=1)
        ones = Signal(init=1)
        with m.If(channels.done):
            m.d.sync += [zero.eq(1), ones.eq(1)]
        with m.If(reader.valid):
            m.d.sync += [zero.eq(zero & (reader.o == 0)), ones.eq(ones & reader.o.all())]
        m.d.comb += [
            pins.csn.eq(reader.csn),
            pins.sck.eq(reader.sck),
            pins.mosi.eq(reader.mosi),
            reader.miso.eq(pins.miso),
            reader.start.eq(ended),
            channels.valid.eq(reader.valid),
            channels.sample.eq(Cat(Const(0, SAMPLE - adc.width), reader.o[:-1], ~reader.o[-1])),
            controller.i_valid.eq(channels.o_valid),
            controller.index.eq(channels.index),
            controller.value.eq(channels.value),
            controller.done.eq(channels.done),
            controller.stuck.eq(zero | ones),
            pins.text.eq(transmitter.tx),
            pins.prediction.eq(controller.prediction),
            self.hold.eq(controller.hold),
            controller.held.eq(self.held),
            controller.loaded.eq(self.loaded),
        ]
        return m
