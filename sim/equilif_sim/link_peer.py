"""Host side of a transport, in C++, for equilif_sim.board: bytes to the pins of the design.

Each is a struct LinkPeer with

    gap                             maximum cycles between consecutive bytes
    void reset(Vboard &)            pins before the first cycle
    bool idle()                     no transfer is active
    bool ready()                    it accepts a byte
    void send(uint8_t, bool)        send a byte; false: damaged, with a detectable error
    void before(Vboard &)           set the pins for a cycle
    bool after(Vboard &, uint8_t &) sample the pins after it; returns whether a byte is received
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from equilif_hdl.link.uart import Uart

UART = r"""
// Frames of 10 bits, low bit first; a bit lasts GAP cycles on both sides.
struct LinkPeer {
    static const int gap = GAP;
    int sending = 0;            // bits left of the byte to the design
    int send_timer = 0;         // cycles left of its bit
    unsigned send_bits = 0;     // that bit and those after it
    int receiving = 0;          // bits left of the byte from the design
    int receive_timer = 0;      // cycles to the middle of the next one
    unsigned received = 0;
    void reset(Vboard &top) { top.RX = 1; }
    bool idle() const { return !sending && !receiving; }
    bool ready() const { return !sending; }
    void send(uint8_t byte, bool whole) {
        send_bits = (whole ? 0x200u : 0) | byte << 1;   // without its stop bit
        sending = 10;
        send_timer = gap;
    }
    void before(Vboard &top) { top.RX = sending ? send_bits & 1 : 1; }
    bool after(Vboard &top, uint8_t &byte) {
        if (sending && !--send_timer) {
            sending--;
            send_bits >>= 1;
            send_timer = gap;
        }
        if (!receiving) {
            if (!top.TX) {
                receiving = 9;
                receive_timer = gap + gap / 2;
                received = 0;
            }
            return false;
        }
        if (--receive_timer) return false;
        receive_timer = gap;
        if (--receiving) {
            received = received >> 1 | top.TX << 7;
            return false;
        }
        byte = received;
        return true;
    }
};
"""


def uart(transport: Uart) -> str:
    pins = UART.replace("RX", "pins___05Frx").replace("TX", "pins___05Ftx")
    return pins.replace("GAP", str(transport.divisor))


LINK_PEERS: Mapping[type, Callable[[Any], str]] = {Uart: uart}


def link_peer(transport: object) -> str:
    """C++ of the host side; ValueError for a transport without one."""
    if type(transport) not in LINK_PEERS:
        raise ValueError(f"a board with {transport} cannot be simulated: equilif_sim.link_peer lacks it")
    return LINK_PEERS[type(transport)](transport)
