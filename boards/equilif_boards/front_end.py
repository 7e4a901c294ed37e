"""Microphone or ADC at a board: its pins, and those of answers and labels."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth import Module
from amaranth.build import Attrs, Pins, PinsN, Platform, Resource, Subsignal
from amaranth.lib import io

from equilif_golden.engine.config import EngineConfig
from equilif_hdl.front_end import listener, sensor


def microphone_resource(
    *, clock: str, data: str, ws: str, text: str, conn: tuple[str, int] | None = None, attrs: Attrs
) -> Resource:
    """Pins for :class:`FrontEnd`, of a connector or of the FPGA."""
    return Resource(
        FrontEnd.resource,
        0,
        Subsignal("clock", Pins(clock, dir="o", conn=conn)),
        Subsignal("data", Pins(data, dir="i", conn=conn)),
        Subsignal("ws", Pins(ws, dir="o", conn=conn)),
        Subsignal("text", Pins(text, dir="o", conn=conn)),
        attrs,
    )


@dataclass(frozen=True, kw_only=True)
class FrontEnd:
    """Resources of a board for a microphone: :func:`microphone_resource`.

    ``place``: connector and pins, for messages.  ``tiles``, ``program_words``, ``frame_bytes``: of the design
    with a front end, which needs block RAM, and longer programs for several heads.  ``button``: resource that
    makes the next word a training sample; ``switches``: number of resources ``switch``, its label, of which
    the lowest bit comes first.  ``leds``: first and number of resources ``led`` with the class, in binary.
    ``lesson_button``, ``lesson_switches``: in place of these in a design with lessons, if the connector has
    them.
    """

    place: str
    tiles: int
    program_words: int
    frame_bytes: int
    button: str = ""
    switches: int = 0
    lesson_button: str = ""
    lesson_switches: int = 0
    leds: tuple[int, int] = (0, 0)

    resource = "microphone"

    @property
    def learn_button(self) -> str:
        """Resource of the button of a design with lessons; empty: there is none."""
        return self.lesson_button or self.button

    def join(self, m: Module, platform: Platform, pins: listener.Pins, *, lessons: bool = False) -> None:
        """Connect the pins of the front end to those of the board."""
        own = lessons and self.lesson_button
        button_name, switches = (
            (self.lesson_button, self.lesson_switches) if own else (self.button, self.switches)
        )
        port = platform.request(self.resource, 0, dir="-")
        for name in ("clock", "ws", "text"):
            m.submodules[f"microphone_{name}"] = out = io.Buffer(io.Direction.Output, getattr(port, name))
            m.d.comb += out.o.eq(getattr(pins, name))
        m.submodules.microphone_data = data = io.Buffer(io.Direction.Input, port.data)
        m.d.comb += pins.data.eq(data.i)
        if button_name:
            button = io.Buffer(io.Direction.Input, platform.request(button_name, 0, dir="-"))
            m.submodules.learn_button = button
            m.d.comb += pins.learn.eq(button.i)
        for k in range(switches):
            switch = io.Buffer(io.Direction.Input, platform.request("switch", k, dir="-"))
            m.submodules[f"label_switch_{k}"] = switch
            m.d.comb += pins.label[k].eq(switch.i)
        first, count = self.leds
        for k in range(count):
            led = io.Buffer(io.Direction.Output, platform.request("led", first + k, dir="-"))
            m.submodules[f"class_led_{k}"] = led
            m.d.comb += led.o.eq(pins.prediction[k])


def adc_resource(
    *, cs: str, sck: str, mosi: str, miso: str, text: str, conn: tuple[str, int], attrs: Attrs
) -> Resource:
    """Pins for :class:`AdcFrontEnd`."""
    return Resource(
        AdcFrontEnd.resource,
        0,
        Subsignal("cs", PinsN(cs, dir="o", conn=conn)),
        Subsignal("sck", Pins(sck, dir="o", conn=conn)),
        Subsignal("mosi", Pins(mosi, dir="o", conn=conn)),
        Subsignal("miso", Pins(miso, dir="i", conn=conn)),
        Subsignal("text", Pins(text, dir="o", conn=conn)),
        attrs,
    )


@dataclass(frozen=True, kw_only=True)
class AdcFrontEnd:
    """Resources of a board for an SPI ADC: :func:`adc_resource`.

    ``place``: connector and pins, for messages.  ``config``: engine of the design with a front end.
    ``channels``, ``window``, ``windows``: see equilif_golden.front_end.channels; ``rate_hz``, ``sck_hz``: of
    the ADC.  ``button``, ``switches``, ``leds``: as of :class:`FrontEnd`, resources with their numbers.
    """

    place: str
    config: EngineConfig
    channels: int
    window: int
    windows: int
    rate_hz: int
    sck_hz: int
    button: tuple[str, int]
    switches: tuple[tuple[str, int], ...]
    leds: tuple[tuple[str, int], ...]

    resource = "adc"

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Channels, window and windows."""
        return self.channels, self.window, self.windows

    def described(self, clock_hz: float) -> sensor.Adc:
        """The front end at this clock of the design."""
        return sensor.Adc(
            channels=self.channels,
            window=self.window,
            windows=self.windows,
            rate_hz=self.rate_hz,
            sck_hz=self.sck_hz,
            clock_hz=int(clock_hz),
        )

    def join(self, m: Module, platform: Platform, pins: sensor.SensorPins) -> None:
        """Connect the pins of the front end to those of the board."""
        port = platform.request(self.resource, 0, dir="-")
        for name, value in (("cs", ~pins.csn), ("sck", pins.sck), ("mosi", pins.mosi), ("text", pins.text)):
            m.submodules[f"adc_{name}"] = out = io.Buffer(io.Direction.Output, getattr(port, name))
            m.d.comb += out.o.eq(value)
        m.submodules.adc_miso = miso = io.Buffer(io.Direction.Input, port.miso)
        m.d.comb += pins.miso.eq(miso.i)
        inputs = [(self.button, pins.learn), *zip(self.switches, pins.label, strict=True)]
        for (name, number), value in inputs:
            m.submodules[f"{name}_{number}"] = button = io.Buffer(
                io.Direction.Input, platform.request(name, number, dir="-")
            )
            m.d.comb += value.eq(button.i)
        for (name, number), value in zip(self.leds, pins.prediction, strict=True):
            m.submodules[f"{name}_{number}"] = led = io.Buffer(
                io.Direction.Output, platform.request(name, number, dir="-")
            )
            m.d.comb += led.o.eq(value)
