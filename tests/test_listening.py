"""Words of recordings: read through the front end, learned, and recognised in a stream."""

from __future__ import annotations

import dataclasses
import shutil
import sys
import types

import numpy as np
import pytest

from equilif import lesson
from equilif.data import own
from equilif.data.sound import known
from equilif.data.sound.microphone import SoundFrontEnd, background, samples, segments
from equilif.data.sound.signals import Sound, read_wav
from equilif.listening import UNKNOWN, WordRecognizer, recorded_lesson
from equilif.report import run as runs
from equilif.training.lesson_settings import LessonSettings
from equilif.training.storage import saved
from equilif.training.storage.records import about_data
from equilif_golden import network as networks
from equilif_golden.engine.config import EngineConfig
from equilif_golden.front_end import tokens
from equilif_golden.front_end.segmentation import Verdict
from equilif_golden.link.device import Device
from tests.cli import error_of, json_of, run
from tests.files import write_wav
from tests.listening import WAV_RATE, WORDS, silence, word
from tests.standalone import client_of


def overload():
    return (20 * word("up", np.random.default_rng(3))).clip(-1, 1)


@pytest.mark.parametrize("below", [50, 45, 35, 25])
@pytest.mark.parametrize("offset", [0, 0.05])
def test_words_in_noise(below, offset, spoken, tmp_path):
    """Training and `equilif listen` have the same words of the same recordings, as without the noise."""
    rng = np.random.default_rng(below)
    expected = []
    for name in WORDS:
        for k in range(3):
            clean = np.concatenate([silence(0.3), word(name, rng), silence(0.25)])
            noise = rng.normal(0, np.abs(clean).max() * 10 ** (-below / 20), len(clean))
            write_wav(tmp_path / "words" / name / f"{k}.wav", clean + noise + offset)
            expected.append(len(segments(Sound(clean[:, None], WAV_RATE, 16)).word))
    listener = WordRecognizer(saved.read(spoken / "run" / "network.npz"))
    files = sorted((tmp_path / "words").rglob("*.wav"))
    answers = [listener.listen_to(file).answers for file in files]
    assert [[a.reason for a in each] for each in answers] == [[""]] * len(files)
    assert all(abs(a.start - 0.3) < 0.06 for (a,) in answers)
    data = own.read(tmp_path / "words", front_end=True)
    codes = [segments(read_wav(file)).word for file in files]
    assert abs(sum(map(len, codes)) - sum(expected)) <= 5 * len(files)
    assert sorted(
        map(bytes, np.concatenate([data.raw.x.frames, data.raw_test.x.frames]).astype(np.uint8))
    ) == (sorted(map(bytes, np.concatenate(codes).astype(np.uint8))))
    for (a,), found in zip(answers, codes, strict=True):
        np.testing.assert_array_equal(a.tokens.table, listener.scaling.tokens(found) << 5)


def test_background():
    """A recording without pauses has none, one with silence has silence: its words are as before."""
    clean = word("up", np.random.default_rng(2))
    for x in (clean, np.concatenate([silence(0.3), clean, silence(0.3)])):
        assert not background(samples(Sound(x[:, None], WAV_RATE, 16))).any()


@pytest.mark.parametrize("rate", [WAV_RATE, 16_000, 44_100])
@pytest.mark.parametrize("channels", [1, 2])
def test_overload_of_files(rate, channels):
    """Resampling, averaging and the modulator do not hide clipped samples."""
    loud = np.repeat(overload(), 6)[:: WAV_RATE * 6 // rate][:, None]
    sound = Sound(np.concatenate([loud, *[0 * loud] * (channels - 1)], axis=1), rate, 16)
    assert segments(sound).reason == "overload"
    assert segments(sound._replace(samples=sound.samples * 0.99)).word is not None


def test_overload_of_a_stream():
    microphone = SoundFrontEnd()
    x = np.concatenate([samples(Sound(overload()[:, None], WAV_RATE, 16)), np.zeros(8000, np.int64)])
    found = [s.word.verdict for b in np.array_split(x, 7) for s in microphone.feed(b)[1]]
    assert found == [Verdict.CLIPPED]


def test_extensible_wav(tmp_path):
    """A subformat of PCM samples is read; another one is refused."""
    write_wav(tmp_path / "a.wav", word("up", np.random.default_rng(0)))
    content = (tmp_path / "a.wav").read_bytes()
    fields = b"\xfe\xff" + content[22:36] + bytes.fromhex("1600 1000 00000000")
    for tag in (1, 3):
        fields_of = fields + bytes([tag]) + bytes.fromhex("00000000001000800000aa00389b71")
        size = int.from_bytes(content[4:8], "little") + 24
        found = b"RIFF" + size.to_bytes(4, "little") + b"WAVE" + b"fmt \x28\0\0\0" + fields_of + content[36:]
        (tmp_path / f"{tag}.wav").write_bytes(found)
    np.testing.assert_array_equal(read_wav(tmp_path / "1.wav").samples, read_wav(tmp_path / "a.wav").samples)
    with pytest.raises(ValueError, match=r"3\.wav"):
        read_wav(tmp_path / "3.wav")


def test_unknown_words(spoken, tmp_path, monkeypatch):
    """The network's file knows the words of training; a word that is learned becomes known."""
    monkeypatch.setattr(known, "MIN_WORDS", 5)
    before = saved.read(spoken / "run" / "network.npz")
    assert before.identity.known is None
    network = tmp_path / "network.npz"
    networks.save(network, before.network, before.weights, about_data(before.data_set()))
    rng = np.random.default_rng(1)
    for k in range(3):
        x = word("up", rng) + 0.7 * word("flat", rng, 0.35)[:1] * rng.normal(0, 1, 1)
        buzz = np.sign(np.sin(np.arange(len(x)) * (2 * np.pi * 110 / WAV_RATE))) * np.hanning(len(x))
        write_wav(tmp_path / "buzz" / f"{k}.wav", 0.4 * buzz)

    def answers(file, source, *options):
        return [w["label"] or w["reason"] for w in json_of("listen", file, source, *options)["words"]]

    assert answers(network, tmp_path / "buzz") == [UNKNOWN] * 3
    assert set(answers(network, tmp_path / "buzz", "--no-unknown")) <= set(WORDS)
    assert answers(network, spoken / "words" / "up") == ["up"] * 8
    monkeypatch.setattr("equilif.commands.listening.SETTINGS", LessonSettings(passes=20))
    learned = tmp_path / "learned.npz"
    run("listen", network, tmp_path / "buzz", "--learn", "buzz", "--save", learned)
    assert answers(learned, tmp_path / "buzz") == ["buzz"] * 3
    found = json_of("evaluate", learned)
    assert found["unknown"] == 0 and found["accuracy"] == 1 and len(found["labels"]) == 4
    shutil.copytree(spoken / "words", tmp_path / "moved")
    assert json_of("evaluate", learned, tmp_path / "moved")["samples"] == found["samples"]


def test_lesson_of_recordings(spoken, tmp_path, monkeypatch):
    """Words of files are learned by the golden kernel with stored ones; nothing is replaced unasked."""
    monkeypatch.setattr("equilif.commands.listening.SETTINGS", LessonSettings(passes=2))
    network, source, target = (
        spoken / "run" / "network.npz",
        spoken / "words",
        tmp_path / "learned.npz",
    )
    options = ("--learn", "up", "--save", target)
    run("listen", network, source / "up", *options)
    words = lesson.Words.load(lesson.memory_path(target), saved.read(network).network)
    listener = WordRecognizer(saved.read(network))
    tables = [a.tokens.table for stream in listener.streams(source / "up") for a in stream.answers]
    assert len(tables) == 8 and (words.labels[-8:] == 2).all()
    for k, table in enumerate(tables):
        np.testing.assert_array_equal(words.tokens.sample(len(words) - 8 + k), table)
    assert str(target) in error_of("listen", network, source / "up", *options)
    target.unlink()
    assert str(lesson.memory_path(target)) in error_of("listen", network, source / "up", *options)
    target.touch()
    run("listen", network, source, *options, "--overwrite")
    assert saved.read(target).identity.labels == tuple(sorted(WORDS))
    write_wav(tmp_path / "loud.wav", overload())
    assert "1 overload" in error_of("listen", network, tmp_path / "loud.wav", "--learn", "up")


@pytest.mark.parametrize("label", ["  ", "a\nb", "a\x1b[2J", "nan", "x" * 101])
def test_names_of_learned_classes(label, spoken):
    listener = WordRecognizer(saved.read(spoken / "run" / "network.npz"))
    with pytest.raises(ValueError, match="class"):
        recorded_lesson(listener, spoken / "words" / "up", label)


def test_tokens_of_own_recordings(spoken):
    """A data set has the tokens that the golden front end makes of a word."""
    data = own.load(spoken / "words", front_end=True)
    assert data.about.encoding.front_end and data.about.encoding.places == tokens.POSITIONS
    first = segments(read_wav(spoken / "words" / "down" / "0.wav")).word
    expected = data.about.scaling.front_end.tokens(first) << 5
    rows = [data.tokens_train.sample(j) for j in range(len(data.y_train))]
    assert any(np.array_equal(expected, r) for r in rows)


def test_recordings_without_a_word(spoken, tmp_path):
    for name in ("a", "b"):
        for i in range(3):
            write_wav(tmp_path / "words" / name / f"{i}.wav", word("up", np.random.default_rng(i)))
    a = tmp_path / "words" / "a"
    write_wav(a / "3.wav", silence(0.5))
    write_wav(a / "4.wav", overload())
    n = 2 * WAV_RATE
    write_wav(a / "5.wav", np.random.default_rng(1).normal(0, 0.1, n) * np.linspace(0, 1, n))
    found = own.read(tmp_path / "words", front_end=True)
    assert len(found.data.y_train) + len(found.data.y_test) == 6
    (note,) = [note for note in found.notes if "left out" in note]
    assert all(text in note for text in ("3.wav", "'a'", "1 too quiet", "1 overload", "1 too long"))
    assert "'b'" not in note
    for path in (tmp_path / "words" / "a").iterdir():
        write_wav(path, silence(0.2))
    for path in (tmp_path / "words" / "b").iterdir():
        write_wav(path, silence(0.2))
    with pytest.raises(ValueError, match="'b' 3 "):
        own.read(tmp_path / "words", front_end=True)


def test_front_end_is_for_recordings(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros((4, 2)), y=np.array([0, 1, 0, 1]))
    with pytest.raises(ValueError, match="front_end"):
        own.read(tmp_path / "x.npz", front_end=True)
    (tmp_path / "mp3" / "yes").mkdir(parents=True)
    (tmp_path / "mp3" / "yes" / "a.mp3").touch()
    with pytest.raises(ValueError, match="mp3"):
        own.read(tmp_path / "mp3", front_end=True)


@pytest.mark.parametrize(
    "words, named",
    [
        (("build", "icebreaker", "--front-end", "pdm"), "iCEBreaker"),
        (("build", "ulx3s-25f", "--front-end", "ac97"), "ac97"),
        (("build", "orangecrab", "--front-end", "pdm", "--standalone"), "learn button"),
        (("simulate", "ulx3s-25f", "--learn", 3, "--flash", "f.bin"), "--microphone"),
        (("restore", "digits-64", "--new-classes", 1), "--flash"),
        (("restore", "digits-64", "--keep", 16), "--flash"),
        (("simulate", "icebreaker", "--sdram", "--flash", "f.bin"), "SDRAM"),
        (("restore", "digits-64", "--flash"), "front_end"),
        (("simulate", "icebreaker", "--microphone", "WAV", "--network", "digits-64"), "iCEBreaker"),
        (("build", "ulx3s-25f", "--front-end", "pdm", "--lanes", 4), "--lanes"),
        (("simulate", "ulx3s-25f", "--microphone", "WAV"), "--network"),
        (("simulate", "ulx3s-25f", "--microphone", "WAV", "--network", "digits-64"), "front_end"),
        (("simulate", "ulx3s-25f", "--microphone", "WAV", "--network", "digits-64", "--link", "x"), "--link"),
    ],
)
def test_front_end_of_boards(words, named, tmp_path):
    write_wav(tmp_path / "a.wav", silence(0.1))
    assert named in error_of(*(tmp_path / "a.wav" if w == "WAV" else w for w in words))


def test_listen(spoken, tmp_path):
    rng = np.random.default_rng(9)
    names = ["down", "flat", "up"]
    parts = [silence(0.5)]
    for name in names:
        parts += [word(name, rng), silence(0.4)]
    click = np.zeros(WAV_RATE // 2)
    click[1000:1300] = 0.5 * np.sin(np.arange(300))
    noise = rng.normal(0, 0.2, 2 * WAV_RATE).clip(-1, 1)
    write_wav(tmp_path / "words.wav", np.concatenate([*parts, click, noise, silence(0.3)]))
    network = spoken / "run" / "network.npz"
    found = json_of("listen", network, tmp_path / "words.wav", "--out", tmp_path / "page.html")["words"]
    assert [w["label"] for w in found] == [*names, None, None]
    assert [bool(w["reason"]) for w in found] == [False] * 3 + [True] * 2
    assert abs(found[0]["start"] - 0.5) < 0.05 and abs(found[0]["end"] - 0.85) < 0.1
    page = (tmp_path / "page.html").read_text()
    assert page.count("<section") == 1 + 1 + 3 and "<script" not in page


def test_blocks_of_a_stream(spoken):
    x = samples(read_wav(spoken / "words" / "up" / "1.wav"))
    x = np.concatenate([x, np.zeros(6000, np.int64)])
    microphone = SoundFrontEnd()
    parts = [s for b in np.array_split(x, 9) for s in microphone.feed(b)[1]] + microphone.finish()
    whole = SoundFrontEnd()
    expected = whole.feed(x)[1] + whole.finish()
    assert [p.word for p in parts] == [e.word for e in expected] and len(parts) == 1
    np.testing.assert_array_equal(parts[0].codes, expected[0].codes)
    assert parts[0].word.verdict is Verdict.SAMPLE


def test_resampling():
    t = np.arange(8000) / 8000
    tone = 0.5 * np.sin(2 * np.pi * 300 * t)
    found = samples(Sound(np.stack([tone, tone], axis=1), 8000, 16))
    t = np.arange(16_000) / 16_000
    assert np.abs(found - 16_384 * np.sin(2 * np.pi * 300 * t))[200:-200].max() <= 2


class SoundCard:
    """A sound card in place of sounddevice: gives a stream to the callback, block by block."""

    PortAudioError = type("PortAudioError", (Exception,), {})

    def __init__(self, stream):
        self.stream = stream

    def RawInputStream(self, *, samplerate, blocksize, device, channels, dtype, callback):
        assert (samplerate, channels, dtype) == (16_000, 1, "int16")
        if device == "broken":
            raise self.PortAudioError("Error querying device\n-1")
        for block in np.array_split(self.stream, range(blocksize, len(self.stream), blocksize)):
            callback(block.astype("<i2").tobytes(), blocksize, None, None)
        return self

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return False


def test_microphone(spoken, monkeypatch):
    quiet = np.zeros(8000, np.int64)
    x = samples(read_wav(spoken / "words" / "flat" / "2.wav"))
    monkeypatch.setitem(sys.modules, "sounddevice", SoundCard(np.concatenate([quiet, x, quiet])))
    network = spoken / "run" / "network.npz"
    (found,) = json_of("listen", network, "--seconds", 1.2)["words"]
    assert found["label"] == "flat" and found["source"] == "microphone"
    assert "--device" in error_of("listen", network, "--device", "broken", "--seconds", 1)


@pytest.mark.parametrize(
    "module, named", [(None, "[microphone]"), (types.ModuleType("without PortAudio"), "libportaudio2")]
)
def test_no_sound_card(module, named, spoken, monkeypatch):
    class Finder:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name == "sounddevice":
                if module is None:
                    raise ModuleNotFoundError(name, name=name)
                raise OSError("PortAudio library not found")

    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    assert named in error_of("listen", spoken / "run" / "network.npz")


def test_listen_errors(spoken, tmp_path):
    network = spoken / "run" / "network.npz"
    wav = spoken / "words" / "up" / "0.wav"
    assert "front_end" in error_of("listen", "digits-64", wav)
    assert str(tmp_path) in error_of("listen", network, tmp_path)
    assert "--seconds" in error_of("listen", network, wav, "--seconds", 3)


def test_a_board_without_a_front_end(spoken, monkeypatch):
    """One error, before anything is written to the board."""
    client = client_of(Device(EngineConfig()))
    client.identify()
    sent = client.traffic.sent
    monkeypatch.setattr("equilif.host.ports.the_one", lambda port, baud: client)
    assert "port-7" in error_of("listen", spoken / "run" / "network.npz", "--port", "port-7")
    assert "port-7" in error_of("listen", spoken / "run" / "network.npz", "--port", "port-7", "--learn", "up")
    assert client.traffic.sent == sent


def test_report_of_a_run_names_the_front_end(spoken):
    found = runs.read(spoken / "run")
    commands = found.repeat(own.reload(found.history.about)).commands
    assert "data.front_end=true" in commands[0] and "data.attention" not in commands[0]
    assert dataclasses.asdict(found.history.about)["encoding"]["front_end"] is True
