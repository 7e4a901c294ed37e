"""A port that loses, damages and repeats frames in both directions."""

from __future__ import annotations

import random
from collections import Counter

import sliplib

from equilif.host.client import Port

END: bytes = sliplib.END


class Faulty:
    """A faulty line in front of ``port``.

    ``rate``: fraction of frames with a fault, in each direction.  ``faults``: count by kind and direction.
    """

    def __init__(self, port: Port, rate: float, rng: random.Random):
        self.port = port
        self.rate = rate
        self.rng = rng
        self.faults: Counter[str] = Counter(
            {f"{fault} {way}": 0 for fault in ("lost", "damaged", "doubled") for way in ("out", "in")}
        )
        self._out = b""
        self._in = b""
        self._ready = b""

    def write(self, data: bytes, /) -> int:
        *packets, self._out = (self._out + data).split(END)
        line = b"".join(self._damage(packet, "out") for packet in packets)
        if line:
            self.port.write(line)
        return len(data)

    def read(self, size: int = 1, /) -> bytes:
        if not self._ready:
            *packets, self._in = (
                self._in + self.port.read(max(1, getattr(self.port, "in_waiting", 1)))
            ).split(END)
            self._ready = b"".join(self._damage(packet, "in") for packet in packets)
        out, self._ready = self._ready[:size], self._ready[size:]
        return out

    def _damage(self, packet: bytes, way: str) -> bytes:
        """Bytes that arrive for a packet, END included."""
        line = packet + END
        if not packet or self.rng.random() >= self.rate:
            return line
        fault = self.rng.choice(("lost", "damaged", "doubled"))
        self.faults[f"{fault} {way}"] += 1
        if fault == "doubled":
            return line + line
        if fault == "lost":
            return b""
        # a flipped bit, a lost byte or an additional one, END included
        at = self.rng.randrange(len(line))
        return self.rng.choice(
            (
                line[:at] + bytes((line[at] ^ 1 << self.rng.randrange(8),)) + line[at + 1 :],
                line[:at] + line[at + 1 :],
                line[:at] + self.rng.randbytes(1) + line[at:],
            )
        )
