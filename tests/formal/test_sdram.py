"""SDRAM controller with the model of the chip: no timing is violated, and a read returns the last write.

The chip has few words of one bit, and its refresh interval is short: registers are fewer, and the states of
the controller are the same.
"""

from __future__ import annotations

import pytest
from amaranth import Cat, Signal

from equilif_golden.sdram import BANKS, Chip, Op
from equilif_hdl.sdram import SdramController
from equilif_sim.sdram import SdramBench
from equilif_sim.sdram_chip import Rule
from tests.formal.prove import Proof, needs_prover

pytestmark = needs_prover
SDRAM = "equilif_hdl.sdram"
HZ = 1_000_000  #: so that a cycle is 1000 ns
SMALL = Chip(
    name="small",
    width=1,
    rows=2,
    columns=2,
    rp=2000,
    rcd=2000,
    ras=5000,
    wr=2000,
    rfc=7000,
    rrd=2000,
    refreshes=1600,
    power_up=3000,
)
QUEUE = 4
START = SMALL.timing(HZ).start


def bench() -> SdramBench:
    return SdramBench(SMALL, HZ, controller=SdramController(SMALL, SMALL.timing(HZ), queue=QUEUE))


def test_timings():
    p = Proof("no command violates a timing of the chip, or the state of a bank", SDRAM)
    block = bench()
    p.free(block)
    late = 1 << Rule.LATE_REFRESH
    p.claim("no violation", block.violation & ~late == 0)
    for op in (Op.READ, Op.WRITE):
        p.cover(op.name, (block.op == op) & (block.bank == BANKS - 1))
    p.cover("a row is closed", (block.op == Op.PRECHARGE) & (block.address == 0))
    p.reached(reach=START + 60)


def test_refresh_is_not_delayed():
    p = Proof("a refresh comes within some cycles of the end of its interval, whatever is requested", SDRAM)
    t = SMALL.timing(HZ)
    block = SdramController(SMALL, t, queue=QUEUE)
    p.free(block)
    due = p.inside("block.due", 1)
    running = Signal()  # after the initialisation, in which intervals do not count
    with p.m.If(p.before(block.pins.op == Op.WRITE_MODE)):
        p.m.d.sync += running.eq(1)
    delay = Signal(6)
    with p.m.If(due & running):
        p.m.d.sync += delay.eq(delay + 1)
    with p.m.Else():
        p.m.d.sync += delay.eq(0)
    ends = running & p.before(due) & ~due
    p.claim("soon", delay <= t.rcd + t.ras + t.rp)
    p.claim("by a refresh", ~ends | (block.pins.op == Op.REFRESH))
    p.cover("in a burst", due & (block.pins.op == Op.WRITE))
    p.reached(reach=START + 60)


def test_read_returns_last_write():
    """Follows one address, and one read of it that is chosen when its burst is accepted."""
    p = Proof("a read returns the last word written to its address before, in the order of the bursts", SDRAM)
    m = p.m
    block = bench()
    p.free(block, but=("port__request__payload",))
    port = block.port
    longest = 3  # of a burst: it crosses a page, a bank or the end of the chip
    address = p.any(4, "address")
    length = p.any(2, "length")
    is_write = p.any(1, "is_write")
    m.d.comb += [
        port.request.p.address.eq(address),
        port.request.p.length.eq(length),
        port.request.p.is_write.eq(is_write),
    ]
    target = p.constant(4, "target")
    accepted = port.request.valid & port.request.ready
    written = port.w.valid & port.w.ready
    delivered = port.r.valid & port.r.ready
    # the last word written to the target
    at = Signal(4)
    known = Signal()
    value = Signal()
    with m.If(written):
        m.d.sync += at.eq(at + 1)
        with m.If(at == target):
            m.d.sync += [known.eq(1), value.eq(port.w.payload)]
    with m.If(accepted & is_write):
        m.d.sync += at.eq(address)
    last = Signal()  # with a word that is written in this cycle
    m.d.comb += last.eq(value)
    with m.If(written & (at == target)):
        m.d.comb += last.eq(port.w.payload)
    is_known = known | written & (at == target)
    # words that were requested and not delivered, and of them those before the chosen one
    outstanding = Signal(6)
    offset = (target - address)[:4]
    reads = accepted & ~is_write
    m.d.sync += outstanding.eq(outstanding - delivered + reads * (length + 1))
    chosen = Signal()
    ahead = Signal(6)
    wanted = Signal()
    with m.If(chosen & delivered):
        m.d.sync += [ahead.eq(ahead - 1), chosen.eq(ahead != 0)]
    with m.If(~chosen & reads & is_known & (offset <= length) & p.any(1, "choose")):
        m.d.sync += [chosen.eq(1), wanted.eq(last), ahead.eq(outstanding - delivered + offset)]
    arrives = chosen & delivered & (ahead == 0)
    p.claim("the last write", ~arrives | (port.r.payload == wanted))
    p.cover("arrives", arrives & wanted)
    p.reached(reach=START + 30)
