"""The link over UDP: datagrams and their numbers, RTL at the pins of RGMII, pins of the boards."""

from __future__ import annotations

import random
import shutil
import zlib
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("amaranth_boards")
pytest.importorskip("cocotbext.eth")

from equilif.host.client import Client
from equilif.host.udp import UdpPort
from equilif_boards import BOARDS
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import Op
from equilif_golden.engine.port import Region
from equilif_golden.link.protocol import END, slip
from equilif_golden.link.udp import (
    ADDRESS,
    MAX_DATA,
    REPLY_BYTES,
    DatagramNumbers,
    Endpoint,
    Station,
    checksum,
    datagram,
    header,
    newer,
    number_of,
    opened,
    packed,
)
from equilif_hdl.link.udp import Udp
from equilif_hdl.top import Top
from equilif_sim.board import BoardNetwork, Cable, SimulatedBoard
from equilif_sim.link.frames import RandomFrames
from equilif_sim.link.udp import hostile
from equilif_sim.tools.run import simulate
from tests.plans import SMALL, pads

BOARD = Station.of(ADDRESS)
HOST = Station(bytes.fromhex("0a1b2c3d4e5f"), bytes([10, 0, 0, 1]), 40123)


def test_bytes_of_a_frame():
    """Checksum of RFC 1071, residue of the FCS, fields of the headers."""
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0x220D
    frame = datagram(HOST, BOARD, header(0x01020304) + b"abc")
    assert len(frame) == 64 and zlib.crc32(frame) == 0x2144DF1C, "the residue of every Ethernet frame"
    assert frame[14:34].hex() == "45000027000040004011" + frame[24:26].hex() + "0a000001c0a80132"
    assert frame[34:42].hex() == "9cbbef3200130000" and frame[42:53] == b"eqlf\4\3\2\1abc"
    assert opened(frame) == (HOST, BOARD, b"eqlf\4\3\2\1abc")


@given(st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 32) - 1))
def test_order_of_numbers(a, b):
    """Of two numbers one is newer, except at half of all numbers."""
    if a == b or (a - b) % (1 << 32) == 1 << 31:
        assert not newer(a, b) and not newer(b, a)
    else:
        assert newer(a, b) != newer(b, a) and newer((b + 1) % (1 << 32), b)


@given(st.randoms(use_true_random=False), st.integers(0, (1 << 32) - 1))
def test_a_line_in_order(rng, start):
    """What the device accepts is a part of what was sent, in its order."""
    numbers = DatagramNumbers(start)
    endpoint = Endpoint(BOARD, last=start)
    sent = []
    network = []
    came = []

    def deliver(k):
        data, _ = endpoint.receive(network[k])
        came.extend([data] if data else [])

    for k in range(40):
        line = k.to_bytes(1, "little") + bytes([END])
        sent.append(line)
        for payload in numbers.datagrams(line):
            network.append(datagram(HOST, BOARD, payload))
        if rng.random() < 0.8:
            deliver(rng.randrange(max(0, len(network) - 5), len(network)))
    assert came == sorted(set(came)) and set(came) <= set(sent) and came


def test_replies_to_earlier_commands_give_nothing():
    numbers = DatagramNumbers(7)
    endpoint = Endpoint(BOARD, last=7)

    def send(line):
        for payload in numbers.datagrams(line):
            endpoint.receive(datagram(HOST, BOARD, payload))

    def replies(line):
        return [opened(frame)[2] for frame in endpoint.send(line)]

    send(b"first\xc0")
    old = replies(b"1\xc0")
    send(b"second\xc0")
    send(b"second\xc0")  # again: a reply to the first copy is one
    new = replies(b"2" * REPLY_BYTES + b"\xc0")
    assert [len(payload) for payload in new] == [8 + REPLY_BYTES, 9]
    assert numbers.received(old[0]) == (b"", []) and numbers.received(b"abc") == (b"", [])
    assert b"".join(numbers.received(payload)[0] for payload in new) == b"2" * REPLY_BYTES + b"\xc0"
    assert numbers.number == 10 and numbers.received(header(9) + b"x") == (b"x", [])


@pytest.mark.parametrize("ahead", [1, 1000, 1 << 31])
def test_a_new_host_continues_the_numbers(ahead):
    """Its first datagram is ignored, and the answer makes it send again, beyond the previous host's."""
    endpoint = Endpoint(BOARD, last=12345)
    numbers = DatagramNumbers((12345 - ahead - 1) % (1 << 32))
    (payload,) = numbers.datagrams(b"hello\xc0")
    data, answer = endpoint.receive(datagram(HOST, BOARD, payload))
    last = opened(answer)[2]
    assert not data and last == header(12345)
    data, (payload,) = numbers.received(last)
    number = number_of(payload)
    assert not data and number is not None and number > 12345 + (1 << 16)
    assert endpoint.receive(datagram(HOST, BOARD, payload)) == (b"hello\xc0", None)
    assert numbers.received(last) == (b"", []), "a copy of the answer"


def test_long_commands_take_several_datagrams():
    line = random.Random(0).randbytes(2 * MAX_DATA + 1)
    found = DatagramNumbers(0).datagrams(line)
    assert b"".join(payload[8:] for payload in found) == line and max(map(len, found)) == 1472


@pytest.mark.parametrize(
    "address", ["", "192.168.1", "board", "224.0.0.1", "0.0.0.0", "255.255.255.255", "::1"]
)
def test_invalid_addresses(address):
    with pytest.raises(ValueError, match="192.168.1.50"):
        packed(address)


# -- RTL -------------------------------------------------------------------------------------------
BENCH = "equilif_sim.link.udp"
SMALL_ENGINE = EngineConfig(
    lanes=2, tiles=32, value_groups=32, state_groups=8, program_words=128, attention=False
)


@pytest.mark.parametrize("frames", [10, pytest.param(2_000, marks=pytest.mark.long)])
def test_frames_of_all_kinds(frames, tmp_path):
    """Responses and bytes are those of the model."""
    config = {"period_ps": 10_000, "frames": frames}
    assert simulate(Udp().line(), BENCH, tmp_path, config=config, only="frames_of_all_kinds") == 1


@pytest.mark.regress
@pytest.mark.parametrize("period_ps", [10_000, 20_832])
def test_datagrams_in_both_directions(period_ps, tmp_path):
    """With the design at 100 MHz and 48 MHz."""
    assert simulate(Udp().line(), BENCH, tmp_path, config={"period_ps": period_ps}, only="datagrams") == 2


@pytest.mark.regress
@pytest.mark.skipif(not shutil.which("g++"), reason="a simulation is compiled with g++")
def test_ten_thousand_wrong_frames_change_nothing():
    """In the complete design, from the data of the PHY on."""
    rng = random.Random(1)
    random.seed(2)
    board = SimulatedBoard(SMALL_ENGINE, transport=Udp(), frame_bytes=600, build_id=0x57AB)
    client = Client(UdpPort(Cable(BoardNetwork(board)), "board", timeout=0.02))
    frames = RandomFrames(SMALL_ENGINE, 600, rng)

    def state() -> list[int]:
        return [
            int(value)
            for region, size in ((Region.WEIGHT, 64), (Region.VALUE, 64), (Region.COUNTER, 1))
            for value in client.read(region, 0, size)
        ]

    client.load([Op.HALT()])
    client.write(Region.WEIGHT, 0, [rng.randrange(-128, 128) for _ in range(64)])
    first = client.run(learn=True, write=(0, [*rng.randbytes(64)]), read=(0, 8))
    before = state()
    numbers = client.port._numbers
    endpoint = Endpoint(BOARD, last=numbers.number)
    answered = 0
    for _ in range(10_000):
        number = (endpoint.last + rng.choice([1, 1, 2, 100])) % (1 << 32)
        right = rng.random() < 0.6
        kinds = [frames.load, frames.run, frames.write] if right else frames.kinds
        frame = hostile(BOARD, number, slip(rng.choice(kinds)()))
        if right and replace(endpoint).receive(frame)[0]:
            frame = frame[:-1] + bytes([frame[-1] ^ 1])  # a right command is damaged
        endpoint.receive(frame)
        board.write(slip(frame))
        while board._waiting:
            board.step(2_000)
        board.step(200)
        answered += bool(board._ready)
        board._ready = b""
    while board.read(4096):
        pass
    assert answered > 1_000
    numbers.number = endpoint.last
    assert state() == before
    assert client.run(learn=False, read=(0, 8)).cycles == first.cycles, "another program"
    client.run(learn=False, write=(0, [1, 2, 3]), read=(0, 8))
    assert state() != before


@pytest.mark.regress
def test_complete_design_over_udp(tmp_path):
    options = {"build_id": 0x1234, "frame_bytes": 300}
    top = Top(SMALL_ENGINE, transport=Udp(), **options)
    settings = {
        "engine": asdict(SMALL_ENGINE),
        "transport": "udp",
        "period_ps": 10_000,
        **options,
    }
    assert simulate(top, "equilif_sim.link.design", tmp_path, config=settings, thorough=True) == 1


# -- boards ----------------------------------------------------------------------------------------
def test_pins():
    board = SMALL["colorlight-i5"].with_link("udp")
    used = {"H2", "P2", "K2", "L1", "N1", "P1", "G1", "K1", "G2", "H1", "J1", "J3", "P4"}  # PHY U29
    assert used <= pads(board) and not used & pads(SMALL["colorlight-i5"])


def test_a_udp_link_has_no_baud():
    board = BOARDS["colorlight-i5"].with_link("udp")
    with pytest.raises(ValueError, match="baud"):
        board.link.for_simulation(board.clock_hz, 1_000_000)
