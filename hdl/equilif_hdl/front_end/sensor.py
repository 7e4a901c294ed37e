"""Front end of a sensor, from the pins of its ADC to the engine and to answers; bit-exact with
equilif_golden.front_end.sensor.

    pins <--> AdcReader --> Channels --> [ a sample ] --> Live --> engine
                                                        '--> text --> UART

A sample goes to the engine while the next one is captured.  One that finds the memory occupied, since the
host uses the engine, is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from amaranth import Cat, Const, Module, Signal
from amaranth.lib import cdc, wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.engine.config import EngineConfig
from equilif_golden.front_end.sensor import SAMPLE
from equilif_hdl.engine.port import EnginePort
from equilif_hdl.front_end.adc import COMMAND_BITS, SAMPLING_BITS, WIDTHS, AdcReader
from equilif_hdl.front_end.channels import Channels
from equilif_hdl.front_end.live import BAUD, ReadingSource, join
from equilif_hdl.typed import Interface

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


class SensorListener(wiring.Component):
    """Members
    -------
    pins : Out(PINS)
    host, engine, hold, held, loaded
        Of equilif_hdl.front_end.live.Live.
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
        source = ReadingSource(self.config, adc.channels, channels.size)
        front = join(m, self, source, adc.divisor)
        m.submodules.learn = cdc.FFSynchronizer(pins.learn, front.learn)
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
            front.i_valid.eq(channels.o_valid),
            front.index.eq(channels.index),
            front.value.eq(channels.value),
            front.done.eq(channels.done),
            front.stuck.eq(zero | ones),
        ]
        return m
