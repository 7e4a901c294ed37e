"""Host side of a transport, in C++, for equilif_sim.board: bytes to the pins of the design.

Each is a struct LinkPeer with

    gap                             maximum cycles between consecutive bytes
    void reset(Vboard &)            pins before the first cycle
    bool idle()                     no transfer is active
    bool ready()                    it accepts a byte; several in a cycle, until it does not
    void send(uint8_t, bool)        send a byte; false: damaged, with a detectable error
    void before(Vboard &)           set the pins for a cycle
    bool after(Vboard &, uint8_t &) sample the pins after it; returns whether a byte is received
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from equilif_golden.link.protocol import ESC, ESC_END, ESC_ESC
from equilif_hdl.link.ethernet import ETH_HZ, GAP
from equilif_hdl.link.uart import Uart
from equilif_hdl.link.udp import Udp

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


UDP = r"""
// A station of the network.  The bytes are frames of Ethernet with their FCS, each encoded by SLIP.
struct LinkPeer {
    static const int gap = 200;         // from the last byte of a reply to the first one of its datagram
    std::vector<uint8_t> frame;         // to the design, with the preamble
    size_t sent = 0;                    // bytes of it
    bool sending = false;
    int pause = 0;                      // cycles until the next frame
    bool escaped = false;
    std::vector<uint8_t> line;          // from the design, encoded
    size_t given = 0;                   // bytes of it
    bool receiving = false;             // a frame from the design
    bool active = false;                // bytes in the design
    int preamble = 0;                   // bytes of it left
    long phase = 0;                     // of the network's clock
    void clock(Vboard &top) {
        top.eth_clk = 0;
        top.eval();
        top.eth_clk = 1;
        top.eval();
    }
    void reset(Vboard &top) {
        top.RX_DATA = 0;
        top.RX_VALID = 0;
        top.RX_ERROR = 0;
        top.eth_rst = 1;
        clock(top);
        clock(top);
        top.eth_rst = 0;
    }
    bool idle() const { return !sending && !receiving && !active && given == line.size(); }
    bool ready() const { return !sending && !pause; }
    void send(uint8_t byte, bool whole) {
        if (frame.empty()) frame = {0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0xD5};
        if (byte == END) sending = frame.size() > 8;
        else if (byte == ESC) escaped = true;
        else frame.push_back(!escaped ? byte : byte == ESC_ESC ? ESC : END);
        if (byte != ESC) escaped = false;
        if (!whole) frame.back() ^= 1;
    }
    void before(Vboard &top) {
        active = top.link;
        for (phase += ETH_HZ; phase >= CLOCK_HZ; phase -= CLOCK_HZ) cycle(top);
    }
    void cycle(Vboard &top) {
        top.RX_VALID = sending;
        top.RX_DATA = sending ? frame[sent] : 0;
        clock(top);
        if (pause) pause--;
        if (sending && ++sent == frame.size()) {
            frame.clear();
            sent = 0;
            sending = false;
            pause = GAP;
        }
        if (top.TX_VALID) {
            uint8_t byte = top.TX_DATA;
            if (!receiving) preamble = 8;
            receiving = true;
            if (preamble) preamble--;
            else if (byte == END || byte == ESC) {
                line.push_back(ESC);
                line.push_back(byte == END ? ESC_END : ESC_ESC);
            } else line.push_back(byte);
        } else if (receiving) {
            receiving = false;
            line.push_back(END);
        }
    }
    bool after(Vboard &, uint8_t &byte) {
        if (given == line.size()) return false;
        byte = line[given++];
        if (given == line.size()) {
            line.clear();
            given = 0;
        }
        return true;
    }
};
"""


def udp(transport: Udp) -> str:
    names = {
        "RX_DATA": "pins___05Frx_data",
        "RX_VALID": "pins___05Frx_valid",
        "RX_ERROR": "pins___05Frx_error",
        "TX_DATA": "pins___05Ftx_data",
        "TX_VALID": "pins___05Ftx_valid",
        "ETH_HZ": str(round(ETH_HZ)),
        "CLOCK_HZ": str(round(transport.clock_hz)),
        "GAP": str(GAP),
    }
    text = UDP
    for name, value in names.items():
        text = text.replace(name, value)
    codes = {"ESC": ESC, "ESC_END": ESC_END, "ESC_ESC": ESC_ESC}
    return "".join(f"const uint8_t {name} = {code};\n" for name, code in codes.items()) + text


LINK_PEERS: Mapping[type, Callable[[Any], str]] = {Uart: uart, Udp: udp}


def link_peer(transport: object) -> str:
    """C++ of the host side; ValueError for a transport without one."""
    if type(transport) not in LINK_PEERS:
        raise ValueError(f"a board with {transport} cannot be simulated: equilif_sim.link_peer lacks it")
    return LINK_PEERS[type(transport)](transport)
