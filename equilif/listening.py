"""Words of a stream, or windows of a sensor, through the golden front end, classified by a network: ``equilif
listen``.
"""

from __future__ import annotations

import queue
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from equilif import lesson
from equilif.data.encoding.about import About
from equilif.data.own.recorded import Recording, recordings
from equilif.data.sound.microphone import REASONS, SoundFrontEnd, Spoken, samples, segments
from equilif.data.sound.signals import read_wav
from equilif.training.lesson_settings import SETTINGS, LessonSettings
from equilif.training.storage.saved import Saved
from equilif_golden.blocks.relay import FRACTION
from equilif_golden.engine.compiler import Compiled
from equilif_golden.engine.port import Engine, Region
from equilif_golden.extras import needs
from equilif_golden.fixed import Raw
from equilif_golden.front_end import live
from equilif_golden.front_end.filter_bank import BANDS, HOP
from equilif_golden.front_end.pdm import RATE
from equilif_golden.front_end.segmentation import Verdict
from equilif_golden.front_end.sensor import RATE_HZ
from equilif_golden.front_end.tokens import Scaling
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network, TokenRows

UNKNOWN = "unknown word"  #: reason
BLOCK = 10 * HOP  #: samples of the sound card at a time


@dataclass(frozen=True)
class Answer:
    """A segment of a stream, in seconds from its start; ``tokens`` (m, width) of a word, ``inputs`` (inputs,)
    of a sample of a sensor.

    ``label`` and ``confidence``, the share of the winner in the rates of all outputs, are empty where
    ``reason`` says why it was not classified.  ``expected``: class of the recording, where it is known.
    """

    source: str
    start: float
    end: float
    label: str = ""
    confidence: float = 0.0
    reason: str = ""
    number: int = 0  #: of the class
    expected: str = ""
    tokens: TokenRows | None = field(default=None, compare=False)
    inputs: Raw | None = field(default=None, compare=False)

    def to_dict(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "label": self.label or None,
            "expected": self.expected or None,
            "confidence": round(self.confidence, 4),
            "reason": self.reason or None,
        }


@dataclass(frozen=True)
class RecordedStream:
    """Recorded sound: samples (n,) at 16 kHz, codes (frames, bands), and its segments.  Of a sensor: readings
    (n, channels), inputs of the windows, (windows, 2 channels), and the number of clipped values.
    """

    source: str
    samples: Raw
    codes: Raw
    answers: tuple[Answer, ...]
    clipped: int = 0


def front_end_data(saved: Saved) -> About:
    """Data of a network that was trained on features of a front end; ValueError for one that was not."""
    about = saved.identity
    if not isinstance(about, About) or not about.encoding.front_end:
        raise ValueError(
            f"{saved.path} was not trained on features of the front end: train it with --set "
            "data.front_end=true, on a folder of class folders of WAV recordings, or of a sensor's CSV "
            "recordings"
        )
    return about


def listener_of(saved: Saved, *, unknown: bool = True) -> WordRecognizer | SensorRecognizer:
    """Recognizer of a network that was trained on front-end features; ``unknown``: see WordRecognizer."""
    return (
        WordRecognizer(saved, unknown=unknown)
        if front_end_data(saved).encoding.sensor is None
        else SensorRecognizer(saved)
    )


class WordRecognizer:
    """A network that was trained on front-end features of words.  ValueError for one that was not.

    ``unknown``: whether words that are like none of training have no class.
    """

    def __init__(self, saved: Saved, *, unknown: bool = True):
        about = front_end_data(saved)
        if about.encoding.sensor is not None:
            raise ValueError(
                f"{saved.path} hears a sensor, not words: take a network that was trained on words"
            )
        self.saved = saved
        self.labels = about.labels
        self.scaling: Scaling = about.scaling.front_end
        self.known = about.known if unknown else None
        self._kernel = Kernel(saved.network, saved.weights, threads=1)

    reasons = REASONS
    unit = lesson.Words.unit
    rate = RATE  #: of the samples of a stream
    hop = HOP  #: samples of a code

    def request(self, label: str, n: int) -> str:
        """Instruction to a user for ``n`` words of a class."""
        return f"say {label} {n} times"

    def table(self, network: Network | None = None) -> live.Table:
        """Table of the live controller; ``network``: this one with more classes."""
        return live.Table(network or self.saved.network, self.scaling)

    def read(self, engine: Engine, network: Network) -> Raw:
        """The last word of a board: tokens (m, width), raw weights."""
        found: Raw = live.read_tokens(engine, network)
        return found

    def samples(self, found: Sequence[Raw], number: int) -> lesson.Words:
        """Words of a class for a lesson."""
        return lesson.Words.of(found, [number] * len(found), found[0].shape[1])

    def is_unknown(self, tokens: TokenRows) -> bool:
        """Whether a word is like none of training; False for a network that does not record these."""
        return self.known is not None and bool(self.known.unknown(tokens)[0])

    def answer(self, source: str, spoken: Spoken) -> Answer:
        """The class of a segment, or why it has none."""
        word = spoken.word
        seconds = HOP / RATE
        start, end = word.first * seconds, (word.last + 1) * seconds
        if word.verdict is not Verdict.SAMPLE:
            return Answer(source, start, end, reason=REASONS[word.verdict])
        network = self.saved.network
        codes = self.scaling.tokens(spoken.codes) << (network.numerics.fraction - FRACTION)
        tokens = TokenRows(
            codes.astype(np.int16), np.arange(len(codes), dtype=np.int32), np.array([0, len(codes)])
        )
        if self.is_unknown(tokens):
            return Answer(source, start, end, reason=UNKNOWN, tokens=tokens)
        rates = self._kernel.settle(None, tokens=tokens).rates[0, 0, network.neurons[network.output]]
        best = int(rates.argmax())
        share = float(rates[best]) / max(1, int(rates.sum()))
        return Answer(source, start, end, self.labels[best], share, "", best, tokens=tokens)

    def listen(
        self, source: str, blocks: Iterator[Raw], report: Callable[[Answer], None], keep: bool = False
    ) -> RecordedStream:
        """Classify the words of a stream as they end; ``keep``: also return samples and codes."""
        microphone = SoundFrontEnd()
        answers: list[Answer] = []
        samples = [np.zeros(0, np.int64)]
        codes = [np.zeros((0, BANDS), np.int64)]
        for block in blocks:
            frames, found = microphone.feed(block)
            answers += self._answers(source, found, report)
            if keep:
                samples.append(block)
                codes.append(frames.codes)
        answers += self._answers(source, microphone.finish(), report)
        return RecordedStream(source, np.concatenate(samples), np.concatenate(codes), tuple(answers))

    def listen_to(self, path: Path, report: Callable[[Answer], None] = lambda a: None) -> RecordedStream:
        """Classify the words of a WAV file, which are found as in training."""
        found = segments(read_wav(path))
        answers = self._answers(str(path), found.spoken, report)
        return RecordedStream(str(path), found.samples, found.codes, tuple(answers))

    def streams(
        self,
        path: Path,
        report: Callable[[Answer], None] = lambda a: None,
        begin: Callable[[Path], None] = lambda file: None,
    ) -> list[RecordedStream]:
        """Classify the words of a WAV file, or of those of a folder and its subfolders; ``begin`` gets each
        file of several.
        """
        files = wav_files(path)
        found = []
        for file in files:
            if len(files) > 1:
                begin(file)
            found.append(self.listen_to(file, report))
        return found

    def sample(self, answer: Answer) -> Raw | None:
        """Tokens (m, width) of a word; None of other segments."""
        return None if answer.tokens is None else answer.tokens.sample(0)

    def _answers(
        self, source: str, found: Sequence[Spoken], report: Callable[[Answer], None]
    ) -> list[Answer]:
        answers = []
        for spoken in found:
            answers.append(self.answer(source, spoken))
            report(answers[-1])
        return answers


class SensorRecognizer:
    """A network that was trained on windows of a sensor.  ValueError for one that was not."""

    reasons = {Verdict.STUCK: "no signal: is the ADC connected?"}
    unit = lesson.SensorSamples.unit
    rate = RATE_HZ

    def __init__(self, saved: Saved):
        self.about = front_end_data(saved)
        if self.about.encoding.sensor is None:
            raise ValueError(f"{saved.path} hears words, not a sensor: give a WAV file or a microphone")
        self.saved = saved
        self.labels = self.about.labels
        self.sensor = self.about.encoding.sensor
        self.hop = 1 << self.sensor.window
        self.scaling = self.about.scaling.sensor
        self._kernel = Kernel(saved.network, saved.weights, threads=1)

    def request(self, label: str, n: int) -> str:
        """Instruction to a user for ``n`` samples of a class."""
        return f"keep {label} at the sensor for {n} samples, {n * self.sensor.steps / RATE_HZ:g} s"

    def table(self, network: Network | None = None) -> live.Table:
        """Table of the live controller; ``network``: this one with more classes."""
        return live.Table(network or self.saved.network, self.scaling, self.sensor.size)

    def read(self, engine: Engine, network: Network) -> Raw:
        """The last sample of a board: inputs (inputs,)."""
        first = Compiled(network, engine.config).sample_first
        found: Raw = engine.read(Region.VALUE, first, network.n_inputs) & 0xFF
        return found

    def samples(self, found: Sequence[Raw], number: int) -> lesson.SensorSamples:
        """Samples of a class for a lesson."""
        return lesson.SensorSamples(np.array(found, np.uint8), np.full(len(found), number, np.int64))

    def streams(
        self,
        path: Path,
        report: Callable[[Answer], None] = lambda a: None,
        begin: Callable[[Path], None] = lambda file: None,
    ) -> list[RecordedStream]:
        """Classify the samples of a file or folder, which are one stream."""
        return [self.listen(str(path), self.recordings(path), report)]

    def sample(self, answer: Answer) -> Raw | None:
        """Inputs (inputs,) of a sample; None without a signal."""
        return answer.inputs

    def recordings(self, path: Path) -> list[Recording]:
        """Recordings of a file or folder; ValueError unless they are of the sensor of the network."""
        return recordings(self.about, path)

    def listen(
        self, source: str, recorded: Sequence[Recording], report: Callable[[Answer], None] = lambda a: None
    ) -> RecordedStream:
        """Classify the samples of recordings, one after the other.  Seconds are those of a board that reads
        RATE_HZ times a second.
        """
        front_end = self.sensor.front_end()
        seconds = self.sensor.steps / RATE_HZ
        answers: list[Answer] = []
        codes = []
        for recording in recorded:
            for sample in front_end.feed(recording.readings):
                x = self.scaling.inputs(sample.values)
                times = len(answers) * seconds, (len(answers) + 1) * seconds
                answers.append(self._answer(recording, times, x, sample.stuck))
                report(answers[-1])
                codes.append(x.reshape(self.sensor.windows, -1))
        readings = np.concatenate([r.readings for r in recorded])
        clipped = sum(r.clipped for r in recorded)
        return RecordedStream(source, readings, np.concatenate(codes), tuple(answers), clipped)

    def _answer(self, recording: Recording, times: tuple[float, float], x: Raw, stuck: bool) -> Answer:
        if stuck:
            return Answer(recording.source, *times, reason=self.reasons[Verdict.STUCK])
        network = self.saved.network
        rates = self._kernel.settle(x[None]).rates[0, 0, network.neurons[network.output]]
        best = int(rates.argmax())
        share = float(rates[best]) / max(1, int(rates.sum()))
        return Answer(recording.source, *times, self.labels[best], share, "", best, recording.label, inputs=x)


def recorded_lesson(
    listener: WordRecognizer | SensorRecognizer, path: Path, label: str, settings: LessonSettings = SETTINGS
) -> lesson.Lesson:
    """Lesson of all words or samples of a file or folder, as a class that may be new; ValueError if there are
    none.
    """
    labels = lesson.with_label(listener.labels, label)
    answers = [answer for stream in listener.streams(path) for answer in stream.answers]
    found = [(answer.reason, listener.sample(answer)) for answer in answers]
    samples = [x for _, x in found if x is not None]
    left_out = dict(sorted(Counter(reason for reason, x in found if x is None).items()))
    stored = lesson.memory(listener.saved, settings.stored)
    if not samples:
        reasons = "; ".join(f"{n:,} {reason}" for reason, n in left_out.items())
        raise ValueError(f"{path} holds no {listener.unit}: {reasons or 'silence'}. Nothing was learned")
    network, weights = listener.saved.network, listener.saved.weights
    if labels != listener.labels:
        network, weights = lesson.with_class(network, weights)
    return lesson.Lesson(
        saved=listener.saved,
        network=network,
        weights=weights,
        labels=labels,
        new=listener.samples(samples, labels.index(label)),
        stored=stored,
        left_out=left_out,
    )


def wav_files(path: Path) -> list[Path]:
    """A WAV file, or those of a folder and its subfolders; ValueError when there is none."""
    if not path.exists():
        raise ValueError(f"there is no {path}: give a WAV file or a folder of them")
    if path.is_file():
        return [path]
    found = sorted(p for p in path.rglob("*") if p.suffix.lower() == ".wav" and p.is_file())
    if not found:
        raise ValueError(f"{path} has no WAV file: give a WAV file or a folder of them")
    return found


def file_blocks(path: Path) -> Iterator[Raw]:
    """A WAV file as blocks of samples at 16 kHz."""
    found = samples(read_wav(path))
    return iter(np.array_split(found, range(RATE, len(found), RATE)))


def microphone_blocks(device: str | None, seconds: float | None) -> Iterator[Raw]:
    """Blocks of the sound card until ``seconds`` have passed or Ctrl-C; ValueError if it cannot be used."""
    with needs("microphone"):
        try:
            import sounddevice
        except OSError as e:
            raise ValueError(f"{e}: install PortAudio (apt install libportaudio2), or give a WAV file") from e
    blocks: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def received(data: Any, frames: int, times: Any, status: Any) -> None:
        blocks.put(bytes(data))

    chosen = int(device) if device is not None and device.isdecimal() else device
    try:
        with sounddevice.RawInputStream(
            samplerate=RATE, blocksize=BLOCK, device=chosen, channels=1, dtype="int16", callback=received
        ):
            n = 0
            while seconds is None or n * BLOCK < seconds * RATE:
                yield np.frombuffer(blocks.get(), np.int16).astype(np.int64)
                n += 1
    except KeyboardInterrupt:
        return
    except (sounddevice.PortAudioError, ValueError) as e:
        raise ValueError(
            f"no microphone: {' '.join(str(e).split())}; `python -m sounddevice` lists the devices for "
            "--device, or give a WAV file"
        ) from e
