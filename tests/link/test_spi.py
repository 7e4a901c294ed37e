"""RTL of the SPI link, and its bytes."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("amaranth_boards")

from equilif.host.buses import SPI
from equilif_boards import BOARDS
from equilif_golden.engine.config import EngineConfig
from equilif_golden.link.protocol import END
from equilif_golden.link.spi import CODES, ESCAPE, NOTHING, Slave, Unstuffer, stuff
from equilif_hdl.link.spi import Spi, SpiLine
from equilif_hdl.top import Top
from equilif_sim.tools.run import simulate
from tests.engines import visible
from tests.plans import SMALL, pads, planned

REPLY_TIMEOUT_BITS = 12
BYTES = st.binary() | st.lists(st.sampled_from((NOTHING, ESCAPE, *CODES, END, 0))).map(bytes)


@given(BYTES, st.randoms())
def test_byte_stuffing_round_trip(data, rng):
    """With idle bytes at any position, in pieces of any size."""
    line = stuff(data)
    assert NOTHING not in line and line.count(ESCAPE) == data.count(ESCAPE) + data.count(NOTHING)
    spread = b"".join(bytes([NOTHING]) * rng.randrange(3) + bytes([b]) for b in line)
    cut = rng.randrange(len(spread) + 1)
    decoder = Unstuffer()
    assert decoder.data(spread[:cut]) + decoder.data(spread[cut:]) == data and not decoder.escaped
    one_by_one = [Unstuffer().take(b) for b in range(256)]
    assert one_by_one.count(None) == 2


@given(BYTES, BYTES)
def test_slave_output(there, here):
    slave = Slave()
    slave.sent.extend(there)
    line = stuff(here) + bytes([NOTHING]) * (len(stuff(there)) + 1)
    came = bytes(slave.exchange(byte) for byte in line)
    assert came[0] == NOTHING and Unstuffer().data(came) == there
    assert slave.received == [(byte, False) for byte in here]


def test_shifted_bits_end_no_frame():
    """A host shifted by bits sees no END from a silent device."""
    shifted = {(NOTHING << k | NOTHING >> 8 - k) & 255 for k in range(1, 8)}
    assert len(shifted) == 7 and not shifted & {NOTHING, END, 0, 255}


@pytest.mark.regress  # by default: the complete design over SPI, below
@pytest.mark.parametrize("simulator, reply_timeout_bits", [("icarus", REPLY_TIMEOUT_BITS), ("verilator", 0)])
def test_both_directions(simulator, reply_timeout_bits, tmp_path):
    config = {"reply_timeout_bits": reply_timeout_bits}
    dut = SpiLine(reply_timeout_bits)
    bench = "equilif_sim.link.spi"
    seen = visible("spiline *")
    assert simulate(dut, bench, tmp_path, config=config, simulator=simulator, visible=seen) == 21


def test_min_cycles_per_bit():
    assert Spi.of(80e6, 20e6) == Spi(25) and Spi.of(24e6, 6e6, keep_reply=True) == Spi(0)
    with pytest.raises(ValueError, match="SCK.*20 MHz.*80 MHz.*79 MHz"):
        Spi.of(79e6, 20e6)


@pytest.mark.regress
@pytest.mark.sampled(1)
@pytest.mark.parametrize("ratio", [4, 6.1])
def test_complete_design_over_spi(ratio, tmp_path):
    config = EngineConfig(
        lanes=2, tiles=32, value_groups=32, state_groups=8, program_words=128, attention=False
    )
    options = {"build_id": 0x1234, "frame_bytes": 300}
    top = Top(config, transport=Spi(), **options)
    settings = {"engine": dataclasses.asdict(config), "transport": "spi", "ratio": ratio, **options}
    bench = "equilif_sim.link.design"
    how = {"config": settings, "simulator": "verilator", "visible": visible("top *"), "thorough": True}
    assert simulate(top, bench, tmp_path, **how) == 1


# -- boards ----------------------------------------------------------------------------------------
@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    "name, used",
    [
        ("ulx3s-25f", {"B11", "C11", "A10", "A11"}),  # J1_5 and J1_7 of the board's constraint file
        ("colorlight-i5", {"C17", "B18", "B20", "F20"}),
        ("icebreaker", {"4", "2", "47", "45"}),  # PMOD1A
    ],
)
def test_pins(name, used):
    board = SMALL[name].with_link("spi")
    assert used <= pads(board) and not used & pads(SMALL[name])


@pytest.mark.parametrize("board", BOARDS.values(), ids=list(BOARDS))
def test_sck_of_boards(board):
    for link in board.links:
        if link.kind == "spi":
            assert 4 <= board.clock_hz / link.sck_hz < 5, "as fast as the clock allows, in whole MHz"
            assert link.sck_hz >= SPI.usual, "slower than a host is without --baud"


def test_clock_too_slow_for_sck():
    slow = BOARDS["ulx3s-25f"].with_link("spi").with_clock(75)
    with pytest.raises(ValueError, match="SCK.*20 MHz.*80 MHz.*75 MHz"):
        planned(slow)
