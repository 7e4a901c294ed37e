"""USB, full speed, at pins of the FPGA: a serial port (CDC ACM) for the host.

    D+, D- <--> [ luna: PHY, device, endpoints ] --> FIFO --> o: byte
                         12 MHz, 48 MHz          <-- FIFO <-- i: byte

The device is from `luna-usb`.  This module adds FIFOs between its clocks and that of the design, and drops
replies that no host fetches.

Clock domains: ``usb`` (12 MHz), ``usb_io`` (48 MHz, in phase with it), and ``sync`` (any frequency).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Protocol

from amaranth import Module, Signal
from amaranth.lib import cdc, fifo, wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.link.protocol import END
from equilif_hdl.link.transport import Line
from equilif_hdl.typed import Interface

#: Hz, by clock domain
CLOCKS = {"usb_io": 48e6, "usb": 12e6}
#: pid.codes: for tests, not for products
VENDOR, PRODUCT = 0x1209, 0x0001
NAME = "equilif"
PACKET = 64  #: maximum packet size in bytes
#: maximum number of packets in a frame of 1 ms (USB 2.0, table 5-9)
PACKETS_PER_MS = 19
FIFO_BYTES = 16
#: log2 of the 12 MHz cycles (350 ms) until a reply that no host fetches is dropped: longer than the timeout
#: after which a client resends
REPLY_TIMEOUT_BITS = 22


class Pins(Interface, Protocol):
    """Interface of PINS."""

    p_i: Signal
    n_i: Signal
    p_o: Signal
    n_o: Signal
    oe: Signal
    pullup: Signal


PINS = wiring.Signature(
    {"p_i": In(1), "n_i": In(1), "p_o": Out(1), "n_o": Out(1), "oe": Out(1), "pullup": Out(1)}
)


class UsbLine(Line):
    """D+ (``p``), D- (``n``), and the pull-up that signals a connected device.

    Throughput: up to 19 packets of 64 bytes a millisecond, as the host requests them.  A packet to the host
    is sent when it is full, or at the END of a reply.  ``error`` of ``o`` is never set: USB repeats damaged
    packets.
    """

    pins: Pins

    def __init__(self, reply_timeout_bits: int = REPLY_TIMEOUT_BITS):
        self.reply_timeout_bits = reply_timeout_bits
        super().__init__(PINS)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p, n = (SimpleNamespace(i=i, o=Signal(), oe=Signal()) for i in (self.pins.p_i, self.pins.n_i))
        pullup = SimpleNamespace(o=self.pins.pullup)
        m.submodules.device = device = _device(SimpleNamespace(d_p=p, d_n=n, pullup=pullup))
        m.d.comb += [
            device.connect.eq(1),
            self.pins.p_o.eq(p.o),
            self.pins.n_o.eq(n.o),
            self.pins.oe.eq(p.oe),
        ]
        m.submodules.received = received = fifo.AsyncFIFO(
            width=8, depth=FIFO_BYTES, w_domain="usb", r_domain="sync"
        )
        m.d.comb += [
            received.w_data.eq(device.rx.payload),
            received.w_en.eq(device.rx.valid),
            device.rx.ready.eq(received.w_rdy),
            self.o.p.data.eq(received.r_data),
            self.o.valid.eq(received.r_rdy),
            received.r_en.eq(self.o.ready),
        ]
        m.submodules.sent = sent = fifo.AsyncFIFO(width=8, depth=FIFO_BYTES, w_domain="sync", r_domain="usb")
        waited = Signal(self.reply_timeout_bits + 1)
        timed_out = waited[-1]
        with m.If(device.tx.ready | ~sent.r_rdy & ~timed_out):
            m.d.usb += waited.eq(0)
        with m.Elif(~timed_out):
            m.d.usb += waited.eq(waited + 1)
        m.d.comb += [
            sent.w_data.eq(self.i.payload),
            sent.w_en.eq(self.i.valid),
            self.i.ready.eq(sent.w_rdy),
            device.tx.payload.eq(sent.r_data),
            device.tx.last.eq(sent.r_data == END),
            device.tx.valid.eq(sent.r_rdy),
            sent.r_en.eq(device.tx.ready | timed_out),
        ]
        busy = Signal()
        m.submodules.busy = cdc.FFSynchronizer(device.rx.valid, busy)
        m.d.sync += self.active.eq(busy | self.i.valid)
        return m


def _device(bus: SimpleNamespace) -> Any:
    """Serial port of luna.  Assembled here, since luna names the second endpoint of a class by its memory
    address, so that the netlist would differ in every run.
    """
    from luna.gateware.usb.devices.acm import ACMRequestHandlers, USBSerialDevice
    from luna.gateware.usb.usb2.device import USBDevice
    from luna.gateware.usb.usb2.endpoints.stream import USBStreamInEndpoint, USBStreamOutEndpoint
    from luna.gateware.usb.usb2.request import StallOnlyRequestHandler
    from usb_protocol.types import USBRequestType

    status: Any = type("Status", (USBStreamInEndpoint,), {})

    class SerialDevice(USBSerialDevice):
        def elaborate(self, platform: object) -> Module:
            m = Module()
            m.submodules.usb = usb = USBDevice(bus=self._bus)
            control = usb.add_standard_control_endpoint(USBSerialDevice.create_descriptors(self))
            control.add_request_handler(ACMRequestHandlers())
            control.add_request_handler(
                StallOnlyRequestHandler(
                    lambda setup: (
                        (setup.type == USBRequestType.VENDOR) | (setup.type == USBRequestType.RESERVED)
                    )
                )
            )
            size: Any = {"max_packet_size": PACKET}
            received = USBStreamOutEndpoint(endpoint_number=self._DATA_ENDPOINT_NUMBER, **size)
            sent = USBStreamInEndpoint(endpoint_number=self._DATA_ENDPOINT_NUMBER, **size)
            usb.add_endpoint(status(endpoint_number=self._STATUS_ENDPOINT_NUMBER, **size))
            usb.add_endpoint(received)
            usb.add_endpoint(sent)
            m.d.comb += [
                sent.stream.stream_eq(self.tx),
                self.rx.stream_eq(received.stream),
                usb.connect.eq(self.connect),
            ]
            return m

    device: Any = SerialDevice
    return device(
        bus=bus,
        idVendor=VENDOR,
        idProduct=PRODUCT,
        manufacturer_string=NAME,
        product_string=NAME,
        max_packet_size=PACKET,
    )


@dataclass(frozen=True)
class Usb:
    """Description of a USB port, a Transport."""

    reply_timeout_bits: int = REPLY_TIMEOUT_BITS

    @property
    def pins(self) -> wiring.Signature:
        return PINS

    def line(self) -> UsbLine:
        return UsbLine(self.reply_timeout_bits)
