"""SPI as a port of the client: bytes go out stuffed, and NOTHING goes out while the host waits.

    spi:/dev/spidev0.0            an SPI bus of Linux, a Raspberry Pi's say
    spi+ftdi://ftdi:2232h/1       an adapter of FTDI, by its URL of pyftdi

What NOTHING is, and what stuffing, says equilif_golden.link.spi.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import time
from typing import Any, Protocol

from equilif.host.buffered import BufferedPort
from equilif.host.buses import SPI
from equilif.host.client import LinkError
from equilif_golden.extras import needs
from equilif_golden.fixed import check_int
from equilif_golden.link.spi import NOTHING, Unstuffer, stuff

DEVICE, ADAPTER = SPI.prefixes
FTDI = "ftdi://"
#: Hz of SCK that a host may ask for, up to the fastest adapter
RATE_RANGE = (9_600, 30_000_000)
#: seconds between two looks at a device that has nothing to say
PAUSE = 0.0002

ASK = "ls /dev/spidev* lists those of this machine; on a Raspberry Pi, raspi-config switches SPI on"
#: why a bus cannot be opened, and the way out; by number of the system, for devices and for adapters
DEVICE_REASONS: dict[int | None, str] = {
    errno.ENOENT: f"there is none of this name: {ASK}",
    errno.EACCES: "you may not use it: join its group (sudo usermod -aG spi $USER), then log in again",
    errno.EAGAIN: "another program has locked it: end that one, or choose another bus",
    errno.ENOTTY: f"it is none: {ASK}",
}
ADAPTER_REASONS: dict[int | None, str] = {
    errno.EACCES: "you may not use it: allow it by a rule of udev (pyftdi's page on installation has one)",
    errno.EBUSY: "another program uses it: end that one, or choose another interface",
}
#: what MISO looks like to a host that is off by some bits
SHIFTED = frozenset((NOTHING << k | NOTHING >> 8 - k) & 255 for k in range(1, 8))


class SpiBus(Protocol):
    """An SPI bus with its device.  ``shortest``, ``longest``: bytes of a transfer that is worth it, and that
    is possible.
    """

    hz: int
    shortest: int
    longest: int

    def transfer(self, line: bytes) -> bytes:
        """The bytes received meanwhile, possibly fewer; OSError when the bus fails."""

    def close(self) -> None: ...


class SpiPort(BufferedPort):
    """The interface of serial.Serial on an SPI bus."""

    def __init__(self, bus: SpiBus, name: str, *, timeout: float):
        super().__init__(name, timeout)
        self.bus = bus
        self._unstuffer = Unstuffer()
        self._next = bus.shortest
        self._seen: set[int] = set()  # bytes on MISO, NOTHING included

    @property
    def baudrate(self) -> int:
        return self.bus.hz

    def write(self, data: bytes, /) -> int:
        line = stuff(data)
        for at in range(0, len(line), self.bus.longest):
            self._transfer(line[at : at + self.bus.longest])
        return len(data)

    def read(self, size: int = 1, /) -> bytes:
        end = time.monotonic() + self.timeout
        while not self._received:
            late = time.monotonic() > end
            line = self._transfer(bytes([NOTHING]) * self._next)
            # a device that speaks up to the end of a transfer has more to say
            more = line[-1:] not in (b"", bytes([NOTHING]))
            self._next = min(2 * self._next, self.bus.longest) if more else self.bus.shortest
            if late:
                break
            if not self._received:
                time.sleep(PAUSE)
        return self._taken(size)

    def _transfer(self, line: bytes) -> bytes:
        line = self.bus.transfer(line)
        self._seen.update(line)
        self._received += self._unstuffer.data(line)
        return line

    def close(self) -> None:
        self.bus.close()

    @property
    def diagnosis(self) -> str:
        """Diagnosis from the bytes on MISO when no device answered."""
        if self._seen <= {0}:
            return "MISO stays low: is the board there, and are MISO and GND connected?"
        if self._seen == {0xFF}:
            return "MISO stays high: is the board there, and are MISO and CS connected?"
        if self._seen == {NOTHING}:
            return "a design with SPI is there and does not answer: is MOSI connected, and SCK slow enough?"
        if self._seen <= SHIFTED:
            return "what comes is shifted by some bits: choose a slower SCK with --baud, and check SCK and CS"
        return "something else comes: choose a slower SCK with --baud, and check the wires"


def checked(hz: int) -> int:
    """Check an SCK frequency in Hz; ValueError when no host supports it."""
    return check_int(hz, "baud", *RATE_RANGE, "SCK in Hz")


def opened(path: str, hz: int, *, timeout: float) -> SpiPort:
    """The port of an address; LinkError when there is none or it cannot be used."""
    rate = checked(hz)
    if path.startswith(DEVICE):
        return SpiPort(_device(path, rate), path, timeout=timeout)
    if not path.startswith(ADAPTER + FTDI):
        raise LinkError(f"{path!r} is no SPI bus: write spi:/dev/spidev0.0 or spi+ftdi://ftdi:2232h/1")
    return SpiPort(_adapter(path, rate), path, timeout=timeout)


def _refused(path: str, reason: str) -> LinkError:
    return LinkError(f"{path!r} cannot be used as an SPI bus: {reason}")


def _reason(error: BaseException, known: dict[int | None, str]) -> str:
    number = getattr(error, "errno", None)
    return known.get(number) or (
        os.strerror(number) if number else str(error.args[-1] if error.args else error)
    )


# -- Linux -----------------------------------------------------------------------------------------
class SpidevBus:
    """A bus of Linux."""

    shortest = 32
    longest = 4096  #: the default of its driver

    def __init__(self, spidev: Any, hz: int):
        self.hz = hz
        self._spidev = spidev

    def transfer(self, line: bytes) -> bytes:
        return bytes(self._spidev.xfer2(list(line)))

    def close(self) -> None:
        self._spidev.close()


def _device(path: str, hz: int) -> SpiBus:
    with needs("spi"):
        import spidev
    # of Linux, as spidev
    import fcntl

    numbers = re.fullmatch(r"spi:/dev/spidev(\d{1,5})\.(\d{1,5})", path)
    if numbers is None:
        raise _refused(path, DEVICE_REASONS[errno.ENOTTY])
    bus = spidev.SpiDev()
    try:
        bus.open(int(numbers[1]), int(numbers[2]))
        # two programs at one bus would take each other's replies
        fcntl.flock(bus.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        bus.mode = 0
        try:
            bus.max_speed_hz = hz
        except OSError as e:
            raise _refused(
                path, f"it does not support an SCK of {hz:,} Hz: choose a slower one with --baud"
            ) from e
    except LinkError:
        bus.close()
        raise
    except OSError as e:
        bus.close()
        raise _refused(path, _reason(e, DEVICE_REASONS)) from e
    return SpidevBus(bus, hz)


# -- adapters of FTDI ------------------------------------------------------------------------------
class FtdiBus:
    """An adapter with an MPSSE, at chip select 0."""

    shortest = 256  #: a transfer takes a millisecond of USB
    longest = 2048  #: it holds twice as many

    def __init__(self, controller: Any, hz: int):
        self.hz = hz
        self._controller = controller
        self._port = controller.get_port(cs=0, freq=hz, mode=0)

    def transfer(self, line: bytes) -> bytes:
        return bytes(self._port.exchange(line, len(line), duplex=True))

    def close(self) -> None:
        self._controller.close()


def _adapter(path: str, hz: int) -> SpiBus:
    with needs("spi"):
        from pyftdi.spi import SpiController
        from pyftdi.usbtools import UsbToolsError

    controller = SpiController(cs_count=1)
    try:
        controller.configure(path.removeprefix(ADAPTER), frequency=min(hz, SPI.usual))
        fastest = int(controller.frequency_max)
        if hz > fastest:
            raise _refused(
                path, f"it does not support an SCK of {hz:,} Hz: {fastest:,} are the most (--baud)"
            )
        return FtdiBus(controller, hz)
    except LinkError:
        _quietly(controller)
        raise
    except SystemExit as e:  # its answer to an address with a question mark
        raise _refused(path, "it names no adapter: write spi+ftdi://ftdi:2232h/1, say") from e
    except (OSError, ValueError, UsbToolsError) as e:
        _quietly(controller)
        reason = _reason(e, ADAPTER_REASONS)
        if "backend" in reason:
            reason = "pyftdi finds no libusb: install it (sudo apt install libusb-1.0-0)"
        raise _refused(path, reason) from e


def _quietly(controller: Any) -> None:
    with contextlib.suppress(Exception):
        controller.close()
