"""Live controller: words at the pins of a simulated board, against the golden front end and chip."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from equilif import lesson
from equilif.data.sound.microphone import SoundFrontEnd as GoldenMicrophone
from equilif.host.client import Client
from equilif.host.listening import BoardListener
from equilif.listening import WordRecognizer
from equilif_golden.blocks.relay import FRACTION
from equilif_golden.blocks.synapse import from_words
from equilif_golden.engine.chip import Chip, read_weights
from equilif_golden.engine.config import EngineConfig, Pipeline
from equilif_golden.engine.model import EngineModel
from equilif_golden.engine.port import Region
from equilif_golden.front_end import live
from equilif_golden.front_end.filter_bank import BANDS, FilterBank
from equilif_golden.front_end.pdm import RATE, Modulator, Pdm
from equilif_golden.front_end.segmentation import Segmentation, Verdict
from equilif_golden.front_end.tokens import POSITIONS, TOKENS, Scaling
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network
from equilif_golden.tokens import TokenRows
from equilif_hdl.front_end.listener import MIN_CLOCK_HZ, Microphone

CONFIG = EngineConfig(
    lanes=4, tiles=256, value_groups=128, state_groups=32, pipeline=Pipeline.DEEP, program_words=512
)
CLASSES = 3
SHAPE = TOKENS, BANDS + POSITIONS
NETWORK = Network.attention(*SHAPE, 1, 16, CLASSES)
SCALING = Scaling(np.full(BANDS, 150 * 16), np.full(BANDS, 170))
LEARNING_RATE = 0.05


def sound(*parts):
    """Tones of (frequency, amplitude, seconds) and noise, one after the other, as samples."""
    rng = np.random.default_rng(1)
    out = []
    for frequency, amplitude, seconds in parts:
        t = np.arange(round(RATE * seconds))
        out.append(amplitude * np.sin(2 * np.pi * frequency / RATE * t) + rng.normal(0, 3, len(t)))
    return np.clip(np.rint(np.concatenate(out)), -32768, 32767).astype(np.int64)


PAUSE = (100, 0, 0.26)
ONE = ((300, 6000, 0.12), (900, 4000, 0.1))
TWO = ((2500, 9000, 0.1), (600, 3000, 0.25))
CLICK = ((1000, 8000, 0.03),)
#: bits: full scale of both signs
OVERLOAD = np.tile(np.repeat([1, 0], 64 * 20), 100).astype(np.uint8)
NO_BITS = np.zeros(0, np.uint8)
#: not connected: the data pin stays low
LOST = np.zeros(64 * RATE // 10, np.uint8)


class Golden:
    """Front end and chip; ``hear`` returns the answers."""

    def __init__(self):
        self.chip = None
        self.front = Pdm(), FilterBank(), Segmentation()
        self.codes = np.zeros((0, BANDS), np.int64)

    def load(self, weights):
        self.chip = Chip(EngineModel(CONFIG), NETWORK, weights, learning_rate=LEARNING_RATE)

    def hear(self, bits, label):
        pdm, bank, segmentation = self.front
        frames = bank.feed(pdm.feed(bits))
        self.codes = np.concatenate([self.codes, frames.codes])
        return b"".join(self.answer(word, label) for word in segmentation.feed(frames))

    def answer(self, word, label):
        if word.verdict != Verdict.SAMPLE:
            return live.answer("X", word.verdict)
        if self.chip is None:
            return live.answer("X", live.NO_NETWORK)
        if label is not None and label >= CLASSES:
            return live.answer("X", live.NO_CLASS)
        shift = NETWORK.numerics.fraction - FRACTION
        table = (SCALING.tokens(self.codes[word.first : word.last + 1]) << shift).astype(np.int16)
        self.tokens = len(table)
        rows = np.arange(len(table), dtype=np.int32)
        tokens = TokenRows(table, rows, np.array([0, len(table)]))
        target = None if label is None else 255 * np.eye(CLASSES, dtype=np.int64)[label]
        run = self.chip.sample(np.zeros(0, np.int64), target, tokens=tokens)
        return live.answer("C", run.prediction) if label is None else live.answer("L", label)


@pytest.mark.regress
@pytest.mark.skipif(not shutil.which("g++"), reason="a simulation is compiled with g++")
def test_board_equals_golden():
    """Words are rejected without a network; then classified and learned.  A click, an overload, an invalid
    label and a lost microphone change nothing.  Tokens and weights are compared, too.
    """
    from equilif_sim.board import SimulatedBoard

    board = SimulatedBoard(CONFIG, microphone=Microphone("pdm", MIN_CLOCK_HZ), build_id=0, frame_bytes=2048)
    client = Client(board, timeout=0.05)
    golden = Golden()
    modulator = Modulator()
    idle = 0

    def answer_to(*parts, label=None, bits=NO_BITS):
        bits = np.concatenate([bits, modulator.feed(sound(*parts, PAUSE))])
        if label is not None:
            live.set_label(client, label)
        found = board.listen(bits)
        nonlocal idle
        silence = np.arange(idle, board.idle_bits) & 1
        idle = board.idle_bits
        want = golden.hear(np.concatenate([silence, bits]), label)
        assert found == want
        if want[:1] in b"CL":
            n = SHAPE[0] * SHAPE[1]
            first = golden.chip.compiled.tokens_first
            engines = client, golden.chip.engine
            rows = [from_words(e.read(Region.WEIGHT, first, n).reshape(-1, 4), SHAPE, 4) for e in engines]
            assert (rows[0][: golden.tokens] == rows[1][: golden.tokens]).all()
        return want

    assert answer_to(*ONE) == live.answer("X", live.NO_NETWORK)
    weights = NETWORK.initial_weights(seed=2)
    chip = Chip(client, NETWORK, weights, learning_rate=LEARNING_RATE)
    assert answer_to(*CLICK) == live.answer("X", Verdict.SHORT)
    live.Table(NETWORK, SCALING).load(client)
    golden.load(weights)
    before = answer_to(*ONE)
    assert before.startswith(b"C")
    assert answer_to(*TWO, label=CLASSES) == live.answer("X", live.NO_CLASS)
    assert answer_to(bits=OVERLOAD) == live.answer("X", Verdict.CLIPPED)
    lost = np.concatenate([modulator.feed(sound(*ONE)), LOST])
    assert answer_to(bits=lost) == live.answer("X", Verdict.STUCK)
    assert not learned(client, weights)
    label = (int(before[1:3]) + 1) % CLASSES
    assert answer_to(*ONE, label=label) == live.answer("L", label)
    assert learned(client, weights)
    found = read_weights(client, chip.compiled)
    assert all((found[s.name] == golden.chip.weights[s.name]).all() for s in NETWORK.plastic)


def learned(client, weights):
    """Whether the weights of the board differ from these."""
    found = read_weights(client, Chip(EngineModel(CONFIG), NETWORK, weights).compiled)
    return any((found[s.name] != weights[s.name]).any() for s in NETWORK.plastic)


@pytest.mark.regress
@pytest.mark.skipif(not shutil.which("g++"), reason="a simulation is compiled with g++")
def test_lesson_equals_golden():
    """The host reads words of the board and adds a class; the board learns as the golden kernel does, and
    then hears the new class.
    """
    from equilif_sim.board import SimulatedBoard

    board = SimulatedBoard(CONFIG, microphone=Microphone("pdm", MIN_CLOCK_HZ), build_id=0, frame_bytes=2048)
    weights = NETWORK.initial_weights(seed=2)
    known = SimpleNamespace(
        saved=SimpleNamespace(network=NETWORK, weights=weights),
        table=lambda network: live.Table(network, SCALING),
        read=live.read_tokens,
        reasons=WordRecognizer.reasons,
        labels=tuple("abcdefgh"[:CLASSES]),
    )
    listener = BoardListener(Client(board, timeout=0.05), known)
    modulator = Modulator()
    golden = GoldenMicrophone()
    assert listener.poll() is None
    idle = 0

    def heard(*parts):
        nonlocal idle
        bits = modulator.feed(sound(*parts, PAUSE))
        text = board.listen(bits)
        silence = np.arange(idle, board.idle_bits) & 1
        idle = board.idle_bits
        (spoken,) = golden.feed_bits(np.concatenate([silence, bits]))[1]
        word = listener.poll()
        assert listener.poll() is None
        if spoken.word.verdict == Verdict.SAMPLE:
            want = SCALING.tokens(spoken.codes) << NETWORK.numerics.fraction - FRACTION
            assert (word.sample == want).all() and text == live.answer("C", word.number)
        return word

    assert heard(*CLICK).reason
    before = heard(*ONE)
    listener.add_class("new")
    words = lesson.Words.of([before.sample], [CLASSES], SHAPE[1])
    listener.learn(words, passes=8, learning_rate=0.1)
    network, first = lesson.with_class(NETWORK, weights)
    kernel = Kernel(network, first, learning_rate=0.1)
    lesson.learn(kernel, words, passes=8, learning_rate=0.1)
    assert all((listener.chip.weights[s.name] == kernel.weights[s.name]).all() for s in network.plastic)
    assert before.number != heard(*ONE).number == CLASSES
