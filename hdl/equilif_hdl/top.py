"""The complete design: everything between two pins and the weights.

rx --> UART --> SLIP --> frames --+--> Host --> EnginePort --> Engine
tx <-- UART <-- SLIP <-- replies -+                (program, scanner, walker, lanes, weight banks)
                                  +--> busy, link
"""

from __future__ import annotations

from typing import Any

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from equilif_golden.engine.config import EngineConfig
from equilif_golden.link.protocol import FRAME_BYTES
from equilif_hdl.engine.engine import Engine
from equilif_hdl.link.host import SerialHost
from equilif_hdl.link.uart import SMALLEST_DIVISOR

#: the receiver allows 5 %, less its sampling error; the other side wants its share
BAUD_TOLERANCE = 0.02


def uart_divisor(clock_hz: float, baud: int) -> int:
    """Clock cycles a bit; ValueError when the clock cannot make the rate closely enough."""
    divisor = round(clock_hz / baud)
    mhz = f"{clock_hz / 1e6:g} MHz"
    if divisor < SMALLEST_DIVISOR:
        needed = f"{SMALLEST_DIVISOR * baud / 1e6:g} MHz"
        raise ValueError(f"{baud} baud need a clock of at least {needed}, not {mhz}")
    error = clock_hz / divisor / baud - 1
    if abs(error) > BAUD_TOLERANCE:
        raise ValueError(f"{mhz} makes {clock_hz / divisor:.0f} baud, {100 * error:+.1f} % from {baud}")
    return divisor


class Top(wiring.Component):
    """Members
    -------
    rx, tx : In(1), Out(1)
        UART, idle high; ``rx`` need not be synchronised.
    busy : Out(1)
        The engine runs.
    link : Out(1)
        A byte is on its way, in either direction.

    ``build_id`` is what IDENTIFY answers, 32 bits.  ``state_ram``: see equilif_hdl.engine.engine.Engine.
    ``frame_bytes``: longest frame, 4,096 at most.
    """

    rx: Signal
    tx: Signal
    busy: Signal
    link: Signal

    def __init__(
        self,
        config: EngineConfig,
        *,
        clock_hz: float,
        baud: int,
        build_id: int = 0,
        state_ram: str | None = None,
        frame_bytes: int = FRAME_BYTES,
    ):
        self.config = config
        self.divisor = uart_divisor(clock_hz, baud)
        self.build_id = build_id
        self.state_ram = state_ram
        self.frame_bytes = frame_bytes
        super().__init__({"rx": In(1), "tx": Out(1), "busy": Out(1), "link": Out(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.link = link = SerialHost(
            self.config, divisor=self.divisor, build_id=self.build_id, frame_bytes=self.frame_bytes
        )
        m.submodules.engine = engine = Engine(self.config, state_ram=self.state_ram)
        connect(m, link.engine, engine.host)
        line = Signal()  # registered: `rx` is asynchronous
        m.d.sync += line.eq(self.rx & link.tx)
        m.d.comb += [
            link.rx.eq(self.rx),
            self.tx.eq(link.tx),
            self.busy.eq(engine.host.busy),
            self.link.eq(~line),
        ]
        return m
