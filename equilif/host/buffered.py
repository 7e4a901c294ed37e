"""Ports whose received bytes wait in a buffer."""

from __future__ import annotations


class BufferedPort:
    """Common part of the ports of buses: methods of serial.Serial.  ``timeout``: seconds of a read."""

    def __init__(self, name: str, timeout: float):
        self.name = name
        self.timeout = timeout
        self.write_timeout: float | None = None  # a write is never held up
        self._received = b""

    @property
    def in_waiting(self) -> int:
        return len(self._received)

    def reset_input_buffer(self) -> None:
        self._received = b""

    def reset_output_buffer(self) -> None:
        """Do nothing: no output is buffered."""

    def _taken(self, size: int) -> bytes:
        """The first bytes of those received."""
        out, self._received = self._received[:size], self._received[size:]
        return out
