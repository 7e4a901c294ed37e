"""SPI ports: commands through the golden model of link and device; bad lines, invalid buses.

Stubs replace spidev and pyftdi.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from equilif.host import ports, spi
from equilif.host.buses import SPI
from equilif.host.client import Client, DeviceError, LinkError, NoReply, PortFailed
from equilif_golden import network as networks
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.config import EngineConfig
from equilif_golden.kernel import Kernel
from equilif_golden.link.device import Device
from equilif_golden.link.protocol import END, slip, unslip
from equilif_golden.link.spi import NOTHING, Slave
from equilif_golden.network import Network
from equilif_golden.schedule import Schedule
from tests.cli import folded

CONFIG = EngineConfig(lanes=4, tiles=64, value_groups=32, state_groups=16, program_words=192)
NETWORK = Network.chain(6, 5, 3, schedule=Schedule(free=24, nudged=16, window=16))
PATH = "spi:/dev/spidev0.0"
URL = "spi+ftdi://ftdi:2232h/1"


class SpiBoard:
    """A device with an SPI link.

    ``late``: fraction of bytes before a reply.  ``spoil``: a function of the bits of both lines.
    """

    def __init__(
        self, *, late: float = 0.3, spoil: Callable[[int], int] = lambda byte: byte, cut: float = 0.0
    ):
        self.device = Device(CONFIG, build_id=7)
        self.slave = Slave()
        self.rng = random.Random(5)
        self.late = late
        self.spoil = spoil
        self.cut = cut
        self.transfers: list[int] = []
        self._frame = b""
        self._bad = False
        self._reply = b""

    def transfer(self, line: bytes) -> bytes:
        self.transfers.append(len(line))
        out = bytearray()
        for byte in line:
            if self.rng.random() < self.cut:  # the host sees a valid bus
                self.slave.cut()
                out.append(self.rng.randrange(256))
                continue
            out.append(self.spoil(self.slave.exchange(self.spoil(byte))))
            while self.slave.received:
                self._take(*self.slave.received.pop(0))
            if self._reply and self.rng.random() >= self.late:
                self.slave.sent.append(self._reply[0])
                self._reply = self._reply[1:]
        return bytes(out)

    def _take(self, byte: int, error: bool) -> None:
        if error:
            self._bad = True
        elif byte != END:
            self._frame += bytes([byte])
        elif self._frame or self._bad:
            frame, wrong = unslip(self._frame)
            self._reply += slip(self.device.reply(frame, bad=wrong or self._bad))
            self._frame, self._bad = b"", False


class StubBus:
    """``transfer`` alone."""

    hz, shortest, longest = 1_000_000, 8, 64

    def __init__(self, transfer: Callable[[bytes], bytes]):
        self.transfer = transfer

    def close(self) -> None:
        pass


def client_of(transfer: Callable[[bytes], bytes], **options: Any) -> Client:
    port = spi.SpiPort(StubBus(transfer), "bus", timeout=0.005)
    return Client(port, **{"timeout": 0.02, "deadline": 2.0, "run_deadline": 2.0, **options})


class SpiDev:
    """spidev.SpiDev with one device, /dev/spidev0.0."""

    board: SpiBoard
    file: Path
    mode = 3
    fastest = 125_000_000
    hz: list[int]
    in_use = 0

    def __init__(self) -> None:
        self._fd = -1

    def open(self, bus: int, device: int) -> None:
        if (bus, device) == (0, 1):
            raise PermissionError(errno.EACCES, "Permission denied")
        if (bus, device) != (0, 0):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        self._fd = os.open(self.file, os.O_RDWR | os.O_CREAT)
        type(self).in_use += 1

    @property
    def max_speed_hz(self) -> int:
        return self.hz[-1]

    @max_speed_hz.setter
    def max_speed_hz(self, hz: int) -> None:
        if hz > self.fastest:
            raise OSError(errno.EINVAL, "Invalid argument")
        self.hz.append(hz)

    def fileno(self) -> int:
        return self._fd

    def xfer2(self, values: list[int]) -> list[int]:
        assert self.mode == 0 and len(values) <= 4096
        return list(self.board.transfer(bytes(values)))

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            type(self).in_use -= 1
        self._fd = -1

    __del__ = close


class UsbToolsError(Exception):
    pass


class SpiController:
    """pyftdi.spi.SpiController with one adapter."""

    board: SpiBoard
    frequency_max = 30e6
    error: BaseException | None = None
    closed = 0

    def __init__(self, cs_count: int):
        assert cs_count == 1

    def configure(self, url: str, frequency: float) -> None:
        assert frequency <= self.frequency_max
        if self.error:
            raise self.error
        if url != "ftdi://ftdi:2232h/1":
            raise UsbToolsError(f"No USB device matches URL {url}")

    def get_port(self, cs: int, freq: float, mode: int) -> SpiController:
        assert (cs, mode) == (0, 0)
        return self

    def exchange(self, out: bytes, readlen: int, duplex: bool) -> bytes:
        assert duplex and readlen == len(out) <= 4096
        return self.board.transfer(out)

    def close(self) -> None:
        type(self).closed += 1


@pytest.fixture
def board(tmp_path, monkeypatch) -> SpiBoard:
    """Behind both."""
    found = SpiBoard()
    device = type("SpiDev", (SpiDev,), {"board": found, "file": tmp_path / "spidev0.0", "hz": []})
    adapter = type("SpiController", (SpiController,), {"board": found})
    monkeypatch.setitem(sys.modules, "spidev", SimpleNamespace(SpiDev=device))
    monkeypatch.setitem(sys.modules, "pyftdi", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "pyftdi.spi", SimpleNamespace(SpiController=adapter))
    monkeypatch.setitem(sys.modules, "pyftdi.usbtools", SimpleNamespace(UsbToolsError=UsbToolsError))
    return found


def command(*arguments: object) -> tuple[int, str]:
    """Exit code and output of a command, line ends as blanks."""
    done = folded(*arguments)
    gc.collect()  # here a process would end
    return done


# -- commands --------------------------------------------------------------------------------------
@pytest.mark.sampled(1)
@pytest.mark.parametrize("path", [PATH, URL])
def test_commands_over_spi(path, board, tmp_path):
    """Weights equal those of the golden model."""
    rng = random.Random(1)
    pairs = [(rng.random(), rng.random()) for _ in range(40)]
    rows = [f"{a:.3f},{b:.3f},{'big' if a + b > 1 else 'small'}" for a, b in pairs]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["a,b,kind", *rows]))
    assert command("identify", "--port", path)[0] == 0
    for out, way in (("golden", ()), ("board", ("--port", path, "--set", "run.baud=8000000"))):
        code, output = command(
            *("train", table, "--label", "kind", "--hidden", 6, "--epochs", 2, "--set", "phases.free=24"),
            *("--set", "phases.nudged=12", "--set", "phases.window=8", "--out", tmp_path / out, *way),
        )
        assert code == 0, output
    one, other = (networks.load(tmp_path / out / "network.npz")[1] for out in ("golden", "board"))
    assert all(np.array_equal(one[name], other[name]) for name in one)
    trained = tmp_path / "board" / "network.npz"
    for words in (
        ("evaluate", trained),
        ("restore", trained),
        ("save", tmp_path / "back.npz", "--like", trained),
    ):
        code, output = command(*words, "--port", path)
        assert code == 0, output
    back = networks.load(tmp_path / "back.npz")[1]
    assert all(np.array_equal(back[name], other[name]) for name in other)


def test_sck_option(board):
    for baud, hz in ((None, SPI.usual), (12_000_000, 12_000_000)):
        client = ports.the_one(PATH, baud)
        assert client.port.baudrate == sys.modules["spidev"].SpiDev.hz[-1] == hz
        client.port.close()


def test_long_replies():
    board = SpiBoard(late=0.0)
    client = client_of(board.transfer, deadline=30.0, run_deadline=30.0)
    Chip(client, NETWORK)
    board.transfers.clear()
    client.command(4, b"\x00\x00\x00\x00\x00\x00\x02")
    assert (
        max(board.transfers) == StubBus.longest and len(board.transfers) < 2 * (1030 / StubBus.longest) + 12
    )


# -- bad lines -------------------------------------------------------------------------------------
def learned(board: SpiBoard) -> None:
    """Train on the device and compare with the reference."""
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 256, (12, 6)), rng.integers(0, 3, 12)
    client = client_of(board.transfer, deadline=30.0, run_deadline=30.0)
    chip, kernel = Chip(client, NETWORK, learning_rate=0.05), Kernel(NETWORK, learning_rate=0.05)
    chip.train(x, y)
    kernel.train(x, y)
    for name, w in chip.weights.items():
        np.testing.assert_array_equal(w, kernel.weights[name])
    assert client.traffic.repeated > 0


def test_chip_select_released_within_byte():
    learned(SpiBoard(cut=0.0005))


def test_flipped_bits_on_the_line():
    rng = random.Random(3)
    learned(SpiBoard(spoil=lambda byte: byte ^ (1 << rng.randrange(8)) * (rng.random() < 0.0003)))


@pytest.mark.parametrize("level", [0x00, 0xFF])
def test_bursts_of_a_stuck_line(level):
    rng = random.Random(5)
    stuck = 0

    def spoil(byte: int) -> int:
        nonlocal stuck
        stuck = stuck - 1 if stuck else 30 * (rng.random() < 0.0006)
        return level if stuck else byte

    learned(SpiBoard(spoil=spoil))


def shifted(line: bytes) -> bytes:
    """A silent device seen by a host that is shifted by bits."""
    return bytes([(NOTHING << 1 | NOTHING >> 7) & 255]) * len(line)


@pytest.mark.parametrize(
    "transfer, says",
    [
        (lambda line: bytes(len(line)), "MISO stays low: is the board there"),
        (lambda line: b"\xff" * len(line), "MISO stays high: is the board there"),
        (lambda line: bytes([NOTHING]) * len(line), "a design with SPI is there and does not answer"),
        (shifted, "what comes is shifted by some bits: choose a slower SCK"),
        (lambda line: random.randbytes(len(line)), "something else comes: choose a slower SCK"),
        (lambda line: bytes(line), "something else comes"),
        (lambda line: b"", "MISO stays low"),
    ],
)
def test_no_board_on_the_bus(transfer, says, board, monkeypatch):
    monkeypatch.setattr(board, "transfer", transfer)
    monkeypatch.setattr(ports, "PROBE", 0.1)
    code, output = command("identify", "--port", PATH)
    assert code == 2 and output.startswith(f"error: nothing at {PATH}")
    assert says in output and output.count("error:") == 1 and "equilif build BOARD --link spi" in output
    with pytest.raises((NoReply, DeviceError), match="IDENTIFY"):  # the second to its own echo
        client_of(transfer, deadline=0.2).identify()
    assert not sys.modules["spidev"].SpiDev.in_use


def test_board_disconnected(board, monkeypatch):
    client = ports.connect(URL)

    def gone(line: bytes) -> bytes:
        raise OSError(errno.ENODEV, "No such device")

    monkeypatch.setattr(board, "transfer", gone)
    with pytest.raises(PortFailed, match=f"{URL.replace('+', '.')}.*Errno {errno.ENODEV}"):
        client.identify()


# -- invalid buses ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "path, reason",
    [
        ("spi:/dev/spidev3.1", "there is none of this name: ls /dev/spidev"),
        ("spi:/dev/spidev0.1", "you may not use it: join its group"),
        ("spi:/dev/null", "it is none: ls /dev/spidev"),
        ("spi:", "it is none"),
        ("spi+ftdi://ftdi:2232h/2", "No USB device matches URL ftdi://ftdi:2232h/2"),
    ],
)
def test_invalid_bus(path, reason, board):
    code, output = command("identify", "--port", path)
    assert code == 2 and output.startswith(f"error: '{path}' cannot be used as an SPI bus: {reason}"), output
    assert "Errno" not in output


@pytest.mark.parametrize("path", ["spi+", "spi+usb://x", "spi+/dev/spidev0.0"])
def test_invalid_address(path):
    code, output = command("identify", "--port", path)
    assert code == 2 and f"'{path}' is no SPI bus" in output, output


@pytest.mark.parametrize(
    "error, reason",
    [
        (OSError(errno.EACCES, "Access denied"), "udev"),
        (OSError(errno.EBUSY, "Resource busy"), "program"),
        (OSError(None, "no USB here"), "USB"),
        (ValueError("No backend available"), "libusb"),
        (SystemExit("Please specify the USB device"), "spi.ftdi://"),
    ],
)
def test_adapter_errors(error, reason, board, monkeypatch):
    monkeypatch.setattr(sys.modules["pyftdi.spi"].SpiController, "error", error)
    with pytest.raises(LinkError, match=f"SPI.*{reason}"):
        ports.connect(URL)


def test_impossible_sck(board, monkeypatch):
    for baud in (0, 9_599, 30_000_001):
        assert command("identify", "--port", PATH, "--baud", baud) == (
            2,
            f"error: baud (SCK in Hz) must be in 9600..30000000, not {baud}",
        )
    controller = sys.modules["pyftdi.spi"].SpiController
    monkeypatch.setattr(controller, "frequency_max", 6e6)
    with pytest.raises(LinkError, match="SCK.*12,000,000 Hz: 6,000,000"):
        ports.connect(URL, 12_000_000)
    assert controller.closed == 1
    device = sys.modules["spidev"].SpiDev
    monkeypatch.setattr(device, "fastest", 5_000_000)
    with pytest.raises(LinkError, match="SCK.*8,000,000 Hz.*--baud"):
        ports.connect(PATH, 8_000_000)
    assert not device.in_use


def test_bus_in_use(board):
    client = ports.connect(PATH)
    with pytest.raises(LinkError, match="spidev0.0.*locked"):
        ports.connect(PATH)
    client.port.close()
    ports.connect(PATH).port.close()


@pytest.mark.parametrize("path, package", [(PATH, "spidev"), (URL, "pyftdi")])
def test_missing_library(path, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"{package}.spi", raising=False)
    code, output = command("identify", "--port", path)
    assert code == 2 and output.startswith(f"error: {package} is not installed: pip install -e '"), output
    assert output.endswith("[spi]'")


def test_port_flush():
    board = SpiBoard(late=0.0)
    port = spi.SpiPort(StubBus(board.transfer), "bus", timeout=0.0)
    board.slave.sent.extend(b"abc")
    assert port.write(b"\xc0" * 5) == 5 and port.in_waiting == 3
    assert port.read(2) == b"ab" and port.in_waiting == 1
    port.reset_input_buffer()
    assert port.read() == b""
    with contextlib.closing(port):
        port.reset_output_buffer()
