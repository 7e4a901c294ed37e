"""UART: the receiver outputs the bytes of the transmitter."""

from __future__ import annotations

import pytest
from amaranth import Signal

from equilif_hdl.link.uart import BITS, UartReceiver, UartTransmitter
from tests.formal.prove import Proof, needs_prover
from tests.formal.streams import stands

pytestmark = needs_prover
UART = "equilif_hdl.link.uart"


@pytest.mark.long
@pytest.mark.parametrize("divisor", [4, 5])
def test_uart_round_trip(divisor):
    """A queue of at most two bytes: one on the line and one waiting."""
    p = Proof(f"receiver(transmitter(byte)) = byte; none is lost or duplicated (divisor {divisor})", UART)
    tx = UartTransmitter(divisor)
    rx = UartReceiver(divisor)
    p.free(tx, "tx")
    p.free(rx, "rx", but=("rx", "o__ready"))
    p.m.d.comb += [rx.rx.eq(tx.tx), rx.o.ready.eq(1)]
    taken = tx.i.valid & tx.i.ready
    count = Signal(range(4))
    oldest = Signal(8)
    newest = Signal(8)
    p.m.d.sync += count.eq(count + taken - rx.o.valid)
    with p.m.If(taken):
        p.m.d.sync += newest.eq(tx.i.payload)
        with p.m.If((count == 0) | (count == 1) & rx.o.valid):
            p.m.d.sync += oldest.eq(tx.i.payload)
    with p.m.If(rx.o.valid & (count == 2)):
        p.m.d.sync += oldest.eq(newest)
    p.claim("arrives", ~rx.o.valid | (count != 0) & (rx.o.p.data == oldest) & ~rx.o.p.error)
    p.claim("no more than two", (count <= 2) & ~(taken & ~rx.o.valid & (count == 2)))
    p.cover("two", rx.o.valid & (rx.o.p.data == 0xA5) & p.before(rx.o.valid, divisor * BITS))
    p.cover("two on their way", count == 2)
    p.reached(reach=3 * divisor * BITS, simplify="scorr -F 2")


def test_receiver_handshake():
    p = Proof("a received byte is held until it is accepted, and a lost byte is reported", UART)
    block = UartReceiver(4)
    p.free(block)
    p.claim("stands", stands(p, block.o))
    p.cover("waits", p.before(block.o.valid & ~block.o.ready, 3))
    p.cover("an error", block.o.valid & block.o.p.error)
    p.reached(reach=90)
