"""Data of one's own: a file, a folder or arrays in, a data set that a network can learn from out.

    data = load("wine.csv", label="kind")
    data = of(x, y)

What was read and fitted goes with the data set (``data.about``), and from there into the network's file, so
that other samples are read and scaled in the same way.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from equilif.data import Name, formats
from equilif.data.about import About
from equilif.data.dataset import DataSet, Labels
from equilif.data.formats import Columns, Content
from equilif.data.given import given as content_of
from equilif.data.making import NOTHING, Found, Wanted, encoded, make
from equilif.data.parts import classes_of, hold_out_of, numbered, ordered, with_test
from equilif.data.reading import check_range, path_of, reading
from equilif.data.scaling import Missing
from equilif_golden.network import TokenRows

GIVEN = "given in Python"  #: in place of a format


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
    path = path_of(path, "path")
    test = None if test is None else path_of(test, "test")
    columns = Columns(label, text)
    known, content = formats.read(path, columns)
    if test is not None:
        content = with_test(path, content, test, columns)
    with reading(path):
        return make(
            content,
            About(
                path=str(path.resolve()),
                format=known.name,
                label=label,
                text=text,
                test=None if test is None else str(test.resolve()),
                hold_out=hold_out_of(content, hold_out),
                labels=classes_of(content),
                shape=content.shape,
                scaling=NOTHING,
            ),
            Wanted(missing, memory, vectors),
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

    ``y`` and ``y_test`` are the classes (n,), whole numbers or texts.  Arrays are copied, tensors detached.
    ValueError says what is something else.
    """
    content = content_of(x, y, x_test, y_test, Columns(label, text)).composed()
    for part in content.parts:
        check_range(part.numbers, "x")
    about = About(
        path=name,
        format=GIVEN,
        label=label,
        text=text,
        hold_out=hold_out_of(content, hold_out),
        labels=classes_of(content),
        shape=content.shape,
        scaling=NOTHING,
    )
    return make(content, about, Wanted(missing, memory, vectors), name).data


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
    assert data.about is not None
    if (data.about.encoding, data.about.scaling) != (about.encoding, about.scaling):
        raise ValueError(
            f"{place} is not the data as the network was trained on them: they are encoded or scaled "
            "otherwise now, so its file was changed, or is of another version; train it again"
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
        content = ordered(content, about.encoding.read_names(about.scaling.names))
        if content.shape != about.shape:
            raise ValueError(f"its samples have shape {content.shape}, those of training {about.shape}")
        if about.test is None and (same := _same(content, about)) is not None:
            return same
        part = content.test or content.train
        given = encoded(about, (part,), ("samples",))
        y = numbered(part.labels, about.labels)
    kind = "test" if content.test else ""
    what = f"{len(y):,} {kind} samples of {path}".replace("  ", " ")
    return Samples(given.x[0], y, what, given.clipped[0], given.tokens[0])


def _kept(data: DataSet) -> Samples:
    """The test part of a network's own data."""
    return Samples(data.x_test, data.y_test, f"{len(data.y_test):,} test samples", 0, data.tokens_test)


def _same(content: Content, about: About) -> Samples | None:
    """The test part when a content is what the network was trained on, else None."""
    if about.hold_out is None and content.test is None:
        return None
    wanted = Wanted(about.scaling.missing, about.encoding.memory, about.encoding.vectors)
    try:
        data = make(content, dataclasses.replace(about, digest=""), wanted, "").data
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
