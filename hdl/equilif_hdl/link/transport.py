"""Transports: carry bytes between host and design.

    host program <-- cable --> pins --+--> [ transport ] --> o: received bytes --> SLIP --> frames
                                      '<-- [           ] <-- i: bytes          <-- SLIP <-- replies

The rest of the design does not depend on the transport.  A new one is a subclass of Line, and a description
with the members of Transport, from which equilif_hdl.top creates it.
"""

from __future__ import annotations

from typing import Protocol

from amaranth import Module, Signal
from amaranth.hdl import Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from equilif_hdl.typed import Fields, Interface, Layout, Stream


class Received(Fields):
    """A received byte.  ``error``: it is damaged, or bytes before it are lost."""

    data: Value
    error: Value


RECEIVED: Layout[Received] = Layout({"data": 8, "error": 1})


class Line(wiring.Component):
    """Base of every transport.

    Members
    -------
    pins : Out
        Signals of the device pins, specific to the transport.
    i : In(stream of 8)
        Bytes to the host.
    o : Out(stream of RECEIVED)
        Bytes from the host.
    active : Out(1)
        A byte is being transferred, in either direction.
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
    """Description of a transport."""

    @property
    def pins(self) -> wiring.Signature:
        """Signature of its pins."""

    def line(self) -> Line:
        """Create the component."""
