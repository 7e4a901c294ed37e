"""What carries bytes between a host and the design: a UART, or another component of the same form.

    host program <-- cable --> pins --+--> [ transport ] --> o: received bytes --> SLIP --> frames
                                      '<-- [           ] <-- i: bytes          <-- SLIP <-- replies

Above it nobody knows which transport there is.  A new one is a component with these members, and a
description of it, from which equilif_hdl.top makes it.
"""

from __future__ import annotations

from typing import Protocol

from amaranth import Module, Signal
from amaranth.hdl import Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from equilif_hdl.typed import Fields, Interface, Layout, Stream


class Received(Fields):
    """A byte that came.  ``error``: it is damaged, or bytes before it are lost."""

    data: Value
    error: Value


RECEIVED: Layout[Received] = Layout({"data": 8, "error": 1})


class Line(wiring.Component):
    """Base of every transport.

    Members
    -------
    pins : Out(the transport's own)
        What goes to the pins of the device.
    i : In(stream of 8)
        Bytes to the host.
    o : Out(stream of RECEIVED)
        Bytes from the host.
    active : Out(1)
        A byte is on its way, in either direction.
    """

    pins: Interface
    i: Stream[Signal]
    o: Stream[Received]
    active: Signal

    def __init__(self, pins: wiring.Signature):
        super().__init__(
            {
                "pins": Out(pins),
                "i": In(stream.Signature(8)),
                "o": Out(stream.Signature(RECEIVED)),
                "active": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        raise NotImplementedError


class Transport(Protocol):
    """A transport as data."""

    @property
    def pins(self) -> wiring.Signature:
        """Its pins, as the design drives them."""

    def line(self) -> Line:
        """A new component."""
