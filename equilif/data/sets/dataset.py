"""Samples to train and to test on, whatever they were read from, and the digest that tells two sets apart."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from equilif.data import Name
from equilif.data.base.arrays import Bytes, Labels
from equilif_golden.fixed import SQ, as_array, integers, read_only, set_fields
from equilif_golden.network import MAX_NEURONS, MAX_PATTERNS, TokenRows

if TYPE_CHECKING:
    from equilif.data.encoding import Encoding
    from equilif.data.encoding.about import About


MAX_SEED = (1 << 32) - 1  #: of the generators that split and draw samples
VALIDATION_SEED = 99  #: seed of what is held out: the same samples for every seed of a run
#: any int16 is a code of a token's pattern: the network that loads it has the narrower format
PATTERN = SQ(16, 0)


@dataclass(frozen=True, kw_only=True)
class NamedSet:
    """A data set with a name, as a network was trained on it; About is that of own data.

    labels : names of the classes, by output
    shape : of an image, (height, width) or (height, width, colours); () of sequences
    digest : DataSet.digest
    loading : options of the loader of a set of sequences
    """

    name: str
    labels: tuple[str, ...]
    shape: tuple[int, ...] = ()
    digest: str
    loading: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name not in set(Name):
            raise ValueError(f"name must be one of {', '.join(Name)}, not {self.name!r}")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels must be names, each only once")


@dataclass(frozen=True)
class DataSet:
    """Inputs (n, features) are 8-bit values, labels (n,) class numbers from 0.

    A sequence has no inputs (n, 0) but tokens for an attention layer; ``words`` name the rows of their table.
    Pixels of an image lie row by row, the colours of a pixel side by side.
    ValueError when one of them is something else: what was made is what it promises.  Arrays are copied
    unless nothing can change them, and cannot be written to.
    """

    name: str
    x_train: Bytes
    y_train: Labels
    x_test: Bytes
    y_test: Labels
    tokens_train: TokenRows | None = None
    tokens_test: TokenRows | None = None
    words: tuple[str, ...] = ()
    about: About | None = None  #: of a user's own data: how they were read and scaled
    #: of images: (height, width), or (height, width, colours); () where it is not known, or they are none
    shape: tuple[int, ...] = ()
    classes: tuple[str, ...] = ()  #: names by number; () where classes are called by their numbers
    #: options of the loader that made it, of a set of sequences
    loading: Mapping[str, Any] = field(default_factory=dict)
    #: of the whole set, where this is a part of its training samples (:meth:`holding_out`)
    whole_set: About | NamedSet | None = None
    channels_first: bool = False  #: the values of an image lie channel by channel: event recordings

    @property
    def encoding(self) -> Encoding | None:
        """Encoding of a user's own data."""
        return None if self.about is None else self.about.encoding

    def __post_init__(self) -> None:
        try:
            x, y, tokens = _part("training", self.x_train, self.y_train, self.tokens_train)
            set_fields(self, x_train=x, y_train=y, tokens_train=tokens)
            x, y, tokens = _part("test", self.x_test, self.y_test, self.tokens_test, tokens)
            set_fields(self, x_test=x, y_test=y, tokens_test=tokens)
            self._check_parts()
        except ValueError as e:
            raise ValueError(f"data set {self.name!r}: {e}") from e

    def _check_parts(self) -> None:
        """Check that both parts agree; ValueError otherwise."""
        if self.x_train.shape[1] != self.x_test.shape[1]:
            raise ValueError(
                f"training samples have {self.x_train.shape[1]} inputs, test samples {self.x_test.shape[1]}"
            )
        if self.shape and (len(self.shape) not in (2, 3) or math.prod(self.shape) != self.x_train.shape[1]):
            raise ValueError(
                f"shape must be (height, width) or (height, width, colours) of {self.x_train.shape[1]} "
                f"inputs, not {self.shape}"
            )
        if self.y_train.min() == self.y_train.max():
            others = int((self.y_test != self.y_train[0]).sum())
            where = f", {others:,} of other classes are in the test part alone" if others else ""
            raise ValueError(
                f"all training samples ({len(self.y_train):,}) are of class {self.y_train[0]}{where}: at "
                "least two classes are needed"
            )
        if self.y_test.max() >= self.n_classes:
            raise ValueError(
                f"test samples have classes up to {self.y_test.max()}, training samples up to "
                f"{self.n_classes - 1}: a network has an output for each class that it was trained on"
            )
        if self.classes and len(self.classes) < self.n_classes:
            raise ValueError(f"{len(self.classes)} classes are named, labels go up to {self.n_classes - 1}")
        a = self.tokens_train
        b = self.tokens_test
        if a is None or b is None:
            if a is not b:
                raise ValueError("one part has tokens, the other has none")
            return
        if a.table.shape[1] != b.table.shape[1]:
            raise ValueError(f"training tokens have width {a.table.shape[1]}, test tokens {b.table.shape[1]}")
        if self.words and not len(self.words) == len(a.table) == len(b.table):
            raise ValueError(f"{len(self.words)} words do not name {len(a.table)} rows of the token table")

    @property
    def n_features(self) -> int:
        return int(self.x_train.shape[1])

    @property
    def image(self) -> tuple[int, int, int] | None:
        """Height, width and colours of a sample; None where samples are no images."""
        if not self.shape:
            return None
        height, width, colours = (*self.shape, 1)[:3]
        return height, width, colours

    @property
    def n_classes(self) -> int:
        return int(self.y_train.max()) + 1

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes by number: numbers as text where they have no others."""
        if self.about is not None:
            return self.about.labels
        return (self.classes or tuple(map(str, range(self.n_classes))))[: self.n_classes]

    @property
    def identity(self) -> About | NamedSet | None:
        """Record for networks trained on these samples; None if their origin is unknown."""
        if self.whole_set is not None:
            return self.whole_set
        if self.about is not None or self.name not in set(Name):
            return self.about
        return NamedSet(
            name=self.name,
            labels=self.class_names,
            shape=self.shape,
            digest=self.digest,
            loading=self.loading,
        )

    def encode(self, raw: Any) -> Bytes:
        """Inputs (n, features) of other samples, scaled as the training samples were.

        ``raw``: an array (n, ...), or a DataFrame with the columns of the training samples in any order.
        Values outside their range are clipped.  Of a data set without a scaling, 8-bit values as they are.
        ValueError for samples of another shape, for what is no finite number, and for series and texts.
        """
        if self.tokens_train is not None or self.about is not None and self.about.encoding.kind != "rows":
            raise ValueError(f"samples of {self.name} are series or texts: encode takes rows and images")
        if self.about is not None:
            return self.about.encode(raw, "raw").x
        values = as_array(raw, "raw", "numbers")
        values = values.reshape(len(values), -1) if values.ndim else values
        if values.dtype != np.uint8 or values.shape[1:] != (self.n_features,):
            raise ValueError(
                f"raw must be 8-bit values (n, {self.n_features}), as those of {self.name}, not "
                f"{values.dtype} {values.shape}"
            )
        return values

    def holding_out(self, n: int) -> DataSet:
        """The data set for choosing settings: ``n`` training samples replace the test set, the others stay.

        ValueError when none would be left.
        """
        if not 0 < n < len(self.x_train):
            raise ValueError(
                f"validation_samples must leave training samples, {self.name} has {len(self.x_train):,}: "
                "hold out fewer"
            )
        order = np.random.default_rng(VALIDATION_SEED).permutation(len(self.x_train))
        learned = order[:-n]
        held = order[-n:]
        tokens = self.tokens_train
        return replace(
            self,
            x_train=self.x_train[learned],
            y_train=self.y_train[learned],
            x_test=self.x_train[held],
            y_test=self.y_train[held],
            tokens_train=None if tokens is None else tokens.take(learned),
            tokens_test=None if tokens is None else tokens.take(held),
            whole_set=self.identity,
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hexadecimal) of inputs, labels and tokens of both parts.  Names do not count."""
        h = hashlib.sha256()
        _add(h, self.x_train, np.uint8)
        _add(h, self.y_train, np.int64)
        _add(h, self.x_test, np.uint8)
        _add(h, self.y_test, np.int64)
        for tokens in (self.tokens_train, self.tokens_test):
            if tokens is not None:
                _add(h, tokens.table, np.int16)
                _add(h, tokens.rows, np.int32)
                _add(h, tokens.off, np.int64)
        return h.hexdigest()


def part_digest(x: Bytes, y: Labels, tokens: TokenRows | None) -> str:
    """SHA-256 (hexadecimal) of the samples of one part: of sequences by their patterns, not by their rows,
    since the table is that of both parts.
    """
    h = hashlib.sha256()
    _add(h, x, np.uint8)
    _add(h, y, np.int64)
    if tokens is not None:
        _add(h, tokens.table[tokens.rows], np.int16)
        _add(h, tokens.off, np.int64)
    return h.hexdigest()


def _part(
    part: str, x: Bytes, y: Labels, tokens: TokenRows | None, others: TokenRows | None = None
) -> tuple[Bytes, Labels, TokenRows | None]:
    """Inputs, labels and tokens of one part, read-only; ValueError unless :class:`DataSet` takes them.

    ``others``: tokens that were copied before, whose table may be the same.
    """
    if not isinstance(x, np.ndarray) or x.dtype != np.uint8:
        integers(x, f"{part} inputs", 0, 255)  # says what is wrong with the values
        raise ValueError(f"{part} inputs must be a uint8 array: np.asarray(x, np.uint8)")
    x = as_array(x, f"{part} inputs", "integers")
    if x.ndim != 2:
        raise ValueError(f"{part} inputs must have shape (samples, features), not {x.shape}")
    labels = integers(y, f"{part} labels", 0, MAX_NEURONS - 1)
    if not isinstance(y, np.ndarray) or labels.shape != (len(x),):
        raise ValueError(
            f"{part} labels must be an array of shape {(len(x),)}, one a sample, not {labels.shape}"
        )
    if not len(x):
        raise ValueError(f"there is no {part} sample")
    if tokens is None:
        if not x.shape[1]:
            raise ValueError(f"{part} samples have neither inputs nor tokens")
        return read_only(x), read_only(labels), None
    width = np.shape(tokens.table)[1] if np.ndim(tokens.table) == 2 else 0
    tokens = tokens.checked(MAX_PATTERNS, width, PATTERN)
    if tokens.n_samples != len(x):
        raise ValueError(f"{part} tokens are of {tokens.n_samples} samples, its labels of {len(x)}")
    table = read_only(tokens.table)
    if others is not None and np.array_equal(table, others.table):
        table = others.table
    return read_only(x), read_only(labels), TokenRows(table, read_only(tokens.rows), read_only(tokens.off))


def _add(h: hashlib._Hash, array: npt.NDArray[np.generic], dtype: type[np.generic]) -> None:
    """An array's shape and its values as ``dtype``, the same on every machine."""
    h.update(repr((np.dtype(dtype).name, array.shape)).encode())
    h.update(np.ascontiguousarray(array, np.dtype(dtype).newbyteorder("<")).data)
