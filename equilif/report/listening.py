"""Page of a recording and its words from `equilif listen`, laid out by listening.html."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from equilif import results
from equilif.listening import Answer, Listener, Stream
from equilif.report.page import environment
from equilif.training import trace
from equilif_golden.extras import needs
from equilif_golden.front_end.filter_bank import HOP
from equilif_golden.front_end.pdm import RATE

with needs("plot,report"):
    from equilif.report import pictures

MAX_STREAMS = 6  #: that are drawn
MAX_SECONDS = 30  #: of a stream
MAX_WORDS = 4  #: whose spikes are drawn


def write(listener: Listener, streams: Sequence[Stream]) -> str:
    """The page: table of segments; waveform and spectrogram of each stream; spikes of the first words."""
    answers = [a for s in streams for a in s.answers]
    drawn = [s for s in streams if len(s.codes)][:MAX_STREAMS]
    words = [a for a in answers if a.tokens is not None][:MAX_WORDS]
    content = {
        "version": results.version(),
        "network": str(listener.saved.path),
        "answers": answers,
        "several": len(streams) > 1,
        "n_words": sum(not a.reason for a in answers),
        "n_streams": len(streams),
        "seconds": sum(len(s.samples) for s in streams) / RATE,
        "streams": [{"name": s.source, "chart": _stream(s)} for s in drawn],
        "words": [_word(listener, a) for a in words],
    }
    return environment().get_template("listening.html").render(content)


def _stream(stream: Stream) -> pictures.Chart:
    shown = slice(MAX_SECONDS * RATE)
    marks = [(a.start, a.end, a.label) for a in stream.answers if a.start < MAX_SECONDS]
    alt = f"Waveform and spectrogram of {stream.source}, with its words: " + ", ".join(
        m[2] or "none" for m in marks
    )
    return pictures.stream(stream.samples[shown], RATE, stream.codes[: MAX_SECONDS * RATE // HOP], marks, alt)


def _word(listener: Listener, answer: Answer) -> dict[str, Any]:
    assert answer.tokens is not None
    network = listener.saved.network
    no_input = np.zeros(network.n_inputs, np.uint8)
    recorded = trace.record(network, listener.saved.weights, no_input, answer.number, answer.tokens)
    alt = f"Spikes of every neuron and rates of the outputs for the word at {answer.start:.2f} s"
    return {
        "answer": answer,
        "tokens": pictures.patterns(answer.tokens.sample(0)),
        "chart": pictures.settling(recorded, alt),
    }
