"""Words that a board learns without a host, replays and keeps: model, and RTL against the model."""

from __future__ import annotations

import itertools
import random
import shutil

import numpy as np
import pytest

from equilif.data.sound.microphone import SoundFrontEnd as GoldenMicrophone
from equilif.host.client import Client
from equilif.host.store import FlashStore, Lessons, StoredSamples, TrainingJob
from equilif.lesson import Words
from equilif_golden.blocks.relay import FRACTION
from equilif_golden.engine.chip import Chip, read_weights
from equilif_golden.engine.compiler import Compiled
from equilif_golden.engine.config import EngineConfig, Pipeline
from equilif_golden.engine.port import Region, region_size
from equilif_golden.front_end import live
from equilif_golden.front_end.button import LONG, SHORT, Button
from equilif_golden.front_end.filter_bank import BANDS, Frames
from equilif_golden.front_end.pdm import Modulator
from equilif_golden.front_end.segmentation import HANG, Segmentation, Verdict
from equilif_golden.front_end.tokens import POSITIONS, TOKENS, Scaling
from equilif_golden.kernel import Kernel
from equilif_golden.link.device import Device
from equilif_golden.link.flash import BLOCK, ERASED, SECTOR, Flash
from equilif_golden.link.protocol import END, Command, unseal, unslip
from equilif_golden.link.standalone import INDEX_BYTES, LIST_BYTES, PLACES, Fault, slot_blocks
from equilif_golden.network import Network
from equilif_golden.replay import Reservoir
from equilif_golden.sample_order import order
from equilif_golden.schedule import Schedule
from equilif_hdl.front_end.button import Button as ButtonRtl
from equilif_hdl.front_end.listener import MIN_CLOCK_HZ, Microphone
from equilif_sim.board import SimulatedBoard
from equilif_sim.front_end.frames_board import ANSWER_CYCLES, FramesBoard, frame_bytes
from equilif_sim.tools.run import simulate
from tests.listening import ONE, PAUSE, sound
from tests.standalone import AREA, FailingFlash, PowerCut, client_of, content_of

verilated = pytest.mark.skipif(not shutil.which("g++"), reason="a simulation is compiled with g++")

CONFIG = EngineConfig(
    lanes=4, tiles=256, value_groups=128, state_groups=32, pipeline=Pipeline.DEEP, program_words=512
)
OUTPUTS = 4  #: the last one is unused at first
CLASSES = 3
REPLAY = 2
ROUNDS = 2
STORED = 5
RATE = 0.05
SHAPE = TOKENS, BANDS + POSITIONS
NETWORK = Network.attention(*SHAPE, 1, 8, OUTPUTS, schedule=Schedule(free=8, nudged=4, window=4))
SCALING = Scaling(np.full(BANDS, 150 * 16), np.full(BANDS, 170))
QUIET = np.zeros((HANG + 3, BANDS), np.int64)


def word(k, n=12):
    """Codes of frames of a word, and the quiet after it."""
    rng = np.random.default_rng(k)
    loud = np.clip(rng.integers(90, 160, BANDS) + rng.integers(-20, 20, (n, BANDS)), 70, 255)
    return np.concatenate([loud, QUIET])


CLICK = word(9, 3)


def tokens_of(codes):
    return SCALING.tokens(codes) << NETWORK.numerics.fraction - FRACTION


def stored():
    """Samples in the flash."""
    codes = [np.random.default_rng(50 + k).integers(0, 256, (9, BANDS)) for k in range(STORED)]
    return Words.of([tokens_of(c) for c in codes], [k % CLASSES for k in range(STORED)], SHAPE[1])


WEIGHTS = NETWORK.initial_weights(seed=2)


def store_of(words, *, replay=REPLAY, rounds=ROUNDS, kept=0):
    """The image of a board with these stored words."""
    job = TrainingJob(
        network=NETWORK,
        weights=WEIGHTS,
        rates=[RATE],
        samples=StoredSamples(labels=words.labels, tokens=words.tokens),
        lessons=Lessons(
            table=live.Table(NETWORK, SCALING).content(CONFIG),
            replay=replay,
            rounds=rounds,
            classes=CLASSES,
            kept=kept,
        ),
    )
    return FlashStore.of_job(device(Flash(AREA)).identity, job)


def uploaded(**options):
    """Flash content after an upload."""
    return content_of(store_of(stored(), **options))


def spoken_in(codes):
    """The frames of the word in these."""
    (found,) = Segmentation().feed(Frames(codes, *[np.zeros(len(codes), bool)] * 2))
    return codes[found.first : found.last + 1]


def flash_with(content):
    flash = Flash(AREA)
    flash.content[:] = content
    return flash


def device(flash):
    """A device after power-up, before the trainer has worked."""
    return Device(CONFIG, flash=flash, frame_bytes=2048, lessons=True)


class LessonBoard:
    """Golden board: frames to answers."""

    def __init__(self, flash):
        self.flash = flash
        self.device = device(flash)
        self.device.trainer.work()
        self.live = live.Live(self.device)
        self.segmentation = Segmentation()
        self.codes = np.zeros((0, BANDS), np.int64)

    @classmethod
    def of(cls, content):
        return cls(flash_with(content))

    @property
    def registers(self):
        return self.device.trainer.registers

    @property
    def content(self):
        return bytes(self.flash.content)

    @property
    def weights(self):
        return read_weights(self.device.engine, Compiled(NETWORK, CONFIG))

    def hear(self, codes):
        self.codes = np.concatenate([self.codes, codes])
        off = np.zeros(len(codes), bool)
        out = b""
        for w in self.segmentation.feed(Frames(codes, off, off)):
            out += self.live.hear(w.verdict, self.codes[w.first : w.last + 1])
        return out


def same(a, b):
    return all((a[s.name] == b[s.name]).all() for s in NETWORK.plastic)


# -- model -----------------------------------------------------------------------------------------
def test_lessons_equal_kernel():
    """Words and stored samples, in the trainer's order over more than one pass, as the kernel learns them;
    all is kept without power.
    """
    model = LessonBoard.of(uploaded())
    kernel = Kernel(NETWORK, WEIGHTS, learning_rate=RATE)
    assert same(model.weights, WEIGHTS)
    known = stored()
    turns = itertools.chain.from_iterable(order(STORED, 0, k) for k in itertools.count())
    for k, label in enumerate((1, None, 3, 3)):
        before = model.content
        if label == CLASSES and model.registers.classes == CLASSES:
            model.live.press_long()
        elif label is not None:
            model.live.press(label)
        text = model.hear(word(k))
        tokens = tokens_of(spoken_in(word(k)))
        words = Words.of([tokens], [label or 0], SHAPE[1])
        if label is None:
            assert text == live.answer("C", kernel.predict(None, tokens=words.tokens)[0])
            assert model.content == before
        else:
            assert text == live.answer("L", label)
            for _ in range(ROUNDS):
                kernel.train(None, words.labels, tokens=words.tokens)
                kernel.train(None, known.labels, list(itertools.islice(turns, REPLAY)), tokens=known.tokens)
        assert same(model.weights, kernel.weights)
    assert (model.registers.generation, model.registers.classes) == (3, CLASSES + 1)
    again = LessonBoard.of(model.content)
    assert same(again.weights, kernel.weights) and again.registers.classes == CLASSES + 1
    again.live.press(3)
    model.live.press(3)
    assert again.hear(word(1)) == model.hear(word(1)) == live.answer("L", 3)
    assert again.content == model.content


def places_of(content, registers):
    """The places for learned words."""
    first = (registers.index + 1) * BLOCK
    return [content[at : at + SECTOR] for at in range(first, first + registers.room * BLOCK, SECTOR)]


def test_learned_words_are_kept():
    """In the places of a Reservoir of the same seed, and replayed as the kernel replays them."""
    model = LessonBoard.of(uploaded(replay=1, rounds=1, kept=PLACES))
    kernel = Kernel(NETWORK, WEIGHTS, learning_rate=RATE)
    words = stored()
    reservoir = Reservoir(PLACES, 0, seed=0)
    turns = itertools.chain.from_iterable(order(STORED + PLACES, 0, k) for k in itertools.count())
    before = places_of(model.content, model.registers)
    of_place = {}  # word
    labels = [0] * 10 + [1, 0, 1, 2, 1, 0] + [1, 0, 1, 1, 2, 2, 0, 1, 0, 2, 2, 1]
    for k, label in enumerate(labels):
        model.live.press(label)
        assert model.hear(word(k)) == live.answer("L", label)
        after = places_of(model.content, model.registers)
        words = words.plus(Words.of([tokens_of(spoken_in(word(k)))], [label], SHAPE[1]))
        reservoir.store(np.full((1, 1), k, np.uint8), np.array([label]))
        changed = [n for n in range(PLACES) if after[n] != before[n]]
        assert len(changed) <= 1
        of_place |= dict.fromkeys(changed, k)
        before = after
        kept = [k for _, k in sorted(of_place.items())]
        assert kept == reservoir.x[:, 0].tolist() and reservoir.labels.tolist() == [labels[k] for k in kept]
        kernel.train(None, words.labels, [STORED + k], tokens=words.tokens)
        turn = next(t for t in turns if t < STORED or t - STORED in of_place)
        replayed = turn if turn < STORED else STORED + of_place[turn - STORED]
        kernel.train(None, words.labels, [replayed], tokens=words.tokens)
        assert same(model.weights, kernel.weights)
    assert np.bincount(reservoir.labels).max() < 10, "words of the largest class were replaced"
    assert len(set(of_place)) == PLACES and min(of_place.values()) < PLACES


@pytest.mark.parametrize("full", [False, True])
def test_power_cut_while_a_word_is_stored(full):
    """Each place has a whole word or none, and the board goes on."""
    model = LessonBoard.of(uploaded(replay=1, rounds=1, kept=PLACES))
    for k in range(PLACES if full else 2):
        model.live.press(0)
        model.hear(word(k))
    before = model.content
    old = places_of(before, model.registers)
    whole = LessonBoard(FailingFlash(before, 1 << 30))
    whole.live.press(1)
    whole.hear(word(30))
    new = places_of(whole.content, model.registers)
    (place,) = (n for n in range(PLACES) if new[n] != old[n])
    n = 2 + len(new[place].rstrip(b"\xff")) - 1  # clear, erase, all bytes but the first
    found = set()
    for left in (0, 1, 2, n, n + 1, n + 400):
        flash = FailingFlash(before, left)
        cut = LessonBoard(flash)
        cut.live.press(1)
        with pytest.raises(PowerCut):
            cut.hear(word(30))
        again = LessonBoard.of(bytes(flash.content))
        assert again.registers.valid and again.registers.fault == Fault.NONE
        there = places_of(again.content, again.registers)
        assert there[:place] + there[place + 1 :] == old[:place] + old[place + 1 :]
        state = {old[place]: "old", new[place]: "new"}.get(there[place], "none")
        assert state != "none" or there[place][0] != Command.WRITE
        found.add(state)
        again.live.press(2)
        assert again.hear(word(40)) == live.answer("L", 2)
        assert again.registers.fault == Fault.NONE
        assert all(p[0] in (Command.WRITE, ERASED) for p in places_of(again.content, again.registers))
    assert found >= {"old", "none", "new"}


def with_long_words():
    """Flash content with more READs of a word than a place holds."""
    content = bytearray(uploaded(replay=1, rounds=1, kept=PLACES))
    lists = LessonBoard.of(bytes(content)).registers.saves * BLOCK + 2 * LIST_BYTES
    end = content.index(b"\xff\xff", lists)
    read = content[lists : content.index(END, lists) + 1]
    content[end : end + 4 * len(read)] = 4 * read
    return bytes(content)


def test_word_that_does_not_fit_is_not_kept():
    model = LessonBoard.of(with_long_words())
    model.live.press(1)
    assert model.hear(word(1)) == live.answer("L", 1)
    assert model.registers.fault == Fault.NONE and model.registers.generation == 1
    assert all(place[0] != Command.WRITE for place in places_of(model.content, model.registers))


def test_stored_words_fill_the_flash():
    """More than fit: also in the blocks of programs, READs and index, whose lists stay as they were."""
    words = stored()
    while len(words) < 1000:
        words = words.plus(words)
    full = store_of(words)
    assert full.n < full.offered == len(words)
    content = content_of(full)
    r = full.registers
    index = np.frombuffer(content, np.uint8)[r.index * BLOCK :][: INDEX_BYTES * full.n].reshape(-1, 3)
    places = index.astype(np.int64) @ (1, 1 << 8, 1 << 16)
    assert {p // BLOCK for p in places.tolist()} == set(range(r.programs, AREA.blocks))
    used = np.zeros(AREA.size, bool)
    for at, label in zip(places.tolist(), words.labels[: full.n].tolist(), strict=True):
        command, first = None, at
        while command != Command.RUN:
            end = content.index(END, at)
            command, sequence, _ = unseal(unslip(content[at:end])[0])
            at = end + 1
        assert sequence == label and not used[first:at].any()
        used[first:at] = True
    for block in (r.programs, r.saves, r.index):
        first = int(places[places >= block * BLOCK].min())
        assert content[first - 1] == ERASED and not used[block * BLOCK : first].any()
    assert len(store_of(words.take(range(9))).blocks) < len(full.blocks)
    model = LessonBoard.of(content)
    assert model.registers.valid and same(model.weights, WEIGHTS)


def test_presses():
    """Each case that a press can meet; nothing is learned or saved but by the last word."""
    content = uploaded()
    model = LessonBoard.of(content)
    model.live.press_long()
    assert model.hear(QUIET) == b"" and model.hear(CLICK) == live.answer("X", Verdict.SHORT)
    assert model.live.pressed, "a rejected word does not use a press"
    assert model.live.hear(Verdict.SAMPLE, word(1)[:12], lost=True) == live.answer("X", live.LOST)
    assert model.live.pressed
    model.live.press(CLASSES)  # the last press counts; an unused output is no class
    assert model.hear(word(1)) == live.answer("X", live.NO_CLASS)
    assert model.hear(word(1))[:1] == b"C", "an invalid label is used up"
    model.live.press(OUTPUTS + 3)
    assert model.hear(word(1)) == live.answer("X", live.NO_CLASS)
    assert model.content == content and same(model.weights, WEIGHTS)
    model.live.press_long()
    assert model.hear(word(1)) == live.answer("L", CLASSES)
    after = model.content
    model.live.press_long()  # no output is left
    assert model.hear(word(1)) == live.answer("X", live.NO_CLASS)
    assert model.content == after != content


def test_without_upload():
    """An empty flash: no network.  One that a host loads is learned as before, without lessons."""
    model = LessonBoard.of(bytes([ERASED]) * AREA.size)
    assert model.registers.fault == Fault.NO_SLOT
    model.live.press(1)
    assert model.hear(word(1)) == live.answer("X", live.NO_NETWORK)
    engine = model.device.engine
    Chip(engine, NETWORK, WEIGHTS, learning_rate=RATE)
    live.Table(NETWORK, SCALING).load(engine)
    assert model.hear(word(1)) == live.answer("L", 1), "the press waited for a network"
    model.live.press_long()
    assert model.hear(word(1)) == live.answer("X", live.NO_CLASS)
    assert model.content == bytes([ERASED]) * AREA.size


def damaged(content, first):
    """Bits from this address to the end of its block are wrong, from END to END."""
    out = np.frombuffer(content, np.uint8).copy()
    out[first + 40 : (first // BLOCK + 1) * BLOCK : 200] ^= 0x15
    return out.tobytes()


def first_sample(model):
    """Address of the first stored sample."""
    index = model.registers.index * BLOCK
    return int.from_bytes(model.content[index : index + INDEX_BYTES], "little")


def test_damaged_flash():
    """The older slot counts when the newer one is damaged.  Damaged samples stop a lesson with a fault."""
    model = LessonBoard.of(uploaded())
    for label in (0, 1):
        before = model.weights
        model.live.press(label)
        model.hear(word(label))
    newer = model.registers.generation % 2
    again = LessonBoard.of(damaged(model.content, newer * slot_blocks(CONFIG) * BLOCK))
    assert again.registers.generation == model.registers.generation - 1
    assert same(again.weights, before) and not same(again.weights, model.weights)
    broken = damaged(model.content, first_sample(model))
    model = LessonBoard.of(broken)
    model.live.press(1)
    assert model.hear(word(1)) == live.answer("L", 1)
    assert model.registers.fault == Fault.REFUSED
    assert model.content == broken, "nothing is saved"
    assert model.hear(word(1))[:1] == b"C"


@pytest.mark.parametrize("replay", [0, 1])
def test_power_cut_during_saving(replay):
    """Whatever byte is the last one, the board has the weights of this lesson or of the one before."""
    content = uploaded(replay=replay, rounds=1 + replay)
    model = LessonBoard.of(content)
    model.live.press(1)
    model.hear(word(1))
    before, after = model.content, model.weights
    writes = FailingFlash(before, 1 << 30)
    longest = LessonBoard(writes)
    longest.live.press(2)
    longest.hear(word(2))
    n = (1 << 30) - writes.left
    found = set()
    for left in (0, 1, 2, *random.Random(1).sample(range(3, n - 1), 3), n - 1, n):
        flash = FailingFlash(before, left)
        cut = LessonBoard(flash)
        cut.live.press(2)
        try:
            cut.hear(word(2))
        except PowerCut:
            pass
        again = LessonBoard.of(bytes(flash.content))
        kept = same(again.weights, longest.weights)
        assert kept or same(again.weights, after)
        assert again.registers.valid and kept == (again.registers.generation == 2)
        found.add(kept)
    assert found == {False, True}


def test_host_takes_over():
    """A network that a host writes is not saved in place of the board's own, until the board boots again."""
    model = LessonBoard.of(uploaded(kept=PLACES))
    content = model.content
    client_of(model.device).write(Region.VALUE, 0, [1])
    model.live.press(1)
    assert model.hear(word(1)) == live.answer("L", 1)
    assert not model.registers.valid and model.content == content
    model.device.trainer.put(0, 4)
    model.device.trainer.work()
    model.live.press(1)
    model.hear(word(1))
    assert model.registers.valid and model.content != content
    assert places_of(model.content, model.registers)[0][:2] == bytes([Command.WRITE, 1])


def test_trainer_without_lessons_has_no_such_registers():
    plain = Device(CONFIG, flash=flash_with(uploaded()), frame_bytes=2048)
    plain.trainer.work()
    assert plain.trainer.registers.classes == plain.trainer.registers.replay == 0


# -- button ----------------------------------------------------------------------------------------
def test_button(tmp_path):
    """Presses of every length around the limits."""
    ticks = [n for k in (1, SHORT, LONG - 1, LONG, LONG + 5, SHORT - 1) for n in [0, *[1] * k, 0]]
    button = Button()
    made = [button.tick(bool(t)) for t in ticks]
    assert made.count("short") == 2 and made.count("long") == 2
    config = {"divisor": 5, "ticks": 3000}
    assert simulate(ButtonRtl(5), "equilif_sim.front_end.button", tmp_path, config=config) == 1


# -- RTL -------------------------------------------------------------------------------------------
class Boards:
    """RTL and model that hear the same."""

    def __init__(self, content):
        self.rtl = FramesBoard(CONFIG, AREA, frame_bytes=2048)
        self.rtl.flash[AREA.first * BLOCK : AREA.first * BLOCK + AREA.size] = content
        self.rtl.reset()
        self.rtl.work()
        self.model = LessonBoard.of(content)

    @property
    def content(self):
        return bytes(self.rtl.flash[AREA.first * BLOCK : AREA.first * BLOCK + AREA.size])

    def press(self, label):
        self.rtl.button(1, label)
        self.model.live.press(label)

    def press_long(self):
        self.rtl.button(2)
        self.model.live.press_long()

    def hear(self, codes):
        text = self.rtl.hear(codes)
        assert text == self.model.hear(codes)
        return text

    def compare(self, *, loaded=True):
        client = Client(self.rtl, timeout=0.05)
        assert client.registers == self.model.registers
        assert self.rtl.fault == (self.model.registers.fault != Fault.NONE)
        for region in (Region.WEIGHT, Region.VALUE, Region.COUNTER):
            n = region_size(CONFIG, region)
            engine = self.model.device.engine
            assert not loaded or (client.read(region, 0, n) == engine.read(region, 0, n)).all()
        assert self.content == self.model.content


@verilated
@pytest.mark.regress
def test_rtl_equals_model():
    """Words, lessons and presses of every kind in random order: answers, weights, values and flash."""
    rng = random.Random(3)
    boards = Boards(uploaded())
    boards.compare()
    seen = set()
    for k, press in enumerate(("", "short", "long", "full", "click", "last")):
        match press:
            case "short":
                boards.press(rng.randrange(CLASSES))
            case "long" | "full" | "click":
                boards.press_long()
            case "last":
                boards.press_long()
                boards.press(OUTPUTS - 1)
        seen.add(boards.hear(CLICK if press == "click" else word(k, 12 + 5 * k))[:3])
        boards.compare()
        if press == "long":
            boards = Boards(boards.content)
            boards.compare()
    assert {text[:1] for text in seen} == set(b"CLX"[k : k + 1] for k in range(3))
    assert boards.model.registers.generation == 3


@verilated
@pytest.mark.regress
def test_rtl_faults():
    """Empty flash, damaged samples, no replay."""
    empty = bytes([ERASED]) * AREA.size
    boards = Boards(empty)
    boards.press(1)
    boards.hear(word(1))
    boards.compare(loaded=False)
    good = LessonBoard.of(uploaded())
    broken = damaged(good.content, first_sample(good))
    for content in (uploaded(replay=0, rounds=1), broken, with_long_words()):
        boards = Boards(content)
        boards.press(1)
        boards.hear(word(1))
        boards.compare()


def cut_after(boards, codes, cycles):
    """Cut the power of the board a number of cycles after a word, and start it again."""
    boards.rtl.listen(frame_bytes(codes))
    end = boards.rtl.cycles + cycles
    while boards.rtl.cycles < end:
        boards.rtl.step(end - boards.rtl.cycles)
    boards.rtl.cut(0)
    boards.rtl.work()


@verilated
@pytest.mark.regress
def test_rtl_power_cuts():
    """Anywhere in a lesson: the board has the weights of it or of the one before."""
    boards = Boards(uploaded())
    boards.press(1)
    boards.hear(word(1))
    before, old = boards.content, boards.model.weights
    boards.press(2)
    first = boards.rtl.cycles
    boards.hear(word(2))
    whole = boards.rtl.cycles - first
    new = boards.model.weights
    quiet = len(frame_bytes(word(2))) * 80
    found = set()
    for cycles in (0, ANSWER_CYCLES, *random.Random(2).sample(range(whole - quiet), 3), whole - quiet):
        boards = Boards(before)
        boards.press(2)
        cut_after(boards, word(2), cycles)
        model = LessonBoard.of(boards.content)
        kept = same(model.weights, new)
        assert kept or same(model.weights, old)
        assert Client(boards.rtl, timeout=0.05).registers == model.registers
        found.add(kept)
    assert found == {False, True}


@verilated
@pytest.mark.long
def test_sound_and_button_at_the_pins():
    """A long press and a word at the pins of the complete board, against the golden front end and model."""
    divisor = 500
    microphone = Microphone("pdm", MIN_CLOCK_HZ, divisor)
    rtl = SimulatedBoard(CONFIG, flash=AREA, front_end=microphone, build_id=0, frame_bytes=2048)
    content = uploaded()
    rtl.flash[AREA.first * BLOCK : AREA.first * BLOCK + AREA.size] = content
    rtl.work()
    model = LessonBoard.of(content)
    golden = GoldenMicrophone()
    modulator = Modulator()
    idle = 0
    for ticks, label in ((LONG + 1, 0), (SHORT + 1, 1), (SHORT - 1, 2)):
        rtl.button(True, label)
        rtl.finish(ticks * divisor)
        rtl.button(False, label)
        rtl.finish(2 * divisor)
        if ticks > LONG:
            model.live.press_long()
        elif ticks >= SHORT:
            model.live.press(label)
        bits = modulator.feed(sound(*ONE, PAUSE))
        text = rtl.listen(bits)
        silence = np.arange(idle, rtl.idle_bits) & 1
        idle = rtl.idle_bits
        (spoken,) = golden.feed_bits(np.concatenate([silence, bits]))[1]
        assert text == model.live.hear(spoken.word.verdict, spoken.codes)
        rtl.rest()
        assert bytes(rtl.flash[AREA.first * BLOCK : AREA.first * BLOCK + AREA.size]) == model.content
    assert (model.registers.classes, model.registers.generation) == (CLASSES + 1, 2) and text[:1] == b"C"


@verilated
@pytest.mark.regress
def test_rtl_keeps_words():
    """Empty and full places, a word that replaces another, a power cut at any cycle: flash and weights."""
    labels = [0] * 12 + [1, 0, 1, 2, 0, 1, 2, 2, 0]
    boards = Boards(uploaded(replay=2, rounds=2, kept=PLACES))
    for k, label in enumerate(labels):
        boards.press(label)
        boards.hear(word(k))
        if k in (0, 1, PLACES - 1) or k > PLACES:
            boards.compare()
    before = boards.content
    boards = Boards(before)
    boards.press(1)
    first = boards.rtl.cycles
    boards.hear(word(50))
    whole = boards.rtl.cycles - first
    boards.compare()
    quiet = len(frame_bytes(word(50))) * 80
    for cycles in random.Random(4).sample(range(whole - quiet), 4):
        boards = Boards(before)
        boards.press(1)
        cut_after(boards, word(50), cycles)
        boards = Boards(boards.content)
        for k in range(2):
            boards.press(2)
            boards.hear(word(51 + k))
            boards.compare()
