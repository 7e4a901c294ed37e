"""Movie reviews, their sentences and phrases: which of them are kind?"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from equilif.data import SOURCES, Name
from equilif.data.base.arrays import Longs
from equilif.data.base.ragged import MAX_ROWS, Ragged, ranges
from equilif.data.base.reading import content_of, lines, read_npz, reading, text
from equilif.data.base.words import WordVectors, find, tokenise
from equilif.data.formats.base import Columns, Texts
from equilif.data.formats.tables import Parquet
from equilif.data.sets.dataset import VALIDATION_SEED
from equilif.data.sets.sequences import Sequences, first
from equilif_golden.fixed import check_int, integers

SENTIMENT = ("negative", "positive")
MAX_BIGRAMS = 1 << 20


@dataclass(frozen=True)
class _Corpus:
    """Samples as numbers of tokens, before it is known which of them have vectors."""

    tokens: list[str]
    train: Ragged
    test: Ragged


_Found = tuple[Path, _Corpus]  #: where texts are from, and the texts


def _corpus(train: Iterable[tuple[str, int]], test: Iterable[tuple[str, int]]) -> _Corpus:
    """Make a corpus of texts and their classes."""
    number: dict[str, int] = {}

    def part(texts: Iterable[tuple[str, int]]) -> Ragged:
        samples = []
        labels = []
        for words, label in texts:
            samples.append([number.setdefault(t, len(number)) for t in tokenise(words)])
            labels.append(label)
        return Ragged.of(samples, labels)

    a = part(train)
    b = part(test)
    return _Corpus(list(number), a, b)


def _expand(r: Ragged, groups: Ragged) -> Ragged:
    """Every row i of ``r`` replaced by sample i of ``groups``: none, one or several."""
    n = groups.lengths()[r.rows]
    index, off = ranges(groups.off[:-1][r.rows], n)
    return Ragged(groups.rows[index], off[r.off], r.labels)


def _groups(rows: list[list[int]]) -> Ragged:
    """Groups to put in the place of a token; they have no class."""
    return Ragged.of(rows, np.zeros(len(rows), np.int64))


def _filled(r: Ragged, row: int) -> Ragged:
    """Empty samples get the one token ``row``."""
    empty = r.lengths() == 0
    rows = np.insert(r.rows, r.off[:-1][empty], row).astype(np.int32)
    return Ragged(rows, np.concatenate(([0], np.cumsum(np.maximum(r.lengths(), 1)))), r.labels)


def _neighbours(r: Ragged, n: int) -> Longs:
    """Pairs of neighbours: a token's number times ``n``, plus that of the next token; -1 where a sample ends.

    One fewer than there are tokens.
    """
    pairs = r.rows[:-1].astype(np.int64) * n + r.rows[1:]
    ends = r.off[1:-1] - 1
    pairs[ends[(ends >= 0) & (ends < len(pairs))]] = -1
    return pairs


def _with_bigrams(corpus: _Corpus, known: npt.NDArray[np.bool_], most: int) -> _Corpus:
    """The ``most`` frequent pairs of neighbours in the training texts become tokens too, behind their second
    word.

    At least one of the two must be ``known`` (tokens,).
    """
    n = len(corpus.tokens)
    there = _neighbours(corpus.train, n)
    there = there[there >= 0]
    there = there[known[there // n] | known[there % n]]
    found, counts = np.unique(there, return_counts=True)
    chosen = np.sort(found[np.argsort(-counts, kind="stable")[:most]])

    def part(r: Ragged) -> Ragged:
        pairs = _neighbours(r, n)
        at = np.minimum(np.searchsorted(chosen, pairs), max(len(chosen) - 1, 0))
        here = np.flatnonzero(chosen[at] == pairs) if len(chosen) else np.zeros(0, np.int64)
        rows = np.insert(r.rows.astype(np.int32), here + 2, n + at[here])
        # pairs that stand before each token
        before = np.concatenate([[0], np.cumsum(np.bincount(here + 1, minlength=len(r.rows)))])
        return Ragged(rows, r.off + before[r.off], r.labels)

    names = [f"{corpus.tokens[pair // n]} {corpus.tokens[pair % n]}" for pair in chosen.tolist()]
    return _Corpus([*corpus.tokens, *names], part(corpus.train), part(corpus.test))


def _text_set(name: Name, tokens: int) -> Callable[[Callable[..., _Found]], Callable[..., Sequences]]:
    """Decorator that makes the loader of a set of texts from a function that finds them below a folder.

    Options of the loader, in addition to those of the function: ``max_tokens``, by default ``tokens``: the
    first ones of a text, or with ``last`` the last.  ``bigrams``: number of pairs of neighbours, the most
    frequent of the training texts, that are tokens too; their vectors are zeros, the mean of all, for a table
    that learns.  The others are those of :meth:`equilif.data.base.words.WordVectors.load`.
    """

    def decorated(find_texts: Callable[..., _Found]) -> Callable[..., Sequences]:
        def load(
            data: str | Path | None = None,
            *,
            max_tokens: int = tokens,
            vectors: str | Path | None = None,
            last: bool = False,
            drop: int = 0,
            top: int = 0,
            weighted: bool = True,
            bigrams: int = 0,
            **options: Any,
        ) -> Sequences:
            check_int(max_tokens, "max_tokens", 1, MAX_ROWS)
            check_int(bigrams, "bigrams", 0, MAX_BIGRAMS)
            root = Path("data" if data is None else data)
            source, corpus = find_texts(root, **options)
            counts = np.bincount(corpus.train.rows, minlength=len(corpus.tokens)).tolist()
            # vectors lie next to the data, else (None) in the package
            place = find(root if root.is_dir() else root.parent) if vectors is None else Path(vectors)
            known = dict(zip(corpus.tokens, counts, strict=True))
            v = WordVectors.load(known, place, drop=drop, top=top, weighted=weighted)
            rows, train, test = _as_rows(v, corpus, bigrams)
            train, test = (part.cut(max_tokens, last=last) for part in (train, test))
            if not (train.lengths().all() and test.lengths().all()):
                # a text without a known word still needs a token: one more row of zeros, the mean of all
                train, test = (_filled(part, len(rows)) for part in (train, test))
                rows.append("")
            table = np.concatenate((v.codes, np.zeros((len(rows) - len(v), v.d), np.int8)))
            with reading(source):
                return Sequences(name.value, table, train, test, SENTIMENT, tuple(rows))

        common = list(inspect.signature(load).parameters.values())[:-1]
        own = list(inspect.signature(find_texts).parameters.values())[1:]
        functools.update_wrapper(load, find_texts)
        load.__signature__ = inspect.Signature([*common, *own])  # type: ignore[attr-defined]
        return load

    return decorated


def _as_rows(v: WordVectors, corpus: _Corpus, bigrams: int) -> tuple[list[str], Ragged, Ragged]:
    """Words of the rows of a table, bigrams behind those with vectors, and samples as rows of it."""
    words = list(v.words)
    row = v.index()
    if bigrams:
        known = np.array([t in row for t in corpus.tokens], bool)
        corpus = _with_bigrams(corpus, known, bigrams)
        row |= {t: len(words) + k for k, t in enumerate(corpus.tokens[len(known) :])}
        words += corpus.tokens[len(known) :]
    groups = _groups([[row[t]] if t in row else [] for t in corpus.tokens])
    return words, _expand(corpus.train, groups), _expand(corpus.test, groups)


# -- reviews -----------------------------------------------------------------------------------------


def _maas(folder: Path, part: str) -> list[tuple[str, int]]:
    """Reviews and classes of one part of the Large Movie Review Dataset, in the order of the file names."""
    out = []
    for label, sign in enumerate(("neg", "pos")):
        files = sorted((folder / part / sign).glob("*.txt"))
        if not files:
            raise ValueError(f"no reviews in {folder / part / sign}: {SOURCES[Name.imdb].get} again")
        out += [(text(f, content_of(f)), label) for f in files]
    return out


def _word_ids(path: Path) -> _Corpus:
    """A prepared file of word numbers: vocab, {train,test}_{ids,off,y}.

    Numbers 0 (padding) and 1 (unknown) are dropped.
    """
    arrays = [f"{part}_{key}" for part in ("train", "test") for key in ("ids", "off", "y")]
    z = read_npz(path, {"vocab": "U", **dict.fromkeys(arrays, "iu")})
    number: dict[str, int] = {}
    # words were split otherwise than GloVe's: don't is one number and becomes two tokens
    groups = _groups(
        [
            [number.setdefault(t, len(number)) for t in tokenise(str(w))] if i > 1 else []
            for i, w in enumerate(z["vocab"].ravel())
        ]
    )

    def part(name: str) -> Ragged:
        ids = integers(z[f"{name}_ids"].ravel(), "word numbers")
        off = integers(z[f"{name}_off"].ravel(), "offsets")
        y = integers(z[f"{name}_y"].ravel(), "classes")
        if len(ids) and not 0 <= ids.min() <= ids.max() < len(groups):
            raise ValueError(f"word number {ids.max()} of {len(groups)}")
        if len(y) and not 0 <= y.min() <= y.max() < len(SENTIMENT):
            raise ValueError("classes other than 0 and 1")
        return _expand(Ragged(ids.astype(np.int32), off, y), groups)

    parts = []
    for name in ("train", "test"):
        with reading(f"{path}, {name}"):
            parts.append(part(name))
    return _Corpus(list(number), *parts)


@_text_set(Name.imdb, tokens=128)
def imdb(root: Path) -> _Found:
    """Large Movie Review Dataset, 25,000 / 25,000 (Maas 2011).

    The folder aclImdb below ``data``, or a prepared ``imdb*.npz`` of word numbers.
    """
    folder = next((f for f in (root / "aclImdb", root) if (f / "train" / "pos").is_dir()), None)
    source = folder or first(root, "imdb*.npz")
    if source is None:
        raise ValueError(f"no aclImdb/train/pos in {root}: {SOURCES[Name.imdb].advice}")
    return source, _corpus(_maas(source, "train"), _maas(source, "test")) if folder else _word_ids(source)


# -- sst2 --------------------------------------------------------------------------------------------

#: folders that GLUE's archive and a clone from Hugging Face unpack to
FOLDERS = ("", "SST-2", "sst2", "data", "sst2/data")
#: in order of preference; the test part of GLUE has no labels, so its ``dev`` is to test on
PARTS = {
    "train": ("train.tsv", "train.tsv.gz", "train*.parquet"),
    "test": ("test.tsv", "test.tsv.gz", "dev.tsv", "dev.tsv.gz", "validation*.parquet"),
}


def _labelled(root: Path, part: str) -> tuple[Path, list[tuple[str, int]]]:
    """The first file of a part that has labels, and its phrases."""
    for folder in FOLDERS:
        for pattern in PARTS[part]:
            for path in sorted((root / folder).glob(pattern)):
                if phrases := _phrases(path):
                    return path, phrases
    raise ValueError(
        f"no {' or '.join(PARTS[part])} with the columns sentence and label in {root}: "
        f"{SOURCES[Name.sst2].advice}"
    )


def _phrases(path: Path) -> list[tuple[str, int]]:
    """Phrases and classes of a table with the columns ``sentence`` and ``label``; none without a label."""
    if path.suffix == ".parquet":
        return _parquet_phrases(path)
    out: list[tuple[str, int]] = []
    columns: list[str] = []
    for number, raw in enumerate(lines(path), 1):
        row = text(f"{path} line {number}", raw).rstrip("\r\n").split("\t")
        if not columns:
            columns = row
            if "sentence" not in columns:
                raise ValueError(
                    f"{path} has no column sentence: its first line must be sentence and label, with a tab "
                    "between them"
                )
            if "label" not in columns:
                return []
        elif len(row) != len(columns):
            raise ValueError(f"{path} line {number} has {len(row)} cells, its header {len(columns)}")
        else:
            out.append(
                _phrase(f"{path} line {number}", row[columns.index("sentence")], row[columns.index("label")])
            )
    return out


def _parquet_phrases(path: Path) -> list[tuple[str, int]]:
    part = Parquet().read(path, Columns("label", "sentence")).train
    assert isinstance(part.x, Texts)
    rows = zip(part.x.texts, part.labels.tolist(), strict=True)
    return [_phrase(f"{path} row {k}", sentence, str(label)) for k, (sentence, label) in enumerate(rows, 1)]


def _phrase(place: str, sentence: str, label: str) -> tuple[str, int]:
    if label not in ("0", "1"):
        raise ValueError(f"{place}: the label must be 0 (negative) or 1 (positive), not {label[:40]!r}")
    return sentence.strip(), int(label)


def _hold_out(phrases: list[tuple[str, int]], n: int) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Phrases to learn from, and ``n`` whole sentences to test on, for choosing settings.

    A sentence is a phrase that is part of no other. A phrase that occurs only in sentences held out is left
    out of both.
    """
    words = [tuple(text.split()) for text, _ in phrases]
    owners: dict[tuple[str, ...], list[int]] = {w: [] for w in words}  # the sentences that hold a phrase
    sentences: list[int] = []
    for i in sorted(range(len(words)), key=lambda i: -len(words[i])):
        w = words[i]
        if owners[w]:
            continue
        sentences.append(i)
        for start in range(len(w)):
            for end in range(start + 1, len(w) + 1):
                if (of := owners.get(w[start:end])) is not None:
                    of.append(i)
        owners[w] = owners[w] or [i]  # a phrase without words
    if not n < len(sentences):
        raise ValueError(
            f"validation_sentences must leave sentences to learn from, there are {len(sentences):,}: hold "
            "out fewer"
        )
    order = np.random.default_rng(VALIDATION_SEED).permutation(len(sentences)).tolist()
    held = {sentences[k] for k in order[:n]}
    learned = [phrases[i] for i, w in enumerate(words) if not held.issuperset(owners[w])]
    return learned, [phrases[i] for i in sorted(held)]


@_text_set(Name.sst2, tokens=64)
def sst2(root: Path, *, validation_sentences: int = 0) -> _Found:
    """Stanford Sentiment Treebank, two classes, as in GLUE (Socher 2013): training phrases, test sentences.

    The files train.tsv and dev.tsv of GLUE's SST-2, gzipped or not, or the Parquet files of Hugging Face's
    stanfordnlp/sst2, lie below ``data``.  The 872 test sentences are GLUE's development set, because its
    test set has no labels; a file test.tsv that has labels takes precedence.  ``validation_sentences``:
    number of sentences of the training file that stand for the test set, to choose settings by; phrases
    that occur only in them are left out.
    """
    check_int(validation_sentences, "validation_sentences", 0, MAX_ROWS)
    path, train = _labelled(root, "train")
    if validation_sentences:
        with reading(path):
            train, test = _hold_out(train, validation_sentences)
    else:
        _, test = _labelled(root, "test")
    return path, _corpus(train, test)
