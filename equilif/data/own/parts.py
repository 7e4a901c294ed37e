"""Classes by name and by number, and the parts to train and to test on."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from unicodedata import normalize

import numpy as np
import numpy.typing as npt

from equilif.data import formats
from equilif.data.base.arrays import Labels
from equilif.data.base.reading import reading
from equilif.data.encoding.about import About, check_test_fraction
from equilif.data.formats import Columns, Content, Part, Series, Texts

TEST_FRACTION = 0.2
SPLIT_SEED = 0  #: which samples are held out does not depend on the seed of a training run
MAX_CLASSES = 1024
MAX_NAME = 100  #: characters of a class


def with_test(path: Path, content: Content, test: Path, columns: Columns) -> Content:
    """A content with the samples of a second file to test on."""
    if content.test is not None:
        raise ValueError(f"{path} already has a test set: leave out data.test")
    _, other = formats.read(test, columns)
    if other.test is not None:
        raise ValueError(f"{test} already has a split: data.test must be a plain file of samples")
    with reading(test):
        other = ordered(other, content.names)
        if other.shape != content.shape:
            raise ValueError(f"its samples have shape {other.shape}, those of {path} {content.shape}")
        if _same(other.train, content.train):
            raise ValueError(
                f"it has the samples of {path}, so the test set would equal the training set: give other "
                "samples with data.test, or leave it out"
            )
    return content.with_test(other.train)


def _same(a: Part, b: Part) -> bool:
    """Whether two parts hold the same samples."""
    if not np.array_equal(a.labels, b.labels) or type(a.x) is not type(b.x):
        return False
    if isinstance(a.x, Texts):
        return a.x == b.x
    if isinstance(a.x, Series) and isinstance(b.x, Series) and not np.array_equal(a.x.off, b.x.off):
        return False
    return np.array_equal(a.numbers, b.numbers, equal_nan=True)


def ordered(content: Content, names: tuple[str, ...]) -> Content:
    """The content with its columns in the order of ``names``; ValueError when it has others."""
    if content.names == names or not names:
        return content
    repeated = len(set(names)) < len(names)
    if isinstance(content.train.x, Series) and (repeated or sorted(content.names) != sorted(names)):
        raise ValueError(
            f"its channels are {_listed(content.names)}, those of training {_listed(names)}: record, or "
            "resample, at the same rate; name the channels of a sensor in a header"
        )
    missing = [n for n in names if n not in content.names]
    strange = [n for n in content.names if n not in names]
    if missing or strange:
        problems = [f"it has no column {', '.join(map(repr, missing[:3]))}"] if missing else []
        problems += [f"it has {', '.join(map(repr, strange[:3]))}, which training has not"] if strange else []
        raise ValueError(f"{'; '.join(problems)}: columns must be those that the network was trained on")
    order = [content.names.index(n) for n in names]
    parts = [_with_columns(p, order) for p in content.parts]
    test = parts[1] if len(parts) > 1 else None
    return dataclasses.replace(content, train=parts[0], test=test, names=names)


def _with_columns(part: Part, order: list[int]) -> Part:
    """A part with these columns or channels."""
    columns = part.numbers[:, order]
    return Part(Series(columns, part.x.off) if isinstance(part.x, Series) else columns, part.labels)


def matched(content: Content, about: About) -> Content:
    """A content with the columns or channels of training, in its order; ValueError when it has others."""
    content = ordered(content, about.encoding.read_names(about.scaling.names))
    if content.shape != about.shape:
        raise ValueError(f"its samples have shape {content.shape}, those of training {about.shape}")
    return content


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "") if names else "without names"


def test_fraction_of(content: Content, fraction: float | None) -> float | None:
    """The part to hold out, None when there is a test part."""
    if content.test is None:
        return check_test_fraction(TEST_FRACTION if fraction is None else fraction)
    if fraction is not None:
        raise ValueError("the data already have a test set: leave out data.test_fraction")
    return None


def classes_of(content: Content) -> tuple[str, ...]:
    """Names of the classes: numbers by size, else texts by alphabet; ValueError when they are none."""
    found = [str(name) for name in np.unique(content.train.labels)]
    if len(found) < 2:
        raise ValueError(
            f"all training samples ({len(content.train.labels):,}) are of class {found[0]!r}"
            f"{_only_in_test(content, found[0])}: at least two classes are needed"
        )
    if len(found) > MAX_CLASSES or len(found) > max(2, len(content.train.labels) // 2):
        raise ValueError(
            f"{len(found):,} classes for {len(content.train.labels):,} samples: labels must be repeated "
            "class names, not measurements or sample names"
        )
    return class_names(found)


def class_names(found: Sequence[str]) -> tuple[str, ...]:
    """Names of classes in the order of their numbers; ValueError for one that is no name."""
    for name in found:
        check_class(name)
    return tuple(sorted(found, key=_order))


def _order(name: str) -> tuple[int, float, str]:
    """Key that sorts numbers by size, before texts by alphabet."""
    if re.fullmatch(r"-?\d+(\.\d+)?", name, re.ASCII):
        return 0, float(name), name
    return 1, 0, name


def _only_in_test(content: Content, name: str) -> str:
    """Samples of other classes than the one of training, which are in the test part, for messages."""
    if content.test is None:
        return ""
    others, counts = np.unique(content.test.labels[content.test.labels != name], return_counts=True)
    listed = ", ".join(f"{n:,} of {str(other)!r}" for other, n in zip(others[:3], counts, strict=False))
    more = f" and {len(others) - 3} more classes" if len(others) > 3 else ""
    return f", others are in the test part alone ({listed}{more})" if len(others) else ""


def check_class(name: str) -> None:
    """ValueError unless it names a class."""
    if not name.strip() or len(name) > MAX_NAME or not name.isprintable():
        raise ValueError(f"a class must be a short text of one line, not {name[:40]!r}")
    if name.casefold() == "nan":  # NumPy makes it of a missing one among texts
        raise ValueError(f"{name!r} stands for a class that is missing: fill it in, or leave it out")


def numbered(labels: npt.NDArray[np.str_], classes: tuple[str, ...]) -> Labels:
    """Names of classes as numbers; ValueError for a class that training does not have."""
    numbers = {normalize("NFC", name): k for k, name in enumerate(classes)}
    if len(numbers) < len(classes):
        raise ValueError("two classes of training are one text in two forms of Unicode: train it again")
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
                "leave it out, or give a file to test on with data.test"
            )
        held[at[: min(len(at) - 1, max(1, round(part * len(at))))]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)
