"""Front end of a microphone, from its pins to the engine and to answers.

pins --> PdmMicrophone or I2sMicrophone --> FilterBank --> Segmentation --> Live --> engine
                                                                              '--> text --> UART
learn button --> Button --> Live
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from amaranth import Module, Signal
from amaranth.lib import cdc, wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.engine.config import EngineConfig
from equilif_golden.front_end.button import TICKS_HZ
from equilif_golden.front_end.pdm import RATE
from equilif_hdl.engine.port import EnginePort
from equilif_hdl.front_end.button import Button
from equilif_hdl.front_end.filter_bank import MIN_CYCLES, FilterBank
from equilif_hdl.front_end.i2s import I2sMicrophone
from equilif_hdl.front_end.live import BAUD, LABEL_BITS, WordSource, join
from equilif_hdl.front_end.pdm import PdmMicrophone
from equilif_hdl.front_end.segmentation import Segmentation
from equilif_hdl.link.standalone import LessonPort
from equilif_hdl.typed import Interface

KINDS = ("pdm", "i2s")
#: for simulations: 640 cycles a sample
MIN_CLOCK_HZ = 10_240_000


class Pins(Interface, Protocol):
    """Interface of PINS."""

    clock: Signal
    ws: Signal
    data: Signal
    text: Signal
    learn: Signal
    label: Signal
    prediction: Signal


#: ``ws`` is of I2S only.  ``learn``, ``label``: asynchronous
PINS = wiring.Signature(
    {
        "clock": Out(1),
        "ws": Out(1),
        "data": In(1),
        "text": Out(1),
        "learn": In(1),
        "label": In(LABEL_BITS),
        "prediction": Out(8),
    }
)


@dataclass(frozen=True)
class Microphone:
    """Description of the front end.  ``kind``: pdm or i2s.  ``clock_hz``: of the design.

    ``button_divisor``: cycles between samples of the learn button; 0: those of TICKS_HZ.
    """

    kind: str
    clock_hz: int
    button_divisor: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"a microphone is one of {', '.join(KINDS)}, not {self.kind!r}")
        if self.clock_hz < MIN_CLOCK_HZ:
            raise ValueError(
                f"the front end needs a clock of at least {MIN_CLOCK_HZ:,} Hz, not {self.clock_hz:,}"
            )

    @property
    def divisor(self) -> int:
        """Clock cycles per bit of an answer."""
        return round(self.clock_hz / BAUD)


class Listener(wiring.Component):
    """Members
    -------
    pins : Out(PINS)
    host, engine : In(EnginePort), Out(EnginePort)
    hold, held, loaded
        Of equilif_hdl.link.host.Host.
    in_word : Out(1)
        A word is in progress.
    lesson : Out(equilif_hdl.link.standalone.LessonPort)
        With ``lessons``, the standalone trainer's: the learn button has short and long presses.

    Latency from the last sample of a word to its answer: HANG frames, then that of its parts and of the run.
    """

    pins: Pins
    host: EnginePort.Members
    engine: EnginePort.Members
    hold: Signal
    held: Signal
    loaded: Signal
    in_word: Signal
    lesson: LessonPort.Members

    def __init__(self, config: EngineConfig, microphone: Microphone, *, lessons: bool = False):
        self.config = config
        self.lessons = lessons
        self.microphone = microphone
        super().__init__(
            {
                "pins": Out(PINS),
                "host": In(EnginePort(config)),
                "engine": Out(EnginePort(config)),
                "hold": Out(1),
                "held": In(1),
                "loaded": In(1),
                "in_word": Out(1),
                **({"lesson": Out(LessonPort())} if lessons else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        described = self.microphone
        assert described.clock_hz >= MIN_CYCLES * RATE
        microphone: PdmMicrophone | I2sMicrophone
        if described.kind == "i2s":
            microphone = I2sMicrophone(described.clock_hz)
            m.d.comb += self.pins.ws.eq(microphone.ws)
        else:
            microphone = PdmMicrophone(described.clock_hz)
        m.submodules.microphone = microphone
        m.submodules.bank = bank = FilterBank()
        m.submodules.segmentation = words = Segmentation()
        front = join(m, self, WordSource(self.config), described.divisor, lessons=self.lessons)
        pins = self.pins
        if self.lessons:
            divisor = described.button_divisor or round(described.clock_hz / TICKS_HZ)
            m.submodules.button = button = Button(divisor)
            m.submodules.learn = cdc.FFSynchronizer(pins.learn, button.i)
            m.d.comb += [front.learn.eq(button.short), front.new_class.eq(button.long)]
        else:
            m.submodules.learn = cdc.FFSynchronizer(pins.learn, front.learn)
        m.d.comb += [
            pins.clock.eq(microphone.clock),
            microphone.data.eq(pins.data),
            bank.valid.eq(microphone.valid),
            bank.sample.eq(microphone.o),
            words.i_valid.eq(bank.o_valid),
            words.band.eq(bank.band),
            words.code.eq(bank.code),
            words.frame.eq(bank.frame),
            words.clipped.eq(bank.clipped),
            words.stuck.eq(bank.stuck),
            words.read.eq(front.read),
            words.index.eq(front.index),
            front.granted.eq(words.granted),
            front.data.eq(words.data),
            front.frame.eq(bank.frame),
            front.word.eq(words.word),
            front.first.eq(words.first),
            front.last.eq(words.last),
            front.peak.eq(words.peak),
            front.verdict.eq(words.verdict),
            self.in_word.eq(words.in_word),
        ]
        return m
