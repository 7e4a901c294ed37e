"""Text as a sequence of characters, for networks that predict the next one."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self
from unicodedata import normalize

import numpy as np

from equilif.data.base.arrays import Bytes, Longs
from equilif.data.base.reading import content_of
from equilif.data.base.reading import text as decoded
from equilif_golden.files import printable
from equilif_golden.fixed import check_int, set_fields, short_repr

MAX_SYMBOLS = 256
POSITIONS = 64  #: of a sequence, if nothing else is said
PATTERN = "*.txt"  #: names of files in folders, likewise
OTHER = "\N{REPLACEMENT CHARACTER}"  #: all characters that are not in the alphabet
VALIDATION = 10  #: the last 1 / VALIDATION of the characters are for validation
MAX_BYTES = 1 << 30


@dataclass(frozen=True)
class Alphabet:
    """Characters by number; the last one is OTHER."""

    characters: str

    def __post_init__(self) -> None:
        found = self.characters
        unique = isinstance(found, str) and len(set(found)) == len(found)
        if not unique or not found.endswith(OTHER) or not 2 <= len(found) <= MAX_SYMBOLS:
            raise ValueError(
                f"an alphabet is 2 to {MAX_SYMBOLS} different characters, the last {OTHER!r}, not "
                f"{short_repr(found)}"
            )
        set_fields(self, _number={c: k for k, c in enumerate(found)})

    @classmethod
    def of(cls, text: str, size: int) -> Self:
        """The ``size - 1`` most frequent characters of a text."""
        counts = Counter(text)
        counts.pop(OTHER, None)
        frequent = sorted(counts, key=lambda c: (-counts[c], c))[
            : check_int(size, "symbols", 2, MAX_SYMBOLS) - 1
        ]
        return cls("".join(sorted(frequent)) + OTHER)

    def __len__(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> Bytes:
        """Numbers (n,) of the characters of a text."""
        number: dict[str, int] = self._number  # type: ignore[attr-defined]
        other = len(self) - 1
        return np.fromiter((number.get(c, other) for c in text), np.uint8, len(text))

    def unknown(self, text: str) -> str:
        """Characters of a text that are not in the alphabet, each once."""
        return "".join(sorted(set(text) - set(self.characters)))

    def decode(self, codes: Iterable[int]) -> str:
        return "".join(self.characters[k] for k in codes)


@dataclass(frozen=True, kw_only=True)
class TextFiles:
    """Files of a text, as a network was trained on it.

    ``paths``: files, or folders with files whose names match ``pattern``; () where they are not known.
    ``characters``: its alphabet.
    """

    task: Literal["next-character"] = "next-character"
    characters: str
    paths: tuple[str, ...] = ()
    pattern: str = PATTERN

    def __post_init__(self) -> None:
        Alphabet(self.characters)

    def again(self, paths: Sequence[Path], positions: int, name: str) -> Text:
        """The text of this ``name``, from its files or from where they are now (``paths``)."""
        found = paths or [Path(p) for p in self.paths]
        if not found:
            raise ValueError(f"the run does not record the files of {name}: give the text")
        symbols = len(self.characters)
        return read(found, pattern=self.pattern, symbols=symbols, positions=positions, name=name)


@dataclass(frozen=True)
class Text:
    """Numbers of the characters to train on and to validate with, in sequences of ``positions``.

    ``paths``, ``pattern``: as of TextFiles.
    """

    alphabet: Alphabet
    train: Bytes
    validation: Bytes
    positions: int = POSITIONS
    paths: tuple[str, ...] = ()
    pattern: str = PATTERN
    name: str = "text"

    @property
    def about(self) -> TextFiles:
        return TextFiles(characters=self.alphabet.characters, paths=self.paths, pattern=self.pattern)

    identity = about

    @property
    def n_features(self) -> int:
        """Inputs of a network for these sequences, and its outputs."""
        return self.positions * len(self.alphabet)

    @property
    def digest(self) -> str:
        """SHA-256 of the alphabet, and of both parts in their order."""
        h = hashlib.sha256(self.alphabet.characters.encode())
        for part in (self.train, self.validation):
            h.update(f"\0{len(part)}\0".encode() + part.tobytes())
        return h.hexdigest()


def normalised(text: str) -> str:
    """A text as networks read it: no byte-order mark, ``\\n`` between lines, characters composed (NFC)."""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return normalize("NFC", lines)


def files_of(paths: Sequence[Path], pattern: str) -> list[Path]:
    """The files, and those below folders whose names match ``pattern``, sorted."""
    found: list[Path] = []
    for path in paths:
        inside = sorted(p for p in path.rglob(pattern) if p.is_file()) if path.is_dir() else [path]
        if not inside:
            raise ValueError(f"no file below {path} matches {pattern}: give another --pattern")
        found += inside
    return found


def read(
    paths: Sequence[Path],
    *,
    pattern: str = PATTERN,
    symbols: int = 96,
    positions: int = POSITIONS,
    name: str | None = None,
) -> Text:
    """Files of UTF-8 text in a fixed random order; the last tenth of the characters is for validation.

    ``name``: of the text; None: that of the first path.  ValueError for files that are no text, or too short
    for sequences of ``positions`` + 1 characters.
    """
    files = files_of(paths, pattern)
    parts = []
    size = 0
    for k in np.random.default_rng(0).permutation(len(files)).tolist():
        size += files[k].stat().st_size
        if size > MAX_BYTES:
            raise ValueError(f"{files[k]}: the texts have more than {MAX_BYTES:,} bytes: give fewer files")
        parts.append(normalised(decoded(files[k], content_of(files[k]))))
    text = "".join(parts)
    shortest = VALIDATION * (positions + 1)
    if len(text) < shortest:
        raise ValueError(
            f"the text has {len(text):,} characters, at least {shortest:,} are needed for sequences of "
            f"{positions}: give more text, or fewer positions"
        )
    alphabet = Alphabet.of(text, symbols)
    codes = alphabet.encode(text)
    split = len(codes) - len(codes) // VALIDATION
    places = tuple(str(path.absolute()) for path in paths)
    name = name or printable(paths[0].absolute().name)
    return Text(alphabet, codes[:split], codes[split:], positions, places, pattern, name)


def windows(codes: Bytes, starts: Longs, length: int) -> Bytes:
    """Sequences (n, length) of a text, from ``starts`` (n,)."""
    return np.lib.stride_tricks.sliding_window_view(codes, length)[starts]


def one_hot(codes: Bytes, symbols: int) -> Bytes:
    """Inputs (n, positions x symbols) of sequences (n, positions): 255 at the character of each position."""
    x = np.zeros((*codes.shape, symbols), np.uint8)
    np.put_along_axis(x, codes[..., None].astype(np.int64), 255, -1)
    return x.reshape(len(codes), -1)
