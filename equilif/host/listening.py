"""Words of the microphone of a board: ``equilif listen --port``."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from equilif import lesson
from equilif.lesson import Words
from equilif.listening import REASONS, Listener
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.port import Engine
from equilif_golden.fixed import Raw
from equilif_golden.front_end import live
from equilif_golden.front_end.segmentation import Verdict
from equilif_golden.network import Network, Weights

#: what becomes of words in addition to those of the segmentation
OTHER_REASONS = {
    live.NO_NETWORK: "no network is loaded",
    live.NO_CLASS: "the label of the pins is no class of the network",
    live.LOST: "lost: words came faster than the engine runs",
}


class Heard(NamedTuple):
    """A word of a board: its class, or why it has none; ``learned``: by the label of the pins.

    ``tokens`` (m, width), raw weights; None where the next word has replaced them.
    """

    number: int
    learned: bool = False
    reason: str = ""
    tokens: Raw | None = None


class BoardListener:
    """A board with a front end, and the network that it hears with.  The board has the weights."""

    def __init__(self, engine: Engine, listener: Listener):
        self.engine = engine
        self.scaling = listener.scaling
        self._load(listener.saved.network, listener.saved.weights)

    def _load(self, network: Network, weights: Weights) -> None:
        live.pause(self.engine)
        self.network = network
        self.chip = Chip(self.engine, network, weights, learning_rate=lesson.LEARNING_RATE)
        live.Table(network, self.scaling).load(self.engine)
        self._serial = 0

    def poll(self) -> Heard | None:
        """The word since the last call, if any."""
        last = live.last_answer(self.engine)
        if last.serial == self._serial:
            return None
        self._serial = last.serial
        if last.kind == "X":
            known = Verdict(last.number) if last.number < live.NO_NETWORK else None
            return Heard(0, reason=REASONS[known] if known else OTHER_REASONS[last.number])
        tokens: Raw | None = live.read_tokens(self.engine, self.network)
        if live.last_answer(self.engine) != last:
            tokens = None
        return Heard(last.number, last.kind == "L", tokens=tokens)

    def add_class(self) -> None:
        """One more output."""
        self._load(*lesson.with_class(self.network, self.chip.weights))

    def learn(
        self,
        words: Words,
        *,
        passes: int = lesson.PASSES,
        learning_rate: float = lesson.LEARNING_RATE,
        report: Callable[[int], None] = lambda k: None,
    ) -> Weights:
        """Learn these words on the board, which hears nothing meanwhile; the new weights."""
        live.pause(self.engine)
        lesson.learn(self.chip, words, passes=passes, learning_rate=learning_rate, report=report)
        weights = self.chip.weights
        live.resume(self.engine)
        return weights
