"""Scoreboard: actual against expected outputs."""

from __future__ import annotations

from collections import deque
from typing import Any


class Scoreboard:
    """In-order, exact.  An expected item must be pushed before the matching actual one arrives."""

    def __init__(self) -> None:
        self._expected: deque[Any] = deque()
        self.compared = 0

    def expect(self, item: Any) -> None:
        self._expected.append(item)

    def actual(self, item: Any) -> None:
        assert self._expected, f"unexpected output #{self.compared}: {item}"
        want = self._expected.popleft()
        assert item == want, f"output #{self.compared}: got {item}, expected {want}"
        self.compared += 1

    @property
    def outstanding(self) -> int:
        return len(self._expected)

    def finish(self, count: int) -> None:
        """Fails unless ``n`` items were compared."""
        assert not self._expected, f"{len(self._expected)} outputs never came"
        assert self.compared == count, f"compared {self.compared} items, not {count}"
