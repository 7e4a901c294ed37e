"""Bytes on an SPI bus, where each byte of one side costs a byte of the other.

    data --> stuff --> MOSI    [ Slave ]    MISO --> Unstuffer --> data

Who has nothing to say sends NOTHING, between any two bytes, also in the middle of a frame.  A NOTHING or
ESCAPE among the data goes as an ESCAPE and the byte with the bits of FLIP turned.  Both directions are alike.

NOTHING and ESCAPE are rare in what goes over a link.  NOTHING is neither of the bytes that a line without a
device shows, 00 and FF, so a host can tell a device that is silent from none; and as seen from a host that
is off by some bits it is neither itself nor an END of SLIP.
"""

from __future__ import annotations

from collections import deque

NOTHING = 0x96
ESCAPE = 0xB2
FLIP = 0x20
#: what may stand behind an ESCAPE
CODES = {special ^ FLIP: special for special in (NOTHING, ESCAPE)}


def stuff(data: bytes) -> bytes:
    """Data as they go over the bus."""
    out = data.replace(bytes([ESCAPE]), bytes([ESCAPE, ESCAPE ^ FLIP]))
    return out.replace(bytes([NOTHING]), bytes([ESCAPE, NOTHING ^ FLIP]))


class Unstuffer:
    """What :func:`stuff` was given, of what came over the bus."""

    def __init__(self) -> None:
        self.escaped = False  #: the last byte that was no NOTHING was an ESCAPE

    def take(self, byte: int) -> tuple[int, bool] | None:
        """The byte of data that this one is or ends, and whether its escape is wrong; None when there is
        none.
        """
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
        """All of them, right or wrong: a frame has its CRC."""
        line = line.replace(bytes([NOTHING]), b"")  # mostly all of it
        if not self.escaped and ESCAPE not in line:
            return line
        return bytes(found[0] for byte in line if (found := self.take(byte)) is not None)


class Slave:
    """equilif_hdl.link.spi.SpiLine, a byte on the bus at a time.

    ``sent``: bytes to the host that wait.  ``received``: those from the host, and whether they are in error.
    """

    def __init__(self) -> None:
        self.sent: deque[int] = deque()
        self.received: list[tuple[int, bool]] = []
        self.shown = NOTHING  #: goes to the host next
        self._escaped = False  # the ESCAPE before sent[0] is out
        self._lost = False
        self._unstuffer = Unstuffer()

    def exchange(self, byte: int, *, room: bool = True) -> int:
        """A byte from the host and the one for it.  ``room``: somebody takes what comes."""
        found = self._unstuffer.take(byte)
        if found is not None:
            if room:
                data, wrong = found
                self.received.append((data, wrong or self._lost))
            self._lost = not room
        shown, self.shown = self.shown, self._next()
        return shown

    def cut(self) -> None:
        """The chip select is released inside a byte: the host's is lost, the other one is shown again."""
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
