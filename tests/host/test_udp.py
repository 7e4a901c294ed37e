"""UDP ports: commands through the model of link and device; bad networks; addresses; a real socket."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import shutil
import socket
import threading
from collections import Counter

import numpy as np
import pytest

pytest.importorskip("amaranth_boards")

from equilif.host import ports, udp
from equilif.host.client import Client, LinkError, PortFailed
from equilif.host.simulate import Simulated
from equilif_boards import BOARDS
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import Op
from equilif_golden.engine.port import Region
from equilif_golden.kernel import Kernel
from equilif_golden.link.device import Device
from equilif_golden.link.protocol import END, FRAME_BYTES, slip
from equilif_golden.link.udp import ADDRESS, PORT, Endpoint, Station, datagram, opened, sealed
from equilif_golden.network import Network
from equilif_golden.schedule import Schedule
from equilif_sim import board as simulation
from equilif_sim.link.engine_stub import StubDevice
from tests.cli import folded as command

CONFIG = EngineConfig(lanes=4, tiles=64, value_groups=32, state_groups=16, program_words=128)
NETWORK = Network.chain(6, 5, 3, schedule=Schedule(free=24, nudged=16, window=16))
BOARD = Station.of(ADDRESS)
HOST = Station(bytes.fromhex("0a1b2c3d4e5f"), bytes([192, 168, 1, 7]), 40123)


class UdpBoard:
    """A device with a link over UDP, in a network with faults: a socket as of udp.Datagrams.

    ``rate``: fraction of frames with a fault, in each direction.  ``faults``: their numbers.
    """

    refused = False

    def __init__(self, device: Device, rate: float = 0.0, seed: int = 0):
        self.device = device
        self.endpoint = Endpoint(BOARD)
        self.rate = rate
        self.rng = random.Random(seed)
        self.faults: Counter[str] = Counter()
        self.frames = 0
        self.delayed: dict[str, list[bytes]] = {"out": [], "in": []}
        self.waiting: list[bytes] = []
        self.line = b""

    def send(self, payload: bytes, /) -> int:
        for frame in self._network(datagram(HOST, BOARD, payload), "out"):
            self._take(frame)
        return len(payload)

    def receive(self, seconds: float) -> bytes | None:
        while self.waiting:
            found = opened(self.waiting.pop(0))
            if found is not None and found[1] == HOST:
                return found[2]
        return None

    def close(self) -> None:
        pass

    def _take(self, frame: bytes) -> None:
        """A frame arrives at the board."""
        data, response = self.endpoint.receive(frame)
        if response is not None:
            self._give(response)
        *packets, self.line = (self.line + data).split(bytes([END]))
        for packet in packets:
            reply = self.device.packet(packet)
            if reply is not None:
                for part in self.endpoint.send(slip(reply)):
                    self._give(part)

    def _give(self, frame: bytes) -> None:
        """A frame arrives at the host, or is none of it."""
        self.waiting += [f for f in self._network(frame, "in") if f == sealed(f[:-4])]

    def _network(self, frame: bytes, way: str) -> list[bytes]:
        """Frames that arrive now for one that is sent."""
        self.frames += 1
        delayed = self.delayed[way]
        found = [frame]
        if self.rng.random() < self.rate:
            fault = self.rng.choice(("lost", "doubled", "delayed", "damaged", "garbage"))
            self.faults[f"{fault} {way}"] += 1
            damaged = bytearray(frame)
            damaged[self.rng.randrange(len(frame))] ^= 1 << self.rng.randrange(8)
            garbage = datagram(HOST, BOARD, self.rng.randbytes(self.rng.randrange(40)))
            found = {
                "lost": [],
                "doubled": [frame, frame],
                "delayed": [],
                "damaged": [bytes(damaged)],
                "garbage": [self.rng.randbytes(90), garbage[: self.rng.randrange(80)], frame],
            }[fault]
            if fault in ("delayed", "doubled"):
                delayed.append(frame)
        if delayed and self.rng.random() < 0.3:  # behind later ones
            found.append(delayed.pop(self.rng.randrange(len(delayed))))
        return found


def client_of(board: UdpBoard, **options: float) -> Client:
    port = udp.UdpPort(board, "board", timeout=0.0)
    return Client(port, **{"timeout": 0.001, "deadline": 20.0, "run_deadline": 20.0, **options})


# -- faults ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("frames", [1_500, pytest.param(100_000, marks=pytest.mark.long)])
def test_same_bits_with_faults(frames):
    """Loss, duplication, reordering and garbage: each run is executed once, in order."""
    board = UdpBoard(StubDevice(CONFIG), rate=0.15)
    perfect = UdpBoard(StubDevice(CONFIG))
    rng = np.random.default_rng(1)
    clients = [client_of(board), client_of(perfect)]
    program = [Op.HALT()]
    n = 0
    while board.frames < frames:
        n += 1
        first, values = int(rng.integers(0, 100)), rng.integers(0, 256, 20)
        learn = bool(rng.integers(0, 2))
        found = []
        for client in clients:
            if n % 50 == 1:
                client.load(program)
            if n % 10 == 0:
                client.write(Region.WEIGHT, first, values)
            run = client.run(learn=learn, write=(first, values), read=(0, 8))
            found.append((run.prediction, run.cycles, run.spikes, *run.values))
        assert found[0] == found[1]
    for name in ("runs", "program"):
        assert getattr(board.device, name) == getattr(perfect.device, name)
    for region, size in ((Region.WEIGHT, 1024), (Region.VALUE, 128), (Region.COUNTER, 1)):
        same = [client.read(region, 0, size) for client in clients]
        np.testing.assert_array_equal(*same)
    assert len(board.faults) == 10 and min(board.faults.values()) > frames / 500, board.faults
    assert clients[0].traffic.repeated and not clients[1].traffic.repeated


@pytest.mark.regress
def test_training_with_faults():
    """Weights equal those of the golden model."""
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 256, (12, 6)), rng.integers(0, 3, 12)
    board = UdpBoard(Device(CONFIG), rate=0.5)
    chip = Chip(client_of(board), NETWORK, learning_rate=0.05)
    kernel = Kernel(NETWORK, learning_rate=0.05)
    chip.train(x, y)
    kernel.train(x, y)
    for name, w in chip.weights.items():
        np.testing.assert_array_equal(w, kernel.weights[name])
    assert sum(board.faults.values()) > 5


def test_a_second_host_takes_over():
    """It continues the numbers of the first one, which stops with an error and executes nothing more."""
    device = StubDevice(CONFIG)
    board = UdpBoard(device)
    first = client_of(board)
    first.load([Op.HALT()])
    first.run(learn=False)
    board.endpoint.last = (board.endpoint.last + 7) % (1 << 32)  # of a host with newer numbers
    second = client_of(board)
    second.port._numbers.number = board.endpoint.last - 1000
    second.identify()
    with pytest.raises(PortFailed, match="host"):
        first.run(learn=True)
    assert device.runs == 1
    second.load([Op.HALT()])
    second.run(learn=False)
    assert device.runs == 2


# -- a real socket ---------------------------------------------------------------------------------
@contextlib.contextmanager
def served(board: UdpBoard):
    """The board at a UDP port of this computer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.bind(("127.0.0.1", 0))
        stop = threading.Event()

        def serve() -> None:
            end.settimeout(0.02)
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    payload, sender = end.recvfrom(2048)
                    board.send(payload)
                    while (answer := board.receive(0)) is not None:
                        end.sendto(answer, sender)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"udp://127.0.0.1:{end.getsockname()[1]}"
        finally:
            stop.set()
            thread.join()


def test_commands_over_udp(tmp_path):
    with served(UdpBoard(Device(CONFIG, build_id=7))) as path:
        code, output = command("identify", "--port", path)
        assert code == 0 and "00000007" in output
        code, output = command("identify", "--port", path, "--baud", 1_000_000)
        assert code == 2 and "--baud" in output
        client = ports.connect(path.replace("127.0.0.1", "localhost"))
        assert client.config == CONFIG
        client.port.close()


@pytest.mark.regress
@pytest.mark.skipif(not shutil.which("g++"), reason="a simulation is compiled with g++")
def test_simulated_board_over_udp():
    """The complete design, in another process's place: same bits as the golden model's."""
    small = dataclasses.replace(BOARDS["colorlight-i5"].with_link("udp"), config=CONFIG, standalone=False)
    simulated = Simulated(small, udp=0)
    network = simulation.BoardNetwork(simulated.board)
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 256, (8, 6)), rng.integers(0, 3, 8)
    kernel = Kernel(NETWORK, learning_rate=0.05)
    kernel.train(x, y)
    with simulation.Server(network, simulated.udp) as server:
        thread = threading.Thread(target=server.serve)
        thread.start()
        try:
            client = Client(udp.opened(server.path, timeout=0.02))
            assert client.identify().build_id == simulated.build_id
            chip = Chip(client, NETWORK, learning_rate=0.05)
            chip.train(x, y)
            for name, w in chip.weights.items():
                np.testing.assert_array_equal(w, kernel.weights[name])
        finally:
            server.stop()
            thread.join()


@pytest.mark.parametrize(
    "words, says",
    [
        (("icebreaker", "--udp", 61234), "udp"),
        (("colorlight-i5", "--udp", 61234, "--link", "board"), "--udp"),
        (("colorlight-i5", "--udp", 61234, "--baud", 115200), "--baud"),
        (("colorlight-i5", "--udp", 65536), "65535"),
    ],
)
def test_invalid_options_of_simulate(words, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, output = command("simulate", *words)
    assert code == 2 and says in output and output.count("error:") == 1


def test_no_board_at_the_address():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        path = f"udp://127.0.0.1:{silent.getsockname()[1]}"
        code, output = command("identify", "--port", path)
        assert code == 2 and path in output and "cable" in output and "--link udp" in output
    code, output = command("identify", "--port", path)
    assert code == 2 and path in output and "no program at this port" in output


@pytest.mark.parametrize(
    "path",
    ["udp://", "udp://a b", "udp://1.2.3.4:", "udp://1.2.3.4:99999", "udp://[::1]", "udp://nowhere.invalid"],
)
def test_invalid_addresses(path):
    with pytest.raises((LinkError, ValueError)):
        ports.connect(path)


def test_long_frames_take_several_datagrams():
    board = UdpBoard(Device(CONFIG, frame_bytes=4 * FRAME_BYTES))
    client = client_of(board)
    values = np.arange(1024) % 256 - 128
    client.write(Region.WEIGHT, 0, values)
    assert board.frames >= 3 + 2
    np.testing.assert_array_equal(client.read(Region.WEIGHT, 0, 1024), values)


def test_default_port():
    opened_port = udp.opened("udp://127.0.0.1", timeout=0.01)
    assert opened_port.datagrams._socket.getpeername() == ("127.0.0.1", PORT)
    opened_port.close()
