"""Data of one's own: a file, a folder or arrays in, a data set that a network can learn from out.

    data = load("wine.csv", label="kind")
    data = of(x, y)

What was read and fitted goes with the data set (``data.about``), and from there into the network's file, so
that other samples are read and scaled in the same way.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from equilif.data import Name, encoding, formats
from equilif.data.about import About, check_hold_out
from equilif.data.dataset import DataSet, Labels
from equilif.data.encoding import Encoding
from equilif.data.formats import Columns, Content, Part, Series
from equilif.data.given import given
from equilif.data.reading import reading
from equilif.data.scaling import FULL, Missing, Scaling, fit, fit_tokens, name_of, named_missing
from equilif_golden import network as networks
from equilif_golden.blocks.relay import FRACTION
from equilif_golden.fixed import DEFAULT
from equilif_golden.network import TokenRows

GIVEN = "given in Python"  #: in place of a format
HOLD_OUT = 0.2
SPLIT_SEED = 0  #: which samples are held out does not depend on the seed of a training run
MOST_CLASSES = 1024
MOST_NAME = 100  #: characters of a class


@dataclass(frozen=True)
class Found:
    """A data set, and what its user should know of it."""

    data: DataSet
    format: str
    names: tuple[str, ...]
    missing: int  #: values that were not there, both parts
    clipped: tuple[int, int]  #: values beyond the scale, training and test part
    raw: Part  #: training samples as they were read
    raw_test: Part
    notes: tuple[str, ...] = ()

    @property
    def about(self) -> About:
        assert self.data.about is not None
        return self.data.about


# -- in --------------------------------------------------------------------------------------------
def load(path: str | Path, **options: Any) -> DataSet:
    """A file or folder as a data set; options are those of :func:`read`."""
    return read(path, **options).data


def read(
    path: str | Path,
    *,
    label: str | None = None,
    text: str | None = None,
    hold_out: float | None = None,
    test: str | Path | None = None,
    missing: Missing = "refuse",
    memory: bool = False,
    vectors: str | Path | None = None,
    name: str | None = None,
) -> Found:
    """A file or folder, split, encoded and scaled.

    ``label``: column of the classes, for a table; ``text``: column of the texts, where it holds some.
    ``memory``: texts, series and recordings as tokens of a memory; ``vectors``: file of the word vectors for
    it, those of the installed package unless given.  ``test``: a second file to test on.  ``hold_out``: part
    of each class to test on, HOLD_OUT unless there is a test part.  ``missing``: "mean" fills missing values
    with the training mean.  ``name`` of the data set: that of the file unless given.

    ValueError of one line that names the file, what is wrong, and the way out.
    """
    path = Path(path)
    columns = Columns(label, text)
    known, content = formats.read(path, columns)
    if test is not None:
        content = _with_test(path, content, Path(test), columns)
    with reading(path):
        return _found(
            content,
            About(
                path=str(path.resolve()),
                format=known.name,
                label=label,
                text=text,
                test=None if test is None else str(Path(test).resolve()),
                hold_out=_hold_out(content, hold_out),
                labels=_classes(content),
                shape=content.shape,
                scaling=_NOTHING,
            ),
            _Wanted(missing, memory, vectors),
            name or path.resolve().name,
        )


def of(
    x: Any,
    y: Any = None,
    x_test: Any = None,
    y_test: Any = None,
    *,
    label: str | None = None,
    text: str | None = None,
    hold_out: float | None = None,
    missing: Missing = "refuse",
    memory: bool = False,
    vectors: str | Path | None = None,
    name: str = "data",
) -> DataSet:
    """What Python has already as a data set; options as in :func:`read`.  ``x`` and ``x_test`` are

        an array      numbers (n, ...), NaN where one is missing
        a DataFrame   of pandas or polars; its column ``label`` holds the classes, ``text`` the texts
        a Dataset     of torch, or anything else that hands out pairs of a sample and its class; without y
        a list        of texts, or of series (steps, channels) of different lengths

    ``y`` and ``y_test`` are the classes (n,), whole numbers or texts.  ValueError says what is
    something else.
    """
    content = given(x, y, x_test, y_test, Columns(label, text))
    if any(np.isinf(part.numbers).any() for part in content.parts):
        raise ValueError("x has values that are infinite: inputs must be finite numbers")
    about = About(
        path=name,
        format=GIVEN,
        label=label,
        text=text,
        hold_out=_hold_out(content, hold_out),
        labels=_classes(content),
        shape=content.shape,
        scaling=_NOTHING,
    )
    return _found(content, about, _Wanted(missing, memory, vectors), name).data


# -- again -----------------------------------------------------------------------------------------
def again(about: About, path: Path | None = None, *, name: str | None = None) -> DataSet:
    """The data set that ``about`` is of, from its file or from where it is now (``path``).

    ValueError when it is not there, or has another digest.
    """
    place = _place(about, path)
    data = load(
        place,
        label=about.label,
        text=about.text,
        hold_out=about.hold_out,
        test=about.test,
        missing=about.scaling.missing,
        memory=about.encoding.memory,
        vectors=about.encoding.vectors,
        name=name,
    )
    if data.digest != about.digest:
        raise ValueError(
            f"{place} is not the data that the network was trained on: digest {data.digest[:12]}, not "
            f"{about.digest[:12]}; give the path of its own data, or train a new network on these"
        )
    return data


@dataclass(frozen=True)
class Samples:
    """Samples to evaluate: inputs (n, inputs), labels (n,), tokens for a memory; ``what`` they are."""

    x: npt.NDArray[np.uint8]
    y: Labels
    what: str
    clipped: int
    tokens: TokenRows | None = None


def samples(about: About, path: Path | None = None) -> Samples:
    """What a network is evaluated on, encoded and scaled as it was trained.

    Its own test part: without ``path``, or when ``path`` holds the data that it was trained on.  Of another
    file the test part when it has one, else all samples.
    """
    if path is None or str(path.resolve()) == about.path:
        return _kept(again(about, path))
    _, content = formats.read(path, Columns(about.label, about.text))
    with reading(path):
        if about.encoding.kind == "rows":
            content = _ordered(content, about.scaling.names)
        if about.test is None and (same := _same(content, about)) is not None:
            return same
        part = content.test or content.train
        made = _made(about, (part,), ("samples",))
        y = _numbered(part.labels, about.labels)
    kind = "test" if content.test else ""
    what = f"{len(y):,} {kind} samples of {path}".replace("  ", " ")
    return Samples(made.x[0], y, what, made.clipped[0], made.tokens[0])


def _kept(data: DataSet) -> Samples:
    """The test part of a network's own data."""
    return Samples(data.x_test, data.y_test, f"{len(data.y_test):,} test samples", 0, data.tokens_test)


def _same(content: Content, about: About) -> Samples | None:
    """The test part when a content is what the network was trained on, else None."""
    if about.hold_out is None and content.test is None:
        return None
    wanted = _Wanted(about.scaling.missing, about.encoding.memory, about.encoding.vectors)
    try:
        data = _found(content, dataclasses.replace(about, digest=""), wanted, "").data
    except ValueError:  # it cannot be trained on, so it is something else
        return None
    return _kept(data) if data.digest == about.digest else None


def _place(about: About, path: Path | None) -> Path:
    place = Path(about.path) if path is None else path
    if about.format == GIVEN and path is None:
        raise ValueError("the network was trained on data given in Python: give a file with the samples")
    if not place.exists():
        raise ValueError(f"there is no {place}, which holds the data: give the path where they are now")
    return place


# -- on the way ------------------------------------------------------------------------------------
_NOTHING = fit(np.array([[0.0], [1.0]]), (), alike=False, missing="refuse")


def _with_test(path: Path, content: Content, test: Path, columns: Columns) -> Content:
    """A content with the samples of a second file to test on."""
    if content.test is not None:
        raise ValueError(f"{path} has a test part of its own: leave out --test")
    _, other = formats.read(test, columns)
    if other.test is not None:
        raise ValueError(f"{test} has parts of its own: --test is a file of samples to test on")
    with reading(test):
        other = _ordered(other, content.names)
        if other.shape != content.shape:
            raise ValueError(f"its samples have shape {other.shape}, those of {path} {content.shape}")
    return content.with_test(other.train)


def _ordered(content: Content, names: tuple[str, ...]) -> Content:
    """The content with its columns in the order of ``names``; ValueError when it has others."""
    if content.names == names or not names:
        return content
    missing = [n for n in names if n not in content.names]
    strange = [n for n in content.names if n not in names]
    if missing or strange:
        told = [f"it has no column {', '.join(map(repr, missing[:3]))}"] if missing else []
        told += [f"it has {', '.join(map(repr, strange[:3]))}, which training has not"] if strange else []
        raise ValueError(f"{'; '.join(told)}: columns must be those that the network was trained on")
    order = [content.names.index(n) for n in names]
    parts = [Part(p.numbers[:, order], p.labels) for p in content.parts]
    test = parts[1] if len(parts) > 1 else None
    return dataclasses.replace(content, train=parts[0], test=test, names=names)


def _hold_out(content: Content, asked: float | None) -> float | None:
    """The part to hold out, None when there is a test part."""
    if content.test is None:
        return check_hold_out(HOLD_OUT if asked is None else asked)
    if asked is not None:
        raise ValueError("there is a test part already: leave out --hold-out")
    return None


def _classes(content: Content) -> tuple[str, ...]:
    """Names of the classes: numbers by size, else texts by alphabet; ValueError when they are none."""
    found = [str(name) for name in np.unique(content.train.labels)]
    if len(found) < 2:
        raise ValueError(f"all training samples are of class {found[0]!r}: there is nothing to tell apart")
    if len(found) > MOST_CLASSES or len(found) > max(2, len(content.train.labels) // 2):
        raise ValueError(
            f"{len(found):,} classes for {len(content.train.labels):,} samples: labels must be classes that "
            "come again, not measurements or names of samples"
        )
    for name in found:
        if not name.strip() or len(name) > MOST_NAME or not name.isprintable():
            raise ValueError(f"a class must be a short text of one line, not {name[:40]!r}")
    return tuple(sorted(found, key=lambda n: (0, int(n), "") if n.isdecimal() else (1, 0, n)))


def _numbered(labels: npt.NDArray[np.str_], classes: tuple[str, ...]) -> Labels:
    """Names of classes as numbers; ValueError for a class that training does not have."""
    numbers = {name: k for k, name in enumerate(classes)}
    strange = [str(n) for n in np.unique(labels) if str(n) not in numbers]
    if strange:
        raise ValueError(
            f"there are samples of {', '.join(map(repr, strange[:3]))}, a class that training has not: "
            f"classes are {', '.join(classes[:12])}"
        )
    return np.array([numbers[str(n)] for n in labels], np.int64)


def split(y: Labels, part: float, classes: tuple[str, ...]) -> tuple[Labels, Labels]:
    """Positions (n,) to train and to test on: of each class about ``part`` is held out, one at least."""
    rng = np.random.default_rng(SPLIT_SEED)
    held = np.zeros(len(y), bool)
    for k, name in enumerate(classes):
        at = rng.permutation(np.flatnonzero(y == k))
        if len(at) < 2:
            raise ValueError(
                f"class {name!r} has one sample: two are needed, one to train and one to test on; add some, "
                "leave it out, or give a file to test on with --test"
            )
        held[at[: min(len(at) - 1, max(1, round(part * len(at))))]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


@dataclass(frozen=True)
class _Wanted:
    """What was asked for beyond the content."""

    missing: Missing = "refuse"
    memory: bool = False
    vectors: str | Path | None = None


class _Made(NamedTuple):
    """Inputs and tokens of several parts, and how many of their values are beyond the scale."""

    x: list[npt.NDArray[np.uint8]]
    tokens: list[TokenRows | None]
    clipped: list[int]
    words: tuple[str, ...]


def _found(content: Content, about: About, wanted: _Wanted, name: str) -> Found:
    """A content split, encoded, scaled and numbered."""
    train, test = _split(content, about)
    gone = sum(int(np.isnan(p.numbers).sum()) for p in (train, test) if p.numbers.dtype.kind == "f")
    about = _fitted(content, about, train, wanted)
    made = _made(about, (train, test), ("training samples", "test samples"))
    y = _numbered(train.labels, about.labels)
    y_test = _numbered(test.labels, about.labels)
    data = DataSet(name, made.x[0], y, made.x[1], y_test, made.tokens[0], made.tokens[1], made.words)
    about = dataclasses.replace(about, digest=data.digest)
    networks.check_about(dataclasses.asdict(about))
    clipped = (made.clipped[0], made.clipped[1])
    notes = (*content.notes, *_notes(about, data, train, clipped, gone))
    return Found(
        dataclasses.replace(data, about=about),
        about.format,
        about.scaling.names,
        gone,
        clipped,
        train,
        test,
        notes,
    )


def _split(content: Content, about: About) -> tuple[Part, Part]:
    """What to train and what to test on."""
    if content.test is not None:
        return content.train, content.test
    assert about.hold_out is not None
    at, held = split(_numbered(content.train.labels, about.labels), about.hold_out, about.labels)
    return content.train.take(at), content.train.take(held)


def _fitted(content: Content, about: About, train: Part, wanted: _Wanted) -> About:
    """With encoding and scaling of the training samples; ValueError when no network takes them."""
    code = encoding.fit(train.x, memory=wanted.memory, vectors=wanted.vectors)
    names = code.names(content.names)
    if code.memory:
        tokens = code.tokens((train.x,))
        values = tokens.values[tokens.parts[0].rows]
        if code.kind == "texts":  # a text without a known word has no value
            values = values[~np.isnan(values).any(axis=1)]
        scaling = fit_tokens(values, names, missing=wanted.missing)
    else:
        alike = content.alike or code.kind == "texts"
        scaling = fit(
            code.rows(train.x),
            names,
            alike=alike,
            missing=wanted.missing,
            standard=code.kind == "series",
        )
        _check_inputs(scaling, len(about.labels))
    return dataclasses.replace(about, encoding=code, scaling=scaling)


def _check_inputs(scaling: Scaling, classes: int) -> None:
    """ValueError when there are more inputs than a hidden neuron can hear, beside its bias and the output."""
    most = DEFAULT.max_fan_in - 1 - classes
    if scaling.n_inputs > most:
        rails = f" ({scaling.width:,} values, those with a sign twice)" * (scaling.n_inputs > scaling.width)
        raise ValueError(
            f"a sample becomes {scaling.n_inputs:,} inputs{rails}, more than the {most:,} that a "
            "neuron hears: leave out columns, or make images smaller"
        )


def _made(about: About, parts: tuple[Part, ...], what: tuple[str, ...]) -> _Made:
    """What a network gets of some parts, as it was fitted."""
    if not about.encoding.memory:
        scaled = [about.scaling.apply(about.encoding.rows(p.x), w) for p, w in zip(parts, what, strict=True)]
        return _Made([s.x for s in scaled], [None] * len(parts), [s.clipped for s in scaled], ())
    tokens = about.encoding.tokens([p.x for p in parts])
    values = tokens.values
    if about.encoding.kind == "texts":  # the last row stands for a text without a known word
        values = np.where(np.isnan(values), [c.mean for c in about.scaling.columns], values)
    codes = np.concatenate((about.scaling.codes(values, what[-1]), tokens.places), axis=1)
    table = codes.astype(np.int16) << (DEFAULT.fraction - FRACTION)
    return _Made(
        [np.zeros((len(p.x), 0), np.uint8) for p in parts],
        [TokenRows(table, r.rows, r.off) for r in tokens.parts],
        [0] * len(parts),
        tokens.words,
    )


def _notes(about: About, data: DataSet, train: Part, clipped: tuple[int, int], gone: int) -> Iterator[str]:
    """What a user should know of encoding and scaling."""
    yield from _encoded(about.encoding, data, train)
    s = about.scaling
    if s.kind == "bytes":
        yield "8-bit whole numbers, taken as they are"
    elif s.kind == "common" and about.encoding.kind != "texts":
        c = s.columns[0]
        rails = ", on two rails (positive and negative part)" if c.kind == "rails" else ""
        yield f"one scale for all values, {c.low:g} to {c.high:g}{rails}"
    elif about.encoding.kind == "series" and s.kind == "columns":
        yield f"each span of a channel standardised, +-{FULL:g} deviations on two rails"
    elif s.kind == "columns":
        signed = sum(c.kind == "rails" for c in s.columns)
        yield "each column by its training range" + (f", {signed} with a sign on two rails" if signed else "")
    if s.dropped:
        yield f"left out, because they never change: {', '.join(s.dropped)}"
    if gone:
        of_training = named_missing(np.isnan(train.numbers), _read_names(about))
        yield f"{gone:,} missing values filled with the training mean ({of_training} of the training part)"
    if any(clipped):
        yield f"beyond the scale and clipped: {clipped[0]:,} training and {clipped[1]:,} test values"


def _encoded(code: Encoding, data: DataSet, train: Part) -> Iterator[str]:
    """How samples become inputs or tokens."""
    if code.kind == "texts" and not code.memory:
        empty = int((data.x_train.max(axis=1) == 0).sum() + (data.x_test.max(axis=1) == 0).sum())
        said = f"; {empty:,} texts have none of them" if empty else ""
        yield f"an input for each of {len(code.words):,} words of the training part: is it there?{said}"
    elif code.kind == "texts":
        yield f"the first {code.steps} words of a text that have a vector are tokens of a memory"
    elif isinstance(train.x, Series):
        length = np.diff(train.x.off)
        said = f"{length.min()} to {length.max()}" if length.min() < length.max() else str(length[0])
        what = "tokens of a memory" if code.memory else "spans"
        at_most = "at most " * code.memory
        yield f"series of {said} steps, each as {at_most}{code.steps} {what}: means over its steps"


def _read_names(about: About) -> tuple[str, ...]:
    """Names of the columns as they were read; channels of series have none."""
    return about.scaling.names if about.encoding.kind == "rows" else ()


def ranges(found: Found) -> list[tuple[str, float, float, int, str]]:
    """Of every column or channel that was read: name, smallest and largest training value, missing values,
    and what becomes of it.  Texts have none.
    """
    s = found.about.scaling
    x = found.raw.numbers.astype(np.float64)
    by_column = s.kind == "columns" and found.about.encoding.kind == "rows"
    told: list[tuple[str, float, float, int, str]] = []
    for k in range(x.shape[1] if len(x) else 0):
        kind: str = s.columns[k].kind if by_column else s.kind
        values = x[:, k][~np.isnan(x[:, k])]
        gone = len(x) - len(values)
        name = name_of(_read_names(found.about), k)
        if not by_column and found.about.encoding.kind == "series":
            name = name.replace("column", "channel")
        told.append((name, float(values.min()), float(values.max()), gone, kind))
    return told


def is_square(data: DataSet) -> bool:
    """Whether own data are images that can be moved by a pixel."""
    shape = () if data.about is None else data.about.shape
    return len(shape) == 2 and shape[0] == shape[1] and data.tokens_train is None


# -- names -----------------------------------------------------------------------------------------
def chosen(text: str) -> Name | Path:
    """A data set of the table by its name, else a file or folder; ``./digits`` is a folder.

    ValueError when it is neither.
    """
    if text in set(Name):
        return Name(text)
    path = Path(text)
    if not text or not path.exists():
        raise ValueError(
            f"data must be one of {', '.join(Name)}, or a file or folder of your own; there is no {text!r}"
        )
    return path
