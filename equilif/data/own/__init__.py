"""Data of one's own: a file, a folder or arrays in, a data set that a network can learn from out.

    data = load("wine.csv", label="kind")
    data = of(x, y)

What was read and fitted goes with the data set (``data.about``), and from there into the network's file, so
that other samples are read and scaled in the same way.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from equilif.data import Name, formats
from equilif.data.base.arrays import Labels
from equilif.data.base.reading import check_range, path_of, reading
from equilif.data.encoding import wordless
from equilif.data.encoding.about import About
from equilif.data.encoding.scaling import FittedScaling, Missing
from equilif.data.formats import Columns, Content, Part, Series, Texts
from equilif.data.formats.from_arrays import content_of
from equilif.data.own.build import NO_SCALING, LoadedData, LoadOptions, encoded, make
from equilif.data.own.parts import classes_of, matched, numbered, test_fraction_of, with_test
from equilif.data.sets.dataset import DataSet, NamedSet, part_digest
from equilif_golden.files import printable
from equilif_golden.fixed import check_bool
from equilif_golden.network import TokenRows

GIVEN = "given in Python"  #: in place of a format
NAMED = "data set"  #: the same, of one with a name


# -- in --------------------------------------------------------------------------------------------
def load(path: str | Path, **options: Any) -> DataSet:
    """A file or folder as a data set; options are those of :func:`read`."""
    return read(path, **options).data


def read(
    path: str | Path,
    *,
    label: str | None = None,
    text: str | None = None,
    test_fraction: float | None = None,
    test: str | Path | None = None,
    missing: Missing = "refuse",
    attention: bool = False,
    front_end: bool = False,
    window: int | None = None,
    windows: int | None = None,
    word_vectors: str | Path | None = None,
    name: str | None = None,
) -> LoadedData:
    """A file or folder, split, encoded and scaled.

    ``label``: column of the classes, for a table; ``text``: column of the texts, where it holds some.
    ``attention``: texts, series and recordings as tokens of an attention layer; ``front_end``: recordings as
    tokens of the golden front end, series as samples of that of a sensor, of ``windows`` windows of
    2**``window`` readings, by default as a board has them; ``word_vectors``: file of the vectors of words,
    those of the installed package unless given.  ``test``: a second file to test on.  ``test_fraction``: part
    of each class to test on, TEST_FRACTION unless there is a test part.  ``missing``: "mean" fills missing
    values with the training mean.  ``name`` of the data set: that of the file unless given.

    ValueError of one line that names the file, what is wrong, and the way out.
    """
    path = path_of(path, "path")
    test = None if test is None else path_of(test, "test")
    columns = Columns(label, text, check_bool(front_end, "front_end"))
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
                test_fraction=test_fraction_of(content, test_fraction),
                labels=classes_of(content),
                shape=content.shape,
                scaling=NO_SCALING,
            ),
            LoadOptions(missing, attention, front_end, window, windows, word_vectors),
            name or printable(path.resolve().name),
        )


def of(
    x: Any,
    y: Any = None,
    x_test: Any = None,
    y_test: Any = None,
    *,
    label: str | None = None,
    text: str | None = None,
    test_fraction: float | None = None,
    missing: Missing = "refuse",
    attention: bool = False,
    word_vectors: str | Path | None = None,
    name: str = "data",
) -> DataSet:
    """A data set from Python objects; options as in :func:`read`.  ``x`` and ``x_test`` are

        an array      numbers (n, ...), NaN where one is missing
        a DataFrame   of pandas or polars; its column ``label`` holds the classes, ``text`` the texts
        a Dataset     of torch, or anything else that hands out pairs of a sample and its class; without y
        a list        of texts, or of series (steps, channels) of different lengths

    ``y`` and ``y_test`` are the classes (n,), whole numbers or texts.  Arrays are copied, tensors detached.
    ValueError says what is something else.
    """
    content = content_of(x, y, x_test, y_test, Columns(label, text))
    about = about_given(
        content, name, label=label, text=text, test_fraction=test_fraction_of(content, test_fraction)
    )
    options = LoadOptions(missing, attention, word_vectors=word_vectors)
    return make(content.composed(), about, options, name).data


def of_content(content: Content, name: str, scaling: FittedScaling | None = None) -> DataSet:
    """A data set from a content with a test part; ``scaling``: in place of one fitted to the samples."""
    return make(content.composed(), about_given(content, name), LoadOptions(), name, scaling).data


def about_given(content: Content, name: str, labels: tuple[str, ...] | None = None, **options: Any) -> About:
    """Record of samples given in Python, without a scaling; ValueError for values beyond all scales.

    ``labels``: classes, by default those of the samples.
    """
    for part in content.parts:
        check_range(part.numbers, "x")
    return About(
        path=name,
        format=GIVEN,
        labels=labels or classes_of(content.composed()),
        shape=content.shape,
        scaling=NO_SCALING,
        **options,
    )


# -- again -----------------------------------------------------------------------------------------
def reload(about: About, path: Path | None = None, *, name: str | None = None) -> DataSet:
    """The data set that ``about`` is of, from its file or from where it is now (``path``).

    ValueError when it is not there, or has another digest.
    """
    place = _place(about, path)
    given = {key: getattr(about, key) for key in ("label", "text", "test_fraction", "test")}
    data = load(place, **given, **vars(_options(about)), name=name)
    if data.digest != about.digest:
        raise ValueError(
            f"{place} is not the data that the network was trained on: digest {data.digest[:12]}, not "
            f"{about.digest[:12]}; give the path of its training data, or train a new network on these"
        )
    assert data.about is not None
    if data.about.labels != about.labels[: len(data.about.labels)]:  # a lesson adds classes behind them
        raise ValueError(
            f"the classes of {place} are {named(data.about.labels)}, the network was trained on "
            f"{named(about.labels)}: restore their names, or train a new network"
        )
    if (data.about.encoding, data.about.scaling) != (about.encoding, about.scaling):
        raise ValueError(
            f"{place} is encoded or scaled differently than in training: the file has changed, or is of "
            "another version; train the network again"
        )
    return data


@dataclass(frozen=True)
class EvaluationSamples:
    """Samples to evaluate: inputs (n, inputs), labels (n,), tokens for an attention layer; ``what`` they are.

    ``clipped``: values beyond the scale of training; ``wordless``: texts without a known word; ``note``: what
    the user should know of their range.
    """

    x: npt.NDArray[np.uint8]
    y: Labels
    what: str
    clipped: int = 0
    tokens: TokenRows | None = None
    wordless: int = 0
    note: str = ""


def samples(about: About, path: Path | None = None, label: str | None = None) -> EvaluationSamples:
    """Samples for evaluation, encoded and scaled as in training; ``label``: column of the classes where it is
    another one than in training.

    Its own test part: without ``path``, or when ``path`` holds the data that it was trained on.  Of another
    file the test part when it has one, else all samples.
    """
    if path is None or str(path.resolve()) == about.path:
        return test_part(reload(about, path))
    _, content = formats.read(path, Columns(label or about.label, about.text, about.encoding.front_end))
    with reading(path):
        content = matched(content, about)
        if about.test is None and (same := _same(content, about)) is not None:
            return same
        part = content.test or content.train
        given = encoded(about, (part,), ("samples",))
        x, y = given.x[0], given.y[0]
        tokens = given.tokens[0]
        if about.digest_train and part_digest(x, y, tokens) == about.digest_train:
            raise ValueError(
                "it holds the training samples of the network, on which accuracy is not meaningful: give a "
                "test file"
            )
    kind = "test " if content.test else ""
    note = about.scaling.note(part.numbers)
    unread = wordless(x, tokens, given.words) if about.encoding.kind == "texts" else 0
    return EvaluationSamples(
        x, y, f"{len(y):,} {kind}samples of {path}", given.clipped[0], tokens, unread, note
    )


def test_part(data: DataSet) -> EvaluationSamples:
    """The samples that a data set has to test on."""
    texts = bool(data.words) or data.about is not None and data.about.encoding.kind == "texts"
    return EvaluationSamples(
        data.x_test,
        data.y_test,
        f"{len(data.y_test):,} test samples",
        tokens=data.tokens_test,
        wordless=wordless(data.x_test, data.tokens_test, data.words) if texts else 0,
    )


def samples_of_set(about: About, data: DataSet) -> EvaluationSamples:
    """The test part of a data set with a name, for a network that learned others: scaled as in its training.

    ValueError unless samples are of one shape and kind, and the classes are the same, by their names.
    """
    require_classes(data.name, data.class_names, about.labels)
    if data.tokens_train is not None:
        raise ValueError(f"{data.name} holds sequences, the network was trained on {about.encoding.kind}")
    names = np.array(data.class_names)
    shape = data.shape or (data.n_features,)
    content = Content(Part(data.x_test, names[data.y_test]), shape=shape, alike=True)
    with reading(Path(data.name)):
        content = matched(content, about)
        given = encoded(about, (content.train,), ("samples",))
        y = given.y[0]
    note = about.scaling.note(data.x_test)
    return EvaluationSamples(given.x[0], y, f"{len(y):,} test samples", given.clipped[0], note=note)


def raw_samples(path: Path, n_inputs: int, n_outputs: int) -> EvaluationSamples:
    """Samples that need no scaling, for a network that does not record its training data.

    ValueError unless ``path`` is an .npz file of 8-bit inputs (n, n_inputs) and of outputs' numbers (n,).
    """
    part = None
    if formats.find(path).name == "npz":
        content = formats.read(path, Columns(None, None))[1]
        part = content.train if content.test is None else content.test
    if part is None or isinstance(part.x, Series | Texts) or part.x.dtype != np.uint8:
        raise ValueError(
            f"{path} must be an .npz file of 8-bit inputs (uint8) and class numbers for a network that does "
            "not record how data are read: train it with `equilif train PATH`"
        )
    if part.x.shape[1] != n_inputs:
        raise ValueError(f"{path} has {part.x.shape[1]} values a sample, the network has {n_inputs} inputs")
    with reading(path):
        y = numbered(part.labels, tuple(map(str, range(n_outputs))))
    return EvaluationSamples(part.x, y, f"{len(y):,} samples of {path}")


def about_set(named: NamedSet) -> About:
    """Data record of a named image set: 8-bit values as they are, classes by name.

    ValueError where they are no images.
    """
    if not named.shape:
        raise ValueError(
            f"the network was trained on {named.name}, which does not record how data are read: train it on "
            "your own data with `equilif train PATH`"
        )
    scaling = FittedScaling(kind="bytes", width=math.prod(named.shape))
    return About(path=named.name, format=NAMED, labels=named.labels, shape=named.shape, scaling=scaling)


def require_classes(what: str, found: Sequence[str], trained: Sequence[str]) -> None:
    """ValueError unless both are the same classes, in whatever order."""
    if set(found) != set(trained):
        raise ValueError(
            f"{what} has the classes {named(found)}, the network was trained on {named(trained)}: they "
            "must be the same, by name"
        )


def named(classes: Sequence[str], most: int = 12) -> str:
    """Names of classes in a message."""
    return ", ".join(classes[:most]) + (", ..." if len(classes) > most else "")


def _same(content: Content, about: About) -> EvaluationSamples | None:
    """The test part when a content is what the network was trained on, else None."""
    if about.test_fraction is None and content.test is None:
        return None
    options = _options(about)
    try:
        labels = classes_of(content)
        if labels != about.labels[: len(labels)]:
            return None
        data = make(
            content, dataclasses.replace(about, labels=labels, digest="", digest_train=""), options, ""
        ).data
    except ValueError:  # it cannot be trained on, so it is something else
        return None
    return test_part(data) if data.digest == about.digest else None


def _options(about: About) -> LoadOptions:
    """Options with which the data were read."""
    code, sensor = about.encoding, about.encoding.sensor
    window = {} if sensor is None else {"window": sensor.window, "windows": sensor.windows}
    return LoadOptions(
        about.scaling.missing, code.attention, code.front_end, word_vectors=code.word_vectors, **window
    )


def _place(about: About, path: Path | None) -> Path:
    place = Path(about.path) if path is None else path
    if about.format == GIVEN and path is None:
        raise ValueError("the network was trained on data given in Python: give a file with the samples")
    if not place.exists():
        raise ValueError(f"there is no {place}, which holds the data: give the path where they are now")
    return place


# -- names -----------------------------------------------------------------------------------------
def chosen(data: str | Path) -> Name | Path:
    """A data set of the table by its name, else a file or folder; ``./digits`` is a folder.

    ValueError when it is neither.
    """
    if data in set(Name):
        return Name(data)
    path = path_of(data, "data")
    if not path.exists():
        raise ValueError(
            f"data must be one of {', '.join(Name)}, or the path of your own data; there is no {str(data)!r}"
        )
    if path.suffix == ".toml":
        raise ValueError(f"{path} is a network, not data: name the data, and give it as --config {path}")
    return path
