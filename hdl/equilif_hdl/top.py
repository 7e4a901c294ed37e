"""The complete design: everything between the pins of a transport and the weights.

pins --> transport --> SLIP --> frames --+--> Host --> EnginePort --> Engine
pins <-- transport <-- SLIP <-- replies -+                (program, scanner, walker, lanes, weight banks)
flash <--> controller <--> trainer <------+
                                         +--> busy, link
"""

from __future__ import annotations

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import Out, connect, flipped

from equilif_golden.engine.config import EngineConfig
from equilif_golden.link.flash import Area
from equilif_golden.link.protocol import FRAME_BYTES
from equilif_hdl.engine.engine import Engine
from equilif_hdl.link.flash import FlashPins
from equilif_hdl.link.host import Host
from equilif_hdl.link.identity import LookupTable
from equilif_hdl.link.standalone import QUIET_BITS
from equilif_hdl.link.transport import Transport
from equilif_hdl.typed import Interface


class Top(wiring.Component):
    """Members
    -------
    pins : Out(those of the transport)
    busy : Out(1)
        The engine runs.
    link : Out(1)
        A byte is on its way, in either direction.
    flash : Out(equilif_hdl.link.flash.FlashPins)
        With ``flash`` alone.
    active, fault : Out(1)
        The same: the trainer is at work, or stopped by itself.

    ``build_id`` is what IDENTIFY answers, 32 bits.  ``state_ram``: see equilif_hdl.engine.engine.Engine.
    ``frame_bytes``: longest frame, 4,096 at most.  ``flash``: the area of a flash in which the board keeps
    what it works with alone.  ``quiet_bits``: see
    equilif_hdl.link.standalone.StandaloneTrainer.  ``lookup``: see equilif_hdl.link.identity.IdentityRom.
    """

    pins: Interface
    busy: Signal
    link: Signal
    flash: FlashPins.Members
    active: Signal
    fault: Signal

    def __init__(
        self,
        config: EngineConfig,
        *,
        transport: Transport,
        build_id: int = 0,
        state_ram: str | None = None,
        frame_bytes: int = FRAME_BYTES,
        flash: Area | None = None,
        quiet_bits: int = QUIET_BITS,
        lookup: LookupTable | None = None,
    ):
        self.config = config
        self.transport = transport
        self.build_id = build_id
        self.state_ram = state_ram
        self.frame_bytes = frame_bytes
        self.area = flash
        self.quiet_bits = quiet_bits
        self.lookup = lookup
        alone = {"flash": Out(FlashPins()), "active": Out(1), "fault": Out(1)} if flash else {}
        super().__init__({"pins": Out(transport.pins), "busy": Out(1), "link": Out(1), **alone})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.line = line = self.transport.line()
        m.submodules.host = host = Host(
            self.config,
            build_id=self.build_id,
            frame_bytes=self.frame_bytes,
            flash=self.area,
            quiet_bits=self.quiet_bits,
            lookup=self.lookup,
        )
        m.submodules.engine = engine = Engine(self.config, state_ram=self.state_ram)
        connect(m, line.pins, flipped(self.pins))
        connect(m, line.o, host.i)
        connect(m, host.o, line.i)
        connect(m, host.engine, engine.host)
        m.d.comb += [self.busy.eq(engine.host.busy), self.link.eq(line.active)]
        if self.area is not None:
            connect(m, host.flash, flipped(self.flash))
            m.d.comb += [self.active.eq(host.active), self.fault.eq(host.fault)]
        return m
