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
from equilif.training.lesson_settings import LessonSettings
from equilif_golden.blocks.relay import FRACTION
from equilif_golden.engine.chip import Chip, read_weights
from equilif_golden.engine.config import EngineConfig, Pipeline
from equilif_golden.engine.port import Region, region_size
from equilif_golden.front_end import live
from equilif_golden.front_end.filter_bank import BANDS
from equilif_golden.front_end.pdm import RATE, Modulator
from equilif_golden.front_end.segmentation import Verdict
from equilif_golden.front_end.tokens import POSITIONS, TOKENS, Scaling
from equilif_golden.kernel import Kernel
from equilif_golden.link.device import Device
from equilif_golden.network import Network
from equilif_hdl.front_end.listener import MIN_CLOCK_HZ, Microphone
from equilif_sim.board import SimulatedBoard
from tests.listening import ONE, PAUSE, sound

CONFIG = EngineConfig(
    lanes=4, tiles=256, value_groups=128, state_groups=32, pipeline=Pipeline.DEEP, program_words=512
)
CLASSES = 3
SHAPE = TOKENS, BANDS + POSITIONS
NETWORK = Network.attention(*SHAPE, 1, 16, CLASSES)
SCALING = Scaling(np.full(BANDS, 150 * 16), np.full(BANDS, 170))
LEARNING_RATE = 0.05


TWO = ((2500, 9000, 0.1), (600, 3000, 0.25))
CLICK = ((1000, 8000, 0.03),)
#: bits: full scale of both signs
OVERLOAD = np.tile(np.repeat([1, 0], 64 * 20), 100).astype(np.uint8)
NO_BITS = np.zeros(0, np.uint8)
#: not connected: the data pin stays low
LOST = np.zeros(64 * RATE // 10, np.uint8)


@pytest.mark.regress
@pytest.mark.skipif(not shutil.which("g++"), reason="a simulation is compiled with g++")
def test_board_equals_golden():
    """Words are rejected without a network; then classified and learned.  A click, an overload, an invalid
    label and a lost microphone change nothing.  Tokens and weights are compared, too.
    """
    board = SimulatedBoard(CONFIG, front_end=Microphone("pdm", MIN_CLOCK_HZ), build_id=0, frame_bytes=2048)
    client = Client(board, timeout=0.05)
    device = Device(CONFIG)
    engines = client, device.engine
    controller = live.Live(device)
    front = GoldenMicrophone()
    modulator = Modulator()
    idle = 0

    def answer_to(*parts, label=None, bits=NO_BITS):
        nonlocal idle
        bits = np.concatenate([bits, modulator.feed(sound(*parts, PAUSE))])
        if label is not None:
            for engine in engines:
                live.set_label(engine, label)
        found = board.listen(bits)
        silence = np.arange(idle, board.idle_bits) & 1
        idle = board.idle_bits
        spoken = front.feed_bits(np.concatenate([silence, bits]))[1]
        assert found == b"".join(controller.hear(s.word.verdict, s.codes) for s in spoken)
        for region in (Region.WEIGHT, Region.VALUE):
            there, here = (e.read(region, 0, region_size(CONFIG, region)) for e in engines)
            assert (there == here).all()
        return found

    assert answer_to(*ONE) == live.answer("X", live.NO_NETWORK)
    weights = NETWORK.initial_weights(seed=2)
    for engine in engines:
        chip = Chip(engine, NETWORK, weights, learning_rate=LEARNING_RATE)
    assert answer_to(*CLICK) == live.answer("X", Verdict.SHORT)
    for engine in engines:
        live.Table(NETWORK, SCALING).load(engine)
    before = answer_to(*ONE)
    assert before.startswith(b"C")
    assert answer_to(*TWO, label=CLASSES) == live.answer("X", live.NO_CLASS)
    assert answer_to(bits=OVERLOAD) == live.answer("X", Verdict.CLIPPED)
    lost = np.concatenate([modulator.feed(sound(*ONE)), LOST])
    assert answer_to(bits=lost) == live.answer("X", Verdict.STUCK)
    label = (int(before[1:3]) + 1) % CLASSES
    assert answer_to(*ONE, label=label) == live.answer("L", label)
    found = read_weights(client, chip.compiled)
    assert any((found[s.name] != weights[s.name]).any() for s in NETWORK.plastic)


@pytest.mark.regress
@pytest.mark.skipif(not shutil.which("g++"), reason="a simulation is compiled with g++")
def test_lesson_equals_golden():
    """The host reads words of the board and adds a class; the board learns as the golden kernel does, and
    then hears the new class.
    """
    board = SimulatedBoard(CONFIG, front_end=Microphone("pdm", MIN_CLOCK_HZ), build_id=0, frame_bytes=2048)
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
    settings = LessonSettings(passes=8, learning_rate=0.1)
    listener.learn(words, settings)
    network, first = lesson.with_class(NETWORK, weights)
    kernel = Kernel(network, first, learning_rate=0.1)
    lesson.learn(kernel, words, settings)
    assert all((listener.chip.weights[s.name] == kernel.weights[s.name]).all() for s in network.plastic)
    assert before.number != heard(*ONE).number == CLASSES
