"""Words of the microphone of a board, or samples of its sensor: ``equilif listen --port``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from equilif import lesson
from equilif.data.sensor import mismatch
from equilif.lesson import Samples
from equilif.listening import Listener, SensorListener
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.port import Engine
from equilif_golden.extras import MissingExtra, needs
from equilif_golden.fixed import Raw
from equilif_golden.front_end import live
from equilif_golden.front_end.segmentation import Verdict
from equilif_golden.network import Network, Weights

if TYPE_CHECKING:
    from equilif_boards import Board

#: what becomes of words in addition to those of the segmentation
OTHER_REASONS = {
    live.NO_NETWORK: "no network is loaded",
    live.NO_CLASS: "the label of the pins is no class of the network",
    live.LOST: "lost: the engine was still at work",
}


class Heard(NamedTuple):
    """A word or sample of a board: its class, or why it has none; ``learned``: by the label of the pins.

    ``sample``: see Listener.read and SensorListener.read; None where the next one has replaced it.
    """

    number: int
    learned: bool = False
    reason: str = ""
    sample: Raw | None = None


def require_front_end(config: EngineConfig, listener: Listener | SensorListener) -> None:
    """ValueError unless an engine with a front end is one for this network.

    An engine with attention has the front end of a microphone, one without that of a sensor.  Of a known
    board the channels and windows of the sensor are compared, too, if the packages of boards are installed.
    """
    path = listener.saved.path
    if isinstance(listener, Listener):
        if not config.attention:
            raise ValueError(
                f"{path} hears words, and this board has the front end of a sensor: build one with  equilif "
                "build BOARD --front-end pdm,  or train on series of the sensor"
            )
        return
    if config.attention:
        raise ValueError(
            f"{path} hears a sensor, and this board has the front end of a microphone: build one with  "
            "equilif build icebreaker --front-end adc,  or train on recordings of words"
        )
    with contextlib.suppress(MissingExtra):
        with needs("hdl,boards"):
            from equilif_boards import BOARDS
        for board in BOARDS.values():
            if board.adc_front_end and board.adc_front_end.config == config:
                require_sensor(board, listener)


def require_sensor(board: Board, listener: SensorListener) -> None:
    """ValueError unless the front end of a board makes the samples of a network."""
    there = board.adc_front_end
    assert there is not None
    if differs := mismatch(listener.sensor.sizes, there.sizes):
        raise ValueError(
            f"{listener.saved.path} and {board.title}: {differs}; train with as many (data.window, "
            "data.windows), or describe these in a board file (AdcFrontEnd)"
        )


class BoardListener:
    """A board with a front end, and the network that it hears with.  The board has the weights."""

    def __init__(self, engine: Engine, listener: Listener | SensorListener):
        self.engine = engine
        self.listener = listener
        self._load(listener.saved.network, listener.saved.weights)

    def _load(self, network: Network, weights: Weights) -> None:
        live.pause(self.engine)
        self.network = network
        self.chip = Chip(self.engine, network, weights, learning_rate=lesson.LEARNING_RATE)
        self.listener.table(network).load(self.engine)
        self._serial = 0

    def poll(self) -> Heard | None:
        """The word or sample since the last call, if any."""
        last = live.last_answer(self.engine)
        if last.serial == self._serial:
            return None
        self._serial = last.serial
        if last.kind == "X":
            known = Verdict(last.number) if last.number < live.NO_NETWORK else None
            return Heard(0, reason=self.listener.reasons[known] if known else OTHER_REASONS[last.number])
        sample: Raw | None = self.listener.read(self.engine, self.network)
        if live.last_answer(self.engine) != last:
            sample = None
        return Heard(last.number, last.kind == "L", sample=sample)

    def add_class(self) -> None:
        """One more output."""
        self._load(*lesson.with_class(self.network, self.chip.weights))

    def learn(
        self,
        words: Samples,
        *,
        passes: int = lesson.PASSES,
        learning_rate: float = lesson.LEARNING_RATE,
        report: Callable[[int], None] = lambda k: None,
    ) -> Weights:
        """Learn these samples on the board, which hears nothing meanwhile; the new weights."""
        live.pause(self.engine)
        lesson.learn(self.chip, words, passes=passes, learning_rate=learning_rate, report=report)
        weights = self.chip.weights
        live.resume(self.engine)
        return weights
