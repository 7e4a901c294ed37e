"""Spoken digits through the pins of a simulated board, against the golden front end.

espeak-ng (apt-get install espeak-ng) speaks the ten digits: the TRAIN_VOICES, each digit in TAKES random
pitches and speeds, and the TEST_VOICES in TEST_TAKES.  Noise of 30 dB below the peak is added.  The golden
front-end features of the training voices are learned in --epochs epochs by `equilif train`, with 6 queries,
as many as fit the board.

Then --words words of the test voices, every digit equally often, become the bits of a PDM microphone at the
data pin of the complete board.  Of each word, the tokens in the engine's memory, byte for byte, and the class
are compared with the golden front end on the same bits and the golden kernel.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from benchmarks.registry import Epochs
from equilif.data.sound.microphone import SoundFrontEnd, samples
from equilif.data.sound.signals import read_wav
from equilif.hardware.boards import find
from equilif.host.client import Client
from equilif.host.simulate import Simulated
from equilif.listening import Answer, WordRecognizer
from equilif.training.storage import saved
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.model import EngineModel
from equilif_golden.fixed import Raw
from equilif_golden.front_end import live
from equilif_golden.front_end.pdm import RATE, Modulator

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LANGUAGES = ("en-gb", "en-us")
TRAIN_VOICES = ("m1", "m2", "m3", "m4", "f1", "f2", "f3", "Andy", "Annie", "Lee", "Gene", "Alicia")
TEST_VOICES = ("m7", "f4", "Michael", "Andrea")
TAKES = 4
TEST_TAKES = 2
NOISE = 10 ** (-30 / 20)  #: of the peak
PAUSE = np.zeros(round(0.28 * RATE), np.int64)  #: after a word: its end, and the answer


# -- sound -----------------------------------------------------------------------------------------
def speak(path: Path, digit: int, voice: str, rng: np.random.Generator) -> None:
    """A digit as a WAV file, with noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pitch, speed = rng.integers(20, 81), rng.integers(120, 211)
    language = LANGUAGES[rng.integers(len(LANGUAGES))]
    arguments = ["-v", f"{language}+{voice}", "-p", str(pitch), "-s", str(speed), "-w", str(path)]
    subprocess.run(["espeak-ng", *arguments, DIGITS[digit]], check=True)
    with wave.open(str(path), "rb") as w:
        parameters = w.getparams()
        sound = np.frombuffer(w.readframes(w.getnframes()), "<i2").astype(np.float64)
    sound += rng.normal(0, NOISE * np.abs(sound).max(), len(sound))
    with wave.open(str(path), "wb") as w:
        w.setparams(parameters)
        w.writeframes(np.clip(np.rint(sound), -32768, 32767).astype("<i2").tobytes())


def record(folder: Path) -> None:
    """All recordings, in folders of parts and classes."""
    rng = np.random.default_rng(0)
    for part, voices, takes in (("train", TRAIN_VOICES, TAKES), ("test", TEST_VOICES, TEST_TAKES)):
        for digit, name in enumerate(DIGITS):
            for voice in voices:
                for k in range(takes):
                    speak(folder / part / name / f"{voice}-{k}.wav", digit, voice, rng)


def chosen(folder: Path, n: int) -> list[Path]:
    """Test recordings, a digit after the other."""
    rng = np.random.default_rng(1)
    rows = [rng.permutation(sorted((folder / "test" / name).glob("*.wav"))) for name in DIGITS]
    return [Path(rows[k % len(DIGITS)][k // len(DIGITS)]) for k in range(n)]


# -- board -----------------------------------------------------------------------------------------
class FrontEndComparison:
    """A simulated board and the golden front end that hear the same bits."""

    def __init__(self, board: str, listener: WordRecognizer):
        self.listener = listener
        self.network = listener.saved.network
        self.simulated = Simulated(find(board).with_front_end("pdm"))
        self.board = self.simulated.board
        self.client = Client(self.board)
        self.chip = Chip(self.client, self.network, listener.saved.weights)
        live.Table(self.network, listener.scaling).load(self.client)
        self.modulator = Modulator()
        self.golden = SoundFrontEnd()
        self.idle = 0

    def compare(self, sound: Raw) -> Iterator[tuple[str, str, Answer, bool]]:
        """Answers of the board and of the golden model, and whether the tokens of the last one are equal."""
        bits = self.modulator.feed(sound)
        text = self.board.listen(bits).decode().split()
        silence = np.arange(self.idle, self.board.idle_bits) & 1
        self.idle = self.board.idle_bits
        _, spoken = self.golden.feed_bits(np.concatenate([silence, bits]))
        answers = [self.listener.answer("", s) for s in spoken]
        if len(text) != len(answers):
            raise AssertionError(f"{len(text)} answers of the board, {len(answers)} of the golden model")
        for n, (found, word, want) in enumerate(zip(text, spoken, answers, strict=True)):
            letter, number = ("X", word.word.verdict) if want.reason else ("C", want.number)
            same = not want.reason and n == len(text) - 1 and self.same_tokens(want)
            yield found, live.answer(letter, number).decode().strip(), want, same

    def same_tokens(self, want: Answer) -> bool:
        assert want.tokens is not None
        found = live.read_tokens(self.client, self.network)
        return np.array_equal(found, want.tokens.table)


def run_cycles(listener: WordRecognizer, board: str) -> float:
    """Mean cycles of a classification on the engine of the board, of one test sample in eight."""
    found = listener.saved
    data = found.data_set()
    assert data.tokens_test is not None
    config = find(board).with_front_end("pdm").config
    chip = Chip(EngineModel(config), found.network, found.weights)
    chosen = range(0, len(data.y_test), 8)
    return float(
        np.mean([chip.sample(data.x_test[j], tokens=data.tokens_test.take([j])).cycles for j in chosen])
    )


def train(out: Path, epochs: int) -> dict[str, Any]:
    """Train as a user does; the results of `equilif train`."""
    settings = "data.front_end=true", "population.query.heads=6"
    command = [sys.executable, "-m", "equilif", "train", str(out / "words"), "--epochs", str(epochs)]
    command += [a for s in settings for a in ("--set", s)]
    results = out / "train.json"
    command += ["--out", str(out / "run"), "--overwrite", "--json", str(results)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    found: dict[str, Any] = json.loads(results.read_text())
    return found


def through_pins(board: str, listener: WordRecognizer, out: Path, n: int) -> dict[str, int]:
    """Counts of words."""
    comparison = FrontEndComparison(board, listener)
    count = dict.fromkeys(("words", "answers equal", "tokens equal", "right on the board", "right"), 0)
    for path in chosen(out / "words", n):
        for text, want, answer, same in comparison.compare(np.concatenate([samples(read_wav(path)), PAUSE])):
            count["words"] += 1
            count["answers equal"] += text == want
            count["tokens equal"] += same
            count["right"] += answer.label == path.parent.name
            label = comparison.listener.labels.index(path.parent.name)
            count["right on the board"] += text == live.answer("C", label).decode().strip()
            print(f"{path.parent.name:6} {path.stem:10} {text} {want} {same}", flush=True)
    print(f"{comparison.board.cycles:,} cycles")
    return count


def main(
    *,
    words: Annotated[int, "words of the test voices"] = 40,
    board: Annotated[str, "name of the board"] = "colorlight-i5",
    epochs: Epochs = 40,
    out: Annotated[Path | None, "folder of recordings and network (default: temporary)"] = None,
) -> dict[str, Any]:
    if shutil.which("espeak-ng") is None:
        raise ValueError("there is no espeak-ng: apt-get install espeak-ng")
    with tempfile.TemporaryDirectory() as temporary:
        out = out or Path(temporary)
        if not (out / "words").exists():
            record(out / "words")
        trained = train(out, epochs)
        listener = WordRecognizer(saved.read(out / "run" / "network.npz"))
        cycles = run_cycles(listener, board)
        found = through_pins(board, listener, out, words)
    print(f"{words} words through the pins of {board}: {found}")
    print(f"golden features, all test words: {100 * trained['accuracy']:.2f} %; a run: {cycles:,.0f} cycles")
    return {"trained": trained, "cycles": cycles, "pins": found}
