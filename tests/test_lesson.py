"""Words of a board: word_board, learned with stored ones, and saved; the engine model is the board."""

from __future__ import annotations

import numpy as np
import pytest

from equilif import lesson
from equilif.host import lessons
from equilif.host.listening import BoardListener
from equilif.listening import WordRecognizer
from equilif.training.lesson_settings import LessonSettings
from equilif.training.storage import saved
from equilif_golden import network as networks
from equilif_golden.engine.chip import read_weights
from equilif_golden.engine.compiler import Compiled
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.port import Region
from equilif_golden.front_end import live
from equilif_golden.front_end.filter_bank import BANDS
from equilif_golden.front_end.segmentation import Verdict
from equilif_golden.kernel import Kernel
from equilif_golden.link.device import Device
from equilif_golden.link.flash import BLOCK, ERASED, Area, Flash
from equilif_golden.link.protocol import Command
from equilif_golden.link.standalone import LESSON_REGISTERS
from equilif_golden.network import Network
from tests.cli import error_of, json_of, run
from tests.listening import WORDS, ListeningBoard
from tests.standalone import client_of

CONFIG = EngineConfig(
    lanes=8, tiles=2048, value_groups=512, state_groups=64, program_words=2048, early_exit=True
)

SHORT = LessonSettings(stored=2, passes=2)


@pytest.fixture
def word_board(spoken, monkeypatch):
    """Network, its training words, and a function that makes the board which hears some of them."""
    monkeypatch.setattr("equilif.commands.listening.SETTINGS", SHORT)
    path = spoken / "run" / "network.npz"
    found = saved.read(path)
    data = found.data_set()
    tokens = [data.tokens_train.sample(j) for j in range(len(data.y_train))]

    def board(words):
        made = ListeningBoard(CONFIG, found.network, words)
        monkeypatch.setattr("equilif.host.ports.the_one", lambda port, baud: made)
        return made

    return path, tokens, data.y_train, board


def test_words_of_a_board(word_board):
    path, tokens, _, board = word_board
    board([tokens[0], None, 2, live.LOST, live.NO_CLASS])
    words = json_of("listen", path, "--port", "x")["words"]
    assert [w["label"] for w in words] == [sorted(WORDS)[1], None, None, None]
    assert ["overload" in words[1]["reason"], words[0]["reason"]] == [True, None]


def test_too_few_words(word_board):
    path, tokens, _, board = word_board
    board([tokens[0], None, 3])
    listener = WordRecognizer(saved.read(path))
    found = BoardListener.at("x", None, listener)
    words = []
    with pytest.raises(ValueError, match="1 of 3"):
        found.prepare_lesson(
            "up", 3, lesson.memory(listener.saved), ready=lambda: words.append("ready"), report=words.append
        )
    assert words[0] == "ready" and [w.sample is None for w in words[1:]] == [False, True]


@pytest.mark.parametrize("label", [pytest.param("up", marks=pytest.mark.regress), "other"])
def test_learn_a_word(label, word_board, tmp_path):
    """The board learns as the golden kernel does; the file has the new network, its classes and its words."""
    path, tokens, labels, board = word_board
    new = [tokens[j] for j in np.flatnonzero(labels == 0)[:3]]
    # the fourth word is replaced by the next one while it is read
    made = board([new[0], None, 1, new[1], None, new[2], new[0], None, None])
    target = tmp_path / "learned.npz"
    run("listen", path, "--port", "x", "--learn", label, "--utterances", 3, "--save", target)
    after = saved.read(target)
    known = WordRecognizer(after).labels
    assert known == (*sorted(WORDS), *([label] if label == "other" else []))
    words = lesson.Words.load(lesson.memory_path(target), after.network)
    assert list(words.labels[-3:]) == [known.index(label)] * 3
    assert (np.bincount(words.labels[:-3]) == 2).all() and len(words) == 9
    for k, said in enumerate((new[0], new[1], new[0])):
        assert np.array_equal(words.tokens.sample(6 + k), said)
    before = saved.read(path)
    network, weights = before.network, before.weights
    if label == "other":
        network, weights = lesson.with_class(network, weights)
    assert network == after.network
    kernel = Kernel(network, weights, learning_rate=SHORT.learning_rate)
    lesson.learn(kernel, words, SHORT)
    assert all((kernel.weights[s.name] == after.weights[s.name]).all() for s in network.plastic)
    assert any((before.weights[n][:1] != after.weights[n][:1]).any() for n in before.weights)
    # the board hears again; the next lesson has the words of this one
    assert made.read(Region.VALUE, made.table, 1)[0] & 0xFF == live.MAGIC
    assert len(lesson.memory(after)) == 9


def test_new_class_keeps_the_others():
    """A new output changes no rate of the others before it has learned."""
    network = Network.attention(32, 36, 2, 8, 3)
    weights = network.initial_weights(1)
    wider, found = lesson.with_class(network, weights)
    rng = np.random.default_rng(0)
    words = lesson.Words.of(rng.integers(-4000, 4000, (40, 20, 36)), [0] * 40, 36)
    before = Kernel(network, weights).settle(None, tokens=words.tokens).rates
    after = Kernel(wider, found).settle(None, tokens=words.tokens).rates
    assert wider.n_outputs == 4 and before.any()
    # the output is the last population
    assert network.lif[-1].name == network.output
    assert (after[..., :-1] == before).all() and not after[..., -1].any()


@pytest.mark.parametrize(
    "words, named",
    [
        (("--learn", "up"), "--port"),
        (("--utterances", 3), "--learn"),
        (("--port", "x", "--out", "a.html"), "--out"),
        (("--port", "x", "--learn", "up", "--seconds", 1), "--seconds"),
        # the samples of the lesson
        (("words.wav", "--learn", "up", "--save", "a.npz", "--json", "a.words.npz"), "a.words.npz"),
    ],
)
def test_options(words, named, word_board):
    assert named in error_of("listen", word_board[0], *words)


def test_other_memory(word_board, tmp_path):
    path, tokens, _, _ = word_board
    found = saved.read(path)
    lesson.Words.of(tokens[:2], [0, 7], 36).save(tmp_path / "a.words.npz")
    with pytest.raises(ValueError, match="3 classes"):
        lesson.Words.load(tmp_path / "a.words.npz", found.network)


# -- without a host --------------------------------------------------------------------------------
AREA = Area(2, 40)


def test_restore_to_flash(word_board, tmp_path, monkeypatch):
    """The board starts with the network, replays stored words of all classes, learns a new class and keeps
    it; `equilif save` reads it back.
    """
    path, *_ = word_board
    device = Device(CONFIG, flash=Flash(AREA), lessons=True, frame_bytes=4096)
    device.trainer.work()
    monkeypatch.setattr("equilif.host.ports.the_one", lambda port, baud: client_of(device))
    monkeypatch.setattr("equilif.host.standalone.POLL_SECONDS", 0)
    monkeypatch.setattr("equilif.host.transfer.BOARD_SETTINGS", SHORT)
    out = tmp_path / "board.npz"
    found = json_of("restore", path, "--flash", "--out", out)
    assert found["stored"] == found["of"] == 6 and found["new_classes"] == 1
    device.trainer.work()
    r = device.trainer.registers
    assert (r.classes, r.replay, r.rounds, r.valid, r.fault) == (3, SHORT.replay_per_sample, 2, 1, 0)
    words = lessons.shuffled(lesson.memory(saved.read(path), 2))
    assert words.labels.tolist() == [0, 1, 2, 0, 1, 2]
    board = live.Live(device)
    rng = np.random.default_rng(4)
    codes = rng.integers(100, 200, (12, BANDS))
    board.press_long()
    assert board.hear(Verdict.SAMPLE, codes) == live.answer("L", 3)
    assert "--overwrite" in error_of("restore", path, "--flash", "--out", tmp_path / "x.npz")
    assert "learned" in error_of("restore", path, "--flash", "--out", out)
    again = Device(CONFIG, flash=device.flash, lessons=True, frame_bytes=4096)
    again.trainer.work()
    run("save", tmp_path / "saved.npz", "--like", out)
    network, weights = networks.load(tmp_path / "saved.npz")
    on_board = read_weights(again.engine, Compiled(network, CONFIG))
    assert network.n_outputs == 4 and all(
        (weights[s.name] == on_board[s.name]).all() for s in network.plastic
    )
    run("restore", path, "--flash", "--out", out, "--overwrite")
    device.trainer.work()
    assert device.trainer.registers.classes == 3 and board.hear(Verdict.SAMPLE, codes)[:1] == b"C"
    for _ in range(2):  # the second time the place of the learned word is empty again
        run("restore", path, "--flash", "--out", out, "--overwrite", "--keep", 5)
        r = device.trainer.registers
        place = (r.index + 1) * BLOCK
        assert r.valid and r.room == 1 and device.flash.content[place] == ERASED
        board.press(2)
        assert board.hear(Verdict.SAMPLE, codes) == live.answer("L", 2)
        assert device.flash.content[place : place + 2] == bytes([Command.WRITE, 2])
    older = tuple(tuple(field for field in r if field[0] != "room") for r in LESSON_REGISTERS)
    monkeypatch.setattr("equilif_golden.link.standalone.LESSON_REGISTERS", older)
    assert "--keep" in error_of("restore", path, "--flash", "--out", out, "--overwrite", "--keep", 5)


def test_flash_of_a_board_without_lessons(word_board, tmp_path, monkeypatch):
    path, *_ = word_board
    for flash in (None, Flash(AREA)):
        device = Device(CONFIG, flash=flash, frame_bytes=4096)
        if flash:
            device.trainer.work()
        monkeypatch.setattr("equilif.host.ports.the_one", lambda port, baud, d=device: client_of(d))
        assert "--flash" in error_of("restore", path, "--flash", "--out", tmp_path / "x.npz")
        assert flash is None or set(flash.content) == {0xFF}


def test_flash_of_a_simulated_board(word_board):
    """Written once: what the board has learned stays."""
    path, *_ = word_board
    job = lessons.job_of(WordRecognizer(saved.read(path)), lesson.memory(saved.read(path)), CONFIG)
    identity = Device(CONFIG, flash=Flash(AREA), lessons=True, frame_bytes=4096).identity
    content = bytearray(bytes([0xFF]) * (AREA.first + AREA.blocks) * BLOCK)
    assert lessons.put(content, AREA, identity, job)
    flash = Flash(AREA)
    flash.content[:] = content[AREA.first * BLOCK :]
    device = Device(CONFIG, flash=flash, lessons=True, frame_bytes=4096)
    device.trainer.work()
    assert device.trainer.registers.valid
    content[AREA.first * BLOCK] = 0
    assert not lessons.put(content, AREA, identity, job) and not content[AREA.first * BLOCK]
