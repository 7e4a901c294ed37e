"""Data of one's own: a file, a folder or arrays in, a data set that a network can learn from out.

    data = load("wine.csv", label="kind")
    data = arrays(x, y)

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
from equilif.data.about import About, check_hold_out
from equilif.data.dataset import DataSet, Labels
from equilif.data.formats import Content, Part
from equilif.data.formats import arrays as numpy_arrays
from equilif.data.reading import reading
from equilif.data.scaling import Missing, fit, name_of, named_missing
from equilif_golden.network import MOST_NEURONS

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
    hold_out: float | None = None,
    test: str | Path | None = None,
    missing: Missing = "refuse",
    name: str | None = None,
) -> Found:
    """A file or folder, split and scaled.

    ``label``: column of the classes, for a table.  ``test``: a second file to test on.  ``hold_out``: part
    of each class to test on, HOLD_OUT unless there is a test part.  ``missing``: "mean" fills missing values
    with the training mean.  ``name`` of the data set: that of the file unless given.

    ValueError of one line that names the file, what is wrong, and the way out.
    """
    path = Path(path)
    known, content = formats.read(path, label)
    if test is not None:
        content = _with_test(path, content, Path(test), label)
    with reading(path):
        return _found(
            content,
            About(
                path=str(path.resolve()),
                format=known.name,
                label=label,
                test=None if test is None else str(Path(test).resolve()),
                hold_out=_hold_out(content, hold_out),
                labels=_classes(content),
                shape=content.shape,
                scaling=_NOTHING,
            ),
            missing,
            name or path.resolve().name,
        )


def arrays(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    x_test: npt.ArrayLike | None = None,
    y_test: npt.ArrayLike | None = None,
    *,
    hold_out: float | None = None,
    missing: Missing = "refuse",
    name: str = "arrays",
) -> DataSet:
    """Arrays as a data set: ``x`` numbers (n, ...), NaN where one is missing, ``y`` classes (n,), whole
    numbers or texts; options as in :func:`read`.  ValueError says which of them is something else.
    """
    if (x_test is None) != (y_test is None):
        raise ValueError("x_test and y_test belong together: give both, or neither")
    rest = () if x_test is None or y_test is None else (np.asarray(x_test), np.asarray(y_test))
    content = numpy_arrays.content(np.asarray(x), np.asarray(y), *rest)
    for part in (content.train, content.test):
        if part is not None and np.isinf(part.x).any():
            raise ValueError("x has values that are infinite: inputs must be finite numbers")
    about = About(
        path=name,
        format="arrays",
        hold_out=_hold_out(content, hold_out),
        labels=_classes(content),
        shape=content.shape,
        scaling=_NOTHING,
    )
    return _found(content, about, missing, name).data


# -- again -----------------------------------------------------------------------------------------
def again(about: About, path: Path | None = None, *, name: str | None = None) -> DataSet:
    """The data set that ``about`` is of, from its file or from where it is now (``path``).

    ValueError when it is not there, or has another digest.
    """
    place = _place(about, path)
    data = load(
        place,
        label=about.label,
        hold_out=about.hold_out,
        test=about.test,
        missing=about.scaling.missing,
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
    """Samples to evaluate: inputs (n, inputs) and labels (n,); ``what`` they are."""

    x: npt.NDArray[np.uint8]
    y: Labels
    what: str
    clipped: int


def samples(about: About, path: Path | None = None) -> Samples:
    """What a network is evaluated on, scaled as it was trained.

    Its own test part: without ``path``, or when ``path`` holds the data that it was trained on.  Of another
    file the test part when it has one, else all samples.
    """
    if path is None or str(path.resolve()) == about.path:
        data = again(about, path)
        return _kept(data, about)
    _, content = formats.read(path, about.label)
    with reading(path):
        content = _ordered(content, about.scaling.names)
        if about.test is None and (same := _same(content, about)) is not None:
            return same
        part = content.test or content.train
        scaled = about.scaling.apply(part.x, "samples")
        y = _numbered(part.labels, about.labels)
    kind = "test" if content.test else ""
    return Samples(scaled.x, y, f"{len(y):,} {kind} samples of {path}".replace("  ", " "), scaled.clipped)


def _kept(data: DataSet, about: About) -> Samples:
    """The test part of a network's own data."""
    return Samples(data.x_test, data.y_test, f"{len(data.y_test):,} test samples", 0)


def _same(content: Content, about: About) -> Samples | None:
    """The test part when a content is what the network was trained on, else None."""
    if about.hold_out is None and content.test is None:
        return None
    try:
        data = _found(content, dataclasses.replace(about, digest=""), about.scaling.missing, "").data
    except ValueError:  # it cannot be trained on, so it is something else
        return None
    return _kept(data, about) if data.digest == about.digest else None


def _place(about: About, path: Path | None) -> Path:
    place = Path(about.path) if path is None else path
    if about.format == "arrays" and path is None:
        raise ValueError("the network was trained on arrays: give a file with the samples")
    if not place.exists():
        raise ValueError(f"there is no {place}, which holds the data: give the path where they are now")
    return place


# -- on the way ------------------------------------------------------------------------------------
_NOTHING = fit(np.array([[0.0], [1.0]]), (), alike=False, missing="refuse")


def _with_test(path: Path, content: Content, test: Path, label: str | None) -> Content:
    """A content with the samples of a second file to test on."""
    if content.test is not None:
        raise ValueError(f"{path} has a test part of its own: leave out --test")
    _, other = formats.read(test, label)
    if other.test is not None:
        raise ValueError(f"{test} has parts of its own: --test is a file of samples to test on")
    with reading(test):
        other = _ordered(other, content.names)
        if other.shape != content.shape:
            raise ValueError(f"its samples have shape {other.shape}, those of {path} {content.shape}")
    return dataclasses.replace(content, test=other.train)


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
    parts = [p and Part(p.x[:, order], p.labels) for p in (content.train, content.test)]
    assert parts[0] is not None
    return dataclasses.replace(content, train=parts[0], test=parts[1], names=names)


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


def _found(content: Content, about: About, missing: Missing, name: str) -> Found:
    """A content split, scaled and numbered."""
    train = content.train
    y = _numbered(train.labels, about.labels)
    if content.test is None:
        assert about.hold_out is not None
        at, held = split(y, about.hold_out, about.labels)
        test = Part(train.x[held], train.labels[held])
        train = Part(train.x[at], train.labels[at])
        y = y[at]
    else:
        test = content.test
    gone = sum(int(np.isnan(p.x).sum()) for p in (train, test) if p.x.dtype.kind == "f")
    scaling = fit(train.x, content.names, alike=content.alike, missing=missing)
    if scaling.n_inputs > MOST_NEURONS:
        raise ValueError(f"{scaling.n_inputs:,} inputs are more than a network has, {MOST_NEURONS:,}")
    x = scaling.apply(train.x, "training samples")
    x_test = scaling.apply(test.x, "test samples")
    data = DataSet(name, x.x, y, x_test.x, _numbered(test.labels, about.labels))
    about = dataclasses.replace(about, scaling=scaling, digest=data.digest)
    return Found(
        dataclasses.replace(data, about=about),
        about.format,
        content.names,
        gone,
        (x.clipped, x_test.clipped),
        train,
        (*content.notes, *_notes(about, train, x.clipped, x_test.clipped, gone)),
    )


def _notes(about: About, train: Part, clipped: int, beyond: int, gone: int) -> list[str]:
    """What a user should know of the scaling."""
    s = about.scaling
    said = []
    if s.kind == "bytes":
        said.append("8-bit whole numbers, taken as they are")
    elif s.kind == "common":
        c = s.columns[0]
        rails = ", on two rails (positive and negative part)" if c.kind == "rails" else ""
        said.append(f"one scale for all values, {c.low:g} to {c.high:g}{rails}")
    else:
        signed = sum(c.kind == "rails" for c in s.columns)
        said.append(
            "each column by its training range" + (f", {signed} with a sign on two rails" if signed else "")
        )
    if s.dropped:
        said.append(f"left out, because they never change: {', '.join(s.dropped)}")
    if gone:
        said.append(
            f"{gone:,} missing values filled with the training mean "
            f"({named_missing(np.isnan(train.x), s.names)} of the training part)"
        )
    if clipped or beyond:
        said.append(f"beyond the scale and clipped: {clipped:,} training and {beyond:,} test values")
    return said


def ranges(found: Found) -> list[tuple[str, float, float, int, str]]:
    """Of every column: name, smallest and largest training value, missing values, and what becomes of it."""
    s = found.about.scaling
    x = found.raw.x.astype(np.float64)
    told: list[tuple[str, float, float, int, str]] = []
    for k in range(s.width):
        kind: str = s.columns[k].kind if s.kind == "columns" else s.kind
        values = x[:, k][~np.isnan(x[:, k])]
        gone = len(x) - len(values)
        told.append((name_of(s.names, k), float(values.min()), float(values.max()), gone, kind))
    return told


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
