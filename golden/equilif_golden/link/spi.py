"""Byte stuffing on an SPI bus, which always transfers bytes in both directions.

    data --> stuff --> MOSI    [ Slave ]    MISO --> Unstuffer --> data

A side without data sends NOTHING, also within a frame.  A NOTHING or ESCAPE in the data is sent as an ESCAPE
and the byte XOR FLIP.  Both directions use the same code.

NOTHING and ESCAPE are rare in frames.  NOTHING differs from the bytes of a bus without a device, 00 and FF,
so a host can detect a device; shifted by some bits it is neither itself nor an END of SLIP.
"""

from __future__ import annotations

from collections import deque

NOTHING = 0x96
ESCAPE = 0xB2
FLIP = 0x20
#: valid bytes after an ESCAPE
CODES = {special ^ FLIP: special for special in (NOTHING, ESCAPE)}


def stuff(data: bytes) -> bytes:
    """Data with escapes, for the bus."""
    out = data.replace(bytes([ESCAPE]), bytes([ESCAPE, ESCAPE ^ FLIP]))
    return out.replace(bytes([NOTHING]), bytes([ESCAPE, NOTHING ^ FLIP]))


class Unstuffer:
    """Inverse of :func:`stuff`, byte by byte."""

    def __init__(self) -> None:
        self.escaped = False  #: the last byte that was no NOTHING was an ESCAPE

    def take(self, byte: int) -> tuple[int, bool] | None:
        """The data byte that this one completes, and whether its escape is invalid; None if there is none."""
        if byte == NOTHING:
            return None
        if self.escaped:
            self.escaped = False
            return byte ^ FLIP, byte not in CODES
        if byte == ESCAPE:
            self.escaped = True
            return None
        return byte, False

    def data(self, line: bytes) -> bytes:
        """All data bytes, valid or not: frames have a CRC."""
        line = line.replace(bytes([NOTHING]), b"")  # mostly all of it
        if not self.escaped and ESCAPE not in line:
            return line
        return bytes(found[0] for byte in line if (found := self.take(byte)) is not None)


class Slave:
    """equilif_hdl.link.spi.SpiLine, a byte on the bus at a time.

    ``sent``: pending bytes for the host.  ``received``: bytes from the host, and whether they are in error.
    """

    def __init__(self) -> None:
        self.sent: deque[int] = deque()
        self.received: list[tuple[int, bool]] = []
        self.shown = NOTHING  #: next byte for the host
        self._escaped = False  # the ESCAPE before sent[0] is out
        self._lost = False
        self._unstuffer = Unstuffer()

    def exchange(self, byte: int, *, room: bool = True) -> int:
        """Exchange a byte with the host.  ``room``: whether the received byte is taken."""
        found = self._unstuffer.take(byte)
        if found is not None:
            if room:
                data, wrong = found
                self.received.append((data, wrong or self._lost))
            self._lost = not room
        shown, self.shown = self.shown, self._next()
        return shown

    def cut(self) -> None:
        """Release the chip select within a byte: the host's byte is lost, the other one is sent again."""
        self._lost = True

    def _next(self) -> int:
        if not self.sent:
            return NOTHING
        special = self.sent[0] in (NOTHING, ESCAPE)
        if special and not self._escaped:
            self._escaped = True
            return ESCAPE
        self._escaped = False
        return self.sent.popleft() ^ FLIP * special
