"""Encoding of samples for a network: rows of numbers, or tokens of an attention layer.

    rows      tables and images are rows already
    series    cut into a number of spans that is the same for all samples; an input for every span and channel
    texts     an input for every word of a vocabulary: whether it is there

With attention a sample is a set of tokens, which the queries of the network look at: every span of a series,
with its place, or every word of a text, by its vector (equilif.data.base.words).

Through the front end of a sensor (sensor.py) a series becomes one sample or several: rows of means and
energies of windows.

An encoding is fitted on training samples only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from equilif.data.base import words as vectors_of
from equilif.data.base.arrays import Longs
from equilif.data.base.ragged import Ragged, pooled, position, ranges
from equilif.data.base.words import Codes, tokenise
from equilif.data.encoding.sensor import SensorWindows, WindowSamples, WindowSize
from equilif.data.formats import Read, Series, Texts
from equilif_golden.fixed import check_bool, check_choice, check_int
from equilif_golden.front_end import tokens as front_end
from equilif_golden.network import MAX_PATTERNS, TokenRows

MAX_WORDS = 800  #: of a vocabulary
MAX_SPANS = 64  #: of a series; more of them tell little more
#: inputs that a series becomes, at most, two for every span and channel
MAX_INPUTS = 512
MAX_TOKENS = {"series": 32, "texts": 256}  #: of a sample with attention; boards hold as few
PLACES = 8  #: dimensions that code where a span lies


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """A fitted encoding. ``steps``: spans of a series, or with attention tokens of a sample, at most.

    ``front_end``: as the golden front end of a board makes samples: tokens of recordings
    (equilif_golden.front_end.tokens), or of series means and energies of the windows of a ``sensor``.
    ``words``: the vocabulary of texts without attention.  ``word_vectors``: their file, None for the
    installed package; ``word_vectors_digest``: digest of that file, or of the package's version.
    """

    kind: Literal["rows", "series", "texts"] = "rows"
    attention: bool = False
    front_end: bool = False
    sensor: SensorWindows | None = None
    steps: int = 0
    words: tuple[str, ...] = ()
    word_vectors: str | None = None
    word_vectors_digest: str = field(default="", compare=False)  #: empty without word vectors

    def __post_init__(self) -> None:
        check_choice(self.kind, "kind", ("rows", "series", "texts"))
        check_bool(self.attention, "attention")
        sensor = self.sensor is not None
        if check_bool(self.front_end, "front_end"):
            if self.kind != "series" or self.attention == sensor:
                raise ValueError(
                    "front_end is for recordings as tokens of an attention layer, or for a sensor"
                )
        elif sensor:
            raise ValueError("sensor needs front_end")
        if self.kind == "rows" and (self.attention or self.steps or self.words):
            raise ValueError("rows need no attention, no steps and no words")
        if self.attention or self.kind == "series" and not sensor:
            check_int(self.steps, "steps", 1, MAX_PATTERNS)
        if self.kind == "texts" and not self.attention and not self.words:
            raise ValueError("words must be at least one: an input each")

    @property
    def places(self) -> int:
        """Dimensions of a token that code where it lies."""
        if self.front_end:
            return front_end.POSITIONS
        return PLACES if self.kind == "series" and self.attention else 0

    def names(self, channels: tuple[str, ...]) -> tuple[str, ...]:
        """Names of the columns of rows, or of the channels of tokens; ``channels``: names as read."""
        if self.kind == "texts":
            return self.words
        if self.sensor is not None:
            return self.sensor.names(channels)
        if self.kind == "series" and not self.attention and channels:
            return tuple(f"{c}, span {k + 1}" for k in range(self.steps) for c in channels)
        return channels

    def read_names(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Names of the columns or channels as read, from those of :meth:`names`."""
        if self.kind == "texts":
            return ()
        if self.sensor is not None:
            return self.sensor.channel_names(names)
        if self.kind == "series" and not self.attention:
            return tuple(n.removesuffix(", span 1") for n in names[: len(names) // self.steps])
        return names

    def rows(self, x: Read) -> npt.NDArray[Any]:
        """Samples as rows (n, width); ValueError when they are of another kind."""
        self._check(x)
        if isinstance(x, Series):
            return spans(x, self.steps)
        if isinstance(x, Texts):
            return presence(x, self.words)
        return x

    def samples(self, x: Read, what: str) -> WindowSamples:
        """Series as samples of a sensor; ``what`` they are, for messages."""
        self._check(x)
        assert isinstance(x, Series) and self.sensor is not None
        return self.sensor.samples(x, what)

    def tokens(self, parts: Sequence[Read]) -> TokenTable:
        """Samples of several parts as tokens that share a table."""
        for x in parts:
            self._check(x)
        if self.kind == "texts":
            return _of_words([x for x in parts if isinstance(x, Texts)], self)
        series = [x for x in parts if isinstance(x, Series)]
        return _of_frames(series) if self.front_end else _of_spans(series, self.steps)

    def _check(self, x: Read) -> None:
        """ValueError unless samples are what training samples were."""
        found = kind_of(x)
        if found != self.kind:
            raise ValueError(f"it holds {found}, the network was trained on {self.kind}")


def kind_of(x: Read) -> Literal["rows", "series", "texts"]:
    return "series" if isinstance(x, Series) else "texts" if isinstance(x, Texts) else "rows"


def fit(
    x: Read,
    *,
    attention: bool = False,
    front_end: bool = False,
    sensor: WindowSize | None = None,
    word_vectors: str | Path | None = None,
) -> Encoding:
    """The encoding of training samples; ``sensor``: series are its recordings.  ValueError for options that
    they have no use for.
    """
    kind = kind_of(x)
    if kind == "rows" and attention:
        raise ValueError("data.attention is for texts, series and recordings: rows and images have no tokens")
    if word_vectors is not None and not (kind == "texts" and attention):
        raise ValueError("data.word_vectors is for texts: give data.text and data.attention too")
    if sensor is not None and isinstance(x, Series):
        return Encoding(kind=kind, front_end=True, sensor=SensorWindows.fit(x, sensor))
    if isinstance(x, Series):
        longest = int(np.diff(x.off).max())
        inputs = 2 * x.frames.shape[1]  # on two rails: above and below the mean
        most = MAX_TOKENS[kind] if attention else max(1, min(MAX_SPANS, MAX_INPUTS // inputs))
        # a word may be longer than all that were recorded
        steps = most if front_end else min(longest, most)
        return Encoding(kind=kind, attention=attention, front_end=front_end, steps=steps)
    if isinstance(x, Texts):
        if not attention:
            return Encoding(kind=kind, words=vocabulary(x))
        longest = max(len(tokenise(text)) for text in x.texts)
        file = None if word_vectors is None else str(Path(word_vectors).resolve())
        steps = min(max(1, longest), MAX_TOKENS[kind])
        digest = vectors_of.digest(file)
        return Encoding(kind=kind, attention=True, steps=steps, word_vectors=file, word_vectors_digest=digest)
    return Encoding()


# -- series ----------------------------------------------------------------------------------------
def spans(x: Series, n: int) -> npt.NDArray[np.float64]:
    """Series as rows (samples, n x channels): means over n spans, as even as can be.

    A series that is shorter than n has steps that come again.  A span has the mean of the values that are
    there, NaN when there is none.
    """
    length = np.diff(x.off)[:, None]
    k = np.arange(n)
    begin = x.off[:-1, None] + k * length // n
    end = np.maximum(begin + 1, x.off[:-1, None] + (k + 1) * length // n)
    index, off = ranges(begin.ravel(), (end - begin).ravel())
    there = ~np.isnan(x.frames)
    sums = np.add.reduceat(np.where(there, x.frames, 0)[index], off[:-1], axis=0, dtype=np.float64)
    counts = np.add.reduceat(there[index], off[:-1], axis=0, dtype=np.float64)
    means: npt.NDArray[np.float64] = sums / np.where(counts > 0, counts, np.nan)
    return means.reshape(len(x), -1)


# -- texts -----------------------------------------------------------------------------------------
def vocabulary(x: Texts) -> tuple[str, ...]:
    """The words that most texts have, the most frequent first, each in two texts at least.

    ValueError when there is none.
    """
    counts = Counter(word for text in x.texts for word in set(tokenise(text)))
    found = sorted((-n, word) for word, n in counts.items() if n > 1)
    if not found:
        raise ValueError("no two texts have a word in common: there is nothing to learn from them")
    return tuple(word for _, word in found[:MAX_WORDS])


def presence(x: Texts, words: tuple[str, ...]) -> npt.NDArray[np.uint8]:
    """Texts as rows (n, words): 1 where a word is there."""
    column = {word: k for k, word in enumerate(words)}
    rows = np.zeros((len(x), len(words)), np.uint8)
    for row, text in zip(rows, x.texts, strict=True):
        row[[column[word] for word in set(tokenise(text)) if word in column]] = 1
    return rows


def wordless(x: npt.NDArray[Any], tokens: TokenRows | None, words: Sequence[str] = ()) -> int:
    """Number of encoded texts without a known word: no input is on, or the only token is the last row of the
    table, which has no word.
    """
    if tokens is None:
        return int((x.max(axis=1) == 0).sum())
    if not words or words[-1]:
        return 0
    only = tokens.rows[tokens.off[:-1]] == len(tokens.table) - 1
    return int((only & (np.diff(tokens.off) == 1)).sum())


# -- tokens ----------------------------------------------------------------------------------------
class TokenTable(NamedTuple):
    """A table of values (rows, width), what is beside them (rows, places) as codes, names of the rows of a
    text, and of each part the rows of its samples.
    """

    values: npt.NDArray[np.float64]
    places: Codes
    words: tuple[str, ...]
    parts: tuple[Ragged, ...]


def _of_spans(parts: Sequence[Series], most: int) -> TokenTable:
    """A token for every span of at most ``most`` a sample, and its place."""
    cut = [pooled(x.frames.astype(np.float64), x.off, most) for x in parts]
    places = []
    rows = []
    first = 0
    for frames, off in cut:
        length = np.repeat(np.diff(off), np.diff(off))
        k = np.arange(off[-1]) - np.repeat(off[:-1], np.diff(off))
        places.append(position((k + 0.5) / length, PLACES))
        rows.append(_ragged(np.arange(first, first + len(frames)), off))
        first += len(frames)
    return TokenTable(np.concatenate([f for f, _ in cut]), np.concatenate(places), (), tuple(rows))


def _of_frames(parts: Sequence[Series]) -> TokenTable:
    """Tokens of the front end: values are means of levelled codes."""
    values = []
    places = []
    rows = []
    first = 0
    for x in parts:
        means = [front_end.means(x.frames[a:b]) for a, b in pairwise(x.off)]
        off = np.cumsum([0, *map(len, means)], dtype=np.int64)
        values += means
        places += [front_end.positions(len(m)) for m in means]
        rows.append(_ragged(np.arange(first, first + off[-1]), off))
        first += int(off[-1])
    table = np.concatenate(values) / front_end.MEAN_UNIT
    return TokenTable(table, np.concatenate(places).astype(np.int8), (), tuple(rows))


def _of_words(parts: Sequence[Texts], encoding: Encoding) -> TokenTable:
    """A token for every word that has a vector; a text without one has the mean of all."""
    if (
        encoding.word_vectors_digest
        and vectors_of.digest(encoding.word_vectors) != encoding.word_vectors_digest
    ):
        raise ValueError(
            f"the word vectors of {encoding.word_vectors or vectors_of.PACKAGE} changed after training: "
            "restore the file, or train a new network"
        )
    split = [[tokenise(text) for text in x.texts] for x in parts]
    known, values = vectors_of.read(
        encoding.word_vectors, {w for part in split for text in part for w in text}
    )
    row = {word: k for k, word in enumerate(known)}
    nothing = len(known)
    samples = [[[row[w] for w in text if w in row][: encoding.steps] for text in part] for part in split]
    rows = tuple(Ragged.of([s or [nothing] for s in part], np.zeros(len(part), np.int64)) for part in samples)
    table = np.concatenate((values.astype(np.float64), np.full((1, values.shape[1]), np.nan)))
    return TokenTable(table, np.zeros((len(table), 0), np.int8), (*known, ""), rows)


def _ragged(rows: Longs, off: Longs) -> Ragged:
    return Ragged(rows.astype(np.int32), off, np.zeros(len(off) - 1, np.int64))
