"""Connections other than serial ports that a board can have: one row each.

A row makes the addresses of ``--port`` and their help.  The module of a bus has ``opened(path, hz,
timeout=)``, without ``hz`` for a bus that has no frequency, which returns an object with the interface of
serial.Serial and with ``diagnosis``: why no device may have answered.

Imports nothing, so that ``equilif --help`` starts fast.
"""

from __future__ import annotations

from typing import NamedTuple


class BusDriver(NamedTuple):
    """A bus.  ``kind``: of the board's link.  ``prefixes``: of its addresses.  ``module``: opens them."""

    kind: str
    title: str
    prefixes: tuple[str, ...]
    examples: tuple[str, ...]
    module: str
    frequency: str = ""  #: what --baud is; empty: there is none
    usual: int = 0  #: without --baud


SPI = BusDriver(
    kind="spi",
    title="SPI bus",
    prefixes=("spi:", "spi+"),
    examples=("spi:/dev/spidev0.0", "spi+ftdi://ftdi:2232h/1"),
    frequency="SCK frequency of the SPI bus in Hz",
    usual=4_000_000,
    module="equilif.host.spi",
)
UDP = BusDriver(
    kind="udp",
    title="UDP address",
    prefixes=("udp://",),
    examples=("udp://192.168.1.50",),
    module="equilif.host.udp",
)
BUSES = (SPI, UDP)


def bus_of(path: str) -> BusDriver | None:
    """The bus of an address; None for a serial port."""
    return next((bus for bus in BUSES if path.startswith(bus.prefixes)), None)
