"""Words of a stream through the golden front end, classified by a network: ``equilif listen``."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from equilif.data.about import About
from equilif.data.microphone import Microphone, Spoken, samples
from equilif.data.signals import read_wav
from equilif.training.saved import Saved
from equilif_golden.blocks.relay import FRACTION
from equilif_golden.extras import needs
from equilif_golden.fixed import Raw
from equilif_golden.front_end.filter_bank import HOP
from equilif_golden.front_end.pdm import RATE
from equilif_golden.front_end.segmentation import Verdict
from equilif_golden.front_end.tokens import Scaling
from equilif_golden.kernel import Kernel
from equilif_golden.network import TokenRows

BLOCK = 10 * HOP  #: samples of the sound card at a time
#: what becomes of segments that are not classified
REASONS = {
    Verdict.SHORT: "too short",
    Verdict.CLIPPED: "overload",
    Verdict.LONG: "too long: noise, or words without a pause",
    Verdict.STUCK: "no signal: is the microphone connected?",
}


@dataclass(frozen=True)
class Answer:
    """A segment of a stream, in seconds from its start; ``tokens`` (m, width) of a word.

    ``label`` and ``confidence``, the share of the winner in the rates of all outputs, are empty where
    ``reason`` says why it was not classified.
    """

    source: str
    start: float
    end: float
    label: str = ""
    confidence: float = 0.0
    reason: str = ""
    number: int = 0  #: of the class
    tokens: TokenRows | None = field(default=None, compare=False)

    def to_dict(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "label": self.label or None,
            "confidence": round(self.confidence, 4),
            "reason": self.reason or None,
        }


@dataclass(frozen=True)
class Stream:
    """Recorded sound: samples (n,) at 16 kHz, codes (frames, bands), and its segments."""

    source: str
    samples: Raw
    codes: Raw
    answers: tuple[Answer, ...]


class Listener:
    """A network that was trained on front-end features.  ValueError for one that was not."""

    def __init__(self, saved: Saved):
        about = saved.identity
        if not isinstance(about, About) or not about.encoding.front_end:
            raise ValueError(
                f"{saved.path} was not trained on features of the front end: train it on a folder of class "
                "folders of WAV recordings with --set data.front_end=true"
            )
        self.saved = saved
        self.labels = about.labels
        self.scaling: Scaling = about.scaling.front_end
        self._kernel = Kernel(saved.network, saved.weights, threads=1)

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
        rates = self._kernel.settle(None, tokens=tokens).rates[0, 0, network.neurons[network.output]]
        best = int(rates.argmax())
        share = float(rates[best]) / max(1, int(rates.sum()))
        return Answer(source, start, end, self.labels[best], share, "", best, tokens)

    def listen(
        self, source: str, blocks: Iterator[Raw], report: Callable[[Answer], None], keep: bool = False
    ) -> Stream:
        """Classify the words of a stream as they end; ``keep``: also return samples and codes."""
        microphone = Microphone()
        answers: list[Answer] = []
        samples = []
        codes = []

        def add(found: list[Spoken]) -> None:
            for spoken in found:
                answers.append(self.answer(source, spoken))
                report(answers[-1])

        for block in blocks:
            frames, found = microphone.feed(block)
            add(found)
            if keep:
                samples.append(block)
                codes.append(frames.codes)
        add(microphone.finish())
        empty = np.zeros(0, np.int64)
        return Stream(
            source,
            np.concatenate([empty, *samples]),
            np.concatenate([np.zeros((0, 1), np.int64), *codes]) if not codes else np.concatenate(codes),
            tuple(answers),
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
