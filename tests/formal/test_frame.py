"""Frames: accepted exactly when valid; replies are stable.

The proof uses a bitwise CRC-32, compared with zlib.  The last four bytes are the CRC of the others exactly
when the register ends at RESIDUE: proven for every register and every four bytes.
"""

from __future__ import annotations

import random
import zlib

import pytest
from amaranth import Cat, Mux, Signal
from amaranth.hdl import Value

from equilif_golden.link.protocol import CRC_BYTES, OVERHEAD, Status, seal
from equilif_hdl.link.frame import Framer
from tests.formal.prove import Proof, agree, needs_prover
from tests.formal.streams import stands

pytestmark = needs_prover
FRAME = "equilif_hdl.link.frame"
POLYNOMIAL = 0xEDB88320
START = 0xFFFFFFFF
RESIDUE = 0xDEBB20E3


def crc_step(crc: Value, byte: Value) -> Value:
    """CRC-32 register after a byte, low bit first."""
    for k in range(8):
        crc = (crc >> 1)[:31] ^ Mux(crc[0] ^ byte[k], POLYNOMIAL, 0)
    return crc[:32]


def test_crc_equals_zlib():
    rng = random.Random(1)
    cases = []
    for _ in range(500):
        message = rng.randbytes(rng.randint(0, 20))
        cases.append({"crc": zlib.crc32(message) ^ START, "byte": rng.getrandbits(8)})

    def golden(crc: int, byte: int) -> list[int]:
        return [zlib.crc32(bytes([byte]), crc ^ START) ^ START]

    agree(lambda crc, byte: [crc_step(crc, byte)], {"crc": 32, "byte": 8}, golden, cases)


def test_residue():
    p = Proof("register = RESIDUE after four bytes exactly if they are the CRC of the preceding bytes", FRAME)
    before = p.any(32, "before")
    last = p.any(32, "last")
    crc: Value = before
    for k in range(CRC_BYTES):
        after = Signal(32, name=f"after{k}")
        p.m.d.comb += after.eq(crc_step(crc, last.word_select(k, 8)))
        crc = after
    p.claim("both ways", (crc == RESIDUE) == (last == ~before))
    p.cover("right", (crc == RESIDUE) & (before == 0x12345678))
    p.always()


class ReceivedBytes:
    """Bytes received since the last END, and whether the framer accepted all."""

    def __init__(self, p: Proof, block: Framer):
        i = block.i
        self.listening = p.inside("block.listening", 1)
        self.count = Signal(range(34))  # bytes; 33: too many
        self.crc = Signal(32, init=START)
        self.lost = Signal()  # received while a frame was held
        self.byte = i.valid & ~i.p.end
        self.end = i.valid & i.p.end
        m = p.m
        with m.If(self.byte):
            m.d.sync += [
                self.crc.eq(crc_step(self.crc, i.p.data)),
                self.lost.eq(self.lost | ~self.listening),
                self.count.eq(Mux(self.count == 33, 33, self.count + 1)),
            ]
        with m.If(self.end):
            m.d.sync += [self.count.eq(0), self.crc.eq(START), self.lost.eq(0)]

    def follows(self, p: Proof) -> Value:
        """Invariants for the induction: the registers of the framer during a frame."""
        hears = self.listening & ~self.lost
        n = p.inside("block.n", range(33))
        long = p.inside("block.too_long", 1)
        p.claim("lost", p.inside("block.lost", 1) == self.lost)
        p.claim("nothing yet", self.listening | self.lost | (self.crc == START) & (self.count == 0))
        p.claim("bytes", ~hears | (n == Mux(self.count == 33, 32, self.count)) & (long == (self.count == 33)))
        p.claim("begins", (self.count != 0) | (self.crc == START))
        p.claim("no other", p.inside("block.line_lost", 1) == 0)
        p.claim("at most", self.count <= 33)
        return hears


def held_frames(p: Proof) -> Framer:
    """Frames of a line without a standalone trainer."""
    block = Framer(frame_bytes=32)
    p.free(block, but=("trainer_frame", "dropped", "dropped_end"))
    return block


@pytest.mark.long
def test_framer_crc():
    p = Proof("while the framer receives, its CRC register is the CRC-32 of the frame so far", FRAME)
    block = held_frames(p)
    line = ReceivedBytes(p, block)
    register = p.inside("block.crc_cell.crc_reg", 32)
    hears = line.follows(p)
    p.claim("CRC", ~hears | (line.count == 33) | (Cat(*reversed(list(register))) == line.crc))
    p.cover("a CRC that is right", hears & (line.crc == RESIDUE) & (line.count == 6))
    p.induced(reach=12)


def test_frame_verdict():
    """Uses the CRC verdict of the framer, proven above."""
    p = Proof("status is OK exactly for a complete frame with a correct CRC", FRAME)
    block = held_frames(p)
    line = ReceivedBytes(p, block)
    right = p.inside("block.crc_cell.match_detected", 1)
    i = block.i
    judged = Signal()  # a frame ended one cycle ago
    good = Signal()
    first = Signal(8)
    second = Signal(8)
    size = Signal(range(34))
    last = Signal(8 * OVERHEAD)  # bytes
    with p.m.If(line.byte):
        p.m.d.sync += last.eq(Cat(last[8:], i.p.data))
    with p.m.If(line.byte & (line.count == 0)):
        p.m.d.sync += first.eq(i.p.data)
    with p.m.If(line.byte & (line.count == 1)):
        p.m.d.sync += second.eq(i.p.data)
    whole = line.listening & ~line.lost & ~i.p.bad & (line.count >= OVERHEAD) & (line.count <= 32)
    p.m.d.sync += [
        judged.eq(line.end & line.listening & ((line.count != 0) | i.p.bad | line.lost)),
        good.eq(whole & right),
        size.eq(line.count),
    ]
    taken = judged & good
    hears = line.follows(p)
    p.claim("first", ~hears | (line.count < 1) | (block.command == first))
    p.claim("second", ~hears | (line.count < 2) | (block.sequence == second))
    p.claim("size", ~taken | (p.inside("block.n", range(33)) == size))
    p.claim("held", ~judged | block.full)
    p.claim("both ways", ~judged | ((block.status == Status.OK) == good))
    p.claim("end", ~p.before(taken) | (block.end == p.before(size) - CRC_BYTES))
    p.claim("command and sequence", ~taken | (block.command == first) & (block.sequence == second))
    p.claim("always ready", i.ready)
    p.claim("stands", stands(p, block.o))
    # a frame given in full: the prover would take long to find one with a right CRC
    p.cover("a good one", taken & (first == 3) & (last == int.from_bytes(seal(3, 0), "little")))
    p.cover("a bad CRC", judged & (block.status == Status.BAD_CRC))
    p.cover("an overrun", judged & (block.status == Status.OVERRUN))
    p.induced(2, reach=20)
