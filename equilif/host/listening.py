"""Words of the microphone of a board, or samples of its sensor: ``equilif listen --port``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from equilif import lesson
from equilif.data.encoding.sensor import mismatch
from equilif.lesson import Lesson, Samples, Words
from equilif.listening import UNKNOWN, SensorRecognizer, WordRecognizer
from equilif.training.lesson_settings import SETTINGS, LessonSettings
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.port import Engine
from equilif_golden.extras import MissingExtra
from equilif_golden.fixed import Raw
from equilif_golden.front_end import live
from equilif_golden.front_end.segmentation import Verdict
from equilif_golden.lazy import lazy
from equilif_golden.link.protocol import FrontEndKind, Identity
from equilif_golden.network import Network, Weights

with lazy():  # both need optional packages
    import equilif_boards
    from equilif.host import ports

#: what becomes of words in addition to those of the segmentation
OTHER_REASONS = {
    live.NO_NETWORK: "no network is loaded",
    live.NO_CLASS: "the label of the pins is no class of the network",
    live.LOST: "lost: the engine was still at work",
}


POLL_SECONDS = 0.05  #: words are 0.2 s apart at least


class BoardAnswer(NamedTuple):
    """A word or sample of a board: its class, or why it has none; ``learned``: by the label of the pins.

    ``sample``: see WordRecognizer.read and SensorRecognizer.read; None where the next one has replaced it.
    """

    number: int
    learned: bool = False
    reason: str = ""
    sample: Raw | None = None


def require_front_end(identity: Identity, listener: WordRecognizer | SensorRecognizer) -> None:
    """ValueError unless a device with a front end is one for this network.

    Of a known board the channels and windows of the sensor are compared, too, if the packages of boards are
    installed.
    """
    path = listener.saved.path
    if isinstance(listener, WordRecognizer):
        if identity.front_end is not FrontEndKind.MICROPHONE:
            raise ValueError(
                f"{path} hears words, and this board has the front end of a sensor: build one with  equilif "
                "build BOARD --front-end pdm,  or train on series of the sensor"
            )
        return
    if identity.front_end is not FrontEndKind.SENSOR:
        raise ValueError(
            f"{path} hears a sensor, and this board has the front end of a microphone: build one with  "
            "equilif build icebreaker --front-end adc,  or train on recordings of words"
        )
    with contextlib.suppress(MissingExtra):
        for board in equilif_boards.BOARDS.values():
            if board.adc_front_end and board.adc_front_end.config == identity.config:
                require_sensor(board, listener)


def require_sensor(board: equilif_boards.Board, listener: SensorRecognizer) -> None:
    """ValueError unless the front end of a board makes the samples of a network."""
    there = board.adc_front_end
    assert there is not None
    if differs := mismatch(listener.sensor.sizes, there.sizes):
        raise ValueError(
            f"{listener.saved.path} and {board.title}: {differs}; train with as many (data.window, "
            "data.windows), or describe these in a board file (AdcFrontEnd)"
        )


class BoardListener:
    """A board with a front end, and the network that it hears with.  The board has the weights.

    labels : classes, with those that were added.
    displaced : whether the network took the place of one that the board had trained itself.
    """

    displaced = False

    def __init__(self, engine: Engine, listener: WordRecognizer | SensorRecognizer):
        self.engine = engine
        self.listener = listener
        self.labels: tuple[str, ...] = listener.labels
        self._load(listener.saved.network, listener.saved.weights)

    @classmethod
    def at(cls, port: str, baud: int | None, listener: WordRecognizer | SensorRecognizer) -> BoardListener:
        """The board at a port; ValueError unless it has the front end of this network."""
        client = ports.the_one(port, baud)
        if not client.identity.front_end:
            raise ValueError(
                f"the board at {port} has no front end: load a bitstream of `equilif build BOARD --front-end "
                "pdm` (adc for a sensor)"
            )
        require_front_end(client.identity, listener)
        board = cls(client, listener)
        board.displaced = client.displaced
        return board

    def _load(self, network: Network, weights: Weights) -> None:
        live.pause(self.engine)
        self.network = network
        self.chip = Chip(self.engine, network, weights, learning_rate=SETTINGS.learning_rate)
        self.listener.table(network).load(self.engine)
        self._serial = 0

    def poll(self) -> BoardAnswer | None:
        """The word or sample since the last call, if any."""
        last = live.last_answer(self.engine)
        if last.serial == self._serial:
            return None
        self._serial = last.serial
        if last.kind == "X":
            known = Verdict(last.number) if last.number < live.NO_NETWORK else None
            return BoardAnswer(
                0, reason=self.listener.reasons[known] if known else OTHER_REASONS[last.number]
            )
        sample: Raw | None = self.listener.read(self.engine, self.network)
        if live.last_answer(self.engine) != last:
            sample = None
        return BoardAnswer(last.number, last.kind == "L", sample=sample)

    def words(self, seconds: float | None = None) -> Iterator[BoardAnswer]:
        """Words or samples as they end, for ``seconds`` or until Ctrl-C."""
        start = time.monotonic()
        try:
            while seconds is None or time.monotonic() < start + seconds:
                if (word := self.poll()) is not None:
                    yield word
                else:
                    time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            return

    def known_words(self, seconds: float | None = None) -> Iterator[BoardAnswer]:
        """Yield :meth:`words`; those that are like none of training have a reason."""
        for word in self.words(seconds):
            if isinstance(self.listener, WordRecognizer) and word.sample is not None and not word.reason:
                tokens = Words.of([word.sample], [0], word.sample.shape[1]).tokens
                if self.listener.is_unknown(tokens):
                    word = word._replace(reason=UNKNOWN)
            yield word

    def add_class(self, label: str) -> None:
        """One more output, for a new class."""
        labels = lesson.with_label(self.labels, label)
        self._load(*lesson.with_class(self.network, self.chip.weights))
        self.labels = labels

    def prepare_lesson(
        self,
        label: str,
        n: int,
        stored: Samples,
        *,
        ready: Callable[[], None] = lambda: None,
        report: Callable[[BoardAnswer], None] = lambda word: None,
    ) -> Lesson:
        """Lesson of the next ``n`` words or samples, as a class that may be new; ValueError when Ctrl-C ends
        it before.

        stored : samples of the listener's memory.
        ready : called when the board hears; ``report`` gets each word.
        """
        if label not in self.labels:
            self.add_class(label)
        ready()
        samples = []
        for word in self.words():
            report(word)
            if word.sample is not None:
                samples.append(word.sample)
            if len(samples) == n:
                break
        else:
            raise ValueError(f"{len(samples)} of {n} {self.listener.unit} arrived: nothing was learned")
        return Lesson(
            saved=self.listener.saved,
            network=self.network,
            weights=self.chip.weights,
            labels=self.labels,
            new=self.listener.samples(samples, self.labels.index(label)),
            stored=stored,
        )

    def learn(
        self,
        words: Samples,
        settings: LessonSettings = SETTINGS,
        *,
        report: Callable[[int], None] = lambda k: None,
    ) -> Weights:
        """Learn these samples on the board, which hears nothing meanwhile; the new weights."""
        live.pause(self.engine)
        lesson.learn(self.chip, words, settings, report=report)
        weights = self.chip.weights
        live.resume(self.engine)
        return weights
