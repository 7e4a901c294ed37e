"""SDRAM controller with the model of the chip: no timing is violated, and a read returns the last write.

That is shown in two steps: commands access the words of bursts in order, each at its place, and the words of
READs come in order.  A chip that stores what is written then returns the last write.

The chip has few words of one bit, and its refresh interval is short: registers are fewer, and the states of
the controller are the same.
"""

from __future__ import annotations

from amaranth import Array, Cat, Signal

from equilif_golden.sdram import BANKS, IO_DELAY, LENGTH_BITS, SdramOp, SdramType
from equilif_hdl.sdram import SdramController, SdramReads
from equilif_sim.sdram import SdramBench
from equilif_sim.sdram_chip import Rule
from tests.formal.prove import Proof, needs_prover

pytestmark = needs_prover
SDRAM = "equilif_hdl.sdram"
HZ = 10_000_000  #: so that a cycle is 100 ns
SMALL = SdramType(
    name="small",
    width=1,
    rows=2,
    columns=2,
    rp=200,
    rcd=200,
    ras=500,
    wr=200,
    rfc=700,
    rrd=200,
    refreshes=16_000,
    power_up=300,
)
QUEUE = 4
ADDRESS_BITS = (SMALL.words - 1).bit_length()
START = SMALL.timing(HZ).start


def bench() -> SdramBench:
    return SdramBench(SMALL, HZ, controller=SdramController(SMALL, SMALL.timing(HZ), queue=QUEUE))


def test_timings():
    p = Proof("no command violates a timing of the chip, or the state of a bank", SDRAM)
    block = bench()
    p.free(block)
    late = 1 << Rule.LATE_REFRESH
    p.claim("no violation", block.violation & ~late == 0)
    for op in (SdramOp.READ, SdramOp.WRITE):
        p.cover(op.name, (block.op == op) & (block.bank == BANKS - 1))
    p.cover("a row is closed", (block.op == SdramOp.PRECHARGE) & (block.address == 0))
    p.reached(reach=START + 60)


def test_refresh_is_not_delayed():
    p = Proof("a refresh comes within some cycles of the end of its interval, whatever is requested", SDRAM)
    t = SMALL.timing(HZ)
    block = SdramController(SMALL, t, queue=QUEUE)
    p.free(block)
    due = p.inside("block.due", 1)
    running = Signal()  # after the initialisation, in which intervals do not count
    with p.m.If(p.before(block.pins.op == SdramOp.WRITE_MODE)):
        p.m.d.sync += running.eq(1)
    delay = Signal(6)
    with p.m.If(due & running):
        p.m.d.sync += delay.eq(delay + 1)
    with p.m.Else():
        p.m.d.sync += delay.eq(0)
    ends = running & p.before(due) & ~due
    p.claim("soon", delay <= t.rcd + t.ras + t.rp)
    p.claim("by a refresh", ~ends | (block.pins.op == SdramOp.REFRESH))
    p.cover("in a burst", due & (block.pins.op == SdramOp.WRITE))
    p.reached(reach=START + 60)


def test_words_are_accessed_in_order():
    """Compares each command with the burst in the cycle of its decision, and each burst with the one before,
    or with the request that waited.  Words to write are compared at the output of their queue.

    The row is that which the bank has open for the chip.
    """
    p = Proof("words of bursts are accessed in order, each at its row, bank and column, with its data", SDRAM)
    m = p.m
    block = SdramController(SMALL, SMALL.timing(HZ), queue=QUEUE)
    p.free(block)
    port, pins = block.port, block.pins
    rows = Array(Signal(name=f"its_row_{k}") for k in range(BANKS))
    with m.If(pins.op == SdramOp.ACTIVATE):
        m.d.sync += rows[pins.bank].eq(pins.address)
    is_write = pins.op == SdramOp.WRITE
    access = is_write | (pins.op == SdramOp.READ)
    current = p.inside("block.current", ADDRESS_BITS + LENGTH_BITS + 1)
    active = p.inside("block.active", 1)
    before, was_active = p.before(current), p.before(active)
    address, length = before[:ADDRESS_BITS], before[ADDRESS_BITS:-1]
    pending = p.inside("block.pending", len(current))
    waits = p.inside("block.waits", 1)
    was_waiting = p.before(waits)
    accepted = p.before(port.request.valid & port.request.ready)
    p.claim("accepted", ~accepted | ~was_waiting & waits & (pending == p.before(port.request.payload)))
    p.claim("waits", accepted | ~waits | was_waiting & (pending == p.before(pending)))
    begins = was_waiting & ~waits
    p.claim("begins", ~begins | active & (current == p.before(pending)))
    p.claim("after the last word", ~begins | ~was_active | access & (length == 0))
    p.claim("held", begins | access | (active == was_active) & (~active | (current == before)))
    p.claim("ends", begins | ~access | (active == (length != 0)))
    following = Cat((address + 1)[:ADDRESS_BITS], (length - 1)[:LENGTH_BITS], before[-1])
    p.claim("next word", begins | ~access | ~active | (current == following))
    p.claim("place", ~access | was_active & (Cat(pins.address[0], pins.bank, rows[pins.bank]) == address))
    p.claim("direction", ~access | (is_write == before[-1]))
    valid, taken, word = (p.inside(f"block.words.{name}", 1) for name in ("r_rdy", "r_en", "r_data"))
    p.claim("each word that is taken", p.before(valid & taken) == is_write)
    p.claim("is written", ~is_write | pins.dq_oe & (pins.dq_o == p.before(word)))
    p.claim("the last one is reported", port.written == (is_write & p.before(current[ADDRESS_BITS:-1] == 0)))
    p.cover("the next page", access & (address == 2) & p.before(access & (address == 1), 4))
    p.reached(reach=START + 30)


def test_reads_are_delivered_in_order():
    """Follows one READ, of which the words before it are counted."""
    p = Proof("the word of a READ is that of the data bus after the latency, and comes in order", SDRAM)
    m = p.m
    latency = SMALL.timing(HZ).cas + IO_DELAY
    block = SdramReads(2, latency=latency, queue=QUEUE)
    p.free(block, but=("read",))
    may_read = Signal()
    m.d.sync += may_read.eq(block.space)
    m.d.comb += block.read.eq(may_read & p.any(1, "reads"))
    transferred = block.r.valid & block.r.ready
    outstanding = Signal(range(QUEUE + 1))
    m.d.sync += outstanding.eq(outstanding + block.read - transferred)
    chosen = Signal()
    ahead = Signal.like(outstanding)
    with m.If(chosen & transferred):
        m.d.sync += [ahead.eq(ahead - 1), chosen.eq(ahead != 0)]
    choose = block.read & ~chosen & p.any(1, "choose")
    with m.If(choose):
        m.d.sync += [chosen.eq(1), ahead.eq(outstanding - transferred)]
    word = Signal(2)
    on_bus = p.before(choose, latency)
    with m.If(on_bus):
        m.d.sync += word.eq(block.dq)
    p.claim("its word", ~(chosen & transferred & (ahead == 0)) | (block.r.payload == word))
    p.claim("no more than asked for", ~transferred | (outstanding != 0))
    p.claim("no more than the queue holds", outstanding <= QUEUE)
    p.cover("comes", chosen & transferred & (ahead == 0) & (word == 2))
    p.cover("full", outstanding == QUEUE)
    p.reached(reach=40)
