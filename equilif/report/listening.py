"""Page of a recording and its words, or samples of a sensor, from `equilif listen`, laid out by
listening.html.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from equilif import results
from equilif.listening import Answer, RecordedStream, SensorRecognizer, WordRecognizer
from equilif.report.page import environment
from equilif.training.analysis import trace
from equilif_golden.extras import needs

with needs("plot,report"):
    from equilif.report import pictures

MAX_STREAMS = 6  #: that are drawn
MAX_SECONDS = 30  #: of a stream
MAX_WORDS = 4  #: whose spikes are drawn


def write(listener: WordRecognizer | SensorRecognizer, streams: Sequence[RecordedStream]) -> str:
    """The page: table of segments; waveform and spectrogram of each stream, or readings and inputs; spikes of
    the first words.
    """
    answers = [a for s in streams for a in s.answers]
    drawn = [s for s in streams if len(s.codes)][:MAX_STREAMS]
    words = [a for a in answers if not a.reason][:MAX_WORDS]
    content = {
        "sound": isinstance(listener, WordRecognizer),
        "unit": listener.unit,
        "version": results.version(),
        "network": str(listener.saved.path),
        "answers": answers,
        "several": len(streams) > 1,
        "n_words": sum(not a.reason for a in answers),
        "n_streams": len(streams),
        "seconds": sum(len(s.samples) for s in streams) / listener.rate,
        "streams": [{"name": s.source, "chart": _stream(listener, s)} for s in drawn],
        "words": [_word(listener, a) for a in words],
    }
    return environment().get_template("listening.html").render(content)


def _stream(listener: WordRecognizer | SensorRecognizer, stream: RecordedStream) -> pictures.Chart:
    n = min(MAX_SECONDS * listener.rate, len(stream.samples)) // listener.hop * listener.hop
    marks: list[tuple[float, float, str]] = []
    for a in stream.answers:
        if a.start >= n / listener.rate:
            break
        if marks and marks[-1][1:] == (a.start, a.label):  # samples of a class that follow each other
            marks[-1] = marks[-1][0], a.end, a.label
        else:
            marks.append((a.start, a.end, a.label))
    what = "Waveform and spectrogram" if stream.samples.ndim == 1 else "Readings and inputs"
    alt = f"{what} of {stream.source}, with its {listener.unit}: " + ", ".join(m[2] or "none" for m in marks)
    return pictures.stream(stream.samples[:n], listener.rate, stream.codes[: n // listener.hop], marks, alt)


def _word(listener: WordRecognizer | SensorRecognizer, answer: Answer) -> dict[str, Any]:
    network = listener.saved.network
    x = np.zeros(network.n_inputs, np.uint8) if answer.inputs is None else answer.inputs
    recorded = trace.record(network, listener.saved.weights, x, answer.number, answer.tokens)
    alt = f"Spikes of every neuron and rates of the outputs for what begins at {answer.start:.2f} s"
    if answer.tokens is not None:
        features = answer.tokens.sample(0)
    else:
        assert isinstance(listener, SensorRecognizer)
        features = x.reshape(listener.sensor.windows, -1).astype(np.int64) - 128
    return {
        "answer": answer,
        "features": pictures.patterns(features),
        "chart": pictures.settling(recorded, alt),
    }
