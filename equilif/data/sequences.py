"""Sets of tokens: a sample is a ragged row of row numbers into one table of 8-bit patterns."""

from __future__ import annotations

import importlib.util
import inspect
import io
import tarfile
import wave
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from equilif.data.images import DataSet
from equilif.data.words import Codes, WordVectors, find, read_npz, to_codes, tokenise
from equilif_golden.blocks.relay import FRACTION
from equilif_golden.fixed import DEFAULT, Numerics
from equilif_golden.network import TokenRows

Rows = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

NAMES = ("snippets", "imdb", "spoken", "vowels")
SENTIMENT = ("negative", "positive")


@dataclass(frozen=True)
class Ragged:
    """Sample i is ``rows[off[i]:off[i + 1]]``, numbers of rows of a table, and belongs to class ``labels[i]``."""

    rows: Rows
    off: Longs
    labels: Longs

    def __post_init__(self) -> None:
        if (
            len(self.off) != len(self.labels) + 1
            or self.off[0] != 0
            or self.off[-1] != len(self.rows)
            or (np.diff(self.off) < 0).any()
        ):
            raise ValueError(
                f"{len(self.off)} offsets do not cut {len(self.rows)} tokens into {len(self.labels)} samples"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of(cls, samples: Sequence[npt.ArrayLike], labels: npt.ArrayLike) -> Ragged:
        """From one array of row numbers a sample."""
        arrays = [np.asarray(s, np.int32) for s in samples]
        off = np.concatenate(([0], np.cumsum([len(a) for a in arrays], dtype=np.int64)))
        return cls(np.concatenate([np.empty(0, np.int32), *arrays]), off, np.asarray(labels, np.int64))

    def lengths(self) -> Longs:
        """Tokens of each sample (n,)."""
        return np.diff(self.off)

    def sample(self, i: int) -> Rows:
        """Row numbers of sample i, a view."""
        if not 0 <= i < len(self):
            raise IndexError(f"sample {i} of {len(self)}")
        return self.rows[self.off[i] : self.off[i + 1]]

    def take(self, indices: npt.ArrayLike) -> Ragged:
        """The samples ``indices``, in that order."""
        i = np.asarray(indices, np.int64)
        return self._spans(self.off[:-1][i], self.lengths()[i], self.labels[i])

    def cut(self, n: int, *, last: bool = False) -> Ragged:
        """At most n tokens of each sample: its first, or its last."""
        if n < 1:
            raise ValueError(f"a sample keeps at least one token, not {n}")
        kept = np.minimum(self.lengths(), n)
        return self._spans(self.off[1:] - kept if last else self.off[:-1], kept, self.labels)

    def _spans(self, starts: Longs, lengths: Longs, labels: Longs) -> Ragged:
        index, off = _ranges(starts, lengths)
        return Ragged(self.rows[index], off, labels)


@dataclass(frozen=True)
class Sequences:
    """A table (n_rows, d) of int8 patterns that stand for code / 128, and samples made of its rows;
    ``words`` name the rows of a text.
    """

    name: str
    table: Codes
    train: Ragged
    test: Ragged
    classes: tuple[str, ...]
    words: tuple[str, ...] = ()

    @property
    def n_classes(self) -> int:
        return len(self.classes)

    @property
    def d(self) -> int:
        return int(self.table.shape[1])

    def data_set(self, numerics: Numerics = DEFAULT) -> DataSet:
        """Its samples as tokens for a memory: codes / 128 as raw weights."""
        table = self.table.astype(np.int16) << (numerics.fraction - FRACTION)
        train, test = (TokenRows(table, r.rows, r.off) for r in (self.train, self.test))
        return DataSet(
            self.name,
            np.zeros((len(self.train), 0), np.uint8),
            self.train.labels,
            np.zeros((len(self.test), 0), np.uint8),
            self.test.labels,
            train,
            test,
            self.words,
        )

    def mean_pooled(self, sigmas: float = 3) -> DataSet:
        """What is left without a memory: the mean token of each sample as inputs (n, 2 d), positive parts,
        then negative ones.

        Means are standardised over the training set; ``sigmas`` fill 255.
        """
        means = [
            np.add.reduceat(self.table[r.rows].astype(np.float64), r.off[:-1], axis=0) / r.lengths()[:, None]
            for r in (self.train, self.test)
        ]
        centre, deviation = means[0].mean(axis=0), means[0].std(axis=0)
        z = [(m - centre) / np.where(deviation > 0, deviation, 1) * (255 / sigmas) for m in means]
        train, test = (np.clip(np.rint(np.concatenate((v, -v), axis=1)), 0, 255).astype(np.uint8) for v in z)
        return DataSet(self.name, train, self.train.labels, test, self.test.labels)


def _ranges(starts: Longs, lengths: Longs) -> tuple[Longs, Longs]:
    """start, start + 1, .. start + length - 1 of every span one after another, and where each begins (n + 1,)."""
    off = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    return np.repeat(starts - off[:-1], lengths) + np.arange(off[-1]), off


def _first(root: Path, *patterns: str) -> Path | None:
    """``root`` if it is a file, else the first path below it that matches, patterns in order."""
    return (
        root
        if root.is_file()
        else next((p for pattern in patterns for p in sorted(root.glob(pattern))), None)
    )


# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Corpus:
    """Samples as numbers of tokens, before it is known which have vectors."""

    tokens: list[str]
    train: Ragged
    test: Ragged


def _corpus(train: Iterable[tuple[str, int]], test: Iterable[tuple[str, int]]) -> _Corpus:
    """From texts and their classes."""
    number: dict[str, int] = {}

    def part(texts: Iterable[tuple[str, int]]) -> Ragged:
        samples, labels = [], []
        for text, label in texts:
            samples.append(np.array([number.setdefault(t, len(number)) for t in tokenise(text)], np.int32))
            labels.append(label)
        return Ragged.of(samples, labels)

    a, b = part(train), part(test)
    return _Corpus(list(number), a, b)


def _expand(r: Ragged, groups: Ragged) -> Ragged:
    """Every row i of ``r`` replaced by sample i of ``groups``: none, one or several."""
    n = groups.lengths()[r.rows]
    index, off = _ranges(groups.off[:-1][r.rows], n)
    return Ragged(groups.rows[index], off[r.off], r.labels)


def _text(
    name: str,
    corpus: _Corpus,
    vectors: Path | None,
    max_tokens: int,
    last: bool,
    drop: int,
    top: int,
    weighted: bool,
) -> Sequences:
    counts = np.bincount(corpus.train.rows, minlength=len(corpus.tokens))
    v = WordVectors.load(
        dict(zip(corpus.tokens, counts.tolist(), strict=True)), vectors, drop=drop, top=top, weighted=weighted
    )
    row = v.index()
    groups = Ragged.of([[row[t]] if t in row else [] for t in corpus.tokens], np.zeros(len(corpus.tokens)))
    train, test = (_expand(r, groups).cut(max_tokens, last=last) for r in (corpus.train, corpus.test))
    table, words = v.codes, v.words
    if not (train.lengths().all() and test.lengths().all()):
        # a text without a known word still needs a token: one more row of zeros, the mean of all
        train, test = _filled(train, len(table)), _filled(test, len(table))
        table, words = np.concatenate((table, np.zeros((1, v.d), np.int8))), (*words, "")
    return Sequences(name, table, train, test, SENTIMENT, words)


def _filled(r: Ragged, row: int) -> Ragged:
    """Empty samples get the one token ``row``."""
    empty = r.lengths() == 0
    rows = np.insert(r.rows, r.off[:-1][empty], row).astype(np.int32)
    return Ragged(rows, np.concatenate(([0], np.cumsum(np.maximum(r.lengths(), 1)))), r.labels)


def _vectors(vectors: Path | None, root: Path) -> Path | None:
    """Where to look for word vectors: the file named, else beside the data, else (None) the installed package."""
    return vectors or find(root if root.is_dir() else root.parent)


MAAS = "https://ai.stanford.edu/~amaas/data/sentiment/"


def _maas(folder: Path, part: str) -> list[tuple[str, int]]:
    """Reviews and classes of one part of the Large Movie Review Dataset, in the order of the file names."""
    out = []
    for label, sign in enumerate(("neg", "pos")):
        files = sorted((folder / part / sign).glob("*.txt"))
        if not files:
            raise ValueError(
                f"no reviews in {folder / part / sign}: unpack aclImdb_v1.tar.gz from {MAAS} again"
            )
        out += [(f.read_text(encoding="utf-8", errors="replace"), label) for f in files]
    return out


def _word_ids(path: Path) -> _Corpus:
    """A prepared file of word numbers: vocab, {train,test}_{ids,off,y}; 0 (padding) and 1 (unknown) are
    dropped.
    """
    z = read_npz(
        path, ("vocab", *(f"{part}_{key}" for part in ("train", "test") for key in ("ids", "off", "y")))
    )
    vocab = [str(w) for w in z["vocab"]]
    number: dict[str, int] = {}
    # words were split otherwise than GloVe's: don't is one number and becomes two tokens
    groups = Ragged.of(
        [
            [number.setdefault(t, len(number)) for t in tokenise(w)] if i > 1 else []
            for i, w in enumerate(vocab)
        ],
        np.zeros(len(vocab)),
    )
    parts = []
    for part in ("train", "test"):
        ids, off, y = (z[f"{part}_{key}"] for key in ("ids", "off", "y"))
        try:
            if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < len(vocab):
                raise ValueError(f"word number {int(ids.max())} of {len(vocab)}")
            if len(y) and not 0 <= int(y.min()) <= int(y.max()) < 2:
                raise ValueError("classes other than 0 and 1")
            parts.append(
                _expand(Ragged(ids.astype(np.int32), off.astype(np.int64), y.astype(np.int64)), groups)
            )
        except ValueError as e:
            raise ValueError(f"{path}, {part}: {e}") from e
    return _Corpus(list(number), parts[0], parts[1])


def imdb(
    data: Path | None = None,
    *,
    max_tokens: int = 128,
    vectors: Path | None = None,
    last: bool = False,
    drop: int = 0,
    top: int = 0,
    weighted: bool = True,
) -> Sequences:
    """Large Movie Review Dataset, 25,000 / 25,000 (Maas 2011): the folder aclImdb below ``data``, or a
    prepared ``imdb*.npz`` of word numbers.

    Tokens are the words that have a vector, the first ``max_tokens`` (or the last); the other options are
    those of ``WordVectors.load``.
    """
    root = data or Path("data")
    prepared = _first(root, "imdb*.npz")
    folder = next(
        (f for f in (root / "aclImdb", root) if (f / "train").is_dir() and (f / "train" / "pos").is_dir()),
        None,
    )
    if folder is not None:
        corpus = _corpus(_maas(folder, "train"), _maas(folder, "test"))
    elif prepared is not None:
        corpus = _word_ids(prepared)
    else:
        raise ValueError(
            f"no aclImdb/train/pos in {root}: unpack {MAAS}aclImdb_v1.tar.gz and give its folder with --data"
        )
    return _text("imdb", corpus, _vectors(vectors, root), max_tokens, last, drop, top, weighted)


SNIPPETS = "movieReviewSnippets_GroundTruth.txt"
SDIST = "pip download --no-deps --no-binary :all: vaderSentiment==3.3.2"


def _in_tar(path: str, raw: bytes) -> bytes | None:
    """The snippets in a tar file, or in the tar file in it."""
    try:
        with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
            for member in tar:
                name = Path(member.name).name
                if member.isfile() and (
                    name == SNIPPETS or name.startswith("hutto") and name.endswith(".tar.gz")
                ):
                    f = tar.extractfile(member)
                    content = f.read() if f else b""
                    found = content if name == SNIPPETS else _in_tar(f"{path}/{name}", content)
                    if found is not None:
                        return found
    except (tarfile.TarError, OSError, EOFError, zlib.error) as e:
        raise ValueError(
            f"{path} is not a whole tar file ({str(e).partition(chr(10))[0]}); get it again: {SDIST}"
        ) from e
    return None


def _snippets(root: Path) -> tuple[Path, bytes]:
    """Where the snippets are and what is in the file: the file, or an archive that holds it, unpacked or not."""
    inner = [
        f"{above}{name}"
        for name in (SNIPPETS, "hutto*/" + SNIPPETS, "hutto*.tar.gz")
        for above in ("", "additional_resources/", "vader*/additional_resources/")
    ]
    path = _first(root, *inner, "vader*.tar.gz")
    raw = (
        None
        if path is None
        else path.read_bytes()
        if path.name == SNIPPETS
        else _in_tar(str(path), path.read_bytes())
    )
    if path is None or raw is None:
        raise ValueError(
            f"no {SNIPPETS} in {path or root}: it comes with the sources of vaderSentiment; {SDIST} and give the folder with --data"
        )
    return path, raw


def snippets(
    data: Path | None = None,
    *,
    max_tokens: int = 64,
    vectors: Path | None = None,
    last: bool = False,
    drop: int = 0,
    top: int = 0,
    weighted: bool = True,
    seed: int = 0,
) -> Sequences:
    """Movie-review snippets rated by 20 people each (Hutto & Gilbert 2014), 9,105 / 1,500 split by ``seed``:
    is the mean rating positive?

    The file, or the sdist of vaderSentiment that holds it, lies below ``data``; options as for ``imdb``.
    """
    root = data or Path("data")
    path, raw = _snippets(root)
    texts = []
    for number, line in enumerate(raw.decode("utf-8", errors="replace").splitlines(), 1):
        fields = line.split("\t")
        try:
            texts.append((fields[2], int(float(fields[1]) > 0)))
        except (ValueError, IndexError) as e:
            raise ValueError(f"{path} line {number} is not a number, a rating and a text between tabs") from e
    n_test = len(texts) * 1500 // 10605
    if not n_test:
        raise ValueError(f"{path} holds {len(texts)} snippets, too few to split")
    order = np.random.default_rng(seed).permutation(len(texts)).tolist()
    corpus = _corpus([texts[i] for i in order[n_test:]], [texts[i] for i in order[:n_test]])
    return _text("snippets", corpus, _vectors(vectors, root), max_tokens, last, drop, top, weighted)


# --------------------------------------------------------------------------------------------------


def position(t: npt.ArrayLike, n: int) -> Codes:
    """Code of a relative position in 0 .. 1 by n triangular bumps, (.., n) int8 in 0 .. 127: neighbours
    share bumps, the ends share none.
    """
    u = np.asarray(t, np.float64)[..., None] * (n - 1)
    out: Codes = np.rint(127 * np.clip(1 - np.abs(u - np.arange(n)), 0, 1)).astype(np.int8)
    return out


def pooled(frames: Floats, off: Longs, n: int) -> tuple[Floats, Longs]:
    """Recordings (total, d) cut at ``off``, each to at most n frames: means over spans of consecutive frames
    as even as can be.
    """
    lengths = np.diff(off)
    kept = np.minimum(lengths, n)
    new = np.concatenate(([0], np.cumsum(kept)))
    k = np.arange(new[-1]) - np.repeat(new[:-1], kept)  # which frame of its recording
    starts = np.repeat(off[:-1], kept) + k * np.repeat(lengths, kept) // np.repeat(kept, kept)
    sums = np.add.reduceat(frames, starts, axis=0)
    return sums / np.diff(np.append(starts, off[-1]))[:, None], new


def _frames(
    name: str,
    frames: Floats,
    off: Longs,
    y: Longs,
    test: npt.NDArray[np.bool_],
    classes: tuple[str, ...],
    max_tokens: int,
    n_pos: int,
    sigmas: float,
) -> Sequences:
    """Recordings as samples: every frame is a row of its own, its bands standardised over the training set,
    then its position.
    """
    if max_tokens < 1 or n_pos < 0:
        raise ValueError(
            f"at least one token and no less than 0 dimensions of position, not {max_tokens} and {n_pos}"
        )
    if not test.any() or test.all():
        raise ValueError(f"{name}: no recording left to {'test' if not test.any() else 'train'} on")
    x, off = pooled(frames, off, max_tokens)
    lengths = np.diff(off)
    of_train = x[np.repeat(~test, lengths)]
    deviation = of_train.std(axis=0)
    z = (x - of_train.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    t = (np.arange(off[-1]) - np.repeat(off[:-1], lengths) + 0.5) / np.repeat(lengths, lengths)
    table = np.concatenate((to_codes(z, sigmas), position(t, n_pos)), axis=1)
    every = Ragged(np.arange(off[-1], dtype=np.int32), off, y)
    return Sequences(
        name, table, every.take(np.flatnonzero(~test)), every.take(np.flatnonzero(test)), classes
    )


FSDD = "https://github.com/Jakobovski/free-spoken-digit-dataset"
RATE, WINDOW, HOP, FFT, BANDS = 8000, 200, 80, 256, 20


def _mel_bank() -> Floats:
    """Triangles (BANDS, FFT / 2 + 1), evenly spaced on the mel scale from 0 to half the sampling rate."""
    mel = np.linspace(0, 2595 * np.log10(1 + RATE / 2 / 700), BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    f = np.arange(FFT // 2 + 1) * (RATE / FFT)
    up, down = (
        (f - edges[:-2, None]) / np.diff(edges)[:-1, None],
        (edges[2:, None] - f) / np.diff(edges)[1:, None],
    )
    return np.clip(np.minimum(up, down), 0, None)


def log_mel(sound: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """Sound (samples,) in -1 .. 1 at 8 kHz -> (frames, 20) uint8, one frame every 10 ms: 0 is 100 dB below
    255.
    """
    x = np.asarray(sound, np.float64)
    x = np.pad(x, (0, max(WINDOW - len(x), 0)))
    spans = np.lib.stride_tricks.sliding_window_view(x, WINDOW)[::HOP] * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(spans, FFT)) ** 2 @ _mel_bank().T / (WINDOW / 4) ** 2
    return np.clip(np.rint(255 + 2.55 * 10 * np.log10(power + 1e-12)), 0, 255).astype(np.uint8)


def read_wav(path: Path) -> Floats:
    """16-bit mono sound at 8 kHz, (samples,) in -1 .. 1."""
    try:
        with wave.open(str(path), "rb") as w:
            form = (w.getnchannels(), 8 * w.getsampwidth(), w.getframerate())
            raw = w.readframes(w.getnframes())
    except (wave.Error, EOFError, OSError) as e:
        raise ValueError(f"{path} is not a whole WAV file: {e}") from e
    if form != (1, 16, RATE):
        raise ValueError(
            f"{path} has {form[0]} channels of {form[1]} bits at {form[2]} Hz, not one of 16 bits at {RATE} Hz"
        )
    if not raw:
        raise ValueError(f"{path} holds no sound")
    return np.frombuffer(raw[: len(raw) // 2 * 2], "<i2") / 32768


def _wavs(folder: Path) -> tuple[Floats, Longs, Longs, npt.NDArray[np.bool_], list[str]]:
    """Frames, offsets, digits, in the official test split or not, and speakers of
    ``{digit}_{speaker}_{index}.wav``.
    """
    feats, y, test, who = [], [], [], []
    for path in sorted(folder.glob("*.wav")):
        digit, _, rest = path.stem.partition("_")
        speaker, _, index = rest.rpartition("_")
        if not (digit.isdecimal() and len(digit) == 1 and speaker and index.isdecimal()):
            raise ValueError(f"{path} is not named digit_speaker_index.wav")
        feats.append(log_mel(read_wav(path)))
        y.append(int(digit))
        test.append(int(index) < 5)
        who.append(speaker)
    off = np.concatenate(([0], np.cumsum([len(f) for f in feats])))
    return np.concatenate(feats).astype(np.float64), off, np.array(y, np.int64), np.array(test), who


def _log_mels(path: Path) -> tuple[Floats, Longs, Longs, npt.NDArray[np.bool_], list[str]]:
    """The same from a prepared file: feat, off, y, speaker, is_test, speakers."""
    z = read_npz(path, ("feat", "off", "y", "speaker", "is_test", "speakers"))
    feat, off, y = z["feat"].astype(np.float64), z["off"].astype(np.int64), z["y"].astype(np.int64)
    speaker, test, speakers = (
        z["speaker"].astype(np.int64),
        z["is_test"].astype(bool),
        [str(s) for s in z["speakers"]],
    )
    if (
        feat.ndim != 2
        or not len(feat)
        or not len(off) == len(y) + 1 == len(speaker) + 1 == len(test) + 1
        or off[0] != 0
        or off[-1] != len(feat)
        or (np.diff(off) < 1).any()
        or not 0 <= speaker.min() <= speaker.max() < len(speakers)
        or not 0 <= y.min() <= y.max() <= 9
    ):
        raise ValueError(
            f"{path}: frames {feat.shape}, {len(off)} offsets, {len(y)} digits and {len(speakers)} speakers do not belong together"
        )
    return feat, off, y, test, [speakers[s] for s in speaker]


def trimmed(frames: Floats, off: Longs, below: float) -> tuple[Floats, Longs]:
    """Recordings (total, d) cut at ``off`` without the frames at both ends whose loudest band is ``below``
    less than the recording's loudest.
    """
    loud = frames.max(axis=1)
    loud = loud >= np.repeat(np.maximum.reduceat(loud, off[:-1]), np.diff(off)) - below
    spans = [first + np.flatnonzero(loud[first:last])[[0, -1]] for first, last in pairwise(off)]
    index, new = _ranges(np.array([a for a, _ in spans]), np.array([b - a + 1 for a, b in spans]))
    return frames[index], new


def spoken(
    data: Path | None = None,
    *,
    max_tokens: int = 32,
    n_pos: int = 8,
    leave_out: str | None = None,
    sigmas: float = 3,
    trim: float = 40,
) -> Sequences:
    """Free Spoken Digit Dataset, 2,700 / 300.

    ``recordings/*.wav`` below ``data``, or a prepared ``fsdd*.npz`` of log-mel frames.

    A token is one of at most ``max_tokens`` spans of a recording: 20 bands, +-``sigmas`` filling +-127,
    and ``n_pos`` dimensions of position. ``leave_out`` names a speaker to test on, with all other
    recordings to train on.  Both ends of a recording are cut where they are ``trim`` dB below its loudest
    frame.
    """
    root = data or Path("data")
    folder = next(
        (f for f in (root / "recordings", root, *sorted(root.glob("*/recordings"))) if any(f.glob("*.wav"))),
        None,
    )
    prepared = _first(root, "fsdd*.npz")
    if folder is None and prepared is None:
        raise ValueError(f"no recordings/*.wav in {root}: git clone {FSDD} and give its folder with --data")
    feat, off, y, test, who = _wavs(folder) if folder else _log_mels(prepared or root)
    if leave_out is not None:
        if leave_out not in who:
            raise ValueError(
                f"no speaker {leave_out!r} in {folder or prepared}, only {', '.join(sorted(set(who)))}"
            )
        test = np.array([w == leave_out for w in who])
    feat, off = trimmed(feat, off, 2.55 * trim)
    return _frames("spoken", feat, off, y, test, tuple("0123456789"), max_tokens, n_pos, sigmas)


AEON = "aeon/datasets/data/"
VOWELS = {part: f"JapaneseVowels_{part}.ts" for part in ("TRAIN", "TEST")}
WHEEL = "pip download --no-deps aeon==1.6.0"


def read_ts(name: str, text: str) -> tuple[list[Floats], list[str]]:
    """The .ts format of time series: series (T, channels) and their labels; ``name`` is for messages."""
    series: list[Floats] = []
    labels: list[str] = []
    begun = False
    for number, line in enumerate(text.splitlines(), 1):
        if not begun or not line.strip():
            begun = begun or line.strip().lower() == "@data"
            continue
        *channels, label = line.strip().split(":")
        try:
            x = np.array([c.split(",") for c in channels], np.float64)
            if x.ndim != 2 or not np.isfinite(x).all() or (series and x.shape[0] != series[0].shape[1]):
                raise ValueError("channels differ")
        except ValueError as e:
            raise ValueError(
                f"{name} line {number} is not channels of numbers and a label between colons: {e}"
            ) from e
        series.append(x.T)
        labels.append(label.strip())
    if not series:
        raise ValueError(f"{name} holds no series after @data")
    return series, labels


def _vowels(root: Path) -> dict[str, tuple[str, str]]:
    """Name and text of both .ts files: below ``root``, in a wheel of aeon there, or in the aeon that is
    installed.
    """
    spec = importlib.util.find_spec("aeon")
    installed = [Path(spec.origin).parent.parent / AEON] if spec and spec.origin else []
    for folder in (root, root / AEON, *installed):
        for below in (folder, folder / "JapaneseVowels"):
            files = {part: below / f for part, f in VOWELS.items()}
            if all(f.is_file() for f in files.values()):
                return {
                    part: (str(f), f.read_text(encoding="utf-8", errors="replace"))
                    for part, f in files.items()
                }
    wheel = _first(root, "aeon-*.whl")
    if wheel is None:
        raise ValueError(
            f"no JapaneseVowels_TRAIN.ts and _TEST.ts in {root}: {WHEEL} and give the folder with --data, or pip install aeon"
        )
    try:
        with zipfile.ZipFile(wheel) as z:
            return {
                part: (f"{wheel}/{f}", z.read(f"{AEON}JapaneseVowels/{f}").decode(errors="replace"))
                for part, f in VOWELS.items()
            }
    except (zipfile.BadZipFile, KeyError, OSError, EOFError, zlib.error) as e:
        raise ValueError(f"{wheel} is not a wheel with JapaneseVowels in it ({e}); {WHEEL}") from e


def vowels(data: Path | None = None, *, max_tokens: int = 32, n_pos: int = 8, sigmas: float = 3) -> Sequences:
    """JapaneseVowels, 270 / 370: which of nine speakers says /ae/? 12 channels, 7 to 29 frames (Kudo 1999);
    tokens as in ``spoken``.
    """
    parts = {part: read_ts(name, text) for part, (name, text) in _vowels(data or Path("data")).items()}
    series, labels = parts["TRAIN"][0] + parts["TEST"][0], parts["TRAIN"][1] + parts["TEST"][1]
    widths = {s.shape[1] for s in series}
    if len(widths) > 1:
        raise ValueError(
            f"{VOWELS['TRAIN']} and {VOWELS['TEST']} have {' and '.join(map(str, sorted(widths)))} channels"
        )
    classes = sorted(set(labels))
    off = np.concatenate(([0], np.cumsum([len(s) for s in series])))
    y = np.array([classes.index(v) for v in labels], np.int64)
    test = np.arange(len(series)) >= len(parts["TRAIN"][0])
    return _frames("vowels", np.concatenate(series), off, y, test, tuple(classes), max_tokens, n_pos, sigmas)


LOADERS: dict[str, Callable[..., Sequences]] = {
    "snippets": snippets,
    "imdb": imdb,
    "spoken": spoken,
    "vowels": vowels,
}


def load(name: str, data: Path | None = None, *, max_tokens: int | None = None, **options: Any) -> Sequences:
    """``snippets``, ``imdb``, ``spoken`` or ``vowels``; options as its own function takes them."""
    if name not in NAMES:
        raise ValueError(f"set of sequences must be one of {', '.join(NAMES)}, not {name!r}")
    known = [k for k in inspect.signature(LOADERS[name]).parameters if k != "data"]
    for option in options:
        if option not in known:
            raise ValueError(f"{name} has no option {option!r}, only {', '.join(known)}")
    if max_tokens is not None:
        options["max_tokens"] = max_tokens
    return LOADERS[name](data, **options)
