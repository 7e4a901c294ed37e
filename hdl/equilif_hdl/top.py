"""Top level of a design: transport, host link and engine.

pins --> transport --> SLIP --> frames --+--> Host --> EnginePort --> Engine
pins <-- transport <-- SLIP <-- replies -+                (program, scanner, walker, lanes, weight banks)
flash <--> controller <--> [ cache ] <--> trainer <-----+
                                         +--> busy, link
microphone --> Listener --> EnginePort, answers; with a trainer: lessons
ADC --> SensorListener --> EnginePort, answers
SDRAM <--> controller, mover <--> Engine
"""

from __future__ import annotations

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import Out, connect, flipped

from equilif_golden.engine.config import EngineConfig
from equilif_golden.link.flash import Area
from equilif_golden.link.protocol import FRAME_BYTES, MAX_SAMPLES, FrontEndKind
from equilif_golden.sdram import ClockedSdram
from equilif_hdl.engine.engine import Engine
from equilif_hdl.front_end.listener import PINS, Listener, Microphone, Pins
from equilif_hdl.front_end.sensor import PINS as SENSOR_PINS
from equilif_hdl.front_end.sensor import Adc, SensorListener, SensorPins
from equilif_hdl.link.flash import FlashPins
from equilif_hdl.link.host import Host
from equilif_hdl.link.identity import LutPrimitive
from equilif_hdl.link.standalone import IDLE_TIMEOUT_BITS
from equilif_hdl.link.transport import Transport
from equilif_hdl.sdram import SdramPins
from equilif_hdl.typed import Interface


class Top(wiring.Component):
    """Members
    -------
    pins : Out(those of the transport)
    busy : Out(1)
        The engine runs.
    link : Out(1)
        A byte is being transferred, in either direction.
    flash : Out(equilif_hdl.link.flash.FlashPins)
        With ``flash``.
    active, fault : Out(1)
        With ``flash``: the standalone trainer is active; it stopped with a fault.
    microphone : Out(equilif_hdl.front_end.listener.PINS), in_word : Out(1)
        With a Microphone: its pins and answers; a word is in progress.
    sensor : Out(equilif_hdl.front_end.sensor.PINS)
        With an Adc: its pins and answers.
    sdram : Out(equilif_hdl.sdram.SdramPins)
        With ``sdram``, or with external weights, to which the transport leaves time: no UDP.

    ``build_id``: 32 bits, returned by IDENTIFY.  ``state_ram``: see equilif_hdl.engine.engine.Engine.
    ``frame_bytes``: maximum frame length, up to 4,096.  ``max_samples``: of a frame, 1 to 16.
    ``flash``: flash area of the standalone trainer; ``sdram``: its cache, see
    equilif_hdl.link.flash_cache.
    ``idle_timeout_bits``: see equilif_hdl.link.standalone.StandaloneTrainer.  ``lookup``: see
    equilif_hdl.link.identity.IdentityRom.  ``front_end``: that of a Microphone, with a live
    controller, and with ``flash`` with lessons; or of an Adc, which excludes ``flash``.
    """

    pins: Interface
    busy: Signal
    link: Signal
    flash: FlashPins.Members
    active: Signal
    fault: Signal
    microphone: Pins
    in_word: Signal
    sensor: SensorPins
    sdram: SdramPins.Members

    def __init__(
        self,
        config: EngineConfig,
        *,
        transport: Transport,
        build_id: int = 0,
        state_ram: str | None = None,
        frame_bytes: int = FRAME_BYTES,
        max_samples: int = MAX_SAMPLES,
        flash: Area | None = None,
        idle_timeout_bits: int = IDLE_TIMEOUT_BITS,
        lookup: LutPrimitive | None = None,
        front_end: Microphone | Adc | None = None,
        sdram: ClockedSdram | None = None,
    ):
        microphone = front_end if isinstance(front_end, Microphone) else None
        adc = front_end if isinstance(front_end, Adc) else None
        if adc and flash:
            raise ValueError("a design with an ADC has no standalone trainer: leave one of them out")
        if config.external and (flash or front_end):
            raise ValueError(
                "a design with external weights has neither standalone trainer nor front end: leave them out"
            )
        if sdram and (not flash or front_end):
            raise ValueError(
                "an SDRAM for samples belongs to a standalone trainer without front end: leave it out"
            )
        self.clocked_sdram = sdram or config.external
        self.config = config
        self.transport = transport
        self.build_id = build_id
        self.state_ram = state_ram
        self.frame_bytes = frame_bytes
        self.max_samples = max_samples
        self.area = flash
        self.sample_memory = sdram
        self.idle_timeout_bits = idle_timeout_bits
        self.lookup = lookup
        self.front_end = (
            FrontEndKind.MICROPHONE if microphone else FrontEndKind.SENSOR if adc else FrontEndKind.NONE
        )
        self.listener = Listener(config, microphone, lessons=flash is not None) if microphone else None
        self.sensor_listener = SensorListener(config, adc) if adc else None
        standalone = {"flash": Out(FlashPins()), "active": Out(1), "fault": Out(1)} if flash else {}
        listening = {"microphone": Out(PINS), "in_word": Out(1)} if microphone else {}
        if adc:
            listening = {"sensor": Out(SENSOR_PINS)}
        memory = {"sdram": Out(SdramPins(self.clocked_sdram.chip))} if self.clocked_sdram else {}
        super().__init__(
            {"pins": Out(transport.pins), "busy": Out(1), "link": Out(1), **standalone, **listening, **memory}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.line = line = self.transport.line()
        m.submodules.host = host = Host(
            self.config,
            build_id=self.build_id,
            frame_bytes=self.frame_bytes,
            max_samples=self.max_samples,
            flash=self.area,
            sdram=self.sample_memory,
            idle_timeout_bits=self.idle_timeout_bits,
            lookup=self.lookup,
            front_end=self.front_end,
        )
        m.submodules.engine = engine = Engine(self.config, state_ram=self.state_ram)
        connect(m, line.pins, flipped(self.pins))
        connect(m, line.o, host.i)
        connect(m, host.o, line.i)
        if self.listener is not None:
            self._listen(m, self.listener, host, engine)
            connect(m, self.listener.pins, flipped(self.microphone))
            m.d.comb += self.in_word.eq(self.listener.in_word)
        elif self.sensor_listener is not None:
            self._listen(m, self.sensor_listener, host, engine)
            connect(m, self.sensor_listener.pins, flipped(self.sensor))
        else:
            connect(m, host.engine, engine.host)
        if self.config.external:
            connect(m, engine.sdram, flipped(self.sdram))
        if self.sample_memory:
            connect(m, host.sdram, flipped(self.sdram))
        m.d.comb += [self.busy.eq(engine.host.busy), self.link.eq(line.active)]
        if self.area is not None:
            connect(m, host.flash, flipped(self.flash))
            m.d.comb += [self.active.eq(host.active), self.fault.eq(host.fault)]
        return m

    def _listen(self, m: Module, listener: Listener | SensorListener, host: Host, engine: Engine) -> None:
        """The engine port goes through the listener."""
        m.submodules.listener = listener
        connect(m, host.engine, listener.host)
        connect(m, listener.engine, engine.host)
        if isinstance(listener, Listener) and self.area is not None:
            connect(m, listener.lesson, host.lesson)
        m.d.comb += [
            host.hold.eq(listener.hold),
            listener.held.eq(host.held),
            listener.loaded.eq(host.loaded),
        ]
