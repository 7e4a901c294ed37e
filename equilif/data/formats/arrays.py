"""Arrays of NumPy in an ``.npz`` file."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from equilif.data.base.reading import read_npz, reading
from equilif.data.formats.base import Columns, Content, Part, Series
from equilif_golden.fixed import as_array, short_repr

PARTS = ("x_train", "y_train", "x_test", "y_test")
WHOLE = ("x", "y")
#: of series: sample i has the steps x[offsets[i]:offsets[i + 1]]
OFFSETS = "offsets"


class Npz:
    """``x_train``, ``y_train``, ``x_test``, ``y_test``; or ``x`` and ``y``.

    ``x`` are numbers (n, ...), a sample of more dimensions than one is an image; ``y`` are whole numbers or
    texts (n,).  With ``offsets`` (n + 1,), or ``offsets_train`` and ``offsets_test``, samples are series:
    ``x`` (steps of all samples, channels) or (steps of all samples,).
    """

    name = "npz"
    what = "an .npz file of arrays"
    labelled = False

    def claims(self, path: Path) -> bool:
        return path.suffix.lower() == ".npz" and not path.is_dir()

    def read(self, path: Path, columns: Columns) -> Content:
        with reading(path, "an .npz file of samples"):
            with zipfile.ZipFile(path) as z:
                there = {name.removesuffix(".npy") for name in z.namelist()}
        chosen = PARTS if set(PARTS) <= there else WHOLE
        if not set(chosen) <= there:
            raise ValueError(
                f"{path} must have {', '.join(PARTS)}, or {' and '.join(WHOLE)}, but it has "
                f"{', '.join(sorted(there)) or 'nothing'}"
            )
        ends = ("_train", "_test") if chosen is PARTS else ("",)
        offsets = [OFFSETS + end for end in ends if OFFSETS + end in there]
        if offsets and len(offsets) < len(ends):
            raise ValueError(f"{path} has {offsets[0]} alone: both parts need their offsets")
        kinds = {"x": "iuf", "y": "iufU", "o": "iu"}
        found = read_npz(path, {name: kinds[name[0]] for name in (*chosen, *offsets)})
        with reading(path):
            if not offsets:
                return content(*(found[name] for name in chosen))
            cut = [_cut(found["x" + end], found[OFFSETS + end], found["y" + end], end) for end in ends]
            return of_series(*cut)


def _cut(x: npt.NDArray[Any], off: npt.NDArray[Any], y: npt.NDArray[Any], end: str) -> Part:
    """Series that are cut at offsets; ``end`` of their names, for messages."""
    if x.ndim == 1:
        x = x[:, None]
    if x.ndim != 2 or not x.shape[1]:
        raise ValueError(f"x{end} must have shape (steps, channels) where there are offsets, not {x.shape}")
    if off.ndim != 1 or len(off) < 2:
        raise ValueError(f"offsets{end} must have shape (samples + 1,), not {off.shape}")
    labels = names(y, f"y{end}")
    if len(labels) != len(off) - 1:
        raise ValueError(f"y{end} must have shape {(len(off) - 1,)}, one class a sample, not {y.shape}")
    wide = x.astype(np.float64) if x.dtype.kind == "f" and x.dtype.itemsize > 8 else x
    return Part(Series(wide, off.astype(np.int64)), labels)


def of_series(train: Part, test: Part | None = None) -> Content:
    """Series as a content; ValueError when its parts differ in channels."""
    width = train.numbers.shape[1]
    if test is not None and test.numbers.shape[1] != width:
        raise ValueError(
            f"the training part has {width} channels, the test part {test.numbers.shape[1]}: both need the "
            "same"
        )
    return Content(train, test, shape=(width,))


def content(
    x: npt.NDArray[Any], y: Any, x_test: npt.NDArray[Any] | None = None, y_test: Any = None
) -> Content:
    """Arrays as a content; ValueError says which of them is something else."""
    one = x_test is None or y_test is None
    train = _part(x, y, *(("x", "y") if one else ("x_train", "y_train")))
    test = None if x_test is None or y_test is None else _part(x_test, y_test, "x_test", "y_test")
    if x_test is not None and x_test.shape[1:] != x.shape[1:]:
        raise ValueError(
            f"x_train and x_test must have samples of one shape, not {x.shape[1:]} and {x_test.shape[1:]}"
        )
    alike = x.ndim > 2 or x.dtype == np.uint8
    return Content(train, test, shape=x.shape[1:], alike=alike)


def _part(x: npt.NDArray[Any], y: Any, samples: str, classes: str) -> Part:
    if x.dtype.kind not in "iuf":
        raise ValueError(f"{samples} must be numbers, not {x.dtype}")
    if x.ndim < 2 or not all(x.shape[1:]):
        raise ValueError(f"{samples} must have shape (samples, values), not {x.shape}")
    labels = names(y, classes)
    if len(labels) != len(x):
        raise ValueError(f"{classes} must have shape {(len(x),)}, one class a sample, not {labels.shape}")
    if not len(x):
        raise ValueError(f"{samples} has no sample")
    if x.dtype.kind == "f" and x.dtype.itemsize > 8:
        x = x.astype(np.float64)
    return Part(x.reshape(len(x), -1), labels)


def names(y: Any, what: str) -> npt.NDArray[np.str_]:
    """Classes of samples, whole numbers from 0 or texts (n,), as names; ValueError for what is no class."""
    if isinstance(y, list | tuple):  # of numbers and texts NumPy would make texts
        array = np.fromiter(y, object, len(y))
    else:
        array = as_array(y, what, "classes")
    if array.ndim != 1:
        raise ValueError(f"{what} must have shape (samples,), one class a sample, not {array.shape}{ONE_HOT}")
    if array.dtype.kind in "OS":
        array = _alike([_class(v, k, what) for k, v in enumerate(array.tolist())], what)
    if array.dtype.kind == "U":
        return array
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{what} must be whole numbers or texts, not {array.dtype}")
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise ValueError(_no_class(int(np.isnan(array).argmax()), what))
    if array.dtype.kind != "b":
        wrong = (array % 1 != 0) | (array >= 1 << 53) | (array < 0)
        if wrong.any():
            raise ValueError(
                f"{what} must be classes, whole numbers from 0 or texts, not {array[wrong].flat[0]}: number "
                "them from 0"
            )
    return array.astype(np.int64).astype(np.str_)


ONE_HOT = ": one-hot rows become classes by argmax(1)"


def _alike(classes: list[Any], what: str) -> npt.NDArray[Any]:
    """Texts, or numbers, as an array; ValueError for a mixture, in which one class would have two names."""
    texts = [isinstance(v, str) for v in classes]
    if any(texts) and not all(texts):
        text, number = classes[texts.index(True)], classes[texts.index(False)]
        raise ValueError(
            f"{what} mixes texts such as {text[:40]!r} and numbers such as {number}: write all in one way"
        )
    return np.array(classes) if classes else np.zeros(0, np.int64)


def _class(value: Any, k: int, what: str) -> str | int | float:
    """One class as a text or a number of Python."""
    if hasattr(value, "item") or isinstance(value, list | tuple):
        array = as_array(value, what, "classes")
        if array.size != 1:
            raise ValueError(f"{what} must be one class a sample, sample {k} has {array.size}{ONE_HOT}")
        value = array.item() if array.dtype.kind not in "mM" else array
    if is_gone(value):
        raise ValueError(_no_class(k, what))
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as e:
            raise ValueError(f"{what} must be texts in UTF-8, not {short_repr(value)}") from e
    if isinstance(value, str | int | float):  # text, number or boolean
        return value
    raise ValueError(f"{what} must be whole numbers or texts, not {short_repr(value)}")


def is_gone(value: Any) -> bool:
    """Whether it stands for a value that is not there: None, NaN, or what pandas has for it."""
    return (
        value is None
        or type(value).__name__ in ("NAType", "NaTType")
        or isinstance(value, float)
        and value != value
    )


def _no_class(k: int, what: str) -> str:
    return f"sample {k} has no class in {what}: fill it in, or leave the sample out"
