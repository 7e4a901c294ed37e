"""Building a data set of the content of a file: split, encode, scale and number it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from equilif.data import Name, encoding
from equilif.data.base.arrays import Labels
from equilif.data.base.reading import path_of
from equilif.data.encoding.about import About
from equilif.data.encoding.scaling import FittedScaling, Missing, fit, fit_channels, fit_tokens, name_of
from equilif.data.encoding.sensor import WindowSize
from equilif.data.formats import Content, Part, SoundFolders
from equilif.data.own.parts import numbered, split
from equilif.data.own.summary import notes
from equilif.data.sets.dataset import DataSet, part_digest
from equilif_golden import network as networks
from equilif_golden.blocks.relay import FRACTION
from equilif_golden.fixed import DEFAULT, MAX_ACCUMULATOR, check_bool, check_choice
from equilif_golden.front_end.tokens import MEAN_UNIT
from equilif_golden.network import TokenRows

#: in the place of a scaling until there is one
NO_SCALING = fit(np.array([[0.0], [1.0]]), (), alike=False, missing="refuse")


@dataclass(frozen=True)
class LoadedData:
    """A data set, and what its user should know of it."""

    data: DataSet
    format: str
    missing: int  #: values that were not there, both parts
    clipped: tuple[int, int]  #: values beyond the scale, training and test part
    raw: Part  #: training samples as they were read
    raw_test: Part
    notes: tuple[str, ...] = ()
    reading_notes: tuple[str, ...] = ()  #: those of the reader: what it converted or left out

    @property
    def about(self) -> About:
        assert self.data.about is not None
        return self.data.about


@dataclass(frozen=True)
class LoadOptions:
    """Options of reading own data; ValueError for invalid values."""

    missing: Missing = "refuse"
    attention: bool = False
    front_end: bool = False
    window: int | None = None
    windows: int | None = None
    word_vectors: str | Path | None = None

    def __post_init__(self) -> None:
        check_choice(self.missing, "missing", get_args(Missing))
        check_bool(self.attention, "attention")
        check_bool(self.front_end, "front_end")
        if not self.front_end and not self.window is self.windows is None:
            raise ValueError("data.window and data.windows are for a sensor: give data.front_end=true too")
        if self.word_vectors is not None:
            path_of(self.word_vectors, "word_vectors")


class EncodedData(NamedTuple):
    """Inputs, class numbers and tokens of several parts, and how many values are beyond the scale."""

    x: list[npt.NDArray[np.uint8]]
    y: list[Labels]
    tokens: list[TokenRows | None]
    clipped: list[int]
    words: tuple[str, ...] = ()


def make(
    content: Content, about: About, options: LoadOptions, name: str, scaling: FittedScaling | None = None
) -> LoadedData:
    """A content split, encoded, scaled and numbered; ``scaling``: in place of one fitted to rows.

    ``name``: "digits" becomes "own-digits", as all names of the named data sets.
    """
    if name in set(Name):
        name = f"own-{name}"
    train, test = _parted(content, about)
    gone = sum(int(np.isnan(p.numbers).sum()) for p in (train, test) if p.numbers.dtype.kind == "f")
    if scaling is None:
        about = _fitted(content, about, train, options)
    else:
        about = dataclasses.replace(about, scaling=scaling)
        _check_inputs(scaling, len(about.labels))
    parts = encoded(about, (train, test), ("training samples", "test samples"))
    y, y_test = parts.y
    data = DataSet(name, parts.x[0], y, parts.x[1], y_test, parts.tokens[0], parts.tokens[1], parts.words)
    about = dataclasses.replace(about, digest=data.digest)
    if about.test is not None:
        about = dataclasses.replace(about, digest_train=part_digest(data.x_train, y, data.tokens_train))
    networks.check_about(dataclasses.asdict(about))
    clipped = (parts.clipped[0], parts.clipped[1])
    return LoadedData(
        dataclasses.replace(data, about=about, shape=about.image, channels_first=about.channels_first),
        about.format,
        gone,
        clipped,
        train,
        test,
        (*content.notes, *notes(about, data, train, clipped, gone)),
        content.notes,
    )


def _parted(content: Content, about: About) -> tuple[Part, Part]:
    """Training and test part."""
    if content.test is not None:
        return content.train, content.test
    assert about.test_fraction is not None
    at, held = split(numbered(content.train.labels, about.labels), about.test_fraction, about.labels)
    return content.train.take(at), content.train.take(held)


def _fitted(content: Content, about: About, train: Part, options: LoadOptions) -> About:
    """Fit encoding and scaling to the training samples; ValueError when no network takes them."""
    words = options.front_end and about.format == SoundFolders.name
    if words and not options.window is options.windows is None:
        raise ValueError("data.window and data.windows are for a sensor, these are recordings of words")
    code = encoding.fit(
        train.x,
        attention=options.attention or words,
        front_end=words,
        sensor=_window(options) if options.front_end and not words else None,
        word_vectors=options.word_vectors,
    )
    names = code.names(content.names)
    if code.sensor is not None:
        rows = code.samples(train.x, "training samples").values
        scaling = fit_channels(rows, code.sensor.channels, names)
        _check_inputs(scaling, len(about.labels))
    elif code.attention:
        tokens = code.tokens((train.x,))
        values = tokens.values[tokens.parts[0].rows]
        if code.kind == "texts":  # a text without a known word has no value
            values = values[~np.isnan(values).any(axis=1)]
        scaling = fit_tokens(values, names, missing=options.missing)
    else:
        alike = content.alike or code.kind == "texts"
        scaling = fit(
            code.rows(train.x), names, alike=alike, missing=options.missing, standard=code.kind == "series"
        )
        _check_inputs(scaling, len(about.labels))
    return dataclasses.replace(about, encoding=code, scaling=scaling)


def _window(options: LoadOptions) -> WindowSize:
    """The window of a sensor, by default the boards'."""
    given = {"window": options.window, "windows": options.windows}
    return WindowSize(**{name: value for name, value in given.items() if value is not None})


def _check_inputs(scaling: FittedScaling, classes: int) -> None:
    """ValueError when the inputs, the bias and the outputs exceed the maximum fan-in of a hidden neuron."""
    widest = dataclasses.replace(DEFAULT, accumulator_width=MAX_ACCUMULATOR)
    most = widest.max_fan_in - 1 - classes
    if scaling.n_inputs > most:
        rails = f" ({scaling.width:,} values, those with a sign twice)" * (scaling.n_inputs > scaling.width)
        raise ValueError(
            f"a sample becomes {scaling.n_inputs:,} inputs{rails}, more than the maximum fan-in, {most:,}: "
            "leave out columns or channels, or make images smaller"
        )


def encoded(about: About, parts: tuple[Part, ...], what: tuple[str, ...]) -> EncodedData:
    """Parts as network inputs, by a fitted encoding and scaling."""
    y = [numbered(p.labels, about.labels) for p in parts]
    if about.encoding.sensor is not None:
        found = [about.encoding.samples(p.x, w) for p, w in zip(parts, what, strict=True)]
        scaled = [about.scaling.apply(f.values, w) for f, w in zip(found, what, strict=True)]
        return EncodedData(
            [s.x for s in scaled],
            [np.repeat(k, f.counts) for k, f in zip(y, found, strict=True)],
            [None] * len(parts),
            [s.clipped + f.clipped for s, f in zip(scaled, found, strict=True)],
        )
    if not about.encoding.attention:
        scaled = [about.scaling.apply(about.encoding.rows(p.x), w) for p, w in zip(parts, what, strict=True)]
        return EncodedData([s.x for s in scaled], y, [None] * len(parts), [s.clipped for s in scaled])
    tokens = about.encoding.tokens([p.x for p in parts])
    values = tokens.values
    if about.encoding.kind == "texts":  # the last row stands for a text without a known word
        values = np.where(np.isnan(values), [c.mean for c in about.scaling.columns], values)
    if about.encoding.front_end:
        bands = about.scaling.front_end.bands(np.rint(values * MEAN_UNIT).astype(np.int64)).astype(np.int8)
    else:
        bands = about.scaling.codes(values, what[-1])
    codes = np.concatenate((bands, tokens.places), axis=1)
    table = codes.astype(np.int16) << (DEFAULT.fraction - FRACTION)
    return EncodedData(
        [np.zeros((len(p.x), 0), np.uint8) for p in parts],
        y,
        [TokenRows(table, r.rows, r.off) for r in tokens.parts],
        [0] * len(parts),
        tokens.words,
    )


def ranges(found: LoadedData) -> list[tuple[str, float, float, int, str]]:
    """Ranges of every column or channel: name, smallest and largest training value, missing values,
    and what becomes of it.  Texts have none.
    """
    s = found.about.scaling
    x = found.raw.numbers
    by_column = s.kind == "columns" and found.about.encoding.kind == "rows"
    columns: list[tuple[str, float, float, int, str]] = []
    for k in range(x.shape[1] if len(x) else 0):
        kind: str = s.columns[k].kind if by_column else "spans" if s.kind == "columns" else s.kind
        column = x[:, k].astype(np.float64)
        values = column[~np.isnan(column)]
        gone = len(x) - len(values)
        name = name_of(found.about.encoding.read_names(s.names), k)
        if not by_column and found.about.encoding.kind == "series":
            name = name.replace("column", "channel")
        columns.append((name, float(values.min()), float(values.max()), gone, kind))
    return columns
