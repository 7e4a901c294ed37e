"""Links between board and host: the transport of the design, and its pins.

A new transport is a class with the members of :class:`Link`, and a board with it in ``link``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

from amaranth import ClockDomain, ClockSignal, Const, Instance, Module, ResetSignal, Signal
from amaranth.build import Attrs, Clock, Pins, PinsN, Platform, Resource, Subsignal
from amaranth.lib import io
from amaranth.lib.cdc import ResetSynchronizer

from equilif_golden.fixed import check_int
from equilif_golden.link.udp import ADDRESS, MAX_DATA, PORT
from equilif_hdl.link import ethernet, uart, udp, usb
from equilif_hdl.link.transport import Transport
from equilif_hdl.link.uart import BITS, MIN_DIVISOR, Uart

#: minimum baud rate: a client times out at lower rates
MIN_BAUD = 9_600


class Link(Protocol):
    """Link of a board to the host."""

    @property
    def kind(self) -> str:
        """Name of the link, unique for a board."""

    @property
    def clocks(self) -> Mapping[str, float]:
        """Frequencies in Hz of its clock domains in addition to `sync`, by name, from the same PLL."""

    @property
    def place(self) -> str:
        """Connector of the host, for messages."""

    @property
    def bytes_per_second(self) -> float:
        """Maximum data rate in one direction."""

    def transport(self, clock_hz: float) -> Transport:
        """Transport for a design with this clock; ValueError if it is not possible."""

    def join(self, m: Module, platform: Platform, pins: Any) -> None:
        """Connect the pins of the transport to those of the board."""

    def for_simulation(self, clock_hz: float, baud: int | None = None) -> Link:
        """Link for a simulation: as fast as the clock allows, or at ``baud``."""


@dataclass(frozen=True, kw_only=True)
class UartLink:
    """A UART: the board's resource ``uart``.

    ``baud``: bits per second.  ``high``: outputs of the board that must be high.
    """

    baud: int
    place: str = "on the board's USB"
    high: tuple[str, ...] = ()
    kind: str = "uart"

    def __str__(self) -> str:
        return f"{self.baud / 1e6:.3g} Mbaud"

    @property
    def clocks(self) -> Mapping[str, float]:
        return {}

    @property
    def bytes_per_second(self) -> float:
        return self.baud / BITS

    def transport(self, clock_hz: float) -> Uart:
        return Uart.of(clock_hz, self.baud)

    def join(self, m: Module, platform: Platform, pins: uart.Pins) -> None:
        uart = platform.request("uart", 0, dir="-")
        m.submodules.rx = rx = io.Buffer(io.Direction.Input, uart.rx)
        m.submodules.tx = tx = io.Buffer(io.Direction.Output, uart.tx)
        m.d.comb += [pins.rx.eq(rx.i), tx.o.eq(pins.tx)]
        for name in self.high:
            m.submodules[name] = pin = io.Buffer(io.Direction.Output, platform.request(name, 0, dir="-"))
            m.d.comb += pin.o.eq(1)

    def for_simulation(self, clock_hz: float, baud: int | None = None) -> UartLink:
        fastest = int(clock_hz) // MIN_DIVISOR
        return replace(self, baud=fastest if baud is None else check_int(baud, "baud", MIN_BAUD, fastest))


@dataclass(frozen=True, kw_only=True)
class UsbLink:
    """USB at pins of the FPGA: the resource ``usb`` of the board."""

    place: str = "on the board's USB"
    kind: str = "usb"

    def __str__(self) -> str:
        return "USB"

    @property
    def clocks(self) -> Mapping[str, float]:
        return usb.CLOCKS

    @property
    def bytes_per_second(self) -> float:
        return 1000.0 * usb.PACKETS_PER_MS * usb.PACKET

    def transport(self, clock_hz: float) -> usb.Usb:
        return usb.Usb()

    def join(self, m: Module, platform: Platform, pins: usb.Pins) -> None:
        port = platform.request("usb", 0, dir="-")
        m.submodules.usb_p = p = io.Buffer(io.Direction.Bidir, port.d_p)
        m.submodules.usb_n = n = io.Buffer(io.Direction.Bidir, port.d_n)
        m.submodules.usb_pullup = pullup = io.Buffer(io.Direction.Output, port.pullup)
        m.d.comb += [
            pins.p_i.eq(p.i),
            pins.n_i.eq(n.i),
            p.o.eq(pins.p_o),
            n.o.eq(pins.n_o),
            p.oe.eq(pins.oe),
            n.oe.eq(pins.oe),
            pullup.o.eq(pins.pullup),
        ]

    def for_simulation(self, clock_hz: float, baud: int | None = None) -> UartLink:
        """A UART: the simulation transfers bytes."""
        return UartLink(baud=MIN_BAUD).for_simulation(clock_hz, baud)


def rgmii_resource(
    number: int, *, rx: tuple[str, str, str], tx: tuple[str, str, str], reset: str, attrs: Attrs
) -> Resource:
    """Pins for :class:`UdpLink`.  ``rx``, ``tx``: clock, control, data.  ``reset``: active low."""
    signals = [
        Subsignal("reset", PinsN(reset, dir="o")),
        Subsignal("rx_clock", Pins(rx[0], dir="i"), Clock(ethernet.ETH_HZ)),
        Subsignal("rx_control", Pins(rx[1], dir="i")),
        Subsignal("rx_data", Pins(rx[2], dir="i", assert_width=4)),
        Subsignal("tx_clock", Pins(tx[0], dir="o")),
        Subsignal("tx_control", Pins(tx[1], dir="o")),
        Subsignal("tx_data", Pins(tx[2], dir="o", assert_width=4)),
    ]
    return Resource(UdpLink.resource, number, *signals, attrs)


@dataclass(frozen=True, kw_only=True)
class UdpLink:
    """UDP over gigabit Ethernet by a PHY with RGMII, on an ECP5: :func:`rgmii_resource` of the board.

    ``address``: static IPv4 address of the board.  ``port``: its UDP port.  ``phy``: number of the resource.
    ``rx_delay``: s, of the receive data, which the PHY sends at the edges of its clock.
    """

    place: str
    address: str = ADDRESS
    port: int = PORT
    phy: int = 0
    rx_delay: float = 2e-9
    kind: str = "udp"
    resource: ClassVar[str] = "rgmii"
    #: bytes of a datagram in addition to its data: preamble, headers, FCS, gap
    overhead: ClassVar[int] = 74
    #: s of a step of DELAYG (Lattice FPGA-TN-02035)
    delay_step: ClassVar[float] = 25e-12

    def __str__(self) -> str:
        return f"gigabit Ethernet, {self.address}"

    @property
    def clocks(self) -> Mapping[str, float]:
        """None of the PLL: the PHY has its own."""
        return {}

    @property
    def bytes_per_second(self) -> float:
        return ethernet.ETH_HZ * MAX_DATA / (MAX_DATA + self.overhead)

    def transport(self, clock_hz: float) -> udp.Udp:
        return udp.Udp(self.address, self.port, clock_hz)

    def join(self, m: Module, platform: Platform, pins: ethernet.Pins) -> None:
        port = platform.request(self.resource, self.phy, dir="-")
        m.domains.eth = ClockDomain("eth")
        m.submodules.rgmii_clock = clock = io.Buffer(io.Direction.Input, port.rx_clock)
        m.d.comb += ClockSignal("eth").eq(clock.i)
        m.submodules.rgmii_reset = ResetSynchronizer(ResetSignal("sync"), domain="eth")
        m.submodules.rgmii_phy_reset = reset = io.Buffer(io.Direction.Output, port.reset)
        m.d.comb += reset.o.eq(ResetSignal("sync"))
        control = Signal(2)  # at both edges of the clock
        m.d.comb += [pins.rx_valid.eq(control[0]), pins.rx_error.eq(control[0] ^ control[1])]
        for name, pads, value in (
            ("data", port.rx_data, pins.rx_data),
            ("control", port.rx_control, control),
        ):
            m.submodules[f"rgmii_rx_{name}"] = pin = io.Buffer(io.Direction.Input, pads)
            for k, bit in enumerate(pin.i):
                delayed = Signal(name=f"rx_{name}_delayed_{k}")
                m.submodules[f"rgmii_rx_{name}_delay_{k}"] = Instance(
                    "DELAYG",
                    p_DEL_MODE="SCLK_ALIGNED",
                    p_DEL_VALUE=round(self.rx_delay / self.delay_step),
                    i_A=bit,
                    o_Z=delayed,
                )
                m.submodules[f"rgmii_rx_{name}_ddr_{k}"] = Instance(
                    "IDDRX1F",
                    i_D=delayed,
                    i_SCLK=ClockSignal("eth"),
                    i_RST=Const(0),
                    o_Q0=value[k],
                    o_Q1=value[len(pads) + k],
                )
        for name, pads, low, high in (
            ("clock", port.tx_clock, Const(1), Const(0)),
            ("control", port.tx_control, pins.tx_valid, pins.tx_valid),
            ("data", port.tx_data, pins.tx_data[:4], pins.tx_data[4:]),
        ):
            output: Any = io.DDRBuffer(io.Direction.Output, pads, o_domain="eth")
            m.submodules[f"rgmii_tx_{name}"] = output
            m.d.comb += [output.o[0].eq(low), output.o[1].eq(high)]

    def for_simulation(self, clock_hz: float, baud: int | None = None) -> UdpLink:
        """The same; ValueError with a baud rate."""
        if baud is not None:
            raise ValueError("a link over UDP has no baud rate: leave out --baud")
        return self
