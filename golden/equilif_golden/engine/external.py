"""External weights: their order in the SDRAM, and the cycles of the mover.

    scanner --event--> [ mover ] --event--> walker
                        |     ^ rows
                        v     |
                       window on the chip <--> SDRAM

An instruction through external weights runs as any other.  The mover fetches the row of each event into a
slot of the window, which is the last tiles on the chip, and hands the event on with the tile of that slot.
DRIVE has two slots, so that a row is fetched while another one is used.  LEARN has one: its row is written
back before the next one is fetched.

The events are those of an instruction on the chip: rows of sources that are zero are not fetched, and neither
are rows that LEARN cannot change.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import SLOTS, Instruction, Op
from equilif_golden.fixed import Raw
from equilif_golden.sdram import BurstRequest, Controller


def to_rows(words: Raw, n_dst: int, lanes: int) -> Raw:
    """Weight words of a synapse, tile by tile (equilif_golden.blocks.synapse.to_words), row by row.

    Word (g P + e) n_dst + k is row e of tile g n_dst + k, so the weights of a source neuron are consecutive.
    """
    return _exchanged(words, n_dst, lanes)


def from_rows(words: Raw, n_dst: int, lanes: int) -> Raw:
    """Inverse of :func:`to_rows`."""
    return _exchanged(words, lanes, n_dst)


def _exchanged(words: Raw, inner: int, outer: int) -> Raw:
    shape = words.shape
    return words.reshape(-1, inner, outer, shape[-1]).swapaxes(1, 2).reshape(shape)


class MoverCycles:
    """The mover during a scan.  ``n``, ``rows``: groups of a row, and the rows that are fetched.  ``words``:
    of the SDRAM that are read and written, to which this scan adds.

    Cycles of :meth:`accepts` and the others do not decrease.
    """

    def __init__(
        self,
        controller: Controller,
        config: EngineConfig,
        i: Instruction,
        n: int,
        rows: Sequence[int],
        words: list[int],
    ):
        self._controller = controller
        self._words = words
        self._n_words = n * config.sdram_words
        first = i["tile"] * config.lanes * config.sdram_words
        self._rows: Iterator[int] = iter([first + row * self._n_words for row in rows])
        self._learning = i.op == Op.LEARN
        self._slots = 1 if self._learning else SLOTS
        registers = config.registers
        #: from the cycle in which the lanes are empty to the request of a WRITE
        self._read_weights = 4 + registers.weight_read
        self._used = 0  #: slots
        self._requested = 0  #: the first cycle after the last request was accepted
        self._offered: deque[int] = deque()  #: of each row, the cycle from which its event is handed on
        self._address = 0  #: of the row that learns
        self._stored: int | None = None  #: the cycle after the command of its last word

    def begin(self, now: int) -> None:
        """Begin a cycle."""
        if self._stored is not None and now > self._stored:
            self._stored = None
            self._used -= 1

    @property
    def busy(self) -> bool:
        """A slot is in use."""
        return self._used > 0

    def accepts(self, now: int) -> bool:
        """An event of the scanner is accepted."""
        return self._used < self._slots and now >= self._requested

    def accept(self, now: int) -> None:
        """Accept an event, and fetch its row."""
        self._address = next(self._rows)
        self._used += 1
        end = self._access(now + 1, is_write=False)
        self._offered.append(end + self._controller.timing.read_latency + 1)

    def fetch_all(self, now: int) -> int:
        """Fetch all rows; returns the cycle from which events are handed on."""
        end = at = now
        for address in self._rows:
            self._address = address
            end = self._access(at + 1, is_write=False)
            at = self._requested - 1
        return end + self._controller.timing.read_latency + 1

    def offers(self, now: int) -> bool:
        """An event is offered to the walker."""
        return bool(self._offered) and now >= self._offered[0]

    def taken(self) -> None:
        """The walker accepts the event."""
        self._offered.popleft()

    def walked(self, empty: int) -> None:
        """The walker issues the last command of an event, which has left the lanes in cycle ``empty``."""
        if self._learning:
            self._stored = self._access(empty + self._read_weights, is_write=True) + 1
        else:
            self._used -= 1

    def _access(self, at: int, *, is_write: bool) -> int:
        """Request the row from cycle ``at`` on; returns the cycle of its last word's command."""
        self._words[is_write] += self._n_words
        end = self._controller.access(BurstRequest(self._address, self._n_words, is_write), at)
        self._requested = self._controller.accepted + 1
        return end
